"""Expected calibration error."""

from __future__ import annotations

from .. import statistics
from ..metric import ClassMetric
from ..scored import OneAgainstRest
from ..statistics import Estimate


class CalibrationError(ClassMetric):
    """Expected calibration error."""

    title = "expected calibration error"
    meaning = "How far the score is from the fraction of rows that are of the class, on average."
    position = 40

    def evaluate(self, rows: OneAgainstRest) -> Estimate:
        """Return the figure of merit."""
        return Estimate(statistics.calibration_error(rows.score, rows.signal, rows.prior_weight))
