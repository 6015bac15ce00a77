"""Table rows from columns: right values, and mistakes that are found before the first event is read."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import toys
import uproot
from nanoforge.config import Analysis
from nanoforge.dataset.inputs import ChosenRows
from nanoforge.dataset.table import Table, TableBuilder
from nanoforge.errors import DataError, FileError, NanoForgeError, UserError
from nanoforge.events.frame import Frame
from nanoforge.events.open import open_events
from nanoforge.provenance import Accounting

JETS = {"collection": "Jet", "length": 3, "features": ["pt", "eta"]}
BASE: dict[str, Any] = {
    "name": "test",
    "samples": {"tt": {"files": "unused", "label": "signal"}},
    "inputs": {"event": {"features": ["MET_pt"]}, "jets": JETS},
    "target": {"regression": {"met": "MET_pt"}},
}
SV = {"collection": "SV", "length": 4, "features": ["pt"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return toys.write(tmp_path / "toy.root", toys.nano_events(300), basket=100)


def analysis(**changes: Any) -> Analysis:
    return Analysis.model_validate({**copy.deepcopy(BASE), **changes})


def builder(path: Path, file: Any, stage: str = "convert", **changes: Any) -> TableBuilder:
    what = analysis(**changes)
    return TableBuilder(what, what.samples["tt"] if stage == "convert" else None, file, stage)


def build(path: Path, stage: str = "convert", **changes: Any) -> tuple[Frame, ChosenRows, Table, Accounting]:
    """Make the table of the whole file, as one chunk."""
    with open_events(str(path), "Events") as file:
        made = builder(path, file, stage, **changes)
        (chunk,) = file.chunks(made.columns, 10_000)
        frame, books = made.frame(chunk), Accounting()
        made.weights(frame)
        rows = made.select(frame, books)
        table = made.table(frame, rows, books)
        made.mend(frame, rows, table)
        books.check()
    return frame, rows, table, books


def features(path: Path, name: str, **changes: Any) -> list[list[list[float]]]:
    """Return the valid constituents of every row."""
    values, valid = build(path, **changes)[2].inputs[name]
    assert not values[~valid].any(), "padding is 0"
    assert all(sorted(row, reverse=True) == row for row in valid.tolist()), "valid ones come first"
    return [row[ok].tolist() for row, ok in zip(values, valid)]


def refusal(path: Path, stage: str = "convert", **changes: Any) -> NanoForgeError:
    """Return the error that comes before anything is read."""
    with open_events(str(path), "Events") as file, pytest.raises(NanoForgeError) as caught:
        builder(path, file, stage, **changes)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    return caught.value


def late_refusal(path: Path, **changes: Any) -> NanoForgeError:
    """Return the error that only the data show."""
    with open_events(str(path), "Events") as file:
        builder(path, file, **changes)
    with pytest.raises(NanoForgeError) as caught:
        build(path, **changes)
    assert "\n" not in str(caught.value)
    return caught.value


# --- found before the first event is read ---

BY_ROW = {"row": "Jet", "inputs": {"jet": {"features": ["pt"]}}}


def event(*names: Any) -> dict[str, Any]:
    return {"inputs": {"e": {"features": list(names)}}}


def jets(**changes: Any) -> dict[str, Any]:
    return {"inputs": {"j": {**JETS, **changes}}}


def vertices(**changes: Any) -> dict[str, Any]:
    return {"row": "Jet", "inputs": {"s": {**SV, **changes}}}


MASKED = "Jet_pt[Jet_pt > -1e9]"
TWO_MASKS = {"hard_pt": "Jet_pt[Jet_pt > 30]", "hard_eta": "Jet_eta[Jet_eta > 1]"}
WRONG_DEPTH: list[tuple[dict[str, Any], str]] = [
    (
        {"select": {"a": "Jet_pt > 20"}},
        "select.a: 'Jet_pt > 20' gives one value per Jet, but a cut needs one per event",
    ),
    ({"select": {"a": f"{MASKED} > 3"}}, f"select.a: '{MASKED} > 3' gives one value per list element, but a cut needs"),
    (
        {**BY_ROW, "select": {"a": "SV_pt > 3"}},
        "select.a: 'SV_pt > 3' gives one value per SV, but a cut needs one per event or",
    ),
    (event("Jet_pt"), "inputs.e.features.Jet_pt: 'Jet_pt' gives a list per event (one value per Jet)"),
    (event({"x": "Jet_pt * 2"}), "inputs.e.features.x: 'Jet_pt * 2' gives a list per event (one value per Jet)"),
    (
        event({"x": "Jet_pt[:2]"}),
        "inputs.e.features.x: 'Jet_pt[:2]' gives a list per event, but one value per event is",
    ),
    (
        jets(features=["SV_pt"]),
        "inputs.j.features.SV_pt: 'SV_pt' gives a list per event (one value per SV), but one value per Jet",
    ),
    (jets(features=[{"x": MASKED}]), f"inputs.j.features.x: '{MASKED}' gives a list per event, but one value per Jet"),
    (
        jets(features=[{"x": "pt + SV_pt"}]),
        "inputs.j.features.x: 'pt + SV_pt' gives a list per event (one value per SV)",
    ),
    (jets(where="Muon_pt > 3"), "inputs.j.where: 'Muon_pt > 3' gives a list per event (one value per Muon)"),
    (jets(sort="Muon_pt"), "inputs.j.sort: 'Muon_pt' gives a list per event (one value per Muon)"),
    (
        {"weight": "Jet_pt"},
        "weight: 'Jet_pt' gives a list per event (one value per Jet), but one value per event is needed",
    ),
    ({"target": {"regression": {"m": "Jet_pt"}}}, "target.regression.m: 'Jet_pt' gives a list per event (one value"),
    ({"keep": ["Jet_pt"]}, "keep.Jet_pt: 'Jet_pt' gives a list per event (one value per Jet)"),
]
WRONG_KIND: list[tuple[dict[str, Any], str]] = [
    ({"select": {"a": "nJet"}}, "select.a: 'nJet' is a number, not a condition: compare it"),
    ({"select": {"a": 3}}, "select.a: '3' is a number, not a condition: compare it"),
    ({"select": {"a": "num(Jet_pt)"}}, "select.a: 'num(Jet_pt)' is a number, not a condition: compare it"),
    (jets(where="pt"), "inputs.j.where: 'pt' is a number, not a condition: compare it"),
    ({"target": {"classes": {"a": "nJet", "b": "nJet < 3"}}}, "target.classes.a: 'nJet' is a number, not a condition"),
    (vertices(match="delta_r"), "inputs.s.match: 'delta_r' is a number, not a condition"),
    ({"define": {"x": "'text'"}}, "define.x: \"'text'\" is no number"),
]
WRONG_COLLECTION: list[tuple[dict[str, Any], str]] = [
    ({"define": {"x": "Jet_pt + SV_pt"}}, "define.x: 'Jet_pt + SV_pt' combines lists of different lengths"),
    (
        event({"x": "sum(Jet_pt + SV_pt)"}),
        "inputs.e.features.x: 'sum(Jet_pt + SV_pt)': 'Jet_pt + SV_pt' combines lists",
    ),
    ({"row": "Jet", **jets(match="delta_r < 1")}, "inputs.j: objects of Jet cannot be attached to rows of Jet itself"),
    ({"row": "Jet", **jets(index="jetIdx")}, "inputs.j: objects of Jet cannot be attached to rows of Jet itself"),
    (vertices(index="MET_pt"), "inputs.s.index: MET_pt has to hold, for every SV, the position of its Jet"),
    (vertices(index="Muon_jetIdx"), "inputs.s.index: Muon_jetIdx has to hold, for every SV, the position of its Jet"),
    (vertices(index="dlenSig"), "inputs.s.index: SV_dlenSig has to hold, for every SV, the position of its Jet"),
    ({"define": {"a": "b + 1", "b": "MET_pt"}}, "define.a: 'b' is not defined yet: 'define' goes from top to bottom"),
    ({"define": {"a": "a + 1"}}, "define.a: 'a' is not defined yet"),
    (
        {"define": {"Jet_x": "Jet_pt[Jet_pt > 30]"}},
        "define.Jet_x: 'Jet_pt[Jet_pt > 30]' gives lists of other lengths than",
    ),
    (
        {"define": TWO_MASKS},
        "define.hard_eta: 'Jet_eta[Jet_eta > 1]' gives lists of other lengths than the rest of hard",
    ),
    (
        {"define": {"my_pt": "Jet_pt * 2"}, **jets(collection="my", features=["pt"])},
        "define.my_pt: has one value per Jet, so my is no collection: use Jet in its place",
    ),
    (
        {"define": {"my_pt": "sum(Jet_pt)"}, **jets(collection="my", features=["pt"])},
        "define.my_pt: has one value per event, so my is no collection: it is no list",
    ),
]
MISTAKES = WRONG_DEPTH + WRONG_KIND + WRONG_COLLECTION


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=[m[:60] for _, m in MISTAKES])
def test_mistakes_are_found_before_reading(path: Path, changes: dict[str, Any], message: str) -> None:
    error = refusal(path, **changes)
    assert isinstance(error, UserError) and str(error).startswith(message)


UNKNOWN: list[tuple[dict[str, Any], str]] = [
    ({"weight": "genWeigth"}, "weight: no column 'genWeigth'; did you mean 'genWeight'?"),
    ({"select": {"a": "MET_tp > 1"}}, "select.a: no column 'MET_tp'; did you mean 'MET_pt'"),
    (jets(features=["ptt"]), "inputs.j: no column 'Jet_ptt'; did you mean 'pt'?"),
    (jets(collection="Jets"), "inputs.j.collection: no collection 'Jets'; did you mean 'Jet'?"),
    (jets(collection="MET"), "inputs.j.collection: no collection 'MET'"),
    ({**BY_ROW, "row": "Jets"}, "row: no collection 'Jets'; did you mean 'Jet'?"),
    (
        {"keep": ["luminosityblock"]},
        "keep.luminosityblock: no column 'luminosityblock'; did you mean 'luminosityBlock'?",
    ),
    (vertices(collection="Muon", index="jetIdxx"), "inputs.s: no column 'Muon_jetIdxx'; did you mean 'jetIdx'?"),
    ({"target": {"regression": {"m": "LHE_HT"}}}, "target.regression.m: no column 'LHE_HT'; the file has no generator"),
]


@pytest.mark.parametrize(("changes", "message"), UNKNOWN, ids=[m[:60] for _, m in UNKNOWN])
def test_unknown_columns_are_named_with_the_nearest(path: Path, changes: dict[str, Any], message: str) -> None:
    error = refusal(path, **changes)
    assert isinstance(error, FileError) and str(error).startswith(f"{path}: {message}")


def test_generator_branches_are_missing_in_data(tmp_path: Path) -> None:
    columns = {n: v for n, v in toys.nano_events(5).items() if n != "genWeight"}
    path = toys.write(tmp_path / "data.root", columns)
    message = "weight: no column 'genWeight'; the file has no generator branches, is it data?"
    name, sample = next(iter(BASE["samples"].items()))
    simulated = f"{path}: {message}; if these are data: samples.{name}.weight: 1"
    assert str(refusal(path, weight="genWeight")) == simulated
    data = {name: {**sample, "data": True}}
    assert str(refusal(path, weight="genWeight", samples=data)).endswith(f"count as they are: samples.{name}.weight: 1")


def test_real_data_have_no_generator_branches(shared: Any) -> None:
    path = shared("nano_dimuon.root")
    for name in ("genWeight", "LHE_HT", "Pileup_nTrueInt"):
        error = refusal(path, weight=name)
        assert str(error).startswith(f"{path}: weight: no column {name!r}")


def test_columns_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    ak.to_parquet(ak.Array([{"s": "a", "x": 1.0}]), path)
    error = refusal(path, inputs={"e": {"features": ["s"]}}, target={"regression": {"m": "x"}})
    assert str(error).startswith("s: columns of type") and "only numbers and lists of them" in str(error)


def test_a_function_of_the_user_may_change_the_lists(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own_functions.py").write_text(
        "import awkward as ak\ndef twice(x): return 2 * x\ndef leading(x): return x[:, :2]\n"
        "def sneaky(x): return x[x != 25.5]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = {"functions": ["own_functions:twice", "own_functions:leading", "own_functions:sneaky"]}
    twice = jets(features=["pt", {"t": "twice(pt)"}])
    assert all(row == [[pt, 2 * pt] for pt, _ in row] for row in features(path, "j", **own, **twice))
    lists = jets(features=[{"l": "leading(pt)"}])
    assert "gives a list per event, but one value per Jet is needed" in str(refusal(path, **own, **lists))
    events = toys.nano_events(20)
    pt = np.array(ak.flatten(events["Jet"].pt))
    pt[7] = 25.5
    events["Jet"] = ak.with_field(events["Jet"], ak.unflatten(pt, ak.num(events["Jet"].pt)), "pt")
    rare = toys.write(tmp_path / "rare.root", events)
    error = late_refusal(rare, **own, **jets(features=[{"s": "sneaky(pt)"}]))
    assert isinstance(error, UserError)  # --skip-bad-files must not drop a healthy file
    assert str(error).startswith("inputs.j.features.s: 'sneaky(pt)' gives lists of other lengths than Jet has")


# --- found in the data ---


def test_a_weight_that_is_not_finite(path: Path) -> None:
    error = late_refusal(path, weight="log(nJet - 5)")
    first = int(np.flatnonzero(toys.plain(toys.nano_events(300))["nJet"] <= 5)[0])
    assert isinstance(error, DataError) and error.exit_code == 1
    assert str(error) == (
        f"{path}: entry {first} (run:lumi:event 1:1:{first + 1}): the weight 'log(nJet - 5)' is not finite"
    )


def test_an_infinite_target(path: Path) -> None:
    first = int(np.flatnonzero(toys.plain(toys.nano_events(300))["nJet"] == 0)[0])
    error = late_refusal(path, target={"regression": {"inverse": "1 / nJet"}})
    assert (
        str(error) == f"{path}: entry {first} (run:lumi:event 1:1:{first + 1}): target.regression.inverse is infinite"
    )


def test_a_target_that_is_missing_is_not_known(path: Path) -> None:
    found = build(path, target={"regression": {"lead": "Jet_pt[0]"}})[2].targets["lead"]
    np.testing.assert_array_equal(np.isnan(found), toys.plain(toys.nano_events(300))["nJet"] == 0)


def test_a_row_in_no_or_two_classes(path: Path) -> None:
    n = toys.plain(toys.nano_events(300))["nJet"]
    none = int(np.flatnonzero(n == 5)[0])
    error = late_refusal(path, target={"classes": {"few": "nJet < 5", "many": "nJet > 5"}})
    assert str(error).startswith(
        f"{path}: entry {none} (run:lumi:event 1:{1 + none // 100}:{none + 1}): a row is in no class (few, many), "
        f"{(n == 5).sum()} of 300 rows are so; each must be in exactly one"
    )
    error = late_refusal(path, target={"classes": {"few": "nJet <= 5", "many": "nJet >= 5"}})
    assert f"entry {none} " in str(error) and "a row is in the classes few and many" in str(error)


def test_a_place_in_a_later_chunk_is_that_of_the_file(path: Path) -> None:
    with open_events(str(path), "Events") as file:
        made = builder(path, file, weight="log(250.5 - event)")
        seen = 0
        with pytest.raises(DataError, match=r"entry 250 \(run:lumi:event 1:3:251\): the weight"):
            for chunk in file.chunks(made.columns, 100):
                seen = chunk.start
                made.weights(made.frame(chunk))
        assert seen == 200


def test_a_feature_that_is_not_finite(path: Path) -> None:
    n = toys.plain(toys.nano_events(300))["nJet"]
    first = int(np.flatnonzero(n == 0)[0])
    error = late_refusal(path, inputs={"e": {"features": ["MET_pt", {"lead": "Jet_pt[0]"}]}})
    assert isinstance(error, DataError)
    assert str(error).startswith(
        f"{path}: entry {first} (run:lumi:event 1:1:{first + 1}): inputs.e: 'lead' is NaN or infinite; "
    )
    assert str(error).endswith("set inputs.e.nan to {fill: <value>}, or for trees to keep")
    error = late_refusal(path, **jets(features=["eta", {"bad": "1 / (pt > 30)"}]))
    assert "inputs.j: 'bad' is NaN or infinite" in str(error)


def test_a_cut_removes_what_would_be_an_error(path: Path) -> None:
    lead = {"e": {"features": [{"lead": "Jet_pt[0]"}]}}
    _, rows, table, books = build(path, inputs=lead, select={"jet": "nJet > 0"})
    events = toys.nano_events(300)
    expected = [pt[0] for pt in events["Jet"].pt.tolist() if pt]
    assert table.inputs["e"][:, 0].tolist() == expected
    assert books.events.rejected == {"jet": 300 - len(expected)} and len(rows.events) == len(expected)


def test_fill_replaces_what_is_not_finite_but_no_padding(path: Path) -> None:
    changes = jets(features=[{"x": "log(pt - 30)"}, {"y": "1 / (pt > 30)"}], nan={"fill": -7})
    found = features(path, "j", **changes)
    for row, pts in zip(found, toys.nano_events(300)["Jet"].pt.tolist()):
        assert len(row) == min(3, len(pts))
        for (x, y), pt in zip(row, pts):
            assert (x == -7) == (pt <= 30) and y == (1 if pt > 30 else -7)


def test_missing_values_are_filled(tmp_path: Path) -> None:
    columns = toys.flat_events(200, True)
    path = toys.write(tmp_path / "flat.root", columns)
    flat = {"features": ["jpt_1", "pt_1"], "missing": [-999, -1], "nan": {"fill": 5}}
    table = build(path, inputs={"e": flat}, target={"regression": {"m": "pt_1"}})[2]
    expected = np.where(columns["jpt_1"] == -999, 5, columns["jpt_1"])
    assert (columns["jpt_1"] == -999).any()
    np.testing.assert_array_equal(table.inputs["e"][:, 0], expected)
    np.testing.assert_array_equal(table.inputs["e"][:, 1], columns["pt_1"])


# --- collections are never confused ---


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """In every event as many secondary vertices as jets: nothing but names tells their lists apart."""
    columns = toys.nano_events(200)
    jets = columns["Jet"]
    vertices = {"pt": jets.pt * 2, "eta": jets.eta[:, ::-1], "phi": jets.phi[:, ::-1], "dlenSig": jets.mass}
    columns["SV"] = ak.zip({n: ak.values_astype(v, "f4") for n, v in vertices.items()})
    return toys.write(tmp_path / "twins.root", columns, basket=100)


def test_equal_lengths_do_not_make_one_collection(twins: Path) -> None:
    events = uproot.open(twins)["Events"].arrays(["nJet", "nSV"])
    assert ak.all(events.nJet == events.nSV)
    assert "combines lists of different lengths" in str(refusal(twins, define={"x": "Jet_pt + SV_pt"}))
    message = str(refusal(twins, **jets(features=[{"x": "SV_pt"}])))
    assert "(one value per SV), but one value per Jet is needed" in message
    assert "gives one value per SV" in str(refusal(twins, **BY_ROW, select={"a": "SV_pt > 3"}))
    assert "has to hold, for every SV" in str(
        refusal(twins, row="Jet", inputs={"s": {**SV, "index": "Jet_hadronFlavour"}})
    )
    inputs = {"j": {**JETS, "features": ["pt"]}, "s": {**SV, "sort": "-dlenSig", "features": ["pt", "dlenSig"]}}
    for row, event in zip(features(twins, "s", inputs=inputs), uproot.open(twins)["Events"].arrays()):
        order = np.argsort(-np.array(event.SV_dlenSig), kind="stable")[:4]
        assert row == np.stack([event.SV_pt, event.SV_dlenSig], axis=1)[order].tolist()


def test_matching_of_collections_of_equal_lengths(twins: Path) -> None:
    near = {**SV, "match": "delta_r < 1", "features": ["pt", {"jet_pt": "Jet_pt"}, {"dr": "delta_r"}]}
    found = features(twins, "s", row="Jet", inputs={"s": near}, target={"regression": {"m": "pt"}})
    expected = []
    for event in uproot.open(twins)["Events"].arrays():
        for pt, eta, phi in zip(event.Jet_pt, event.Jet_eta, event.Jet_phi):
            dphi = (np.array(event.SV_phi) - phi + np.pi) % (2 * np.pi) - np.pi
            dr = np.hypot(np.array(event.SV_eta) - eta, dphi)
            expected.append([[event.SV_pt[i], pt, dr[i]] for i in np.flatnonzero(dr < 1)[:4]])
    assert len(found) == len(expected) and any(expected)
    for row, pairs in zip(found, expected):
        np.testing.assert_allclose(row, np.array(pairs).reshape(-1, 3).reshape(np.shape(row)), rtol=1e-4, atol=1e-5)


KEEP_ALL_ON_PROBE = [
    "Jet_hadronFlavour != 5",
    "Jet_pt > -1e9",
    "Jet_pt != 37",
    "(Jet_hadronFlavour == 5) == (Jet_pt < -2e6)",
]


@pytest.mark.parametrize("mask", KEEP_ALL_ON_PROBE)
def test_a_mask_makes_lists_of_their_own_whatever_it_removes(path: Path, mask: str) -> None:
    """Whether a mask happens to remove something of made-up events says nothing about the data."""
    changes = {
        "define": {"light_pt": f"Jet_pt[{mask}]", "light_eta": f"Jet_eta[{mask}]", "light_r": "light_pt / MET_pt"},
        "inputs": {"l": {"collection": "light", "length": 3, "features": ["pt", "eta", "r"]}},
    }
    events = toys.nano_events(300)
    jet = events["Jet"]
    keep = eval(mask, {"Jet_hadronFlavour": jet.hadronFlavour, "Jet_pt": jet.pt})  # the test's own text
    expected = [
        [[pt, eta, np.float32(pt) / met] for pt, eta in zip(pts, etas)][:3]
        for pts, etas, met in zip(jet.pt[keep].tolist(), jet.eta[keep].tolist(), events["MET_pt"])
    ]
    for row, values in zip(features(path, "l", **changes), expected):
        np.testing.assert_allclose(row, np.array(values).reshape(np.shape(row)), rtol=1e-6)
    message = str(refusal(path, **jets(features=[{"x": f"Jet_pt[{mask}]"}])))
    assert "gives a list per event, but one value per Jet" in message
    assert "gives one value per list element" in str(refusal(path, **BY_ROW, select={"a": f"Jet_pt[{mask}] > 3"}))


def test_lists_behind_an_index_of_another_collection_belong_to_that_one(path: Path) -> None:
    muons = {
        "collection": "Muon",
        "length": 3,
        "features": ["jetIdx", {"jet_pt": "Jet_pt[Muon_jetIdx]"}],
        "nan": {"fill": -1},
    }
    found = features(path, "m", inputs={"m": muons})
    for row, event in zip(found, uproot.open(path)["Events"].arrays(["Jet_pt", "Muon_jetIdx"])):
        assert row == [[i, event.Jet_pt[i] if i >= 0 else -1] for i in event.Muon_jetIdx][:3]


def test_a_share_of_a_sum_over_some_stays_one_value_per_object(path: Path) -> None:
    share = jets(length=20, features=[{"s": "pt / sum(Jet_pt[Jet_hadronFlavour != 5])"}], nan={"fill": -1})
    for row, own in zip(features(path, "j", **share), toys.nano_events(300)["Jet"]):
        total = np.float32(ak.sum(own.pt[own.hadronFlavour != 5]))
        np.testing.assert_allclose(np.ravel(row), [pt / total if total else -1 for pt in own.pt], rtol=1e-5)


# --- values ---


def test_rows_chosen_by_cuts_in_order(path: Path) -> None:
    cuts = {"met": "MET_pt > 30", "jets": "num(Jet_pt > 40) >= 2"}
    _, rows, table, books = build(path, select=cuts, keep=["event", "MET_pt"])
    events = toys.nano_events(300)
    met = events["MET_pt"] > 30
    both = met & np.array(ak.num(events["Jet"][events["Jet"].pt > 40]) >= 2)
    np.testing.assert_array_equal(rows.events, np.flatnonzero(both))
    assert books.events.rejected == {"met": int((~met).sum()), "jets": int((met & ~both).sum())}
    np.testing.assert_array_equal(table.keep["event"], events["event"][both])
    np.testing.assert_array_equal(table.targets["met"], events["MET_pt"][both])


def test_rows_of_objects_are_cut_by_event_and_by_object(path: Path) -> None:
    cuts = {"hard": "pt > 50", "met": "MET_pt > 30", "central": "abs(eta) < 2"}
    _, rows, table, books = build(
        path, row="Jet", inputs={"j": {"features": ["pt", "MET_pt"]}}, select=cuts, target={"regression": {"m": "mass"}}
    )
    expected = []
    for event in uproot.open(path)["Events"].arrays():
        expected += [
            (pt, event.MET_pt, mass)
            for pt, eta, mass in zip(event.Jet_pt, event.Jet_eta, event.Jet_mass)
            if event.MET_pt > 30 and pt > 50 and abs(eta) < 2
        ]
    np.testing.assert_array_equal(np.column_stack([table.inputs["j"], table.targets["m"]]), np.array(expected, "f4"))
    assert list(books.events.rejected) == ["met"] and list(books.rows.rejected) == ["hard", "central"]
    assert books.rows.unit == "Jet rows" and books.rows.used == len(expected) == len(rows.positions)


def test_constituents_by_index(path: Path) -> None:
    inputs = {"m": {"collection": "Muon", "index": "jetIdx", "length": 2, "sort": "-pt", "features": ["pt"]}}
    found = features(path, "m", row="Jet", inputs=inputs, target={"regression": {"m": "pt"}})
    number = 0
    for event in uproot.open(path)["Events"].arrays(["nJet", "Muon_pt", "Muon_jetIdx"]):
        for jet in range(event.nJet):
            own = sorted((pt for pt, i in zip(event.Muon_pt, event.Muon_jetIdx) if i == jet), reverse=True)
            assert found[number] == [[pt] for pt in own[:2]]
            number += 1
    assert number == len(found)


def test_golden_json_comes_first_and_only_for_data(path: Path, tmp_path: Path) -> None:
    (tmp_path / "cert.json").write_text(json.dumps({"1": [[2, 2]]}))
    changes = {"golden_json": str(tmp_path / "cert.json"), "select": {"met": "MET_pt > 30"}}
    both = {"tt": {"files": "x", "data": True, "label": "data"}}
    _, rows, _, books = build(path, **changes, samples=both)
    assert list(books.events.rejected) == ["golden_json", "met"] and books.events.rejected["golden_json"] == 200
    assert set(rows.events // 100) == {1}
    simulated = {"tt": {"files": "x"}, "data": {"files": "y", "data": True}}
    assert list(build(path, **changes, samples=simulated)[3].events.rejected) == ["met"]


def test_predicting_needs_no_label_weight_target_or_kept_column(path: Path) -> None:
    changes = {
        "weight": "genWeigth",
        "target": {"classes": {"a": "truth == 1", "b": "truth == 2"}},
        "keep": ["truth", "event"],
        "select": {"a": "truth > 1"},
        "select_for": {"predict": {"met": "MET_pt > 30"}},
    }
    _, rows, table, books = build(path, "predict", **changes)
    assert table.label is None and table.targets == {} and set(table.keep) == {"event"}
    assert list(books.events.rejected) == ["met"] and len(rows.events) == books.events.used > 0
    assert refusal(path, **{**changes, "weight": "1", "select": {}}).exit_code == 2


def test_only_the_columns_that_are_needed_are_read(path: Path) -> None:
    with open_events(str(path), "Events") as file:
        made = builder(path, file)
        assert made.columns == ["run", "luminosityBlock", "event", "MET_pt", "Jet_pt", "Jet_eta"]


def test_an_empty_chunk_has_all_columns(path: Path) -> None:
    with open_events(str(path), "Events") as file:
        made = builder(path, file, define={"hard_pt": "Jet_pt[Jet_pt > 30]"}, select={"a": "num(hard_pt) > 1"})
        frame = made.frame(made.empty_chunk())
        rows = made.select(frame, Accounting())
        table = made.table(frame, rows, Accounting())
        assert len(rows.events) == 0 and table.inputs["jets"][0].shape == (0, 3, 2) and len(made.weights(frame)) == 0
