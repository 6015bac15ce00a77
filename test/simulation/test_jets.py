"""Jets and what is in them: energy closure, composition, substructure."""

from __future__ import annotations

import awkward as ak
import fastjet
import numpy as np
import pytest
from nanoforge.simulation.objects import jets, substructure
from samples import QCD, TTBAR, local, matched_jets, sample


def resolution(pt: np.ndarray) -> np.ndarray:
    """Of central jets: CMS has 15 to 20 % at 30 GeV, about 10 % at 100, 5 % at 1 TeV (arXiv:1607.03663, abstract)."""
    return np.hypot(1.0 / np.sqrt(pt), 0.04)


@pytest.mark.parametrize(("name", "most"), [(QCD, 800), (TTBAR, 250)])
def test_jet_response_is_one_and_its_resolution_the_stated_one(name: tuple, most: float) -> None:
    j = matched_jets(sample(*name))
    central = (np.abs(j["eta"]) < 1.3) & (j["distance"] < 0.2)
    edges = [30, 50, 80, 120, 200, 400, 800]
    tested = 0
    for low, high in zip(edges[:-1], edges[1:]):
        chosen = central & (j["gen"] > low) & (j["gen"] < high)
        ratio = j["pt"][chosen] / j["gen"][chosen]
        if high > most or chosen.sum() < 100:
            continue
        error = ratio.std() / np.sqrt(len(ratio))
        assert ratio.mean() == pytest.approx(1, abs=0.03 + 2 * error), (low, high)
        expected = resolution(j["gen"][chosen]).mean()
        assert ratio.std() / ratio.mean() == pytest.approx(expected, rel=0.25 + 2 / np.sqrt(2 * len(ratio))), (
            low,
            high,
        )
        tested += 1
    assert tested >= 3


def test_forward_jets_have_a_mean_response_of_one() -> None:
    j = matched_jets(sample(*QCD))
    for low, high in ((1.3, 2.5), (2.5, 5.0)):
        chosen = (np.abs(j["eta"]) > low) & (np.abs(j["eta"]) < high) & (j["gen"] > 40) & (j["distance"] < 0.2)
        ratio = j["pt"][chosen] / j["gen"][chosen]
        assert ratio.mean() == pytest.approx(1, abs=0.03 + 2 * ratio.std() / np.sqrt(len(ratio)))


def test_correction_is_continuous_and_inverts_the_table() -> None:
    pt = np.array([5.0, 10.0, 40.0, 160.0, 5000.0])
    factor = jets.correction(pt, np.zeros(5))
    row = jets.RESPONSE[0]
    np.testing.assert_allclose(factor, [1 / row[0], 1 / row[0], 1 / row[2], 1 / row[4], 1 / row[-1]], rtol=1e-6)
    fine = jets.correction(np.geomspace(5, 3000, 5000), np.zeros(5000))
    assert np.abs(np.diff(fine)).max() < 1e-3


def test_jets_are_the_sum_of_their_candidates() -> None:
    s = sample(*TTBAR)
    jet, links, candidates = s.objects["Jet"], s.objects["JetPFCands"], s.objects["PFCands"]
    members = candidates[links.pFCandsIdx]
    for component in (np.cos, np.sin):
        part = members.pt * component(members.phi)
        whole = jet.pt * (1 - jet.rawFactor) * component(jet.phi)
        for event in range(0, 100, 7):
            summed = np.bincount(links.jetIdx[event], weights=part[event], minlength=len(whole[event]))
            np.testing.assert_allclose(summed, whole[event], atol=0.02)
    assert ak.all(ak.num(links.jetIdx) == ak.sum(ak.values_astype(jet.nConstituents, int), axis=1))
    fractions = sum(jet[name] for name in ("chHEF", "neHEF", "chEmEF", "neEmEF", "muEF", "hfHEF", "hfEmEF"))
    assert ak.mean(abs(fractions - 1) < 0.03) > 0.99  # energies of candidates against that of their sum
    assert ak.all(jet.chMultiplicity + jet.neMultiplicity == jet.nConstituents)


def test_composition_is_that_of_cms() -> None:
    """About 60 % charged, 25 % photons, 10 to 15 % neutral hadrons; cf. CMS, arXiv:1706.04965."""
    jet = sample(*QCD).objects["Jet"]
    jet = jet[(jet.pt > 50) & (abs(jet.eta) < 1.3)]
    assert ak.mean(jet.chHEF) == pytest.approx(0.57, abs=0.08)
    assert ak.mean(jet.neEmEF) == pytest.approx(0.26, abs=0.05)
    assert ak.mean(jet.neHEF) == pytest.approx(0.14, abs=0.06)
    assert ak.mean((jet.jetId & 2) > 0) > 0.97


def test_the_spared_clustering_finds_the_same_large_jets(monkeypatch: pytest.MonkeyPatch) -> None:
    c = sample(*TTBAR).candidates
    p = jets.momenta(c)
    quick = jets.cluster(c, p, 0.8, 170.0)
    monkeypatch.setattr(jets, "_may_hold", lambda offsets, *_: np.ones(len(offsets) - 1, bool))
    full = jets.cluster(c, p, 0.8, 170.0)
    np.testing.assert_array_equal(quick.offsets, full.offsets)
    np.testing.assert_array_equal(quick.px, full.px)


def test_soft_drop_agrees_with_fastjet() -> None:
    s = sample(*TTBAR)
    p = jets.momenta(s.candidates)
    found = jets.cluster(s.candidates, p, 0.8, 170.0)
    bounds = np.searchsorted(found.jet, np.arange(len(found.px) + 1))
    columns = {name: value[found.candidate] for name, value in p.items()}
    inputs = ak.unflatten(ak.zip(columns, with_name="Momentum4D"), np.diff(bounds))
    sequence = fastjet.ClusterSequence(inputs, fastjet.JetDefinition(fastjet.cambridge_algorithm, 1.5))
    expected = np.asarray(sequence.exclusive_jets_softdrop_grooming(1, 0.0, substructure.Z_CUT, R0=0.8).msoftdrop)
    whole = substructure.soft_drop(found, p).sum(axis=1)
    mass = np.sqrt(np.maximum(whole[:, 3] ** 2 - (whole[:, :3] ** 2).sum(axis=1), 0))
    two = whole[:, 3] > 0
    assert two.mean() > 0.9
    assert np.isclose(mass[two], expected[two], atol=0.01).mean() > 0.99


def test_substructure_finds_hadronic_tops_and_w() -> None:
    s = sample(*TTBAR)
    fat = s.objects["FatJet"]
    fat = fat[(abs(fat.eta) < 2) & (fat.pt > 200)]
    mass = local(fat.msoftdrop)
    assert ((mass > 65) & (mass < 95)).sum() > 1.5 * ((mass > 100) & (mass < 130)).sum()
    assert ak.all(fat.tau1 >= fat.tau2)
    assert ak.all(fat.tau2 >= fat.tau3 - 1e-6)
    quark = sample(*QCD).objects["FatJet"]
    in_peak = (fat.msoftdrop > 65) & (fat.msoftdrop < 95)
    assert ak.mean((fat.tau2 / fat.tau1)[in_peak]) < ak.mean(quark.tau2 / np.maximum(quark.tau1, 1e-6)) - 0.03
