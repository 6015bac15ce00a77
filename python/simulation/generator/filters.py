"""Filters on generated events: decays of a mother, or single particles, whose every leg meets the cuts."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import awkward as ak
import numpy as np

from ...config.generator import GenFilter
from ..flat import flat, wrap
from .history import History, nearest


class Filters:
    """The named filters of a ``generator`` block; ``names`` ends with what Pythia itself gives up on.

    The filters are those of :class:`config.schema.GenFilter`: legs come in any order, each is cut, on the absolute
    value of its eta, with the azimuth wrapped; mother and legs are taken after radiation, as their last copies.
    """

    def __init__(self, blocks: Mapping[str, GenFilter]) -> None:
        self._blocks = dict(blocks)
        self.names = [*self._blocks, "Pythia (event not completed)"]

    def verdict(self, particles: ak.Array) -> np.ndarray:
        """Return for each event the number of the first filter that rejects it, -1 where none does."""
        out = np.full(len(particles), -1)
        if not self._blocks:
            return out
        history = History.of(particles)
        for k, block in enumerate(self._blocks.values()):
            out[(out < 0) & (passing(particles, history, block) < block.count)] = k
        return out


def passing(particles: ak.Array, history: History, block: GenFilter) -> np.ndarray:
    """Count in each event the decays (without a mother: the particles) that meet the conditions of a filter, (n,)."""
    daughters = np.sort(np.abs(block.daughters))
    if block.mother is None:
        legs = np.flatnonzero(np.isin(history.kind, daughters) & (history.next < 0))[:, None]
    else:
        legs = _legs(history, abs(block.mother), daughters)
    p = np.stack([flat(particles, name)[legs] for name in ("px", "py", "pz", "e")])
    good = _within(p, block)
    event = np.searchsorted(history.offsets, legs[good, 0], side="right") - 1
    return np.bincount(event, minlength=len(particles))


def _legs(history: History, mother: int, kinds: np.ndarray) -> np.ndarray:
    """Find the decays of the mother's last copies to just the wanted kinds: (decays, legs) positions of the legs."""
    decays = (history.kind == mother) & (history.next < 0)
    daughters = np.flatnonzero((history.mother >= 0) & decays[history.mother] & np.isin(history.kind, kinds))
    daughters = daughters[np.lexsort((daughters, history.mother[daughters]))]
    _, begin, number = np.unique(history.mother[daughters], return_index=True, return_counts=True)
    rows = begin[number == len(kinds), None] + np.arange(len(kinds))
    legs = daughters[rows]
    legs = legs[(np.sort(history.kind[legs], axis=1) == kinds).all(axis=1)]
    return nearest(history.next, history.next < 0)[legs]


def _within(p: np.ndarray, block: GenFilter) -> np.ndarray:
    """Apply the cuts to momenta (4, decays, legs) in GeV; returns (decays,) bool."""
    px, py, pz, _ = p
    pt = np.hypot(px, py)
    eta, phi = np.arcsinh(pz / np.maximum(pt, 1e-12)), np.arctan2(py, px)
    good = (pt >= block.pt).all(axis=1)
    if block.eta is not None:
        good &= (np.abs(eta) <= block.eta).all(axis=1)
    if block.delta_r is not None:
        for a, b in combinations(range(eta.shape[1]), 2):
            distance = np.hypot(eta[:, a] - eta[:, b], wrap(phi[:, a] - phi[:, b]))
            good &= (distance >= block.delta_r[0]) & (distance <= block.delta_r[1])
    if block.mass is not None:
        total = p.sum(axis=2)
        mass = np.sqrt(np.maximum(total[3] ** 2 - (total[:3] ** 2).sum(axis=0), 0))
        good &= (mass >= block.mass[0]) & (mass <= block.mass[1])
    return good
