"""Background rejection against signal efficiency."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import statistics
from ..figure import Plot, ReportFigure
from ..results import Results
from ..scored import Scored
from ..statistics import Array
from ..style import class_looks, cms_style, contest_text, panels, plain_text, ratio_axis, ratio_of, roc_curves

_EFFICIENCIES = np.linspace(0.02, 1, 50)
_LEFT = 10
"""So many effective background rows have to pass."""


class RejectionCurve(ReportFigure):
    """Background rejection against signal efficiency."""

    task = "classification"
    title = "Background rejection"
    meaning = (
        "One over the fraction of the background that passes, against the fraction of the signal, with statistical "
        "errors (bands), where ten background rows or more are left. Below, {}."
    )
    position = 21

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        folds = len(results.folds) > 1
        below = "that of each fold over that of all" if folds else "that of test rows over that of training rows"
        yield self.plot("roc_rejection", rejections(results), below)


@cms_style
def rejections(results: Results) -> Figure:
    """Draw the rejection of each signal class, and below those of the folds, or of test over training rows."""
    folds = [fold.test for fold in results.folds] if len(results.folds) > 1 else []
    below = "Fold / all" if folds else "Test / training"
    figure, axes, ratio = panels("Signal efficiency", r"Background rejection 1/$\varepsilon_\mathrm{b}$", below)
    test = _curves(results.test, results.outputs)
    others = [_curves(rows, results.outputs) for rows in folds or [results.train]]
    highest = 10.0
    for name, look in class_looks(results.outputs):
        values, errors = test[name]
        axes.plot(_EFFICIENCIES, values, label=plain_text(name), **look)
        axes.fill_between(_EFFICIENCIES, values - errors, values + errors, color=look["color"], alpha=0.25, linewidth=0)
        highest = max(highest, float(np.nanmax(values, initial=1.0)))
        for other in others:
            first, second = (other[name], test[name]) if folds else (test[name], other[name])
            _ratio(ratio, *ratio_of(first, second), look, banded=not folds)
    axes.set(xlim=(0, 1), yscale="log", ylim=(1, highest ** (1.15 + 0.06 * len(results.outputs))))
    ratio_axis(ratio)
    axes.legend(loc="upper right", title=contest_text(results.outputs), alignment="left", title_fontsize="small")
    return figure


def _ratio(axes: Axes, values: Array, errors: Array, look: dict[str, Any], *, banded: bool) -> None:
    axes.plot(_EFFICIENCIES, values, **{**look, "linewidth": 2 if banded else 1.2})
    if banded:
        axes.fill_between(_EFFICIENCIES, values - errors, values + errors, color=look["color"], alpha=0.25, linewidth=0)


def _curves(rows: Scored, classes: tuple[str, ...]) -> dict[str, tuple[Array, Array]]:
    """Return the rejection and its error at some signal efficiencies, (E,) each, by class; NaN where few are left."""
    curves = {}
    for name, curve, _ in roc_curves(rows, classes):
        number = statistics.effective_number(rows.weight[~rows.of_class(classes.index(name))])
        estimates = np.array([statistics.rejection(curve, efficiency) for efficiency in _EFFICIENCIES])
        values, errors = np.where(estimates[:, :1] < number / _LEFT, estimates, np.nan).T
        curves[name] = values, errors
    return curves
