"""Average precision."""

from __future__ import annotations

from .. import statistics
from ..metric import ClassMetric
from ..scored import OneAgainstRest
from ..statistics import Estimate


class AveragePrecision(ClassMetric):
    """Average precision."""

    title = "average precision"
    meaning = "The mean purity over all signal efficiencies."
    position = 30
    compared = False

    def evaluate(self, rows: OneAgainstRest) -> Estimate:
        """Return the figure of merit."""
        return statistics.average_precision(rows.score, rows.signal, rows.weight)
