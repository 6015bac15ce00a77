"""The detector against the parametrisations that it cites, and its bookkeeping."""

from __future__ import annotations

from dataclasses import fields

import awkward as ak
import numpy as np
import pytest
from nanoforge.simulation.detector import calorimeter
from nanoforge.simulation.detector import candidates as detector
from nanoforge.simulation.detector.candidates import Candidates, simulate
from nanoforge.simulation.detector.response import ECAL, HCAL, IDENTIFICATION, TRACKER
from nanoforge.simulation.detector.vertices import resolution
from samples import block_of, generate, gun, sample

PION, MUON = (211, 1.0, 0.13957), (13, -1.0, 0.10566)
COLUMNS = [f.name for f in fields(Candidates) if f.name not in ("offsets", "primary")]


def phis(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, n)


def tracks_of(c: Candidates, kind: int = 211) -> np.ndarray:
    """The track of each event that has one, by events."""
    return np.flatnonzero(np.abs(c.pdgId) == kind)


def width(values: np.ndarray) -> tuple[float, float]:
    """Half of the central 68.3 %, and its statistical error for a Gaussian."""
    low, high = np.quantile(values, [0.1585, 0.8415])
    return (high - low) / 2, 1.13 * (high - low) / 2 / np.sqrt(2 * len(values)) * 1.3


