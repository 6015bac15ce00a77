"""Several runs side by side: figures of merit, what they cost, and where their configurations differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..provenance.manifest import flat
from .metric import split_name, words
from .paired import Difference, differences
from .report import ReportTable
from .scored import Scored
from .statistics import Array, Estimate

_WIDEST = 60
_NOTE = (
    "Of the test rows, with statistical errors; in brackets mean and standard deviation over the folds. What is not "
    "here is in comparison.json."
)


_PAIRED_NOTE = (
    "Each run minus the first, on the same test rows, where what they have in common cancels, and how probable so "
    "large a difference is if both are equally good. Areas under ROC curves by DeLong's method, the others by a "
    "bootstrap of the rows. The fluctuation of the training itself is not in it."
)


@dataclass(frozen=True)
class Run:
    """A run and its evaluation.

    Attributes
    ----------
    name
        What it is called in tables.
    config
        The resolved analysis.
    content
        What its ``metrics.json`` holds.
    curves
        What its ``curves.json`` holds; empty for a regression.
    cost
        Of each fold's model: ``parameters``, ``epochs`` (or trees), ``seconds``.
    dataset
        Identity of the dataset that it was tested on.
    test_rows
        Hash of truth and weights of the test rows.
    rows
        The test rows; None where an earlier version did not keep them.
    """

    name: str
    config: Mapping[str, Any]
    content: Mapping[str, Any]
    curves: Mapping[str, Any]
    cost: Sequence[Mapping[str, float]]
    dataset: str
    test_rows: str
    rows: Scored | None = None

    @property
    def task(self) -> str:
        """What it learns, e.g. "a regression of mass"."""
        return f"a {self.content['task']} of {', '.join(self.content['outputs'])}"

    @property
    def seconds(self) -> float:
        """Time of the training, of all folds together."""
        return sum(fold["seconds"] for fold in self.cost)

    def merit(self, name: str) -> str:
        """Write a figure of merit, with its mean and spread over the folds in brackets."""
        test, spread = (self.content[part].get(name) for part in ("test", "spread"))
        folds = f" (folds: {_estimate(spread)})" if spread else ""
        return f"{_estimate(test)}{folds}" if test else ""

    def auc(self, signal: str) -> Estimate:
        """Return the area under the ROC curve of a signal class."""
        return _estimate(self.content["test"][f"auc.{signal}"])

    def curve(self, signal: str, whole: bool) -> tuple[Array, Array]:
        """Return the efficiencies of signal and background: all, or where about ten background rows are left."""
        curve = self.curves[signal]
        passed, left = np.array([curve["signal"], curve["background"]], dtype=float)
        visible = left > (-1 if whole else 10 / max(curve["background_number"], 20.0))
        return passed[visible], left[visible]


@dataclass(frozen=True)
class Comparison:
    """Runs of one task."""

    runs: Sequence[Run]

    @property
    def notice(self) -> str | None:
        """Say which runs were tested on other rows than the first; None where all are comparable."""
        first = self.runs[0]
        others = [run.name for run in self.runs if run.test_rows != first.test_rows]
        if not others:
            return None
        return (
            f"{', '.join(others)}: tested on other rows, or with other weights, than {first.name}: their figures of "
            "merit do not compare"
        )

    @property
    def tables(self) -> list[ReportTable]:
        """Figures of merit, cost, and configuration, a column for each run."""
        head = ["", *(run.name for run in self.runs)]
        names = dict.fromkeys(name for run in self.runs for name in run.content["test"] if _is_shown(name))
        merits = [[words(name), *(run.merit(name) for run in self.runs)] for name in names]
        changes = [[key, *map(_cell, texts)] for key, texts in self.differences.items()]
        return [
            ReportTable("Figures of merit", head, merits, _NOTE),
            *self._paired_table(),
            ReportTable("Models", head, self._costs(), "With folds: parameters and epochs of each model, time of all."),
            ReportTable("Configuration", head, changes, "Where the analyses differ."),
        ]

    @cached_property
    def paired(self) -> dict[str, dict[str, Difference]]:
        """How the runs that were tested on the rows of the first one differ from it, by run and figure of merit."""
        first = self.runs[0]
        found = {}
        for run in self.runs[1:]:
            if run.test_rows == first.test_rows and run.rows is not None and first.rows is not None:
                content = first.content
                found[run.name] = differences(first.rows, run.rows, content["task"], content["outputs"])
        return found

    def _paired_table(self) -> list[ReportTable]:
        if not self.paired:
            return []
        names = next(iter(self.paired.values()))
        lines = [[words(name), *(str(of_run[name]) for of_run in self.paired.values())] for name in names]
        return [ReportTable(f"Differences to {self.runs[0].name}", ["", *self.paired], lines, _PAIRED_NOTE)]

    @property
    def differences(self) -> dict[str, list[str | None]]:
        """Keys of the analysis in which runs differ, with the value of each run; None where it has no such key."""
        configs = [dict(flat(run.config)) for run in self.runs]
        keys = dict.fromkeys(key for config in configs for key in config)
        values_by_key = {key: [config.get(key) for config in configs] for key in keys}
        return {key: values for key, values in values_by_key.items() if len(set(values)) > 1}

    def content(self) -> dict[str, Any]:
        """Return everything as plain JSON types."""
        runs = [
            {
                "name": run.name,
                "test": run.content["test"],
                "spread": run.content["spread"],
                "folds": run.cost,
                "seconds": run.seconds,
                "dataset": run.dataset,
                "test_rows": run.test_rows,
            }
            for run in self.runs
        ]
        content = {"task": self.runs[0].content["task"], "outputs": self.runs[0].content["outputs"]}
        paired = {
            name: {
                key: {**_finite(found.estimate._asdict() | {"p_value": found.p_value}), "method": found.method}
                for key, found in of_run.items()
            }
            for name, of_run in self.paired.items()
        }
        return content | {"notice": self.notice, "runs": runs, "differences": self.differences, "paired": paired}

    def _costs(self) -> list[list[str]]:
        """Write what the models are and what their training took."""
        runs = self.runs
        return [
            ["parameters", *(number_range([fold["parameters"] for fold in run.cost]) for run in runs)],
            ["epochs (trees)", *(number_range([fold["epochs"] for fold in run.cost]) for run in runs)],
            ["training time", *(duration(run.seconds) for run in runs)],
            ["folds", *(str(len(run.cost)) for run in runs)],
            ["dataset", *(run.dataset[:12] for run in runs)],
        ]


def _finite(content: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in content.items()}


def _is_shown(name: str) -> bool:
    metric, _, variant = split_name(name)
    return metric is None or metric.is_compared(variant)


def _estimate(content: Mapping[str, Any]) -> Estimate:
    value, error = (np.nan if content[key] is None else content[key] for key in ("value", "error"))
    return Estimate(value, error)


def _cell(text: str | None) -> str:
    if text is None:
        return "\N{EN DASH}"
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def number_range(numbers: Sequence[float]) -> str:
    """Write the least and the largest of some numbers, or the only one."""
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def duration(seconds: float) -> str:
    """Write a time with its units."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
