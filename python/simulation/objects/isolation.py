"""Sums of candidates around objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compiled import jit
from ..detector.candidates import OTHER_VERTEX, Candidates
from ..flat import delta_r2

CHARGED, NEUTRAL, PHOTON, PILEUP = range(4)


@dataclass(frozen=True)
class Sums:
    """pt (GeV) around each object: (objects, 4) of charged hadrons, neutral hadrons, photons, pileup tracks."""

    values: np.ndarray

    @property
    def charged(self) -> np.ndarray:
        """Charged hadrons of the primary vertex."""
        return self.values[:, CHARGED]

    @property
    def neutral(self) -> np.ndarray:
        """Neutral hadrons and photons."""
        return self.values[:, NEUTRAL] + self.values[:, PHOTON]

    @property
    def pileup(self) -> np.ndarray:
        """Charged hadrons of other vertices."""
        return self.values[:, PILEUP]


@jit
def _sum(
    event: np.ndarray, eta: np.ndarray, phi: np.ndarray, cone: np.ndarray, veto: float, candidate: np.ndarray,
    offsets: np.ndarray, kind: np.ndarray, pt: np.ndarray, c_eta: np.ndarray, c_phi: np.ndarray,
) -> np.ndarray:  # fmt: skip
    out = np.zeros((len(eta), 4))
    for i in range(len(eta)):
        for c in range(offsets[event[i]], offsets[event[i] + 1]):
            if kind[c] < 0 or c == candidate[i]:
                continue
            d2 = delta_r2(eta[i], phi[i], c_eta[c], c_phi[c])
            if d2 < cone[i] ** 2 and (kind[c] == CHARGED or kind[c] == PILEUP or d2 > veto**2):
                out[i, kind[c]] += pt[c]
    return out


@dataclass(frozen=True)
class Surroundings:
    """The candidates that count, by kind (-1 for those that do not)."""

    candidates: Candidates
    kind: np.ndarray

    @classmethod
    def of(cls, candidates: Candidates) -> Surroundings:
        """Those of all events."""
        kind = _KIND[np.minimum(np.abs(candidates.pdgId), len(_KIND) - 1)]
        kind[(kind == CHARGED) & (candidates.pvAssocQuality == OTHER_VERTEX)] = PILEUP
        return cls(candidates, kind)

    def sum(
        self,
        event: np.ndarray,
        eta: np.ndarray,
        phi: np.ndarray,
        candidate: np.ndarray,
        cone: np.ndarray | float,
        veto: float = 0.01,
    ) -> Sums:
        """Sum the candidates within ``cone`` of objects; their ``candidate`` candidate (-1 for none) is left out.

        Neutral candidates nearer than ``veto`` do not count: they come from the object itself.
        """
        cones, c = np.broadcast_to(np.asarray(cone, np.float64), eta.shape), self.candidates
        return Sums(_sum(event, eta, phi, cones, veto, candidate, c.offsets, self.kind, c.pt, c.eta, c.phi))


_KIND = np.full(213, -1, np.int8)
_KIND[[211, 130, 1, 22, 2]] = CHARGED, NEUTRAL, NEUTRAL, PHOTON, PHOTON
