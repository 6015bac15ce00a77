"""The permutation importance of the features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
        " among all constituents), with the spread of the permutations. Correlated features share their importance, so "
        "that groups of them (hatched) are shuffled together, too."
    )
    position = 110
    section = INPUTS

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        yield self.plot("importance", importance(results.importance, results.groups, results.watched), results.watched)


@cms_style
def importance(single: Importance, groups: Importance, metric: str) -> Figure:
    """Draw the mean decrease of a metric for the most important features, with the spread of the permutations."""
    names, means, spreads = ([*getattr(single, part), *getattr(groups, part)] for part in ("names", "mean", "spread"))
    order = np.argsort(means)[-_MOST_FEATURES:]
    figure, axes = canvas(f"Decrease of {metric}", "", height=max(4.0, 1.8 + 0.45 * len(order)))
    for place, k in enumerate(order):
        joint: dict[str, Any] = (
            {"color": SIX_COLOURS[1], "hatch": "//"} if k >= len(single.names) else {"color": SIX_COLOURS[0]}
        )
        axes.barh(place, means[k], height=0.7, edgecolor="black", linewidth=0.5, **joint)
        axes.errorbar(means[k], place, xerr=spreads[k], fmt="none", color="black", linewidth=2)
    axes.set_yticks(range(len(order)), [shortened(names[k], 40) for k in order], fontsize=20)
    axes.tick_params(axis="y", which="both", length=0)
    axes.axvline(0, color="black", linewidth=1.5)
    axes.set_ylim(-0.6, len(order) - 0.4)
    return figure
