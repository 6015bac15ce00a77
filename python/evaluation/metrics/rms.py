"""The root of the mean squared residual."""

from __future__ import annotations

from .. import statistics
from ..metric import TargetMetric
from ..scored import Prediction
from ..statistics import Estimate


class Rms(TargetMetric):
    """The root of the mean squared residual."""

    title = "RMS"
    meaning = "The root of the mean squared residual, bias included."
    position = 20

    def evaluate(self, rows: Prediction) -> Estimate:
        """Return the figure of merit."""
        return statistics.rms(rows.residual, rows.weight)
