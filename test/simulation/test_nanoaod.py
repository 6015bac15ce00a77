from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from generated import generator
from nanoforge.events.readers import open_events
from nanoforge.simulation import nanoaod


@pytest.fixture(scope="module")
def pieces() -> list[nanoaod.Piece]:
    settings = generator("pileup", filters={"muons": {"daughters": [13], "pt": 15}})
    return [nanoaod.make(settings, "a", block, 40, 1 + 40 * block) for block in range(3)]


def write(path: Path, pieces: list[nanoaod.Piece], kind: str) -> Path:
    with nanoaod.SampleFile(path, kind) as file:
        for piece in pieces:
            file.append(piece)
    return path


@pytest.fixture(scope="module", params=["ttree", "rntuple"])
def path(request: pytest.FixtureRequest, pieces: list[nanoaod.Piece], tmp_path_factory: Any) -> Path:
    return write(tmp_path_factory.mktemp("nano") / f"{request.param}.root", pieces, request.param)


def test_what_was_written_is_read(path: Path, pieces: list[nanoaod.Piece]) -> None:
    events = uproot.open(path)["Events"].arrays()
    assert len(events) == 120
    for name in pieces[0].events:
        expected = ak.concatenate([piece.events[name].array for piece in pieces])
        assert ak.array_equal(events[name], expected, dtype_exact=False, equal_nan=True), name
    with open_events(str(path), "Events") as file:
        assert file.entries == 120


def test_identity_of_events(path: Path) -> None:
    events = uproot.open(path)["Events"].arrays(["run", "luminosityBlock", "event", "genWeight"])
    assert np.all(events.run == 1)
    assert events.luminosityBlock.tolist() == [1] * 40 + [2] * 40 + [3] * 40
    assert events.event.tolist() == list(range(1, 121))


def test_runs_and_luminosity_blocks_sum_up(path: Path, pieces: list[nanoaod.Piece]) -> None:
    file = uproot.open(path)
    weight = file["Events"].arrays(["genWeight"]).genWeight
    runs = file["Runs"].arrays()[0]
    assert (runs.run, runs.genEventCount) == (1, 120)
    assert runs.genEventSumw == pytest.approx(ak.sum(weight)) and runs.genEventSumw2 == pytest.approx(ak.sum(weight**2))
    blocks = file["LuminosityBlocks"].arrays()
    assert blocks.GenFilter_numEventsTotal.tolist() == [p.trials.tried for p in pieces]
    assert blocks.GenFilter_numEventsPassed.tolist() == [40, 40, 40]
    share = 40 / blocks.GenFilter_numEventsTotal
    assert np.allclose(blocks.GenFilter_filterEfficiency, share)
    assert np.allclose(
        blocks.GenFilter_filterEfficiencyError, np.sqrt(share * (1 - share) / blocks.GenFilter_numEventsTotal)
    )
    with open_events(str(path), "Events") as opened:
        assert opened.gen_sum_of_weights() == pytest.approx(ak.sum(weight))


def test_types_titles_counters(pieces: list[nanoaod.Piece], tmp_path: Path) -> None:
    tree = uproot.open(write(tmp_path / "tree.root", pieces, "ttree"))["Events"]
    types = {
        "run": "uint32_t", "event": "uint64_t", "genWeight": "float", "nGenPart": "int32_t", "GenPart_pt": "float[]",
        "GenPart_pdgId": "int32_t[]", "GenPart_genPartIdxMother": "int16_t[]", "GenPart_statusFlags": "uint16_t[]",
        "GenJet_hadronFlavour": "uint8_t[]", "GenJet_partonFlavour": "int16_t[]", "Generator_id1": "int32_t",
    }  # fmt: skip
    assert {name: tree[name].typename for name in types} == types
    assert not [branch.name for branch in tree.branches if not branch.title]
    jets = [branch for branch in tree.branches if branch.name.startswith("GenJet_")]
    assert {branch.member("fLeaves")[0].member("fLeafCount").member("fName") for branch in jets} == {"nGenJet"}
    assert tree.file.compression.code == 505 or all(b.compression.level == 5 for b in tree.branches)


def test_coffea_reads_it_as_nanoaod(pieces: list[nanoaod.Piece], tmp_path: Path) -> None:
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    path = write(tmp_path / "tree.root", pieces, "ttree")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=NanoAODSchema, mode="eager").events()
        muons = events.GenPart[
            (abs(events.GenPart.pdgId) == 13) & events.GenPart.hasFlags("fromHardProcess", "isLastCopy")
        ]
        assert ak.all(ak.flatten(muons.distinctParent.pdgId) == 23)
        assert ak.all(abs(ak.flatten(events.GenVisTau.parent.pdgId)) == 15)
        assert ak.any(events.Jet.matched_gen.pt > 0)


def test_a_failed_file_is_no_nanoaod(pieces: list[nanoaod.Piece], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), nanoaod.SampleFile(tmp_path / "half.root", "ttree") as file:
        file.append(pieces[0])
        raise KeyboardInterrupt
    assert "Runs" not in uproot.open(tmp_path / "half.root")
