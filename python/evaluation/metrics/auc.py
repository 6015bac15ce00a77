"""The area under the ROC curve."""

from __future__ import annotations

from .. import statistics
from ..metric import ClassMetric
from ..scored import OneAgainstRest
from ..statistics import Estimate


class Auc(ClassMetric):
    """The area under the ROC curve."""

    title = "AUC"
    meaning = "How probably a signal scores above a background, ties counting half: the area under the ROC curve."
    position = 10

    def evaluate(self, rows: OneAgainstRest) -> Estimate:
        """Return the figure of merit."""
        return statistics.auc(rows.score, rows.signal, rows.weight)
