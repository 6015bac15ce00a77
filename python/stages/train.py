"""``nanoforge train``: fit one model per fold, keep the best of each, write it as ONNX too and log it to MLflow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ..balance.weight_factors import FILE as BALANCE
from ..config.schema import Analysis
from ..console import err, out, say, show_accounting
from ..dataset.open import open_dataset
from ..dataset.source import TrainingData
from ..distributions.reference import FILE as REFERENCE
from ..evaluation.figure import user_figures
from ..evaluation.metric import chosen_metrics
from ..models.base import ModelSpec
from ..models.check import check_export
from ..models.load import load_model, own_code
from ..models.onnx import export_onnx
from ..models.options import NetworkOptions
from ..pipeline.outcome import Request
from ..provenance import Manifest, Piece, fingerprint, make_room, staged_output
from ..provenance.manifest import remove
from ..provenance.trust import remember
from ..training.devices import join_processes
from ..training.folds import (
    check_initial,
    check_same_analysis,
    continues,
    fit_fold,
    made_from,
    model_spec,
    take_checkpoints,
)
from ..training.history import Epoch, best, read_history, write_history
from ..training.processes import Processes
from ..training.reference import write_reference
from ..training.start import new_model
from ..training.tracker import RunTracker, Trained, log_training, open_trackers
from ..training.trackers.mlflow import follow

STAGE = "train"
_FILES = ("model.pt", "model.onnx", "history.csv", BALANCE, REFERENCE)
_RECORDS = ".records"
_EXTRAS = ("learning_rate.pdf", "learning_rate.png")


def train(
    analysis: Analysis,
    data: str | Path | Analysis,
    output: str | Path,
    *,
    force: bool = False,
    skip_bad_files: bool = False,
    file: Path | None = None,
    trust: bool = False,
) -> Manifest:
    """Train the model of an analysis on its dataset, once per fold.

    Interrupted, it goes on at the last checkpoint when it is run again; so does a finished one with more epochs, where
    the learning rates of its epochs do not depend on their number.

    Parameters
    ----------
    analysis
        The analysis; its ``model`` and ``training`` may differ from when the dataset was made.
    data
        The output of ``nanoforge convert``, or an analysis, whose files are then read directly.
    output
        The run directory: ``fold<i>/{model.pt,model.onnx,history.csv,reference.json,checkpoints/}``, ``config.yaml``,
        ``mlflow.db``, ``manifest.json``; of an analysis also ``data/``, what was found in its files.
    force
        Replace a finished run in ``output``.
    skip_bad_files
        Of an analysis: count unusable files as lost, instead of stopping at the first.
    file
        The analysis file, whose state in git MLflow is told.

    Returns
    -------
    Manifest
        The record of the run.

    Raises
    ------
    UserError
        When the dataset was made from another analysis or lacks what is to be learnt.
    DataError
        When the data are broken or the training diverges.
    """
    data = Path(data) if isinstance(data, str) else data
    output = Path(output)
    training = analysis.training
    dataset = open_dataset(data, in_memory=training.in_memory, workers=training.workers, skip_bad_files=skip_bad_files)
    check_same_analysis(analysis, dataset)
    key = made_from(analysis, dataset)
    finished = Request(STAGE, output, key, accept_lost=skip_bad_files).finished()
    if finished is not None:
        follow(output)
        return finished
    check_initial(analysis, trust=trust)
    chosen_metrics(analysis.task, analysis.evaluation.functions)  # a mistake shows before the training
    user_figures(analysis.evaluation.figures)
    processes = join_processes(training)
    if not processes.first:
        out.quiet = err.quiet = True
    trackers = open_trackers(analysis.tracking) if processes.first else {}
    source = {"path": None if isinstance(data, Analysis) else str(data.resolve()), "identity": dataset.identity}
    further = not force and continues(analysis, dataset, output)
    with _workplace(processes, output, key, analysis.settings("train"), force or further) as work:
        if further and processes.first:
            take_checkpoints(output, work, dataset.info.folds)
        with processes.first_before_others():
            kept = dataset.prepare(work)
        spec = model_spec(analysis, dataset.info)
        histories = _train_folds(processes, analysis, dataset, spec, work)
        if processes.first:
            details = {
                "key": fingerprint(key),
                "directory": str(output.resolve()),
                "dataset": source | {"info": dataset.info.as_dict()},
            }
            if dataset.accounting is not None:
                details["notices"] = list(dataset.notices)
            details["spec"] = spec.as_dict()
            _finish(work, output, analysis, dataset, details, histories, kept, file, trackers)
    if dataset.accounting is not None:
        show_accounting(f"train: {output}", dataset.accounting)
    made = Manifest.read(output, STAGE)
    remember(made, own_code(made, output))
    return made


def _train_folds(
    processes: Processes, analysis: Analysis, dataset: TrainingData, spec: ModelSpec, work: Path
) -> list[list[Epoch]]:
    """Train the models of all folds; returns their histories."""
    folds = [work / f"fold{i}" for i in range(dataset.info.folds)]
    if isinstance(spec.options, NetworkOptions) and spec.options.code and processes.first and not folds[0].exists():
        check_export(new_model(spec, dataset, 0))  # which takes seconds, and ours are known to be exported
    return [_fold(processes, analysis, dataset, spec, i, folder) for i, folder in enumerate(folds)]


def _finish(
    work: Path,
    output: Path,
    analysis: Analysis,
    dataset: TrainingData,
    details: dict[str, Any],
    histories: list[list[Epoch]],
    kept: list[str],
    file: Path | None,
    trackers: dict[str, RunTracker],
) -> None:
    """Write what concerns the run as a whole, the manifest last."""
    remove(work / _RECORDS)
    config = analysis.model_dump(mode="json")
    (work / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    files = ["config.yaml"]
    for fold in range(len(histories)):
        folder = work / f"fold{fold}"
        files += [f"{folder.name}/{name}" for name in (*_FILES, *_EXTRAS) if (folder / name).exists()]
    sizes = [load_model(work / f"fold{fold}" / "model.pt").parameter_count for fold in range(len(histories))]
    details |= {
        "sha256": analysis.digests(),
        "best": [{"epoch": b.epoch, "val_loss": b.val_loss} for b in map(best, histories)],
        "cost": [
            {"parameters": size, "epochs": len(history), "seconds": sum(epoch.seconds for epoch in history)}
            for size, history in zip(sizes, histories)
        ],
        "records": log_training(trackers, work, output, Trained(config, dataset, histories, sizes, files, file)),
    }
    manifest = Manifest(
        stage=STAGE,
        config=config,
        inputs=dataset.sources,
        accounting=dataset.accounting,
        seed=analysis.training.seed,
        details=details,
    )
    manifest.write(work, dict.fromkeys([*files, *kept]))


@contextlib.contextmanager
def _workplace(processes: Processes, output: Path, key: Any, config: Any, force: bool) -> Iterator[Path]:
    """Give all processes the folder to work in; the first one looks after it."""
    if processes.first:
        with staged_output(output, key, force, config) as work:
            yield Path(processes.broadcast(str(work)))
    else:
        yield Path(processes.broadcast(""))
    processes.barrier()  # until the result is in its place


def _fold(
    processes: Processes, analysis: Analysis, dataset: TrainingData, spec: ModelSpec, fold: int, folder: Path
) -> list[Epoch]:
    """Train the model of one fold, unless that is done already, and write its files."""
    record = folder.parent / _RECORDS / f"{folder.name}.json"
    if processes.broadcast(Piece.read(record, folder.name) is not None):
        say(f"fold {fold}: trained already")
        return read_history(folder / "history.csv")
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    if not dataset.rows("val", fold):
        say(f"fold {fold}: no rows to validate on (split.val), so the last epoch is used")
    fitted = fit_fold(processes, analysis, dataset, spec, fold, folder / "checkpoints")
    if processes.first:
        if fitted.range_test is not None:
            from ..evaluation import learning_rate

            test = fitted.range_test
            learning_rate.draw(test.rates, test.losses, test.suggestion, folder / "learning_rate")
        fitted.model.save(folder / "model.pt")
        fitted.factors.write(folder / BALANCE)
        write_reference(fitted.model, analysis, dataset, fold, folder.parent, processes.device)
        sources = {"name": analysis.name, "config_sha256": fingerprint(analysis.model_dump(mode="json"))}
        export_onnx(fitted.model, folder / "model.onnx", sources)
        write_history(folder / "history.csv", fitted.history)
        make_room(record)
        Piece.write(record, folder.name, [folder / name for name in _FILES], None)
    return fitted.history
