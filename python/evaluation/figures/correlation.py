"""How inputs, other columns and scores go together in each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from ..figure import INPUTS, Plot, ReportFigure
from ..inputs import RowTable, correlation
from ..results import Results
from ..statistics import Array
from ..style import cms_style, new_figure, shortened

_MOST_COLUMNS = 24
_MOST_NUMBERS = 12
_DARK = 0.6
_COLOURS = colormaps["RdBu_r"].with_extremes(bad="0.85")


class CorrelationMatrices(ReportFigure):
    """How inputs, other columns and scores go together in each class."""

    title = "Correlation in {}"
    meaning = (
        "Linear correlation coefficients in percent, of test rows with their weights; of lists the first constituent "
        "counts. A score that goes with a column which the fit needs later shapes it."
    )
    position = 40
    section = INPUTS

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        table = results.table
        if table is None:
            return
        table = table.select(chosen_columns(table, results))
        labels = [_label(name) for name in table.names]
        for number, name in enumerate(results.lines):
            rows = table.label == number
            if np.count_nonzero(rows) > 1:
                figure = matrix(correlation(table.values[rows], table.weight[rows]), labels)
                yield self.plot(f"correlation_{name}", figure, name if results.task == "classification" else "all rows")


def chosen_columns(table: RowTable, results: Results) -> list[str]:
    """Choose the most important features, and all else."""
    decrease = results.importance.by_name
    features = [name for name in table.names if name.removesuffix("[0]") in decrease]
    others = [name for name in table.names if name not in features]
    room = max(_MOST_COLUMNS - len(others), _MOST_COLUMNS // 2)
    best = sorted(features, key=lambda name: -decrease[name.removesuffix("[0]")])[:room]
    return [name for name in table.names if name in {*best, *others[:_MOST_COLUMNS]}]


def _label(name: str) -> str:
    """Return what a column of the table is called; that of the first constituent by the title of all."""
    kind, _, rest = name.partition(" ")
    if kind in ("score", "predicted") and rest:
        return f"{kind} {shortened(rest)}"
    feature = name.removesuffix("[0]")
    return shortened(feature, 20) if feature == name else f"{shortened(feature, 17)}[0]"


@cms_style
def matrix(coefficients: Array, labels: Sequence[str]) -> Figure:
    """Draw a correlation matrix, (V, V); numbers stand in it where there is room."""
    number = len(labels)
    figure = new_figure(10)
    axes = figure.add_subplot()
    drawn = axes.imshow(coefficients, cmap=_COLOURS, vmin=-1, vmax=1, aspect="auto")
    size = min(18.0, 300 / number)
    axes.set_xticks(range(number), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(number), labels, fontsize=size)
    axes.tick_params(which="both", length=0)
    axes.minorticks_off()
    if number <= _MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(coefficients):
            if np.isfinite(value):
                colour = "white" if abs(value) > _DARK else "black"
                text = f"{100 * value:.0f}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
    figure.colorbar(drawn, ax=axes, label="Correlation")
    return figure
