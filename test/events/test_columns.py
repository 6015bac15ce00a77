"""Which branches describe the same objects, and which only count them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import toys
import uproot
from hypothesis import given
from hypothesis import strategies as st
from nanoforge.events.columns import Branch, Column, collection_name, collections, column_of_awkward, columns_of_form
from nanoforge.events.open import open_events

F4, U4 = np.dtype("f4"), np.dtype("u4")


def branches(*jagged: str, flat: str = "", counter: dict[str, str] | None = None) -> dict[str, Branch]:
    known = {n: Branch(n, U4) for n in flat.split()}
    return known | {n: Branch(n, F4, True, (counter or {}).get(n)) for n in jagged}


def grouped(known: dict[str, Branch]) -> dict[str, tuple[list[str], list[str]]]:
    groups, _ = collections(known)
    return {n: (list(g.branches), g.counters) for n, g in groups.items()}


def test_a_shared_counter_names_the_collection() -> None:
    shared = {"Jet_pt": "nJet", "Jet_btag_DeepFlav": "nJet", "SubJet_pt": "nSubJet"}
    known = branches(*shared, flat="run nJet nSubJet MET_pt", counter=shared)
    assert grouped(known) == {
        "Jet": (["Jet_pt", "Jet_btag_DeepFlav"], ["nJet"]),
        "SubJet": (["SubJet_pt"], ["nSubJet"]),
    }
    assert list(collections(known)[1]) == ["run", "MET_pt"]


def test_private_counters_of_uproot_do_not_split_a_collection() -> None:
    names = ("Ele_id", "Ele_mvaIso", "Ele_mvaIso_WP80")  # the counter of the second is no collection of the third
    private = {name: f"n{name}" for name in names}
    known = branches(*names, flat=" ".join(private.values()) + " x", counter=private)
    assert grouped(known) == {"Ele": (list(names), sorted(private.values()))}
    assert list(collections(known)[1]) == ["x"]


def test_names_with_underscores() -> None:
    """Without counters of the file the longest prefix that is counted decides, or else the first word."""
    known = branches("Fat_Jet_pt", "Fat_Jet_sub_eta", "Fat_pt", "Other_a_b", flat="nFat_Jet nFat")
    assert grouped(known) == {
        "Fat_Jet": (["Fat_Jet_pt", "Fat_Jet_sub_eta"], ["nFat_Jet"]), "Fat": (["Fat_pt"], ["nFat"]),
        "Other": (["Other_a_b"], []),
    }  # fmt: skip
    known = branches("LHEPdfWeight", flat="nLHEPdfWeight", counter={"LHEPdfWeight": "nLHEPdfWeight"})
    assert grouped(known) == {"LHEPdfWeight": (["LHEPdfWeight"], ["nLHEPdfWeight"])}


def test_the_attribute_is_what_follows_the_name_of_the_collection() -> None:
    groups, _ = collections(branches("Fat_Jet_sub_eta", flat="nFat_Jet"))
    assert groups["Fat_Jet"].attribute("Fat_Jet_sub_eta") == "sub_eta"


def test_a_jagged_branch_is_never_a_counter() -> None:
    known = branches("Jet_pt", "nJet")
    groups, flat = collections(known)
    assert groups["Jet"].counters == [] and "nJet" not in flat


def test_delphes(tmp_path: Path) -> None:
    columns = {"Jet.PT": ak.Array([[1.0, 2.0], []]), "Jet.Eta": ak.Array([[0.5, 0.1], []]), "MissingET.MET": np.ones(2)}
    with uproot.recreate(tmp_path / "a.root") as file:
        types = {n: c.type.content if isinstance(c, ak.Array) else c.dtype for n, c in columns.items()}
        file.mktree("Delphes", types, counter_name=lambda n: f"{n.split('.')[0]}_size").extend(columns)
    with open_events(str(tmp_path / "a.root"), "Delphes") as file:
        groups, flat = collections(file.branches)
        assert {n: list(g.branches) for n, g in groups.items()} == {"Jet": ["Jet_PT", "Jet_Eta"]}
        assert groups["Jet"].counters == ["Jet_size"] and list(flat) == ["MissingET_MET"]


def test_a_file_of_uproot(tmp_path: Path) -> None:
    toys.write(tmp_path / "a.root", toys.nano_events(10))
    plain = {n: v for n, v in toys.plain(toys.nano_events(10)).items() if not n.startswith("n")}
    toys.write(tmp_path / "b.root", plain)  # every list has a counter of its own here
    expected = {"Jet": 6, "SV": 4, "Muon": 4}
    for name in ("a.root", "b.root"):
        with open_events(str(tmp_path / name), "Events") as file:
            groups, flat = collections(file.branches)
            assert {n: len(g.branches) for n, g in groups.items()} == expected, name
            assert set(flat) == {n for n, v in plain.items() if not isinstance(v, ak.Array)}


def test_real_collections(shared: Any) -> None:
    with open_events(str(shared("NanoAODv5_sample.root")), "Events") as file:
        groups, flat = collections(file.branches)
        for name in ("Jet", "FatJet", "SubJet", "SV", "GenPart", "GenJetAK8", "Electron", "LHEPdfWeight"):
            assert groups[name].counters == [f"n{name}"]
            assert all(b.startswith(name) for b in groups[name].branches)
        assert {"run", "MET_pt", "genWeight"} <= set(flat) and "nJet" not in flat
        assert sum(len(g.branches) + len(g.counters) for g in groups.values()) + len(flat) == len(file.branches)


@given(parts=st.lists(st.lists(st.floats(width=32), max_size=4), min_size=1, max_size=5), order=st.sampled_from("<>"))
def test_a_column_joins_its_pieces(parts: list[list[float]], order: str) -> None:
    expected = np.array([x for p in parts for x in p], "f4")
    pieces = [np.array(p, f"{order}f4") for p in parts]
    out = np.empty(len(expected), "f4")
    Column(pieces).copy_to(out)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(Column(pieces).content, expected)
    assert Column(pieces).content.dtype.isnative


def test_a_column_of_lists_as_expressions_take_it() -> None:
    column = Column([np.array([1, 2], ">i2"), np.array([3], ">i2")], np.array([0, 2, 2, 3]))
    assert column.array.tolist() == [[1, 2], [], [3]]
    assert Column([np.array([1.5])]).array.tolist() == [1.5]


@pytest.mark.parametrize(
    ("array", "content", "offsets"),
    [
        ([1, None, 3], [1, np.nan, 3], None),
        ([[1, None], None, []], [1, np.nan], [0, 2, 2, 2]),
        ([None, None], [np.nan, np.nan], None),
        ([True, False], [True, False], None),
        ([[True], None], [True], [0, 1, 1]),
    ],
)
def test_missing_numbers_are_nan_and_missing_lists_are_empty(array: list, content: list, offsets: list | None) -> None:
    column = column_of_awkward(ak.Array(array))
    np.testing.assert_array_equal(column.content, content)
    assert (column.offsets is None) == (offsets is None)
    assert offsets is None or column.offsets.tolist() == offsets


def test_large_integers_without_missing_values_stay_exact() -> None:
    values = [2**60 + 1, 2**63 + 1]
    optional = ak.mask(ak.Array(np.array(values, "u8")), [True, True])
    column = column_of_awkward(optional)
    assert column.content.dtype == np.uint64 and column.content.tolist() == values


def test_forms_are_taken_apart() -> None:
    array = ak.Array([{"x": 1, "l": [1.0], "Jet": [{"pt": 1.0, "sub": [1]}], "s": "a", "p": {"m": 1}, "n": None}])
    found = {
        name: row for field in array.fields for name, *row in columns_of_form(field, array.layout.form.content(field))
    }
    i8, f8 = np.dtype("i8"), np.dtype("f8")
    assert found == {
        "x": [("x",), i8, False],
        "l": [("l",), f8, True],
        "Jet_pt": [("Jet", "pt"), f8, True],
        "Jet_sub": [("Jet", "sub"), None, True],
        "s": [("s",), None, False],
        "p_m": [("p", "m"), i8, False],
        "n": [("n",), f8, False],
    }


def test_collection_names_of_single_branches() -> None:
    assert collection_name(Branch("Jet_pt", F4, True, "nJet"), {}) == "Jet"
    assert collection_name(Branch("Jet_pt", F4, True, "nOther"), {}) == "Jet"
    assert collection_name(Branch("weights", F4, True), {}) == "weights"
