"""Rows drawn in proportion to their weights, in place of weighting them: another set in every epoch, of the same size.

This is systematic resampling (Carpenter, Clifford, Fearnhead, IEE Proc. F 146 (1999) 2): the expected multiplicities
stand one after the other on a line, with a comb of distance 1 at a random place above it; a row comes as often as teeth
fall onto it, which is its expectation rounded down or up. Slabs have their places once and for all, so that the number
of rows of each is known before it is read; within a slab the rows change places in every epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..dataset.batch import Batch
from ..dataset.row_sampler import RowSampler

_KEY = 0x44726177  # keeps these random numbers apart from those of the order


class Resampling(RowSampler):
    """The rows of an epoch, which depend on its number, the seed, and the rows of each slab alone.

    Parameters
    ----------
    sums
        The sum over the rows of every slab, (S,), of what :attr:`expected` gives, up to a common factor.
    expected
        Gives the wanted multiplicities of rows, (N,), up to the same factor.
    total
        Number of rows to draw.
    seed, epoch
        What is random depends on them.
    """

    def __init__(
        self, sums: np.ndarray, expected: Callable[[Batch], np.ndarray], total: int, seed: int, epoch: int
    ) -> None:
        self._expected = expected
        self._key = (_KEY, seed, epoch)
        edges = np.concatenate([[0.0], np.cumsum(sums)])
        offset = np.random.default_rng([*self._key, 0]).random()
        # the last edge is the whole number `total`, so that as many teeth are below it
        self._edges = edges / edges[-1] * total + offset
        self._edges[-1] = total + offset

    @property
    def counts(self) -> np.ndarray:
        """Number of rows that are drawn from every slab, (S,)."""
        return np.diff(np.floor(self._edges).astype(np.int64))

    def rows(self, slab: int, batch: Batch) -> np.ndarray:
        """Return which rows of a slab are drawn; see :class:`.RowSampler`."""
        low, high = self._edges[slab], self._edges[slab + 1]
        rng = np.random.default_rng([*self._key, 1 + slab])
        order = rng.permutation(len(batch))
        filled = np.cumsum(self._expected(batch)[order])
        teeth = np.floor(low + filled / max(filled[-1], np.finfo(float).tiny) * (high - low))
        teeth[-1] = np.floor(high)  # whatever was rounded
        times = np.diff(teeth.astype(np.int64), prepend=np.int64(np.floor(low)))
        return rng.permutation(np.repeat(order, times))
