"""Expressions in ONNX Runtime against their evaluation in Python, event by event."""

from __future__ import annotations

import functools
from typing import Any

import awkward as ak
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nanoforge.errors import UserError
from nanoforge.events.expressions import parse
from nanoforge.events.operations import BINARY, FUNCTIONS, REDUCERS, UNARY, without_missing
from nanoforge.export.expressions import compile_expression
from nanoforge.export.graph import BOOL, FLOAT, INT, Graph
from nanoforge.export.values import Value

COUNTS = [0, 1, 2, 3, 5, 8, 0, 1]
MUONS = [1, 0, 2, 1, 0, 3, 0, 1]
TYPES = {"b": BOOL, "i": INT, "u": INT, "f": FLOAT}


def make_columns() -> dict[str, Any]:
    """Jagged events; floats are multiples of 1/4, so that sums are exact in any order, some NaN or infinite."""
    rng = np.random.default_rng(1)
    jets, muons, events = sum(COUNTS), sum(MUONS), len(COUNTS)

    def floats(size: int) -> np.ndarray:
        return (rng.integers(-200, 200, size) / 4).astype("f4")

    odd = floats(jets)
    odd[::4], odd[1], odd[6] = np.nan, np.inf, -np.inf
    lists = {
        "Jet_pt": floats(jets),
        "Jet_odd": odd,
        "Jet_eta": (rng.normal(0, 2, jets)).astype("f4"),
        "Jet_id": rng.integers(-3, 8, jets).astype("i4"),
        "Jet_bits": rng.integers(0, 255, jets).astype("u1"),
        "Jet_ok": rng.random(jets) < 0.5,
        "Jet_muonIdx": rng.integers(-1, 4, jets).astype("i2"),
    }
    columns: dict[str, Any] = {name: ak.unflatten(values, COUNTS) for name, values in lists.items()}
    columns["Muon_pt"] = ak.unflatten(floats(muons), MUONS)
    columns["met"] = np.array([1, np.nan, -3, np.inf, 0.5, 0, -2.25, 7], "f4")
    columns["few"] = rng.integers(-2, 4, events).astype("i4")
    columns["fired"] = rng.random(events) < 0.5
    return columns


COLUMNS = make_columns()


def compiled(text: str) -> onnx.ModelProto:
    graph = Graph()

    @functools.cache
    def column(name: str) -> Value:
        lists = isinstance(COLUMNS[name], ak.Array)
        content = ak.to_numpy(ak.flatten(COLUMNS[name])) if lists else COLUMNS[name]
        tensor = graph.input(name, [1, "n"] if lists else [1])
        tensor = graph.reshape(tensor, -1) if lists else tensor
        dtype = TYPES[content.dtype.kind]
        return Value(dtype, tensor if dtype == FLOAT else graph.cast(tensor, dtype), lists=lists)

    value = compile_expression(graph, parse(text, "define.x"), column)
    tensor = value.tensor or graph.constant([value.constant], np.asarray(value.constant).dtype)
    graph.output(graph.cast(tensor, FLOAT), "out", ["m"])
    return graph.model()


def in_onnx(text: str) -> list[np.ndarray]:
    model = compiled(text)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    found = []
    for event in range(len(COUNTS)):
        feed = {n: np.atleast_1d(np.asarray(COLUMNS[n][event], "f4")) for n in names}
        feed = {n: v[np.newaxis] if isinstance(COLUMNS[n], ak.Array) else v for n, v in feed.items()}
        found.append(session.run(None, feed)[0])
    return found


def in_python(text: str) -> list[np.ndarray]:
    value = without_missing(parse(text, "define.x").evaluate(COLUMNS))
    values = value if hasattr(value, "__len__") else [value] * len(COUNTS)
    with np.errstate(all="ignore"):
        return [np.atleast_1d(np.asarray(v, "f4")) for v in values]


def agree(text: str, tolerance: float = 0) -> None:
    for event, (found, expected) in enumerate(zip(in_onnx(text), in_python(text))):
        assert found.shape == expected.shape, (text, event)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0, err_msg=f"{text}, event {event}")


