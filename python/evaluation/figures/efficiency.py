"""What passes a working point, in bins of columns of the rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from ...distributions.variable import plain_names
from .. import statistics
from ..figure import Plot, ReportFigure
from ..results import Results
from ..statistics import Array
from ..style import MARKERS, cms_style, new_figure, palette, plain_text
from ..variables import BinnedColumn, binned
from ..working_points import Cut, definition, middle


class EfficiencyOfWorkingPoint(ReportFigure):
    """What passes a working point, in bins of columns of the rows."""

    task = "classification"
    title = "Efficiency against {}"
    meaning = (
        "The fraction of each class that passes a cut on the score, in bins of {}, with statistical errors; above that "
        "of the signal, below those of the other classes. The first and the last bin hold what is beyond them, too."
    )
    position = 37

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        names = plain_names(results.columns)
        for name, values in results.columns.items():
            column = binned(values)
            for cut in middle(results.cuts) if len(column.edges) > 1 else ():
                file = f"efficiency_{cut.signal}_{names[name]}"
                lost = f"{column.missing:.1%} of the rows have no value of it." if column.missing else ""
                yield self.plot(file, efficiencies(results, cut, name, column), name, note=lost)


@cms_style
def efficiencies(results: Results, cut: Cut, variable: str, column: BinnedColumn) -> Figure:
    """Draw the efficiency of the signal class, and below that of each other class, at a working point."""
    figure = new_figure(11)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"hspace": 0.08, "height_ratios": [2, 3]})
    passes = results.test.scores[:, results.outputs.index(cut.signal)] >= cut.threshold
    highest, least = 0.0, 1.0
    for k, (name, colour) in enumerate(zip(results.outputs, palette(len(results.outputs)))):
        of_class = results.test.of_class(k)
        values, low, high = _in_bins(results, passes, of_class, column)
        axes = upper if name == cut.signal else lower
        look = {"color": colour, "marker": MARKERS[k % len(MARKERS)], "linestyle": "", "markersize": 8}
        errors = np.nan_to_num([values - low, high - values])
        axes.errorbar(
            column.centres, values, errors, column.reach, label=plain_text(name), linewidth=2, **look
        )  # fmt: skip
        if axes is lower:
            highest = max(highest, float(np.nanmax(high, initial=0.0)))
            least = min(least, float(np.nanmin(np.where(values > 0, values, np.nan), initial=1.0)))
    upper.set(ylabel="Signal efficiency", ylim=(0, 1.4))
    title = f"{plain_text(cut.name)}: {plain_text(definition(cut))}"
    upper.legend(loc="upper left", title=title, title_fontsize="small", alignment="left")
    highest = highest or 1.0
    steep = least < 0.05 * highest
    limits = (least / 3, highest * (highest / least) ** 0.6) if steep else (0, highest * 1.5)
    lower.set(xlabel=plain_text(variable), yscale="log" if steep else "linear", ylim=limits, xlim=column.edges[[0, -1]])
    lower.set_ylabel("Background efficiency")
    lower.legend(loc="upper left", ncols=2)
    figure.align_ylabels()
    return figure


def _in_bins(results: Results, passes: Array, of_class: Array, column: BinnedColumn) -> Array:
    """Return the efficiency of a class and the ends of its interval in each bin, (3, B)."""
    intervals = [
        statistics.efficiency(passes[rows & of_class], results.test.weight[rows & of_class]) for rows in column.bins
    ]
    return np.array(intervals, dtype=float).T
