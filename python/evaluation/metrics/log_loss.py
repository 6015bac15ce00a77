"""Log-loss."""

from __future__ import annotations

from .. import statistics
from ..metric import ScoreMetric
from ..scored import Scored
from ..statistics import Estimate


class LogLoss(ScoreMetric):
    """Log-loss."""

    title = "log-loss"
    meaning = "The mean of minus the logarithm of the probability of the true class, in nats."
    position = 60

    def evaluate(self, rows: Scored) -> Estimate:
        """Return the figure of merit."""
        return statistics.log_loss(rows.scores, rows.truth, rows.prior_weight)
