"""Evaluate a trained model: figures of merit, figures, and a report in one HTML page.

The rows are streamed: what stays in memory are scores, truth and weights, and the inputs of a random subset of the test
rows for the permutation importance. With folds, every row is scored by the model that did not see it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hist import Hist

from ..balance.balancer import compute_factors
from ..balance.weight_factors import FILE as BALANCE
from ..balance.weight_factors import WeightFactors
from ..config.balance import Balance
from ..config.evaluation import Evaluation
from ..config.schema import Analysis
from ..console import out, say
from ..dataset.info import DatasetInfo
from ..dataset.open import open_dataset
from ..dataset.source import TrainingData
from ..distributions.histogram import write_histograms
from ..distributions.reference import FILE as REFERENCE
from ..distributions.reference import Reference
from ..errors import UserError
from ..evaluation import gallery, paired, report
from ..evaluation.figure import user_figures
from ..evaluation.metric import chosen_metrics, words
from ..evaluation.overview import overview, wording_of
from ..evaluation.results import Results
from ..evaluation.scored import Scored
from ..evaluation.scoring import SEED, columns_of, score_folds
from ..evaluation.statistics import Array
from ..evaluation.style import check_titles, worded
from ..models.load import own_code
from ..pipeline.outcome import Outcome, Request
from ..provenance import Accounting, Ledger, Manifest, fingerprint
from ..provenance.manifest import NAME, changed_keys, input_record, write_atomically
from ..provenance.trust import require
from ..training.runs import dataset_of, load_models, settings_of
from ..training.tracker import log_evaluation
from ..training.trackers.mlflow import follow


def evaluate(
    run: str | Path,
    *,
    data: str | Path | Analysis | None = None,
    output: str | Path | None = None,
    force: bool = False,
    trust: bool = False,
    evaluation: Evaluation | None = None,
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
        Where ``metrics.json``, ``curves.json`` (ROC curves), ``working_points.json``, ``report.html`` and ``plots/``
        go; by default ``run/evaluation``, and figures of merit, figures and report also into the MLflow store of the
        run.
    force
        Replace an evaluation of something else.
    evaluation
        The metrics of the user's own, in place of those that the analysis of the run names.

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
    if evaluation is not None:
        settings = settings.model_copy(update={"evaluation": evaluation})
    chosen_metrics(settings.task, settings.evaluation.functions)  # a mistake in one shall not wait for the scores
    user_figures(settings.evaluation.figures)
    check_titles(settings.evaluation.titles)
    dataset, notices = _open(run, trained, settings, data)
    output = Path(output or run / "evaluation")
    key = {"run": trained.identity(), "dataset": dataset.identity, **_key_of_settings(settings)}
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
        results = _score(run, trained, settings, dataset, notices)
        evaluated.append(results)
        files = _write(folder, results, settings.evaluation, run, trained, dataset)
        return _outcome(run, trained, dataset, results, files, key)

    request.make(work)
    (results,) = evaluated
    if output.resolve() == (run / "evaluation").resolve():
        log_evaluation(run, settings.tracking, _records(trained), results.content(), output)
    _show(output, results)
    return results.content()


def _score(run: Path, trained: Manifest, settings: Analysis, dataset: TrainingData, notices: list[str]) -> Results:
    """Score the test rows of all folds by the models that did not see them."""
    block = Balance.model_validate(trained.config["training"]["balance"])
    dataset.load_columns([*block.columns, *columns_of(dataset, settings.evaluation)])
    factors = [_factors(run, trained, dataset, block, fold) for fold in range(dataset.info.folds)]
    models = load_models(run, settings, range(dataset.info.folds))
    results = score_folds(models, dataset, factors, notices, settings.evaluation, _reference(run, dataset))
    results.histories = [_history(run, fold) for fold in range(len(results.folds))]
    results.weight_factors = factors
    return results


def _records(trained: Manifest) -> dict[str, Any]:
    """Return by what trackers find the record of a run; earlier versions had MLflow's alone."""
    return dict(trained.details.get("records") or {"mlflow": trained.details.get("mlflow", {})})


def _reference(run: Path, dataset: TrainingData) -> Reference | None:
    """Read the distributions of the training; None of a run of an earlier version, which kept none."""
    paths = [run / f"fold{fold}" / REFERENCE for fold in range(dataset.info.folds)]
    if not all(path.exists() for path in paths):
        return None
    return Reference.of_folds([Reference.read(path) for path in paths])


def _key_of_settings(analysis: Analysis) -> dict[str, Any]:
    """Return what the analysis adds to what always is done: metrics and figures with what their files hold, too."""
    specs = analysis.evaluation.specs
    names = [spec.rpartition("/")[2] for spec in specs]
    functions = {"functions": fingerprint([names, list(analysis.evaluation_digests().values())])} if specs else {}
    others = analysis.evaluation.model_dump(mode="json", exclude={"functions", "figures"}, exclude_defaults=True)
    return {**functions, **others}


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
    work: Path, results: Results, evaluation: Evaluation, run: Path, trained: Manifest, dataset: TrainingData
) -> dict[str, int | None]:
    """Write figures, report and metrics, and return their paths relative to ``work``."""
    (work / "plots").mkdir(exist_ok=True)
    histograms: dict[str, Hist] = {}
    wording = wording_of(evaluation, dataset.config)
    plots = gallery.collect_histograms(gallery.plots(results, evaluation.figures), histograms)
    with worded(wording):
        pictures, paths = gallery.save_all(plots, work / "plots")
    write_histograms(work / "histograms.root", histograms)
    files = ["metrics.json", "report.html", "histograms.root", *(str(path.relative_to(work)) for path in paths)]
    title = f"Evaluation of {trained.config['name']}"
    above = overview(trained.config, trained.details, dataset.sample_flows)
    page = report.render(title, results, pictures, _facts(results, run, trained, dataset), above)
    write_atomically(work / "report.html", page)
    write_atomically(work / "metrics.json", json.dumps(results.content(), indent=1, allow_nan=False) + "\n")
    paired.save_rows(work / paired.FILE, results.test)
    files.append(paired.FILE)
    if results.task == "classification":
        write_atomically(work / "curves.json", json.dumps(results.curves(), allow_nan=False) + "\n")
        write_atomically(work / "working_points.json", json.dumps(results.cuts_content(), allow_nan=False) + "\n")
        files += ["curves.json", "working_points.json"]
    return dict.fromkeys(files)


def _show(output: Path, results: Results) -> None:
    """Print the accounting and the figures of merit."""
    out.print(f"of {len(results.test):,} test rows, {_weights(results)}:", markup=False)
    for name, value in results.test_summary.items():
        out.print(f"{words(name)}: {value}", markup=False)
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
