"""How each input is distributed in the training and in the test, class by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...distributions.axis import Range
from ...distributions.counts import ABOVE, BELOW, INVALID, BinCounts, Binning
from ...distributions.histogram import weighted_histogram
from ...distributions.variable import file_names
from ..figure import INPUTS, Plot, ReportFigure
from ..inputs import ordered
from ..results import Results
from ..statistics import Array
from ..style import LINE_STYLES, cms_style, new_figure, palette, plain_text, whole_ticks

MOST_FIGURES = 16
"""The most important ones are drawn; the histograms of all are in the ROOT file."""
_LITTLE = 0.001
_TRAINING, _TEST = "training", "test"


class InputVariables(ReportFigure):
    """How each input is distributed in the training and in the test, class by class."""

    title = "{}"
    meaning = "Densities in the training (lines) and the test (points), and the ratio of test to training."
    position = 10
    section = INPUTS

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        inputs = results.inputs
        if inputs is None:
            return
        variables = ordered(inputs.variables, results.importance.by_name)
        names = file_names(variables)
        for number, variable in enumerate(variables):
            training, test = inputs.counts(variable)
            binning = inputs.test[variable].binning
            kept = {
                f"inputs/{names[variable]}/{part}_{line}": weighted_histogram(binning.drawn, sums, variable.label)
                for part, counts in ((_TRAINING, training), (_TEST, test))
                for line, sums in zip(results.lines, counts.drawn)
            }
            if number < MOST_FIGURES:
                figure = distributions(training, test, binning.drawn, results.lines, variable.label)
                note = said_of(binning, training, test)
                yield self.plot(f"input_{names[variable]}", figure, variable.label, histograms=kept, note=note)
            else:
                yield self.histograms_only(names[variable], kept)


def said_of(binning: Binning, training: BinCounts, test: BinCounts) -> str:
    """Say which shares of the values are missing, special or not in the figure; of weights, of all classes together."""
    lines = []
    for number, name in enumerate(binning.shares):
        shares = [_share(counts.shares[0, number], counts) for counts in (training, test)]
        if name not in (BELOW, ABOVE) and max(shares) > _LITTLE:
            what = "missing (NaN)" if name == INVALID else f"exactly {name}"
            lines.append(f"{_percent(shares)} are {what}")
    beyond = [[_share(c.drawn[:, 0, side].sum(), c) for c in (training, test)] for side in (0, -1)]
    for shares, where in zip(beyond, ("below", "above")):
        if max(shares) > _LITTLE:
            lines.append(f"{_percent(shares)} are {where} the axis")
    return f"Of training and test {', '.join(lines)}." if lines else ""


def _share(part: float, counts: BinCounts) -> float:
    return float(part / counts.total[0]) if counts.total[0] > 0 else 0.0


def _percent(shares: Sequence[float]) -> str:
    first, second = (f"{100 * share:.1f}" for share in shares)
    return f"{first} %" if first == second else f"{first} and {second} %"


@cms_style
def distributions(training: BinCounts, test: BinCounts, drawn: Range, classes: Sequence[str], label: str) -> Figure:
    """Draw the densities of all classes, training as lines and test as points, above their ratio."""
    figure = new_figure(10)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1), gridspec_kw={"hspace": 0.06})
    handles: list[Any] = []
    highest = 0.0
    for k, (name, colour) in enumerate(zip(classes, palette(len(classes)))):
        style = LINE_STYLES[k % len(LINE_STYLES)]
        (line, line_error), (points, error) = (_density(counts.drawn[k], drawn) for counts in (training, test))
        upper.stairs(line, drawn.edges, fill=True, color=colour, alpha=0.15)
        upper.stairs(line, drawn.edges, color=colour, linewidth=2, linestyle=style)
        _points(upper, drawn, points, error, colour)
        _ratio(lower, drawn, (line, line_error), (points, error), colour)
        highest = max(highest, float(np.max(line, initial=0)), float(np.max(points, initial=0)))
        look: dict[str, Any] = {"linestyle": style, "linewidth": 2, "label": plain_text(name)}
        handles.append(Patch(facecolor=(colour, 0.15), edgecolor=colour, **look))
    handles.append(Line2D([], [], color="0.2", marker="o", linestyle="", markersize=7, label=_TEST))
    upper.set(ylabel="Density", ylim=(0, (highest or 1.0) * (1.25 + 0.07 * len(classes))))
    upper.legend(handles=handles, loc="upper right", ncols=1 if len(handles) < 5 else 2)
    lower.axhline(1, color="0.5", linewidth=1)
    lower.set(
        xlabel=plain_text(label),
        ylabel="Test / train",
        ylim=(0.5, 1.5),
        yticks=(0.75, 1, 1.25),
        xlim=(drawn.low, drawn.high),
    )
    for axes in (upper, lower):
        axes.minorticks_off()  # they would take a third of the time
    whole_ticks(upper)
    lower.xaxis.set_major_formatter("{x:.6g}")
    figure.align_ylabels()
    return figure


def _density(sums: Array, drawn: Range) -> tuple[Array, Array]:
    """Return the density and its error in each bin, (D,), of sums of weights and squares, (2, D + 2)."""
    total = sums[0].sum()
    if not total > 0:
        return np.zeros(drawn.bins), np.zeros(drawn.bins)
    width = (drawn.high - drawn.low) / drawn.bins
    return sums[0, 1:-1] / total / width, np.sqrt(sums[1, 1:-1]) / total / width


def _points(axes: Axes, drawn: Range, values: Array, errors: Array, colour: str) -> None:
    centres, filled = (drawn.edges[1:] + drawn.edges[:-1]) / 2, errors > 0
    axes.errorbar(centres[filled], values[filled], errors[filled], fmt="o", color=colour, markersize=5, linewidth=1.5)


def _ratio(axes: Axes, drawn: Range, training: tuple[Array, Array], test: tuple[Array, Array], colour: str) -> None:
    """Draw test over training with the errors of both."""
    (below, below_error), (above, above_error) = training, test
    filled = (below > 0) & (above_error > 0)
    ratio, error = np.ones(drawn.bins), np.zeros(drawn.bins)
    ratio[filled] = above[filled] / below[filled]
    error[filled] = np.hypot(above_error[filled], ratio[filled] * below_error[filled]) / below[filled]
    _points(axes, drawn, ratio, error, colour)
