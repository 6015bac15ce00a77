"""The figures of an evaluation, in CMS style.

Each function draws one figure and returns it. Figures are made without pyplot, so none stays open and no global state
changes; colours are those CMS recommends for colour-blind readers (Petroff, arXiv:2107.02270).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from . import statistics
from .importance import Importance
from .scored import Prediction, Scored
from .statistics import Array
from .summary import Comparisons, Summary, TargetBins, signals

SIX_COLOURS = ("#5790fc", "#f89c20", "#e42536", "#964a8b", "#9c9ca1", "#7a21dd")
_TEN = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
_LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))
_UNDATED = {".pdf": {"CreationDate": None}}  # the same figure is the same file
_MOST_POINTS = 2000  # of a curve: more only swell the PDF
_MOST_FEATURES = 30
_MOST_WRITTEN = 12  # classes whose confusion matrix still has room for numbers

Draw = TypeVar("Draw", bound=Callable[..., Figure])


def cms_style(draw: Draw) -> Draw:
    """Draw a figure with the CMS style, and only it; the label comes last, when the axes have their final size."""

    @wraps(draw)
    def styled(*args: Any, **kwargs: Any) -> Figure:
        with mpl.rc_context(mplhep.style.CMS):
            figure = draw(*args, **kwargs)
            # Room for a power of ten is not needed (see _whole_ticks), and mplhep would open a figure to measure it.
            mplhep.cms.label("Private work", data=False, rlabel="", ax=figure.axes[0], scilocator_adjust=False)
        return figure

    return cast(Draw, styled)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Save a figure as PDF and PNG, and return their paths."""
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("pdf", "png")]
    with mpl.rc_context(mplhep.style.CMS):  # fonts and sizes are looked up again here
        for path in paths:
            figure.savefig(path, dpi=100, bbox_inches="tight", metadata=_UNDATED.get(path.suffix))
    return paths


@cms_style
def roc(test: Scored, classes: Sequence[str], summary: Summary) -> Figure:
    """Draw background against signal efficiency, one curve for each signal class, with its AUC."""
    figure, axes = _canvas("Signal efficiency", "Background efficiency")
    for name, curve, look in _rocs(test, classes):
        axes.plot(curve.signal, curve.background, label=f"{_text(name)}, AUC = {summary[f'auc.{name}']}", **look)
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=2)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", title=_contest(classes), alignment="left", title_fontsize="small")
    return figure


@cms_style
def roc_log(test: Scored, classes: Sequence[str], summary: Summary) -> Figure:
    """Draw the ROC curves with a logarithmic background efficiency, down to ten effective background events."""
    figure, axes = _canvas("Signal efficiency", "Background efficiency")
    lowest = 0.1
    for name, curve, look in _rocs(test, classes):
        number = statistics.effective_number(test.weight[~test.of_class(list(classes).index(name))])
        shown = curve.background > 10 / max(number, 20.0)
        axes.plot(curve.signal[shown], curve.background[shown], label=f"{_text(name)}", **look)
        lowest = min(lowest, float(np.min(curve.background[shown], initial=0.1)))
        for efficiency in (0.5, 0.8):
            mark = summary[f"rejection.{name}.{efficiency * 100:.0f}"].value
            if np.isfinite(mark):
                axes.plot(efficiency, 1 / mark, "o", color=look["color"], markersize=9)
    axes.plot(*(np.geomspace(1e-6, 1, 200),) * 2, color="0.6", linestyle=":", linewidth=2)
    axes.set(xlim=(0, 1), yscale="log", ylim=(10 ** np.floor(np.log10(lowest)), 1))
    axes.legend(loc="lower right", title=_contest(classes), alignment="left", title_fontsize="small")
    return figure


@cms_style
def rocs(curves: Mapping[str, tuple[Array, Array]], contest: str, log: bool) -> Figure:
    """Draw ROC curves of several models, efficiencies of signal and background by the text of the legend."""
    figure, axes = _canvas("Signal efficiency", "Background efficiency")
    lowest = 0.1
    for k, (text, (signal, background)) in enumerate(curves.items()):
        colour = _colours(len(curves))[k]
        axes.plot(signal, background, color=colour, linestyle=_LINES[k % len(_LINES)], linewidth=3, label=_text(text))
        lowest = min(lowest, float(np.min(background, where=background > 0, initial=0.1)))
    axes.plot(*(np.geomspace(1e-6, 1, 200),) * 2, color="0.6", linestyle=":", linewidth=2)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    if log:
        decades = np.ceil(-np.log10(lowest))
        axes.set(yscale="log", ylim=(10**-decades, 10 ** (decades * 0.08 * (1 + len(curves)))))  # the legend is above
    axes.legend(loc="upper left", title=_text(contest), alignment="left", title_fontsize="small")
    return figure


