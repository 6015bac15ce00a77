"""The figures of a search for hyperparameters, in CMS style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
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


@cms_style
def intermediate(curves: Sequence[Mapping[int, float]], complete: Sequence[bool], best: int) -> Figure:
    """Draw the loss of each trial by epoch: dashed where it was not completed, thick that of trial number ``best``."""
    figure = new_figure(10)
    axes = figure.add_subplot(xlabel="Epoch", ylabel="Validation loss")
    for number in [*(k for k in range(len(curves)) if k != best), best]:
        style = "-" if complete[number] else "--"
        colour, width = (SIX_COLOURS[2], 4) if number == best else (SIX_COLOURS[0 if complete[number] else 4], 1.2)
        epochs = sorted(curves[number])
        axes.plot(epochs, [curves[number][epoch] for epoch in epochs], color=colour, linestyle=style, linewidth=width)
    loss = np.array([value for curve in curves for value in curve.values()], dtype=float)
    finite = loss[np.isfinite(loss)]
    if finite.min() > 0 and finite.max() > 10 * np.median(finite):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.minorticks_off()
    handles = [Line2D([], [], color=SIX_COLOURS[2], linewidth=4, label="best")]
    handles.append(Line2D([], [], color=SIX_COLOURS[0], label="complete"))
    if not all(complete):
        handles.append(Line2D([], [], color=SIX_COLOURS[4], linestyle="--", label="pruned or failed"))
    axes.legend(handles=handles, loc="upper right")
    return figure


@cms_style
def parallel(trials: Sequence[Mapping[str, Any]], losses: Sequence[float]) -> Figure:
    """Draw a line for each trial through its parameters and its loss, each on an axis of its own."""
    columns = {**{name: [trial[name] for trial in trials] for name in trials[0]}, "loss": list(losses)}
    figure = new_figure(8)
    figure.set_size_inches(max(10, 3.2 * len(columns)), 8)
    axes = figure.add_subplot()
    heights = []
    for k, of_trials in enumerate(columns.values()):
        places, ticks = _scaled(of_trials)
        heights.append(places)
        axes.axvline(k, color="0.3", linewidth=1.5)
        for place, text in ticks.items():
            axes.annotate(text, (k, place), (6, 0), textcoords="offset points", va="center", fontsize=14, zorder=5)
    order = np.argsort(losses)[::-1]
    shades = np.linspace(0.85, 0.35, len(losses))
    for shade, number in zip(shades, order):
        best = number == order[-1]
        colour = SIX_COLOURS[2] if best else str(shade)
        line = [places[number] for places in heights]
        axes.plot(range(len(columns)), line, color=colour, linewidth=4 if best else 1.5, zorder=4 if best else 2)
    axes.set_xticks(range(len(columns)), [name.rpartition(".")[2] for name in columns])
    axes.set(xlim=(-0.2, len(columns) - 0.6), ylim=(-0.06, 1.06), yticks=[])
    axes.minorticks_off()
    axes.tick_params(axis="x", length=0)
    return figure


def _scaled(values: Sequence[Any]) -> tuple[np.ndarray, dict[float, str]]:
    """Return values between 0 and 1, (N,), and what is written at which height; texts stand in order."""
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        texts = sorted({str(value) for value in values})
        heights = {text: k / max(1, len(texts) - 1) for k, text in enumerate(texts)}
        return np.array([heights[str(value)] for value in values]), {h: text for text, h in heights.items()}
    numbers = np.array(values, dtype=float)
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return np.full(len(numbers), 0.5), {0.5: f"{low:.4g}"}
    if low > 0 and high > 20 * low:
        inside = np.geomspace(low, high, 5)
        places = np.log(numbers / low) / np.log(high / low)
    else:
        inside = np.linspace(low, high, 5)
        places = (numbers - low) / (high - low)
    return places, dict(zip(np.linspace(0, 1, 5).tolist(), (f"{value:.4g}" for value in inside)))
