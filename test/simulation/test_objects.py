"""The tables: branches and types, missing momentum, cross references, odd events."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from nanoforge.simulation.detector.candidates import simulate
from nanoforge.simulation.generator import genparticles
from nanoforge.simulation.objects import reconstruction as objects
from nanoforge.simulation.objects.branches import COLLECTIONS, DOCS, SCALARS
from nanoforge.simulation.objects.reconstruction import reconstruct
from samples import QCD, TTBAR, block_of, generate, local, sample


def test_tables_have_the_branches_and_types_of_nanoaod() -> None:
    s = sample(*TTBAR)
    assert set(s.objects) == set(COLLECTIONS) | set(SCALARS)
    for name, columns in COLLECTIONS.items():
        table = s.objects[name]
        assert len(table) == TTBAR[1]
        assert table.fields == list(columns)
        for field, (kind, _) in columns.items():
            values = local(table[field])
            assert values.dtype == np.dtype(kind), (name, field)
            assert np.isfinite(values).all(), (name, field)
            assert f"{name}_{field}" in DOCS
    for name, (kind, _) in SCALARS.items():
        assert s.objects[name].dtype == np.dtype(kind)
        assert s.objects[name].shape == (TTBAR[1],)
        assert np.isfinite(s.objects[name]).all()
    assert all(DOCS.values())
    assert objects.DOCS is DOCS


def test_collections_are_sorted_by_pt() -> None:
    s = sample(*TTBAR)
    for name in ("Jet", "FatJet", "Muon", "Electron", "Photon", "Tau", "SV", "PFCands"):
        assert ak.all(s.objects[name].pt[:, :-1] >= s.objects[name].pt[:, 1:]), name


def test_missing_momentum_resolution_grows_as_the_root_of_the_sum() -> None:
    s = sample(*QCD)
    total = s.objects["PuppiMET_sumEt"]
    x = s.objects["PuppiMET_pt"] * np.cos(s.objects["PuppiMET_phi"]) - s.gen["GenMET_pt"] * np.cos(s.gen["GenMET_phi"])
    edges = np.quantile(total, [0.1, 0.3, 0.5, 0.7, 0.9])
    widths, means = [], []
    for low, high in zip(edges[:-1], edges[1:]):
        chosen = (total > low) & (total < high)
        one, two = np.quantile(x[chosen], [0.1585, 0.8415])
        widths.append((two - one) / 2), means.append(np.sqrt(total[chosen].mean()))
    slope = np.asarray(widths) / np.asarray(means)
    assert slope.max() / slope.min() < 1.35
    assert 0.4 < slope.mean() < 1.1  # sqrt(GeV); cf. CMS, arXiv:1903.06078
    assert np.abs(np.mean(x)) < 4 * x.std() / np.sqrt(len(x))


def test_missing_momentum_is_that_of_neutrinos() -> None:
    s = sample(*TTBAR)
    high = s.gen["GenMET_pt"] > 80
    ratio = s.objects["MET_pt"][high] / s.gen["GenMET_pt"][high]
    turn = (s.objects["MET_phi"] - s.gen["GenMET_phi"] + np.pi)[high] % (2 * np.pi) - np.pi
    assert np.median(ratio) == pytest.approx(1, abs=0.05)
    assert np.abs(np.median(turn)) < 0.1
    assert np.abs(np.exp(1j * s.objects["MET_phi"]).mean()) < 4 / np.sqrt(TTBAR[1])


@pytest.mark.parametrize(
    ("name", "column", "target"),
    [
        ("Jet", "genJetIdx", "GenJet"), ("Jet", "muonIdx1", "Muon"), ("Jet", "muonIdx2", "Muon"),
        ("Jet", "electronIdx1", "Electron"), ("Jet", "electronIdx2", "Electron"), ("Jet", "svIdx1", "SV"),
        ("Jet", "svIdx2", "SV"), ("Muon", "jetIdx", "Jet"), ("Electron", "jetIdx", "Jet"), ("Photon", "jetIdx", "Jet"),
        ("Tau", "jetIdx", "Jet"), ("Electron", "photonIdx", "Photon"), ("Photon", "electronIdx", "Electron"),
        ("FatJet", "genJetAK8Idx", "GenJetAK8"), ("FatJet", "subJetIdx1", "SubJet"), ("FatJet", "subJetIdx2", "SubJet"),
        ("Muon", "genPartIdx", "GenPart"), ("Electron", "genPartIdx", "GenPart"), ("Photon", "genPartIdx", "GenPart"),
        ("JetPFCands", "jetIdx", "Jet"), ("JetPFCands", "pFCandsIdx", "PFCands"),
    ],
)  # fmt: skip
def test_cross_references_are_in_range(name: str, column: str, target: str) -> None:
    s = sample(*TTBAR)
    index = s.objects[name][column]
    size = ak.num((s.objects | s.gen)[target], axis=1)
    assert ak.all(index >= -1)
    assert ak.all(index < size)
    assert ak.any(index >= 0)


def test_cross_references_agree_with_one_another() -> None:
    s = sample(*TTBAR)
    jet = s.objects["Jet"]
    for name in ("Muon", "Electron"):
        table, key = s.objects[name], name.lower()
        inside = ak.local_index(jet.pt)[:, :, None] == table.jetIdx[:, None, :]
        assert ak.all(ak.sum(inside, axis=-1) == jet[f"n{name}s"])
        first = jet[f"{key}Idx1"]
        has = first >= 0
        assert ak.all(table.jetIdx[first[has]] == ak.local_index(jet.pt)[has])
        held = table[table.jetIdx >= 0]
        near = jet[held.jetIdx]
        assert ak.all(abs(held.eta - near.eta) < 0.8)
        # the jet holds the lepton's own candidate
        links, candidates = s.objects["JetPFCands"], s.objects["PFCands"]
        members = candidates[links.pFCandsIdx]
        for event in range(0, 200, 5):
            for lepton in held[event]:
                own = members[event][links.jetIdx[event] == lepton.jetIdx]
                assert ak.any((own.pt == lepton.pt) & (own.phi == lepton.phi))
    subjets = s.objects["SubJet"]
    assert ak.all(2 * ak.sum(s.objects["FatJet"].subJetIdx1 >= 0, axis=1) == ak.num(subjets))
    for index in ("subJetIdx1", "subJetIdx2"):
        fat = s.objects["FatJet"][s.objects["FatJet"][index] >= 0]
        part = subjets[fat[index]]
        assert ak.all(abs(part.eta - fat.eta) < 1.2)


@pytest.mark.parametrize("name", ["Jet", "FatJet", "Muon", "Electron", "Photon", "MET", "PuppiMET"])
def test_nothing_prefers_a_direction(name: str) -> None:
    """Kuiper's statistic for uniform azimuths; one object an event, since those of one event balance each other."""
    s = sample(*TTBAR)
    phi = s.objects[f"{name}_phi"] if name.endswith("MET") else local(ak.drop_none(ak.firsts(s.objects[name].phi)))
    u = np.sort((np.asarray(phi, np.float64) / (2 * np.pi)) % 1)
    rank = np.arange(len(u) + 1) / len(u)
    statistic = (rank[1:] - u).max() + (u - rank[:-1]).max()
    scaled = statistic * (np.sqrt(len(u)) + 0.155 + 0.24 / np.sqrt(len(u)))
    assert len(u) > 100 and scaled < 2.3  # a probability of 1e-3: Stephens, JRSS B 32 (1970) 115


