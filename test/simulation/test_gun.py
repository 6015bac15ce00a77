from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from generated import same
from nanoforge.config.generator import Generator
from nanoforge.errors import DataError
from nanoforge.evaluation.spectra import draw
from nanoforge.simulation.generator.event_blocks import generate_block, survey
from nanoforge.simulation.generator.flatness import flatness
from nanoforge.simulation.generator.pythia import GenBlock
from nanoforge.simulation.generator.trials import Trials
from scipy import stats

A_TO_EE = ["36:m0 = 3", "36:mMin = 0", "36:oneChannel = 1 1. 103 11 -11"]  # 103: the branching ratio holds at any mass
A = {"pdgId": 36, "pt": [20, 100], "mass": [0.1, 6], "eta": [-1.5, 1.5]}


def shoot(size: int = 250, block: int = 0, **keys: Any) -> GenBlock:
    generator = Generator.model_validate(keys)
    return generate_block(generator, "gun", block, size, survey(generator, "gun") if generator.flatten else None)[0]


def first(block: GenBlock) -> ak.Array:
    return block.particles[:, 1]


def uniform(values: Any, low: float, high: float) -> float:
    return float(stats.kstest(np.asarray(values), stats.uniform(low, high - low).cdf).pvalue)


def test_spectra_are_flat() -> None:
    a = first(shoot(2000, gun=A, settings=A_TO_EE))
    pt = np.hypot(a.px, a.py)
    assert uniform(pt, 20, 100) > 1e-3
    assert uniform(a.m, 0.1, 6) > 1e-3
    assert uniform(np.arcsinh(a.pz / pt), -1.5, 1.5) > 1e-3
    assert uniform(np.arctan2(a.py, a.px), -np.pi, np.pi) > 1e-3


def test_the_particle_decays_with_its_own_mass() -> None:
    block = shoot(200, gun=A, settings=A_TO_EE)
    electrons = block.particles[(block.particles.status > 0)]
    assert ak.all(ak.sum(abs(electrons.pdgId) == 11, axis=1) >= 2)
    total = [ak.sum(electrons[name], axis=1) for name in ("px", "py", "pz", "e")]
    mass = np.sqrt(np.maximum(total[3] ** 2 - total[0] ** 2 - total[1] ** 2 - total[2] ** 2, 0))
    assert np.allclose(mass, first(block).m, rtol=1e-3, atol=1e-3)


def test_several_particles_and_antiparticles() -> None:
    guns = [{"pdgId": 13, "pt": [10, 20], "antiparticle": True}, {"pdgId": 22, "pt": [5, 5], "eta": [1, 1]}]
    particles = shoot(20, gun=guns).particles
    assert ak.to_list(particles.pdgId) == [[90, 13, -13, 22]] * 20
    for name in ("px", "py", "pz"):
        assert np.allclose(particles[name][:, 1], -particles[name][:, 2])
    photon = particles[:, 3]
    assert np.allclose(np.arcsinh(photon.pz / np.hypot(photon.px, photon.py)), 1)
    assert np.allclose(particles.m[:, 1], 0.10566, rtol=1e-3)


@pytest.mark.parametrize("pdg_id", [5, -2, 21])
def test_partons_radiate_and_become_hadrons(pdg_id: int) -> None:
    particles = shoot(20, gun={"pdgId": pdg_id, "pt": [40, 60], "antiparticle": True}).particles
    pair = particles[particles.status == -23]
    assert ak.to_list(pair.pdgId) == [[pdg_id, pdg_id if pdg_id == 21 else -pdg_id]] * 20
    assert ak.all(np.hypot(pair.px, pair.py) > 40)
    assert ak.sum(particles.status == -51) > 20 * 5
    final = particles[particles.status > 0]
    assert ak.all(ak.num(final) > 4) and not ak.any((abs(final.pdgId) <= 6) | (final.pdgId == 21))
    for name in ("px", "py", "pz", "charge"):
        assert np.allclose(ak.sum(final[name], axis=1), 0, atol=1e-6)


