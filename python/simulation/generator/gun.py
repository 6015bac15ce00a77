"""The particle gun: particles of flat spectra into Pythia, and accepted events of a flat (mass, pt) spectrum."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...config.generator import Flatten, GunParticle

Row = tuple[Any, ...]
"""One particle as Pythia's ``LHAup::addParticle`` takes it."""
_COLOURS = {"quark": ((101, 0), (0, 101)), "gluon": ((101, 102), (102, 101)), "none": ((0, 0), (0, 0))}
COLOURED = (1, 2, 3, 4, 5, 6, 21)
"""The kinds (without sign) of colour that a gun shoots, with their antiparticles."""
_SELF_CONJUGATE = (21, 22, 23, 25, 35, 36, 111, 113, 130, 221, 223, 310, 331, 333, 443, 553)
_UNPOLARISED = 9.0
_SYSTEM = 90  # Pythia's id of several particles together
_OUTGOING, _DECAYED = 1, 2
_STATUS, _MASS, _PT = 1, 10, 13  # positions in a row


@functools.lru_cache(maxsize=1)
def gun_class(pythia8: Any) -> type:
    """Return the class through which Pythia draws the events of a gun: with ``nextBatch``, that is as arrays.

    Pythia takes decays from the Les Houches interface when ``ProcessLevel:all = off``.
    """

    class Gun(pythia8.LHAup):
        """A magazine of events."""

        def __init__(self) -> None:
            pythia8.LHAup.__init__(self, 3)
            self._rows: list[Sequence[Row]] = []

        def load(self, rows: Sequence[Sequence[Row]]) -> None:
            """Put the next events in."""
            self._rows = list(rows)[::-1]

        def setInit(self) -> bool:  # noqa: N802 - Pythia's name
            """Say that there is nothing to begin with."""
            return True

        def setEvent(self, process: int = 0) -> bool:  # noqa: N802 - Pythia's name
            """Hand Pythia the next event."""
            if not self._rows:
                return False
            self.setProcess(1, 1.0, -1.0, -1.0, -1.0)
            for row in self._rows.pop():
                self.addParticle(*row)
            return True

    return Gun


