"""The learning rate by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..figure import TRAINING, Plot, ReportFigure
from ..results import Results
from ..statistics import Array
from ..style import LINE_STYLES, canvas, cms_style, palette


class LearningRateCurve(ReportFigure):
    """The learning rate by epoch."""

    title = "Learning rate"
    meaning = "Learning rate at the end of each epoch, of each fold."
    position = 101
    section = TRAINING

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        histories = [h for h in results.histories if len(h["epoch"]) > 1 and np.isfinite(h["learning_rate"]).any()]
        if histories:
            yield self.plot("learning_rate", rates(histories))


@cms_style
def rates(histories: Sequence[Mapping[str, Array]]) -> Figure:
    """Draw the learning rate of each fold by epoch."""
    figure, axes = canvas("Epoch", "Learning rate", height=7)
    for fold, (history, colour) in enumerate(zip(histories, palette(len(histories)))):
        style = LINE_STYLES[fold % len(LINE_STYLES)]
        axes.plot(history["epoch"], history["learning_rate"], color=colour, linestyle=style, label=f"fold {fold}")
    rate = np.concatenate([history["learning_rate"] for history in histories])
    if np.nanmin(rate) > 0:
        axes.set_yscale("log")
        axes.set_ylim(np.nanmin(rate) / 2, np.nanmax(rate) * 3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.minorticks_off()
    if 1 < len(histories) <= 10:
        axes.legend(loc="upper right", ncols=2)
    return figure
