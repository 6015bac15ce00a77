"""Figures of histograms: samples beside each other, stacked under data, with a ratio; and one of two dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import hist
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ..evaluation.style import LINE_STYLES, canvas, cms_figure, new_figure, palette, plain_text, shortened, whole_ticks

_HEIGHT, _PANELS = 10, (3, 1)
_ROOM = 1.5
_HALF = 0.5


@dataclass(frozen=True)
class SampleHistogram:
    """The histogram of one sample; ``data`` are points."""

    sample: str
    histogram: hist.Hist
    data: bool = False

    @property
    def values(self) -> np.ndarray:
        """Sums of weights, (bins,)."""
        return np.asarray(self.histogram.values())

    @property
    def errors(self) -> np.ndarray:
        """Their errors, (bins,): the roots of the sums of squared weights."""
        return np.sqrt(np.asarray(self.histogram.variances()))


@dataclass(frozen=True)
class Looks:
    """How histograms are drawn: on a logarithmic axis, as shapes of area 1, stacked, with a ratio below.

    With ``simulation`` the points are simulated, too, and the label says so.
    """

    log: bool = False
    shapes: bool = False
    stack: bool = False
    ratio: bool = False
    simulation: bool = False


def figures(name: str, samples: Sequence[SampleHistogram], looks: Looks) -> Iterator[tuple[str, Figure]]:
    """Draw a request: one figure for all samples, or of two dimensions one for each; each with a name."""
    if len(samples[0].histogram.axes) == 1:
        data = any(one.data for one in samples) and not looks.simulation
        yield name, cms_figure(lambda: _draw(samples, looks), data=data)
        return
    for one in samples:
        draw = partial(_draw_map, one, looks)
        yield (name if len(samples) == 1 else f"{name}_{one.sample}"), cms_figure(draw, data=one.data)


def _draw(samples: Sequence[SampleHistogram], looks: Looks) -> Figure:
    """Draw the histograms of all samples, and below, where it is asked for, their ratio to the first or the stack."""
    axis = samples[0].histogram.axes[0]
    title = "Fraction of the entries" if looks.shapes else "Entries"
    if looks.ratio:
        figure = new_figure(_HEIGHT)
        upper, lower = figure.subplots(2, sharex=True, height_ratios=_PANELS, gridspec_kw={"hspace": 0.06})
        upper.set(ylabel=title)
        lower.set(xlabel=plain_text(axis.label))
    else:
        figure, upper = canvas(plain_text(axis.label), title, _HEIGHT)
        lower = None
    points = [one for one in samples if one.data]
    lines = [one for one in samples if not one.data]
    scaled = {one.sample: _scale(one, looks) for one in samples}
    top = 0.0
    if looks.stack:
        top = _draw_stack(upper, lines, axis.edges)
    else:
        _draw_lines(upper, lines, scaled, axis.edges)
    for one in points:
        _draw_points(upper, one, scaled[one.sample], axis)
    tops = [float(np.max((one.values + one.errors) * scaled[one.sample], initial=0)) for one in samples]
    whole_ticks(upper)
    upper.set(xlim=(axis.edges[0], axis.edges[-1]), **_limits(max(top, *tops), samples, scaled, looks))
    upper.legend(loc="upper right", fontsize="small", ncols=1 + (len(samples) > 4))
    if lower is not None:
        _draw_ratio(lower, points, lines, scaled, looks, axis)
    return figure


def _scale(one: SampleHistogram, looks: Looks) -> float:
    total = float(np.sum(one.histogram.values(flow=True)))
    return 1 / total if looks.shapes and total > 0 else 1.0


def _limits(top: float, samples: Sequence[SampleHistogram], scaled: dict[str, float], looks: Looks) -> dict:
    """Leave room for the legend above the highest bin."""
    top = top if top > 0 else 1.0
    filled = [one.values[one.values > 0] * scaled[one.sample] for one in samples]
    if not looks.log or not any(map(len, filled)):
        return {"ylim": (0, top * _ROOM)}
    low = min(float(values.min()) for values in filled if len(values))
    low = max(low, top * 1e-9) * _HALF
    return {"yscale": "log", "ylim": (low, low * (top / low) ** _ROOM)}


def _draw_stack(axes: Axes, lines: Sequence[SampleHistogram], edges: np.ndarray) -> float:
    """Draw samples on top of each other, and return how high they reach."""
    below = np.zeros(len(edges) - 1)
    squares = np.zeros(len(edges) - 1)
    for one, colour in zip(lines, palette(len(lines))):
        above = below + one.values
        axes.stairs(above, edges, baseline=below, fill=True, color=colour, label=shortened(one.sample, 28))
        below, squares = above, squares + one.errors**2
    _draw_band(axes, below, np.sqrt(squares), edges, "Statistical error")
    return float(np.max(below, initial=0))


def _draw_band(axes: Axes, values: np.ndarray, errors: np.ndarray, edges: np.ndarray, label: str | None) -> None:
    axes.stairs(
        values + errors, edges, baseline=values - errors, fill=True, facecolor="none", edgecolor="0.3", hatch="///",
        linewidth=0, label=label,
    )  # fmt: skip


def _draw_lines(axes: Axes, lines: Sequence[SampleHistogram], scaled: dict[str, float], edges: np.ndarray) -> None:
    centres = (edges[1:] + edges[:-1]) / 2
    for number, (one, colour) in enumerate(zip(lines, palette(len(lines)))):
        values, errors = one.values * scaled[one.sample], one.errors * scaled[one.sample]
        style = LINE_STYLES[number % len(LINE_STYLES)]
        axes.stairs(values, edges, color=colour, linewidth=2, linestyle=style, label=shortened(one.sample, 28))
        filled = errors > 0
        axes.errorbar(centres[filled], values[filled], errors[filled], fmt="none", color=colour)


def _draw_points(axes: Axes, one: SampleHistogram, scale: float, axis: hist.axis.Regular) -> None:
    filled = one.errors > 0
    axes.errorbar(
        axis.centers[filled], (one.values * scale)[filled], (one.errors * scale)[filled], fmt="o", color="black",
        label=shortened(one.sample, 28),
    )  # fmt: skip


def _draw_ratio(
    axes: Axes,
    points: Sequence[SampleHistogram],
    lines: Sequence[SampleHistogram],
    scaled: dict[str, float],
    looks: Looks,
    axis: hist.axis.Regular,
) -> None:
    """Draw data over the stack, or every sample over the first, each with its own errors; those below are a band."""
    if looks.stack:
        below = np.sum([one.values for one in lines], axis=0)
        errors = np.sqrt(np.sum([one.errors**2 for one in lines], axis=0))
        above, title = points, "Ratio to sum" if looks.simulation else "Data / sum"
    else:
        first, *above = [*lines, *points]
        below, errors = first.values * scaled[first.sample], first.errors * scaled[first.sample]
        title = f"to {shortened(first.sample)}"
    filled = below > 0
    _draw_band(
        axes, np.ones(len(below)), np.divide(errors, below, out=np.zeros(len(below)), where=filled), axis.edges, None
    )
    colours = dict(zip((one.sample for one in lines), palette(len(lines))))
    for one in above:
        ratio, error = (values[filled] * scaled[one.sample] / below[filled] for values in (one.values, one.errors))
        shown = error > 0
        axes.errorbar(
            axis.centers[filled][shown], ratio[shown], error[shown], fmt="o", color=colours.get(one.sample, "black")
        )
    axes.axhline(1, color="0.5", linewidth=1)
    axes.set(ylim=(0, 1.95), ylabel=title)


def _draw_map(one: SampleHistogram, looks: Looks) -> Figure:
    """Draw a histogram of two dimensions: sums of weights as colours."""
    x, y = one.histogram.axes
    figure, axes = canvas(plain_text(x.label), plain_text(y.label), _HEIGHT)
    values = one.values
    if looks.shapes:
        values = values * _scale(one, looks)
    filled = values > 0
    norm = LogNorm(values[filled].min(), values.max()) if looks.log and filled.any() else None
    shown = np.where(filled | (values < 0), values, np.nan)
    mesh = axes.pcolormesh(x.edges, y.edges, shown.T, norm=norm, cmap="viridis", rasterized=True)
    figure.colorbar(mesh, ax=axes, label="Fraction of the entries" if looks.shapes else "Entries")
    axes.text(
        0.97, 0.97, shortened(one.sample, 28), transform=axes.transAxes, ha="right", va="top", fontsize="small",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7},
    )  # fmt: skip
    whole_ticks(axes)
    return figure
