"""Integrated gradients of the features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from ...models.attribution import Attribution
from ..figure import INPUTS, Plot, ReportFigure
from ..results import Results
from ..style import SIX_COLOURS, canvas, cms_style, shortened

_MOST_FEATURES = 30


class FeatureAttribution(ReportFigure):
    """What the features add to the scores, where ``evaluation.integrated_gradients`` asks for it."""

    title = "Integrated gradients"
    meaning = (
        "How much the value of a feature moves {} of a row, against the average of the rows: the mean size over rows, "
        "with its error; what all features add to a row sums up to the difference of its score."
    )
    position = 115
    section = INPUTS

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        if results.attribution is not None:
            what = "the scores" if results.task == "classification" else "the predictions"
            yield self.plot("attribution", attribution(results.attribution), what)


@cms_style
def attribution(measured: Attribution) -> Figure:
    """Draw the mean size of what the most important features add to scores, with its error."""
    order = np.argsort(measured.mean)[-_MOST_FEATURES:]
    figure, axes = canvas("Mean size of the attribution", "", height=max(4.0, 1.8 + 0.45 * len(order)))
    axes.barh(range(len(order)), measured.mean[order], color=SIX_COLOURS[0], height=0.7)
    axes.errorbar(
        measured.mean[order], range(len(order)), xerr=measured.error[order], fmt="none", color="black", linewidth=2
    )
    axes.set_yticks(range(len(order)), [shortened(measured.names[k], 40) for k in order], fontsize=20)
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_ylim(-0.6, len(order) - 0.4)
    return figure
