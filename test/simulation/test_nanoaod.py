from __future__ import annotations

import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from generated import generator
from nanoforge.config.generator import Generator
from nanoforge.events.open import open_events
from nanoforge.simulation.nano import nanoaod
from samples import TTBAR, sample


@pytest.fixture(scope="module")
def pieces() -> list[nanoaod.NanoBlock]:
    settings = generator("pileup", filters={"muons": {"daughters": [13], "pt": 15}})
    return [nanoaod.make(settings, "a", block, 40, 1 + 40 * block) for block in range(3)]


def write(path: Path, pieces: list[nanoaod.NanoBlock], kind: str) -> Path:
    with nanoaod.SampleFile(path, kind) as file:
        for piece in pieces:
            file.append(piece)
    return path


@pytest.fixture(scope="module", params=["ttree", "rntuple"])
def path(request: pytest.FixtureRequest, pieces: list[nanoaod.NanoBlock], tmp_path_factory: Any) -> Path:
    return write(tmp_path_factory.mktemp("nano") / f"{request.param}.root", pieces, request.param)


def test_what_was_written_is_read(path: Path, pieces: list[nanoaod.NanoBlock]) -> None:
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


def test_runs_and_luminosity_blocks_sum_up(path: Path, pieces: list[nanoaod.NanoBlock]) -> None:
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


def test_types_titles_counters(pieces: list[nanoaod.NanoBlock], tmp_path: Path) -> None:
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


def coffea_events(path: Path, schema: str) -> Any:
    nanoevents = pytest.importorskip("coffea.nanoevents", reason="coffea is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        factory = nanoevents.NanoEventsFactory.from_root(
            {str(path): "Events"}, schemaclass=getattr(nanoevents, schema), mode="eager"
        )
        return factory.events()


def distance(one: Any, two: Any) -> np.ndarray:
    """The distance of two lists of objects, and of their missing ones nothing."""
    return np.asarray(ak.flatten(ak.drop_none(one.delta_r(two), axis=1)))


@pytest.fixture(scope="module")
def top_pairs(tmp_path_factory: Any) -> Path:
    """A file of the top pairs that other tests have made as well."""
    s = sample(*TTBAR)
    content = nanoaod._event(s.block, Generator(process="ttbar"), 0, 1) | s.objects
    content |= {name: values for name, values in s.gen.items() if name != "gen_index"}
    piece = nanoaod.NanoBlock(0, nanoaod.columns(content), TTBAR[1], s.block.accepted, TTBAR[1], TTBAR[1])
    return write(tmp_path_factory.mktemp("top") / "pairs.root", [piece], "ttree")


def test_coffea_resolves_the_cross_references(top_pairs: Path) -> None:
    events = coffea_events(top_pairs, "NanoAODSchema")
    parts = events.GenPart
    bottom = parts[(abs(parts.pdgId) == 5) & parts.hasFlags("isHardProcess", "isFirstCopy") & (parts.status == 23)]
    assert ak.mean(abs(ak.flatten(bottom.distinctParent.pdgId)) == 6) > 0.95
    assert ak.all(abs(ak.flatten(events.GenVisTau.parent.pdgId)) == 15)
    top = parts[(abs(parts.pdgId) == 6) & parts.hasFlags("isLastCopy")]
    assert ak.all(ak.num(top) == 2)
    assert ak.all(ak.any(abs(top.children.pdgId) == 24, axis=-1))
    assert ak.all(top.children.parent.pdgId == top.pdgId)
    for one, two, most in (
        (events.Jet, events.Jet.matched_gen, 0.4),
        (events.Electron, events.Electron.matched_jet, 0.8),
        (events.Muon, events.Muon.matched_gen, 0.05),
        (events.Muon, events.Muon.matched_jet, 0.8),
        (events.Tau, events.Tau.matched_jet, 0.5),
        (events.Photon, events.Photon.matched_gen, 0.1),
    ):
        apart = distance(one, two)
        assert len(apart) and apart.max() < most
    inside = events.Jet.matched_electrons
    assert ak.all(ak.sum(~ak.is_none(inside, axis=2), axis=-1) == np.minimum(events.Jet.nElectrons, 2))


def test_coffea_finds_the_constituents_of_jets(top_pairs: Path) -> None:
    events = coffea_events(top_pairs, "PFNanoAODSchema")
    members = events.Jet.constituents.pf
    assert ak.all(ak.num(members, axis=2) == events.Jet.nConstituents)
    for component in (np.cos, np.sin):
        whole = events.Jet.pt * (1 - events.Jet.rawFactor) * component(events.Jet.phi)
        part = ak.sum(members.pt * members.puppiWeight * component(members.phi), axis=-1)
        np.testing.assert_allclose(ak.flatten(part), ak.flatten(whole), atol=0.05)


def test_memory_does_not_grow_with_the_events(
    pieces: list[nanoaod.NanoBlock], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nanoaod, "MOST_HELD", 2_000_000)
    size = sum(column.content.nbytes for column in pieces[0].events.values())
    peaks = []
    for number in (8, 40):
        tracemalloc.start()
        write(tmp_path / f"{number}.root", [replace(pieces[0]) for _ in range(number)], "ttree")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 0.2 * (40 - 8) * size


def test_a_failed_file_is_no_nanoaod(pieces: list[nanoaod.NanoBlock], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), nanoaod.SampleFile(tmp_path / "half.root", "ttree") as file:
        file.append(pieces[0])
        raise KeyboardInterrupt
    assert "Runs" not in uproot.open(tmp_path / "half.root")
