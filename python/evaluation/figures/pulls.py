"""Prediction minus truth in units of the predicted sigma."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
from matplotlib.figure import Figure

from ..figure import Plot, ReportFigure
from ..results import Results
from ..scored import Prediction
from ..statistics import Array
from ..style import SIX_COLOURS, canvas, cms_style, draw_distribution, plain_text
from ..summary import Summary


class Pulls(ReportFigure):
    """Prediction minus truth in units of the predicted sigma."""

    task = "regression"
    title = "Pulls of {}"
    meaning = (
        "Prediction minus truth in units of the predicted sigma; it follows the standard normal distribution "
        "(dashed) where sigma is right: wider means that sigma is too small."
    )
    position = 40

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        for name, rows in results.predictions.items():
            if rows.pull is not None:
                yield self.plot(f"pulls_{name}", pulls(rows, name, results.test_summary), name)


@cms_style
def pulls(rows: Prediction, target: str, summary: Summary) -> Figure:
    """Draw the distribution of (prediction - truth)/sigma beside the standard normal one, with its mean and width."""
    figure, axes = canvas(rf"(Predicted - true {plain_text(target)}) / predicted $\sigma$", "Probability density")
    edges = np.linspace(-5, 5, 51)
    lines = [f"Mean = {summary[f'pull_mean.{target}']}", f"Width (68%) = {summary[f'pull_width.{target}']}"]
    draw_distribution(axes, cast(Array, rows.pull), rows.weight, edges, lines, least=0.4)
    fine = np.linspace(-5, 5, 201)
    axes.plot(fine, np.exp(-(fine**2) / 2) / np.sqrt(2 * np.pi), color=SIX_COLOURS[2], linestyle="--")
    return figure
