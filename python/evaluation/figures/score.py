"""The densities of a score for each true class, of training and test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..figure import SCORES, Plot, ReportFigure
from ..results import Results
from ..scored import Scored
from ..style import canvas, cms_style, palette, plain_text, weighted_density
from ..summary import Comparisons, signals


class ScoreDistributions(ReportFigure):
    """The densities of a score for each true class, of training and test."""

    task = "classification"
    title = "Score of {}"
    meaning = (
        "Densities of the score for each true class, of training rows (filled) and test rows (points with "
        "statistical errors): where they differ and the Kolmogorov-Smirnov p value is small, the model is "
        "overtrained."
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
    """Draw the density of one score for each true class: filled for training rows, points for test rows."""
    figure, axes = canvas(f"Score of {plain_text(score)}", "Probability density")
    number = list(classes).index(score)
    edges = np.linspace(0, 1, 41)
    handles: list[Any] = []
    highest = 0.0
    for k, (name, colour) in enumerate(zip(classes, palette(len(classes)))):
        chosen, seen = test.of_class(k), train.of_class(k)
        filled, _ = weighted_density(train.scores[seen, number], train.weight[seen], edges)
        density, error = weighted_density(test.scores[chosen, number], test.weight[chosen], edges)
        axes.stairs(filled, edges, fill=True, color=colour, alpha=0.3)
        axes.stairs(filled, edges, color=colour, linewidth=2)
        filled_bins = error > 0
        centres = (edges[1:] + edges[:-1]) / 2
        axes.errorbar(
            centres[filled_bins],
            density[filled_bins],
            error[filled_bins],
            fmt="o",
            color=colour,
            markersize=5,
            linewidth=1.5,
        )
        highest = max(highest, np.max(filled, initial=0.0), np.max(density, initial=0.0))
        handles.append(Patch(facecolor=(colour, 0.3), edgecolor=colour, linewidth=2))
        handles[-1].set_label(f"{plain_text(name)}, KS {tests[score, name]}")
    handles.append(Patch(facecolor="0.85", edgecolor="0.4", linewidth=2, label="training"))
    handles.append(Line2D([], [], color="0.2", marker="o", linestyle="", markersize=7, label="test"))
    axes.set(xlim=(0, 1), ylim=(0, (highest or 1.0) * (1.25 + 0.07 * len(classes))))
    axes.legend(handles=handles, loc="upper center", ncols=1 if len(handles) < 5 else 2, columnspacing=1.0)
    return figure