@pytest.mark.parametrize("pt", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("eta", [0.2, 1.0, 2.0])
def test_track_resolution_is_the_cited_one(pt: float, eta: float) -> None:
    n = 4000
    c = simulate(gun(*PION, pt * np.ones(n), eta, phis(n)), np.random.default_rng(2))
    q_over_pt = c.charge / c.pt
    sigma, error = width(q_over_pt[tracks_of(c)] * pt)
    expected = TRACKER.pt_resolution(np.array([211]), np.array([pt]), np.array([eta]))[0]
    assert sigma == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize(
    ("particle", "eta", "efficiency"), [(PION, 0.5, 0.94), (PION, 1.8, 0.85), (MUON, 0.5, 0.99), (MUON, 2.2, 0.98)]
)
def test_tracks_are_found_with_the_cited_efficiency(particle: tuple, eta: float, efficiency: float) -> None:
    n = 8000
    c = simulate(gun(*particle, np.full(n, 20.0), eta, phis(n)), np.random.default_rng(3))
    found = len(np.unique(c.event[c.charge != 0])) / n
    assert found == pytest.approx(efficiency, abs=4 * np.sqrt(efficiency * (1 - efficiency) / n) + 0.006)


def test_efficiency_falls_with_displacement_low_momentum_and_acceptance() -> None:
    def found(pt: float, eta: float, radius: float) -> float:
        one = np.ones(1)
        return float(TRACKER.efficiency(np.array([211]), pt * one, eta * one, radius * one)[0])

    assert found(5, 0, 0) > found(5, 0, 200) > found(5, 0, 500) > found(5, 0, 600) == 0
    assert found(0.1, 0, 0) == 0 < found(0.3, 0, 0) < found(0.9, 0, 0) < found(5, 0, 0)
    assert found(5, 2.49, 0) > 0 == found(5, 2.51, 0)


def test_impact_parameters_have_the_stated_errors() -> None:
    n = 6000
    for pt, eta in ((1.0, 0.3), (5.0, 1.5), (50.0, 0.3)):
        c = simulate(gun(*MUON, np.full(n, pt), eta, phis(n)), np.random.default_rng(4))
        at = np.flatnonzero(c.charge != 0)
        for value, error in ((c.dxy, c.dxyErr), (c.dz, c.dzErr)):
            pull, statistical = width(value[at] / error[at])
            # the vertex of a single track is poor and part of the error; tails widen the core by a few per cent
            assert pull == pytest.approx(1.03, abs=4 * statistical + 0.05)
    hard = (
        TRACKER.dxy_resolution(np.array([100.0]), np.array([0.0]))[0],
        TRACKER.dz_resolution(np.array([100.0]), np.array([0.0]))[0],
    )
    assert hard == pytest.approx((0.010, 0.030), rel=0.05)  # mm; CMS, arXiv:1405.6569, abstract


def test_displaced_tracks_miss_the_vertex_by_the_geometry() -> None:
    n, radius, angle = 3000, 5.0, 0.3  # mm; rad between the flight to the decay and the track
    phi = phis(n)
    place = (radius * np.cos(phi - angle), radius * np.sin(phi - angle), np.full(n, 3.0))
    c = simulate(gun(*MUON, np.full(n, 30.0), 0.0, phi, at=place), np.random.default_rng(5))
    at = np.flatnonzero(c.charge != 0)
    # -x sin(phi) + y cos(phi); the vertex stays at 0, where the entry 1 of the list is
    expected = radius * np.sin(-angle) / 10
    assert np.median(c.dxy[at]) == pytest.approx(expected, rel=0.02)
    assert np.median(c.dz[at]) == pytest.approx(0.3, rel=0.02)
    assert np.median(np.abs(c.dxy[at]) / c.dxyErr[at]) > 15


@pytest.mark.parametrize(("energy", "eta"), [(5.0, 0.2), (50.0, 1.0), (50.0, 2.0), (300.0, 3.8)])
def test_photons_are_measured_with_the_cited_resolution(energy: float, eta: float) -> None:
    n = 3000
    c = simulate(gun(22, 0.0, 0.0, np.full(n, energy / np.cosh(eta)), eta, phis(n)), np.random.default_rng(6))
    measured = c.pt * np.cosh(c.eta)
    assert len(measured) == n
    sigma = ECAL.resolution(np.array([energy]), np.array([eta]))[0]
    assert measured.mean() == pytest.approx(energy, abs=4 * sigma / np.sqrt(n))
    assert measured.std() == pytest.approx(sigma, rel=0.08)
    assert set(c.pdgId) == ({22} if eta < 3 else {2})


def test_neutral_hadrons_share_their_energy_among_the_calorimeters() -> None:
    n, energy = 3000, 60.0
    c = simulate(gun(130, 0.0, 0.4976, np.full(n, energy), 0.0, phis(n)), np.random.default_rng(7))
    total = np.bincount(c.event, weights=c.pt, minlength=n)
    sigma = np.hypot(
        HCAL.resolution(np.array([0.7 * energy]), np.zeros(1)), ECAL.resolution(np.array([0.3 * energy]), np.zeros(1))
    )[0]
    assert total.mean() == pytest.approx(energy, abs=4 * sigma / np.sqrt(n) + 0.05)
    assert total.std() == pytest.approx(sigma, rel=0.08)
    assert set(c.pdgId) == {22, 130}


def test_close_deposits_merge_and_far_ones_do_not() -> None:
    eta = np.array([0.01, 0.02, 0.01, 0.30])
    event = np.array([0, 0, 1, 1])
    towers = calorimeter.measure(
        ECAL, event, eta, np.full(4, 0.01), np.array([5.0, 10.0, 5.0, 10.0]), np.random.default_rng(1)
    )
    assert towers.group.tolist() == [0, 0, 1, 2]
    assert towers.event.tolist() == [0, 1, 1]
    assert towers.leading.tolist() == [1, 2, 3]
    assert towers.eta[0] == pytest.approx((5 * 0.01 + 10 * 0.02) / 15)


def test_cells_are_unique_and_in_range() -> None:
    rng = np.random.default_rng(1)
    eta, phi = rng.uniform(-4.99, 4.99, 200_000), rng.uniform(-np.pi, np.pi, 200_000)
    for calo in (ECAL, HCAL):
        cell = calo.cell(eta, phi)
        assert cell.min() >= 0
        assert cell.max() < calo.cells
        order = np.argsort(cell)
        same = np.diff(cell[order]) == 0
        region = calo.region(eta[order])[1:]
        assert (np.abs(np.diff(eta[order]))[same] <= np.asarray(calo.cell_eta)[region[same]] + 1e-9).all()
        assert (np.abs(np.diff(phi[order]))[same] <= 2 * np.pi / np.asarray(calo.cells_phi)[region[same]] + 1e-9).all()


def test_loopers_leave_tracks_but_no_energy_in_the_calorimeters() -> None:
    n = 4000
    c = simulate(gun(*PION, np.full(n, 0.6), 0.0, phis(n)), np.random.default_rng(8))
    assert set(np.abs(c.pdgId)) == {211}
    assert 0.5 < len(c.pt) / n < 0.95


def test_electrons_and_muons_are_identified_and_electrons_measured_by_the_calorimeter() -> None:
    n = 6000
    c = simulate(gun(11, -1.0, 0.000511, np.full(n, 60.0), 0.5, phis(n)), np.random.default_rng(9))
    electron = np.abs(c.pdgId) == 11
    expected = TRACKER.electron[0] * IDENTIFICATION.electron[0]
    assert electron.sum() / n == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / n))
    energy = 60.0 * np.cosh(0.5)
    by_ecal = ECAL.resolution(np.array([energy]), np.array([0.5]))[0] / energy
    sigma, error = width(c.pt[electron] / 60.0)
    assert sigma == pytest.approx(by_ecal, abs=4 * error + 0.05 * by_ecal)
    wrong = (c.pdgId[electron] == -11).mean()
    assert wrong == pytest.approx(IDENTIFICATION.wrong_charge[0], abs=0.003)
    lost = np.bincount(c.event, weights=c.pt, minlength=n)
    assert (lost < 30).mean() < 1 - IDENTIFICATION.electron[0] + 0.02  # one that is not tracked is a photon
    muons = simulate(gun(*MUON, np.full(n, 20.0), 1.0, phis(n)), np.random.default_rng(10))
    assert (np.abs(muons.pdgId) == 13).sum() / n == pytest.approx(0.985, abs=0.01)


