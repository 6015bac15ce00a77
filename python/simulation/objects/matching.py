"""Truth of reconstructed objects: which generator particle, and where that one comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from ..flat import counts, flat, offsets_of

PROMPT, FROM_PROMPT_TAU = 1 << 0, 1 << 3  # bits of GenPart_statusFlags: isPrompt, isPromptTauDecayProduct
FLAVOUR_PROMPT, FLAVOUR_TAU, FLAVOUR_B, FLAVOUR_C, FLAVOUR_LIGHT, UNMATCHED = 1, 15, 5, 4, 3, 0


@dataclass(frozen=True)
class GenTruth:
    """The generator's table, flat.

    ``offsets`` (n + 1,); ``position`` of each entry in the full list of its event; ``mother`` flat position or -1;
    pdgId, statusFlags, pt, eta, phi.
    """

    offsets: np.ndarray
    position: np.ndarray
    mother: np.ndarray
    pdg: np.ndarray
    flags: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray

    @classmethod
    def of(cls, gen: dict[str, Any]) -> GenTruth:
        """From the generator's collections (``GenPart`` and ``gen_index``)."""
        parts, index = gen["GenPart"], gen["gen_index"]
        offsets = offsets_of(counts(parts))
        start = np.repeat(offsets[:-1], np.diff(offsets))
        mother = flat(parts, "genPartIdxMother").astype(np.int64)
        position = np.asarray(ak.flatten(index, axis=1))
        kinematics = (flat(parts, name).astype(np.float64) for name in ("pt", "eta", "phi"))
        return cls(
            offsets, position.astype(np.int64), np.where(mother >= 0, mother + start, -1),
            flat(parts, "pdgId"), flat(parts, "statusFlags").astype(np.int64), *kinematics,
        )  # fmt: skip

    @property
    def event(self) -> np.ndarray:
        """The event number of each entry."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def find(self, event: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Rows of the flat table for positions of the full list; -1 for particles that are not in the table."""
        if len(self.position) == 0:
            return np.full(len(event), -1)
        span = int(max(self.position.max(), position.max(initial=0))) + 1
        keys = self.event * span + self.position
        order = np.argsort(keys, kind="stable")
        key = event * span + position
        row = order[np.searchsorted(keys, key, sorter=order).clip(max=len(keys) - 1)]
        return np.where((position >= 0) & (keys[row] == key), row, -1)

    def index(self, row: np.ndarray) -> np.ndarray:
        """Return the index in its event of a row of the flat table, -1 for -1."""
        return np.where(row >= 0, row - self.offsets[self.event[row]] if len(self.pdg) else 0, -1)

    def flavour(self, row: np.ndarray) -> np.ndarray:
        """Return genPartFlav of leptons: 1 prompt, 15 from a tau, 5 from b, 4 from c, 3 from others, 0 unmatched."""
        if len(self.pdg) == 0:
            return np.zeros(len(row), np.uint8)
        flags = np.where(row >= 0, self.flags[row], 0)
        quark = self._heaviest_ancestor(row)
        flavour = np.select([quark == FLAVOUR_B, quark == FLAVOUR_C], [FLAVOUR_B, FLAVOUR_C], FLAVOUR_LIGHT)
        flavour = np.where((flags & FROM_PROMPT_TAU) != 0, FLAVOUR_TAU, flavour)
        flavour = np.where((flags & PROMPT) != 0, FLAVOUR_PROMPT, flavour)
        return np.where(row >= 0, flavour, UNMATCHED).astype(np.uint8)

    def _heaviest_ancestor(self, row: np.ndarray) -> np.ndarray:
        """5 or 4 where a hadron with that quark is an ancestor (5 before 4), else 0."""
        best = np.zeros(len(row), np.int64)
        at = row
        while (at >= 0).any():
            pdg = np.where(at >= 0, np.abs(self.pdg[at]), 0) % 10000
            quark = np.where(pdg >= 1000, pdg // 1000, np.where(pdg >= 100, pdg // 100, 0))
            best = np.where((quark == FLAVOUR_B) | ((quark == FLAVOUR_C) & (best == 0)), quark, best)
            at = np.where(at >= 0, self.mother[at], -1)
        return best