def shoot(
    particles: Sequence[GunParticle],
    size: int,
    rng: np.random.Generator,
    nominal_mass: Callable[[int], float],
    first: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[tuple[Row, ...]]:
    """Draw the particles of events, flat in their ranges.

    Parameters
    ----------
    particles
        What is shot into every event.
    size
        Number of events.
    rng
        Random numbers; the same draw gives the same events.
    nominal_mass
        The mass (GeV) of a PDG id, for particles without a range of masses.
    first
        Mass and pt, (size,) each in GeV, of the first particle, instead of flat ones.

    Returns
    -------
    list
        For each event its particles.
    """
    columns: list[list[Row]] = []
    for k, particle in enumerate(particles):
        fixed = first if k == 0 else None
        columns += _draw(particle, size, rng, nominal_mass, fixed, len(columns))
    return list(zip(*columns))


def kinds(particles: Sequence[GunParticle]) -> list[int]:
    """Return the PDG ids of all that is shot, antiparticles too."""
    return [kind for p in particles for kind in (p.pdgId, *([_other(p)] if p.antiparticle else []))]


def _other(particle: GunParticle) -> int:
    return particle.pdgId if abs(particle.pdgId) in _SELF_CONJUGATE else -particle.pdgId


def _draw(
    particle: GunParticle,
    size: int,
    rng: np.random.Generator,
    nominal_mass: Callable[[int], float],
    fixed: tuple[np.ndarray, np.ndarray] | None,
    before: int,
) -> list[list[Row]]:
    """Draw one particle of every event, and its antiparticle behind it; ``before`` is how many entries come before.

    A quark or gluon and its antiparticle come from a resting colour singlet: Pythia showers what a resonance decays to
    (from half its mass down, as for Z -> qq), and nothing else without beams.
    """
    eta, phi = rng.uniform(*particle.eta, size), rng.uniform(*particle.phi, size)
    pt = rng.uniform(*particle.pt, size) if fixed is None else fixed[1]
    if fixed is not None:
        mass = fixed[0]
    elif particle.mass is not None:
        mass = rng.uniform(*particle.mass, size)
    else:
        mass = np.full(size, nominal_mass(particle.pdgId))
    p = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    energy = np.sqrt((p**2).sum(axis=0) + mass**2)
    colour, anticolour = _colours(particle.pdgId)
    coloured = colour != (0, 0)
    mother = before + 1 if coloured else 0
    out = [_rows(particle.pdgId, _OUTGOING, mother, colour, p, energy, mass, pt)]
    if particle.antiparticle:
        out.append(_rows(_other(particle), _OUTGOING, mother, anticolour, -p, energy, mass, pt))
    if coloured:
        out.insert(0, _rows(_SYSTEM, _DECAYED, 0, (0, 0), 0 * p, 2 * energy, 2 * energy, pt))
    return out


def _colours(pdg_id: int) -> tuple[tuple[int, int], tuple[int, int]]:
    kind = "gluon" if pdg_id == 21 else "quark" if abs(pdg_id) <= 6 else "none"
    first, second = _COLOURS[kind]
    return (second, first) if kind == "quark" and pdg_id < 0 else (first, second)


def _rows(
    pdg_id: int,
    status: int,
    mother: int,
    colour: tuple[int, int],
    p: np.ndarray,
    e: np.ndarray,
    m: np.ndarray,
    scale: np.ndarray,
) -> list[Row]:
    values = np.stack([*p, e, m, np.zeros_like(e), np.full_like(e, _UNPOLARISED), scale], axis=1).tolist()
    return [(pdg_id, status, mother, mother, *colour, *row) for row in values]


def spectrum(rows: Sequence[Sequence[Row]]) -> tuple[np.ndarray, np.ndarray]:
    """Return mass and pt (GeV) of the first particle of each event, (n,) each."""
    first = next(k for k, row in enumerate(rows[0]) if row[_STATUS] == _OUTGOING)
    return np.array([event[first][_MASS] for event in rows]), np.array([event[first][_PT] for event in rows])


@dataclass
class Occupancy:
    """Counts of a gun's events in bins of (mass, pt) of its first particle.

    Of pilot events they are the acceptance by which accepted events become flat; of a sample they are its spectra.
    ``mass`` and ``pt`` are the edges of the bins (GeV; one bin where the range is a point), ``tried`` and ``passed``
    (mass bins * pt bins,) the counts; bin ``i`` is number ``i // pt bins`` in mass. ``aimed`` says which bins are meant
    to be filled.
    """

    mass: np.ndarray
    pt: np.ndarray
    tried: np.ndarray
    passed: np.ndarray
    aimed: np.ndarray

    @classmethod
    def empty(cls, gun: Sequence[GunParticle], bins: Flatten) -> Occupancy:
        """Return a map without any event."""
        mass, pt = _edges(gun[0].mass or (0.0, 0.0), bins.mass), _edges(gun[0].pt, bins.pt)
        size = (len(mass) - 1) * (len(pt) - 1)
        return cls(mass, pt, np.zeros(size, np.int64), np.zeros(size, np.int64), np.ones(size, np.bool_))

    def add(self, tried: np.ndarray, passed: np.ndarray) -> None:
        """Count events by their bins."""
        self.tried += np.bincount(tried, minlength=len(self.tried))
        self.passed += np.bincount(passed, minlength=len(self.passed))

    def join(self, other: Occupancy) -> None:
        """Add the counts of a map with the same bins."""
        self.tried += other.tried
        self.passed += other.passed

    def bins(self, mass: np.ndarray, pt: np.ndarray) -> np.ndarray:
        """Return the bins in which masses and pts (GeV) are."""
        indices = [
            np.searchsorted(edges, values, side="right").clip(1, len(edges) - 1) - 1
            for edges, values in ((self.mass, mass), (self.pt, pt))
        ]
        return indices[0] * (len(self.pt) - 1) + indices[1]

    @property
    def filled(self) -> np.ndarray:
        """The bins in which an event passed: only these can be filled."""
        return np.flatnonzero(self.passed)

    def tries(self, bins: np.ndarray) -> np.ndarray:
        """Return how often an event of these bins is tried at once: once or twice the number that one pass takes."""
        return np.ceil(1.5 * self.tried[bins] / self.passed[bins]).astype(np.int64).clip(1, 200)

    def inside(self, bins: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw mass and pt (GeV) flat within bins."""
        row, column = np.divmod(bins, len(self.pt) - 1)
        u, v = rng.random((2, len(bins)))
        low, high = self.mass[row], self.mass[row + 1]
        return low + u * (high - low), self.pt[column] + v * (self.pt[column + 1] - self.pt[column])


def _edges(interval: tuple[float, float], bins: int) -> np.ndarray:
    return np.linspace(*interval, (bins if interval[1] > interval[0] else 1) + 1)
