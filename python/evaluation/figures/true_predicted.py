"""The rows in the plane of truth and prediction."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ..figure import Plot, ReportFigure
from ..results import Results
from ..scored import Prediction
from ..style import canvas, cms_style, plain_text, whole_ticks


class TruthAndPrediction(ReportFigure):
    """The rows in the plane of truth and prediction."""

    task = "regression"
    title = "Truth and prediction of {}"
    meaning = "Where the rows lie; on the dashed line the prediction is exact."
    position = 20

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        for name, rows in results.predictions.items():
            yield self.plot(f"true_predicted_{name}", true_predicted(rows, name), name)


@cms_style
def true_predicted(rows: Prediction, target: str) -> Figure:
    """Draw the rows in the plane of true and predicted value, central 99 % of both, with the line of equality."""
    name = plain_text(target)
    figure, axes = canvas(f"True {name}", f"Predicted {name}")
    low, high = np.quantile(np.concatenate([rows.true, rows.predicted]), [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, 61)
    counts, _, _ = np.histogram2d(rows.true, rows.predicted, bins=(edges, edges), weights=rows.weight)
    filled = np.ma.masked_less_equal(counts.T, 0)
    norm = LogNorm(vmin=filled.min(), vmax=filled.max()) if filled.count() > 1 else None
    mesh = axes.pcolormesh(edges, edges, filled, cmap="cividis", norm=norm, rasterized=True)
    axes.plot(edges[[0, -1]], edges[[0, -1]], color="#e42536", linestyle="--", linewidth=2)
    axes.set(xlim=edges[[0, -1]], ylim=edges[[0, -1]])
    axes.set_box_aspect(1)
    whole_ticks(axes)
    figure.colorbar(mesh, ax=axes, fraction=0.046, pad=0.03, label="Sum of weights")
    return figure
