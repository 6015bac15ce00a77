"""``nanoforge train``: fit one model per fold, keep the best of each, write it as ONNX too and log it to MLflow.

The loop is Lightning Fabric's: for a small network on a CPU the Trainer costs 15 to 19 % per step, Fabric 2 to 6 %.
"""

from __future__ import annotations

import csv
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
import yaml
from lightning.fabric import Fabric, seed_everything
from torch import Tensor

from ..config.schema import Analysis, Training
from ..console import Bar, progress, say, show_accounting
from ..dataset.info import DatasetInfo
from ..dataset.loading import Batch, TrainingData, on_device
from ..errors import DataError, UserError
from ..models.model import Model, ModelSpec, write_tensors
from ..models.onnx import export_onnx
from ..models.tasks import class_factors, cross_entropy, mean_squares
from ..provenance import Manifest, fingerprint, staged_output
from ..provenance.manifest import changed_keys, write_atomically
from ..provenance.output import up_to_date

STAGE = "train"


def train(
    analysis: Analysis, data: Path | Analysis, output: Path, force: bool = False, skip_bad_files: bool = False
) -> Manifest:
    """Train the model of an analysis on its dataset, once per fold.

    Interrupted, it goes on after the last epoch that was completed when it is run again.

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
    previous = up_to_date(output, STAGE, key)
    if previous is not None and (skip_bad_files or not previous.lost_files):
        say(f"{output} is up to date")
        return previous
    fabric = _fabric(training.accelerator)
    source = {"path": None if isinstance(data, Analysis) else str(data.resolve()), "identity": dataset.identity}
    with staged_output(output, key, force) as work:
        kept = dataset.prepare(work)
        spec = model_spec(analysis, dataset.info)
        folds = [f"fold{i}" for i in range(dataset.info.folds)]
        histories = [_fold(fabric, analysis, dataset, spec, i, work / name) for i, name in enumerate(folds)]
        best = [{"epoch": b.epoch, "val_loss": b.val_loss} for b in map(_best, histories)]
        (work / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        files = ["config.yaml", *(f"{f}/{n}" for f in folds for n in ("model.pt", "model.onnx", "history.csv"))]
        manifest = Manifest(
            stage=STAGE,
            config=config,
            inputs=dataset.sources,
            accounting=dataset.accounting,
            seed=training.seed,
            details={
                "key": fingerprint(key),
                "sha256": analysis.digests(),
                "dataset": source | {"info": dataset.info.as_dict()},
                "spec": spec.as_dict(),
                "best": best,
                "mlflow": _log_to_mlflow(work, output.absolute(), config, histories, files),
            },
        )
        manifest.write(work, dict.fromkeys([*files, *kept]))
    if dataset.accounting is not None:
        show_accounting(f"train: {output}", dataset.accounting)
    return manifest


def model_spec(analysis: Analysis, info: DatasetInfo) -> ModelSpec:
    """Say which model an analysis describes for a dataset."""
    task = "classification" if info.classes else "regression"
    return ModelSpec(info.inputs, info.classes or info.regression, task, analysis.model.model_dump(mode="json"))


@dataclass(frozen=True)
class Epoch:
    """One line of ``history.csv``; ``val_loss`` is None without validation rows."""

    epoch: int
    train_loss: float
    val_loss: float | None
    learning_rate: float
    seconds: float


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


def _fabric(accelerator: str) -> Fabric:
    cuda = torch.cuda.is_available()
    if accelerator == "gpu" and not cuda:
        raise UserError("training.accelerator is 'gpu', but torch finds no CUDA device here: use 'auto' or 'cpu'")
    return Fabric(accelerator="cuda" if cuda and accelerator != "cpu" else "cpu", devices=1)


def _fold(
    fabric: Fabric, analysis: Analysis, dataset: TrainingData, spec: ModelSpec, fold: int, folder: Path
) -> list[Epoch]:
    """Train the model of one fold, unless that is done already, and write its files; the history comes last."""
    if (folder / "model.pt").exists() and (folder / "history.csv").exists():
        say(f"fold {fold}: trained already")
        return _read_history(folder / "history.csv")
    if not dataset.rows("train", fold):
        raise UserError(f"{dataset.name}: no rows to train on: relax the cuts (select) or raise split.train")
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    if not dataset.rows("val", fold):
        say(f"fold {fold}: no rows to validate on (split.val), so the last epoch is used")
    fit = _Fit(fabric, analysis.training, dataset, spec, fold, folder / "checkpoints")
    history = fit.run()
    model = fit.best_model()
    model.save(folder / "model.pt")
    sources = {"name": analysis.name, "config_sha256": fingerprint(analysis.model_dump(mode="json"))}
    export_onnx(model, folder / "model.onnx", sources)
    _write_history(folder / "history.csv", history)
    return history


class _Fit:
    """The training of one fold. Everything random follows from the seed, the fold and the epoch."""

    def __init__(
        self, fabric: Fabric, training: Training, dataset: TrainingData, spec: ModelSpec, fold: int, folder: Path
    ) -> None:
        self._fabric = fabric
        self._training = training
        self._dataset = dataset
        self._fold = fold
        self._folder = folder
        self._seed = (training.seed + fold) % 2**32
        self._history: list[Epoch] = []
        seed_everything(self._seed, verbose=False)
        self._model = _new_model(spec, dataset, fold)
        self._factors = fabric.to_device(_factors(training.class_balance, dataset, fold))
        optimizer = torch.optim.AdamW(
            self._model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )
        self._network, self._optimizer = fabric.setup(self._model, optimizer)
        self._network.mark_forward_method("logits")
        self._resume()

    def run(self) -> list[Epoch]:
        """Train until the last epoch, or until the validation loss has not improved for ``patience`` epochs."""
        epochs, done = self._training.epochs, len(self._history)
        steps = math.ceil(self._dataset.rows("train", self._fold) / self._training.batch_size)
        with progress(f"training fold {self._fold}", total=epochs * steps) as bar:
            bar.advance(done * steps)
            for epoch in range(done + 1, epochs + 1):
                if self._history and len(self._history) - _best(self._history).epoch >= self._training.patience:
                    say(f"fold {self._fold}: no better for {self._training.patience} epochs, stopped")
                    break
                self._history.append(self._epoch(epoch, bar))
                self._save()
                say(f"fold {self._fold}: {_line(self._history[-1], epochs)}")
        return self._history

    def best_model(self) -> Model:
        """Return the model of the best epoch, on the CPU."""
        self._model.load_state_dict(torch.load(self._folder / "best.ckpt", map_location="cpu", weights_only=True))
        return self._model.cpu().eval()

    def _epoch(self, epoch: int, bar: Bar) -> Epoch:
        start = time.perf_counter()
        # Dropout in a resumed training is as it would have been without the interruption.
        torch.manual_seed(int(np.random.SeedSequence([self._seed, epoch]).generate_state(1)[0]))
        train_loss = self._train(epoch, bar)
        val_loss = self._validate(epoch)
        rate = float(self._optimizer.param_groups[0]["lr"])
        return Epoch(epoch, train_loss, val_loss, rate, time.perf_counter() - start)

    def _train(self, epoch: int, bar: Bar) -> float:
        self._network.train()
        size = self._training.batch_size
        batches = self._dataset.batches("train", self._fold, size, shuffle=True, seed=self._seed, epoch=epoch)
        total = norm = 0.0
        for step, batch in enumerate(on_device(batches, self._fabric.device), 1):
            self._optimizer.zero_grad()
            numerator, denominator = self._loss(batch)
            loss = numerator / denominator
            value = loss.item()
            if not math.isfinite(value):
                raise DataError(f"epoch {epoch}, step {step}: the training loss is {value}: {self._suspect(batch)}")
            self._fabric.backward(loss)
            self._optimizer.step()
            total, norm = total + value * denominator.item(), norm + denominator.item()
            bar.advance(1)
            bar.note(f"epoch {epoch}  loss {value:.4f}")
        return total / norm

    def _validate(self, epoch: int) -> float | None:
        self._network.eval()
        total = norm = 0.0
        with torch.inference_mode():
            batches = self._dataset.batches("val", self._fold, self._training.batch_size)
            for batch in on_device(batches, self._fabric.device):
                numerator, denominator = (t.item() for t in self._loss(batch))
                if not math.isfinite(numerator):
                    raise DataError(f"epoch {epoch}: the validation loss is {numerator}: {self._suspect(batch)}")
                total, norm = total + numerator, norm + denominator
        return total / norm if self._dataset.rows("val", self._fold) else None

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        raw = self._network.logits(*(batch.inputs[name] for name in self._model.spec.graph_inputs))
        if batch.label is not None:
            return cross_entropy(raw, batch.label, batch.weight * self._factors[batch.label])
        assert batch.targets is not None  # noqa: S101 — a dataset has labels or targets
        return mean_squares(raw, self._model.standardise_targets(batch.targets), batch.weight)

    def _suspect(self, batch: Batch) -> str:
        """Say what makes the loss of a batch not finite."""
        columns = {f"input {name!r}": _valid(batch, name) for name in self._model.spec.inputs}
        columns |= {"the weight": batch.weight}
        if batch.targets is not None:
            columns |= {"the target": batch.targets}
        for name, values in columns.items():
            if not torch.isfinite(values).all():
                return f"{name} holds NaN or infinite values: mend its expressions and run 'nanoforge convert' again"
        return f"training.learning_rate ({self._training.learning_rate:g}) may be too high"

    def _save(self) -> None:
        """Save the best weights first: an interruption in between repeats the epoch, with the same result."""
        weights = self._model.state_dict()
        if _best(self._history) is self._history[-1]:
            write_tensors(weights, self._folder / "best.ckpt")
        history = [asdict(epoch) for epoch in self._history]
        state = {"model": weights, "optimizer": self._optimizer.state_dict(), "history": history}
        write_tensors(state, self._folder / "last.ckpt")

    def _resume(self) -> None:
        last = self._folder / "last.ckpt"
        if last.exists():
            state = torch.load(last, map_location=self._fabric.device, weights_only=True)
            self._model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._history = [Epoch(**epoch) for epoch in state["history"]]
            say(f"fold {self._fold}: goes on after epoch {len(self._history)}")


def _new_model(spec: ModelSpec, dataset: TrainingData, fold: int) -> Model:
    model = Model(spec)
    for name, (center, scale) in dataset.normalisation(fold).items():
        model.set_normalisation(name, center, scale)
    if spec.task == "regression":
        model.set_normalisation("target", *dataset.target_moments(fold))
    return model


def _factors(balance: str, dataset: TrainingData, fold: int) -> Tensor:
    """Return the factor on the weight of each class, (C,); empty for a regression."""
    classes = dataset.info.classes
    return torch.from_numpy(class_factors(balance, classes, *dataset.class_totals(fold)) if classes else np.empty(0))


def _valid(batch: Batch, name: str) -> Tensor:
    mask = batch.inputs.get(f"{name}_mask")
    return batch.inputs[name] if mask is None else batch.inputs[name][mask]


def _best(history: list[Epoch]) -> Epoch:
    """Return the first epoch of the least validation loss; the last epoch where nothing was validated."""
    return min(history, key=lambda e: -e.epoch if e.val_loss is None else e.val_loss)


def _line(epoch: Epoch, epochs: int) -> str:
    validation = "" if epoch.val_loss is None else f", validation {epoch.val_loss:.4f}"
    return f"epoch {epoch.epoch}/{epochs}: loss {epoch.train_loss:.4f}{validation} ({epoch.seconds:.1f} s)"


def _write_history(path: Path, history: list[Epoch]) -> None:
    rows = [asdict(epoch) for epoch in history]
    lines = [",".join(rows[0]), *(",".join("" if v is None else repr(v) for v in row.values()) for row in rows)]
    write_atomically(path, "\n".join(lines) + "\n")


def _read_history(path: Path) -> list[Epoch]:
    with path.open() as file:
        rows = [{key: float(text) if text else None for key, text in row.items()} for row in csv.DictReader(file)]
    return [Epoch(**row | {"epoch": int(row["epoch"] or 0)}) for row in rows]  # type: ignore[arg-type]


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
