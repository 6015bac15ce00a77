from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from nanoforge.events.branches import KeepList, layout, values
from nanoforge.events.open import open_events


@pytest.mark.parametrize(
    ("lines", "kept", "dropped"),
    [
        ([], "run HLT_Mu50", ""),
        (["drop HLT_*", "keep HLT_IsoMu*"], "run HLT_IsoMu24 HLT_IsoMu27", "HLT_Mu50 HLT_"),
        (["keep HLT_IsoMu*", "drop HLT_*"], "run", "HLT_IsoMu24"),
        (["drop *", "keep [MJ]*_pt", "keep run"], "run Muon_pt Jet_pt", "event Tau_pt Jet_pt_raw"),
        (["drop *", "keepmatch (Muon|Jet)_(pt|eta)"], "Muon_pt Jet_eta", "Jet_pt_raw MyJet_pt run"),
        (["dropmatch HLT_.*[0-9]"], "HLT_Physics run", "HLT_Mu50"),
        (["drop jet_*"], "Jet_pt", "jet_pt"),
    ],
)
def test_the_last_line_that_fits_decides(lines: list[str], kept: str, dropped: str) -> None:
    keep = KeepList(lines)
    assert [n for n in kept.split() if not keep(n)] == [n for n in dropped.split() if keep(n)] == []


def test_lines_that_fit_nothing_are_known() -> None:
    keep = KeepList(["drop *", "keep Jte_*", "keepmatch M.*", "dropmatch x+"])
    assert keep.idle(["Jet_pt", "Muon_pt"]) == ["keep Jte_*", "dropmatch x+"]


def tree(path: Path, columns: dict[str, Any]) -> Path:
    """Write lists as uproot does by itself: every branch with a counter of its own."""
    types = {n: v.type.content if isinstance(v, ak.Array) else v.dtype for n, v in columns.items()}
    with uproot.recreate(path) as file:
        file.mktree("Events", types).extend(columns)
    return path


def lists(*lengths: int) -> ak.Array:
    return ak.unflatten(np.arange(sum(lengths), dtype="f4"), np.array(lengths))


def counters(path: Path, **lines: Any) -> dict[str, str | None]:
    with open_events(str(path), "Events") as file:
        branches, _ = layout(file, KeepList(lines.get("keep", [])))
        return {b.name: b.counter for b in branches}


def test_private_counters_become_one_where_lists_agree(tmp_path: Path) -> None:
    columns = {
        "run": np.ones(2, "u4"),
        "Jet_pt": lists(2, 3), "Jet_eta": lists(2, 3),
        "Muon_pt": lists(1, 1), "Muon_hits": lists(5, 0),
        "Tau_pt": lists(1, 0), "nTau": np.array([1, 0], "u1"),
        "Photon_pt": lists(1, 0), "nPhoton": np.array([1, 1], "i4"),
        "LHEScaleSumw_": lists(3, 3),
    }  # fmt: skip
    assert counters(tree(tmp_path / "a.root", columns)) == {
        "run": None,
        "Jet_pt": "nJet", "Jet_eta": "nJet",
        "nMuon_pt": None, "Muon_pt": "nMuon_pt", "nMuon_hits": None, "Muon_hits": "nMuon_hits",
        "nTau": None, "Tau_pt": "nTau",
        "nPhoton": None, "nPhoton_pt": None, "Photon_pt": "nPhoton_pt",
        "nLHEScaleSumw_": None, "LHEScaleSumw_": "nLHEScaleSumw_",
    }  # fmt: skip


def test_lists_that_agree_at_first_only_keep_their_counters(tmp_path: Path) -> None:
    many = [1] * 40_000
    path = tree(tmp_path / "a.root", {"Jet_pt": lists(*many, 1), "Jet_eta": lists(*many, 2)})
    assert counters(path)["Jet_pt"] == "nJet_pt"


def test_counters_follow_their_lists(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        types = {"Jet": ak.zip({"pt": lists(1), "eta": lists(1)}).type.content, "MET_pt": "f4"}
        out = file.mktree("Events", types, counter_name=lambda n: f"n{n}")
        out.extend({"Jet": ak.zip({"pt": lists(1, 2), "eta": lists(1, 2)}), "MET_pt": np.ones(2, "f4")})
    path = tmp_path / "a.root"
    assert counters(path, keep=["drop nJet", "drop Jet_eta"]) == {"nJet": None, "Jet_pt": "nJet", "MET_pt": None}
    assert counters(path, keep=["drop *", "keep nJet"]) == {"nJet": None}
    assert counters(path, keep=["drop *Jet*"]) == {"MET_pt": None}
    with open_events(str(path), "Events") as file:
        assert values(layout(file, KeepList(["drop Jet_*"]))[0]) == ["nJet", "MET_pt"]
        assert values(layout(file, KeepList([]))[0]) == ["Jet_pt", "Jet_eta", "MET_pt"]


def test_rntuples_have_counters(shared: Any) -> None:
    found = counters(shared("nano_dy_rntuple.root"))
    assert found["Jet_pt"] == found["Jet_eta"] == "nJet" and found["nJet"] is None
    assert found["LHEPdfWeight"] == "nLHEPdfWeight"


def test_strings_and_nested_lists_cannot_be_written(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mkrntuple("Events", {"x": [1.0], "name": ["a"], "nested": ak.Array([[[1, 2]]])})
    with open_events(str(tmp_path / "a.root"), "Events") as file:
        branches, unwritable = layout(file, KeepList([]))
    assert [b.name for b in branches] == ["x"] and set(unwritable) == {"name", "nested"}
