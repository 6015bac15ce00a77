"""What an evaluation measures beside what it always does."""

from __future__ import annotations

from .base import Strict


class Evaluation(Strict):
    """Metrics of yours, which appear in ``metrics.json``, the report, comparisons and MLflow.

    A function gets the truth, the scores and the weights of the test rows, and returns a number. For a classification
    these are class numbers (N,), one score for each class (N, C) and weights (N,); for a regression, true values,
    predictions and weights, (N,) each, of one target at a time.
    """

    functions: list[str] = []
    """Metrics as ``module:function``, or ``module:Class`` derived from one of NanoForge's metrics."""
