"""What an evaluation measures and draws beside what it always does."""

from __future__ import annotations

from .base import Interval, Strict


class Evaluation(Strict):
    """Metrics and figures of yours, which appear in the report and MLflow; metrics in ``metrics.json`` and comparisons.

    A function of a metric gets the truth, the scores and the weights of the test rows, and returns a number. For a
    classification these are class numbers (N,), one score for each class (N, C) and weights (N,); for a regression,
    true values, predictions and weights, (N,) each, of one target at a time. A function of a figure gets the results,
    whose ``test.truth``, ``test.scores`` and ``test.weight`` are the same arrays, and returns a figure of matplotlib.
    """

    functions: list[str] = []
    """Metrics as ``module:function``, or ``module:Class`` derived from one of NanoForge's metrics."""
    figures: list[str] = []
    """Figures as ``module:function``, or ``module:Class`` derived from
    ``nanoforge.evaluation.figure.ReportFigure``."""

    range: dict[str, Interval] = {}
    """Of targets: rows whose truth lies outside count in no figure of merit, e.g. ``{mass: [0, 1]}`` where single
    photons have masses below zero."""

    @property
    def specs(self) -> list[str]:
        """All of them."""
        return [*self.functions, *self.figures]
