"""Figures of a comparison with the training: each variable under the training's classes, and its course over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..distributions.counts import BinCounts
from ..distributions.drift import Drift, Thresholds, drift
from ..distributions.histogram import weighted_histogram
from ..distributions.reference import Distribution, Reference
from ..distributions.variable import Variable
from ..evaluation.style import SIX_COLOURS, cms_figure, new_figure, plain_text, shortened, whole_ticks
from ..histograms.drawing import Looks, SampleHistogram, figures
from .periods import Period

_MOST_LABELS = 12


def histograms(
    variable: Variable, reference: Reference, observed: BinCounts, title: str, *, scale: float
) -> list[SampleHistogram]:
    """Return those of the training's classes, multiplied by ``scale``, and of what is compared, as points."""
    one = reference.distributions[variable]
    classes = one.counts.scaled(reference.factors * scale)
    drawn, label = one.binning.drawn, variable.label
    samples = [
        SampleHistogram(name, weighted_histogram(drawn, sums, label)) for name, sums in zip(reference.classes, classes)
    ]
    return [*samples, SampleHistogram(title, weighted_histogram(drawn, observed.drawn[0], label), data=True)]


def draw_comparison(name: str, samples: Sequence[SampleHistogram], *, data: bool) -> Figure:
    """Draw the stack of the classes with the points on it and their ratio."""
    looks = Looks(stack=True, ratio=True, simulation=not data)
    ((_, figure),) = figures(name, samples, looks)
    return figure


def draw_trend(
    variable: Variable, reference: Reference, periods: Sequence[Period], thresholds: Thresholds, *, data: bool, by: str
) -> Figure:
    """Draw the mean and the distance from the training of a variable in every period."""
    one = reference.distributions[variable]
    counts = [period.distributions[variable].counts for period in periods]
    changes = [drift(one, c, thresholds) for c in counts]
    labels = [period.label for period in periods]
    return cms_figure(lambda: _trend(one, counts, changes, labels, thresholds, by), data=data)


def _trend(
    one: Distribution,
    counts: Sequence[BinCounts],
    changes: Sequence[Drift],
    labels: Sequence[str],
    thresholds: Thresholds,
    by: str,
) -> Figure:
    figure = new_figure(10)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 2), gridspec_kw={"hspace": 0.06})
    positions = np.arange(len(counts))
    mean, error = np.array([c.mean for c in counts]).T
    upper.axhline(one.counts.mean[0], color=SIX_COLOURS[0], label="Training")
    upper.errorbar(positions, mean, error, fmt="o", color="black", label="Mean and its error")
    upper.set(ylabel=f"Mean of {plain_text(shortened(one.variable.label, 24))}")
    upper.margins(y=0.4)
    upper.legend(loc="upper right", fontsize="small")
    whole_ticks(upper)
    for sizes, marker, colour, label in (
        ([c.ks for c in changes], "o", "black", "KS"),
        ([c.psi for c in changes], "s", SIX_COLOURS[1], "PSI"),
    ):
        lower.plot(positions, sizes, linestyle="none", marker=marker, color=colour, label=label)
    for size, colour in ((thresholds.warning, SIX_COLOURS[1]), (thresholds.alarm, SIX_COLOURS[2])):
        lower.axhline(size, color=colour, linestyle="--", linewidth=1.5)
    highest = max((x for c in changes for x in (c.ks, c.psi) if x == x), default=0.0)
    lower.set(ylim=(0, 1.3 * max(highest, thresholds.alarm)), ylabel="Drift", xlabel=by.capitalize())
    lower.legend(loc="upper right", fontsize="x-small", ncols=2)
    _label_periods(lower, labels)
    return figure


def _label_periods(axes: Axes, labels: Sequence[str]) -> None:
    every = -(-len(labels) // _MOST_LABELS)
    chosen = range(0, len(labels), every)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.minorticks_off()
    axes.set_xticks(list(chosen), [plain_text(shortened(labels[k], 22)) for k in chosen])
    axes.tick_params(axis="x", labelsize="x-small", labelrotation=30)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
