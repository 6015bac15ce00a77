"""The figures of a search for hyperparameters, in CMS style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..evaluation.style import SIX_COLOURS, cms_style, new_figure


@cms_style
def history(losses: Sequence[float], complete: Sequence[bool]) -> Figure:
    """Draw the loss of each trial, in order: filled where it is complete, open where it was pruned, and the least.

    ``losses`` is NaN where a trial failed. Few large ones are left to the logarithm.
    """
    figure = new_figure(10)
    axes = figure.add_subplot(xlabel="Trial", ylabel="Validation loss")
    loss, done, number = np.asarray(losses), np.asarray(complete), np.arange(1, len(losses) + 1)
    pruned = ~done & np.isfinite(loss)
    axes.plot(number[done], loss[done], "o", color=SIX_COLOURS[0], markersize=9, label="complete")
    if pruned.any():
        axes.plot(
            number[pruned], loss[pruned], "o", color=SIX_COLOURS[4], fillstyle="none", markersize=9, label="pruned"
        )
    least = np.fmin.accumulate(np.where(done, loss, np.nan))
    axes.step(number, least, where="post", color=SIX_COLOURS[2], label="least so far")
    finite = loss[np.isfinite(loss)]
    if finite.min() > 0 and finite.max() > 10 * np.median(finite):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.minorticks_off()
    axes.margins(y=0.1)
    axes.legend(loc="upper right")
    return figure


@cms_style
def importance(shares: Mapping[str, float]) -> Figure:
    """Draw the share of each parameter in the variance of the loss, the largest on top."""
    order = sorted(shares, key=lambda name: shares[name])
    figure = new_figure(max(4.0, 1.8 + 0.6 * len(order)))
    axes = figure.add_subplot(xlabel="Share in the variance of the loss")
    axes.barh(range(len(order)), [shares[name] for name in order], color=SIX_COLOURS[0], height=0.7)
    axes.set_yticks(range(len(order)), order, fontsize=20)
    axes.tick_params(axis="y", which="both", length=0)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(order) - 0.4))
    return figure