def test_each_generated_jet_is_matched_once() -> None:
    jet = sample(*TTBAR).objects["Jet"]
    index = jet.genJetIdx[jet.genJetIdx >= 0]
    assert ak.all(ak.num(index) == ak.num(ak.run_lengths(ak.sort(index))))


def test_events_without_any_particle() -> None:
    particles = sample(*TTBAR).block.particles
    hidden = particles[:3]
    hidden = ak.with_field(hidden, ak.where(hidden.status > 0, -1, hidden.status), "status")
    for block in (block_of(hidden), block_of(ak.concatenate([particles[:2], hidden]))):
        gen = genparticles.summarise(block)
        out = reconstruct(block, gen, simulate(block, np.random.default_rng(1)), np.random.default_rng(2))
        assert all(len(values) == len(block.weight) for values in out.values())
        assert ak.all(ak.num(out["Jet"])[-3:] == 0)
        assert (out["MET_pt"][-3:] == 0).all()
        assert set(out) == set(COLLECTIONS) | set(SCALARS)


def test_the_random_numbers_determine_everything() -> None:
    s = sample("ttbar", 100)
    for _ in range(2):
        candidates = simulate(s.block, np.random.default_rng(5))
        outs = [reconstruct(s.block, s.gen, candidates, np.random.default_rng(6)) for _ in range(2)]
    for name in outs[0]:
        assert ak.to_list(outs[0][name]) == ak.to_list(outs[1][name])


def test_pileup_reaches_the_missing_momentum_and_not_the_jets() -> None:
    block, rng = generate("pileup", 60, mpi=False)
    gen = genparticles.summarise(block)
    out = reconstruct(block, gen, simulate(block, rng), rng)
    assert out["MET_sumEt"].mean() > 2 * out["PuppiMET_sumEt"].mean()
    assert out["fixedGridRhoFastjetAll"].mean() > 4
    assert ak.mean(ak.num(out["OtherPV"])) > 5
    np.testing.assert_array_equal(out["PV_npvs"], np.asarray(ak.num(out["OtherPV"])) + 1)
    hard = out["Jet"][(out["Jet"].pt > 30) & (abs(out["Jet"].eta) < 2.4)]
    assert ak.mean(hard.genJetIdx >= 0) > 0.8
