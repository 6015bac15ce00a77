"""The permutation importance of the features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from ..figure import INPUTS, Plot, ReportFigure
from ..importance import Importance
from ..results import Results
from ..style import SIX_COLOURS, canvas, cms_style, shortened

_MOST_FEATURES = 30


class FeatureImportance(ReportFigure):
    """The permutation importance of the features."""

    title = "Permutation importance"
    meaning = (
        "How much the {} drops when the values of one feature are shuffled among the test rows (constituents:"
        " among all constituents), with the spread of the permutations; correlated features share their "
        "importance."
    )
    position = 110
    section = INPUTS

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        yield self.plot("importance", importance(results.importance, results.watched), results.watched)


@cms_style
def importance(measured: Importance, metric: str) -> Figure:
    """Draw the mean decrease of a metric for the most important features, with the spread of the permutations."""
    order = np.argsort(measured.mean)[-_MOST_FEATURES:]
    figure, axes = canvas(f"Decrease of {metric}", "", height=max(4.0, 1.8 + 0.45 * len(order)))
    axes.barh(range(len(order)), measured.mean[order], color=SIX_COLOURS[0], height=0.7)
    axes.errorbar(
        measured.mean[order], range(len(order)), xerr=measured.spread[order], fmt="none", color="black", linewidth=2
    )
    axes.set_yticks(range(len(order)), [shortened(measured.names[k], 40) for k in order], fontsize=20)
    axes.tick_params(axis="y", which="both", length=0)
    axes.axvline(0, color="black", linewidth=1.5)
    axes.set_ylim(-0.6, len(order) - 0.4)
    return figure
