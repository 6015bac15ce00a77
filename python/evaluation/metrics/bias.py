"""Bias."""

from __future__ import annotations

from .. import statistics
from ..metric import TargetMetric
from ..scored import Prediction
from ..statistics import Estimate


class Bias(TargetMetric):
    """Bias."""

    title = "bias"
    meaning = "The mean of prediction minus truth."
    position = 10

    def evaluate(self, rows: Prediction) -> Estimate:
        """Return the figure of merit."""
        return statistics.average(rows.residual, rows.weight)
