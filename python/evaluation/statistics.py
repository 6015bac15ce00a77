"""Figures of merit as pure functions of weighted arrays.

Every sum is a sum of weights, negative ones included: what they mean is the difference of two samples, so an
efficiency may leave [0, 1] and a curve need not be monotonic, but expectation values are right. Where a sum of weights
that must be positive is not (an absent class, say), the answer is NaN, never an exception or a guess.

Errors are those of repeating the measurement with other events: what a bootstrap of the rows gives, by formulas. They
follow from one: the squared error of a weighted mean Σwx/Σw is Σw²(x - mean)²/(Σw)² (Taylor linearisation of a ratio;
Cochran, Sampling Techniques, 3rd ed., section 6.4), with the factor n/(n - 1) of an unbiased variance, where n is the
effective number (Σw)²/Σw². Weights are taken as given. Fewer than two effective rows say nothing about their
fluctuation, and have no error.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import kolmogorov

Array = np.ndarray

_ONE_SIGMA = (0.158655, 0.841345)


class Estimate(NamedTuple):
    """A number and its statistical error (one standard deviation); the error is NaN where none is given."""

    value: float
    error: float = float("nan")

    def __str__(self) -> str:
        """Write the number to two digits of its error, or to four digits."""
        if not np.isfinite(self.value):
            return "undefined" if np.isnan(self.value) else "infinite"
        if not (np.isfinite(self.error) and self.error > 0):
            return f"{self.value:.4g}"
        digits = int(1 - np.floor(np.log10(self.error)))
        if not -4 < digits <= 6:
            return f"{self.value:.4g} \N{PLUS-MINUS SIGN} {self.error:.2g}"
        return f"{self.value:.{max(digits, 0)}f} \N{PLUS-MINUS SIGN} {self.error:.{max(digits, 0)}f}"


class Interval(NamedTuple):
    """A number with the ends of its interval of 68 %; the ends are NaN where nothing is known of its fluctuation."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Write the number to two digits of its larger error."""
        up, down = self.high - self.value, self.value - self.low
        if not (np.isfinite(up) and np.isfinite(down) and up + down > 0):
            return str(Estimate(self.value))
        if abs(up - down) < 0.1 * (up + down):
            return str(Estimate(self.value, (up + down) / 2))
        digits = min(6, max(0, int(1 - np.floor(np.log10(max(up, down))))))
        return f"{self.value:.{digits}f} +{up:.{digits}f} \N{MINUS SIGN}{down:.{digits}f}"


class Roc(NamedTuple):
    """A ROC curve from (0, 0) to (1, 1), by falling threshold; equal scores make one point. Each (points,).

    The errors are those of the efficiencies of a fixed threshold.
    """

    threshold: Array
    signal: Array
    background: Array
    signal_error: Array
    background_error: Array


class Reliability(NamedTuple):
    """A reliability diagram: mean score, observed fraction and its error in each filled bin. Each (bins,)."""

    predicted: Array
    observed: Array
    error: Array


def effective_number(weight: Array) -> float:
    """Return the number of unweighted events of the same relative error, (Σw)²/Σw² (Kish, Survey Sampling, 1965)."""
    square = float(np.sum(weight**2))
    return float(np.sum(weight)) ** 2 / square if square > 0 else 0.0


def mean(values: Array, weight: Array) -> float:
    """Return Σwx/Σw of (N,) values; NaN where the weights do not sum to something positive."""
    total = float(np.sum(weight))
    return float(np.sum(values * weight)) / total if total > 0 else float("nan")


def average(values: Array, weight: Array) -> Estimate:
    """Return the mean of (N,) values with its error, in their unit.

    Of residuals prediction - truth it is the bias, of a condition the fraction of the rows that fulfil it.
    """
    value = mean(values, weight)
    return Estimate(value, _root(float(np.sum((weight * (values - value)) ** 2)) * _per_total(weight)))


def efficiency(passed: Array, weight: Array) -> Interval:
    """Return the fraction of rows, (N,) bool, that pass, with Wilson's interval (J. Am. Stat. Assoc. 22 (1927) 209).

    It keeps a width where none or all pass, and stays in [0, 1]. Weighted rows count as so many unweighted ones as give
    the error of :func:`average`, p(1 - p)/error² (Korn and Graubard, Survey Methodology 24 (1998) 193), and as their
    effective number where none or all pass. A fraction beyond [0, 1], which negative weights may give, has the
    symmetric interval of that error.
    """
    value, error = average(passed, weight)
    spread = value * (1 - value)
    number = effective_number(weight) if spread == 0 else spread / error**2 if error > 0 else np.nan
    if not (np.isfinite(value) and number > 1):
        return Interval(value, value - error, value + error)
    centre, width = (value + 0.5 / number) / (1 + 1 / number), np.sqrt(spread / number + 0.25 / number**2)
    width /= 1 + 1 / number
    return Interval(value, min(value, float(centre - width)), max(value, float(centre + width)))


