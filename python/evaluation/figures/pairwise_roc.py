"""How well each class is told from each other one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .. import statistics
from ..figure import Curve, Plot, ReportFigure
from ..results import Results
from ..scored import Scored
from ..statistics import Roc
from ..style import LINE_STYLES, canvas, cms_style, palette, plain_text, working_points

_MOST_POINTS = 2000


class PairwiseRocCurves(ReportFigure):
    """How well each class is told from each other one."""

    task = "classification"
    title = "{} against each other class"
    meaning = (
        "Efficiency of another class against that of {}, of rows of these two classes only, by the score "
        "p({})/(p({}) + p(other)): the further below the dotted line, the better."
    )
    position = 35

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        if len(results.outputs) < 3:
            return
        for number, name in enumerate(results.outputs):
            curves = _curves(results.test, results.outputs, number)
            read = [
                Curve(other, curve.signal, curve.background, working_points(curve)) for other, curve in curves.items()
            ]
            yield self.plot(f"roc_pairs_{name}", pairs(curves, results, name), name, curves=read)


def _curves(rows: Scored, classes: tuple[str, ...], number: int) -> dict[str, Roc]:
    curves = {}
    for other, name in enumerate(classes):
        if other != number:
            pair = rows.of_pair(number, other)
            curves[name] = statistics.thinned(statistics.roc_curve(pair.score, pair.signal, pair.weight), _MOST_POINTS)
    return curves


@cms_style
def pairs(curves: dict[str, Roc], results: Results, signal: str) -> Figure:
    """Draw the ROC curves of a class against each other one, with their AUC."""
    figure, axes = canvas(f"Efficiency of {plain_text(signal)}", "Efficiency of the other class")
    colours, lowest = palette(len(results.outputs)), 0.1
    for name, curve in curves.items():
        number = results.outputs.index(name)
        auc = results.pairwise_aucs.get(signal, {}).get(name) or results.pairwise_aucs[name][signal]
        count = statistics.effective_number(results.test.weight[results.test.of_class(number)])
        visible = curve.background > 10 / max(count, 20.0)
        look: dict[str, Any] = {
            "color": colours[number],
            "linestyle": LINE_STYLES[number % len(LINE_STYLES)],
            "linewidth": 3,
        }
        axes.plot(curve.signal[visible], curve.background[visible], label=f"{plain_text(name)}, AUC = {auc}", **look)
        lowest = min(lowest, float(np.min(curve.background[visible], initial=0.1)))
    axes.plot(*(np.geomspace(1e-6, 1, 200),) * 2, color="0.6", linestyle=":", linewidth=2)
    decades = np.ceil(-np.log10(lowest))
    axes.set(xlim=(0, 1), yscale="log", ylim=(10**-decades, 10 ** (decades * 0.08 * (1 + len(curves)))))
    axes.legend(loc="upper left", title=f"{plain_text(signal)} against", alignment="left", title_fontsize="small")
    return figure
