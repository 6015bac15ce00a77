"""What a figure of merit is, and which there are; see :mod:`nanoforge.evaluation.metrics` on how to add one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Generic, TypeVar, Union

import numpy as np

from ..errors import UserError, code_file, first_line, raised_at
from ..registry import Registry, import_object
from .scored import OneAgainstRest, Prediction, Scored
from .statistics import Array, Estimate

KEY = "evaluation.functions"

Rows = TypeVar("Rows")
Value = Union[Estimate, Mapping[str, Estimate]]
"""A number, or some by what they are for, ``{"50": ...}``; none where there is nothing to say."""
UserFunction = Callable[[Array, Array, Array], Any]


class Metric(ABC, Generic[Rows]):
    """A figure of merit of rows.

    Attributes
    ----------
    name
        What files call it; that of its module.
    title
        What people call it. Of a metric of several numbers ``{}`` stands for what each is for.
    meaning
        What it says, in a sentence.
    task
        "classification" or "regression".
    position
        Small numbers come first in tables.
    compared
        Whether ``nanoforge compare`` shows it.
    """

    title: ClassVar[str]
    meaning: ClassVar[str]
    task: ClassVar[str]
    position: ClassVar[int] = 100
    compared: ClassVar[bool] = True

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def evaluate(self, rows: Rows) -> Value:
        """Return the figure of merit; NaN where it is undefined, as of no rows."""

    def is_compared(self, variant: str) -> bool:
        """Whether ``nanoforge compare`` shows a number, which is for ``variant`` ("" of a metric of one number)."""
        del variant
        return self.compared


class ClassMetric(Metric[OneAgainstRest]):
    """A figure of merit of the score of one class, against all others: one for each signal class."""

    task = "classification"


class ScoreMetric(Metric[Scored]):
    """A figure of merit of the scores of all classes together."""

    task = "classification"


class TargetMetric(Metric[Prediction]):
    """A figure of merit of a regression: one for each target, of the rows where it is known."""

    task = "regression"


METRICS: Registry[Metric] = Registry("metric", Metric, f"{__package__}.metrics")  # type: ignore[type-abstract]


@lru_cache(maxsize=1)
def all_metrics() -> tuple[Metric, ...]:
    """Return ours and those of installed packages, in the order of tables."""
    return tuple(sorted((kind(name) for name, kind in METRICS.all()), key=lambda metric: metric.position))


def chosen_metrics(task: str, functions: Sequence[str] = ()) -> list[Metric]:
    """Return the metrics of a task, with those that an analysis names.

    Parameters
    ----------
    task
        "classification" or "regression".
    functions
        ``evaluation.functions``: functions of (truth, scores, weights), or classes derived from :class:`Metric`.

    Raises
    ------
    UserError
        When one cannot be imported, or has the name of another.
    """
    additions = [_user_metric(spec, task) for spec in functions]
    metrics = [*all_metrics(), *additions]
    for metric in additions:
        if [other.name for other in metrics].count(metric.name) > 1:
            raise UserError(f"{KEY}: there are two metrics {metric.name!r}: give yours another name")
    return [metric for metric in metrics if metric.task == task]


def _user_metric(spec: str, task: str) -> Metric:
    loaded, name = import_object(spec, KEY), spec.rpartition(":")[2]
    if isinstance(loaded, type):
        return METRICS.load(spec, KEY)(name)
    if not callable(loaded):
        raise UserError(f"{KEY}: '{spec}' is neither a function nor a class of a metric")
    return _TargetFunction(name, loaded, spec) if task == "regression" else _ScoreFunction(name, loaded, spec)


class _UserMetric(Metric[Rows]):
    """A function of a user's."""

    def __init__(self, name: str, function: UserFunction, spec: str) -> None:
        super().__init__(name)
        self._function, self._spec = function, spec

    def _call(self, truth: Array, scores: Array, weight: Array) -> Estimate:
        if not len(truth):
            return Estimate(float("nan"))
        try:
            value = float(self._function(truth, scores, weight))
        except Exception as error:  # the user's code may fail in any way
            line = raised_at(error, code_file(self._function))
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise UserError(
                f"{KEY}: '{self._spec}' fails{line} ({reason}): it gets truth, scores and weights"
            ) from error
        if not np.isfinite(value):
            raise UserError(
                f"{KEY}: '{self._spec}' gives {value} for {len(truth):,} rows, and a finite number is needed"
            )
        return Estimate(value)


class _ScoreFunction(_UserMetric[Scored], ScoreMetric):
    """One of the (N,) class numbers, (N, C) scores and (N,) weights."""

    def evaluate(self, rows: Scored) -> Estimate:
        return self._call(rows.truth, rows.scores, rows.weight)


class _TargetFunction(_UserMetric[Prediction], TargetMetric):
    """One of the (N,) true values, (N,) predictions and (N,) weights of one target."""

    def evaluate(self, rows: Prediction) -> Estimate:
        return self._call(rows.true, rows.predicted, rows.weight)


def split_name(name: str) -> tuple[Metric | None, str, str]:
    """Divide the dotted name of a figure of merit, ``rejection.signal.50``, into metric, output and variant.

    The metric is None where it is not ours, but a user's.
    """
    kind, _, rest = name.partition(".")
    metric = next((metric for metric in all_metrics() if metric.name == kind), None)
    output, _, variant = rest.partition(".")
    return metric, output, variant


def words(name: str) -> str:
    """Turn the dotted name of a figure of merit into words, e.g. ``rejection.signal.50``."""
    metric, output, variant = split_name(name)
    if metric is None:
        return ", ".join(name.split("."))
    return ", ".join(filter(None, [metric.title.format(variant), output]))
