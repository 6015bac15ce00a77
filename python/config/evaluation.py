"""What an evaluation measures and draws beside what it always does."""

from __future__ import annotations

from typing import Annotated, Optional

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .base import Identifier, Interval, Strict, one_as_list


class WorkingPoint(Strict):
    """A cut on the score of a signal class: what it keeps at least of the signal, or at most of the background."""

    background: Optional[Annotated[float, Field(gt=0, lt=1)]] = None
    """The largest fraction of the background that passes; the cut is the loosest one."""
    signal: Optional[Annotated[float, Field(gt=0, lt=1)]] = None
    """The least fraction of the signal that passes; the cut is the tightest one."""
    against: Optional[str] = None
    """The class that is the background, in place of all others together; its own score has no such cut."""

    @model_validator(mode="after")
    def _one_way(self) -> WorkingPoint:
        if (self.background is None) == (self.signal is None):
            raise ValueError("write one of {background: 0.01} and {signal: 0.7}")
        if self.signal is not None and self.against is not None:
            raise ValueError("'against' says whose efficiency 'background' is: remove it, or 'signal'")
        return self


WORKING_POINTS = {
    name: WorkingPoint(background=share) for name, share in (("loose", 0.1), ("medium", 0.01), ("tight", 0.001))
}
"""As CMS calls those of its taggers."""


class FigureLabel(Strict):
    """What stands above the axes of figures: experiment, status, and on the right luminosity and energy."""

    experiment: Optional[str] = None
    """In bold; by default CMS, and nothing where all samples are generated here."""
    status: str = "Private work"
    """In italics, after "Simulation" where there are no data: ``Preliminary``, ``Work in progress``."""
    energy: Annotated[Optional[float], Field(gt=0)] = None
    """Of the collision, in TeV; by default that of the generators where all samples have one."""


def _titles(titles: dict[str, str]) -> dict[str, str]:
    for name, title in titles.items():
        if title.count("$") % 2:
            raise ValueError(f"{name}: write mathematics between two dollar signs: {title!r} has an odd number of them")
    return titles


class Evaluation(Strict):
    """Metrics and figures of yours, which appear in the report and MLflow; metrics in ``metrics.json`` and comparisons.

    A function of a metric gets the truth, the scores and the weights of the test rows, and returns a number. For a
    classification these are class numbers (N,), one score for each class (N, C) and weights (N,); for a regression,
    true values, predictions and weights, (N,) each, of one target at a time. A function of a figure gets the results,
    whose ``test.truth``, ``test.scores`` and ``test.weight`` are the same arrays, and returns a figure of matplotlib.
    """

    functions: list[str] = []
    """Metrics as ``module:function``, or ``module:Class`` derived from one of NanoForge's metrics."""
    figures: list[str] = []
    """Figures as ``module:function``, or ``module:Class`` derived from
    ``nanoforge.evaluation.figure.ReportFigure``."""

    range: dict[str, Interval] = {}
    """Of targets: rows whose truth lies outside count in no figure of merit, e.g. ``{mass: [0, 1]}`` where single
    photons have masses below zero."""

    working_points: dict[Identifier, WorkingPoint] = WORKING_POINTS
    """Cuts on the score of each signal class, by name: ``{medium: {background: 0.01}, half: {signal: 0.5}}``."""
    against: Annotated[Optional[list[str]], BeforeValidator(one_as_list)] = None
    """Columns of ``keep`` and features of the rows against which efficiencies (at the working point in the middle) or
    responses are drawn; by default the first three of those in ``keep``, without identities, and of features called
    ``pt`` or ``eta``."""

    titles: Annotated[dict[str, str], AfterValidator(_titles)] = {}
    """What figures call features (``<input>.<feature>``), lengths (``num(<input>)``), columns of ``keep``, targets and
    classes, with units: ``{jet.pt: "Jet $p_T$ [GeV]"}``."""
    label: FigureLabel = FigureLabel()
    """Experiment, status and energy above the axes of figures."""
    integrated_gradients: Optional[Annotated[int, Field(gt=0, le=20_000)]] = None
    """Attribute the scores of so many test rows, 1000 say, to the features, by integrated gradients: each takes as long
    as some hundred scores. It is for networks, and left out by default."""

    @property
    def specs(self) -> list[str]:
        """All of them."""
        return [*self.functions, *self.figures]
