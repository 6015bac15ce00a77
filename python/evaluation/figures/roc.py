"""Background against signal efficiency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from ..figure import Curve, Plot, ReportFigure
from ..results import Results
from ..scored import Scored
from ..style import canvas, cms_style, contest_text, plain_text, roc_curves, working_points
from ..summary import Summary


class RocCurve(ReportFigure):
    """Background against signal efficiency."""

    task = "classification"
    title = "ROC curve"
    meaning = (
        "How much background passes a cut on the score that keeps a given fraction of the signal: the further"
        " below the dotted line of a random choice, the better."
    )
    position = 10

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        figure = roc(results.test, results.outputs, results.test_summary)
        curves = [
            Curve(name, curve.signal, curve.background, working_points(curve))
            for name, curve, _ in roc_curves(results.test, results.outputs)
        ]
        yield self.plot("roc", figure, curves=curves)


@cms_style
def roc(test: Scored, classes: Sequence[str], summary: Summary) -> Figure:
    """Draw background against signal efficiency, one curve for each signal class, with its AUC."""
    figure, axes = canvas("Signal efficiency", "Background efficiency")
    for name, curve, look in roc_curves(test, classes):
        axes.plot(curve.signal, curve.background, label=f"{plain_text(name)}, AUC = {summary[f'auc.{name}']}", **look)
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=2)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", title=contest_text(classes), alignment="left", title_fontsize="small")
    return figure
