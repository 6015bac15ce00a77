"""The response of a regression: prediction over truth, or their difference, in bins of variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from . import statistics
from .scored import Prediction
from .statistics import Array, Estimate
from .variables import BinnedColumn, binned

PLANE_BINS = 6
"""In each direction of a plane of two variables."""


@dataclass(frozen=True)
class Response:
    """Median and width of the response in bins.

    Attributes
    ----------
    edges
        Of the bins of each variable, by name.
    rows
        Number of rows in each bin, of as many dimensions as there are variables.
    median, width
        The median, and half the width of the central 68 %, of each bin, in the same order, flattened.
    relative
        Whether it is prediction over truth; otherwise it is prediction minus truth.
    """

    edges: Mapping[str, Array]
    rows: Array
    median: list[Estimate]
    width: list[Estimate]
    relative: bool

    @property
    def definition(self) -> str:
        """What it is of prediction and truth."""
        return "predicted / true" if self.relative else "predicted \N{MINUS SIGN} true"

    @property
    def perfect(self) -> float:
        """What it is where the prediction is the truth."""
        return 1.0 if self.relative else 0.0


def is_relative(rows: Prediction) -> bool:
    """Whether the response is a ratio, as it is where the truth is always above zero."""
    return bool(np.all(rows.true > 0))


def responses(rows: Prediction, columns: Mapping[str, Array]) -> Iterator[tuple[str, Response]]:
    """Yield the response in bins of the truth, the prediction, and each of the columns of the same rows."""
    variables = {"true": rows.true, "predicted": rows.predicted, **columns}
    for name, values in variables.items():
        column = binned(values)
        if len(column.edges) > 1:
            yield name, _measured(rows, {name: column})


def planes(rows: Prediction, columns: Mapping[str, Array]) -> Iterator[tuple[str, Response]]:
    """Yield the response in bins of the truth and of each of the columns of the same rows."""
    true = binned(rows.true, PLANE_BINS)
    for name, values in columns.items():
        column = binned(values, PLANE_BINS)
        if min(len(true.edges), len(column.edges)) > 2:
            yield name, _measured(rows, {"true": true, name: column})


def _measured(rows: Prediction, variables: Mapping[str, BinnedColumn]) -> Response:
    relative = is_relative(rows)
    values = rows.predicted / rows.true if relative else rows.residual
    shape = [len(column.edges) - 1 for column in variables.values()]
    cell = np.zeros(len(values), np.int64)
    for size, column in zip(shape, variables.values()):
        cell = np.where((cell < 0) | (column.number < 0), -1, cell * size + column.number)
    inside = [cell == k for k in range(int(np.prod(shape)))]
    return Response(
        {name: column.edges for name, column in variables.items()},
        np.bincount(cell[cell >= 0], minlength=len(inside)).reshape(shape),
        [statistics.median(values[chosen], rows.weight[chosen]) for chosen in inside],
        [statistics.resolution(values[chosen], rows.weight[chosen]) for chosen in inside],
        relative,
    )
