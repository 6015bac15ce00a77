"""What figures have in common: the style of CMS, colours, axes, curves.

Figures are made without pyplot, so none stays open and no global state
changes; colours are those CMS recommends for colour-blind readers (Petroff, arXiv:2107.02270).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.transforms import Bbox, blended_transform_factory
from PIL import Image

from ..errors import UserError, first_line
from . import statistics
from .scored import Scored
from .statistics import Array
from .summary import signals

SIX_COLOURS = ("#5790fc", "#f89c20", "#e42536", "#964a8b", "#9c9ca1", "#7a21dd")
TEN_COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
LINE_STYLES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))
MARKERS = "osD^v<>Pph"
_UNDATED = {".pdf": {"CreationDate": None}}  # the same figure is the same file
_DPI, _COLOURS = 100, 128
_MOST_POINTS = 2000  # of a curve: more only swell the PDF

Draw = TypeVar("Draw", bound=Callable[..., Figure])


@dataclass(frozen=True)
class Wording:
    """What figures say.

    Attributes
    ----------
    experiment, status
        Above the axes, in bold and in italics.
    right
        Above them on the right: luminosity and energy.
    titles
        What features, columns, targets and classes are called, by name.
    """

    experiment: str = "CMS"
    status: str = "Private work"
    right: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)


_WORDING: ContextVar[Wording] = ContextVar("wording", default=Wording())  # noqa: B039 - it is frozen


@contextmanager
def worded(wording: Wording) -> Iterator[None]:
    """Draw figures that say this."""
    token = _WORDING.set(wording)
    try:
        yield
    finally:
        _WORDING.reset(token)


def check_titles(titles: Mapping[str, str]) -> None:
    """See that titles can be drawn.

    Raises
    ------
    UserError
        When the mathematics of one cannot.
    """
    for name, title in titles.items():
        try:
            MathTextParser("path").parse(title)
        except ValueError as error:
            raise UserError(f"evaluation.titles.{name}: {title!r} cannot be drawn: {first_line(error)}") from None


def cms_style(draw: Draw) -> Draw:
    """Draw a figure of simulated events with the CMS style, and only it."""

    @wraps(draw)
    def styled(*args: Any, **kwargs: Any) -> Figure:
        return cms_figure(lambda: draw(*args, **kwargs), data=False)

    return cast(Draw, styled)


def cms_figure(draw: Callable[[], Figure], *, data: bool) -> Figure:
    """Draw a figure, of ``data`` or not, in the CMS style."""
    with mpl.rc_context(mplhep.style.CMS):
        figure = draw()
        _label(figure.axes[0], _WORDING.get(), "" if data else "Simulation ")
    return figure


def _label(axes: Axes, wording: Wording, kind: str) -> None:
    """Write experiment, status and what is on the right above the axes, as mplhep does, which draws the figure first.

    It does so to measure the experiment.
    """
    size, text = mpl.rcParams["font.size"], f"{kind}{wording.status}"
    if wording.right and axes.figure is not None:
        last = max(other.get_position().x1 for other in axes.figure.axes)  # colour bars are beside the axes
        beside = blended_transform_factory(axes.figure.transFigure, axes.transAxes)
        axes.text(last, 1.005, wording.right, transform=beside, ha="right", va="bottom", fontsize=0.8 * size)
    if not wording.experiment:
        axes.text(0, 1.005, text, transform=axes.transAxes, va="bottom", fontstyle="italic")
        return
    bold = {"fontsize": 1.3 * size, "fontweight": "bold"}
    first = axes.text(0, 1.005, wording.experiment, transform=axes.transAxes, va="bottom", **bold)
    right = (0.3 * size, 0.07 * size)  # on one baseline
    axes.annotate(text, (1, 0), right, xycoords=first, textcoords="offset points", va="bottom", fontstyle="italic")


def picture_box(figure: Figure) -> Bbox:
    """Return, in inches, what of a figure is saved: all that is drawn, and a margin."""
    with mpl.rc_context(mplhep.style.CMS):  # fonts and sizes are looked up again here
        return figure.get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])


def save(figure: Figure, stem: Path, box: Bbox | None = None) -> list[Path]:
    """Save a figure as PDF and PNG, ``box`` of it being what :func:`picture_box` gives; returns their paths."""
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("pdf", "png")]
    box = box or picture_box(figure)
    with mpl.rc_context(mplhep.style.CMS):
        for path in paths:
            figure.savefig(path, dpi=_DPI, bbox_inches=box, metadata=_UNDATED.get(path.suffix))
    _reduce_colours(paths[1])
    return paths


def _reduce_colours(png: Path) -> None:
    """Write an image with a palette: a third of the bytes, which a page holds many times."""
    with Image.open(png) as image:
        reduced = image.convert("RGB").quantize(_COLOURS, Image.Quantize.FASTOCTREE)
    reduced.save(png)


def draw_distribution(
    axes: Axes, values: Array, weight: Array, edges: Array, lines: Sequence[str], least: float = 0.0
) -> None:
    """Draw a density with its errors and lines of text above; the axis reaches up to ``least`` at least."""
    density, error = weighted_density(values, weight, edges)
    axes.stairs(density, edges, fill=True, color=SIX_COLOURS[0], alpha=0.3)
    axes.stairs(density, edges, color=SIX_COLOURS[0], linewidth=2)
    filled = error > 0
    axes.errorbar(
        ((edges[1:] + edges[:-1]) / 2)[filled], density[filled], error[filled], fmt="none", color=SIX_COLOURS[0]
    )
    axes.text(0.05, 0.95, "\n".join(lines), transform=axes.transAxes, va="top", fontsize="small", linespacing=1.4)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, float(np.max(density, initial=least) or 1.0) * 1.45))
    whole_ticks(axes)


def new_figure(height: float) -> Figure:
    """Open a figure of width 10 and the given height (inches), which no window shows."""
    figure = Figure(figsize=(10, height))
    FigureCanvasAgg(figure)
    return figure


def canvas(x: str, y: str, height: float = 10) -> tuple[Figure, Axes]:
    """Open a figure with one pair of axes, and label them."""
    figure = new_figure(height)
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    return figure, axes


def panels(x: str, y: str, below: str) -> tuple[Figure, Axes, Axes]:
    """Open a figure with axes above a smaller panel for a ratio, and label them."""
    figure = new_figure(11)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"hspace": 0.06, "height_ratios": [3, 1]})
    upper.set(ylabel=y)
    lower.set(xlabel=x)
    lower.set_ylabel(below, loc="center", fontsize="small")
    figure.align_ylabels()
    return figure, upper, lower


def ratio_axis(axes: Axes, low: float = 0.5, high: float = 1.5) -> None:
    """Draw the line at one of a ratio, and limit what is shown."""
    axes.axhline(1, color="0.4", linestyle=":", linewidth=2)
    axes.set_ylim(low, high)


def ratio_of(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the ratio of independent values and its error, each a pair of value and error; NaN over 0."""
    (a, a_error), (b, b_error) = first, second
    below = np.where(b > 0, b, np.nan)
    return a / below, np.hypot(a_error, a * b_error / below) / below


