"""Brier score."""

from __future__ import annotations

from .. import statistics
from ..metric import ScoreMetric
from ..scored import Scored
from ..statistics import Estimate


class Brier(ScoreMetric):
    """Brier score."""

    title = "Brier score"
    meaning = "The mean squared distance of the probabilities from the truth."
    position = 70
    compared = False

    def evaluate(self, rows: Scored) -> Estimate:
        """Return the figure of merit."""
        return statistics.brier(rows.scores, rows.truth, rows.prior_weight)
