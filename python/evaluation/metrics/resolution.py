"""Resolution."""

from __future__ import annotations

from .. import statistics
from ..metric import TargetMetric
from ..scored import Prediction
from ..statistics import Estimate


class Resolution(TargetMetric):
    """Resolution."""

    title = "resolution"
    meaning = "Half the width of the central 68 % of the residuals."
    position = 30

    def evaluate(self, rows: Prediction) -> Estimate:
        """Return the figure of merit."""
        return statistics.resolution(rows.residual, rows.weight)
