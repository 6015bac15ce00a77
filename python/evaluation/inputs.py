"""The inputs of the test rows beside those of the training: how each is distributed, and how they go together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..dataset.batch import Batch
from ..distributions.counts import BinCounts
from ..distributions.reference import Distributions, Reference
from ..distributions.variable import FEATURE, SCORE, RowValues, Variable
from .statistics import Array

MOST_VALUES = 10_000_000
"""At most about so many numbers of test rows are counted: every second row, say, where there are more."""


@dataclass(frozen=True)
class InputDistributions:
    """What is counted of the inputs of the training and of test rows, in the same bins, class by class."""

    training: Reference
    test: Distributions

    @property
    def variables(self) -> list[Variable]:
        """The features and the lengths of lists."""
        return [one.variable for one in self.test]

    def counts(self, variable: Variable) -> tuple[BinCounts, BinCounts]:
        """Return those of the training and of the test."""
        return self.training.distributions[variable].counts, self.test[variable].counts


def begin_counting(training: Reference, classes: int) -> InputDistributions:
    """Begin to count test rows in the bins of the training."""
    each = [
        replace(one, counts=BinCounts.zero(one.binning, max(classes, 1)))
        for one in training.distributions
        if one.variable.kind != SCORE
    ]
    return InputDistributions(training, Distributions(training.distributions.inputs, (), each))


def every(rows: int, distributions: Distributions) -> int:
    """Say which rows are counted, one of so many."""
    values = sum(len(info.features) * (info.length or 1) for info in distributions.inputs.values())
    return max(1, -(-rows * values // MOST_VALUES))


def count(distributions: Distributions, batch: Batch) -> None:
    """Count the inputs of rows."""
    tensors = {name: tensor.numpy() for name, tensor in batch.inputs.items()}
    label = None if batch.label is None else batch.label.numpy()
    weight = batch.weight.numpy().astype(np.float64)
    distributions.add(RowValues(tensors, np.empty((len(batch), 0), np.float32), weight, label))


@dataclass(frozen=True)
class RowTable:
    """Numbers of some test rows: features, of lists those of the first constituent, other columns, and scores.

    Attributes
    ----------
    names
        Of the V columns.
    values
        (N, V), NaN where there is none.
    label
        (N,) class numbers; zeros without classes.
    weight
        (N,).
    """

    names: Sequence[str]
    values: Array
    label: Array
    weight: Array

    @classmethod
    def of(cls, rows: Batch, features: Mapping[str, Sequence[str]], others: Mapping[str, Array]) -> RowTable:
        """Take the features, by input, from a batch; ``others`` are further columns, (N,) each."""
        columns: dict[str, Array] = {}
        for name, names in features.items():
            values = rows.inputs[name].numpy()
            if values.ndim == 3:
                valid = rows.inputs[f"{name}_mask"].numpy() > 0
                columns[f"num({name})"] = valid.sum(axis=1)
                values = np.where(valid[:, :1], values[:, 0], np.nan)
                names = [f"{feature}[0]" for feature in names]
            columns |= {f"{name}.{feature}": values[:, k] for k, feature in enumerate(names)}
        columns |= others
        label = np.zeros(len(rows), np.int64) if rows.label is None else rows.label.numpy()
        table = np.column_stack([np.asarray(values, np.float32) for values in columns.values()])
        return cls(list(columns), table, label, rows.weight.numpy().astype(np.float64))

    @classmethod
    def join(cls, parts: Iterable[RowTable]) -> RowTable:
        """Put the rows of several together."""
        parts = list(parts)
        values, label, weight = (np.concatenate([getattr(p, n) for p in parts]) for n in ("values", "label", "weight"))
        return cls(parts[0].names, values, label, weight)

    def select(self, names: Sequence[str]) -> RowTable:
        """Return some columns."""
        numbers = [self.names.index(name) for name in names]
        return replace(self, names=list(names), values=self.values[:, numbers])


def correlation(values: Array, weight: Array) -> Array:
    """Return the weighted correlation coefficients of columns, (V, V).

    Parameters
    ----------
    values
        (N, V); of each pair the rows count in which both are finite.
    weight
        (N,).

    Returns
    -------
    Array
        NaN where a weighted variance is not positive, as of a constant.
    """
    valid = np.isfinite(values)
    there = valid.astype(np.float64)
    total = np.where(valid, values, 0).astype(np.float64)
    total -= there * (total.sum(axis=0) / np.maximum(there.sum(axis=0), 1))  # so that squares keep their digits
    weighted = weight[:, np.newaxis]
    sums = there.T @ (weighted * there)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (total.T @ (weighted * there)) / sums  # of column i in the rows of the pair (i, j)
        squares = (total.T**2 @ (weighted * there)) / sums - mean**2
        covariance = (total.T @ (weighted * total)) / sums - mean * mean.T
        spread = np.sqrt(np.where(squares > 0, squares, np.nan))
        return np.asarray(np.clip(covariance / (spread * spread.T), -1, 1))


def ordered(variables: Sequence[Variable], importance: dict[str, float]) -> list[Variable]:
    """Put the most important features first; lengths, which have no importance, beside the best of their input."""
    best: dict[str, float] = {}
    for variable in variables:
        size = importance.get(variable.label, -np.inf)
        best[variable.input] = max(best.get(variable.input, -np.inf), size)
    return sorted(
        variables,
        key=lambda v: -(importance.get(v.label, -np.inf) if v.kind == FEATURE else best[v.input]),
    )