def test_energy_is_that_of_the_generator_within_acceptance() -> None:
    s = sample("ttbar", 400)
    p = s.block.particles
    pt, size = np.hypot(p.px, p.py), np.abs(p.pdgId)
    seen = (p.status > 0) & (np.abs(p.pz) < np.sinh(4.9) * pt) & (size != 12) & (size != 14) & (size != 16)
    true, measured = np.asarray(ak.sum(pt[seen], axis=1)), np.asarray(ak.sum(s.candidates.jagged("pt"), axis=1))
    ratio = measured / true
    assert ratio.mean() == pytest.approx(1.0, abs=0.05)
    assert ratio.std() < 0.10


def test_candidates_are_isotropic_in_phi() -> None:
    s = sample("ttbar", 400)
    first = s.candidates.phi[s.candidates.offsets[:-1]]
    assert np.abs(np.exp(1j * first).mean()) < 3 / np.sqrt(len(first))
    near = np.cos(first - np.pi / 4 * np.arange(4)[:, None] / 2)
    assert np.abs((near > 0).mean(axis=1) - 0.5).max() < 4 * 0.5 / np.sqrt(len(first))


def test_candidates_are_sorted_finite_and_point_to_their_particles() -> None:
    s = sample("ttbar", 400)
    c = s.candidates
    for name in COLUMNS:
        assert np.isfinite(getattr(c, name)).all(), name
    inside = np.ones(len(c.pt), bool)
    inside[c.offsets[:-1][np.diff(c.offsets) > 0]] = False
    assert (np.diff(c.pt)[inside[1:]] <= 0).all()
    assert set(np.unique(np.abs(c.pdgId))) == {1, 2, 11, 13, 22, 130, 211}
    sizes = np.asarray(ak.num(s.block.particles.status))[c.event]
    assert (c.genIdx >= 0).all()
    assert (c.genIdx < sizes).all()
    charge = np.asarray(ak.flatten(s.block.particles.charge[ak.unflatten(c.genIdx, np.diff(c.offsets))]))
    kind = np.asarray(ak.flatten(s.block.particles.pdgId[ak.unflatten(c.genIdx, np.diff(c.offsets))]))
    charged = (np.abs(c.pdgId) == 211) & (charge != 0)  # the others are from decays in flight
    assert (c.charge[charged] == charge[charged]).mean() > 0.999
    assert (np.abs(kind[np.abs(c.pdgId) == 13]) == 13).mean() > 0.7
    assert (np.abs(c.dz[c.charge == 0]) == 0).all()
    assert (c.puppiWeight == 1).all()


