"""What ``training.balance`` did to the weights of the training rows: before and after, for the report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from ..balance.weight_factors import WeightFactors
from . import figures
from .gallery import Plot
from .statistics import Array


def plots(folds: Sequence[WeightFactors]) -> Iterator[Plot]:
    """Yield the figures of a training; ``folds`` are those of its models, whose rows are added up."""
    first = folds[0]
    before = np.sum([fold.content[1] for fold in folds], axis=0)
    after = np.sum([fold.content[1] * fold.whole for fold in folds], axis=0)
    for name, edges in first.edges.items():
        yield Plot(
            f"balance_{re.sub(r'[^A-Za-z0-9_]', '_', name)}",
            f"Balance of {name}",
            "How the weights of each class of training rows are distributed over the bins of the reweighting, without "
            "it and as the loss takes them. The first and the last bin hold what is beyond them, too.",
            figures.shares(
                [shares(first, sums.sum(axis=0), name) for sums in (before, after)], edges, first.classes, name
            ),
        )
    if len(first.classes) > 1 or before[1].any():
        yield Plot(
            "balance",
            "Balance of the classes",
            "Training rows of each class, without any balance and as the loss takes them: their share of all weights; "
            "how much of their weight is negative, Σ|w| of the negative weights over Σ|w|; and how many rows of "
            "equal weights would be as precise, (Σw)²/Σw², for each row.",
            figures.totals(totals(folds, (before, after)), first.classes),
        )


def shares(factors: WeightFactors, sums: Array, name: str) -> Array:
    """Return the share of each bin of a variable in sums of weights by class and cell, (C, B): (C, n)."""
    cells = sums[:, :-1].reshape(len(sums), *(len(axis) - 1 for axis in factors.edges.values()))
    own = 1 + list(factors.edges).index(name)
    content = cells.sum(axis=tuple(k for k in range(1, cells.ndim) if k != own))
    return np.asarray(content / content.sum(axis=1, keepdims=True))


def totals(folds: Sequence[WeightFactors], sums: Sequence[Array]) -> dict[str, Array]:
    """Return what :func:`plots` explains, each before and after, (2, C), from sums of weights, (2, C, B) each."""
    rows = sum(fold.content[0].sum(axis=(0, 2)) for fold in folds)
    squares = [sum(f.content[2] for f in folds), sum(f.content[2] * f.whole**2 for f in folds)]
    by_class = np.array([(own.sum(axis=(0, 2)), np.abs(own).sum(axis=(0, 2))) for own in sums])
    net, size = by_class[:, 0], by_class[:, 1]
    return {
        "Share of all": net / net.sum(axis=1, keepdims=True),
        "Negative share": (size - net) / (2 * size),
        "Effective / rows": net**2 / np.array([own.sum(axis=(0, 2)) for own in squares]) / rows,
    }