@pytest.mark.parametrize("text", [
    "few", "met + few", "few / Jet_id", "few // Jet_id", "Jet_id % few", "Jet_id // -2", "Jet_id % -3",
    "Jet_odd % met", "met // Jet_odd", "Jet_odd // 3", "Jet_id ** 3", "few ** -1", "met ** 2", "pow(Jet_pt, few)",
    "few / 0", "1 / 0", "floor(Jet_odd * 1e12) + ceil(Jet_pt * few)", "round(Jet_odd) + sign(Jet_odd)",
    "min(Jet_odd, met, 3) + max(Jet_odd, few)", "clip(Jet_odd, -1, few)",
    "Jet_bits & 6", "Jet_bits | few", "Jet_bits << 2 >> 1", "~Jet_id", "~Jet_ok", "(Jet_bits & 2) != 0 & Jet_ok",
    "1 <= few <= 3", "few in [1, 2]", "Jet_id not in [1, 2.5]", "Jet_pt > 20.1", "few == 2 ** 63", "'a' == 'b'",
    "sum(Jet_pt) > 0.1 + 0.2", "fired == Jet_ok", "fired + fired", "-fired", "where(fired, Jet_pt, few)",
])  # fmt: skip
def test_operators(text: str) -> None:
    agree(text)


@pytest.mark.parametrize("text", [
    "Jet_pt[0]", "Jet_pt[-1]", "Jet_pt[7]", "Jet_pt[few]", "Jet_id[0] * 2", "Jet_ok[0]", "Muon_pt[Jet_muonIdx]",
    "Jet_pt[argmax(Jet_pt)]", "Jet_pt[Jet_pt > 10]", "Jet_pt[Jet_odd > met]", "Jet_pt[Muon_pt[Jet_muonIdx] > 0]",
    "Jet_pt[1:3]", "Jet_pt[::-1]", "Jet_pt[-2::-2]", "Jet_pt[:-3:-1]", "Jet_pt[5:0:-3]", "Jet_pt[-2:]",
    "Muon_pt[Jet_muonIdx][::-1]", "sum(Muon_pt[Jet_muonIdx])", "num(Muon_pt[Jet_muonIdx])",
    "argmin(Muon_pt[Jet_muonIdx])", "mean(Muon_pt[Jet_muonIdx])", "all(Muon_pt[Jet_muonIdx] > 0)",
    "few < 2 | Jet_pt[1] > 5", "Jet_pt[0] > 0 & Jet_odd[0] > 0", "~(Jet_pt[1] > 5)", "Jet_pt[0] < 5 | Jet_ok",
    "where(few > 0, Jet_pt[0], -1)", "where(Jet_pt[0] > 0, 1, 2)", "is_missing(Jet_pt[1])", "isfinite(Jet_odd[1])",
    "sum(Jet_pt[0] + Jet_odd)", "num(Jet_pt[0] > Jet_odd)", "few in [Jet_id[0], 2]",
])  # fmt: skip
def test_missing_values_and_indices(text: str) -> None:
    agree(text)


@pytest.mark.parametrize("name", sorted(REDUCERS))
@pytest.mark.parametrize("column", ["Jet_pt", "Jet_odd", "Jet_id", "Jet_ok", "Jet_bits", "Muon_pt[Jet_muonIdx]"])
def test_reducers_on_lists_of_any_length(name: str, column: str) -> None:
    agree(f"{name}({column})")


def test_a_column_with_a_default_is_the_column() -> None:
    agree("default(fired, false)", 0)
    agree("sum(default(Jet_pt, -1)) > default(few, 0)", 0)


def test_what_goes_by_the_identity_is_refused() -> None:
    with pytest.raises(UserError, match="it goes by the identity of the event, which a graph is not given"):
        in_onnx("flat(met, 1)")


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"default", "flat"}))
def test_every_function_is_compiled(name: str) -> None:
    columns = ["Jet_eta", "met", "Jet_pt / 64", "Jet_odd"]
    tolerance = 2e-6
    for first in ("Jet_eta", "Jet_eta * 1e-6", "Jet_pt", "Jet_odd", "few", "fired"):
        agree(f"{name}({', '.join([first, *columns][: FUNCTIONS[name].arity])})", tolerance)


