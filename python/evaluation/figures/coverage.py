"""How much of the truth lies below each predicted quantile."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from ..figure import Plot, ReportFigure
from ..results import Results
from ..scored import Prediction
from ..style import SIX_COLOURS, canvas, cms_style, plain_text


class CoverageOfQuantiles(ReportFigure):
    """How much of the truth lies below each predicted quantile."""

    task = "regression"
    title = "Coverage of {}"
    meaning = "How much of the truth lies below each predicted quantile; on the dotted line it is as much as it should."
    position = 50

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        for name, rows in results.predictions.items():
            if rows.coverage:
                yield self.plot(f"coverage_{name}", coverage(rows, name), name)


@cms_style
def coverage(rows: Prediction, target: str) -> Figure:
    """Draw how much of the truth lies below each predicted quantile."""
    figure, axes = canvas("Level of the quantile", f"Fraction of true {plain_text(target)} below it")
    values, errors = np.array(list(rows.coverage.values())).T
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=2)
    axes.errorbar(list(rows.coverage), values, errors, fmt="o", color=SIX_COLOURS[0], markersize=8, linewidth=2)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return figure
