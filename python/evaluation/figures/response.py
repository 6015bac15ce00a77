"""Median and width of the response of a regression, in bins of variables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from ...distributions.variable import plain_names
from ..figure import Plot, ReportFigure
from ..response import Response
from ..results import Results
from ..style import SIX_COLOURS, cms_style, new_figure, plain_text, whole_ticks


class ResponseInBins(ReportFigure):
    """Median and width of the response of a regression, in bins of variables."""

    task = "regression"
    title = "Response of {}"
    meaning = (
        "Median of prediction over truth (of their difference where the truth is not always above zero), and half the "
        "width of its central 68 %, with statistical errors. In bins of the prediction it is what a user sees, and "
        "depends on the spectrum. The first and the last bin hold what is beyond them, too."
    )
    position = 32

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        for target, by_variable in results.responses.items():
            names = plain_names(by_variable)
            for name, measured in by_variable.items():
                label = f"{name} {target}" if name in ("true", "predicted") else name
                file = f"response_{target}_{names[name]}"
                yield self.plot(file, response(measured, target, label), f"{target} against {label}")


@cms_style
def response(measured: Response, target: str, label: str) -> Figure:
    """Draw median (upper panel) and width (lower panel) of the response in bins of a variable."""
    (edges,) = measured.edges.values()
    figure = new_figure(10)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"hspace": 0.08})
    centres, reach = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    for axes, estimates, colour, marker in (
        (upper, measured.median, SIX_COLOURS[0], "o"),
        (lower, measured.width, SIX_COLOURS[2], "s"),
    ):
        values, errors = np.array(estimates, dtype=float).T
        axes.errorbar(
            centres, values, np.nan_to_num(errors), reach, fmt=marker, color=colour, markersize=8, linewidth=2
        )  # fmt: skip
        axes.margins(y=0.2)
        whole_ticks(axes)
    kind = f"{measured.definition} {plain_text(target)}"
    upper.axhline(measured.perfect, color="0.4", linestyle=":", linewidth=2)
    upper.text(0.05, 0.93, kind, transform=upper.transAxes, va="top", fontsize="small")
    upper.set_ylabel("Median")
    lower.set_ylim(bottom=0)
    lower.set(xlabel=plain_text(label[0].upper() + label[1:] if label.startswith(("true", "pred")) else label))
    lower.set_ylabel("Width (68%)")
    figure.align_ylabels()
    return figure