@cms_style
def precision_recall(test: Scored, classes: Sequence[str], summary: Summary) -> Figure:
    """Draw purity against signal efficiency, with the average precision and the purity of no selection (dotted)."""
    figure, axes = _canvas("Signal efficiency (recall)", "Purity (precision)")
    for name, look in _looks(classes):
        number = list(classes).index(name)
        signal = test.of_class(number)
        precision, recall = statistics.precision_recall(test.scores[:, number], signal, test.weight)
        keep = _thin(len(recall))
        label = f"{_text(name)}, AP = {summary[f'average_precision.{name}']}"
        axes.plot(recall[keep], precision[keep], label=label, **look)
        axes.axhline(statistics.mean(signal, test.weight), color=look["color"], linestyle=":", linewidth=1.5)
    axes.set(xlim=(0, 1), ylim=(0, 1.35), yticks=np.linspace(0, 1, 6))
    axes.legend(loc="upper right", title=_contest(classes), alignment="left", title_fontsize="small")
    return figure


@cms_style
def confusion(matrix: Array, classes: Sequence[str], axis: int) -> Figure:
    """Draw a confusion matrix of sums of weights, normalised by truth (``axis`` 1) or by prediction (``axis`` 0)."""
    figure, axes = _canvas("Predicted class", "True class")
    shares = statistics.normalised(matrix, axis)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, origin="upper")
    names = [_short(name) for name in classes]
    axes.set_xticks(range(len(names)), names, rotation=0 if max(map(len, names)) * len(names) < 36 else 45)
    axes.set_yticks(range(len(names)), names, rotation=90 if len(names) < 4 else 0, va="center")
    axes.minorticks_off()
    axes.tick_params(length=0)
    if len(classes) <= _MOST_WRITTEN:
        size = float(np.clip(80 / len(classes), 12, 32))
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.5 else "black"
            axes.text(column, row, _share(share), ha="center", va="center", fontsize=size, color=colour)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("Fraction of the true class" if axis == 1 else "Fraction of the predicted class")
    return figure


@cms_style
def scores(train: Scored, test: Scored, classes: Sequence[str], score: str, tests: Comparisons) -> Figure:
    """Draw the density of one score for each true class: filled for training rows, points for test rows."""
    figure, axes = _canvas(f"Score of {_text(score)}", "Probability density")
    number = list(classes).index(score)
    edges = np.linspace(0, 1, 41)
    handles: list[Any] = []
    highest = 0.0
    for k, (name, colour) in enumerate(zip(classes, _colours(len(classes)))):
        chosen, seen = test.of_class(k), train.of_class(k)
        filled, _ = _density(train.scores[seen, number], train.weight[seen], edges)
        density, error = _density(test.scores[chosen, number], test.weight[chosen], edges)
        axes.stairs(filled, edges, fill=True, color=colour, alpha=0.3)
        axes.stairs(filled, edges, color=colour, linewidth=2)
        shown = error > 0
        centres = (edges[1:] + edges[:-1]) / 2
        axes.errorbar(centres[shown], density[shown], error[shown], fmt="o", color=colour, markersize=5, linewidth=1.5)
        highest = max(highest, np.max(filled, initial=0.0), np.max(density, initial=0.0))
        handles.append(Patch(facecolor=(colour, 0.3), edgecolor=colour, linewidth=2))
        handles[-1].set_label(f"{_text(name)}, KS {tests[score, name]}")
    handles.append(Patch(facecolor="0.85", edgecolor="0.4", linewidth=2, label="training"))
    handles.append(Line2D([], [], color="0.2", marker="o", linestyle="", markersize=7, label="test"))
    axes.set(xlim=(0, 1), ylim=(0, (highest or 1.0) * (1.25 + 0.07 * len(classes))))
    axes.legend(handles=handles, loc="upper center", ncols=1 if len(handles) < 5 else 2, columnspacing=1.0)
    return figure


