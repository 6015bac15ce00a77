"""Accuracy."""

from __future__ import annotations

from .. import statistics
from ..metric import ScoreMetric
from ..scored import Scored
from ..statistics import Estimate


class Accuracy(ScoreMetric):
    """Accuracy."""

    title = "accuracy"
    meaning = "The fraction of rows whose highest score is that of their class."
    position = 50

    def evaluate(self, rows: Scored) -> Estimate:
        """Return the figure of merit."""
        return statistics.accuracy(rows.scores, rows.truth, rows.prior_weight)
