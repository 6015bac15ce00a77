"""The expression language: grammar, evaluation, missing values, and what it refuses."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from typing import Any, Callable, NamedTuple

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nanoforge.errors import UserError
from nanoforge.events.expressions import load_functions, parse
from nanoforge.events.operations import missing_to_false, missing_to_nan, without_missing

N = None


def jagged(values: list, dtype: Any) -> ak.Array:
    return ak.values_astype(ak.Array(values), dtype)


COLUMNS = {
    "Jet_pt": jagged([[50.0, 30, 20], [], [40]], np.float32),
    "Jet_eta": jagged([[0.5, 3, -1], [], [2]], np.float32),
    "Jet_jetId": jagged([[2, 6, 1], [], [200]], np.uint8),
    "Jet_muonIdx1": jagged([[-1, 0, 5], [], [0]], np.int16),
    "Jet_good": ak.Array([[True, False, True], [], [True]]),
    "Muon_pt": jagged([[9.0, 8], [7], [6]], np.float32),
    "nJet": np.array([3, 0, 1], np.uint32),
    "MET_pt": np.array([1, 2, 3], np.float32),
    "ht": ak.Array([100.0, 0.0, 40.0]),
    "event": np.array([2**60 + 1, 2**63 + 1, 2], np.uint64),
    "run": np.array([2**60 + 1, 5, 2], np.uint64),
    "best": np.array([1, -1, 0], np.int32),
    "trigger": np.array([True, False, True]),
    "fixed": np.ones((3, 2), ">f4"),
    "deep": ak.Array([[[1.0, 2.0], [3.0]], [], [[], [4.0]]]),
    "process": ak.Array(["tt", "dy", "tt"]),
    "record": ak.Array([{"x": 1}] * 3),
    "label": "signal",
}


def run(text: str, **options: Any) -> Any:
    return parse(text, "select.cut", **options).evaluate(COLUMNS)


def values(text: str) -> Any:
    result = run(text)
    return result.tolist() if hasattr(result, "tolist") else result


def refusal(text: str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        run(text, **options)
    message = str(caught.value)
    assert message.startswith("select.cut: ")
    assert "\n" not in message
    return message


# --- grammar ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("7 // 2 + 7 % 4", 6),
        ("-2 ** 2", -4),
        ("2 ** 3 ** 2", 512),
        ("2 ** -1", 0.5),
        ("1 << 2 + 1", 8),
        ("0x1f", 31),
        ("1e3 + .5 + 2.", 1002.5),
        ("1 < 2 < 3", True),
        ("1 < 2 > 3", False),
        ("1 < 2 & 3 < 2", False),
        ("1 < 2 | 3 < 2 & 1 > 2", True),
        ("true and not False", True),
        ("not 1 == 2", True),
        ("!0 == 1", True),
        ("0 || 3 && 2", True),
        ("3 in [1, 3] && 3 not in (4, 5)", True),
        ("label in ['signal', \"data\"]", True),
        ("~true", False),
        ("~5", -6),
        ("6 & 3 | 8", 10),
        ("inf > pi", True),
        ("isnan(nan)", True),
        ("min(3, 1, 2) + max(1, 2)", 3),
        ("\n pow(2, 3)\t", 8),
    ],
)
def test_precedence_and_literals(text: str, expected: Any) -> None:
    value = values(text)
    assert value == expected
    assert type(value) is type(expected)


def test_names_and_elementwise() -> None:
    cut = parse("num(Jet.pt > 30 & abs(Jet_eta) < 2.4) >= 2 && label == 'Jet_mass' || delta_r > 1")
    assert cut.names == {"Jet_pt", "Jet_eta", "label", "delta_r"}
    assert not cut.elementwise
    assert parse("pt > 20 & min(pt, eta) > delta_phi(phi, 1) in [1]").elementwise
    for text in ("x[0]", "min(x)", "own(x)"):
        assert not parse(text, functions={"own": abs}).elementwise


def test_a_sum_of_a_thousand_terms_and_the_deepest_nesting() -> None:
    assert values("+".join(["nJet"] * 800)) == [2400, 0, 800]
    assert values("(" * 50 + "1" + ")" * 50) == 1
    text = "1"
    for _ in range(49):
        text = f"(a | b & c < d << e + f * {text})"
    assert len(parse(text).names) == 6


def test_expressions_can_be_pickled() -> None:
    cut = parse(" | ".join(["trigger"] * 400), "select.trigger")
    again = pickle.loads(pickle.dumps(cut))
    assert again == cut
    assert again.evaluate(COLUMNS).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Jet_pt >", "'Jet_pt >' ends too early, an operand is missing"),
        ("", "is empty"),
        ("(1", "ends too early, ')' is missing"),
        ("f(1, 2", "ends too early, ')' is missing"),
        ("Jet_pt)", "unexpected ')' at character 7"),
        ("1 2", "unexpected '2' at character 3"),
        ("2x", "unexpected 'x' at character 2"),
        ("nJet not 3", "unexpected 'not' at character 6"),
        ("1 + not trigger", "put it in brackets"),
        ("MET_pt ^ 2", "use ** for powers (ROOT) or != for exclusive or"),
        ("x = 1", "use == to compare"),
        ("sum(x=1)", "use == to compare"),
        ("x ? 1 : 2", "use where(condition, a, b)"),
        ("x if y else z", "use where(condition, a, b)"),
        ("lambda x: x", "unexpected 'x'"),
        ("a; b", "stumbles over ';' at character 2"),
        ("a \\ b", "stumbles over"),
        ("'abc", "its quote is never closed"),
        ("[1, 2]", "a list only follows 'in'"),
        ("nJet in nJet", "needs a list after 'in'"),
        ("nJet in []", "empty list"),
        ("x[1, 2]", "unexpected ','"),
        ("x[]", "malformed index"),
        ("x[1:2:3:4]", "malformed index"),
        ("(abs)(1)", "only a function can be called"),
        ("sqr(1)", "unknown function 'sqr'; did you mean 'sqrt'?"),
        ("sqrt(1, 2)", "sqrt with 2 arguments, it takes 1"),
        ("hypot(1)", "hypot with 1 argument, it takes 2"),
        ("min()", "min with 0 arguments"),
        ("sum(Jet_pt, 1)", "sum with 2 arguments"),
        ("Jet..pt", "a dot only joins"),
        ("Jet_pt[0].x", "a dot only joins"),
        ("Jet._pt", "names do not begin with '_'"),
        ("naïve", "stumbles over"),
    ],
)
def test_syntax_errors_name_place_and_remedy(text: str, message: str) -> None:
    assert message in refusal(text)


def test_long_texts_are_truncated_in_messages() -> None:
    assert len(refusal("nowhere + " * 100 + "1")) < 200


# --- evaluation ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("num(Jet_pt > 25 & abs(Jet_eta) < 2.4) >= 1", [True, False, True]),
        ("Jet.pt / 10", [[5, 3, 2], [], [4]]),
        ("Jet_pt * MET_pt", [[50, 30, 20], [], [120]]),
        ("MET_pt + ht", [101, 2, 43]),
        ("25 < Jet_pt <= 40", [[False, True, False], [], [True]]),
        ("Jet_jetId in [1, 6]", [[False, True, True], [], [False]]),
        ("Jet_jetId not in (1, 6)", [[True, False, False], [], [True]]),
        ("(Jet_jetId & 2) != 0 & Jet_pt > 25", [[True, True, False], [], [False]]),
        ("~Jet_good | Jet_pt > 45", [[True, True, False], [], [False]]),
        ("nJet && trigger", [True, False, True]),
        ("!nJet", [False, True, False]),
        ("not trigger or MET_pt > 2", [False, True, True]),
        ("label == 'signal' & nJet > 0", [True, False, True]),
        ("label != 'signal'", False),
        ("process == 'tt'", [True, False, True]),
        ("where(Jet_pt > 25, Jet_pt, -1)", [[50, 30, -1], [], [40]]),
        ("where(MET_pt > 1, Jet_pt, 0)", [[0, 0, 0], [], [40]]),
        ("where(label == 'signal', 2, MET_pt)", [2, 2, 2]),
        ("where(label == 'data', 2, Jet_pt)", [[50, 30, 20], [], [40]]),
        ("where(trigger, trigger, nJet)", [1, 0, 1]),
        ("clip(Jet_jetId, -5, 100)", [[2, 6, 1], [], [100]]),
        ("max(Jet_pt, 35)", [[50, 35, 35], [], [40]]),
        ("round(Jet_pt / 20)", [[2, 2, 1], [], [2]]),
        ("sum(fixed)", [2, 2, 2]),
    ],
)
def test_elementwise(text: str, expected: Any) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("num(Jet_pt)", [3, 0, 1]),
        ("num(Jet_good)", [2, 0, 1]),
        ("count_nonzero(Jet_muonIdx1)", [2, 0, 0]),
        ("sum(Jet_pt[Jet_pt > 25])", [80, 0, 40]),
        ("sum(Jet_jetId)", [9, 0, 200]),
        ("sum(Jet_good)", [2, 0, 1]),
        ("any(Jet_pt > 45)", [True, False, False]),
        ("all(Jet_pt > 25)", [False, True, True]),
        ("min(Jet_pt)", [20, N, 40]),
        ("max(Jet_jetId)", [6, N, 200]),
        ("mean(Muon_pt)", [8.5, 7, 6]),
        ("mean(Jet_jetId)", [3, N, 200]),
        ("argmax(Jet_eta)", [1, N, 0]),
        ("argmin(Jet_eta)", [2, N, 0]),
        ("sum(deep)", [[3, 3], [], [0, 4]]),
        ("sum(sum(deep))", [6, 0, 4]),
    ],
)
def test_reducers(text: str, expected: Any) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Jet_pt[0]", [50, N, 40]),
        ("Jet_pt[1]", [30, N, N]),
        ("Jet_pt[-1]", [20, N, 40]),
        ("Jet_pt[-2]", [30, N, N]),
        ("Jet_pt[:2]", [[50, 30], [], [40]]),
        ("Jet_pt[1:]", [[30, 20], [], []]),
        ("Jet_pt[::-1]", [[20, 30, 50], [], [40]]),
        ("Jet_pt[-2:]", [[30, 20], [], [40]]),
        ("Jet_pt[Jet_good]", [[50, 20], [], [40]]),
        ("Jet_pt[Jet_pt > 25 & trigger][0]", [50, N, 40]),
        ("Muon_pt[Jet_muonIdx1]", [[N, 9, N], [], [6]]),
        ("Jet_pt[argmax(Jet_eta)]", [30, N, 40]),
        ("Jet_pt[best]", [30, N, 40]),
        ("Jet_pt[nJet - 1]", [20, N, 40]),
        ("Muon_pt[Jet_muonIdx1[0]]", [N, N, 6]),
        ("Jet_pt[Muon_pt[Jet_muonIdx1] > 7]", [[30], [], []]),
        ("deep[0]", [[1, 2], N, []]),
        ("deep[0][-1]", [2, N, N]),
        ("deep[num(deep) > 0]", [[[1, 2], [3]], [], [[4]]]),
        ("fixed[1]", [1, 1, 1]),
    ],
)
def test_indices_masks_and_gathering(text: str, expected: Any) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Jet_pt[1] + MET_pt", [31, N, N]),
        ("Jet_pt[1] > 20", [True, N, N]),
        ("!(Jet_pt[1] > 20)", [False, N, N]),
        ("sqrt(Jet_pt[0] - 4 * Jet_pt[0]) > 0", [False, N, False]),
        ("nJet < 1 | Jet_pt[1] > 20", [True, True, N]),
        ("where(nJet > 0, Jet_pt[0], -1)", [50, -1, 40]),
        ("where(nJet > 0, -1, Jet_pt[0])", [-1, N, -1]),
        ("where(Jet_pt[0] > 45, Jet_pt[1], Jet_pt[0])", [30, N, 40]),
        ("where(is_missing(Jet_pt[1]), Jet_pt, Jet_pt[1])", [[30, 30, 30], [], [40]]),
        ("where(Jet_pt > 25, Jet_pt, Jet_pt[1])", [[50, 30, 30], [], [40]]),
        ("where(Jet_pt > 45, Jet_pt, Jet_pt[1])", [[50, 30, 30], [], [N]]),
        ("where(Jet_pt[0] > 45, Muon_pt, -1)", [[9, 8], [N], [-1]]),
        ("where(Jet_good, Muon_pt[Jet_muonIdx1], 0)", [[N, 0, N], [], [6]]),
        ("isnan(Jet_pt[1])", [False, True, True]),
        ("is_missing(Jet_pt[1])", [False, True, True]),
        ("is_missing(log(MET_pt - 2))", [True, False, False]),
        ("is_missing(Muon_pt[Jet_muonIdx1])", [[True, False, True], [], [False]]),
        ("is_missing(Jet_pt + Jet_pt[1])", [[False, False, False], [], [True]]),
        ("is_missing(argmax(Jet_eta))", [False, True, False]),
        ("isfinite(Jet_pt[0])", [True, False, True]),
        ("is_missing(1) | isnan(nan)", True),
        ("nJet > 1 & Jet_pt[1] > 20", [True, False, False]),
        ("where(Jet_pt[0] > 45, Jet_pt[0], 0)", [50, N, 0]),
        ("num(Muon_pt[Jet_muonIdx1])", [1, 0, 1]),
        ("sum(Muon_pt[Jet_muonIdx1])", [9, 0, 6]),
        ("any(Muon_pt[Jet_muonIdx1] > 7)", [True, False, False]),
        ("all(Muon_pt[Jet_muonIdx1] > 7)", [True, True, False]),
        ("max(Muon_pt[Jet_muonIdx1])", [9, N, 6]),
        ("Jet_pt[argmax(Muon_pt[Jet_muonIdx1])]", [30, N, 40]),
    ],
)
def test_missing_values_propagate_and_reducers_skip_them(text: str, expected: Any) -> None:
    assert values(text) == expected


LACKING = {
    "Jet_pt": jagged([[50.0, 30], [40], [], []], np.float32),
    "Jet_eta": jagged([[0.0, 1], [2], [], []], np.float32),
    "Jet_phi": jagged([[0.0, 3], [2], [], []], np.float32),
    "Muon_pt": jagged([[10.0], [], [20, 5], []], np.float32),
    "Muon_eta": jagged([[0.0], [], [1, 2], []], np.float32),
    "Muon_phi": jagged([[0.0], [], [1, 2], []], np.float32),
    "nMuon": np.array([1, 0, 2, 0], np.uint32),
}
AWAY = "delta_r(Jet_eta, Jet_phi, Muon_eta[0], Muon_phi[0]) > 0.4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Jet_pt / max(Muon_pt)", [[5, 3], [N], [], []]),
        ("max(Muon_pt) * Jet_pt", [[500, 300], [N], [], []]),
        ("max(Jet_pt, Muon_pt[0])", [[50, 30], [N], [], []]),
        ("-Jet_pt + clip(Jet_pt, 0, Muon_pt[0])", [[-40, -20], [N], [], []]),
        ("Jet_pt == Muon_pt[0]", [[False, False], [N], [], []]),
        ("Jet_pt > 35 && Muon_pt[0] > 5", [[True, False], [N], [], []]),
        ("Jet_pt > 45 && Muon_pt[0] > 5", [[True, False], [False], [], []]),
        ("Muon_pt[0] > 50 or Jet_pt > 35", [[True, False], [True], [], []]),
        ("Jet_pt in [40, 50, Muon_pt[0]]", [[True, False], [True], [], []]),
        ("5 < Jet_pt < Muon_pt[0]", [[False, False], [N], [], []]),
        ("where(Muon_pt[0] > 5, Jet_pt, 0)", [[50, 30], [N], [], []]),
        ("where(nMuon > 0, Jet_pt / Muon_pt[0], -1)", [[5, 3], [-1], [], []]),
        (AWAY, [[False, True], [N], [], []]),
        (f"nMuon == 0 | {AWAY}", [[False, True], [True], [], []]),
        (f"Jet_pt[nMuon == 0 | {AWAY}]", [[30], [40], [], []]),
        (f"Jet_pt[{AWAY}]", [[30], [], [], []]),
        (f"!any(!({AWAY}))", [False, True, True, True]),
        (f"all({AWAY})", [False, True, True, True]),
        (f"num({AWAY})", [1, 0, 0, 0]),
        ("num(Jet_pt[Jet_pt > mean(Jet_pt)])", [1, 0, 0, 0]),
        ("num(Jet_pt / Muon_pt[0])", [2, 0, 0, 0]),
        ("sum(Jet_pt[Jet_pt > 2 * Muon_pt[0]])", [80, 0, 0, 0]),
        ("max(Jet_pt / Muon_pt[0])", [5, N, N, N]),
        ("mean(Jet_pt / Muon_pt[0])", [4, N, N, N]),
        ("Jet_pt[argmax(Muon_pt) + 0 * argmax(Jet_pt)]", [50, N, N, N]),
    ],
)
def test_missing_values_beside_lists_leave_them_their_lengths(text: str, expected: Any) -> None:
    result = parse(text).evaluate(LACKING)
    assert result.tolist() == expected
    for first, last in ((0, 2), (1, 2), (2, 4), (3, 4), (0, 0)):
        part = parse(text).evaluate({name: column[first:last] for name, column in LACKING.items()})
        assert part.tolist() == expected[first:last]


def test_missing_values_keep_single_precision() -> None:
    for text in ("Jet_pt / max(Muon_pt)", "where(nMuon > 0, Jet_pt / Muon_pt[0], -1)", AWAY.partition(" >")[0]):
        filled = missing_to_nan(parse(text).evaluate(LACKING))
        assert ak.to_numpy(ak.flatten(filled)).dtype == np.float32
        assert ak.num(filled).tolist() == [2, 1, 0, 0]


def test_missing_to_nan_and_to_false() -> None:
    leading = missing_to_nan(run("Jet_pt[0]"))
    assert isinstance(leading, np.ndarray)
    assert leading.dtype == np.float32
    np.testing.assert_array_equal(leading, [50, np.nan, 40])
    np.testing.assert_array_equal(missing_to_nan(run("argmax(Jet_eta)")), [1, np.nan, 0])
    assert ak.to_list(missing_to_false(run("Muon_pt[Jet_muonIdx1] > 7"))) == [[False, True, False], [], [False]]
    assert missing_to_false(run("Jet_pt[0] > 45")).tolist() == [True, False, False]
    plain = COLUMNS["MET_pt"]
    assert missing_to_nan(plain) is plain
    assert missing_to_false(plain) is plain
    assert missing_to_nan(1.5) == 1.5
    assert without_missing(run("Jet_pt[0] > 45")).tolist() == [True, False, False]
    np.testing.assert_array_equal(without_missing(run("Jet_pt[0]")), [50, np.nan, 40])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nJet - 5", [-2, -5, -4]),
        ("-nJet", [-3, 0, -1]),
        ("nJet + run % 7", [3 + (2**60 + 1) % 7, 5, 3]),
        ("Jet_jetId * 200", [[400, 1200, 200], [], [40000]]),
        ("~Jet_jetId", [[-3, -7, -2], [], [-201]]),
        ("Jet_jetId << 4", [[32, 96, 16], [], [3200]]),
        ("abs(Jet_muonIdx1 * 32767)", [[32767, 0, 163835], [], [0]]),
        ("Jet_jetId == 300", [[False, False, False], [], [False]]),
        ("Jet_jetId > -1", [[True, True, True], [], [True]]),
        ("trigger + trigger", [2, 0, 2]),
        ("nJet ** 2", [9, 0, 1]),
        ("2 ** nJet", [8.0, 1.0, 2.0]),
        ("nJet ** -1", [1 / 3, np.inf, 1.0]),
        ("event == 1152921504606846977", [True, False, False]),
        ("event == 1152921504606846976", [False, False, False]),
        ("event in [9223372036854775809]", [False, True, False]),
        ("event > -1", [True, True, True]),
        ("nJet < event", [True, True, True]),
        ("18446744073709551615 > event", [True, True, True]),
        ("Jet_jetId < 18446744073709551615", [[True, True, True], [], [True]]),
        ("1 / nJet", [1 / 3, np.inf, 1.0]),
        ("7 // nJet", [2.0, np.nan, 7.0]),
        ("7 % nJet", [1.0, np.nan, 0.0]),
        ("Jet_jetId // 2", [[1, 3, 0], [], [100]]),
        ("Jet_jetId % nJet", [[2.0, 0.0, 1.0], [], [0.0]]),
        ("nJet // 0", [np.nan] * 3),
        ("nJet % Jet_jetId[1]", [3.0, N, N]),
        ("run % 1152921504606846976", [1, 5, 2]),
        ("run % (nJet + 1152921504606846973)", [1.0, 5.0, 2.0]),
        ("7 % 0", np.nan),
    ],
)
def test_integers_never_wrap_and_compare_exactly(text: str, expected: Any) -> None:
    assert repr(values(text)) == repr(expected)


def test_uint64_compares_exactly_inside_lists() -> None:
    columns = {"id": ak.Array(np.array([[2**63 + 1, 2**60 + 1]], np.uint64))}
    assert parse("id > -1 & id == 9223372036854775809").evaluate(columns).tolist() == [[True, False]]


@pytest.mark.parametrize(
    "text", ["{} * 2.5", "{} + 1", "where({} > 1, {}, 2.5)", "clip({}, 0, 1e3)", "delta_phi({}, 3)"]
)
def test_single_precision_stays(text: str) -> None:
    for name in ("MET_pt", "Jet_pt"):
        result = run(text.format(name, name))
        assert (result if isinstance(result, np.ndarray) else ak.to_numpy(ak.flatten(result))).dtype == np.float32
    assert run("sum(Jet_pt)").dtype == np.float32


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.sampled_from([np.float32, np.float64]))
def test_delta_phi_stays_in_its_interval(angles: list[float], dtype: Any) -> None:
    special = [np.pi, -np.pi, 3 * np.pi, 1e-7, np.nextafter(np.pi, 4), np.nextafter(-np.pi, -4), np.nextafter(np.pi, 0)]
    a = np.array(angles + special, dtype)
    result = parse("delta_phi(a, 0)").evaluate({"a": a})
    assert ((result >= -dtype(np.pi)) & (result < dtype(np.pi))).all()
    size = np.abs(a).max() * np.finfo(dtype).eps + 1e-6
    np.testing.assert_allclose(np.exp(1j * result.astype(float)), np.exp(1j * a.astype(float)), atol=4 * size)
    assert result[-4] == dtype(1e-7)


def test_delta_r() -> None:
    columns = {"e": np.array([0.0]), "p": np.array([3.1]), "e2": np.array([3.0]), "p2": np.array([-3.1])}
    (distance,) = parse("delta_r(e, p, e2, p2)").evaluate(columns)
    assert distance == pytest.approx(np.hypot(3, 2 * np.pi - 6.2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Jte_pt > 1", "no column 'Jte_pt'; did you mean 'Jet_pt'"),
        ("Jet_pt + Muon_pt", "lists of different lengths"),
        ("Jet_pt > 1 & Muon_pt > 1", "lists of different lengths"),
        ("Jet_pt[Muon_pt > 1]", "lists of different lengths"),
        ("sum(MET_pt)", "'MET_pt' is already one value per event"),
        ("sum(Jet_pt[0])", "'Jet_pt[0]' is already one value per event"),
        ("MET_pt[0]", "'MET_pt' is already one value per event"),
        ("Jet_pt[trigger]", "one condition per event"),
        ("Jet_pt[Jet_pt]", "integers or conditions as its index, not float"),
        ("Jet_pt[0.5]", "integers or conditions"),
        ("Jet_pt[:nJet]", "integer constants"),
        ("Jet_pt[::0]", "step of zero"),
        ("label + 1", "needs numbers, not a string"),
        ("sqrt(process)", "needs numbers, not a string"),
        ("label == 1", "compares a string with a number"),
        ("label < 'b'", "orders strings"),
        ("label && trigger", "not a string"),
        ("record + 1", "not of records"),
        ("Jet_jetId & 2 == 2", "write (Jet_jetId & 2) == 2"),
        ("nJet & trigger", "joins integer with boolean by '&'"),
        ("MET_pt | 1", "joins float with integer by '|'"),
        ("MET_pt & MET_pt", "takes two conditions or two integers"),
        ("~MET_pt", "needs integers, not float"),
        ("1.5 << 2", "needs integers, not float"),
        ("num(Jet_jetId & 2)", "write num((x & 2) != 0)"),
        ("num((Jet_jetId | 2)) > 1", "write num((x & 2) != 0)"),
        ("num(~Jet_jetId)", "write num((x & 2) != 0)"),
        ("num(Jet_jetId >> 1) + num(1 << Jet_jetId)", "write num((x & 2) != 0)"),
        ("event + 0", "holds an integer above 9223372036854775807"),
        ("event % 2 == 0", "such can only be compared"),
        ("event & 1", "such can only be compared"),
    ],
)
def test_mistakes_name_the_remedy(text: str, message: str) -> None:
    assert message in refusal(text)


def test_a_mistake_names_its_part_of_the_expression() -> None:
    assert refusal("nJet > 1 & sum(MET_pt) > 3").startswith(
        "select.cut: 'nJet > 1 & sum(MET_pt) > 3': 'sum(MET_pt)' has nothing to reduce"
    )


def test_columns_must_have_one_length() -> None:
    with pytest.raises(UserError, match="'b' has 2 values, others have 1"):
        parse("a + b").evaluate({"a": np.zeros(1), "b": np.zeros(2)})


def test_an_empty_chunk() -> None:
    columns = {name: column if isinstance(column, str) else column[:0] for name, column in COLUMNS.items()}
    for text in (
        "Jet_pt[0]",
        "Jet_pt[-1]",
        "Jet_pt[best]",
        "Jet_pt[argmax(Jet_pt)]",
        "Muon_pt[Jet_muonIdx1]",
        "nJet - 5",
    ):
        assert len(parse(text).evaluate(columns)) == 0
    assert parse("num(Jet_pt[Jet_pt > 1]) > 1").evaluate(columns).dtype == bool


def test_each_column_is_read_once_and_only_if_named() -> None:
    class Lazy(dict):
        def __getitem__(self, name: str) -> Any:
            self.read = [*getattr(self, "read", []), name]
            return super().__getitem__(name)

    columns = Lazy(COLUMNS)
    parse("Jet_pt > 1 & Jet_pt < Jet_pt[0]").evaluate(columns)
    assert columns.read == ["Jet_pt"]


def test_parsing_and_flat_evaluation_need_no_awkward() -> None:
    code = (
        "import sys, numpy as np; from nanoforge.events.expressions import parse; x = np.arange(4.0);"
        "r = parse('pt > 1 & abs(where(pt > 2, pt, 0)) < 3').evaluate({'pt': x});"
        "assert type(r) is np.ndarray and r.tolist() == [False, False, True, False], r;"
        "assert 'awkward' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- the user's own functions ---


def test_user_functions() -> None:
    own = {"double": lambda x: 2 * x, "broken": lambda: 1 / 0, "short": lambda x: np.zeros(1), "odd": lambda: [1]}
    assert ak.to_list(run("double(Jet_pt) + 1", functions=own)) == [[101, 61, 41], [], [81]]
    line = own["broken"].__code__.co_firstlineno
    broken = f"fails at test_expressions.py:{line} with ZeroDivisionError: division by zero"
    assert broken in refusal("1 + broken()", functions=own)
    assert "mixes lengths: 'short' has 1 values" in refusal("short(Jet_pt)", functions=own)
    assert "needs an array or a scalar, not list" in refusal("odd()", functions=own)
    assert "did you mean 'double'?" in refusal("duoble(Jet_pt)", functions=own)


def test_load_functions(tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "own_language.py").write_text("def double(x): return 2 * x\nfour = 4\ndef sqrt(x): return x\n")
    (tmp_path / "own_broken.py").write_text("1 / 0\n")
    (tmp_path / "own_typo.py").write_text("\ndef f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    functions = load_functions(["own_language:double"], "functions")
    assert run("double(nJet)", functions=functions).tolist() == [6, 0, 2]
    refused = {
        "own_language:duoble": "did you mean 'double'",
        "own_language:four": "not a function",
        "own_language:sqrt": "would shadow 'sqrt'",
        "own_language": "not of the form module:function",
        "own_language:__name__": "not of the form",
        "own_absent:f": "cannot import 'own_absent'",
        "own_broken:f": "ZeroDivisionError",
        f"{tmp_path}/own_broken.py:f": r"own_broken.py' at own_broken.py:1 \(ZeroDivisionError: .*: correct it",
        f"{tmp_path}/own_typo.py:f": r"own_typo.py' at own_typo.py:2 \(SyntaxError: .*: correct it",
    }
    for spec, message in refused.items():
        with pytest.raises(UserError, match=f"^functions: .*{message}"):
            load_functions([spec], "functions")


# --- hostile texts ---


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "().__class__",
        "x.__class__",
        "Jet_pt.__class__.__mro__[1]",
        "eval('1')",
        "f'{1}'",
        "(" * 10_000,
        "(" * 4_000,
        "-" * 4_000,
        "[" * 4_000,
        "not " * 1_000,
        "abs(" * 1_000,
        "2**" * 1_300 + "2",
        "x" + "[0]" * 1_300,
        "(" * 51 + "1" + ")" * 51,
    ],
)
def test_hostile_texts_are_refused_at_once(text: str) -> None:
    assert min(seconds(lambda: refusal(text)) for _ in range(3)) < 0.05


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9**9**9**9", np.inf),
        ("9" * 4_000, np.inf),
        ("0x" + "f" * 4_000, np.inf),
        ("9223372036854775807 + 1", 2.0**63),
        ("1 << 10**9", 0),
        ("1 / 0", np.inf),
    ],
)
def test_huge_constants_are_floats_and_quick(text: str, expected: float) -> None:
    assert values(text) == expected
    assert min(seconds(lambda: values(text)) for _ in range(3)) < 0.05


PIECES = (
    "( ) [ ] , : . + - * / // % ** << >> < <= == != in not and or & | && || ! ~ ^ = 1 2.5 0x1 'a' Jet_pt nJet label "
)
WORDS = st.sampled_from([*PIECES.split(), "trigger", "sum", "where", "max", "abs", "pi", "best", " "])
TEXTS = st.one_of(
    st.text(max_size=60), st.lists(WORDS, max_size=12).map(" ".join), st.lists(WORDS, max_size=12).map("".join)
)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_any_text_gives_a_value_or_a_user_error(text: str) -> None:
    start = time.process_time()
    try:
        run(text)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
    assert time.process_time() - start < 10  # a text that multiplies takes minutes


# --- printed trees ---


class Tree(NamedTuple):
    """A random expression: its text, how tight it binds, and what numpy makes of the columns."""

    text: str
    level: int
    value: Callable[[dict], Any]

    def within(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"


ARITHMETIC = {"+": (6, np.add), "-": (6, np.subtract), "*": (7, np.multiply), "/": (7, np.divide)}


def quotient(function: Callable) -> Callable:
    """Divide integers as numpy does, but to floats and with NaN where the divisor is 0."""

    def divide(a: Any, b: Any) -> Any:
        result = function(a, b)
        return result if np.result_type(result).kind == "f" else np.where(b, result, np.nan)

    return divide


ARITHMETIC |= {"%": (7, quotient(np.remainder)), "//": (7, quotient(np.floor_divide))}
COMPARE = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
LOGIC = {"&": (2, np.logical_and), "&&": (2, np.logical_and), "and": (2, np.logical_and)}
LOGIC |= {"|": (1, np.logical_or), "||": (1, np.logical_or), "or": (1, np.logical_or)}


def column(name: str) -> Tree:
    return Tree(name, 10, lambda columns: columns[name])


def infix(left: Tree, symbol: str, level: int, function: Callable, right: Tree) -> Tree:
    text = f"{left.within(level)} {symbol} {right.within(level + 1)}"
    return Tree(text, level, lambda c: function(left.value(c), right.value(c)))


def comparison(left: Tree, symbol: str, right: Tree) -> Tree:
    text = f"{left.within(5)} {symbol} {right.within(5)}"
    return Tree(text, 4, lambda c: COMPARE[symbol](left.value(c), right.value(c)))


def chain(a: Tree, first: str, b: Tree, second: str, c: Tree) -> Tree:
    text = f"{a.within(5)} {first} {b.within(5)} {second} {c.within(5)}"
    return Tree(
        text,
        4,
        lambda d: COMPARE[first](a.value(d), b.value(d)) & COMPARE[second](b.value(d), c.value(d)),
    )


def negation(symbol: str, operand: Tree) -> Tree:
    level = 3 if symbol == "not " else 8
    return Tree(symbol + operand.within(level), level, lambda c: np.logical_not(operand.value(c)))


def grown(pair: tuple[st.SearchStrategy, st.SearchStrategy]) -> tuple[st.SearchStrategy, st.SearchStrategy]:
    numbers, truths = pair
    minus = st.builds(lambda t: Tree("-" + t.within(8), 8, lambda c: np.negative(t.value(c))), numbers)
    square = st.builds(lambda t: Tree(t.within(10) + " ** 2", 9, lambda c: np.power(t.value(c), 2)), numbers)
    absolute = st.builds(lambda t: Tree(f"abs({t.text})", 10, lambda c: np.absolute(t.value(c))), numbers)
    smaller = st.builds(
        lambda s, t: Tree(f"min({s.text}, {t.text})", 10, lambda c: np.minimum(s.value(c), t.value(c))),
        numbers,
        numbers,
    )
    choice = st.builds(
        lambda k, s, t: Tree(
            f"where({k.text}, {s.text}, {t.text})", 10, lambda c: np.where(k.value(c), s.value(c), t.value(c))
        ),
        truths,
        numbers,
        numbers,
    )
    binary = st.builds(lambda s, o, t: infix(s, o, *ARITHMETIC[o], t), numbers, st.sampled_from([*ARITHMETIC]), numbers)
    compare = st.builds(comparison, numbers, st.sampled_from([*COMPARE]), numbers)
    chains = st.builds(chain, numbers, st.sampled_from([*COMPARE]), numbers, st.sampled_from([*COMPARE]), numbers)
    logic = st.builds(lambda s, o, t: infix(s, o, *LOGIC[o], t), truths, st.sampled_from([*LOGIC]), truths)
    inverse = st.builds(negation, st.sampled_from(["!", "~", "not "]), truths)
    return (
        st.one_of(numbers, minus, square, absolute, smaller, choice, binary, binary),
        st.one_of(truths, compare, chains, logic, logic, inverse),
    )


NUMBERS: st.SearchStrategy = st.sampled_from([column("x"), column("y"), column("n"), Tree("0.5", 10, lambda c: 0.5)])
PAIR = (NUMBERS, st.just(column("b")))
for _ in range(3):
    PAIR = grown(PAIR)
TREES = st.one_of(*PAIR)
FLOATS = st.floats(-100, 100, width=32)
ROWS = st.lists(st.tuples(FLOATS, FLOATS, st.integers(-120, 120), st.booleans()), max_size=6)


def flat(rows: list, x: Any, y: Any, n: Any) -> dict[str, np.ndarray]:
    columns = list(zip(*rows)) or [(), (), (), ()]
    return {k: np.array(c, t) for k, c, t in zip("xynb", columns, (x, y, n, bool))}


@settings(max_examples=100, deadline=None)
@given(TREES, ROWS)
def test_a_printed_tree_evaluates_as_numpy_does(tree: Tree, rows: list) -> None:
    columns = flat(rows, np.float64, np.float64, np.int64)
    with np.errstate(all="ignore"):
        expected = tree.value(columns)
    result = parse(tree.text).evaluate(columns)
    np.testing.assert_array_equal(result, expected, strict=isinstance(result, np.ndarray))


@settings(max_examples=100, deadline=None)
@given(TREES, st.lists(ROWS, min_size=1, max_size=4), st.sampled_from([np.int8, np.int32, np.int64]))
def test_flat_and_jagged_evaluation_agree(tree: Tree, events: list, integer: Any) -> None:
    counts = [len(rows) for rows in events]
    content = flat([row for rows in events for row in rows], np.float32, np.float64, integer)
    expression = parse(tree.text)
    assert expression.elementwise
    on_content = expression.evaluate(content)
    on_lists = expression.evaluate({name: ak.unflatten(column, counts) for name, column in content.items()})
    if not isinstance(on_content, np.ndarray):
        assert on_lists == on_content
        return
    assert ak.num(on_lists).tolist() == counts
    np.testing.assert_array_equal(ak.to_numpy(ak.flatten(on_lists)), on_content, strict=True)


@settings(max_examples=100, deadline=None)
@given(TREES, st.lists(st.tuples(ROWS, st.none() | FLOATS), min_size=1, max_size=4))
def test_a_missing_value_beside_lists_is_as_one_in_each_element(tree: Tree, events: list) -> None:
    counts = [len(rows) for rows, _ in events]
    content = flat([row for rows, _ in events for row in rows], np.float64, np.float64, np.int64)
    first = ak.Array([None, 0.0, *(value for _, value in events)])[2:]
    content["y"] = first[np.repeat(np.arange(len(events)), counts)]
    expression = parse(tree.text)
    if expression.names <= {"y"}:
        return
    inside = {name: ak.unflatten(column, counts) for name, column in content.items()}
    result = expression.evaluate(inside | {"y": first})
    assert ak.num(result).tolist() == counts
    assert repr(result.tolist()) == repr(expression.evaluate(inside).tolist())
    there = ~ak.to_numpy(ak.is_none(content["y"]))
    on_content = expression.evaluate({name: ak.to_numpy(ak.drop_none(c[there])) for name, c in content.items()})
    np.testing.assert_array_equal(ak.to_numpy(ak.drop_none(ak.flatten(result)[there])), on_content)
