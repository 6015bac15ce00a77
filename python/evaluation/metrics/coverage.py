"""The coverage of predicted quantiles."""

from __future__ import annotations

from ..metric import TargetMetric
from ..scored import Prediction
from ..statistics import Estimate


class Coverage(TargetMetric):
    """The coverage of predicted quantiles."""

    title = "truth below the {} % quantile"
    meaning = "The fraction of the truth that is not above a predicted quantile."
    position = 70

    def evaluate(self, rows: Prediction) -> dict[str, Estimate]:
        """Return the figure of merit."""
        return {f"{100 * level:.6g}": fraction for level, fraction in rows.coverage.items()}
