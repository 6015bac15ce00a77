"""The figures that compare runs: ROC curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.figure import Figure

from .comparison import Comparison
from .figure import Plot
from .statistics import Array
from .style import LINE_STYLES, canvas, cms_style, palette, plain_text
from .summary import signals


def plots(comparison: Comparison) -> Iterator[Plot]:
    """Draw the ROC curves of all runs: a linear and a logarithmic figure for each signal class."""
    first = comparison.runs[0]
    if first.content["task"] == "regression":
        return
    classes = first.content["outputs"]
    for signal in signals(classes):
        contest = f"{signal} against {classes[1] if len(classes) == 2 else 'the rest'}"
        for log in (False, True):
            curves = {f"{run.name}, AUC = {run.auc(signal)}": run.curve(signal, not log) for run in comparison.runs}
            title = f"ROC curves{', logarithmic' * log}: {contest}"
            meaning = "Background that a cut on the score leaves, against the fraction of the signal that it keeps."
            yield Plot(f"roc{'_log' * log}_{signal}", title, meaning, rocs(curves, contest, log))


@cms_style
def rocs(curves: Mapping[str, tuple[Array, Array]], contest: str, log: bool) -> Figure:
    """Draw ROC curves of several models, efficiencies of signal and background by the text of the legend."""
    figure, axes = canvas("Signal efficiency", "Background efficiency")
    lowest = 0.1
    for k, (text, (signal, background)) in enumerate(curves.items()):
        colour = palette(len(curves))[k]
        axes.plot(
            signal,
            background,
            color=colour,
            linestyle=LINE_STYLES[k % len(LINE_STYLES)],
            linewidth=3,
            label=plain_text(text),
        )
        lowest = min(lowest, float(np.min(background, where=background > 0, initial=0.1)))
    axes.plot(*(np.geomspace(1e-6, 1, 200),) * 2, color="0.6", linestyle=":", linewidth=2)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    if log:
        decades = np.ceil(-np.log10(lowest))
        axes.set(yscale="log", ylim=(10**-decades, 10 ** (decades * 0.08 * (1 + len(curves)))))  # the legend is above
    axes.legend(loc="upper left", title=plain_text(contest), alignment="left", title_fontsize="small")
    return figure
