"""The MLflow store of a run: ``mlflow.db`` and ``artifacts/`` in the run directory, written without a server.

SQLite wants locks that AFS and EOS lack, and MLflow keeps the file open: the database is made elsewhere and copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from ..console import say
from ..dataset.source import TrainingData
from ..provenance import fingerprint, git
from ..provenance.manifest import flat, nanoforge_commit, versions
from .empty_database import DATABASE, empty_database, memory_folder
from .history import Epoch

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ARTIFACTS, EVALUATION = "artifacts", "evaluation"
EXAMPLE_ROWS = 5
_PARAMETERS = ("row", "inputs", "define", "select", "target", "weight", "lumi", "split", "model", "training")
_LONGEST = 6000  # a parameter may be no longer
_PARAMS_AT_ONCE, _METRICS_AT_ONCE = 100, 1000  # more MLflow does not take
_PLACES = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
_MOST_DIFF = 1_000_000


@dataclass(frozen=True)
class Trained:
    """What MLflow is told of a training.

    Attributes
    ----------
    config
        The resolved analysis.
    dataset
        What the models were trained on.
    histories
        The epochs of each fold.
    sizes
        The number of parameters of each fold's model.
    files
        The files of the run that become artifacts, relative to the run directory.
    source
        The analysis file, where there is one.
    """

    config: dict[str, Any]
    dataset: TrainingData
    histories: list[list[Epoch]]
    sizes: list[int]
    files: list[str]
    source: Path | None


def log_training(work: Path, output: Path, trained: Trained) -> dict[str, str]:
    """Make the store of a finished training.

    Parameters
    ----------
    work
        The folder to write to, with the files of the training.
    output
        Where that folder will be in the end: MLflow finds artifacts by their absolute place.
    trained
        What to log.

    Returns
    -------
    dict
        ``tracking_uri`` relative to the run directory, ``experiment`` and ``run_id``; empty without MLflow.
    """
    if importlib.util.find_spec("mlflow") is None:
        say("note: MLflow is not installed, so that this run is in no store: pip install 'nanoforge[track]'")
        return {}
    name = trained.config["name"]
    shutil.rmtree(work / ARTIFACTS, ignore_errors=True)
    (work / DATABASE).unlink(missing_ok=True)
    with _database(work / DATABASE) as client:
        experiment = client.create_experiment(name, artifact_location=(output.absolute() / ARTIFACTS).as_uri())
        run = client.create_run(experiment, run_name=output.name).info.run_id
        artifacts = _artifacts(work, run)
        for file in (file for file in trained.files if not file.endswith(".onnx")):  # that is in the models
            _copy(work / file, artifacts / file)
        for key, text in (_tags(trained) | _source(trained.source, artifacts)).items():
            client.set_tag(run, key, text)
        params = dict(flat({key: trained.config[key] for key in _PARAMETERS}))
        _log(client, run, params=params, metrics=_curves(trained))
        for fold in range(len(trained.histories)):
            _log_model(client, experiment, run, work, fold, trained.dataset)
        client.set_terminated(run)
    return {"tracking_uri": f"sqlite:///{DATABASE}", "experiment": name, "run_id": run}


def log_evaluation(run: Path, link: Mapping[str, str], content: Mapping[str, Any], evaluation: Path) -> None:
    """Add figures of merit, figures and report to the MLflow run, in place of those of an earlier evaluation.

    Whatever fails here is a warning: the evaluation is finished already.

    Parameters
    ----------
    run
        The run directory.
    link
        What :func:`log_training` returned; without it nothing is logged.
    content
        What ``metrics.json`` holds.
    evaluation
        The directory of the evaluation.
    """
    if not link:
        return
    try:
        _log_evaluation(run, link["run_id"], content, evaluation)
    except Exception as error:  # MLflow, SQLAlchemy and the disk all have errors of their own
        reason = str(error).partition("\n")[0]
        say(f"warning: the evaluation is not in {run / DATABASE} ({type(error).__name__}: {reason})")


def _log_evaluation(run: Path, run_id: str, content: Mapping[str, Any], evaluation: Path) -> None:
    (run / DATABASE).stat()  # where it is gone, MLflow would make an empty one
    with _database(run / DATABASE) as client:
        merits = dict(_merits(content))
        earlier = (key for key in client.get_run(run_id).data.metrics if key.startswith(tuple(_MERITS)))
        now = int(time.time() * 1000)
        metrics = [(key, merits.get(key, np.nan), now, 0) for key in dict.fromkeys([*merits, *earlier])]
        _log(client, run_id, params={}, metrics=metrics)
    folder = _artifacts(run, run_id) / EVALUATION
    shutil.rmtree(folder, ignore_errors=True)
    for file in [evaluation / "metrics.json", evaluation / "report.html", *evaluation.glob("plots/*.png")]:
        _copy(file, folder / file.relative_to(evaluation))


def follow(run: Path) -> None:
    """Put the places of artifacts right in the store of a run that has moved: MLflow knows absolute ones only.

    Whatever fails here is a warning.
    """
    if not (run / DATABASE).exists():
        return
    try:
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch, DATABASE)
            shutil.copyfile(run / DATABASE, copy)
            if _renamed(copy, (run.resolve() / ARTIFACTS).as_uri()):
                _put_back(copy, run / DATABASE)
                say(f"note: {run / DATABASE} says where the artifacts are now")
    except (OSError, sqlite3.Error) as error:
        say(f"warning: {run / DATABASE} names artifacts where they were before the run moved ({error})")


def _renamed(database: Path, name: str) -> bool:
    """Write another place of all artifacts; False where they are there."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        names = {
            row[0] for row in connection.execute("SELECT artifact_location FROM experiments WHERE name != 'Default'")
        }
        before = names - {name}
        for old in before:
            for table, column in _PLACES:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                    (name, len(old) + 1, len(old), old),
                )
    return bool(before)


