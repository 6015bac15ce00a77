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


@dataclass(frozen=True)
class Verdict:
    """Whether a model is overtrained: how much, "none", "slight", "strong" or "unknown", and by what that is judged."""

    size: str
    reason: str

    @property
    def seen(self) -> bool:
        """Whether there is something to look at."""
        return self.size != "none"

    @property
    def title(self) -> str:
        """What a reader wants to know first."""
        return {
            "none": "No sign of overtraining.",
            "slight": "Slightly overtrained.",
            "strong": "Overtrained.",
            "unknown": "Overtraining is not known.",
        }[self.size]


def judge_overtraining(train: Summary, test: Summary, tests: Comparisons) -> Verdict:
    """Judge by how much better figures of merit are in the training than in the test, and by the tests of the scores.

    These are 1 - AUC of a classification, and the resolution of a regression. What is better by more than three errors
    is overtraining, strong from a tenth of the test's value on; so is a Kolmogorov-Smirnov test below one in a
    thousand, all of them counted (Bonferroni), of distances of more than 0.02.
    """
    better = _most_overtrained(train, test)
    if better is None:
        return Verdict("unknown", "There are too few rows to compare the training with the test.")
    name, gain, seen, unseen = better
    share = gain.value / unseen.value if unseen.value > 0 else 0.0
    subject = "1 - AUC" if name.startswith("auc.") else "The resolution"
    reason = (
        f"{subject} of {name.partition('.')[2]} is {seen} in the training and {unseen} in the test, "
        f"{abs(share):.1%} {'better' if gain.value > 0 else 'worse'} in the training."
    )
    size = "none"
    if gain.value > _SIGMAS * gain.error:
        size = "strong" if share > _STRONG else "slight"
    defined = [each for each in tests.values() if np.isfinite(each.p_value)]
    if not defined:
        return Verdict(size, reason)
    least = min(defined, key=lambda each: each.p_value)
    if size == "none" and len(defined) * least.p_value < _UNLIKELY and least.statistic > _DISTANCE:
        size = "slight"
    number = f"smallest of {len(defined)} " if len(defined) > 1 else ""
    return Verdict(size, f"{reason} Kolmogorov-Smirnov: {number}{least}, at a distance of {least.statistic:.3f}.")


def _most_overtrained(train: Summary, test: Summary) -> tuple[str, Estimate, Estimate, Estimate] | None:
    """Return the figure of merit that is better in the training by most: its name, by how much, and what is in both."""
    losses = [(name, _loss(name, train[name]), _loss(name, test[name])) for name in test if name.startswith(_JUDGED)]
    gains = [
        (name, Estimate(unseen.value - seen.value, float(np.hypot(seen.error, unseen.error))), seen, unseen)
        for name, seen, unseen in losses
        if np.isfinite(unseen.value - seen.value)
    ]
    return max(gains, key=lambda gain: gain[1].value / max(gain[3].value, _TINY), default=None)


_JUDGED = ("auc.", "resolution.")
_SIGMAS, _STRONG, _UNLIKELY, _DISTANCE, _TINY = 3, 0.1, 0.001, 0.02, 1e-12


def _loss(name: str, merit: Estimate) -> Estimate:
    """Return what is to be small."""
    return Estimate(1 - merit.value, merit.error) if name.startswith("auc.") else merit


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
