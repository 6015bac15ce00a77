"""Purity against efficiency of each signal class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from .. import statistics
from ..figure import Plot, ReportFigure
from ..results import Results
from ..scored import Scored
from ..style import canvas, class_looks, cms_style, contest_text, plain_text, thinned_points
from ..summary import Summary


class PurityAndEfficiency(ReportFigure):
    """Purity against efficiency of each signal class."""

    task = "classification"
    title = "Purity and efficiency"
    meaning = (
        "Fraction of the selected weight that is signal, against the fraction of the signal that is selected;"
        " dotted is the purity without a selection. It depends on the normalisation of the samples."
    )
    position = 40

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        figure = precision_recall(results.test, results.outputs, results.test_summary)
        yield self.plot("precision_recall", figure)


@cms_style
def precision_recall(test: Scored, classes: Sequence[str], summary: Summary) -> Figure:
    """Draw purity against signal efficiency, with the average precision and the purity of no selection (dotted)."""
    figure, axes = canvas("Signal efficiency (recall)", "Purity (precision)")
    for name, look in class_looks(classes):
        number = list(classes).index(name)
        signal = test.of_class(number)
        precision, recall = statistics.precision_recall(test.scores[:, number], signal, test.weight)
        keep = thinned_points(len(recall))
        label = f"{plain_text(name)}, AP = {summary[f'average_precision.{name}']}"
        axes.plot(recall[keep], precision[keep], label=label, **look)
        axes.axhline(statistics.mean(signal, test.weight), color=look["color"], linestyle=":", linewidth=1.5)
    axes.set(xlim=(0, 1), ylim=(0, 1.35), yticks=np.linspace(0, 1, 6))
    axes.legend(loc="upper right", title=contest_text(classes), alignment="left", title_fontsize="small")
    return figure