def test_every_operator_is_known() -> None:
    # those of the tests above
    assert set(UNARY) == {"+", "-", "~", "!"}
    assert set(BINARY) == {"||", "&&", "|", "&", "<<", ">>", "+", "-", "*", "/", "//", "%", "**"}


def test_what_has_no_counterpart_is_refused_by_name() -> None:
    for text, part in (("1 + (Jet_id >> few)", "'(Jet_id >> few)'"), ("Jet_id << 63", "'Jet_id << 63'")):
        with pytest.raises(UserError, match=r"define\.x.*--features") as caught:
            compiled(text)
        assert part in str(caught.value)
    graph = Graph()
    expression = parse("2 * own(met)", "inputs.event.features.x", {"own": abs})
    with pytest.raises(UserError, match=r"inputs.event.features.x: '2 \* own\(met\)': 'own\(met\)' cannot be compiled"):
        compile_expression(graph, expression, lambda name: Value(FLOAT, graph.input(name, [1])))


# --- random expressions, in which everything is exact ---

EVENT_NUMBERS, LIST_NUMBERS = ["met", "few", "2", "-1.5", "0.1"], ["Jet_pt", "Jet_odd", "Jet_id", "Jet_bits", "Jet_eta"]
EVENT_CONDITIONS, LIST_CONDITIONS = ["fired", "true"], ["Jet_ok"]


@functools.cache
def numbers(lists: bool, depth: int) -> st.SearchStrategy[str]:
    leaves = st.sampled_from([*EVENT_NUMBERS, *(LIST_NUMBERS if lists else [])])
    if not depth:
        return leaves
    inner, truth = numbers(lists, depth - 1), conditions(lists, depth - 1)
    options = [
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*"]), inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["/", "//", "%"]), leaves),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
        st.builds("{}({})".format, st.sampled_from(["abs", "-", "floor", "ceil", "sign", "sqrt"]), inner),
        st.builds("where({}, {}, {})".format, truth, inner, inner),
    ]
    if not lists:
        deep, reducer = lists_of_numbers(depth - 1), st.sampled_from(["min", "max", "argmin", "argmax", "num"])
        options += [
            st.builds("{}({})".format, reducer, deep),
            st.builds("sum({})".format, st.sampled_from(["Jet_pt", "Jet_id", "Jet_odd", "Jet_ok"])),
            st.builds("{}[{}]".format, deep, st.integers(-3, 3)),
            st.builds("{}[few]".format, deep),
        ]
    return st.one_of(leaves, *options)


@functools.cache
def lists_of_numbers(depth: int) -> st.SearchStrategy[str]:
    # with a column, so that it is a list whatever is drawn
    whole = st.builds("({} + {})".format, numbers(True, depth), st.sampled_from(LIST_NUMBERS))
    mask = st.builds("(Jet_ok & {})".format, conditions(True, depth))
    return st.one_of(whole, st.builds("{}[{}]".format, whole, mask), st.just("Muon_pt[Jet_muonIdx]"))


@functools.cache
def conditions(lists: bool, depth: int) -> st.SearchStrategy[str]:
    leaves = st.sampled_from([*EVENT_CONDITIONS, *(LIST_CONDITIONS if lists else [])])
    if not depth:
        return leaves
    inner, number = conditions(lists, depth - 1), numbers(lists, depth - 1)
    comparison = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    options = [
        st.builds("({} {} {})".format, number, comparison, number),
        st.builds("({} {} {})".format, inner, st.sampled_from(["&", "|", "and", "or"]), inner),
        st.builds("(not {})".format, inner),
        st.builds("({} in [1, {}])".format, number, number),
        st.builds("{}({})".format, st.sampled_from(["isnan", "isfinite"]), number),
    ]
    if not lists:
        options.append(st.builds("{}({} > 0)".format, st.sampled_from(["any", "all"]), lists_of_numbers(depth - 1)))
    return st.one_of(leaves, *options)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.booleans().flatmap(lambda lists: st.one_of(numbers(lists, 3), conditions(lists, 3))))
def test_random_expressions(text: str) -> None:
    agree(text, 1e-6)