def fraction_error(share: Array, squares: Array, weight: Array) -> Array:
    """Return the errors of fractions, (Q,), of the rows of ``weight`` (N,); each is of rows of a known Σw², (Q,)."""
    variance = (1 - share) ** 2 * squares + share**2 * (np.sum(weight**2) - squares)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0) * _per_total(weight)))


def quantile(values: Array, weight: Array, fraction: Array) -> Array:
    """Return weighted quantiles, interpolated between the values.

    Each value stands at the middle of its own weight in the cumulative sum. Where negative weights make that sum fall,
    its running maximum is taken, so that a quantile is the first place where the fraction is reached.

    Parameters
    ----------
    values, weight
        (N,) each.
    fraction
        (Q,) in [0, 1].

    Returns
    -------
    Array
        (Q,), in the unit of the values; NaN where the weights do not sum to something positive.
    """
    total = np.sum(weight)
    if not total > 0:
        return np.full(len(fraction), np.nan)
    order = np.argsort(values, kind="stable")
    w = weight[order]
    position = np.maximum.accumulate((np.cumsum(w) - w / 2) / total)
    return np.asarray(np.interp(fraction, position, values[order]))


def roc_curve(score: Array, signal: Array, weight: Array) -> Roc:
    """Return the weighted ROC curve.

    Parameters
    ----------
    score
        (N,) finite; signal is expected at high scores.
    signal
        (N,) bool: which rows are signal.
    weight
        (N,).

    Returns
    -------
    Roc
        Efficiencies of signal and background above each threshold; all NaN for an absent class.
    """
    values, s, b, s2, b2 = _by_score(score, signal, weight, weight**2)
    efficiencies = [np.concatenate([[0.0], _fraction(np.cumsum(x[::-1]), np.sum(x))]) for x in (s, b)]
    errors = []
    for share, squares, side in zip(efficiencies, (s2, b2), (signal, ~signal)):
        passed = np.concatenate([[0.0], np.cumsum(squares[::-1])])
        errors.append(fraction_error(share, passed, weight[side]))
    return Roc(np.concatenate([[np.inf], values[::-1]]), *efficiencies, *errors)