@cms_style
def calibration(test: Scored, classes: Sequence[str], summary: Summary) -> Figure:
    """Draw how often a class is true where its score is p, with the expected calibration error."""
    figure, axes = _canvas("Mean score in the bin", "Observed fraction of the class")
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=2)
    for name, look in _looks(classes):
        number = list(classes).index(name)
        curve = statistics.reliability(test.scores[:, number], test.of_class(number), test.prior_weight)
        label = f"{_text(name)}, ECE = {summary[f'calibration_error.{name}']}"
        axes.errorbar(curve.predicted, curve.observed, curve.error, marker="o", markersize=8, label=label, **look)
    axes.set(xlim=(0, 1), ylim=(0, 1.1), yticks=np.linspace(0, 1, 6))
    axes.legend(loc="upper left")
    return figure


@cms_style
def loss(histories: Sequence[Mapping[str, Array]]) -> Figure:
    """Draw the loss of each fold by epoch: training dashed, validation solid, its minimum marked.

    ``histories`` holds the columns ``epoch``, ``train_loss`` and ``val_loss`` (NaN where there was no validation).
    """
    figure, axes = _canvas("Epoch", "Loss")
    colours = _colours(len(histories))
    handles = [
        Line2D([], [], color="0.3", linestyle="--", label="training"),
        Line2D([], [], color="0.3", linestyle="-", label="validation"),
    ]
    if 1 < len(histories) <= len(_TEN):
        handles += [Line2D([], [], color=colour, label=f"fold {fold}") for fold, colour in enumerate(colours)]
    for history, colour in zip(histories, colours):
        epoch, validation = history["epoch"], history["val_loss"]
        axes.plot(epoch, history["train_loss"], color=colour, linestyle="--")
        if np.isfinite(validation).any():
            best = np.nanargmin(validation)
            axes.plot(epoch, validation, color=colour)
            axes.plot(epoch[best], validation[best], "o", color=colour, markersize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.minorticks_off()
    axes.margins(y=0.1)
    axes.legend(handles=handles, loc="upper right", ncols=1 if len(handles) < 6 else 2)
    return figure


@cms_style
def importance(found: Importance, metric: str) -> Figure:
    """Draw the mean decrease of a metric for the most important features, with the spread of the permutations."""
    order = np.argsort(found.mean)[-_MOST_FEATURES:]
    figure, axes = _canvas(f"Decrease of {metric}", "", height=max(4.0, 1.8 + 0.45 * len(order)))
    axes.barh(range(len(order)), found.mean[order], color=SIX_COLOURS[0], height=0.7)
    axes.errorbar(
        found.mean[order], range(len(order)), xerr=found.spread[order], fmt="none", color="black", linewidth=2
    )
    axes.set_yticks(range(len(order)), [_short(found.names[k], 40) for k in order], fontsize=20)
    axes.tick_params(axis="y", which="both", length=0)
    axes.axvline(0, color="black", linewidth=1.5)
    axes.set_ylim(-0.6, len(order) - 0.4)
    return figure


@cms_style
def residuals(rows: Prediction, target: str, summary: Summary) -> Figure:
    """Draw the distribution of prediction - truth over four widths either side, with bias, resolution and RMS."""
    figure, axes = _canvas(f"Predicted - true {_text(target)}", "Probability density")
    width = summary[f"resolution.{target}"].value
    reach = 4 * width if width > 0 else 1.0
    centre = float(np.nan_to_num(statistics.quantile(rows.residual, rows.weight, np.array([0.5]))[0]))
    lines = [f"{word} = {summary[f'{key}.{target}']}" for key, word in _RESIDUAL_WORDS.items()]
    _draw_distribution(axes, rows.residual, rows.weight, np.linspace(centre - reach, centre + reach, 51), lines)
    axes.axvline(0, color="0.4", linestyle=":", linewidth=2, ymax=0.74)
    return figure


_RESIDUAL_WORDS = {"bias": "Bias", "resolution": "Resolution (68%)", "rms": "RMS", "r2": "R$^2$"}


@cms_style
def pulls(rows: Prediction, target: str, summary: Summary) -> Figure:
    """Draw the distribution of (prediction - truth)/sigma beside the standard normal one, with its mean and width."""
    figure, axes = _canvas(rf"(Predicted - true {_text(target)}) / predicted $\sigma$", "Probability density")
    edges = np.linspace(-5, 5, 51)
    lines = [f"Mean = {summary[f'pull_mean.{target}']}", f"Width (68%) = {summary[f'pull_width.{target}']}"]
    _draw_distribution(axes, cast(Array, rows.pull), rows.weight, edges, lines, least=0.4)
    fine = np.linspace(-5, 5, 201)
    axes.plot(fine, np.exp(-(fine**2) / 2) / np.sqrt(2 * np.pi), color=SIX_COLOURS[2], linestyle="--")
    return figure


@cms_style
def coverage(rows: Prediction, target: str) -> Figure:
    """Draw how much of the truth lies below each predicted quantile."""
    figure, axes = _canvas("Level of the quantile", f"Fraction of true {_text(target)} below it")
    values, errors = np.array(list(rows.coverage.values())).T
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=2)
    axes.errorbar(list(rows.coverage), values, errors, fmt="o", color=SIX_COLOURS[0], markersize=8, linewidth=2)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return figure


