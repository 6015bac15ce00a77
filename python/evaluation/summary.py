"""What a trained model is worth: the figures of merit of one set of scores, and over the folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import statistics
from .metric import ClassMetric, Metric, ScoreMetric, TargetMetric, Value
from .scored import Prediction, Scored
from .statistics import Array, Estimate


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """Result of one Kolmogorov-Smirnov test between training and test."""

    statistic: float
    p_value: float

    def __str__(self) -> str:
        """Write the p value, e.g. ``p = 0.42``."""
        if not np.isfinite(self.p_value):
            return "p undefined"
        return "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.{3 if self.p_value < 0.01 else 2}f}"


Summary = dict[str, Estimate]
"""Figures of merit by dotted name, e.g. ``auc.signal`` or ``resolution.mass``."""
Comparisons = dict[tuple[str, str], KolmogorovSmirnov]
"""Comparisons of training and test by (score, true class)."""


def signals(classes: Sequence[str]) -> Sequence[str]:
    """Return the classes whose scores are worth a curve: the first of two, or all of more (one against the rest)."""
    return classes[:1] if len(classes) == 2 else classes


def summarise(scored: Scored, outputs: Sequence[str], metrics: Sequence[Metric]) -> Summary:
    """Return the figures of merit by dotted name: metric, output (unless it is of all), and what a number is for.

    Separation (AUC, rejection, average precision) uses the physics weights; what reads the scores as probabilities
    (accuracy, log-loss, Brier score, calibration) uses the class balance of the training.

    Parameters
    ----------
    scored
        The rows.
    outputs
        The classes or targets.
    metrics
        Of the task that it is, in order.
    """
    result: Summary = {}
    by_class = [metric for metric in metrics if isinstance(metric, ClassMetric)]
    for name in signals(outputs) if by_class else ():
        rows = scored.against_rest(list(outputs).index(name))
        for metric in by_class:
            result.update(_named(f"{metric.name}.{name}", metric.evaluate(rows)))
    for whole in (metric for metric in metrics if isinstance(metric, ScoreMetric)):
        result.update(_named(whole.name, whole.evaluate(scored)))
    by_target = [metric for metric in metrics if isinstance(metric, TargetMetric)]
    for k, name in enumerate(outputs) if by_target else ():
        rows_of_target = scored.of_target(k)
        for of_target in by_target:
            result.update(_named(f"{of_target.name}.{name}", of_target.evaluate(rows_of_target)))
    return result


def _named(name: str, value: Value) -> Summary:
    if isinstance(value, Estimate):
        return {name: value}
    return {f"{name}.{variant}": estimate for variant, estimate in value.items()}


@dataclass(frozen=True)
class TargetBins:
    """Bias and resolution in B bins of the true value; ``edges`` is (B + 1,), ``centre`` their mean true value."""

    edges: Array
    centre: Array
    rows: Array
    bias: list[Estimate]
    resolution: list[Estimate]


def target_bins(rows: Prediction) -> TargetBins:
    """Return bias and resolution in ten bins of the true value with equally many rows each."""
    edges = statistics.quantile_bins(rows.true)
    where = statistics.in_bins(rows.true, edges)
    inside = [where == number for number in range(len(edges) - 1)]
    return TargetBins(
        edges,
        np.array([np.mean(rows.true[chosen]) for chosen in inside]),
        np.array([np.count_nonzero(chosen) for chosen in inside]),
        [statistics.average(rows.residual[chosen], rows.weight[chosen]) for chosen in inside],
        [statistics.resolution(rows.residual[chosen], rows.weight[chosen]) for chosen in inside],
    )


def overtraining(train: Sequence[Scored], test: Sequence[Scored], classes: Sequence[str]) -> Comparisons:
    """Compare the scores of training and test rows of each true class, model by model.

    Several folds are joined by the largest statistic and Bonferroni's p value, min(1, K times the smallest), which
    holds whatever the folds have in common.

    Parameters
    ----------
    train, test
        Scores of each fold's model on its own training and test rows.
    classes
        Names of the classes.
    """
    result: Comparisons = {}
    for name in signals(classes):
        score = list(classes).index(name)
        for number, true in enumerate(classes):
            tests = [_compare(a, b, score, number) for a, b in zip(train, test)]
            statistic = max(t[0] for t in tests)
            result[name, true] = KolmogorovSmirnov(statistic, min(1.0, len(tests) * min(t[1] for t in tests)))
    return result


def spread(folds: Sequence[Summary]) -> dict[str, Estimate]:
    """Return mean and sample standard deviation of each figure of merit over the folds (two or more)."""
    everywhere = [name for name in folds[0] if all(name in fold for fold in folds)]
    values = {name: [fold[name].value for fold in folds] for name in everywhere}
    widths = {name: np.std(v, ddof=1) if np.isfinite(v).all() else np.nan for name, v in values.items()}
    return {name: Estimate(float(np.mean(v)), float(widths[name])) for name, v in values.items()}


def headline(scored: Scored, names: Sequence[str], task: str) -> float:
    """Return the one number that permutation importance watches: mean one-vs-rest AUC, or mean R².

    A class or target for which it is not defined, since too few rows know it, does not count.
    """
    if task == "regression":
        rows = [scored.of_target(k) for k in range(len(names))]
        values = [statistics.r2(each.true, each.predicted, each.weight) for each in rows]
    else:
        numbers = [list(names).index(name) for name in signals(names)]
        values = [statistics.auc(scored.scores[:, k], scored.of_class(k), scored.weight) for k in numbers]
    defined = [estimate.value for estimate in values if np.isfinite(estimate.value)]
    return float(np.mean(defined)) if defined else float("nan")


def _compare(train: Scored, test: Scored, score: int, true: int) -> tuple[float, float]:
    a, b = train.of_class(true), test.of_class(true)
    return statistics.kolmogorov_smirnov(train.scores[a, score], train.weight[a], test.scores[b, score], test.weight[b])
