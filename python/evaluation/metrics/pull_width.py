"""Width of the pulls."""

from __future__ import annotations

from .. import statistics
from ..metric import TargetMetric, Value
from ..scored import Prediction


class PullWidth(TargetMetric):
    """Width of the pulls."""

    title = "width of the pulls"
    meaning = "The resolution of the residuals in units of the predicted sigma: 1 where sigma is right."
    position = 60

    def evaluate(self, rows: Prediction) -> Value:
        """Return the figure of merit."""
        return {} if rows.pull is None else statistics.resolution(rows.pull, rows.weight)