def _draw_distribution(
    axes: Axes, values: Array, weight: Array, edges: Array, lines: Sequence[str], least: float = 0.0
) -> None:
    """Draw a density with its errors and lines of text above; the axis reaches up to ``least`` at least."""
    density, error = _density(values, weight, edges)
    axes.stairs(density, edges, fill=True, color=SIX_COLOURS[0], alpha=0.3)
    axes.stairs(density, edges, color=SIX_COLOURS[0], linewidth=2)
    shown = error > 0
    axes.errorbar(((edges[1:] + edges[:-1]) / 2)[shown], density[shown], error[shown], fmt="none", color=SIX_COLOURS[0])
    axes.text(0.05, 0.95, "\n".join(lines), transform=axes.transAxes, va="top", fontsize="small", linespacing=1.4)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, float(np.max(density, initial=least) or 1.0) * 1.45))
    _whole_ticks(axes)


@cms_style
def true_predicted(rows: Prediction, target: str) -> Figure:
    """Draw the rows in the plane of true and predicted value, central 99 % of both, with the line of equality."""
    name = _text(target)
    figure, axes = _canvas(f"True {name}", f"Predicted {name}")
    low, high = np.quantile(np.concatenate([rows.true, rows.predicted]), [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, 61)
    counts, _, _ = np.histogram2d(rows.true, rows.predicted, bins=(edges, edges), weights=rows.weight)
    filled = np.ma.masked_less_equal(counts.T, 0)
    norm = LogNorm(vmin=filled.min(), vmax=filled.max()) if filled.count() > 1 else None
    mesh = axes.pcolormesh(edges, edges, filled, cmap="cividis", norm=norm, rasterized=True)
    axes.plot(edges[[0, -1]], edges[[0, -1]], color="#e42536", linestyle="--", linewidth=2)
    axes.set(xlim=edges[[0, -1]], ylim=edges[[0, -1]])
    axes.set_box_aspect(1)
    _whole_ticks(axes)
    figure.colorbar(mesh, ax=axes, fraction=0.046, pad=0.03, label="Sum of weights")
    return figure


@cms_style
def target_bins(bins: TargetBins, target: str) -> Figure:
    """Draw resolution (upper panel) and bias (lower panel) in bins of the true value."""
    name = _text(target)
    figure = new_figure(10)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"hspace": 0.08, "height_ratios": [3, 2]})
    reach = np.abs(np.stack([bins.edges[:-1], bins.edges[1:]]) - bins.centre)
    for axes, estimates, colour in ((upper, bins.resolution, SIX_COLOURS[0]), (lower, bins.bias, SIX_COLOURS[2])):
        values, errors = np.array(estimates).T
        axes.errorbar(bins.centre, values, errors, reach, fmt="o", color=colour, markersize=8, linewidth=2)
    top = np.nanmax([e.value + np.nan_to_num(e.error) for e in bins.resolution], initial=0.0)
    upper.set_ylim(0, 1.25 * top or 1.0)
    upper.set_ylabel("Resolution (68%)")
    lower.axhline(0, color="0.4", linestyle=":", linewidth=2)
    lower.margins(y=0.2)
    lower.set(xlabel=f"True {name}", ylabel="Bias")
    _whole_ticks(upper)
    _whole_ticks(lower)
    figure.align_ylabels()
    return figure


@cms_style
def shares(stages: Sequence[Array], edges: Sequence[float], classes: Sequence[str], variable: str) -> Figure:
    """Draw how each class is distributed over bins, (C, n), before (upper panel) and after (lower panel) a balance."""
    figure = new_figure(10)
    panels = figure.subplots(2, 1, sharex=True, gridspec_kw={"hspace": 0.08})
    for axes, stage, label in zip(panels, stages, ("before", "after")):
        for k, (name, colour) in enumerate(zip(classes, _colours(len(classes)))):
            look = {"color": colour, "linestyle": _LINES[k % len(_LINES)], "linewidth": 3}
            axes.stairs(stage[k], edges, baseline=None, label=_text(name), **look)
        least, most = np.min(stage[stage > 0]), np.max(stage)
        steep = most > 30 * least
        axes.set(ylabel=f"Share {label}", yscale="log" if steep else "linear")
        axes.set_ylim((least / 3, most * 8) if steep else (min(0.0, 1.1 * np.min(stage)), 1.5 * most))
    panels[0].legend(loc="upper right", ncols=2 if len(classes) > 3 else 1)
    panels[1].set(xlabel=_text(variable), xlim=(edges[0], edges[-1]))
    panels[1].xaxis.set_major_formatter("{x:.6g}")
    figure.align_ylabels()
    return figure


