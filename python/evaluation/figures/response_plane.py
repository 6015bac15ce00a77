"""Median and width of the response of a regression, in bins of the truth and another variable."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from ...distributions.variable import plain_names
from ..figure import Plot, ReportFigure
from ..response import Response
from ..results import Results
from ..style import cms_style, new_figure, plain_text, whole_ticks


class ResponseInPlane(ReportFigure):
    """Median and width of the response of a regression, in bins of the truth and another variable."""

    task = "regression"
    title = "Response of {}"
    meaning = (
        "Median of the response (colour and upper number) and half the width of its central 68 % (lower number) in "
        "bins of both; empty where there are no rows. The outermost bins hold what is beyond them, too."
    )
    position = 33

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        for target, by_variable in results.planes.items():
            names = plain_names(by_variable)
            for name, measured in by_variable.items():
                file = f"response_plane_{target}_{names[name]}"
                yield self.plot(file, plane(measured, target, name), f"{target} against truth and {name}")


@cms_style
def plane(measured: Response, target: str, variable: str) -> Figure:
    """Draw the response in cells of equal size, whose edges the axes tell."""
    true, other = measured.edges.values()
    medians = np.array([estimate.value for estimate in measured.median]).reshape(measured.rows.shape)
    widths = np.array([estimate.value for estimate in measured.width]).reshape(measured.rows.shape)
    reach = float(np.nanmax(np.abs(medians - measured.perfect), initial=0.0)) or 1.0
    figure = new_figure(10)
    axes = figure.add_subplot()
    across, up = len(true) - 1, len(other) - 1
    mesh = axes.pcolormesh(
        np.arange(across + 1),
        np.arange(up + 1),
        medians.T,
        cmap="PuOr",
        vmin=measured.perfect - reach,
        vmax=measured.perfect + reach,
    )
    for (i, k), value in np.ndenumerate(medians):
        if np.isfinite(value):
            dark = abs(value - measured.perfect) > 0.6 * reach
            text = f"{value:.3g}\n({widths[i, k]:.2g})"
            axes.text(i + 0.5, k + 0.5, text, ha="center", va="center", fontsize=14, color="white" if dark else "black")
    axes.set_xticks(range(across + 1), [f"{edge:.3g}" for edge in true], fontsize="small")
    axes.set_yticks(range(up + 1), [f"{edge:.3g}" for edge in other], fontsize="small")
    axes.minorticks_off()
    axes.set(xlabel=f"True {plain_text(target)}", ylabel=plain_text(variable))
    bar = figure.colorbar(mesh, ax=axes, fraction=0.046, pad=0.03, label=f"Median of {measured.definition}")
    whole_ticks(bar.ax)
    return figure
