"""Electrons, muons, photons and taus: efficiency, isolation, truth."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from samples import QCD, TAUS, TTBAR, Sample, Z, local, sample


def found_share(s: Sample, name: str, pdg: int, least: float, points: str | None = None) -> tuple[float, int]:
    """The share of prompt generated leptons that an object points to."""
    parts, table = s.gen["GenPart"], s.objects[name]
    prompt = (abs(parts.pdgId) == pdg) & (parts.status == 1) & ((parts.statusFlags & 1) > 0)
    prompt = prompt & (parts.pt > least) & (abs(parts.eta) < 2.4)
    chosen = table.genPartIdx[(table.genPartIdx >= 0) & (True if points is None else table[points])]
    index = ak.local_index(parts.pt)
    seen = ak.any(index[:, :, None] == chosen[:, None, :], axis=-1)
    return float(ak.sum(seen & prompt) / ak.sum(prompt)), int(ak.sum(prompt))


@pytest.mark.parametrize(
    ("name", "pdg", "points", "expected"),
    [
        ("Muon", 13, None, 0.98), ("Muon", 13, "tightId", 0.95), ("Electron", 11, None, 0.87),
        ("Electron", 11, "mvaNoIso_WP90", 0.78),
    ],
)  # fmt: skip
def test_prompt_leptons_are_found_with_the_cited_efficiency(
    name: str, pdg: int, points: str | None, expected: float
) -> None:
    share, number = found_share(sample(*TTBAR), name, pdg, 20.0, points)
    assert share == pytest.approx(expected, abs=0.02 + 4 * np.sqrt(expected * (1 - expected) / number))


def test_prompt_leptons_are_isolated_and_those_of_b_are_not() -> None:
    s = sample(*TTBAR)
    for name, isolation in (("Muon", "pfRelIso04_all"), ("Electron", "pfRelIso03_all")):
        table = s.objects[name][s.objects[name].pt > 10]
        prompt, bottom = (table[isolation][table.genPartFlav == f] for f in (1, 5))
        assert ak.mean(prompt < 0.15) > 0.85
        assert ak.mean(bottom < 0.15) < 0.35
        sip = table.sip3d
        assert np.median(local(sip[table.genPartFlav == 5])) > 2 * np.median(local(sip[table.genPartFlav == 1]))
    flavours = set(np.unique(local(s.objects["Muon"].genPartFlav)))
    assert {0, 1, 4, 5, 15} <= flavours <= {0, 1, 3, 4, 5, 15}


def test_muon_and_electron_momenta_are_right() -> None:
    s = sample(*TTBAR)
    for name in ("Muon", "Electron"):
        table = s.objects[name][s.objects[name].genPartFlav == 1]
        gen = s.gen["GenPart"][table.genPartIdx]
        ratio = local(table.pt) / local(gen.pt)
        assert np.median(ratio) == pytest.approx(1, abs=0.005)
        assert np.diff(np.quantile(ratio, [0.16, 0.84]))[0] / 2 < 0.03
        assert (local(table.charge) * local(gen.pdgId) < 0).mean() > 0.98
        assert (local(table.pdgId) == local(gen.pdgId)).mean() > 0.98


@pytest.mark.parametrize(("name", "pdg"), [("Muon", 13), ("Electron", 11)])
def test_the_z_is_where_it_was_generated(name: str, pdg: int) -> None:
    """Peak of two reconstructed leptons; its width is Z's and the resolution's that the leptons were smeared with."""
    s = sample(*Z)
    table = s.objects[name][(s.objects[name].pt > 15) & (s.objects[name].genPartFlav == 1)]
    two = ak.num(table) == 2
    true = invariant_mass(s.gen["GenPart"][two][table.genPartIdx[two]])
    measured = invariant_mass(table[two])
    near = np.abs(true - 91.188) < 10
    assert near.sum() > 120
    low, high = np.quantile((measured / true)[near], [0.1585, 0.8415])
    resolution = (high - low) / 2
    assert np.median((measured / true)[near]) == pytest.approx(
        1, abs=4 * 1.25 * resolution / np.sqrt(near.sum()) + 0.001
    )
    assert 0.008 < resolution < 0.025  # cf. CMS, arXiv:1804.04528 and arXiv:2012.06888
    spread = [np.diff(np.quantile(m[near], [0.25, 0.75]))[0] / 2 for m in (true, measured)]
    assert spread[0] == pytest.approx(2.495 / 2, abs=4 * 1.6 * spread[0] / np.sqrt(near.sum()) + 0.1)
    assert spread[0] < spread[1] < np.hypot(spread[0], 91.2 * resolution) + 0.3


def invariant_mass(pair: ak.Array) -> np.ndarray:
    """Of massless pairs."""
    a, b = pair[:, 0], pair[:, 1]
    return np.asarray(np.sqrt(2 * a.pt * b.pt * (np.cosh(a.eta - b.eta) - np.cos(a.phi - b.phi))), np.float64)


def test_taus_are_found_in_their_decay_mode_and_jets_fake_few() -> None:
    s = sample(*TAUS)
    visible, tau = s.gen["GenVisTau"], s.objects["Tau"]
    good = (visible.pt > 30) & (abs(visible.eta) < 2.3)
    loose = tau[(tau.idDeepTau2018v2p5VSjet >= 5) & (tau.genPartFlav == 5)]
    index = ak.local_index(visible.pt)
    efficiency = {}
    for label, table in (("all", tau[tau.genPartFlav == 5]), ("medium", loose)):
        seen = ak.any(index[:, :, None] == table.genPartIdx[:, None, :], axis=-1)
        efficiency[label] = ak.sum(seen & good) / ak.sum(good)
    assert 0.6 < efficiency["all"] < 0.95  # cf. CMS, arXiv:1809.02816
    assert 0.4 < efficiency["medium"] < 0.8
    matched = tau[tau.genPartFlav == 5]
    true = visible[matched.genPartIdx]
    prongs = local(matched.decayMode) // 10
    right = prongs == local(true.status) // 10
    assert right.mean() > 0.9 - 3 * np.sqrt(0.09 / len(right))
    ratio = local(matched.pt) / local(true.pt)
    assert np.median(ratio) == pytest.approx(1, abs=0.06)
    fakes = sample(*QCD).objects
    jet = fakes["Jet"][(fakes["Jet"].pt > 30) & (abs(fakes["Jet"].eta) < 2.3)]
    medium = fakes["Tau"][(fakes["Tau"].idDeepTau2018v2p5VSjet >= 5) & (fakes["Tau"].pt > 25)]
    assert ak.sum(ak.num(medium)) / ak.sum(ak.num(jet)) < 0.02
    assert set(np.unique(local(tau.decayMode))) <= {0, 1, 2, 10, 11}


def test_photons_include_the_showers_of_electrons() -> None:
    s = sample(*TTBAR)
    photon, electron = s.objects["Photon"], s.objects["Electron"]
    of_electron = photon[photon.electronIdx >= 0]
    back = electron.photonIdx[of_electron.electronIdx]
    assert ak.all(photon.electronIdx[back] == of_electron.electronIdx)
    assert ak.mean(of_electron.electronVeto) < 0.1
    assert ak.all(photon.electronVeto[photon.electronIdx < 0])
    assert ak.all((electron.photonIdx >= 0) == (electron.pt > 10))
