"""The loss of each fold by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..figure import TRAINING, Plot, ReportFigure
from ..results import Results
from ..statistics import Array
from ..style import TEN_COLOURS, canvas, cms_style, palette


class LossCurves(ReportFigure):
    """The loss of each fold by epoch."""

    title = "Loss"
    meaning = (
        "Loss by epoch, training dashed and validation solid, of each fold; the dot marks the best validation"
        " loss. A validation loss that rises while the training loss falls means overtraining."
    )
    position = 100
    section = TRAINING

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        if results.histories:
            yield self.plot("loss", loss(results.histories))


@cms_style
def loss(histories: Sequence[Mapping[str, Array]]) -> Figure:
    """Draw the loss of each fold by epoch: training dashed, validation solid, its minimum marked.

    ``histories`` holds the columns ``epoch``, ``train_loss`` and ``val_loss`` (NaN where there was no validation).
    """
    figure, axes = canvas("Epoch", "Loss")
    colours = palette(len(histories))
    handles = [
        Line2D([], [], color="0.3", linestyle="--", label="training"),
        Line2D([], [], color="0.3", linestyle="-", label="validation"),
    ]
    if 1 < len(histories) <= len(TEN_COLOURS):
        handles += [Line2D([], [], color=colour, label=f"fold {fold}") for fold, colour in enumerate(colours)]
    for history, colour in zip(histories, colours):
        epoch, validation = history["epoch"], history["val_loss"]
        axes.plot(epoch, history["train_loss"], color=colour, linestyle="--")
        if np.isfinite(validation).any():
            best = np.nanargmin(validation)
            axes.plot(epoch, validation, color=colour)
            axes.plot(epoch[best], validation[best], "o", color=colour, markersize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.minorticks_off()
    axes.margins(y=0.1)
    axes.legend(handles=handles, loc="upper right", ncols=1 if len(handles) < 6 else 2)
    return figure
