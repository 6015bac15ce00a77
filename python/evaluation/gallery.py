"""The figures of an evaluation: drawn, saved, and kept for the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import UserError
from .figure import KEY, Plot, chosen_figures
from .report import Picture
from .results import Results
from .style import save


def plots(results: Results, specs: Sequence[str] = ()) -> Iterator[Plot]:
    """Yield the figures of an evaluation, drawn one at a time; ``specs`` are those that the analysis adds."""
    for figure in chosen_figures(results.task, specs):
        yield from figure.draw(results)


def save_all(plots: Iterable[Plot], folder: Path) -> tuple[list[Picture], list[Path]]:
    """Save figures as PDF and PNG in a folder.

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
        if plot.name in pictures:
            raise UserError(f"{KEY}: there are two figures {plot.name!r}: give yours another name")
        pdf, png = save(plot.figure, folder / plot.name)
        paths += [pdf, png]
        pictures[plot.name] = Picture(plot.title, plot.meaning, png.read_bytes())
    return list(pictures.values()), paths
