"""What arrives at the calorimeters after the tracker's material: photons that convert, electrons that radiate.

The candidates of particle flow have these effects in their resolutions; hits need the showers themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .candidates import SOLENOID, Arrivals, arrive
from .decays import Particles, together
from .helix import propagate

ELECTRON_MASS = 0.000511  # GeV


@dataclass(frozen=True)
class Material:
    """Tracker material in front of the ECAL, and where it lies.

    ``depth`` (radiation lengths) at abs(eta) ``eta``: 0.4 in the middle, 1.8 near 1.4, 1.1 at 2.5: chosen after the
    shape of CMS's tracker, from memory, and compared with no source. A photon converts with 1 - exp(-7/9 depth) (PDG,
    passage of particles through matter), evenly along its way from ``first`` on, and shares its energy evenly between
    electron and positron (chosen; Bethe and Heitler's spectrum is within a third of that). An electron loses at each of
    the ``layers`` its part of the material: the share that is left has a density after Bethe and Heitler, -ln(z) being
    distributed as Gamma(depth / ln 2), so that exp(-depth) is left on average; what is lost goes on as one photon
    (chosen).
    ``first``, ``last`` and ``layers`` are fractions of the way to the calorimeter.
    """

    eta: tuple[float, ...] = (0.0, 0.8, 1.4, 1.6, 2.5)
    depth: tuple[float, ...] = (0.4, 0.6, 1.8, 1.6, 1.1)
    first: float = 0.03
    last: float = 0.90
    layers: tuple[float, ...] = (0.1, 0.4, 0.7)

    def depths(self, eta: np.ndarray) -> np.ndarray:
        """Return the material (radiation lengths) that a direction crosses."""
        return np.interp(np.abs(eta), self.eta, self.depth)


MATERIAL = Material()


def through_material(arrivals: Arrivals, rng: np.random.Generator) -> Arrivals:
    """Let photons convert and electrons radiate on their way; the energies of what comes out sum up to those put in."""
    particles = arrivals.particles
    kind = np.abs(particles.pdg)
    converts = (kind == 22) & arrivals.reached & (rng.random(len(kind)) < _conversion(particles))
    start = rng.uniform(MATERIAL.first, MATERIAL.last, len(kind))
    pairs = _pairs(particles.pick(converts), [p[converts] for p in arrivals.position], start[converts], rng)
    charged = together([particles.pick(kind == 11), pairs])
    electrons, photons = _radiate(charged, rng)
    return _join(arrivals.pick((kind != 11) & ~converts), arrive(together([electrons, *photons])))


def _join(first: Arrivals, second: Arrivals) -> Arrivals:
    order = np.argsort(np.concatenate([first.particles.event, second.particles.event]), kind="stable")
    position = [np.concatenate(both)[order] for both in zip(first.position, second.position)]
    reached = np.concatenate([first.reached, second.reached])[order]
    return Arrivals(together([first.particles, second.particles]), position, reached)


def _conversion(particles: Particles) -> np.ndarray:
    return -np.expm1(-7 / 9 * MATERIAL.depths(_direction(particles)))


def _direction(particles: Particles) -> np.ndarray:
    return np.arcsinh(particles.pz / np.maximum(np.hypot(particles.px, particles.py), 1e-12))


def _changed(particles: Particles, **columns: np.ndarray) -> Particles:
    return Particles(**{**vars(particles), **columns})


def _pairs(photons: Particles, face: list[np.ndarray], start: np.ndarray, rng: np.random.Generator) -> Particles:
    """Electron and positron of each photon, at a fraction ``start`` of its way to the ``face``."""
    x, y, z = (a + start * (b - a) for a, b in zip((photons.x, photons.y, photons.z), face))
    share = rng.random(len(start))
    size = np.full(len(start), ELECTRON_MASS)
    legs = [
        _changed(
            photons, pdg=np.full(len(start), -11 * int(charge), np.int32), charge=np.full(len(start), charge),
            px=part * photons.px, py=part * photons.py, pz=part * photons.pz, e=part * photons.e, m=size, x=x, y=y, z=z,
        )
        for charge, part in ((-1.0, share), (1.0, 1 - share))
    ]  # fmt: skip
    return together(legs)


def _radiate(electrons: Particles, rng: np.random.Generator) -> tuple[Particles, list[Particles]]:
    """Electrons behind the material, and the photons that they emit along their tracks at each layer of it."""
    photons = []
    step = MATERIAL.depths(_direction(electrons)) / len(MATERIAL.layers)
    for fraction in MATERIAL.layers:
        radius, half_length = fraction * SOLENOID.radius, fraction * SOLENOID.half_length
        inside = (np.hypot(electrons.x, electrons.y) < radius) & (np.abs(electrons.z) < half_length)
        electrons, reached = _moved(electrons, radius, half_length)
        left = np.exp(-rng.gamma(step / np.log(2)))
        left = np.where(inside & reached, left, 1.0)
        photons.append(_emitted(electrons, 1 - left))
        electrons = _scaled(electrons, left)
    return electrons, photons


def _moved(electrons: Particles, radius: float, half_length: float) -> tuple[Particles, np.ndarray]:
    """Electrons where they reach a cylinder, with their direction there; those that do not reach it stay."""
    x, y, z, reached = propagate(
        electrons.px, electrons.py, electrons.pz, electrons.charge, electrons.x, electrons.y, electrons.z,
        SOLENOID.field, radius, half_length,
    )  # fmt: skip
    dx, dy = x - electrons.x, y - electrons.y
    moved = reached & ((dx != 0) | (dy != 0))
    # a chord of a circle lies in the middle between the directions at its ends
    before = np.arctan2(electrons.py, electrons.px)
    phi = np.where(moved, 2 * np.arctan2(dy, dx) - before, before)
    pt = np.hypot(electrons.px, electrons.py)
    at = {name: np.where(moved, new, getattr(electrons, name)) for name, new in (("x", x), ("y", y), ("z", z))}
    return _changed(electrons, px=pt * np.cos(phi), py=pt * np.sin(phi), **at), reached


def _scaled(particles: Particles, share: np.ndarray) -> Particles:
    return _changed(particles, **{name: share * getattr(particles, name) for name in ("px", "py", "pz", "e")})


def _emitted(electrons: Particles, share: np.ndarray) -> Particles:
    """Photons with a share of the electrons' momenta."""
    size = len(share)
    photons = _changed(
        _scaled(electrons, share), pdg=np.full(size, 22, np.int32), charge=np.zeros(size), m=np.zeros(size)
    )
    return photons.pick(share > 0)