def test_taus_decay() -> None:
    particles = shoot(20, gun={"pdgId": 15, "pt": [40, 60]}).particles
    assert ak.all(ak.sum(abs(particles.pdgId) == 16, axis=1) == 1)


def test_the_same_seed_gives_the_same_shots() -> None:
    assert same(shoot(30, 1, gun=A, settings=A_TO_EE), shoot(30, 1, gun=A, settings=A_TO_EE))


FLAT = {
    "gun": A,
    "settings": A_TO_EE,
    "filters": {"legs": {"mother": 36, "daughters": [11, 11], "pt": 7, "eta": 1.4}},
    "flatten": {"mass": 12, "pt": 8, "pilot": 4000},
}


def histogram(blocks: list[GenBlock]) -> np.ndarray:
    a = ak.concatenate([first(b) for b in blocks])
    counts, *_ = np.histogram2d(
        np.asarray(a.m), np.asarray(np.hypot(a.px, a.py)), bins=(np.linspace(0.1, 6, 13), np.linspace(20, 100, 9))
    )
    return counts


def test_accepted_events_become_flat() -> None:
    def chi2(counts: np.ndarray) -> float:
        return float(((counts - counts.mean()) ** 2 / counts.mean()).sum() / (counts.size - 1))

    flattened = [shoot(250, i, **FLAT) for i in range(8)]
    assert chi2(histogram(flattened)) < 1.5
    only_filtered = {k: v for k, v in FLAT.items() if k != "flatten"}
    assert chi2(histogram([shoot(250, i, **only_filtered) for i in range(16)])) > 1.5
    books = flattened[0].accepted
    assert books.passed == 250 and books.tried == 250 + books.rejected["legs"]
    np.testing.assert_array_equal(books.spectra.passed, histogram(flattened[:1]).ravel())


def test_spectra_of_tried_and_kept_are_counted() -> None:
    books = [shoot(150, i, **{k: v for k, v in FLAT.items() if k != "flatten"}).accepted for i in range(3)]
    total = Trials()
    for part in books:
        total.add(part)
    spectra = total.spectra
    assert spectra is not None and len(spectra.tried) == 20 * 16
    assert (
        (spectra.tried.sum(), spectra.passed.sum())
        == (total.tried, total.passed)
        == (450 + total.rejected["legs"], 450)
    )
    assert (spectra.tried >= spectra.passed).all()
    chi2 = flatness(spectra)
    for plane, ndf in {"mass": 19, "pt": 15, "map": 319}.items():
        assert stats.chi2.sf(chi2["tried"][plane] * ndf, ndf) > 1e-4
    assert Trials.from_dict(json.loads(json.dumps(total.as_dict()))).as_dict() == total.as_dict()


def test_spectra_that_are_a_point_are_not_drawn(tmp_path: Path) -> None:
    fixed = shoot(20, gun={"pdgId": 13, "pt": [5, 5]}).accepted.spectra
    assert fixed.tried.tolist() == fixed.passed.tolist() == [20]
    assert flatness(fixed)["tried"] == {"mass": None, "pt": None, "map": None}
    assert draw(fixed, tmp_path / "fixed") == []
    only_pt = shoot(20, gun={"pdgId": 13, "pt": [5, 50]}).accepted.spectra
    assert len(only_pt.tried) == 16 and flatness(only_pt)["tried"]["mass"] is None
    only_pt.aimed[1:] = False
    assert [p.name for p in draw(only_pt, tmp_path / "pt")] == ["pt.pdf", "pt.png"]


def test_flattening_is_reproducible() -> None:
    assert same(shoot(60, 3, **FLAT), shoot(60, 3, **FLAT))


def test_bins_that_nothing_reaches_stay_empty() -> None:
    keys = {**FLAT, "filters": {"heavy": {"mother": 36, "daughters": [11, 11], "mass": [3.05, 9]}}}
    assert not histogram([shoot(200, **keys)])[:6].any()


def test_a_gun_that_nothing_survives() -> None:
    keys = {**FLAT, "filters": {"no": {"mother": 36, "daughters": [13, 13]}}}
    with pytest.raises(DataError, match=r"none of 4,000 events in a row passed, so the efficiency is below 0.00075"):
        shoot(10, **keys)
