"""An analysis gives columns that are absent a default, and groups lists that have no name in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import toys
from nanoforge.config.schema import Analysis
from nanoforge.dataset.table import TableBuilder
from nanoforge.errors import FileError, UserError
from nanoforge.events.open import open_events
from nanoforge.events.view import view
from nanoforge.provenance import Accounting


def analysis(**changes: Any) -> Analysis:
    content = {
        "name": "t",
        "samples": {"s": {"files": "a.root", "label": "s"}},
        "inputs": {"event": {"features": ["x"]}},
        "target": {"regression": {"y": "x"}},
    }
    return Analysis.model_validate({**content, **changes})


def rows(path: Path, content: Analysis) -> dict[str, Any]:
    """Return all inputs of the rows of a file."""
    found: dict[str, list[Any]] = {}
    with open_events(str(path), "Events") as opened:
        file = view(opened, content)
        builder = TableBuilder(content, content.samples["s"], file, "convert")
        for chunk in file.chunks(builder.columns, 7):
            frame = builder.frame(chunk)
            for name, value in (
                builder.table(frame, builder.select(frame, Accounting()), Accounting()).tensors().items()
            ):
                found.setdefault(name, []).append(value.copy())
    return {name: np.concatenate(values) for name, values in found.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view")
    x, counts = np.arange(20, dtype="f4"), np.arange(20) % 3
    jets = toys.lists({"pt": np.arange(counts.sum(), dtype="f4")}, counts)
    toys.write(folder / "none.root", {"x": x, "Jet": jets})
    quality = toys.lists({"pt": np.arange(counts.sum(), dtype="f4"), "good": np.ones(counts.sum(), bool)}, counts)
    toys.write(folder / "full.root", {"x": x, "Jet": quality, "HLT_A": x % 2 == 0})
    toys.write(folder / "byte.root", {"x": x, "Jet": quality, "HLT_A": (x % 2 == 0).astype("u1")})
    return folder


def test_a_default_stands_for_an_absent_column(folder: Path, capsys: pytest.CaptureFixture) -> None:
    content = analysis(select={"t": "default(HLT_A, false) | x > 15"})
    assert rows(folder / "full.root", content)["event"].ravel().tolist() == [*range(0, 16, 2), 16, 17, 18, 19]
    assert "default" not in capsys.readouterr().err
    assert rows(folder / "none.root", content)["event"].ravel().tolist() == [16, 17, 18, 19]
    assert "note: HLT_A is not in every file: its default, false, counts where it is absent" in capsys.readouterr().err
    other = analysis(inputs={"event": {"features": [{"f": "default(absent, -999.5)"}, "absent"]}})
    assert (rows(folder / "none.root", other)["event"] == -999.5).all()  # said once, it holds wherever it is named


def test_a_default_has_the_lists_of_its_collection(folder: Path) -> None:
    jets = {"collection": "Jet", "length": 3, "where": "default(good, false)", "features": ["pt"]}
    content = analysis(inputs={"jets": jets, "event": {"features": [{"n": "sum(default(Jet_good, false))"}]}})
    full, none = (rows(folder / f"{name}.root", content) for name in ("full", "none"))
    assert full["jets_mask"].sum() == full["event"].sum() == 19 and none["jets_mask"].sum() == none["event"].sum() == 0
    assert len(none["event"]) == 20


@pytest.mark.parametrize("text", ["default(x + 1, 0)", "default(HLT_A)", "default(HLT_A, x)", "default(1, 2)"])
def test_what_a_default_takes(folder: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"select.t: .*default\(HLT_A, false\)"):
        rows(folder / "full.root", analysis(select={"t": text}))


def test_a_column_has_one_default(folder: Path) -> None:
    with pytest.raises(UserError, match=r"default\(absent, ...\) stands for 1 and for 2: give it one"):
        rows(folder / "none.root", analysis(define={"a": "default(absent, 1)", "b": "default(absent, 2)"}))


def test_a_condition_of_another_type_names_the_file(folder: Path) -> None:
    content = analysis(select={"t": "HLT_A"})
    assert len(rows(folder / "full.root", content)["event"]) == 10
    with pytest.raises(UserError) as caught:
        rows(folder / "byte.root", content)
    assert "compare it, say HLT_A != 0" in str(caught.value) and f"{folder}/byte.root has uint8" in str(caught.value)
    for name in ("full", "byte"):
        assert len(rows(folder / f"{name}.root", analysis(select={"t": "HLT_A != 0"}))["event"]) == 10


@pytest.fixture(scope="module")
def muons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lists without a counter in common, as QuarkNet's muons."""
    counts = np.arange(20) % 3
    number = np.arange(counts.sum(), dtype="f4")
    short = np.where(np.arange(20) == 13, 0, counts)
    columns = {
        "x": np.arange(20, dtype="f4"),
        "muon_pt": ak.unflatten(number, counts),
        "mu_charge": ak.unflatten(number.astype("i4"), counts),
        "odd": ak.unflatten(number[: short.sum()], short),
    }
    return toys.write(tmp_path_factory.mktemp("muons") / "a.root", columns)


def test_lists_are_grouped(muons: Path) -> None:
    block = {"collection": "Muon", "length": 2, "sort": "-pt", "features": ["pt", "charge"]}
    event = {"features": [{"lead": "where(nMuon > 0, Muon.pt[0], -1)"}, "nMuon", {"sum": "sum(Muon_charge)"}]}
    content = analysis(
        collections={"Muon": {"pt": "muon_pt", "charge": "mu_charge"}}, inputs={"muons": block, "event": event}
    )
    found = rows(muons, content)
    counts = np.arange(20) % 3
    assert found["event"][:, 1].tolist() == counts.tolist() and found["muons_mask"].sum() == counts.sum()
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    assert found["event"][:, 0].tolist() == np.where(counts > 0, first, -1).tolist()
    assert found["muons"][2, :, 0].tolist() == [2, 1] and found["event"][2, 2] == 3


def test_lists_of_different_lengths_are_no_collection(muons: Path) -> None:
    block = {"collection": "Muon", "length": 2, "features": ["pt", "odd"]}
    content = analysis(collections={"Muon": {"pt": "muon_pt", "odd": "odd"}}, inputs={"muons": block})
    with pytest.raises(FileError) as caught:
        rows(muons, content)
    assert "entry 13: " in str(caught.value) and "correct 'collections'" in str(caught.value)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"pt": "muon_ptt"}, "collections.Muon.pt: no column 'muon_ptt'; did you mean 'muon_pt'?"),
        ({"x": "x"}, "collections.Muon.x: x has no list of numbers per event"),
    ],
)
def test_what_cannot_be_grouped(muons: Path, members: dict[str, str], message: str) -> None:
    with pytest.raises(FileError) as caught:
        rows(muons, analysis(collections={"Muon": members}))
    assert message in str(caught.value) and caught.value.exit_code == 2
