"""What a balance did to the weights of the training rows, before and after, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .weight_factors import WeightFactors

Array = NDArray[Any]


def bin_shares(factors: WeightFactors, sums: Array, name: str) -> Array:
    """Return the share of each bin of a variable in sums of weights by class and cell, (C, B): (C, n)."""
    cells = sums[:, :-1].reshape(len(sums), *(len(axis) - 1 for axis in factors.edges.values()))
    number = 1 + list(factors.edges).index(name)
    content = cells.sum(axis=tuple(k for k in range(1, cells.ndim) if k != number))
    return np.asarray(content / content.sum(axis=1, keepdims=True))


def class_totals(folds: Sequence[WeightFactors], sums: Sequence[Array]) -> dict[str, Array]:
    """Return shares, negative shares and effective rows of each class, before and after: (2, C) each.

    ``sums`` are those of weights before and after, (C, cells) each; see :func:`before_and_after`.
    """
    rows = sum(fold.content[0].sum(axis=(0, 2)) for fold in folds)
    squares = [sum(f.content[2] for f in folds), sum(f.content[2] * f.whole**2 for f in folds)]
    by_class = np.array([(stage.sum(axis=(0, 2)), np.abs(stage).sum(axis=(0, 2))) for stage in sums])
    net, size = by_class[:, 0], by_class[:, 1]
    return {
        "Share of all": net / net.sum(axis=1, keepdims=True),
        "Negative share": (size - net) / (2 * size),
        "Effective / rows": net**2 / np.array([stage.sum(axis=(0, 2)) for stage in squares]) / rows,
    }


def before_and_after(folds: Sequence[WeightFactors]) -> tuple[Array, Array]:
    """Return the sums of weights of all folds, without a balance and as the loss takes them, (2, C, B) each."""
    before = np.sum([fold.content[1] for fold in folds], axis=0)
    return before, np.sum([fold.content[1] * fold.whole for fold in folds], axis=0)
