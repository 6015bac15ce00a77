"""Rows and weights of each class, before and after the balance of the training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ...balance.effect import before_and_after, class_totals
from ..figure import TRAINING, Plot, ReportFigure
from ..results import Results
from ..statistics import Array
from ..style import SIX_COLOURS, cms_style, new_figure, shortened


class BalanceOfClasses(ReportFigure):
    """Rows and weights of each class, before and after the balance of the training."""

    title = "Balance of the classes"
    meaning = (
        "Training rows of each class, without any balance and as the loss takes them: their share of all "
        "weights; how much of their weight is negative, Σ|w| of the negative weights over Σ|w|; and how many "
        "rows of equal weights would be as precise, (Σw)²/Σw², for each row."
    )
    position = 130
    section = TRAINING

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        if not results.weight_factors:
            return
        classes = results.weight_factors[0].classes
        sums = before_and_after(results.weight_factors)
        if len(classes) > 1 or sums[0][1].any():
            yield self.plot("balance", totals(class_totals(results.weight_factors, sums), classes))


@cms_style
def totals(values: Mapping[str, Array], classes: Sequence[str]) -> Figure:
    """Draw numbers of each class, (2, C), before and after a balance; each kind has a panel."""
    figure = new_figure(12)
    panels = figure.subplots(len(values), 1, sharex=True, gridspec_kw={"hspace": 0.12})
    positions = np.arange(len(classes))
    for axes, (quantity, stages) in zip(panels, values.items()):
        for k, (label, colour) in enumerate({"before": SIX_COLOURS[4], "after": SIX_COLOURS[0]}.items()):
            axes.bar(positions + 0.4 * (k - 0.5), stages[k], 0.38, color=colour, label=label)
        axes.set(ylabel=quantity, ylim=(min(0.0, np.min(stages)), 1.3 * max(0.01, np.max(stages))))
        axes.tick_params(axis="x", which="both", length=0)
    panels[0].legend(loc="upper right", ncols=2)
    names = [shortened(name) for name in classes]
    panels[-1].set_xticks(positions, names, rotation=0 if max(map(len, names)) * len(names) < 48 else 45)
    figure.align_ylabels()
    return figure
