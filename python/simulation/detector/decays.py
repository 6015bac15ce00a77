"""Decays in flight of the long-lived hadrons that the generator leaves to the detector."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Particles:
    """Final particles of all events, flat and in the order of the events.

    ``event`` i8; ``pdg`` i4; ``px py pz e m`` GeV and ``x y z`` mm (production vertex), f8; ``charge`` f8; ``index`` i8
    in the event's generator list (of the ancestor for a product of ``decay``; -1 for pileup); ``vertex`` i4: 0 for the
    hard collision, above for pileup.
    """

    event: np.ndarray
    pdg: np.ndarray
    px: np.ndarray
    py: np.ndarray
    pz: np.ndarray
    e: np.ndarray
    m: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    charge: np.ndarray
    index: np.ndarray
    vertex: np.ndarray

    def pick(self, where: np.ndarray) -> Particles:
        """Those of a mask or of a list of positions."""
        return Particles(**{f.name: getattr(self, f.name)[where] for f in fields(self)})


def together(parts: list[Particles]) -> Particles:
    """All of them in the order of the events."""
    order = np.argsort(np.concatenate([part.event for part in parts]), kind="stable")
    return Particles(**{f.name: np.concatenate([getattr(p, f.name) for p in parts])[order] for f in fields(Particles)})


# Mean decay length (mm) and main two-body modes with their branching fractions: PDG, PRD 110 (2024) 030001.
MODES: dict[int, tuple[float, tuple[tuple[float, int, int], ...]]] = {
    111: (0.0, ((1.0, 22, 22),)),
    310: (26.84, ((0.692, 211, -211), (0.308, 111, 111))),
    3112: (44.34, ((1.0, 2112, -211),)),
    3122: (78.9, ((0.641, 2212, -211), (0.359, 2112, 111))),
    3222: (24.04, ((0.516, 2212, 111), (0.484, 2112, 211))),
    3312: (49.1, ((1.0, 3122, -211),)),
    3322: (87.1, ((1.0, 3122, 111),)),
    3334: (24.61, ((0.678, 3122, -321), (0.236, 3322, -211), (0.086, 3312, 111))),
}
# mass (GeV) and charge (e) of whatever the modes make
_PROPERTIES: dict[int, tuple[float, int]] = {
    22: (0.0, 0), 111: (0.134977, 0), 211: (0.139570, 1), 321: (0.493677, 1), 2112: (0.939565, 0),
    2212: (0.938272, 1), 3122: (1.115683, 0), 3312: (1.32171, -1), 3322: (1.31486, 0),
}  # fmt: skip
_OWN_ANTIPARTICLE = (22, 111)
_GENERATIONS = 4  # Omega, Xi, Lambda, pi0
_LAST = max(MODES)


def _lookup() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row of each |pdgId|, decay lengths, cumulative branching fractions (k, 3), daughters (k, 3, 2)."""
    row = np.full(_LAST + 2, -1, np.int64)
    length, cumulative, daughters = (
        np.zeros(len(MODES)),
        np.ones((len(MODES), 3)),
        np.zeros((len(MODES), 3, 2), np.int32),
    )
    for k, (pdg, (ctau, modes)) in enumerate(MODES.items()):
        row[pdg], length[k] = k, ctau
        for j in range(3):
            cumulative[k, j] = sum(mode[0] for mode in modes[: j + 1])
            daughters[k, j] = modes[min(j, len(modes) - 1)][1:]
    return row, length, cumulative, daughters


_ROW, _LENGTH, _CUMULATIVE, _DAUGHTERS = _lookup()
_MASS, _CHARGE = np.zeros(_LAST + 2), np.zeros(_LAST + 2)
for _pdg, (_mass, _charge) in _PROPERTIES.items():
    _MASS[_pdg], _CHARGE[_pdg] = _mass, _charge


def decay(particles: Particles, radius: float, half_length: float, rng: np.random.Generator) -> Particles:
    """Let long-lived hadrons decay along a straight line where that ends inside a cylinder (mm); the others stay.

    Charged hyperons are taken as straight: their decay lengths are short against the curvature.
    """
    stable, unstable = _split(particles)
    parts = [stable]
    for _ in range(_GENERATIONS):
        row = _ROW[np.abs(unstable.pdg)]
        path = _LENGTH[row] * rng.standard_exponential(len(row)) / unstable.m
        x, y, z = unstable.x + path * unstable.px, unstable.y + path * unstable.py, unstable.z + path * unstable.pz
        inside = (np.hypot(x, y) < radius) & (np.abs(z) < half_length)
        products = _two_body(unstable.pick(inside), row[inside], (x[inside], y[inside], z[inside]), rng)
        final, again = _split(products)
        parts += [unstable.pick(~inside), final]
        unstable = again
    return together([*parts, unstable])


def _split(particles: Particles) -> tuple[Particles, Particles]:
    unstable = _ROW[np.minimum(np.abs(particles.pdg), _LAST + 1)] >= 0
    return particles.pick(~unstable), particles.pick(unstable)


def _two_body(parent: Particles, row: np.ndarray, at: tuple[np.ndarray, ...], rng: np.random.Generator) -> Particles:
    """Both products of each parent, isotropic in its rest frame."""
    n = len(row)
    mode = (rng.random(n)[:, None] > _CUMULATIVE[row]).sum(axis=1).clip(max=2)
    pdg = _DAUGHTERS[row, mode].T  # (2, n)
    mass = _MASS[np.abs(pdg)]
    total, difference = mass[0] + mass[1], mass[0] - mass[1]
    momentum = np.sqrt(np.maximum((parent.m**2 - total**2) * (parent.m**2 - difference**2), 0)) / (2 * parent.m)
    cosine, phi = rng.uniform(-1, 1, n), rng.uniform(-np.pi, np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    direction = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine])
    made = [_boosted(parent, sign * momentum * direction, mass[k], pdg[k], at) for k, sign in enumerate((1.0, -1.0))]
    return together(made)


def _boosted(
    parent: Particles, p: np.ndarray, mass: np.ndarray, pdg: np.ndarray, at: tuple[np.ndarray, ...]
) -> Particles:
    """Products with momentum ``p`` (3, n) in the parents' rest frames, in the laboratory."""
    flight = np.stack([parent.px, parent.py, parent.pz])
    along, e = (p * flight).sum(axis=0), np.sqrt((p**2).sum(axis=0) + mass**2)
    px, py, pz = p + flight * (along / (parent.m * (parent.e + parent.m)) + e / parent.m)
    size = np.abs(pdg)
    sign = np.where(np.isin(size, _OWN_ANTIPARTICLE), 1, np.sign(parent.pdg) * np.sign(pdg))
    energy = (parent.e * e + along) / parent.m
    signed = (sign * size).astype(np.int32)
    charge = sign * _CHARGE[size]
    x, y, z = at
    return Particles(parent.event, signed, px, py, pz, energy, mass, x, y, z, charge, parent.index, parent.vertex)
