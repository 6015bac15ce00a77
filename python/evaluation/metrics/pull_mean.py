"""Mean of the pulls."""

from __future__ import annotations

from .. import statistics
from ..metric import TargetMetric, Value
from ..scored import Prediction


class PullMean(TargetMetric):
    """Mean of the pulls."""

    title = "mean of the pulls"
    meaning = "The mean of the residuals in units of the predicted sigma: 0 where nothing is wrong."
    position = 50

    def evaluate(self, rows: Prediction) -> Value:
        """Return the figure of merit."""
        return {} if rows.pull is None else statistics.average(rows.pull, rows.weight)