@cms_style
def totals(values: Mapping[str, Array], classes: Sequence[str]) -> Figure:
    """Draw numbers of each class, (2, C), before and after a balance; each kind has a panel."""
    figure = new_figure(12)
    panels = figure.subplots(len(values), 1, sharex=True, gridspec_kw={"hspace": 0.12})
    places = np.arange(len(classes))
    for axes, (what, stages) in zip(panels, values.items()):
        for k, (label, colour) in enumerate({"before": SIX_COLOURS[4], "after": SIX_COLOURS[0]}.items()):
            axes.bar(places + 0.4 * (k - 0.5), stages[k], 0.38, color=colour, label=label)
        axes.set(ylabel=what, ylim=(min(0.0, np.min(stages)), 1.3 * max(0.01, np.max(stages))))
        axes.tick_params(axis="x", which="both", length=0)
    panels[0].legend(loc="upper right", ncols=2)
    names = [_short(name) for name in classes]
    panels[-1].set_xticks(places, names, rotation=0 if max(map(len, names)) * len(names) < 48 else 45)
    figure.align_ylabels()
    return figure


def new_figure(height: float) -> Figure:
    """Open a figure of width 10 and the given height (inches), which no window shows."""
    figure = Figure(figsize=(10, height))
    FigureCanvasAgg(figure)
    return figure


def _canvas(x: str, y: str, height: float = 10) -> tuple[Figure, Axes]:
    figure = new_figure(height)
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    return figure, axes


def _whole_ticks(axes: Axes) -> None:
    """Write ticks in full, ``2e-06``: a common power of ten at the end of an axis would lie on the labels."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:.6g}")


def _colours(number: int) -> list[str]:
    palette = SIX_COLOURS if number <= len(SIX_COLOURS) else _TEN
    return [palette[k % len(palette)] for k in range(number)]


def _looks(classes: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return the signal classes, each with a colour and a line style of its own."""
    colours = _colours(len(classes))
    return [
        (name, {"color": colours[k], "linestyle": _LINES[k % len(_LINES)], "linewidth": 3})
        for k, name in enumerate(signals(classes))
    ]


def _rocs(test: Scored, classes: Sequence[str]) -> list[tuple[str, statistics.Roc, dict[str, Any]]]:
    found = []
    for name, look in _looks(classes):
        number = list(classes).index(name)
        curve = statistics.roc_curve(test.scores[:, number], test.of_class(number), test.weight)
        found.append((name, statistics.thinned(curve, 2 * _MOST_POINTS), look))
    return found


def _thin(number: int) -> Array:
    """Choose evenly spread points of a curve, ends included."""
    return np.unique(np.linspace(0, number - 1, _MOST_POINTS).astype(int)) if number else np.zeros(0, int)


def _density(values: Array, weight: Array, edges: Array) -> tuple[Array, Array]:
    """Return the weighted probability density and its error; both 0 where there is nothing to normalise."""
    total = float(np.sum(weight))
    if not total > 0:
        return np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    content, _ = np.histogram(values, edges, weights=weight)
    squares, _ = np.histogram(values, edges, weights=weight**2)
    errors = statistics.fraction_error(content / total, squares, weight)
    return content / total / np.diff(edges), np.nan_to_num(errors) / np.diff(edges)


def _contest(classes: Sequence[str]) -> str:
    return f"{_text(classes[0])} against {_text(classes[1])}" if len(classes) == 2 else "one against the rest"


def _share(share: float) -> str:
    return "-" if not np.isfinite(share) else f"{share:.3f}" if share < 0.9995 else f"{share:.0%}"


def _text(name: str) -> str:
    """Keep a dollar sign of a user's name from being read as mathematics."""
    return name.replace("$", r"\$")


def _short(name: str, most: int = 16) -> str:
    return _text(name if len(name) <= most else f"{name[: most - 3]}...")
