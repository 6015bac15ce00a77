"""Sums of weights of the values of a variable in bins of the training: they add up, whatever the sign of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .axis import Range, automatic_range

BINS = 50
SPECIAL = (-9999.0, -999.0, -99.0, -10.0, -9.0, -1.0, 0.0, 999.0, 9999.0)
"""Values that often mean that there is none; how many there are of each is counted."""
BELOW, ABOVE, INVALID = "below", "above", "NaN"
_MOST_DISTINCT = 100


@dataclass(frozen=True)
class Binning:
    """How the values of a variable are counted.

    Attributes
    ----------
    edges
        Between the bins that hold equally much of the training, (B - 1,), rising. An edge belongs to the bin above, and
        the first and last bin have no end.
    low, high
        The least and the greatest value of the training.
    drawn
        The equal bins of figures.
    special
        Values whose shares are counted on their own.
    """

    edges: np.ndarray
    low: float
    high: float
    drawn: Range
    special: tuple[float, ...] = SPECIAL

    @classmethod
    def of(cls, values: np.ndarray, weight: np.ndarray, special: tuple[float, ...] = SPECIAL) -> Binning:
        """Choose bins by some values, (M,), with their weights; where these are negative, by how large they are."""
        finite = np.isfinite(values)
        values, size = values[finite], np.abs(weight[finite])
        distinct = np.unique(values)
        if len(distinct) <= _MOST_DISTINCT and (distinct == np.round(distinct)).all():
            drawn = automatic_range(distinct.astype(np.int64))
        else:
            drawn = automatic_range(values)
        rising = np.argsort(values, kind="stable")
        reached = np.cumsum(size[rising], dtype=np.float64)
        total = reached[-1] if len(reached) else 0.0
        if not total > 0:
            return cls(np.empty(0), -math.inf, math.inf, drawn, special)
        positions = np.searchsorted(reached, total * np.arange(1, BINS) / BINS)
        edges = np.unique(values[rising][np.minimum(positions, len(values) - 1)])
        return cls(edges[edges > distinct[0]].astype(np.float64), -math.inf, math.inf, drawn, special)

    def same_as(self, other: Binning) -> bool:
        """Whether values are counted in the same bins."""
        return np.array_equal(self.edges, other.edges) and (self.drawn, self.special) == (other.drawn, other.special)

    @property
    def shares(self) -> tuple[str, ...]:
        """What :attr:`BinCounts.shares` count."""
        return (BELOW, ABOVE, INVALID, *(f"{value:g}" for value in self.special))

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "edges": self.edges.tolist(),
            "range": [self.low, self.high] if self.low <= self.high and math.isfinite(self.high - self.low) else None,
            "axis": [self.drawn.bins, self.drawn.low, self.drawn.high],
            "special": list(self.special),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Binning:
        """Rebuild what :meth:`as_dict` wrote."""
        low, high = content["range"] or (-math.inf, math.inf)
        bins, first, last = content["axis"]
        drawn = Range(int(bins), float(first), float(last))
        return cls(np.array(content["edges"], float), float(low), float(high), drawn, tuple(content["special"]))


@dataclass
class BinCounts:
    """Sums of weights and of their squares; C is the number of classes, 1 where they are not told apart.

    Attributes
    ----------
    values
        The number of values, of whatever kind.
    total
        Of all values, (2,).
    bins
        Of the quantile bins, (2, B): all finite values, those outside the training's range too.
    shares
        (2, 3 + S): below and above the range, NaN and infinite, then each special value.
    drawn
        Of the bins of figures, (C, 2, D + 2); beyond both ends in the first and the last.
    moments
        Over finite values in the range: Σw, Σwx, Σwx², Σw², Σw²x, Σw²x².
    low, high
        The least and the greatest finite value.
    """

    values: int
    total: np.ndarray
    bins: np.ndarray
    shares: np.ndarray
    drawn: np.ndarray
    moments: np.ndarray = field(default_factory=lambda: np.zeros(6))
    low: float = math.inf
    high: float = -math.inf

    @classmethod
    def zero(cls, binning: Binning, classes: int = 1) -> BinCounts:
        """Begin without values."""
        return cls(
            0,
            np.zeros(2),
            np.zeros((2, len(binning.edges) + 1)),
            np.zeros((2, len(binning.shares))),
            np.zeros((classes, 2, binning.drawn.bins + 2)),
        )

    def add(self, binning: Binning, values: np.ndarray, weight: np.ndarray, label: np.ndarray | None = None) -> None:
        """Count values, (M,) f4, of weights (M,) f8; labels (M,) i8 where classes are told apart."""
        self.values += len(values)
        self.total += weight.sum(), (weight * weight).sum()
        finite = np.isfinite(values)
        if not finite.all():
            lost = weight[~finite]
            self.shares[:, 2] += lost.sum(), (lost * lost).sum()
            values, weight = values[finite], weight[finite]
            label = None if label is None else label[finite]
        if not len(values):
            return
        powers = (weight, weight * weight)
        self._add_shares(binning, values, powers)
        self._add_moments(binning, values, powers)
        cell = np.searchsorted(binning.edges, values, side="right")
        size = self.bins.shape[1]
        self.bins += [np.bincount(cell, power, size) for power in powers]
        classes, _, size = self.drawn.shape
        cell = _equal_bins(binning.drawn, values)
        if label is not None and classes > 1:
            cell = cell + label * size
        sums = [np.bincount(cell, power, classes * size).reshape(classes, size) for power in powers]
        self.drawn += np.stack(sums, axis=1)

    def _add_shares(self, binning: Binning, values: np.ndarray, powers: tuple[np.ndarray, np.ndarray]) -> None:
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        masks = {0: values < binning.low} if low < binning.low else {}
        masks |= {1: values > binning.high} if high > binning.high else {}
        masks |= {3 + k: values == x for k, x in enumerate(binning.special) if low <= x <= high}
        for column, mask in masks.items():
            if mask.any():
                self.shares[:, column] += [power[mask].sum() for power in powers]

    def _add_moments(self, binning: Binning, values: np.ndarray, powers: tuple[np.ndarray, np.ndarray]) -> None:
        x = values.astype(np.float64)
        inside = (x >= binning.low) & (x <= binning.high)
        for number, power in enumerate(powers):
            kept = power if inside.all() else np.where(inside, power, 0.0)
            self.moments[3 * number : 3 * number + 3] += kept.sum(), kept @ x, kept @ (x * x)

    def merge(self, other: BinCounts) -> None:
        """Add what was counted elsewhere, in the same bins."""
        self.values += other.values
        for name in ("total", "bins", "shares", "drawn", "moments"):
            getattr(self, name).__iadd__(getattr(other, name))
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def scaled(self, factors: np.ndarray) -> np.ndarray:
        """Return :attr:`drawn` with the weights of each class multiplied, (C,)."""
        return np.asarray(self.drawn * np.stack([factors, factors**2], axis=1)[:, :, np.newaxis])

    @property
    def effective(self) -> float:
        """The number of values of weight 1 that fluctuate as much, (Σw)²/Σw²."""
        return float(self.total[0] ** 2 / self.total[1]) if self.total[1] > 0 else 0.0

    @property
    def mean(self) -> tuple[float, float]:
        """Mean and its error of the finite values in the range; NaN where the weights do not sum to something."""
        w, wx, _, w2, w2x, w2x2 = self.moments.tolist()
        if not w > 0:
            return math.nan, math.nan
        mean = wx / w
        return mean, math.sqrt(max(w2x2 - 2 * mean * w2x + mean * mean * w2, 0.0)) / w

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types; sums have nine digits."""
        arrays = {name: _plain(getattr(self, name)) for name in ("total", "bins", "shares", "drawn", "moments")}
        seen = [self.low, self.high] if self.low <= self.high else None
        return {"values": self.values, **arrays, "seen": seen}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> BinCounts:
        """Rebuild what :meth:`as_dict` wrote."""
        arrays = {n: np.array(content[n], float) for n in ("total", "bins", "shares", "drawn", "moments")}
        low, high = content["seen"] or (math.inf, -math.inf)
        return cls(int(content["values"]), **arrays, low=float(low), high=float(high))


def _equal_bins(drawn: Range, values: np.ndarray) -> np.ndarray:
    """Return the bin of each value, 1 to D; 0 and D + 1 are beyond the ends."""
    position = (values.astype(np.float64) - drawn.low) * (drawn.bins / (drawn.high - drawn.low))
    return np.floor(np.clip(position, -1, drawn.bins)).astype(np.int64) + 1


def _plain(values: np.ndarray) -> Any:
    if values.ndim > 1:
        return [_plain(row) for row in values]
    return [float(f"{value:.9g}") for value in values.tolist()]
