"""``nanoforge train``: fit one model per fold, keep the best of each, write it as ONNX too and log it to MLflow."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import yaml
from lightning.fabric import Fabric

from ..config.schema import Analysis
from ..config.training import Training
from ..console import err, out, say, show_accounting
from ..dataset.info import DatasetInfo
from ..dataset.loading import TrainingData
from ..errors import UserError
from ..models.model import Model, ModelSpec
from ..models.onnx import export_onnx
from ..provenance import Manifest, fingerprint, staged_output
from ..provenance.manifest import changed_keys
from ..provenance.output import up_to_date
from ..training.devices import make_fabric
from ..training.fit import Fit, fold_seed, seed_generators
from ..training.history import Epoch, best, read_history, write_history
from ..training.rates import RangeTest
from ..training.start import freeze, new_model, take_weights

if TYPE_CHECKING:
    from ..models.trees import TreeModel

STAGE = "train"
_FILES = ("model.pt", "model.onnx", "history.csv")
_EXTRAS = ("learning_rate.pdf", "learning_rate.png")


def train(
    analysis: Analysis, data: Path | Analysis, output: Path, force: bool = False, skip_bad_files: bool = False
) -> Manifest:
    """Train the model of an analysis on its dataset, once per fold.

    Interrupted, it goes on at the last checkpoint when it is run again.

    Parameters
    ----------
    analysis
        The analysis; its ``model`` and ``training`` may differ from when the dataset was made.
    data
        The output of ``nanoforge convert``, or an analysis, whose files are then read directly.
    output
        The run directory: ``fold<i>/{model.pt,model.onnx,history.csv,checkpoints/}``, ``config.yaml``, ``mlflow.db``,
        ``manifest.json``; of an analysis also ``data/``, what was found in its files.
    force
        Replace a finished run in ``output``.
    skip_bad_files
        Of an analysis: count unusable files as lost, instead of stopping at the first.

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
    training = analysis.training
    dataset = TrainingData.open(data, training.in_memory, training.workers, skip_bad_files)
    config = analysis.model_dump(mode="json")
    _check_same_analysis(analysis, dataset)
    key = {"config": config, "dataset": dataset.identity}
    if training.init is not None:
        key["init"] = Manifest.read(Path(training.init.run), STAGE).identity()
    previous = up_to_date(output, STAGE, key)
    if previous is not None and (skip_bad_files or not previous.lost_files):
        say(f"{output} is up to date")
        return previous
    fabric = make_fabric(training)
    if not fabric.is_global_zero:
        out.quiet = err.quiet = True
    source = {"path": None if isinstance(data, Analysis) else str(data.resolve()), "identity": dataset.identity}
    with _workplace(fabric, output, key, force) as work:
        with fabric.rank_zero_first():
            kept = dataset.prepare(work)
        spec = model_spec(analysis, dataset.info)
        folds = [work / f"fold{i}" for i in range(dataset.info.folds)]
        histories = [_fold(fabric, analysis, dataset, spec, i, folder) for i, folder in enumerate(folds)]
        if fabric.is_global_zero:
            details = {"key": fingerprint(key), "dataset": source | {"info": dataset.info.as_dict()}}
            _finish(work, output, analysis, dataset, details | {"spec": spec.as_dict()}, histories, kept)
    if dataset.accounting is not None:
        show_accounting(f"train: {output}", dataset.accounting)
    return Manifest.read(output, STAGE)


def model_spec(analysis: Analysis, info: DatasetInfo) -> ModelSpec:
    """Say which model an analysis describes for a dataset."""
    task = "classification" if info.classes else "regression"
    loss = analysis.training.loss
    return ModelSpec(
        info.inputs,
        info.classes or info.regression,
        task,
        analysis.model.model_dump(mode="json"),
        None if loss is None else loss.model_dump(mode="json"),
    )


