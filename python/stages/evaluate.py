"""Evaluate a trained model: figures of merit, figures, and a report in one HTML page.

The rows are streamed: what stays in memory are scores, truth and weights, and the inputs of a random subset of the test
rows for the permutation importance. With folds, every row is scored by the model that did not see it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from ..balance.balancer import Balancer, compute_factors
from ..balance.weight_factors import FILE as BALANCE
from ..balance.weight_factors import WeightFactors
from ..config.balance import Balance
from ..config.schema import Analysis
from ..console import Bar, out, progress, say
from ..dataset.batch import Batch
from ..dataset.info import DatasetInfo
from ..dataset.open import open_dataset
from ..dataset.source import TrainingData
from ..errors import DataError, UserError
from ..evaluation import balance, figures, gallery, report
from ..evaluation.importance import Importance, Inputs, permutation_importance
from ..evaluation.results import Fold, Part, Results
from ..evaluation.scored import Scored
from ..evaluation.statistics import Array
from ..evaluation.summary import headline
from ..models.base import Model, score
from ..models.load import own_code
from ..pipeline.outcome import Outcome, Request
from ..provenance import Accounting, Ledger, Manifest
from ..provenance.manifest import NAME, changed_keys, input_record, write_atomically
from ..provenance.trust import require
from ..training.runs import dataset_of, load_models, settings_of
from ..training.tracking import follow, log_evaluation

if TYPE_CHECKING:
    pass

TRAIN_ROWS = 200_000
"""At most so many training rows are scored, over all folds: a random subset that depends on ``SEED`` only."""
IMPORTANCE_ROWS, IMPORTANCE_CONSTITUENTS = 20_000, 200_000
"""At most so many test rows serve for the permutation importance, chosen alike, and fewer where each is long."""
REPEATS = 3
BATCH_ROWS = 8192
SEED = 1


def evaluate(
    run: str | Path,
    *,
    data: str | Path | Analysis | None = None,
    output: str | Path | None = None,
    force: bool = False,
    trust: bool = False,
) -> dict[str, Any]:
    """Evaluate the models of a run on the test part of a dataset.

    Parameters
    ----------
    run
        Output of ``nanoforge train``.
    data
        Dataset, or analysis whose files are read directly, to evaluate on, with the inputs and classes of the training;
        by default what the run was trained on.
    output
        Where ``metrics.json``, ``curves.json`` (ROC curves), ``report.html`` and ``plots/`` go; by default
        ``run/evaluation``, and figures of merit, figures and report also into the MLflow store of the run.
    force
        Replace an evaluation of something else.

    Returns
    -------
    dict
        What ``metrics.json`` holds. An evaluation that is up to date is read, not made again.

    Raises
    ------
    UserError
        When the dataset is not the one of the training, does not fit the model, or has no test rows.
    DataError
        When a file is broken, or a model gives scores that are not finite.
    """
    run = Path(run)
    data = Path(data) if isinstance(data, str) else data
    trained = Manifest.read(run, "train")
    trained.verify(run)
    require(run, trained, own_code(trained, run), trust=trust)
    follow(run)
    settings = settings_of(trained, run)
    dataset, notices = _open(run, trained, settings, data)
    output = Path(output or run / "evaluation")
    key = {"run": trained.identity(), "dataset": dataset.identity}
    request = Request("evaluate", output, key, trained.config, force=force)
    finished = request.finished()
    if finished is not None:
        finished.verify(output)
        return dict(json.loads((output / "metrics.json").read_text()))
    with tempfile.TemporaryDirectory() as scratch:
        # what the training found in its files lies in the run
        dataset.prepare(run if dataset.identity == trained.details["dataset"]["identity"] else Path(scratch))
    notices += dataset.notices
    external = dataset.identity != trained.details["dataset"]["identity"]
    _check_rows(dataset, external)
    evaluated: list[Results] = []

    def work(folder: Path) -> Outcome:
        block = Balance.model_validate(trained.config["training"]["balance"])
        dataset.carry(block.columns)
        factors = [_factors(run, trained, dataset, block, fold) for fold in range(dataset.info.folds)]
        models = load_models(run, settings, range(dataset.info.folds))
        results = _results(models, dataset, factors, notices)
        evaluated.append(results)
        return _outcome(run, trained, dataset, results, _write(folder, results, factors, run, trained, dataset), key)

    request.make(work)
    (results,) = evaluated
    if output.resolve() == (run / "evaluation").resolve():
        log_evaluation(run, trained.details["mlflow"], results.content(), output)
    _show(output, results)
    return results.content()


def _open(
    run: Path, trained: Manifest, settings: Analysis, data: Path | Analysis | None
) -> tuple[TrainingData, list[str]]:
    """Open the dataset, check that it fits the run, and say what a reader of the results must know."""
    recorded = trained.details["dataset"]
    source = data or dataset_of(trained, run) or settings
    if isinstance(source, Path) and not source.exists():
        raise UserError(f"{source}: no such dataset (any more): say with --data where it is")
    dataset = open_dataset(source, in_memory="never", skip_bad_files=trained.lost_files)
    if dataset.identity == recorded["identity"]:
        return dataset, []
    if data is None:
        raise UserError(
            f"{dataset.name}: made anew since {run} was trained on it, so its test rows may have been trained on: "
            "run 'nanoforge train' again, or name it with --data to evaluate on it as another dataset"
        )
    info = DatasetInfo.from_dict(recorded["info"])
    for change in changed_keys(info.as_dict(), dataset.info.as_dict()):
        raise UserError(f"{dataset.name}: does not fit the model of {run}; in the training and here, {change}")
    notices = [f"This is not the dataset of the training: 'training' below means the train part of {dataset.name}."]
    if dataset.config["split"]["train"] == 0:
        notices = [f"This is not the dataset of the training: all rows are of {dataset.name}, and there are no others."]
    if dataset.config["split"] != trained.config["split"]:
        notices.append("Its split differs from that of the training, so its test rows may have been trained on.")
    for notice in notices:
        say(f"warning: {notice}")
    return dataset, notices


def _check_rows(dataset: TrainingData, external: bool) -> None:
    """Refuse a dataset without test rows; another one than that of the training may lack training rows."""
    info = dataset.info
    needed = ("test",) if external else ("test", "train")
    for fold, part in ((fold, part) for fold in range(info.folds) for part in needed):
        if dataset.rows(part, fold) == 0:
            of_fold = f" of fold {fold}" if info.folds > 1 else ""
            raise UserError(
                f"{dataset.name}: the {part} part{of_fold} is empty: set split.{part} above 0 (with folds: fewer "
                "of them), or use more events, then run 'nanoforge convert' and 'nanoforge train' again"
            )


def _factors(run: Path, trained: Manifest, dataset: TrainingData, block: Balance, fold: int) -> WeightFactors:
    """Return the factors on the weights of the training; another dataset with training rows has factors of its own."""
    if dataset.identity == trained.details["dataset"]["identity"] or not dataset.rows("train", fold):
        return WeightFactors.read(run / f"fold{fold}" / BALANCE)
    return compute_factors(block, dataset, fold)


def _results(
    models: Sequence[Model], dataset: TrainingData, factors: Sequence[WeightFactors], notices: list[str]
) -> Results:
    """Score all folds."""
    info = dataset.info
    steps = info.folds * (3 + REPEATS * sum(len(shape.features) for shape in info.inputs.values()))
    with progress("evaluating", steps) as bar:
        folds = [_Scorer(model, dataset, i, own, bar).fold() for i, (model, own) in enumerate(zip(models, factors))]
    task, names = ("classification", info.classes) if info.classes else ("regression", info.regression)
    results = Results(task, names, folds, notices)
    unknown = [*_unknown(dataset, results), *_crossings(results)] if info.regression else []
    negative = list(_negative_sums(results))
    results.notices = [*notices, *unknown, *negative]
    for notice in negative:
        say(f"warning: {notice}")
    return results


def _negative_sums(results: Results) -> Iterator[str]:
    """Say of which classes the weights do not sum to something positive, which leaves figures undefined."""
    spoilt = {"val": "the validation loss means nothing", "test": "its figures of merit are undefined or mean nothing"}
    parts = [part for fold in results.folds for part in fold.parts if part.name in spoilt]
    for part in sorted(parts, key=lambda part: part.name):
        of_fold = f" of fold {part.fold}" if len(results.folds) > 1 else ""
        for line, rows, weight, negative in zip(results.lines, part.rows, part.weight, part.negative):
            if rows and not weight > 0:
                whose = "all" if line == "all" else f"class {line!r}"
                yield (
                    f"The weights of {whose} in the {part.name} rows{of_fold} sum to {weight:.4g} ({negative:,} of "
                    f"{rows:,} are negative): {spoilt[part.name]}. Use more events; with training.balance.negative "
                    "(absolute, drop or rescale), training, losses, accuracy and calibration do without negative "
                    "weights, while AUC and rejections keep the physics weights."
                )


def _unknown(dataset: TrainingData, results: Results) -> Iterator[str]:
    """Say which targets are not known in some of the test rows, and refuse one that is known in none."""
    for name, missing in zip(results.outputs, np.isnan(results.test.truth).sum(axis=0)):
        if missing == len(results.test):
            raise UserError(
                f"{dataset.name}: target {name!r} is NaN in all test rows: correct its expression, or use more events"
            )
        if missing:
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


class _Scorer:
    """Scores the rows of one fold with its model."""

    def __init__(self, model: Model, dataset: TrainingData, fold: int, factors: WeightFactors, bar: Bar) -> None:
        self._model = model
        self._dataset = dataset
        self._fold = fold
        self._bar = bar
        self._lines = len(factors.classes)
        self._balancer = Balancer(factors, dataset)

    def fold(self) -> Fold:
        """Score the training and the test part, and measure the importance of the features."""
        train, val, test = (Part(self._fold, name, self._lines) for name in ("train", "val", "test"))
        seen = [self._score(_pick(batch, chosen)) for batch, chosen in self._batches(train, TRAIN_ROWS)]
        for _ in self._batches(val, 0):
            pass
        unseen, kept = [], []
        longest = max(shape.length or 1 for shape in self._dataset.info.inputs.values())
        for batch, chosen in self._batches(test, min(IMPORTANCE_ROWS, IMPORTANCE_CONSTITUENTS // longest)):
            unseen.append(self._score(batch))
            kept.append(_pick(batch, chosen))
        importance = self._importance(Batch.join(kept))
        return Fold(Scored.pool(seen or [unseen[0].none]), Scored.pool(unseen), importance, [train, val, test])

    def _batches(self, part: Part, most: int) -> Iterator[tuple[Batch, Array]]:
        """Pass over a part and count it; beside each batch, say which of its rows are in the random subset."""
        rows = self._dataset.rows(part.name, self._fold)
        rng = np.random.default_rng([SEED, self._fold])
        wanted = min(rows, most // self._dataset.info.folds)
        subset = np.sort(rng.choice(rows, wanted, replace=False, shuffle=False))
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
        by_target = scores.astype(np.float64).reshape(*truth.shape, len(spec.outputs) // len(spec.targets))
        return Scored(by_target[..., 0], truth, weight, weight, by_target[..., 1:], spec.levels)

    def _importance(self, rows: Batch) -> Importance:
        info = self._dataset.info
        features = {name: shape.features for name, shape in info.inputs.items()}
        spec = self._model.spec

        def metric(inputs: Inputs) -> float:
            return headline(self._scored(inputs, rows), spec.targets, spec.task)

        return permutation_importance(metric, _inputs(rows), features, SEED, REPEATS, done=lambda: self._bar.advance(1))


def _inputs(batch: Batch) -> Inputs:
    return {name: tensor.numpy() for name, tensor in batch.inputs.items()}


def _pick(batch: Batch, chosen: Array) -> Batch:
    index = torch.from_numpy(chosen)
    return batch.each(lambda tensor: tensor[index])


def _outcome(
    run: Path,
    trained: Manifest,
    dataset: TrainingData,
    results: Results,
    files: Mapping[str, int | None],
    key: dict[str, str],
) -> Outcome:
    inputs = [input_record(str(run.absolute() / NAME)), *dataset.sources]
    details = {**key, "test_rows": _digest(results.test)}
    return Outcome(trained.config, inputs, files, _books(results), details, seed=SEED)


def _digest(rows: Scored) -> str:
    """Hash truth and weights: those of the same rows are the same, whatever inputs a dataset has beside them."""
    return hashlib.sha256(rows.truth.tobytes() + rows.weight.tobytes()).hexdigest()


def _books(results: Results) -> Accounting:
    """Account for the rows: all test rows are used, of the training rows at most a random subset."""
    read, used = _rows(results, "train"), len(results.train)
    left = {"the limit on training rows": read - used} if read > used else {}
    folds = len(results.folds)  # every model but one trains on a row, so that it is read so many times
    unit = "training rows" if folds == 1 else f"training rows ({folds} folds: each row {folds - 1} times)"
    return Accounting(Ledger("test rows", _rows(results, "test"), len(results.test)), Ledger(unit, read, used, left))


def _rows(results: Results, name: str) -> int:
    return sum(int(part.rows.sum()) for fold in results.folds for part in fold.parts if part.name == name)


def _write(
    work: Path, results: Results, factors: Sequence[WeightFactors], run: Path, trained: Manifest, dataset: TrainingData
) -> dict[str, int | None]:
    """Write figures, report and metrics, and return their paths relative to ``work``."""
    (work / "plots").mkdir(exist_ok=True)
    pictures, files = [], ["metrics.json", "report.html"]
    histories = [_history(run, fold) for fold in range(len(results.folds))]
    for plot in chain(gallery.plots(results, histories), balance.plots(factors)):
        pdf, png = figures.save(plot.figure, work / "plots" / plot.name)
        files += [str(path.relative_to(work)) for path in (pdf, png)]
        pictures.append(report.Picture(plot.title, plot.meaning, png.read_bytes()))
    title = f"Evaluation of {trained.config['name']}"
    page = report.render(title, results, pictures, _facts(results, run, trained, dataset))
    write_atomically(work / "report.html", page)
    write_atomically(work / "metrics.json", json.dumps(results.content(), indent=1, allow_nan=False) + "\n")
    if results.task == "classification":
        write_atomically(work / "curves.json", json.dumps(results.curves(), allow_nan=False) + "\n")
        files.append("curves.json")
    return dict.fromkeys(files)


def _show(output: Path, results: Results) -> None:
    """Print the accounting and the figures of merit."""
    out.print(f"of {len(results.test):,} test rows, {_weights(results)}:", markup=False)
    for name, value in results.test_summary.items():
        out.print(f"{report.words(name)}: {value}", markup=False)
    say(f"wrote {output / 'report.html'}")


def _weights(results: Results) -> str:
    """Say what the rows weigh in the figures of merit."""
    if (results.test.weight == 1).all():
        return "each of weight 1"
    negative = int((results.test.weight < 0).sum())
    return "with their physics weights" + (f" ({negative:,} of them negative)" if negative else "")


def _history(run: Path, fold: int) -> dict[str, Array]:
    """Read the loss curves of a fold; what is empty is NaN."""
    table = np.genfromtxt(run / f"fold{fold}" / "history.csv", delimiter=",", names=True, ndmin=1)
    return {name: table[name] for name in table.dtype.names or ()}


def _facts(results: Results, run: Path, trained: Manifest, dataset: TrainingData) -> dict[str, str]:
    """Say what the evaluation was made from."""
    scored, seen = len(results.train), _rows(results, "train")
    return {
        "run": str(run.absolute()),
        "trained": trained.created,
        "dataset": dataset.name,
        "dataset identity": dataset.identity,
        "configuration SHA-256": trained.config_sha256,
        "training rows scored": f"all {seen:,}"
        if scored == seen
        else f"{scored:,} of {seen:,}, by chance (seed {SEED})",
        "NanoForge commit (training)": trained.git_commit or "not in a git checkout",
        "versions (training)": ", ".join(f"{name} {version}" for name, version in trained.versions.items()),
        "evaluated": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