def whole_ticks(axes: Axes) -> None:
    """Write ticks in full, ``2e-06``: a common power of ten at the end of an axis would lie on the labels."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:.6g}")


def palette(number: int) -> list[str]:
    """Return so many colours, which repeat beyond ten."""
    colours = SIX_COLOURS if number <= len(SIX_COLOURS) else TEN_COLOURS
    return [colours[k % len(colours)] for k in range(number)]


def class_looks(classes: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return the signal classes, each with a colour and a line style of its own."""
    colours = palette(len(classes))
    return [
        (name, {"color": colours[k], "linestyle": LINE_STYLES[k % len(LINE_STYLES)], "linewidth": 3})
        for k, name in enumerate(signals(classes))
    ]


def roc_curves(test: Scored, classes: Sequence[str]) -> list[tuple[str, statistics.Roc, dict[str, Any]]]:
    """Return the signal classes, each with its ROC curve and its look."""
    curves = []
    for name, look in class_looks(classes):
        number = list(classes).index(name)
        curve = statistics.roc_curve(test.scores[:, number], test.of_class(number), test.weight)
        curves.append((name, statistics.thinned(curve, 2 * _MOST_POINTS), look))
    return curves


def working_points(curve: statistics.Roc) -> dict[str, Array]:
    """Return what a pointer reads off a ROC curve."""
    return {
        "threshold": curve.threshold,
        "signal efficiency": curve.signal,
        "background efficiency": curve.background,
    }


def thinned_points(number: int) -> Array:
    """Choose evenly spread points of a curve, ends included."""
    return np.unique(np.linspace(0, number - 1, _MOST_POINTS).astype(int)) if number else np.zeros(0, int)


def weighted_density(values: Array, weight: Array, edges: Array) -> tuple[Array, Array]:
    """Return the weighted probability density and its error; both 0 where there is nothing to normalise."""
    total = float(np.sum(weight))
    if not total > 0:
        return np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    content, _ = np.histogram(values, edges, weights=weight)
    squares, _ = np.histogram(values, edges, weights=weight**2)
    errors = statistics.fraction_error(content / total, squares, weight)
    return content / total / np.diff(edges), np.nan_to_num(errors) / np.diff(edges)


def contest_text(classes: Sequence[str]) -> str:
    """Say what a curve of a signal class separates."""
    return f"{plain_text(classes[0])} against {plain_text(classes[1])}" if len(classes) == 2 else "one against the rest"


def plain_text(name: str) -> str:
    """Return the title that a name has, or the name, whose dollar signs are not read as mathematics."""
    title = _WORDING.get().titles.get(name)
    return name.replace("$", r"\$") if title is None else title


def shortened(name: str, most: int = 16) -> str:
    """Cut a long name that has no title."""
    if name in _WORDING.get().titles:
        return plain_text(name)
    return plain_text(name if len(name) <= most else f"{name[: most - 3]}...")
