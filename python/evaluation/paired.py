"""How runs that were tested on the same rows differ: by pairs of scores of a row, so that what they share cancels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from scipy.special import erfc

from ..errors import DataError
from . import statistics
from .scored import Prediction, Scored
from .statistics import Array, Estimate
from .summary import signals

FILE = "test_rows.npz"
MOST_ROWS = 1_000_000
"""So many test rows are kept, chosen by chance."""
BOOTSTRAP_ROWS, REPLICATES = 50_000, 200
_SEED = 1
_DELONG, _BOOTSTRAP = "DeLong", "bootstrap"


@dataclass(frozen=True)
class Difference:
    """A figure of merit of one run minus that of another, and how probable one so large is if both are equally good.

    ``method`` is "DeLong" or "bootstrap".
    """

    estimate: Estimate
    method: str

    @property
    def p_value(self) -> float:
        """Two-sided, of a normal distribution; NaN without an error."""
        value, error = self.estimate
        if value == 0:
            return 1.0
        return float(erfc(abs(value) / error / np.sqrt(2))) if error > 0 else float("nan")

    def __str__(self) -> str:
        """Write both, e.g. ``0.012 ± 0.003, p < 0.001``."""
        p = self.p_value
        text = "p undefined" if np.isnan(p) else "p < 0.001" if p < 0.001 else f"p = {p:.{3 if p < 0.01 else 2}f}"
        return f"{self.estimate}, {text}"


def save_rows(path: Path, rows: Scored) -> None:
    """Write scores, truth and weights of the test rows, of many a random subset."""
    rng = np.random.default_rng(_SEED)
    chosen = slice(None) if len(rows) <= MOST_ROWS else np.sort(rng.choice(len(rows), MOST_ROWS, replace=False))
    np.savez(path, scores=rows.scores[chosen], truth=rows.truth[chosen], weight=rows.weight[chosen])


def read_rows(path: Path) -> Scored | None:
    """Read what :func:`save_rows` wrote; None where an earlier version did not.

    Raises
    ------
    DataError
        When the file is broken.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as content:
            scores, truth, weight = (content[name] for name in ("scores", "truth", "weight"))
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise DataError(f"{path}: cannot be read ({error}): run 'nanoforge evaluate --force' again") from None
    return Scored(scores, truth, weight, weight)


def differences(first: Scored, other: Scored, task: str, outputs: Sequence[str]) -> dict[str, Difference]:
    """Return by how much the figures of merit of the second run exceed those of the first, on the same rows, by name.

    Of a classification these are the areas under the ROC curves by DeLong's method (see
    :func:`.statistics.auc_difference`) and the background rejections at half of the signal; of a regression bias, RMS,
    resolution and R². Errors of all but the areas are those of a bootstrap of the rows, each with its pair of scores.
    """
    if task == "regression":
        return _of_regression(first, other, outputs)
    found = {}
    for name in signals(outputs):
        a, b = (rows.against_rest(list(outputs).index(name)) for rows in (first, other))
        area = statistics.auc_difference(a.score, b.score, a.signal, a.weight)
        found[f"auc.{name}"] = Difference(area, _DELONG)
        tried = [(_rejection(rows.score, rows.signal)) for rows in (a, b)]
        found[f"rejection.{name}.50"] = Difference(_bootstrapped(tried, a.weight), _BOOTSTRAP)
    return found


Statistic = Callable[[Array, Array], float]
"""Of the numbers of some rows, and their weights."""


def _rejection(score: Array, signal: Array) -> Statistic:
    def statistic(rows: Array, weight: Array) -> float:
        return statistics.rejection(statistics.roc_curve(score[rows], signal[rows], weight), 0.5).value

    return statistic


def _of_regression(first: Scored, other: Scored, outputs: Sequence[str]) -> dict[str, Difference]:
    found = {}
    for k, name in enumerate(outputs):
        pair = [rows.of_target(k) for rows in (first, other)]
        for metric, of_rows in _MERITS.items():
            tried = [_merit(of_rows, rows) for rows in pair]
            found[f"{metric}.{name}"] = Difference(_bootstrapped(tried, pair[0].weight), _BOOTSTRAP)
    return found


def _merit(of_rows: Callable[[Array, Array, Array], Estimate], rows: Prediction) -> Statistic:
    return lambda chosen, weight: of_rows(rows.true[chosen], rows.predicted[chosen], weight).value


_MERITS: dict[str, Callable[[Array, Array, Array], Estimate]] = {
    "bias": lambda true, predicted, weight: statistics.average(predicted - true, weight),
    "rms": lambda true, predicted, weight: statistics.rms(predicted - true, weight),
    "resolution": lambda true, predicted, weight: statistics.resolution(predicted - true, weight),
    "r2": statistics.r2,
}


def _bootstrapped(pair: Sequence[Statistic], weight: Array) -> Estimate:
    """Return the difference of a pair of statistics with the spread of it when each row counts a Poisson number.

    Of many rows a random subset is drawn from, whose spread is scaled to that of all.
    """
    every = np.arange(len(weight))
    value = pair[1](every, weight) - pair[0](every, weight)
    rng = np.random.default_rng(_SEED)
    rows = every if len(every) <= BOOTSTRAP_ROWS else rng.choice(every, BOOTSTRAP_ROWS, replace=False)
    drawn = []
    for _ in range(REPLICATES if len(rows) else 0):
        times = rng.poisson(1.0, len(rows)) * weight[rows]
        drawn.append(pair[1](rows, times) - pair[0](rows, times))
    finite = np.array(drawn)[np.isfinite(drawn)] if drawn else np.zeros(0)
    if len(finite) < REPLICATES // 2 or not np.isfinite(value):
        return Estimate(float(value))
    return Estimate(float(value), float(np.std(finite, ddof=1)) * float(np.sqrt(len(rows) / len(every))))
