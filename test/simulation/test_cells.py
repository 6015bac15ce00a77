"""Hits of the calorimeters: profiles, energies, CMS's numbering, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from nanoforge.config.generator import Generator
from nanoforge.simulation.detector import candidates as detector
from nanoforge.simulation.detector import cells, grid
from nanoforge.simulation.detector.cells import CRYSTALS, Deposits
from nanoforge.simulation.detector.showers import MATERIAL, through_material
from nanoforge.simulation.nano import nanoaod
from nanoforge.simulation.objects import hits
from samples import gun
from scipy.integrate import dblquad

CRYSTAL = 22.5  # mm


def arrivals(*particle: Any, seed: int = 1, **more: Any) -> detector.Arrivals:
    return detector.simulate_with_arrivals(gun(*particle, **more), np.random.default_rng(seed))[1]


def photons(n: int, energy: float, eta: float, seed: int = 1) -> detector.Arrivals:
    phi = np.random.default_rng(seed).uniform(-np.pi, np.pi, n)
    return arrivals(22, 0.0, 0.0, np.full(n, energy / np.cosh(eta)), eta, phi)


def deposits(eta: Any, phi: Any, energy: Any) -> Deposits:
    eta, phi, energy = np.broadcast_arrays(np.atleast_1d(np.asarray(eta, np.float64)), phi, energy)
    return Deposits(np.zeros(len(eta), np.int64), eta, phi.astype(np.float64), energy * 1.0, np.ones(len(eta)))


@pytest.mark.parametrize("r", [5.0, 43.0])
@pytest.mark.parametrize("cell", [(-3.0, 10.0, 2.0, 7.0), (-11.0, 11.0, -11.0, 11.0), (30.0, 52.0, -80.0, -58.0)])
def test_the_integral_of_the_profile_is_that_of_quadrature(r: float, cell: tuple[float, ...]) -> None:
    def density(y: float, x: float) -> float:
        return r * r / np.pi / (x * x + y * y + r * r) ** 2

    numerical = dblquad(density, *cell, epsabs=1e-14, epsrel=1e-13)[0]
    assert cells.integral(*cell, r) == pytest.approx(numerical, abs=1e-12)


def containment(crystals: int, core: float, tail: float, share: float) -> float:
    h = crystals * CRYSTAL / 2
    return share * cells.integral(-h, h, -h, h, core) + (1 - share) * cells.integral(-h, h, -h, h, tail)


@pytest.mark.parametrize("energy", [5.0, 50.0])
def test_containment_is_that_of_grindhammer_and_peters(energy: float) -> None:
    """hep-ex/0001020, homogeneous calorimeter, as CMSSW's SimGeneral/GFlash has it; averaged over the depth."""
    z, moliere, critical = 68.36, 21.9, 9.5e-3  # of lead tungstate: effective Z, mm, GeV
    y, log_e = np.log(energy / critical), np.log(energy)
    maximum, alpha = y - 0.858, 0.21 + (0.492 + 2.38 / z) * y
    depth = np.linspace(0.05, 26, 300)  # radiation lengths
    weight = depth ** (alpha - 1) * np.exp(-(alpha - 1) / maximum * depth)
    tau = depth / maximum
    core = 0.0251 + 0.00319 * log_e + (0.1162 - 0.000381 * z) * tau
    tail = (0.659 - 0.00309 * z) * (np.exp(-2.59 * (tau - 0.645)) + np.exp((0.3585 + 0.0421 * log_e) * (tau - 0.645)))
    x = (0.401 + 0.00187 * z - tau) / (1.313 - 0.0686 * log_e)
    share = np.clip((2.632 - 0.00094 * z) * np.exp(x - np.exp(x)), 0, 1)
    for crystals, expected in ((1, 0.78), (3, 0.94), (5, 0.97)):
        layers = [containment(crystals, c * moliere, t * moliere, s) for c, t, s in zip(core, tail, share)]
        assert np.average(layers, weights=weight) == pytest.approx(expected, abs=0.01)
        assert containment(crystals, CRYSTALS.core, CRYSTALS.tail, CRYSTALS.share) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("eta", [0.3, 1.0, -2.0])
