"""The figures that compare runs: ROC curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .comparison import Comparison
from .figure import Plot
from .statistics import Array
from .style import LINE_STYLES, cms_style, palette, panels, plain_text, ratio_axis
from .summary import signals

_EFFICIENCIES = np.linspace(0.02, 1, 99)


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
            meaning = (
                "Background that a cut on the score leaves, against the fraction of the signal that it keeps; below, "
                f"the background rejection over that of {comparison.runs[0].name} at the same signal efficiency."
            )
            yield Plot(f"roc{'_log' * log}_{signal}", title, meaning, rocs(curves, contest, log))


@cms_style
def rocs(curves: Mapping[str, tuple[Array, Array]], contest: str, log: bool) -> Figure:
    """Draw ROC curves of several models, efficiencies of signal and background by the text of the legend.

    Below are the background rejections over that of the first model.
    """
    figure, axes, ratio = panels("Signal efficiency", "Background efficiency", "Rejection / first")
    lowest, first = 0.1, next(iter(curves.values()))
    for k, (text, (signal, background)) in enumerate(curves.items()):
        look: dict[str, Any] = {"color": palette(len(curves))[k], "linestyle": LINE_STYLES[k % len(LINE_STYLES)]}
        axes.plot(signal, background, linewidth=3, label=plain_text(text), **look)
        ratio.plot(_EFFICIENCIES, _left(first) / _left((signal, background)), linewidth=2, **look)
        lowest = min(lowest, float(np.min(background, where=background > 0, initial=0.1)))
    axes.plot(*(np.geomspace(1e-6, 1, 200),) * 2, color="0.6", linestyle=":", linewidth=2)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    if log:
        decades = np.ceil(-np.log10(lowest))
        axes.set(yscale="log", ylim=(10**-decades, 10 ** (decades * 0.08 * (1 + len(curves)))))  # the legend is above
    axes.legend(loc="upper left", title=plain_text(contest), alignment="left", title_fontsize="small")
    ratio_axis(ratio, 0, 2)
    return figure


def _left(curve: tuple[Array, Array]) -> Array:
    """Return the background at some signal efficiencies, (E,); NaN where the curve does not show any."""
    signal, background = curve
    if not len(signal):
        return np.full(len(_EFFICIENCIES), np.nan)
    left = np.interp(_EFFICIENCIES, signal, background, left=np.nan)
    return np.where(left > 0, left, np.nan)
