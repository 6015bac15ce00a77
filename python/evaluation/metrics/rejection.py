"""The background rejection at several signal efficiencies."""

from __future__ import annotations

from .. import statistics
from ..metric import ClassMetric
from ..scored import OneAgainstRest
from ..statistics import Estimate

EFFICIENCIES = (0.3, 0.5, 0.7, 0.8)
"""Signal efficiencies at which it is quoted."""


class Rejection(ClassMetric):
    """The background rejection at several signal efficiencies."""

    title = "background rejection at {} % efficiency"
    meaning = "One over the fraction of the background that a cut keeps, where it keeps so much of the signal."
    position = 20

    def is_compared(self, variant: str) -> bool:
        """Show the one of half the signal only."""
        return variant == "50"

    def evaluate(self, rows: OneAgainstRest) -> dict[str, Estimate]:
        """Return the figure of merit."""
        curve = statistics.roc_curve(rows.score, rows.signal, rows.weight)
        return {f"{100 * efficiency:.0f}": statistics.rejection(curve, efficiency) for efficiency in EFFICIENCIES}
