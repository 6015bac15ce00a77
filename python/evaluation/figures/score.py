"""The densities of a score for each true class, of training and test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..figure import SCORES, Plot, ReportFigure
from ..results import Results
from ..scored import Scored
from ..statistics import Array
from ..style import (
    LINE_STYLES,
    MARKERS,
    cms_style,
    new_figure,
    palette,
    plain_text,
    ratio_axis,
    ratio_of,
    weighted_density,
)
from ..summary import Comparisons, signals

_EDGES = np.linspace(0, 1, 41)


class ScoreDistributions(ReportFigure):
    """The densities of a score for each true class, of training and test."""

    task = "classification"
    title = "Score of {}"
    meaning = (
        "Densities of the score for each true class, of training rows (filled) and test rows (points with "
        "statistical errors), with a linear and a logarithmic axis, and their ratio: where they differ and the "
        "Kolmogorov-Smirnov p value is small, the model is overtrained."
    )
    position = 30
    section = SCORES

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        for name in signals(results.outputs):
            figure = scores(results.train, results.test, results.outputs, name, results.tests)
            yield self.plot(f"score_{name}", figure, name)


@cms_style
def scores(train: Scored, test: Scored, classes: Sequence[str], score: str, tests: Comparisons) -> Figure:
    """Draw the density of one score for each true class, lines for training rows and points for test rows.

    It is drawn with a linear and a logarithmic axis, above the ratio of the two.
    """
    figure = new_figure(15)
    linear, log, ratio = figure.subplots(3, 1, sharex=True, gridspec_kw={"hspace": 0.06, "height_ratios": [5, 4, 2]})
    number = list(classes).index(score)
    handles: list[Any] = []
    drawn: list[Array] = []
    for k, (name, colour) in enumerate(zip(classes, palette(len(classes)))):
        chosen, seen = test.of_class(k), train.of_class(k)
        line = weighted_density(train.scores[seen, number], train.weight[seen], _EDGES)
        points = weighted_density(test.scores[chosen, number], test.weight[chosen], _EDGES)
        style: Any = LINE_STYLES[k % len(LINE_STYLES)]
        for axes in (linear, log):
            axes.stairs(line[0], _EDGES, fill=True, color=colour, alpha=0.2)
            axes.stairs(line[0], _EDGES, linewidth=2, color=colour, linestyle=style)
            _points(axes, *points, k, colour)
        _points(ratio, *ratio_of(points, line), k, colour)
        drawn += [line[0], points[0]]
        handles.append(Patch(facecolor=(colour, 0.2), edgecolor=colour, linewidth=2, linestyle=style))
        handles[-1].set_label(f"{plain_text(name)}, KS {tests[score, name]}")
    handles.append(Patch(facecolor="0.9", edgecolor="0.4", linewidth=2, label="training"))
    handles.append(Line2D([], [], color="0.2", marker="o", linestyle="", markersize=7, label="test"))
    linear.legend(handles=handles, loc="upper center", ncols=1 if len(handles) < 5 else 2, columnspacing=1.0)
    _label(linear, log, ratio, np.concatenate(drawn), score, len(classes))
    figure.align_ylabels()
    return figure


def _points(axes: Axes, values: Array, errors: Array, number: int, colour: str) -> None:
    good = np.isfinite(values) & (errors > 0)
    centres = (_EDGES[1:] + _EDGES[:-1]) / 2
    marker = MARKERS[number % len(MARKERS)]
    axes.errorbar(centres[good], values[good], errors[good], fmt=marker, color=colour, markersize=5, linewidth=1.5)


def _label(linear: Axes, log: Axes, ratio: Axes, densities: Array, score: str, classes: int) -> None:
    highest = float(np.max(densities, initial=0.0)) or 1.0
    lowest = max(float(np.min(densities, where=densities > 0, initial=highest)), highest * 1e-8)
    linear.set(xlim=(0, 1), ylim=(0, highest * (1.25 + 0.07 * classes)), ylabel="Probability density")
    log.set(yscale="log", ylim=(lowest / 2, highest * 3), ylabel="Probability density")
    ratio.set(xlabel=f"Score of {plain_text(score)}")
    ratio.set_ylabel("Test / training", loc="center", fontsize="small")
    ratio_axis(ratio)
