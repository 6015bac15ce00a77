"""The results of an evaluation: of all folds together, of each, and as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from ..balance.weight_factors import WeightFactors
from ..config.evaluation import WORKING_POINTS, WorkingPoint
from ..models.attribution import Attribution
from . import statistics, summary, working_points
from .importance import Importance
from .inputs import InputDistributions, RowTable
from .metric import Metric, chosen_metrics
from .pictures import ImageAverages
from .response import Response, planes, responses
from .scored import Prediction, Scored
from .statistics import Array, Estimate, Interval
from .summary import Comparisons, Summary, TargetBins, Verdict
from .working_points import Cut

CURVE_POINTS = 1000


class PartCounts:
    """What a part ("train", "val", "test") of a fold holds: rows, sum of weights, rows of negative weight, per class.

    Each is (C,); a regression counts all its rows as one class.
    """

    def __init__(self, fold: int, name: str, classes: int) -> None:
        self.fold = fold
        self.name = name
        self.rows = np.zeros(classes, np.int64)
        self.weight = np.zeros(classes)
        self.negative = np.zeros(classes, np.int64)

    def add(self, label: Array | None, weight: Array) -> None:
        """Count N more rows; ``label`` (N,) is None for a regression."""
        where = np.zeros(len(weight), np.int64) if label is None else label
        classes = len(self.rows)
        self.rows += np.bincount(where, minlength=classes)
        self.weight += np.bincount(where, weight, classes)
        self.negative += np.bincount(where[weight < 0], minlength=classes)


@dataclass(frozen=True)
class Fold:
    """What one fold's model gave: its scores of (a subset of) its training rows and of its test rows.

    ``pictures`` are images of some test rows, ``columns`` what else is known of all of them: (N,) f4 by name, NaN where
    there is no value; ``groups`` the importance of groups of correlated features.
    """

    train: Scored
    test: Scored
    importance: Importance
    parts: list[PartCounts]
    pictures: Sequence[ImageAverages] = ()
    columns: Mapping[str, Array] = field(default_factory=dict)
    table: RowTable | None = None
    groups: Importance = field(default_factory=Importance.none)
    attribution: Attribution | None = None


@dataclass
class Results:
    """The evaluation of one model, or of the models of several folds.

    ``outputs`` names the C classes of a classification, or the targets of a regression. ``notices`` is what a reader
    must know before the numbers, ``functions`` are the metrics that the analysis adds, ``points`` the working points;
    ``histories`` (the columns of ``history.csv``) and ``weight_factors`` (the balance) are those of each fold. The test
    rows of all folds are pooled, each scored by the model that did not see it. ``inputs`` are the distributions of the
    inputs.
    """

    task: str
    outputs: tuple[str, ...]
    folds: list[Fold]
    notices: list[str]
    functions: Sequence[str] = ()
    histories: Sequence[Mapping[str, Array]] = ()
    weight_factors: Sequence[WeightFactors] = ()
    points: Mapping[str, WorkingPoint] = field(default_factory=lambda: WORKING_POINTS)
    inputs: InputDistributions | None = None

    @cached_property
    def metrics(self) -> list[Metric]:
        """The metrics of the task, and the ``functions`` that the analysis adds."""
        return chosen_metrics(self.task, self.functions)

    @cached_property
    def train(self) -> Scored:
        """Scored training rows of all folds."""
        return Scored.pool([fold.train for fold in self.folds])

    @cached_property
    def test(self) -> Scored:
        """Test rows of all folds."""
        return Scored.pool([fold.test for fold in self.folds])

    @cached_property
    def columns(self) -> dict[str, Array]:
        """Columns of ``keep`` and features of the test rows of all folds, (N,) f4 by name."""
        return {name: np.concatenate([fold.columns[name] for fold in self.folds]) for name in self.folds[0].columns}

    @cached_property
    def table(self) -> RowTable | None:
        """Numbers of some test rows; None where none were kept."""
        parts = [fold.table for fold in self.folds if fold.table is not None]
        return RowTable.join(parts) if parts else None

    @cached_property
    def importance(self) -> Importance:
        """Permutation importance over all folds."""
        return Importance.pool([fold.importance for fold in self.folds])

    @cached_property
    def groups(self) -> Importance:
        """Permutation importance of groups of correlated features over all folds."""
        return Importance.pool([fold.groups for fold in self.folds])

    @cached_property
    def attribution(self) -> Attribution | None:
        """Integrated gradients of some test rows of all folds; None where nobody asked for them."""
        parts = [fold.attribution for fold in self.folds if fold.attribution is not None]
        return Attribution.join(parts) if parts else None

    @cached_property
    def test_summary(self) -> Summary:
        """Figures of merit of the test rows."""
        return self._summary(self.test)

    @cached_property
    def train_summary(self) -> Summary:
        """Figures of merit of the training rows."""
        return self._summary(self.train)

    @cached_property
    def fold_summaries(self) -> list[Summary]:
        """Figures of merit of each fold's test rows; empty without folds."""
        return [self._summary(fold.test) for fold in self.folds] if len(self.folds) > 1 else []

    @cached_property
    def spread(self) -> dict[str, Estimate]:
        """Mean and standard deviation of the figures of merit over the folds; empty without folds."""
        return summary.spread(self.fold_summaries) if self.fold_summaries else {}

    @cached_property
    def tests(self) -> Comparisons:
        """Kolmogorov-Smirnov tests of training against test; empty for a regression."""
        if self.task == "regression":
            return {}
        return summary.overtraining([f.train for f in self.folds], [f.test for f in self.folds], self.outputs)

    @cached_property
    def overtraining(self) -> Verdict:
        """Whether the models are overtrained, in words."""
        return summary.judge_overtraining(self.train_summary, self.test_summary, self.tests)

    @cached_property
    def bins(self) -> dict[str, TargetBins]:
        """Bias and resolution of each target in bins of it; empty for a classification."""
        if self.task == "classification":
            return {}
        return {name: summary.target_bins(rows) for name, rows in self.predictions.items()}

    @cached_property
    def cuts(self) -> list[Cut]:
        """The working points of the signal classes; empty for a regression."""
        if self.task == "regression":
            return []
        return working_points.find_cuts(self.test, self.outputs, self.points)

    @property
    def predictions(self) -> dict[str, Prediction]:
        """Test rows of each target of a regression, where it is known."""
        return {name: self.test.of_target(k) for k, name in enumerate(self.outputs)}

    @cached_property
    def known_columns(self) -> dict[str, dict[str, Array]]:
        """The columns of the rows of :attr:`predictions`, by target."""
        with_truth = {name: ~np.isnan(self.test.truth[:, k]) for k, name in enumerate(self.outputs)}
        return {target: {name: v[rows] for name, v in self.columns.items()} for target, rows in with_truth.items()}

    @cached_property
    def responses(self) -> dict[str, dict[str, Response]]:
        """The response of each target in bins of the truth, the prediction and the columns of the rows."""
        return {name: dict(responses(rows, self.known_columns[name])) for name, rows in self.predictions.items()}

    @cached_property
    def planes(self) -> dict[str, dict[str, Response]]:
        """The response of each target in bins of the truth and one of the columns of the rows."""
        return {name: dict(planes(rows, self.known_columns[name])) for name, rows in self.predictions.items()}

    @cached_property
    def pairwise_aucs(self) -> dict[str, dict[str, Estimate]]:
        """How well each class is told from each later one, by their two scores alone; empty for two classes."""
        if self.task == "regression" or len(self.outputs) < 3:
            return {}
        pairs: dict[str, dict[str, Estimate]] = {}
        for (i, a), (k, b) in combinations(enumerate(self.outputs), 2):
            rows = self.test.of_pair(i, k)
            pairs.setdefault(a, {})[b] = statistics.auc(rows.score, rows.signal, rows.weight)
        return pairs

    @property
    def confusion(self) -> Array:
        """Sums of test weights by true (row) and predicted (column) class, (C, C)."""
        predicted = self.test.scores.argmax(axis=1)
        return statistics.confusion(self.test.truth, predicted, self.test.weight, len(self.outputs))

    @property
    def watched(self) -> str:
        """Name of the metric whose decrease is the permutation importance."""
        one = "AUC" if self.task == "classification" else "R\N{SUPERSCRIPT TWO}"
        curves = summary.signals(self.outputs) if self.task == "classification" else self.outputs
        return one if len(curves) == 1 else f"mean {one}"

    @property
    def lines(self) -> tuple[str, ...]:
        """What the content of a part is divided into."""
        return self.outputs if self.task == "classification" else ("all",)

    def content(self) -> dict[str, Any]:
        """Return everything as plain JSON types; what is undefined or infinite is None."""
        decrease, groups = (
            dict(zip(measured.names, map(Estimate, measured.mean, measured.spread)))
            for measured in (self.importance, self.groups)
        )
        content = {
            "task": self.task,
            "outputs": self.outputs,
            "notices": self.notices,
            "parts": [self._part(part) for fold in self.folds for part in fold.parts],
            "test": self.test_summary,
            "train": self.train_summary,
            "folds": self.fold_summaries,
            "spread": self.spread,
            "overtraining": vars(self.overtraining),
            "importance": {"metric": self.watched, "decrease": decrease, "groups": groups},
        }
        if self.attribution is not None:
            sizes = map(Estimate, self.attribution.mean, self.attribution.error)
            content["attribution"] = {
                "rows": len(self.attribution.values),
                "mean": dict(zip(self.attribution.names, sizes)),
                "incomplete": self.attribution.incomplete,
            }
        of_task = self._classification() if self.task == "classification" else self._regression()
        return dict(_plain(content | of_task))

    def curves(self) -> dict[str, Any]:
        """Return the ROC curve of each signal class as plain JSON types, to six digits; empty for a regression.

        ``background_number`` is the effective number of background rows beneath it.
        """
        curves = {}
        for name in summary.signals(self.outputs) if self.task == "classification" else ():
            signal = self.test.of_class(self.outputs.index(name))
            curve = statistics.roc_curve(self.test.scores[:, self.outputs.index(name)], signal, self.test.weight)
            curve = statistics.thinned(curve, CURVE_POINTS)
            curves[name] = {
                "signal": [float(f"{value:.6g}") for value in curve.signal],
                "background": [float(f"{value:.6g}") for value in curve.background],
                "background_number": statistics.effective_number(self.test.weight[~signal]),
            }
        return dict(_plain(curves))

    def cuts_content(self) -> dict[str, Any]:
        """Return the working points of each signal class as plain JSON types; what is undefined is None."""
        content: dict[str, dict[str, Any]] = {}
        for cut in self.cuts:
            content.setdefault(cut.signal, {})[cut.name] = {
                "keeps": cut.definition.model_dump(mode="json", exclude_none=True),
                "threshold": cut.threshold,
                "efficiencies": cut.efficiencies,
                "effective_rows": cut.passed,
            }
        return dict(_plain(content))

    def _summary(self, rows: Scored) -> Summary:
        return summary.summarise(rows, self.outputs, self.metrics)

    def _part(self, part: PartCounts) -> dict[str, Any]:
        columns = zip(self.lines, part.rows, part.weight, part.negative)
        content = {name: {"rows": rows, "weight": weight, "negative": bad} for name, rows, weight, bad in columns}
        return {"fold": part.fold, "part": part.name, "content": content}

    def _classification(self) -> dict[str, Any]:
        sums = self.confusion
        shares = {"by_truth": statistics.normalised(sums, 1), "by_prediction": statistics.normalised(sums, 0)}
        tests: dict[str, dict[str, Any]] = {}
        for (score, true), test in self.tests.items():
            tests.setdefault(score, {})[true] = vars(test)
        confusion = {"weights": sums, **shares}
        return {"confusion": confusion, "kolmogorov_smirnov": tests, "pairwise_auc": self.pairwise_aucs}

    def _regression(self) -> dict[str, Any]:
        responses = {name: [vars(r) for r in of_target.values()] for name, of_target in self.responses.items()}
        planes = {name: [vars(r) for r in of_target.values()] for name, of_target in self.planes.items()}
        bins = {name: vars(bins) for name, bins in self.bins.items()}
        return {"bins": bins, "responses": responses, "response_planes": planes}


def _plain(content: Any) -> Any:
    """Turn results into plain JSON types."""
    if isinstance(content, (Estimate, Interval)):
        return _plain(content._asdict())
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(value) for value in content]
    if isinstance(content, (np.ndarray, np.generic)):
        return _plain(content.tolist())
    if isinstance(content, float) and not np.isfinite(content):
        return None
    return content
