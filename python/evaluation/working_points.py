"""Working points: cuts on the scores of the signal classes, and what of each class passes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..config.evaluation import WorkingPoint
from . import statistics
from .scored import Scored
from .statistics import Array, Interval
from .summary import signals


@dataclass(frozen=True)
class Cut:
    """A working point of a signal class, as it was found in the test rows.

    Attributes
    ----------
    name
        Of the working point.
    signal
        The class whose score is cut on.
    definition
        What it shall keep.
    threshold
        A row passes whose score is at least this; NaN where no cut keeps what it shall.
    efficiencies
        The fraction of each class that passes, with its interval of 68 %.
    passed
        The effective number of rows of each class that pass.
    """

    name: str
    signal: str
    definition: WorkingPoint
    threshold: float
    efficiencies: Mapping[str, Interval]
    passed: Mapping[str, float]


def find_cuts(rows: Scored, classes: Sequence[str], points: Mapping[str, WorkingPoint]) -> list[Cut]:
    """Return the working points of all signal classes, by class."""
    return [cut for signal in signals(classes) for cut in _of_signal(rows, classes, signal, points)]


def _of_signal(rows: Scored, classes: Sequence[str], signal: str, points: Mapping[str, WorkingPoint]) -> list[Cut]:
    score, masks = rows.scores[:, list(classes).index(signal)], [rows.of_class(k) for k in range(len(classes))]
    cuts = []
    for name, point in points.items():
        if point.against == signal:
            continue
        is_signal = masks[list(classes).index(signal)]
        is_background = ~is_signal if point.against is None else masks[list(classes).index(point.against)]
        limit = threshold(score, is_signal, is_background, rows.weight, point)
        passes = score >= limit  # nothing where it is NaN
        if np.isnan(limit):
            intervals = dict.fromkeys(classes, Interval(np.nan, np.nan, np.nan))
        else:
            intervals = {n: statistics.efficiency(passes[m], rows.weight[m]) for n, m in zip(classes, masks)}
        passed = {n: statistics.effective_number(rows.weight[m & passes]) for n, m in zip(classes, masks)}
        cuts.append(Cut(name, signal, point, limit, intervals, passed))
    return cuts


def threshold(score: Array, signal: Array, background: Array, weight: Array, point: WorkingPoint) -> float:
    """Return the cut of a working point, the score of a row; NaN where no row may pass, or a class is absent.

    Going down from the highest score it is the first one that keeps enough signal, or the last one before too much
    background passes. With negative weights, efficiencies need not rise on this way: later places do not count.

    Parameters
    ----------
    score, weight
        (N,) each.
    signal, background
        Which rows are of these classes, (N,) bool; others do not count.
    point
        What the cut shall keep.
    """
    chosen = signal | background
    curve = statistics.roc_curve(score[chosen], signal[chosen], weight[chosen])
    if point.signal is not None:
        enough = curve.signal >= point.signal * (1 - 1e-12)
        return float(curve.threshold[np.argmax(enough)]) if enough.any() else float("nan")
    assert point.background is not None  # noqa: S101 - WorkingPoint has seen to it
    too_much = curve.background > point.background * (1 + 1e-12)
    last = int(np.argmax(too_much)) - 1 if too_much.any() else len(curve.threshold) - 1
    defined = last > 0 and bool(np.isfinite(curve.background[last]))
    return float(curve.threshold[last]) if defined else float("nan")


def middle(cuts: Sequence[Cut]) -> list[Cut]:
    """Return the middle one of the working points of each signal class that have a threshold."""
    by_signal: dict[str, list[Cut]] = {}
    for cut in cuts:
        if np.isfinite(cut.threshold):
            by_signal.setdefault(cut.signal, []).append(cut)
    return [of_signal[len(of_signal) // 2] for of_signal in by_signal.values()]


def definition(cut: Cut) -> str:
    """Say in words what a working point keeps."""
    if cut.definition.signal is not None:
        return f"{cut.definition.signal:.4g} of {cut.signal}"
    background = cut.definition.against or "the background"
    return f"{cut.definition.background:.4g} of {background}"
