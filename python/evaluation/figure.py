"""What a figure of an evaluation is, and which there are; see :mod:`nanoforge.evaluation.figures` on how to add one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Optional

from ..errors import UserError, code_file, first_line, raised_at
from ..registry import Registry, import_object
from .results import Results

if TYPE_CHECKING:
    import hist
    import numpy as np
    from matplotlib.figure import Figure

KEY = "evaluation.figures"
PERFORMANCE, SCORES, INPUTS, TRAINING, DATA = "Performance", "Scores", "Inputs", "Training", "Data"
"""Sections of the report, in its order; those of other names follow."""


@dataclass(frozen=True)
class Curve:
    """What a pointer on a figure of the page reads off.

    Attributes
    ----------
    name
        What is above the numbers.
    x, y
        Where its N points lie in the figure, in units of the axes, (N,) each.
    values
        What is read at each point, by name, (N,) each.
    axes
        Number of the axes in the figure.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    values: Mapping[str, np.ndarray]
    axes: int = 0


@dataclass(frozen=True)
class Plot:
    """A figure with the name of its file, its title, and what it means in a sentence.

    Attributes
    ----------
    figure
        None where only its histograms are kept.
    section
        The part of the report that it belongs to; "" where a page has none.
    curves
        What a pointer reads off.
    histograms
        What it is drawn from, by path in the ROOT file beside the page.
    """

    name: str
    title: str
    meaning: str
    figure: Optional[Figure]
    section: str = ""
    curves: Sequence[Curve] = ()
    histograms: Mapping[str, hist.Hist] = field(default_factory=dict)


class ReportFigure(ABC):
    """A figure, or one for each class, target or variable.

    Attributes
    ----------
    task
        "classification" or "regression"; None for both.
    title
        What stands above it; ``{}`` is the class, target or variable.
    meaning
        What it shows, in a sentence or two; ``{}`` as in the title.
    position
        Small numbers come first in their section of the report.
    section
        The part of the report that it belongs to: one of ours, or another.
    """

    task: ClassVar[Optional[str]] = None
    title: ClassVar[str]
    meaning: ClassVar[str]
    position: ClassVar[int] = 1000
    section: ClassVar[str] = PERFORMANCE

    @abstractmethod
    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw what there is to draw, one at a time, and yield what :meth:`plot` makes of it."""

    def plot(
        self,
        name: str,
        figure: Figure,
        subject: str = "",
        *,
        curves: Sequence[Curve] = (),
        histograms: Mapping[str, hist.Hist] | None = None,
        note: str = "",
    ) -> Plot:
        """Give a figure the name of its file, and title and meaning, in which ``subject`` takes the place of ``{}``.

        ``note`` is what there is to say of this one figure; for the others see :class:`Plot`.
        """
        title, meaning = (text.replace("{}", subject) for text in (self.title, self.meaning))
        meaning = f"{meaning} {note}".strip()
        return Plot(name, title, meaning, figure, self.section, curves, histograms or {})

    def histograms_only(self, name: str, histograms: Mapping[str, hist.Hist]) -> Plot:
        """Keep the histograms of what is not drawn."""
        return Plot(name, "", "", None, self.section, (), histograms)


FIGURES: Registry[ReportFigure] = Registry("figure", ReportFigure, f"{__package__}.figures")  # type: ignore[type-abstract]


@lru_cache(maxsize=1)
def all_figures() -> tuple[ReportFigure, ...]:
    """Return ours and those of installed packages, in the order of the report."""
    return tuple(sorted((kind() for _, kind in FIGURES.all()), key=lambda figure: figure.position))


def chosen_figures(task: str, specs: Sequence[str] = ()) -> list[ReportFigure]:
    """Return the figures of a task, and those that an analysis names, ``specs`` being ``evaluation.figures``."""
    return [figure for figure in (*all_figures(), *user_figures(specs)) if figure.task in (None, task)]


def user_figures(specs: Sequence[str]) -> list[ReportFigure]:
    """Return the figures that an analysis names: functions of a :class:`.Results`, or classes.

    Raises
    ------
    UserError
        When one cannot be imported, or is neither.
    """
    return [_user_figure(spec) for spec in specs]


def _user_figure(spec: str) -> ReportFigure:
    loaded = import_object(spec, KEY)
    if isinstance(loaded, type):
        return FIGURES.load(spec, KEY)()
    if not callable(loaded):
        raise UserError(f"{KEY}: '{spec}' is neither a function nor a class of a figure")
    return _FunctionFigure(loaded, spec)


class _FunctionFigure(ReportFigure):
    """A function of a user's, whose docstring says what the figure means."""

    def __init__(self, function: Callable[[Results], Any], spec: str) -> None:
        self._function, self._spec = function, spec

    def draw(self, results: Results) -> Iterator[Plot]:
        """Call the function; what is not a figure is an error."""
        from matplotlib.figure import Figure

        try:
            figure = self._function(results)
        except Exception as error:  # the user's code may fail in any way
            line = raised_at(error, code_file(self._function))
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise UserError(f"{KEY}: '{self._spec}' fails{line} ({reason}): it gets the results") from error
        if not isinstance(figure, Figure):
            kind = type(figure).__name__
            raise UserError(f"{KEY}: '{self._spec}' returns {kind}, and a matplotlib.figure.Figure is needed")
        name = self._spec.rpartition(":")[2]
        title, meaning = name.replace("_", " ").capitalize(), (self._function.__doc__ or "").strip()
        yield Plot(name, title, meaning, figure, self.section)