def _put_back(copy: Path, database: Path) -> None:
    """Replace a database by a copy of it, wherever that is."""
    beside = database.with_name(f".{database.name}")
    shutil.copyfile(copy, beside)
    beside.replace(database)


@contextlib.contextmanager
def _database(path: Path) -> Iterator[MlflowClient]:
    """Give a client of a copy of a database, new where there is none; it takes the place of the original."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(dir=memory_folder()) as scratch:
        database = Path(scratch, DATABASE)
        if path.exists():
            shutil.copyfile(path, database)
        else:
            database.write_bytes(empty_database())
        yield MlflowClient(tracking_uri=f"sqlite:///{database}")
        _put_back(database, path)


def _log(client: MlflowClient, run: str, params: Mapping[str, str], metrics: Iterable[tuple]) -> None:
    """Log everything in portions that MLflow takes, under names that it takes."""
    from mlflow.entities import Metric, Param

    parameters = [Param(_name(key), text[:_LONGEST]) for key, text in params.items()]
    measured = [Metric(_name(key), *rest) for key, *rest in metrics]
    for start in range(0, len(parameters), _PARAMS_AT_ONCE):
        client.log_batch(run, params=parameters[start : start + _PARAMS_AT_ONCE])
    for start in range(0, len(measured), _METRICS_AT_ONCE):
        client.log_batch(run, metrics=measured[start : start + _METRICS_AT_ONCE])


def _name(text: str) -> str:
    return re.sub(r"[^\w./: -]", "_", text)


def _artifacts(directory: Path, run: str) -> Path:
    """Return where MLflow looks for the artifacts of a run."""
    return directory / ARTIFACTS / run / "artifacts"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _tags(trained: Trained) -> dict[str, str]:
    """Say what the training was made from and with."""
    tags = {
        "config_sha256": fingerprint(trained.config),
        "dataset": trained.dataset.name,
        "dataset_identity": trained.dataset.identity,
        "nanoforge_commit": nanoforge_commit() or "",
    }
    return tags | {f"version.{package}": version for package, version in versions().items()}


def _source(source: Path | None, artifacts: Path) -> dict[str, str]:
    """Say in which state the folder of the analysis file is; what git does not know yet becomes an artifact."""
    if source is None:
        return {}
    folder = source.resolve().parent
    commit, diff = git.commit(folder), git.diff(folder)
    tags = {"mlflow.source.name": str(source.resolve()), "mlflow.source.type": "LOCAL"}
    if commit:
        tags |= {"analysis_commit": commit, "mlflow.source.git.commit": commit.partition("-")[0]}
    if diff:
        tags["analysis_diff_sha256"] = hashlib.sha256(diff.encode()).hexdigest()
        artifacts.mkdir(parents=True, exist_ok=True)
        (artifacts / "analysis.diff").write_text(diff[:_MOST_DIFF])
    return tags


def _curves(trained: Trained) -> Iterator[tuple[str, float, int, int]]:
    """List (name, value, time in ms, epoch) of every curve, e.g. ``fold0/val_loss``, and what the fold cost."""
    now = int(time.time() * 1000)
    for fold, (history, size) in enumerate(zip(trained.histories, trained.sizes)):
        yield f"fold{fold}/parameters", size, now, 0
        yield f"fold{fold}/training_seconds", sum(epoch.seconds for epoch in history), now, 0
        for epoch in history:
            for name, value in asdict(epoch).items():
                if name != "epoch" and value is not None:
                    yield f"fold{fold}/{name}", value, now, epoch.epoch


_MERITS = ("test/", "train/", "folds/", "importance/")


def _merits(content: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """List the figures of merit of an evaluation, e.g. ``test/auc.signal``, and their errors beside them."""
    parts = (content["test"], content["train"], content["spread"], content["importance"]["decrease"])
    for prefix, part in zip(_MERITS, parts):
        for name, estimate in part.items():
            for suffix, value in (("", estimate["value"]), ("_error", estimate["error"])):
                if value is not None:
                    yield _name(f"{prefix}{name}{suffix}"), value


def _log_model(client: MlflowClient, experiment: str, run: str, work: Path, fold: int, dataset: TrainingData) -> None:
    """Log the ONNX file of a fold as an MLflow model, with what it takes and gives, and a few rows as an example."""
    import mlflow.onnx
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema

    content = onnx.load(work / f"fold{fold}" / "model.onnx")
    inputs, outputs = (Schema([_tensor(value) for value in v]) for v in (content.graph.input, content.graph.output))
    rows = dataset.first("train", fold, EXAMPLE_ROWS)
    model = client.create_logged_model(experiment, name=f"model_fold{fold}", source_run_id=run)
    mlflow.onnx.save_model(
        content,
        work / ARTIFACTS / "models" / model.model_id / "artifacts",
        mlflow_model=Model(model_id=model.model_id, run_id=run),
        signature=ModelSignature(inputs, outputs),
        input_example={name: tensor.numpy().astype("f4") for name, tensor in rows.inputs.items()},
        pip_requirements=["onnx", "onnxruntime"],  # given, since MLflow would load the model to find out
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])


def _tensor(value: onnx.ValueInfoProto) -> Any:
    """Describe an input or output of a graph; free lengths are -1."""
    from mlflow.types import TensorSpec

    kind = value.type.tensor_type
    shape = tuple(size.dim_value or -1 for size in kind.shape.dim)
    return TensorSpec(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type), shape, value.name)
