"""Score the rows of a dataset with the models that did not see them.

The rows are streamed: what stays in memory are scores, truth and weights, and the inputs of a random subset of the test
rows for the permutation importance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import torch

from ..balance.balancer import Balancer
from ..balance.weight_factors import WeightFactors
from ..config.evaluation import Evaluation
from ..config.schema import IDENTITY
from ..console import Bar, progress, say
from ..dataset.batch import Batch
from ..dataset.source import TrainingData
from ..distributions.reference import Reference
from ..errors import DataError, UserError
from ..models.attribution import Attribution, integrated_gradients
from ..models.base import Model, score
from ..models.network import NetworkModel
from .importance import Group, Importance, Inputs, correlated_groups, group_importance, permutation_importance
from .inputs import InputDistributions, RowTable, begin_counting, count, every
from .pictures import pictures
from .results import Fold, PartCounts, Results
from .scored import Scored
from .statistics import Array
from .summary import headline, signals

TRAIN_ROWS = 200_000
"""At most so many training rows are scored, over all folds: a random subset that depends on ``SEED`` only."""
IMPORTANCE_ROWS, IMPORTANCE_CONSTITUENTS = 20_000, 200_000
"""At most so many test rows serve for the permutation importance, chosen alike, and fewer where each is long."""
REPEATS = 3
MOST_COLUMNS, MOST_EFFICIENCIES = 3, 8
"""Against so many columns of the rows efficiencies are drawn, fewer where they are of many classes, unless the analysis
names them."""
BATCH_ROWS = 8192
SEED = 1
Ranges = Mapping[str, tuple[float, float]]


def score_folds(
    models: Sequence[Model],
    dataset: TrainingData,
    factors: Sequence[WeightFactors],
    notices: list[str],
    evaluation: Evaluation = Evaluation(),  # noqa: B008 - nobody changes it
    training: Reference | None = None,
) -> Results:
    """Score all folds, and measure what the block ``evaluation`` says; ``training`` is what inputs are compared to."""
    info = dataset.info
    inputs = None if training is None else begin_counting(training, len(info.classes))
    check_gradients(models, evaluation.integrated_gradients)
    steps = info.folds * (3 + REPEATS * sum(len(shape.features) for shape in info.inputs.values()))
    with progress("evaluating", steps) as bar:
        folds: list[Fold] = []
        groups: list[Group] | None = None
        for i, (model, of_fold) in enumerate(zip(models, factors)):
            scorer = _Scorer(model, dataset, i, of_fold, evaluation, bar, groups)
            folds.append(scorer.fold(inputs))
            groups = scorer.groups
    task, names = ("classification", info.classes) if info.classes else ("regression", info.regression)
    results = Results(
        task, names, folds, notices, evaluation.functions, points=evaluation.working_points, inputs=inputs
    )
    unknown = [*_unknown(dataset, results, evaluation.range), *_crossings(results)] if info.regression else []
    negative = list(_negative_sums(results))
    results.notices = [*notices, *unknown, *negative]
    for notice in negative:
        say(f"warning: {notice}")
    return results


def check_gradients(models: Sequence[Model], rows: int | None) -> None:
    """Refuse to attribute the scores of what has no gradients."""
    if rows is not None and not all(isinstance(model, NetworkModel) for model in models):
        raise UserError(
            "evaluation.integrated_gradients: a network is needed, and this model has no gradients: remove it; the "
            "permutation importance is there for all models"
        )


def _negative_sums(results: Results) -> Iterator[str]:
    """Say of which classes the weights do not sum to something positive, which leaves figures undefined."""
    effects = {
        "val": "the validation loss means nothing",
        "test": "its figures of merit are undefined or mean nothing",
    }
    parts = [part for fold in results.folds for part in fold.parts if part.name in effects]
    for part in sorted(parts, key=lambda part: part.name):
        of_fold = f" of fold {part.fold}" if len(results.folds) > 1 else ""
        for line, rows, weight, negative in zip(results.lines, part.rows, part.weight, part.negative):
            if rows and not weight > 0:
                subject = "all" if line == "all" else f"class {line!r}"
                yield (
                    f"The weights of {subject} in the {part.name} rows{of_fold} sum to {weight:.4g} ({negative:,} of "
                    f"{rows:,} are negative): {effects[part.name]}. Use more events; with training.balance.negative "
                    "(absolute, drop or rescale), training, losses, accuracy and calibration do without negative "
                    "weights, while AUC and rejections keep the physics weights."
                )


def _unknown(dataset: TrainingData, results: Results, ranges: Ranges) -> Iterator[str]:
    """Say which targets are not known in some of the test rows, and refuse one that is known in none."""
    for name, missing in zip(results.outputs, np.isnan(results.test.truth).sum(axis=0)):
        if name in ranges and missing == len(results.test):
            raise UserError(f"evaluation.range.{name}: no test row of {dataset.name} has a truth in it")
        if missing == len(results.test):
            raise UserError(
                f"{dataset.name}: target {name!r} is NaN in all test rows: correct its expression, or use more events"
            )
        if name in ranges and missing:
            low, high = ranges[name]
            yield (
                f"The target {name} is outside of {low:g} to {high:g} (evaluation.range), or not known, in "
                f"{missing:,} of {len(results.test):,} test rows: they do not count in its figures of merit."
            )
        elif missing:
            yield (
                f"The target {name} is not known (NaN) in {missing:,} of {len(results.test):,} test rows: such rows "
                "count neither in its figures of merit nor, in the training, in its loss."
            )


def _crossings(results: Results) -> Iterator[str]:
    """Say in how many test rows predicted quantiles are not in order."""
    for name, rows in results.predictions.items():
        if rows.crossings:
            notice = (
                f"The predicted quantiles of {name} cross in {rows.crossings:,} of {len(rows.true):,} test rows, a "
                "lower one above a higher one: 'sort: true' beside training.loss.type puts them in order."
            )
            say(f"warning: {notice}")
            yield notice


def columns_of(dataset: TrainingData, evaluation: Evaluation) -> list[str]:
    """Return the columns against which efficiencies and responses are drawn: those that are named, or some."""
    if evaluation.against is not None:
        return list(dict.fromkeys(evaluation.against))
    identity = {*IDENTITY, *(dataset.config["identity"] or ())}
    kept = [name for name in dataset.config["keep"] if name not in identity]
    row_inputs = [shape for shape in dataset.info.inputs.values() if shape.length is None]
    features = [name for shape in row_inputs for name in shape.features if name.rpartition("_")[2] in ("pt", "eta")]
    most = min(MOST_COLUMNS, max(1, MOST_EFFICIENCIES // max(1, len(signals(dataset.info.classes)))))
    return list(dict.fromkeys([*kept, *features]))[:most]


class _Scorer:
    """Scores the rows of one fold with its model.

    ``groups`` are the correlated features, which have to be the same for all folds: those of the first one, or None.
    """

    def __init__(
        self,
        model: Model,
        dataset: TrainingData,
        fold: int,
        factors: WeightFactors,
        evaluation: Evaluation,
        bar: Bar,
        groups: list[Group] | None,
    ) -> None:
        self.groups = groups
        self._model = model
        self._dataset = dataset
        self._fold = fold
        self._ranges = evaluation.range
        self._attributed = evaluation.integrated_gradients
        self._columns = columns_of(dataset, evaluation)
        self._bar = bar
        self._lines = len(factors.classes)
        self._balancer = Balancer(factors, dataset)

    def fold(self, inputs: InputDistributions | None) -> Fold:
        """Score the training and the test part, count its inputs, and measure the importance of features and groups."""
        train, val, test = (PartCounts(self._fold, name, self._lines) for name in ("train", "val", "test"))
        seen = [self._score(_pick(batch, chosen)) for batch, chosen in self._batches(train, TRAIN_ROWS)]
        for _ in self._batches(val, 0):
            pass
        unseen, kept, picked = [], [], []
        columns: dict[str, list[Array]] = {name: [] for name in self._columns}
        longest = max(shape.length or 1 for shape in self._dataset.info.inputs.values())
        for batch, chosen in self._batches(test, min(IMPORTANCE_ROWS, IMPORTANCE_CONSTITUENTS // longest)):
            unseen.append(self._score(batch))
            kept.append(_pick(batch, chosen))
            picked.append(unseen[-1].scores[chosen])
            if inputs is not None:
                step = every(self._dataset.rows("test", self._fold) * self._dataset.info.folds, inputs.test)
                count(inputs.test, batch if step == 1 else _pick(batch, np.arange(0, len(batch), step)))
            for name, parts in columns.items():
                parts.append(self._dataset.column(batch, name).numpy())
        rows = Batch.join(kept)
        counts, drawn = [train, val, test], pictures(rows, self._dataset.info)
        values = {name: np.concatenate(parts) for name, parts in columns.items()}
        train_rows = Scored.pool(seen or [unseen[0].none])
        table = self._table(rows, np.concatenate(picked))
        single, joint = self._importance(rows)
        gradients = self._attribution(rows)
        return Fold(train_rows, Scored.pool(unseen), single, counts, drawn, values, table, joint, gradients)

    def _table(self, rows: Batch, scores: Array) -> RowTable:
        """Put the numbers of some rows into a table, with their scores, (N, C)."""
        features = {name: shape.features for name, shape in self._dataset.info.inputs.items() if shape.image is None}
        others = {name: self._dataset.column(rows, name).numpy() for name in self._columns}
        names = self._dataset.info.classes or self._dataset.info.regression
        kind = "score" if self._dataset.info.classes else "predicted"
        return RowTable.of(rows, features, others | {f"{kind} {n}": scores[:, k] for k, n in enumerate(names)})

    def _batches(self, part: PartCounts, most: int) -> Iterator[tuple[Batch, Array]]:
        """Pass over a part and count it; beside each batch, say which of its rows are in the random subset."""
        rows = self._dataset.rows(part.name, self._fold)
        rng = np.random.default_rng([SEED, self._fold])
        size = min(rows, most // self._dataset.info.folds)
        subset = np.sort(rng.choice(rows, size, replace=False, shuffle=False))
        start = 0
        for batch in self._dataset.batches(part.name, self._fold, BATCH_ROWS):
            label = None if batch.label is None else batch.label.numpy()
            part.add(label, batch.weight.numpy().astype(np.float64))
            first, last = np.searchsorted(subset, [start, start + len(batch)])
            yield batch, subset[first:last] - start
            start += len(batch)
        self._bar.advance(1)

    def _score(self, batch: Batch) -> Scored:
        return self._scored(_inputs(batch), batch)

    def _scored(self, inputs: Inputs, batch: Batch) -> Scored:
        scores = score(self._model, inputs, BATCH_ROWS)
        if not np.isfinite(scores).all():
            raise DataError(
                f"the model of fold {self._fold} gives NaN or infinite scores: look at its loss curve and train again, "
                "e.g. with a smaller learning_rate"
            )
        weight = batch.weight.numpy().astype(np.float64)
        if batch.label is not None:
            label = batch.label.numpy().astype(np.int64)
            prior_weight = self._balancer.weighted(batch).weight.numpy().astype(np.float64)
            return Scored(scores, label, weight, prior_weight)
        truth = cast(torch.Tensor, batch.targets).numpy().astype(np.float64)
        spec = self._model.spec
        for k, name in enumerate(spec.targets):
            if name in self._ranges:
                low, high = self._ranges[name]
                truth[(truth[:, k] < low) | (truth[:, k] > high), k] = np.nan
        by_target = scores.astype(np.float64).reshape(*truth.shape, len(spec.outputs) // len(spec.targets))
        return Scored(by_target[..., 0], truth, weight, weight, by_target[..., 1:], spec.levels)

    def _importance(self, rows: Batch) -> tuple[Importance, Importance]:
        info = self._dataset.info
        features = {name: shape.features for name, shape in info.inputs.items()}
        spec = self._model.spec

        def metric(inputs: Inputs) -> float:
            return headline(self._scored(inputs, rows), spec.targets, spec.task)

        inputs = _inputs(rows)
        single = permutation_importance(metric, inputs, features, SEED, REPEATS, done=lambda: self._bar.advance(1))
        if self.groups is None:
            self.groups = correlated_groups(inputs, features)
        return single, group_importance(metric, inputs, features, self.groups, SEED, REPEATS)

    def _attribution(self, rows: Batch) -> Attribution | None:
        """Attribute the scores of some of the rows, evenly spread over all."""
        if self._attributed is None or not isinstance(self._model, NetworkModel) or not len(rows):
            return None
        most = max(1, self._attributed // self._dataset.info.folds)
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))
        return integrated_gradients(self._model, _inputs(_pick(rows, chosen)))


def _inputs(batch: Batch) -> Inputs:
    return {name: tensor.numpy() for name, tensor in batch.inputs.items()}


def _pick(batch: Batch, chosen: Array) -> Batch:
    index = torch.from_numpy(chosen)
    return batch.each(lambda tensor: tensor[index])