def thinned(curve: Roc, most: int) -> Roc:
    """Return at most so many points of a curve, its ends included: half of them dense where little is selected."""
    number = len(curve.threshold)
    evenly, dense = np.linspace(0, number - 1, most // 2), np.geomspace(1, number, most - most // 2) - 1
    keep = np.unique(np.concatenate([evenly, dense]).astype(int))
    return Roc(*(column[keep] for column in curve))


def auc(score: Array, signal: Array, weight: Array) -> Estimate:
    """Return the area under the ROC curve: how probably a signal scores above a background, ties counting half.

    The value is Σ_i Σ_j w_i w_j ([s_i > b_j] + ½[s_i = b_j]) / (Σ_i w_i Σ_j w_j) over signals i and backgrounds j, by
    cumulative sums, for weights of either sign. The error is that of DeLong, DeLong and Clarke-Pearson (Biometrics 44
    (1988) 837): the mean of the structural components of the signal fluctuates, and independently that of the
    background. A single row of either has an unknown fluctuation, so that there is no error.

    Parameters
    ----------
    score, signal, weight
        As for :func:`roc_curve`.

    Returns
    -------
    Estimate
        NaN where one side is absent or its weights do not sum to something positive.
    """
    below, above = _placements(score, signal, weight)
    sides = average(below[signal], weight[signal]), average(above[~signal], weight[~signal])
    return Estimate(sides[0].value, float(np.hypot(sides[0].error, sides[1].error)))


def auc_difference(first: Array, second: Array, signal: Array, weight: Array) -> Estimate:
    """Return the area under the ROC curve of the second of two scores of the same rows minus that of the first.

    The error is that of DeLong, DeLong and Clarke-Pearson for correlated curves: what fluctuates are the differences of
    the structural components of a row (see :func:`auc`). Without weights it is theirs exactly; with weights the rows'
    variances are those of a ratio of sums in first order, for weights that are given.

    Parameters
    ----------
    first, second
        (N,) each.
    signal, weight
        As for :func:`roc_curve`.
    """
    before, after = (_placements(score, signal, weight) for score in (first, second))
    sides = [average((new - old)[side], weight[side]) for old, new, side in zip(before, after, (signal, ~signal))]
    return Estimate(sides[0].value, float(np.hypot(sides[0].error, sides[1].error)))


def _placements(score: Array, signal: Array, weight: Array) -> tuple[Array, Array]:
    """Return the fractions of the background below and of the signal above the score of each row, (N,) each.

    Equal scores count half.
    """
    values, s, b = _by_score(score, signal, weight)
    group = np.searchsorted(values, score)
    below = _fraction(np.cumsum(b) - b / 2, np.sum(b))[group]
    above = 1 - _fraction(np.cumsum(s) - s / 2, np.sum(s))[group]
    return below, above


def rejection(curve: Roc, efficiency: float) -> Estimate:
    """Return the background rejection 1/ε_b where the signal efficiency first reaches a value.

    Between two points of the curve it is interpolated, as if equal scores were ordered at random. Two fluctuations are
    in the error: that of the background above the threshold, and that of the signal, which moves the threshold: its
    error of the signal efficiency times the slope of the curve (Hsieh, Turnbull, Ann. Stat. 24 (1996) 25; Pepe, The
    Statistical Evaluation of Medical Tests, 2003, section 5.2). The slope is that between one error below and above.

    Parameters
    ----------
    curve
        Of :func:`roc_curve`.
    efficiency
        The signal efficiency, in (0, 1].

    Returns
    -------
    Estimate
        Infinite where no background is left; NaN for an absent class.
    """
    if len(curve.signal) < 2 or not np.all(np.isfinite([curve.signal, curve.background])):
        return Estimate(float("nan"))
    left, signal_error, background_error = _at(curve, efficiency)
    if left <= 0:
        return Estimate(float("inf"))
    ends = [float(np.clip(efficiency + sign * signal_error, 0.0, 1.0)) for sign in (-1, 1)]
    moved = np.nan
    if signal_error == 0:
        moved = 0.0
    elif ends[1] > ends[0]:
        moved = (_at(curve, ends[1])[0] - _at(curve, ends[0])[0]) / (ends[1] - ends[0]) * signal_error
    return Estimate(1 / left, float(np.hypot(background_error, moved)) / left**2)


def _at(curve: Roc, efficiency: float) -> tuple[float, float, float]:
    """Return the background efficiency where that of the signal first reaches a value, and the errors of both there."""
    k = max(1, int(np.argmax(curve.signal >= efficiency * (1 - 1e-12))))
    width = curve.signal[k] - curve.signal[k - 1]
    step = (efficiency - curve.signal[k - 1]) / width if width else 0.0
    columns = (curve.background, curve.signal_error, curve.background_error)
    left, *errors = (float(column[k - 1] + step * (column[k] - column[k - 1])) for column in columns)
    return left, errors[0], errors[1]


def precision_recall(score: Array, signal: Array, weight: Array) -> tuple[Array, Array]:
    """Return the precision (purity) and the recall (signal efficiency) above each threshold.

    Thresholds at which negative weights leave no positive sum have no purity and are left out.

    Parameters
    ----------
    score, signal, weight
        As for :func:`roc_curve`.

    Returns
    -------
    tuple[Array, Array]
        Precision and recall by falling threshold, (points,) each.
    """
    _, s, b = _by_score(score, signal, weight)
    selected, passed = np.cumsum((s + b)[::-1]), np.cumsum(s[::-1])
    defined = selected > 0
    return passed[defined] / selected[defined], _fraction(passed, np.sum(s))[defined]


def average_precision(score: Array, signal: Array, weight: Array) -> Estimate:
    """Return Σ_n (R_n - R_{n-1}) P_n over the points of the precision-recall curve, as scikit-learn defines it."""
    precision, recall = precision_recall(score, signal, weight)
    value = float(np.sum(np.diff(recall, prepend=0.0) * precision)) if len(recall) else float("nan")
    return Estimate(value)


def confusion(label: Array, predicted: Array, weight: Array, classes: int) -> Array:
    """Return the (classes, classes) sums of weights: true class by row, predicted class by column."""
    cell = label.astype(np.int64) * classes + predicted
    sums: Array = np.bincount(cell, weight, classes * classes)
    return sums.reshape(classes, classes)


def normalised(matrix: Array, axis: int) -> Array:
    """Divide a matrix by its sums along an axis; NaN where a sum is not positive.

    A confusion matrix along axis 1 gives efficiencies (each true class sums to 1), along axis 0 purities.
    """
    total = matrix.sum(axis=axis, keepdims=True)
    out = np.full(matrix.shape, np.nan)
    np.divide(matrix, total, out=out, where=total > 0)
    return out


def accuracy(scores: Array, label: Array, weight: Array) -> Estimate:
    """Return the weighted fraction of the rows whose highest score, of (N, C), is that of their class."""
    return average(scores.argmax(axis=1) == label, weight)


def log_loss(scores: Array, label: Array, weight: Array) -> Estimate:
    """Return the mean of -log p(true class) of (N, C) probabilities, in nats; p is clipped at machine epsilon."""
    true = np.take_along_axis(scores, label[:, None].astype(np.int64), axis=1)[:, 0]
    likely = np.clip(true.astype(np.float64), np.finfo(scores.dtype).eps, None)
    return average(-np.log(likely), weight)


def brier(scores: Array, label: Array, weight: Array) -> Estimate:
    """Return the mean of Σ_k (p_k - y_k)² (Brier, Mon. Weather Rev. 78 (1950) 1), halved for two classes: (p - y)²."""
    hot = label[:, None] == np.arange(scores.shape[1])
    square: Array = ((scores - hot) ** 2).sum(axis=1, dtype=np.float64)
    return average(square / 2 if scores.shape[1] == 2 else square, weight)


def reliability(score: Array, signal: Array, weight: Array, bins: int = 10) -> Reliability:
    """Return how often a class is true where its score is p, in equal bins of [0, 1].

    Bins whose weights do not sum to something positive are left out.

    Parameters
    ----------
    score
        (N,) probabilities of the class.
    signal
        (N,) bool: which rows are of the class.
    weight
        (N,).
    bins
        Number of bins.

    Returns
    -------
    Reliability
        The error is that of the fraction; NaN where a bin holds fewer than two effective rows.
    """
    where = _probability_bin(score, bins)
    total = np.bincount(where, weight, bins)
    good = total > 0
    safe = np.where(good, total, 1.0)
    predicted = np.bincount(where, weight * score, bins) / safe
    observed = np.bincount(where, weight * signal, bins) / safe
    squares = np.bincount(where, (weight * (signal - observed[where])) ** 2, bins)
    spare = safe**2 - np.bincount(where, weight**2, bins)  # (Σw)² - Σw², see _per_total
    error = np.sqrt(np.divide(squares, spare, out=np.full(bins, np.nan), where=spare > 0))
    return Reliability(predicted[good], observed[good], error[good])


def calibration_error(score: Array, signal: Array, weight: Array, bins: int = 10) -> float:
    """Return the expected calibration error of one class, Σ_bins |Σ w (y - p)| / Σ w.

    This is the bins' mean |observed - predicted| weighted by their content (Naeini et al., AAAI 2015; Guo et al.,
    arXiv:1706.04599), for each class's own score (arXiv:1910.12656), written so that negative weights need no care.
    """
    total = float(np.sum(weight))
    gaps = np.bincount(_probability_bin(score, bins), weight * (signal - score), bins)
    return float(np.sum(np.abs(gaps))) / total if total > 0 else float("nan")


def kolmogorov_smirnov(first: Array, first_weight: Array, second: Array, second_weight: Array) -> tuple[float, float]:
    """Compare two weighted samples by the Kolmogorov-Smirnov test.

    The statistic is the largest distance of the two weighted cumulative distributions. The p value is the asymptotic
    one with Stephens' correction (J. R. Stat. Soc. B 32 (1970) 115; Numerical Recipes, 3rd ed., section 14.3), with the
    effective numbers of events (Σw)²/Σw² as in ROOT's TH1::KolmogorovTest. It is exact only in the limit of many
    events whose weights do not depend on the value.

    Parameters
    ----------
    first, first_weight
        (N,) each.
    second, second_weight
        (M,) each.

    Returns
    -------
    tuple[float, float]
        Statistic and p value; NaN where the weights of a sample do not sum to something positive.
    """
    if not (np.sum(first_weight) > 0 and np.sum(second_weight) > 0):
        return float("nan"), float("nan")
    is_first = np.arange(len(first) + len(second)) < len(first)
    weight = np.concatenate([first_weight, second_weight])
    _, a, b = _by_score(np.concatenate([first, second]), is_first, weight)
    distance = float(np.max(np.abs(np.cumsum(a) / np.sum(a) - np.cumsum(b) / np.sum(b))))
    n, m = effective_number(first_weight), effective_number(second_weight)
    root = np.sqrt(n * m / (n + m))
    return distance, float(kolmogorov((root + 0.12 + 0.11 / root) * distance))


def rms(residual: Array, weight: Array) -> Estimate:
    """Return the root of the mean squared residual, bias included, in the target's unit."""
    square = average(residual**2, weight)
    value = _root(square.value)
    return Estimate(value, square.error / (2 * value) if value > 0 else float("nan"))


def median(values: Array, weight: Array) -> Estimate:
    """Return the weighted median of (N,) values, in their unit.

    The error is that of a quantile, as in :func:`resolution`.
    """
    number = effective_number(weight)
    step = min(0.5, float(np.sqrt(0.25 / number))) if number > 1 else 0.5
    low, middle, high = quantile(values, weight, np.array([0.5 - step, 0.5, 0.5 + step])).tolist()
    return Estimate(middle, (high - low) / 2 if number > 1 else float("nan"))


def resolution(residual: Array, weight: Array) -> Estimate:
    """Return half the width of the central 68.27 % of the residuals, in the target's unit.

    It is the standard deviation of a normal distribution and insensitive to tails. The error is that of two quantiles
    of any distribution: each moves by the error of the fraction below it over the density there (Stuart and Ord,
    Kendall's Advanced Theory of Statistics I, section 10.10), where the density is that between one error of the
    fraction below and above (Woodruff, J. Am. Stat. Assoc. 47 (1952) 635).
    """
    low, high = _ONE_SIGMA
    number = effective_number(weight)
    step = float(np.sqrt(low * high / number)) if number > 1 else low
    ends = np.clip([low - step, low, low + step, high - step, high, high + step], 0, 1)
    at = quantile(residual, weight, ends)
    value = float(at[4] - at[1]) / 2
    # how far each quantile moves for one error of its fraction; their correlation is (low (1 - high)) / (low (1 - low))
    moves = [float((at[k + 2] - at[k]) / (ends[k + 2] - ends[k])) * step for k in (0, 3)]
    variance = (moves[0] ** 2 + moves[1] ** 2 - 2 * moves[0] * moves[1] * low / high) / 4
    return Estimate(value, _root(variance) if number > 1 else float("nan"))


def r2(true: Array, predicted: Array, weight: Array) -> Estimate:
    """Return the coefficient of determination, 1 - Σw(predicted - true)²/Σw(true - mean)²; NaN for a constant truth."""
    spread = mean((true - mean(true, weight)) ** 2, weight)
    return Estimate(1 - mean((predicted - true) ** 2, weight) / spread if spread > 0 else float("nan"))


def quantile_bins(true: Array, bins: int = 10) -> Array:
    """Return the edges of bins that hold equally many of the (N,) values; fewer bins where many values are equal."""
    edges = np.unique(np.quantile(true, np.linspace(0, 1, bins + 1)))
    return edges if len(edges) > 1 else np.repeat(edges, 2)


def in_bins(true: Array, edges: Array) -> Array:
    """Return the bin of each value, 0 to len(edges) - 2; the last bin holds its upper edge."""
    return np.clip(np.searchsorted(edges, true, side="right") - 1, 0, len(edges) - 2)


def _by_score(score: Array, signal: Array, *weights: Array) -> list[Array]:
    """Return the distinct scores, rising, and of each kind of weights the sums of signal and background there."""
    values, group = np.unique(score, return_inverse=True)
    sides = (signal, ~signal)
    return [values, *(np.bincount(group[side], w[side], len(values)) for w in weights for side in sides)]


def _fraction(part: Array, total: float) -> Array:
    return part / total if total > 0 else np.full(len(part), np.nan)


def _probability_bin(score: Array, bins: int) -> Array:
    return np.clip((score * bins).astype(np.int64), 0, bins - 1)


def _root(square: float) -> float:
    return float(np.sqrt(square)) if square >= 0 else float("nan")


def _per_total(weight: Array) -> float:
    """Return what Σw²(x - mean)² is multiplied by for the squared error of a mean.

    It is 1/((Σw)² - Σw²), or 1/(Σw)² with the factor n/(n - 1); NaN for fewer than two effective rows, or one.
    """
    total, squares = float(np.sum(weight)), float(np.sum(weight**2))
    return 1 / (total**2 - squares) if total > 0 and total**2 > squares * (1 + 1e-9) else float("nan")
