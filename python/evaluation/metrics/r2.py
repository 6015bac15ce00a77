"""The coefficient of determination."""

from __future__ import annotations

from .. import statistics
from ..metric import TargetMetric
from ..scored import Prediction
from ..statistics import Estimate


class CoefficientOfDetermination(TargetMetric):
    """The coefficient of determination."""

    title = "R\N{SUPERSCRIPT TWO}"
    meaning = "The share of the variance of the truth that the prediction explains."
    position = 40

    def evaluate(self, rows: Prediction) -> Estimate:
        """Return the figure of merit."""
        return statistics.r2(rows.true, rows.predicted, rows.weight)
