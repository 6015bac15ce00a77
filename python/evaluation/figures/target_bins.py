"""Resolution and bias in bins of the true value."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from ..figure import Plot, ReportFigure
from ..results import Results
from ..style import SIX_COLOURS, cms_style, new_figure, plain_text, whole_ticks
from ..summary import TargetBins


class ResolutionAndBias(ReportFigure):
    """Resolution and bias in bins of the true value."""

    task = "regression"
    title = "Resolution and bias of {}"
    meaning = (
        "Resolution and bias in bins of the true value with equally many rows; a slope of the bias means that"
        " the predictions are pulled to the middle of the training sample."
    )
    position = 30

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        for name, bins in results.bins.items():
            yield self.plot(f"bins_{name}", target_bins(bins, name), name)


@cms_style
def target_bins(bins: TargetBins, target: str) -> Figure:
    """Draw resolution (upper panel) and bias (lower panel) in bins of the true value."""
    name = plain_text(target)
    figure = new_figure(10)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"hspace": 0.08, "height_ratios": [3, 2]})
    reach = np.abs(np.stack([bins.edges[:-1], bins.edges[1:]]) - bins.centre)
    for axes, estimates, colour in ((upper, bins.resolution, SIX_COLOURS[0]), (lower, bins.bias, SIX_COLOURS[2])):
        values, errors = np.array(estimates).T
        axes.errorbar(bins.centre, values, errors, reach, fmt="o", color=colour, markersize=8, linewidth=2)
    top = np.nanmax([e.value + np.nan_to_num(e.error) for e in bins.resolution], initial=0.0)
    upper.set_ylim(0, 1.25 * top or 1.0)
    upper.set_ylabel("Resolution (68%)")
    lower.axhline(0, color="0.4", linestyle=":", linewidth=2)
    lower.margins(y=0.2)
    lower.set(xlabel=f"True {name}", ylabel="Bias")
    whole_ticks(upper)
    whole_ticks(lower)
    figure.align_ylabels()
    return figure
