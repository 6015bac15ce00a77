"""Equal bins of an axis, and which ones suit some values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_MOST_BINS, _USUAL_BINS, _MOST_INTEGERS = 10_000, 50, 100
_LARGEST_INTEGER = 1 << 50
"""Halves lie between such integers in f8."""
_TAIL = 0.001
_STEPS = np.array([1, 2, 2.5, 5, 10])


@dataclass(frozen=True)
class Range:
    """Equal bins of an axis."""

    bins: int
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (0 < self.bins <= _MOST_BINS and -math.inf < self.low < self.high < math.inf):
            raise ValueError(f"{self.bins} bins from {self.low:g} to {self.high:g} are no axis")

    @property
    def edges(self) -> np.ndarray:
        """The edges of the bins, (bins + 1,)."""
        return np.linspace(self.low, self.high, self.bins + 1)


def automatic_range(values: np.ndarray) -> Range:
    """Choose bins for some of the values: one for each integer where they are few, else about 50 of a round width.

    One value in a thousand at either end may lie outside.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Range(1, 0.0, 1.0)
    first, last = (int(finite.min()), int(finite.max())) if values.dtype.kind in "biu" else (0, _MOST_INTEGERS)
    if last - first < _MOST_INTEGERS and max(-first, last) < _LARGEST_INTEGER:
        return Range(last - first + 1, first - 0.5, last + 0.5)
    low, high = (float(edge) for edge in np.quantile(finite.astype(np.float64), (_TAIL, 1 - _TAIL)))
    if not high > low:
        half = max(0.5, abs(low) * 1e-3)
        return Range(1, low - half, low + half)
    if 0 < low < 0.3 * high:
        low = 0.0
    width = _round_up((high - low) / _USUAL_BINS)
    first, last = math.floor(low / width), math.ceil(high / width)
    return Range(last - first, first * width, last * width)


def _round_up(width: float) -> float:
    power = 10.0 ** math.floor(math.log10(width))
    return float(power * _STEPS[np.searchsorted(_STEPS, width / power * (1 - 1e-12))])
