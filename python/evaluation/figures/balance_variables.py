"""What the balance of the training did to the distribution of each variable."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from ...balance.effect import before_and_after, bin_shares
from ..figure import TRAINING, Plot, ReportFigure
from ..results import Results
from ..statistics import Array
from ..style import LINE_STYLES, cms_style, new_figure, palette, plain_text


class BalanceOfVariables(ReportFigure):
    """What the balance of the training did to the distribution of each variable."""

    title = "Balance of {}"
    meaning = (
        "How the weights of each class of training rows are distributed over the bins of the reweighting, "
        "without it and as the loss takes them. The first and the last bin hold what is beyond them, too."
    )
    position = 120
    section = TRAINING

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        if not results.weight_factors:
            return
        first = results.weight_factors[0]
        for name, edges in first.edges.items():
            stages = [bin_shares(first, sums.sum(axis=0), name) for sums in before_and_after(results.weight_factors)]
            file = f"balance_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"
            yield self.plot(file, shares(stages, edges, first.classes, name), name)


@cms_style
def shares(stages: Sequence[Array], edges: Sequence[float], classes: Sequence[str], variable: str) -> Figure:
    """Draw how each class is distributed over bins, (C, n), before (upper panel) and after (lower panel) a balance."""
    figure = new_figure(10)
    panels = figure.subplots(2, 1, sharex=True, gridspec_kw={"hspace": 0.08})
    for axes, stage, label in zip(panels, stages, ("before", "after")):
        for k, (name, colour) in enumerate(zip(classes, palette(len(classes)))):
            look = {"color": colour, "linestyle": LINE_STYLES[k % len(LINE_STYLES)], "linewidth": 3}
            axes.stairs(stage[k], edges, baseline=None, label=plain_text(name), **look)
        least, most = np.min(stage[stage > 0]), np.max(stage)
        steep = most > 30 * least
        axes.set(ylabel=f"Share {label}", yscale="log" if steep else "linear")
        axes.set_ylim((least / 3, most * 8) if steep else (min(0.0, 1.1 * np.min(stage)), 1.5 * most))
    panels[0].legend(loc="upper right", ncols=2 if len(classes) > 3 else 1)
    panels[1].set(xlabel=plain_text(variable), xlim=(edges[0], edges[-1]))
    panels[1].xaxis.set_major_formatter("{x:.6g}")
    figure.align_ylabels()
    return figure
