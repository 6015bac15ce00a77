"""What cuts on a score do to the distribution of a column in the background."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from ...distributions.axis import Range, automatic_range
from ...distributions.histogram import weighted_histogram
from ...distributions.variable import plain_names
from .. import statistics
from ..figure import SCORES, Plot, ReportFigure
from ..inputs import correlation
from ..results import Results
from ..statistics import Array
from ..style import LINE_STYLES, SIX_COLOURS, cms_style, new_figure, plain_text, whole_ticks
from ..summary import signals

_FEWEST, _MOST_BINS = 30, 30
"""A cut that leaves fewer effective rows of background is not drawn."""
_ALL = "all"


class Sculpting(ReportFigure):
    """What cuts on a score do to the distribution of a column in the background."""

    task = "classification"
    title = "{} of the background"
    meaning = "Its distribution in test rows of the background, and in those that pass working points of the score of"
    position = 200
    section = SCORES

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        names = plain_names(results.columns)
        for column, values in results.columns.items():
            for signal in signals(results.outputs):
                number = results.outputs.index(signal)
                rows = ~results.test.of_class(number) & np.isfinite(values)
                if np.count_nonzero(rows) < _FEWEST:
                    continue
                score, weight, selected = results.test.scores[rows, number], results.test.weight[rows], values[rows]
                passing = {_ALL: np.ones(len(selected), bool)}
                passing |= {cut.name: score >= cut.threshold for cut in results.cuts if cut.signal == signal}
                drawn = _few_bins(automatic_range(selected))
                sums = shapes(selected, weight, passing, drawn)
                figure = sculpted(sums, drawn, column, f"Score of {plain_text(signal)}")
                coefficient = correlation(np.column_stack([selected, score]), weight)[0, 1]
                note = f"{signal}; the score and it have a correlation of {100 * coefficient:.1f} % there."
                name = f"sculpting_{names[column]}" + (f"_{signal}" if len(results.outputs) > 2 else "")
                kept = {f"{name}/{cut}": weighted_histogram(drawn, each, column) for cut, each in sums.items()}
                yield self.plot(name, figure, column, note=note, histograms=kept)


def _few_bins(drawn: Range) -> Range:
    """Join pairs of bins where there are many: a cut leaves few rows."""
    if drawn.bins <= _MOST_BINS:
        return drawn
    width = (drawn.high - drawn.low) / drawn.bins
    bins = -(-drawn.bins // 2)
    return Range(bins, drawn.low, drawn.low + 2 * bins * width)


def shapes(values: Array, weight: Array, passing: dict[str, Array], drawn: Range) -> dict[str, Array]:
    """Return sums of weights and squares, (2, D + 2) each, of those who pass, unless they are too few."""
    edges = np.concatenate([[-np.inf], drawn.edges, [np.inf]])
    sums = {}
    for name, passes in passing.items():
        if statistics.effective_number(weight[passes]) >= _FEWEST and weight[passes].sum() > 0:
            powers = (weight[passes], weight[passes] ** 2)
            sums[name] = np.stack([np.histogram(values[passes], edges, weights=power)[0] for power in powers])
    return sums


@cms_style
def sculpted(sums: dict[str, Array], drawn: Range, label: str, title: str) -> Figure:
    """Draw the shapes, of area 1, and below their ratio to that of all."""
    figure = new_figure(10)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1), gridspec_kw={"hspace": 0.06})
    centres = (drawn.edges[1:] + drawn.edges[:-1]) / 2
    highest, first = 0.0, None
    for k, (name, (content, squares)) in enumerate(sums.items()):
        total, colour = content.sum(), SIX_COLOURS[k % len(SIX_COLOURS)]
        share, error = content[1:-1] / total, np.sqrt(squares[1:-1]) / total
        style = LINE_STYLES[k % len(LINE_STYLES)]
        upper.stairs(share, drawn.edges, color=colour, linewidth=2, linestyle=style, label=plain_text(name))
        filled = error > 0
        upper.errorbar(centres[filled], share[filled], error[filled], fmt="none", color=colour)
        first = share if first is None else first
        both = filled & (first > 0)
        if k:
            ratio = share[both] / first[both]
            lower.errorbar(centres[both], ratio, error[both] / first[both], fmt="o", color=colour, markersize=5)
        highest = max(highest, float(np.max(share + error, initial=0)))
    upper.set(ylabel="Fraction", ylim=(0, (highest or 1.0) * 1.5))
    upper.legend(loc="upper right", title=title, title_fontsize="small", ncols=2)
    lower.axhline(1, color="0.5", linewidth=1)
    lower.set(
        xlabel=plain_text(label), ylabel="Ratio to all", ylim=(0, 2), yticks=(0.5, 1, 1.5), xlim=(drawn.low, drawn.high)
    )
    whole_ticks(upper)
    lower.xaxis.set_major_formatter("{x:.6g}")
    figure.align_ylabels()
    return figure
