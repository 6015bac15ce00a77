"""The bins of a column of the rows, against which efficiencies and responses are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import statistics
from .statistics import Array

BINS = 10
_TAIL = 0.01


@dataclass(frozen=True)
class BinnedColumn:
    """A column in B bins.

    Attributes
    ----------
    edges
        (B + 1,); what is beyond the ends is in the first or the last bin. B is 0 where no row has a value.
    number
        The bin of each row, (N,); -1 where it has no value.
    """

    edges: Array
    number: Array

    @property
    def bins(self) -> list[Array]:
        """Which rows are in each bin, (N,) bool."""
        return [self.number == k for k in range(len(self.edges) - 1)]

    @property
    def centres(self) -> Array:
        """The middles of the bins, (B,)."""
        return np.asarray((self.edges[1:] + self.edges[:-1]) / 2)

    @property
    def reach(self) -> Array:
        """Half the widths of the bins, (B,)."""
        return np.asarray(np.diff(self.edges) / 2)

    @property
    def missing(self) -> float:
        """The fraction of the rows without a value."""
        return float(np.mean(self.number < 0)) if len(self.number) else 0.0


def binned(values: Array, most: int = BINS) -> BinnedColumn:
    """Divide (N,) values into bins that hold about equally many, or one for each where there are few different ones."""
    values = values.astype(np.float64)
    valid = ~lacking(values)
    if not valid.any():
        return BinnedColumn(np.zeros(1), np.full(len(values), -1))
    edges = _edges(values[valid], most)
    number = np.where(valid, statistics.in_bins(values, edges), -1)
    return BinnedColumn(edges, number)


def lacking(values: Array) -> Array:
    """Return which of the (N,) values say that there is none, (N,) bool.

    These are NaN, infinities, and a number that several rows have, at an end and further from all others than the
    central 90 % of them spread: -1 or -999 in place of a momentum, say.
    """
    gone = ~np.isfinite(values)
    for end in (np.min, np.max):
        rest = values[~gone]
        others = rest[rest != end(rest)] if len(rest) else rest
        if len(others) and len(rest) - len(others) > 1:
            low, high = np.quantile(others, [0.05, 0.95])
            if high > low and np.min(np.abs(others - end(rest))) > high - low:
                gone = gone | (values == end(rest))
    return np.asarray(gone)


def _edges(values: Array, most: int) -> Array:
    different = np.unique(values)
    if len(different) <= most:
        middles = (different[1:] + different[:-1]) / 2
        half = np.min(np.diff(different)) / 2 if len(different) > 1 else 0.5
        return np.concatenate([[different[0] - half], middles, [different[-1] + half]])
    inner = np.quantile(values, np.linspace(0, 1, most + 1))
    inner[[0, -1]] = np.quantile(values, [_TAIL, 1 - _TAIL])
    return np.unique(inner)
