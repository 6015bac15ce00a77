"""Background against signal efficiency, where little background is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from .. import statistics
from ..figure import Curve, Plot, ReportFigure
from ..results import Results
from ..scored import Scored
from ..style import canvas, cms_style, contest_text, plain_text, roc_curves, working_points
from ..summary import Summary


class LogarithmicRocCurve(ReportFigure):
    """Background against signal efficiency, where little background is left."""

    task = "classification"
    title = "ROC curve, logarithmic"
    meaning = (
        "The same where little background is left; the dots mark 50 % and 80 % signal efficiency, and the "
        "curve ends where about ten background events remain."
    )
    position = 20

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        figure = roc_log(results.test, results.outputs, results.test_summary)
        curves = [
            Curve(name, curve.signal, curve.background, working_points(curve))
            for name, curve, _ in roc_curves(results.test, results.outputs)
        ]
        yield self.plot("roc_log", figure, curves=curves)


@cms_style
def roc_log(test: Scored, classes: Sequence[str], summary: Summary) -> Figure:
    """Draw the ROC curves with a logarithmic background efficiency, down to ten effective background events."""
    figure, axes = canvas("Signal efficiency", "Background efficiency")
    lowest = 0.1
    for name, curve, look in roc_curves(test, classes):
        number = statistics.effective_number(test.weight[~test.of_class(list(classes).index(name))])
        visible = curve.background > 10 / max(number, 20.0)
        axes.plot(curve.signal[visible], curve.background[visible], label=f"{plain_text(name)}", **look)
        lowest = min(lowest, float(np.min(curve.background[visible], initial=0.1)))
        for efficiency in (0.5, 0.8):
            mark = summary[f"rejection.{name}.{efficiency * 100:.0f}"].value
            if np.isfinite(mark):
                axes.plot(efficiency, 1 / mark, "o", color=look["color"], markersize=9)
    axes.plot(*(np.geomspace(1e-6, 1, 200),) * 2, color="0.6", linestyle=":", linewidth=2)
    axes.set(xlim=(0, 1), yscale="log", ylim=(10 ** np.floor(np.log10(lowest)), 1))
    axes.legend(loc="lower right", title=contest_text(classes), alignment="left", title_fontsize="small")
    return figure
