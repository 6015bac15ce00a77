"""What a trained model is worth: the figures of merit of one set of scores, and over the folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import metrics
from .metrics import Array, Estimate

EFFICIENCIES = (0.3, 0.5, 0.7, 0.8)
"""Signal efficiencies at which the background rejection is quoted."""


@dataclass(frozen=True)
class Scored:
    """Scores of N rows beside the truth.

    ``scores`` is (N, C): one probability per class, or one prediction per target. ``truth`` is the (N,) class number,
    or the (N, C) true values, NaN where they are not known. ``weight`` (N,) is the physics weight, ``prior_weight``
    (N,) that weight with the classes balanced as in the training, to whose priors the probabilities refer.

    ``others`` is what else is predicted of each target, (N, C, K). With ``levels``, (K + 1,), prediction and others are
    quantiles of these levels; without, K is 1 and it is the sigma of the prediction, or 0.
    """

    scores: Array
    truth: Array
    weight: Array
    prior_weight: Array
    others: Array | None = None
    levels: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def of_class(self, number: int) -> Array:
        """Return the (N,) mask of the rows of a true class."""
        return np.asarray(self.truth == number)

    def of_target(self, number: int) -> Prediction:
        """Return the rows of which a target is known."""
        known = ~np.isnan(self.truth[:, number])
        others = np.empty((len(self), 0)) if self.others is None else self.others[:, number]
        true, predicted = self.truth[known, number], self.scores[known, number]
        return Prediction(true, predicted, self.weight[known], others[known], self.levels)

    @property
    def none(self) -> Scored:
        """The same without rows."""
        others = None if self.others is None else self.others[:0]
        return Scored(self.scores[:0], self.truth[:0], self.weight[:0], self.prior_weight[:0], others, self.levels)

    @classmethod
    def pool(cls, parts: Sequence[Scored]) -> Scored:
        """Join the rows of several parts, e.g. of the folds."""
        names = ("scores", "truth", "weight", "prior_weight", *(["others"] if parts[0].others is not None else []))
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(**joined, levels=parts[0].levels)


@dataclass(frozen=True)
class Prediction:
    """Truth and prediction, (N,) each, of one target in the rows where it is known; see :class:`Scored`."""

    true: Array
    predicted: Array
    weight: Array
    others: Array
    levels: tuple[float, ...]

    @property
    def residual(self) -> Array:
        """Prediction minus truth, (N,)."""
        return np.asarray(self.predicted - self.true)

    @property
    def pull(self) -> Array | None:
        """Residual in units of the predicted sigma, (N,); None where no sigma is predicted."""
        return None if self.levels or not self.others.shape[1] else np.asarray(self.residual / self.others[:, 0])

    @property
    def crossings(self) -> int:
        """Number of rows in which a lower predicted quantile is above a higher one."""
        if not self.levels:
            return 0
        rising = np.column_stack([self.predicted, self.others])[:, np.argsort(self.levels)]
        return int(np.any(np.diff(rising, axis=1) < 0, axis=1).sum())

    @property
    def coverage(self) -> dict[float, Estimate]:
        """Fraction of the truth that is not above each predicted quantile, by rising level."""
        below = self.true[:, np.newaxis] <= np.column_stack([self.predicted, self.others])
        found = {level: metrics.average(below[:, k], self.weight) for k, level in enumerate(self.levels)}
        return dict(sorted(found.items()))


@dataclass(frozen=True)
class Comparison:
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
Comparisons = dict[tuple[str, str], Comparison]
"""Comparisons of training and test by (score, true class)."""


def signals(classes: Sequence[str]) -> Sequence[str]:
    """Return the classes whose scores are worth a curve: the first of two, or all of more (one against the rest)."""
    return classes[:1] if len(classes) == 2 else classes


def classification(test: Scored, classes: Sequence[str]) -> Summary:
    """Return the figures of merit of a classification.

    Separation (AUC, rejection, average precision) uses the physics weights; what reads the scores as probabilities
    (accuracy, log-loss, Brier score, calibration) uses the class balance of the training.
    """
    result: Summary = {}
    for name in signals(classes):
        result.update(_separation(test, name, list(classes).index(name)))
    label, prior = test.truth, test.prior_weight
    result["accuracy"] = metrics.accuracy(test.scores, label, prior)
    result["log_loss"] = metrics.log_loss(test.scores, label, prior)
    result["brier"] = metrics.brier(test.scores, label, prior)
    return result


def regression(test: Scored, targets: Sequence[str]) -> Summary:
    """Return the figures of merit of a regression, for each target."""
    result: Summary = {}
    for k, name in enumerate(targets):
        rows = test.of_target(k)
        result[f"bias.{name}"] = metrics.average(rows.residual, rows.weight)
        result[f"rms.{name}"] = metrics.rms(rows.residual, rows.weight)
        result[f"resolution.{name}"] = metrics.resolution(rows.residual, rows.weight)
        result[f"r2.{name}"] = metrics.r2(rows.true, rows.predicted, rows.weight)
        if rows.pull is not None:
            result[f"pull_mean.{name}"] = metrics.average(rows.pull, rows.weight)
            result[f"pull_width.{name}"] = metrics.resolution(rows.pull, rows.weight)
        for level, fraction in rows.coverage.items():
            result[f"coverage.{name}.{100 * level:.6g}"] = fraction
    return result


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
    edges = metrics.quantile_bins(rows.true)
    where = metrics.in_bins(rows.true, edges)
    inside = [where == number for number in range(len(edges) - 1)]
    return TargetBins(
        edges,
        np.array([np.mean(rows.true[chosen]) for chosen in inside]),
        np.array([np.count_nonzero(chosen) for chosen in inside]),
        [metrics.average(rows.residual[chosen], rows.weight[chosen]) for chosen in inside],
        [metrics.resolution(rows.residual[chosen], rows.weight[chosen]) for chosen in inside],
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
            result[name, true] = Comparison(statistic, min(1.0, len(tests) * min(t[1] for t in tests)))
    return result


def spread(folds: Sequence[Summary]) -> dict[str, Estimate]:
    """Return mean and sample standard deviation of each figure of merit over the folds (two or more)."""
    values = {name: [fold[name].value for fold in folds] for name in folds[0]}
    widths = {name: np.std(v, ddof=1) if np.isfinite(v).all() else np.nan for name, v in values.items()}
    return {name: Estimate(float(np.mean(v)), float(widths[name])) for name, v in values.items()}


def headline(scored: Scored, names: Sequence[str], task: str) -> float:
    """Return the one number that permutation importance watches: mean one-vs-rest AUC, or mean R².

    A class or target for which it is not defined, since too few rows know it, does not count.
    """
    if task == "regression":
        rows = [scored.of_target(k) for k in range(len(names))]
        values = [metrics.r2(each.true, each.predicted, each.weight) for each in rows]
    else:
        numbers = [list(names).index(name) for name in signals(names)]
        values = [metrics.auc(scored.scores[:, k], scored.of_class(k), scored.weight) for k in numbers]
    defined = [estimate.value for estimate in values if np.isfinite(estimate.value)]
    return float(np.mean(defined)) if defined else float("nan")


def _separation(test: Scored, name: str, number: int) -> Summary:
    score, signal = test.scores[:, number], test.of_class(number)
    curve = metrics.roc_curve(score, signal, test.weight)
    calibration = metrics.calibration_error(score, signal, test.prior_weight)
    return {
        f"auc.{name}": metrics.auc(score, signal, test.weight),
        **{f"rejection.{name}.{e * 100:.0f}": metrics.rejection(curve, e) for e in EFFICIENCIES},
        f"average_precision.{name}": metrics.average_precision(score, signal, test.weight),
        f"calibration_error.{name}": Estimate(calibration),
    }


def _compare(train: Scored, test: Scored, score: int, true: int) -> tuple[float, float]:
    a, b = train.of_class(true), test.of_class(true)
    return metrics.kolmogorov_smirnov(train.scores[a, score], train.weight[a], test.scores[b, score], test.weight[b])