def test_energy_is_conserved(eta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the material, but for what curls in the field, and by the crystals, but for what is below their thresholds."""
    before = photons(400, 50.0, eta)
    after = through_material(before, np.random.default_rng(2))
    assert after.particles.e[after.reached].sum() == pytest.approx(before.particles.e.sum(), rel=0.01)

    def measured() -> float:
        rng = np.random.default_rng(3)
        return np.mean([cells.crystals(deposits(eta, phi, 50.0), rng)[-1].sum() for phi in np.linspace(-3.1, 3.1, 60)])

    assert 50 * 0.94 < measured() < 50 * 0.99
    monkeypatch.setattr(cells, "CRYSTALS", replace(CRYSTALS, threshold=(-np.inf, -np.inf)))
    assert measured() == pytest.approx(50, rel=0.01)


def test_spreading_loses_nothing_within_the_detector() -> None:
    energy, touched = np.zeros((170, 360)), np.zeros((170, 360), np.bool_)
    for x, y in ((1000.0, 3.0), (2000.0, 8100.0)):  # over the edge of phi as well
        cells.spread_crystals(energy, touched, x, y, CRYSTAL, 40.0, 5.6, 43.0, 0.93, 8, True)
    assert energy.sum() == pytest.approx(80.0, rel=1e-12) and touched.sum() == 2 * 17 * 17
    towers, reached = np.zeros((56, 72)), np.zeros((56, 72), np.bool_)
    for eta, phi in ((0.0, 0.01), (1.73, -3.14), (-2.2, 3.1)):
        cells.spread_towers(towers, reached, cells._RINGS, eta, phi, 30.0, 60.0, 1800.0, 2)
    assert towers.sum() == pytest.approx(90.0, rel=1e-12)
    assert not towers[[0, 7, 48, 55], 1::2].any() and towers[:, 1::2].any()


def test_containment_of_simulated_showers() -> None:
    """In the middle of a crystal: the shares of the largest crystal, of 9 and of 25 are those of the profile."""
    at = float(grid.barrel_eta(np.array(20))), float(grid.barrel_phi(np.array(100)))
    rng, shares = np.random.default_rng(5), np.zeros(3)
    for _ in range(200):
        _, ieta, iphi, energy = cells.crystals(deposits(*at, 60.0), rng)
        distance = np.maximum(np.abs(ieta - 20), np.abs(iphi - 100))
        shares += [energy[distance <= k].sum() / 60 for k in range(3)]
    assert shares / 200 == pytest.approx((0.78, 0.94, 0.97), abs=0.01)


def test_conversions_and_bremsstrahlung_follow_the_material() -> None:
    for eta in (0.0, 1.4):
        after = through_material(photons(4000, 40.0, eta), np.random.default_rng(1))
        electrons = np.unique(after.particles.event[np.abs(after.particles.pdg) == 11])
        expected = 1 - np.exp(-7 / 9 * MATERIAL.depths(np.array([eta]))[0])
        assert len(electrons) / 4000 == pytest.approx(expected, abs=0.035)
        phi = np.random.default_rng(2).uniform(-np.pi, np.pi, 4000)
        tracks = arrivals(11, -1.0, 0.000511, np.full(4000, 40 / np.cosh(eta)), eta, phi)
        left = through_material(tracks, np.random.default_rng(3))
        of_electrons = left.particles.e[left.particles.pdg == 11].sum() / tracks.particles.e.sum()
        assert of_electrons == pytest.approx(np.exp(-MATERIAL.depths(np.array([eta]))[0]), abs=0.02)


def test_photons_of_bremsstrahlung_lie_beside_their_electron_in_phi() -> None:
    n = 1000
    before = arrivals(11, -1.0, 0.000511, np.full(n, 10.0), 0.2, np.zeros(n))
    after = through_material(before, np.random.default_rng(4))
    photon = after.particles.pdg == 22
    assert photon.any() and after.phi[photon].min() > 0.01
    assert np.abs(after.eta[photon] - 0.2).max() < 0.15
    bend = after.phi[~photon & after.reached]
    assert bend.min() >= before.phi[0] - 1e-9 and np.median(bend) > before.phi[0] + 0.01  # what has radiated bends more


def test_numbering_is_that_of_cms() -> None:
    """EBDetId: no ieta 0, ``numberByEtaPhi``, ``tower_iphi``; HcalDetId: odd iphi above ieta 20."""
    ieta = np.array([-85, -1, 1, 85])
    assert grid.barrel_row(ieta).tolist() == [55, 139, 140, 224]
    assert grid.row(grid.barrel_eta(ieta)).tolist() == [55, 139, 140, 224]
    iphi = np.arange(1, 361)
    assert np.array_equal(grid.column(grid.barrel_phi(iphi)), iphi - 1)
    assert grid.barrel_phi(np.array([11]))[0] == pytest.approx(grid.CRYSTAL / 2)
    assert grid.tower_columns(1).tolist() == [10, 11, 12, 13, 14]  # iphi 11 to 15
    assert grid.tower_columns(72).tolist() == [5, 6, 7, 8, 9] and grid.tower_columns(71).tolist() == [0, 1, 2, 3, 4]
    for tower in (1, 17, 18, 20, 21, 28):
        rows = grid.row(np.linspace(grid.TOWER_EDGES[tower - 1] + 0.006, grid.TOWER_EDGES[tower] - 1e-6, 50))
        assert set(rows) <= set(range(140 + 5 * (tower - 1), 140 + 5 * tower)), tower
    assert grid.row(np.array([2.9999, 3.0001, -2.9999])).tolist() == [279, -1, 0]
    assert [grid.tower_at(*at) for at in ((0.01, 0.01), (-0.01, -0.01), (1.8, 0.1), (2.9, 6.2))] == [
        (1, 1), (-1, 72), (21, 1), (28, 71),
    ]  # fmt: skip


def test_towers_have_cms_numbers_and_places() -> None:
    rng = np.random.default_rng(1)
    for eta, phi in ((0.03, 0.03), (1.7, -0.04), (2.9, 3.1), (-2.0, 0.0)):
        ieta, iphi, energy = cells.towers(deposits(eta, phi, 100.0), rng)
        assert 0 not in ieta and np.all((iphi >= 1) & (iphi <= 72))
        assert np.all(iphi[np.abs(ieta) > 20] % 2 == 1)
        largest = energy.argmax()
        assert (ieta[largest], iphi[largest]) == grid.tower_at(eta, phi)
        assert energy.sum() == pytest.approx(100, rel=0.05)
        assert grid.tower_eta(ieta)[largest] == pytest.approx(eta, abs=0.18)
        step = (grid.tower_phi(ieta, iphi)[largest] - phi + np.pi) % (2 * np.pi) - np.pi
        assert abs(step) <= 0.0873


@pytest.mark.parametrize("eta", [0.02, 1.45, 1.6, -2.3, 2.9])
def test_hits_lie_where_the_photon_arrives(eta: float) -> None:
    before = photons(20, 80.0, eta)
    tables = hits.tables(before, 20, np.random.default_rng(2))["EcalHit"]
    for k, of_event in enumerate(tables.tolist()):
        largest = max(of_event, key=lambda hit: hit["energy"])
        d_phi = (largest["phi"] - before.phi[k] + np.pi) % (2 * np.pi) - np.pi
        assert np.hypot(largest["eta"] - before.eta[k], d_phi) < (0.25 if abs(eta) > 2.5 else 0.1)
        assert largest["row"] == grid.row(np.array(largest["eta"])) or largest["ieta"] != 0
        assert largest["column"] == grid.column(np.array(largest["phi"])) or largest["ieta"] != 0


SETTINGS = {"gun": [{"pdgId": 22, "pt": [20, 100]}, {"pdgId": 211, "pt": [5, 50]}], "events": 30}


def make(seed: int = 1, **more: Any) -> dict[str, np.ndarray]:
    generator = Generator.model_validate({**SETTINGS, "seed": seed, **more})
    return {name: column.content for name, column in nanoaod.make(generator, "a", 0, 30, 1).events.items()}


def test_hits_are_there_where_they_are_asked_for_and_change_nothing_else() -> None:
    plain, with_hits, again = make(), make(cells=True), make(cells=True)
    assert set(with_hits) - set(plain) == set(hits.DOCS)
    assert all(np.array_equal(plain[name], with_hits[name]) for name in plain)
    assert all(np.array_equal(with_hits[name], again[name]) for name in with_hits)
    assert len(with_hits["EcalHit_energy"]) > 300 and len(with_hits["HcalHit_energy"]) > 30
    assert np.all(with_hits["EcalHit_energy"] > 0.1)


def test_events_without_particles_have_no_hits() -> None:
    nothing = photons(3, 50.0, 4.0)  # beyond the crystals
    tables = hits.tables(nothing, 3, np.random.default_rng(1))
    assert {name: [len(event) for event in table] for name, table in tables.items()} == {
        "EcalHit": [0, 0, 0], "HcalHit": [0, 0, 0],
    }  # fmt: skip
    assert tables["HcalHit"].depth.type.content.content.primitive == "uint8"