def _finish(
    work: Path,
    output: Path,
    analysis: Analysis,
    dataset: TrainingData,
    details: dict[str, Any],
    histories: list[list[Epoch]],
    kept: list[str],
) -> None:
    """Write what concerns the run as a whole, the manifest last."""
    config = analysis.model_dump(mode="json")
    (work / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    files = ["config.yaml"]
    for fold in range(len(histories)):
        folder = work / f"fold{fold}"
        files += [f"{folder.name}/{name}" for name in (*_FILES, *_EXTRAS) if (folder / name).exists()]
    details |= {
        "sha256": analysis.digests(),
        "best": [{"epoch": b.epoch, "val_loss": b.val_loss} for b in map(best, histories)],
        "mlflow": _log_to_mlflow(work, output.absolute(), config, histories, files),
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


def _check_same_analysis(analysis: Analysis, dataset: TrainingData) -> None:
    """Refuse a dataset that the analysis, as it is now, would not make."""
    if dataset.key != fingerprint(analysis.dataset_part()):
        made_with = Analysis.model_validate(dataset.config)
        changes = changed_keys(made_with.dataset_part(), analysis.dataset_part())
        difference = next(iter(changes), "a file that 'functions' or 'golden_json' names has changed")
        raise UserError(
            f"{dataset.name}: made with another analysis ({shorten(difference, 300)}): run 'nanoforge convert' "
            "again, or train with the analysis file that it was made with"
        )


@contextlib.contextmanager
def _workplace(fabric: Fabric, output: Path, key: Any, force: bool) -> Iterator[Path]:
    """Give all processes the folder to work in; the first one looks after it."""
    if fabric.is_global_zero:
        with staged_output(output, key, force) as work:
            yield Path(fabric.broadcast(str(work)))
    else:
        yield Path(fabric.broadcast(""))
    fabric.barrier()  # until the result is in its place


def _fold(
    fabric: Fabric, analysis: Analysis, dataset: TrainingData, spec: ModelSpec, fold: int, folder: Path
) -> list[Epoch]:
    """Train the model of one fold, unless that is done already, and write its files; the history comes last."""
    if fabric.broadcast((folder / "model.pt").exists() and (folder / "history.csv").exists()):
        say(f"fold {fold}: trained already")
        return read_history(folder / "history.csv")
    if dataset.rows("train", fold) < fabric.world_size:
        raise UserError(f"{dataset.name}: no rows to train on: relax the cuts (select) or raise split.train")
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    if not dataset.rows("val", fold):
        say(f"fold {fold}: no rows to validate on (split.val), so the last epoch is used")
    model, history = _fit(fabric, analysis, dataset, spec, fold, folder)
    if fabric.is_global_zero:
        model.save(folder / "model.pt")
        sources = {"name": analysis.name, "config_sha256": fingerprint(analysis.model_dump(mode="json"))}
        export_onnx(model, folder / "model.onnx", sources)
        write_history(folder / "history.csv", history)
    return history


def _fit(
    fabric: Fabric, analysis: Analysis, dataset: TrainingData, spec: ModelSpec, fold: int, folder: Path
) -> tuple[Model | TreeModel, list[Epoch]]:
    """Train the model of one fold, of either kind, and return it with its history."""
    training = analysis.training
    if spec.network["type"] == "lightgbm":
        from ..training.trees import fit_trees

        return fit_trees(training, dataset, spec, fold, fold_seed(training, fold), fabric.world_size)
    model = _new_model(training, dataset, spec, fold)
    key = fingerprint([analysis.model_dump(mode="json"), dataset.identity, fold])
    fit = Fit(fabric, training, dataset, model, fold, folder / "checkpoints", key)
    history = fit.run()
    if fit.range_test is not None and fabric.is_global_zero:
        _show_range_test(fit.range_test, folder)
    return fit.best_model(), history


def _show_range_test(test: RangeTest, folder: Path) -> None:
    """Draw how the loss depends on the learning rate."""
    from ..evaluation import figures

    @figures.cms_style
    def draw() -> Any:
        figure = figures.new_figure(10)
        axes = figure.add_subplot(xlabel="Learning rate", ylabel="Loss", xscale="log")
        axes.plot(test.rates, test.losses, color=figures.SIX_COLOURS[0])
        axes.axvline(test.suggestion, color="0.3", linestyle="--", label=f"chosen: {test.suggestion:.2g}")
        axes.legend()
        return figure

    figures.save(draw(), folder / "learning_rate")


def _new_model(training: Training, dataset: TrainingData, spec: ModelSpec, fold: int) -> Model:
    """Make the model of a fold, which all processes begin with."""
    seed_generators(fold_seed(training, fold))
    model = new_model(spec, dataset, fold)
    if training.init is not None:
        take_weights(model, _initial(Path(training.init.run), dataset.info.folds, fold))
        freeze(model, training.init.freeze)
    return model


def _initial(run: Path, folds: int, fold: int) -> Path:
    """Return the model of another run that a fold begins with: that of the same fold, or the only one."""
    others = len(Manifest.read(run, STAGE).details["best"])
    if others not in (1, folds):
        raise UserError(f"training.init.run: {run} has {others} folds, and this training has {folds}: use a run with 1")
    return run / f"fold{fold if others == folds else 0}" / "model.pt"


def _log_to_mlflow(
    work: Path, output: Path, config: dict[str, Any], histories: list[list[Epoch]], files: Iterable[str]
) -> dict[str, str]:
    """Log a finished training to a local MLflow store in the run directory, without a server.

    Returns
    -------
    dict
        ``tracking_uri`` relative to the run directory, ``experiment`` and ``run_id``.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    # SQLite wants locks that AFS and EOS lack, and MLflow keeps the file open: it is made elsewhere and copied.
    with tempfile.TemporaryDirectory() as scratch:
        database = Path(scratch, "mlflow.db")
        client = MlflowClient(tracking_uri=f"sqlite:///{database}")
        artifacts = (output / "artifacts").as_uri()  # absolute, by MLflow's design: where the run will be in the end
        experiment = client.create_experiment(config["name"], artifact_location=artifacts)
        run = client.create_run(experiment, run_name=output.name).info.run_id
        params = [Param(key, value) for key, value in _flat({k: config[k] for k in ("model", "training", "split")})]
        metrics = [Metric(*m) for m in _metrics(histories)]
        client.log_batch(run, params=params, tags=[RunTag("config_sha256", fingerprint(config))])
        for start in range(0, len(metrics), 1000):  # the most that MLflow takes at once
            client.log_batch(run, metrics=metrics[start : start + 1000])
        client.set_terminated(run)
        shutil.copyfile(database, work / "mlflow.db")
    shutil.rmtree(work / "artifacts", ignore_errors=True)
    for name in files:
        copy = work / "artifacts" / run / "artifacts" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(work / name, copy)
    return {"tracking_uri": "sqlite:///mlflow.db", "experiment": config["name"], "run_id": run}


def _flat(content: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _metrics(histories: list[list[Epoch]]) -> Iterable[tuple[str, float, int, int]]:
    """List (name, value, time in ms, epoch) of every curve, e.g. ``fold0/val_loss``."""
    now = int(time.time() * 1000)
    for fold, history in enumerate(histories):
        for epoch in history:
            for name, value in asdict(epoch).items():
                if name != "epoch" and value is not None:
                    yield f"fold{fold}/{name}", value, now, epoch.epoch
