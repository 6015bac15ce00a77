"""How often a class is true where its score is p."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from .. import statistics
from ..figure import SCORES, Plot, ReportFigure
from ..results import Results
from ..scored import Scored
from ..style import canvas, class_looks, cms_style, plain_text
from ..summary import Summary


class CalibrationCurve(ReportFigure):
    """How often a class is true where its score is p."""

    task = "classification"
    title = "Calibration"
    meaning = (
        "How often a class is true where its score is p, for the class balance of the training; on the dotted"
        " line the score is a probability."
    )
    position = 70
    section = SCORES

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        yield self.plot("calibration", calibration(results.test, results.outputs, results.test_summary))


@cms_style
def calibration(test: Scored, classes: Sequence[str], summary: Summary) -> Figure:
    """Draw how often a class is true where its score is p, with the expected calibration error."""
    figure, axes = canvas("Mean score in the bin", "Observed fraction of the class")
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=2)
    for name, look in class_looks(classes):
        number = list(classes).index(name)
        curve = statistics.reliability(test.scores[:, number], test.of_class(number), test.prior_weight)
        label = f"{plain_text(name)}, ECE = {summary[f'calibration_error.{name}']}"
        axes.errorbar(curve.predicted, curve.observed, curve.error, marker="o", markersize=8, label=label, **look)
    axes.set(xlim=(0, 1), ylim=(0, 1.1), yticks=np.linspace(0, 1, 6))
    axes.legend(loc="upper left")
    return figure
