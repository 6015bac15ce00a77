"""The figures of an evaluation: drawn, saved, and kept for the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hist
import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from ..errors import UserError
from .figure import KEY, Curve, Plot, chosen_figures
from .report import Picture
from .results import Results
from .style import picture_box, save

_MOST_POINTS = 200
"""Of a curve that can be read off."""


def plots(results: Results, specs: Sequence[str] = ()) -> Iterator[Plot]:
    """Yield the figures of an evaluation, drawn one at a time; ``specs`` are those that the analysis adds."""
    for figure in chosen_figures(results.task, specs):
        yield from figure.draw(results)


def save_all(plots: Iterable[Plot], folder: Path, beside: Path | None = None) -> tuple[list[Picture], list[Path]]:
    """Save figures as PDF and PNG in a folder, the page that shows them being in the one above, or in ``beside``.

    Returns
    -------
    pictures, paths
        What a page shows of them, and the files.

    Raises
    ------
    UserError
        When two have one name.
    """
    pictures: dict[str, Picture] = {}
    paths = []
    for plot in plots:
        if plot.figure is None:
            continue
        if plot.name in pictures:
            raise UserError(f"{KEY}: there are two figures {plot.name!r}: give yours another name")
        box = picture_box(plot.figure)
        pdf, png = save(plot.figure, folder / plot.name, box)
        paths += [pdf, png]
        link = pdf.relative_to(beside or folder.parent).as_posix()
        curves = [_read_off(curve, plot.figure, box) for curve in plot.curves]
        pictures[plot.name] = Picture(plot.title, plot.meaning, png.read_bytes(), plot.section, link, curves)
    return list(pictures.values()), paths


def _read_off(curve: Curve, figure: Figure, box: Bbox) -> dict[str, Any]:
    """Say where the points of a curve are in the picture, as shares of its width and height from the upper left."""
    axes = figure.axes[curve.axes]
    inches = axes.transData.transform(np.column_stack([curve.x, curve.y])) / figure.dpi
    at = (inches - (box.x0, box.y1)) / (box.width, -box.height)
    (shown,) = np.nonzero(((at >= 0) & (at <= 1)).all(axis=1))  # also not what is infinite, or NaN
    shown = shown[_evenly(at[shown], _MOST_POINTS)]
    return {
        "name": curve.name,
        "at": np.round(at[shown], 4).tolist(),
        "columns": list(curve.values),
        "values": [[f"{value:.6g}" for value in np.asarray(values)[shown]] for values in curve.values.values()],
    }


def _evenly(at: np.ndarray, most: int) -> np.ndarray:
    """Choose at most so many points, (P, 2), at equal distances along their line."""
    if len(at) <= most:
        return np.arange(len(at))
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(at, axis=0).T))])
    return np.unique(np.searchsorted(along, np.linspace(0, along[-1], most)))


def collect_histograms(plots: Iterable[Plot], histograms: dict[str, hist.Hist]) -> Iterator[Plot]:
    """Pass figures on, and keep what they are drawn from, by path."""
    for plot in plots:
        histograms.update(plot.histograms)
        yield plot