def test_heavy_flavour_and_strange_particles_are_displaced() -> None:
    s = sample("ttbar", 400)
    c, p = s.candidates, s.block.particles
    mother = p.mother1[ak.unflatten(c.genIdx, np.diff(c.offsets))]
    of = np.abs(np.asarray(ak.flatten(p.pdgId[ak.where(mother >= 0, mother, 0)])))
    own = np.asarray(ak.flatten(p.pdgId[ak.unflatten(c.genIdx, np.diff(c.offsets))]))
    track = (c.charge != 0) & (c.pt > 1)
    significance = np.abs(c.dxy) / np.maximum(c.dxyErr, 1e-9)
    kinds = {"b": (of >= 500) & (of < 600), "c": (of >= 400) & (of < 440), "tau": of == 15, "strange": own == 310}
    start = np.hypot(c.vx - c.primary.true[0, c.event], c.vy - c.primary.true[1, c.event])
    prompt = np.median(significance[track & (start < 1e-3)])
    assert prompt == pytest.approx(0.6745, abs=0.05)  # of a Gaussian, and a little for the tails
    for name, chosen in kinds.items():
        assert np.median(significance[track & chosen]) > (1.3 if name == "tau" else 2) * prompt, name
    assert np.median(np.hypot(c.vx, c.vy)[track & kinds["strange"]]) > 10


def test_the_primary_vertex_is_found_to_some_ten_microns() -> None:
    s = sample("ttbar", 400)
    primary = s.candidates.primary
    pull = (primary.measured - primary.true) / primary.error
    assert pull.std() == pytest.approx(1, abs=4 / np.sqrt(2 * pull.size))
    assert 0.008 < np.median(primary.error) < 0.015  # mm; CMS, arXiv:1405.6569, abstract: 10 to 12 um
    assert resolution(np.array([5])) == pytest.approx(0.028, abs=0.01)
    np.testing.assert_allclose(primary.true[2], np.asarray(s.block.particles.vz[:, 1]))
    assert (primary.vertices == 1).all()


def test_pileup_is_seen_and_weighted_away() -> None:
    block, rng = generate("pileup", 40, mpi=False)
    alone = block_of(block.particles)
    with_pileup, without = simulate(block, rng), simulate(alone, np.random.default_rng(1))
    assert len(with_pileup.pt) > 2 * len(without.pt)
    pileup = with_pileup.genIdx < 0
    charged = with_pileup.charge != 0
    assert with_pileup.puppiWeight[charged & ~pileup & (with_pileup.pt > 2)].mean() > 0.9
    assert with_pileup.puppiWeight[charged & pileup].mean() < 0.15
    neutral = ~charged & (np.abs(with_pileup.eta) < 2.5)
    assert with_pileup.puppiWeight[neutral & pileup].mean() < with_pileup.puppiWeight[neutral & ~pileup].mean()
    assert with_pileup.primary.vertices.mean() > 5
    assert len(with_pileup.primary.others[0]) == (with_pileup.primary.vertices - 1).sum()


def test_events_without_visible_particles() -> None:
    neutrinos = simulate(gun(12, 0.0, 0.0, np.full(3, 20.0), 0.0, phis(3)), np.random.default_rng(1))
    assert neutrinos.offsets.tolist() == [0, 0, 0, 0]
    particles = sample("ttbar", 400).block.particles
    mixed = simulate(
        block_of(ak.concatenate([particles[:2], particles[:1][:, :0], particles[2:3]])), np.random.default_rng(1)
    )
    assert len(mixed.offsets) == 5
    assert np.diff(mixed.offsets)[2] == 0
    assert (np.diff(mixed.offsets)[[0, 1, 3]] > 0).all()


def test_the_random_numbers_determine_everything() -> None:
    block = sample("ttbar", 400).block
    one, same, other = (simulate(block, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert len(one.pt) != len(other.pt) or not np.array_equal(one.pt, other.pt)


def test_the_face_is_where_the_documentation_says() -> None:
    c = sample("ttbar", 400).candidates
    assert np.abs(c.etaCalo).max() < detector.FORWARD_END + 0.2
    assert (np.abs(c.phiCalo) <= np.pi).all()
    stiff = (c.charge == 1) & (c.pt > 20) & (np.abs(c.eta) < 1)
    turned = (c.phiCalo - c.phi)[stiff]
    assert (np.sign((turned + np.pi) % (2 * np.pi) - np.pi) < 0).mean() > 0.95
