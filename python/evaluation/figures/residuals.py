"""Prediction minus truth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from .. import statistics
from ..figure import Plot, ReportFigure
from ..results import Results
from ..scored import Prediction
from ..style import canvas, cms_style, draw_distribution, plain_text
from ..summary import Summary

_LABELS = {"bias": "Bias", "resolution": "Resolution (68%)", "rms": "RMS", "r2": "R$^2$"}


class Residuals(ReportFigure):
    """Prediction minus truth."""

    task = "regression"
    title = "Residuals of {}"
    meaning = "Prediction minus truth; the resolution is half the width of the central 68 %."
    position = 10

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        for name, rows in results.predictions.items():
            yield self.plot(f"residuals_{name}", residuals(rows, name, results.test_summary), name)


@cms_style
def residuals(rows: Prediction, target: str, summary: Summary) -> Figure:
    """Draw the distribution of prediction - truth over four widths either side, with bias, resolution and RMS."""
    figure, axes = canvas(f"Predicted - true {plain_text(target)}", "Probability density")
    width = summary[f"resolution.{target}"].value
    reach = 4 * width if width > 0 else 1.0
    centre = float(np.nan_to_num(statistics.quantile(rows.residual, rows.weight, np.array([0.5]))[0]))
    lines = [f"{label} = {summary[f'{key}.{target}']}" for key, label in _LABELS.items()]
    draw_distribution(axes, rows.residual, rows.weight, np.linspace(centre - reach, centre + reach, 51), lines)
    axes.axvline(0, color="0.4", linestyle=":", linewidth=2, ymax=0.74)
    return figure
