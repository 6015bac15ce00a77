"""The share of rows that are not resolved."""

from __future__ import annotations

from .. import statistics
from ..metric import TargetMetric, Value
from ..scored import Prediction


class Unresolved(TargetMetric):
    """The share of rows that are not resolved."""

    title = "share predicted below 0 (not resolved)"
    meaning = "The share of rows with a prediction below 0, of a target that is never negative itself, as a mass."
    position = 45

    def evaluate(self, rows: Prediction) -> Value:
        """Return the figure of merit."""
        below = rows.predicted < 0
        return {} if (rows.true < 0).any() else statistics.average(below, rows.weight)
