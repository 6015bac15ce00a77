"""MLflow: one store of all runs, or ``mlflow.db`` and ``artifacts/`` in the run directory, written without a server.

SQLite wants locks that AFS and EOS lack, and MLflow keeps the file open: the database is made elsewhere and copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from ...console import say
from ...dataset.source import TrainingData
from ...errors import UserError, first_line
from ...provenance import fingerprint, git
from ...provenance.manifest import nanoforge_commit, versions
from ..empty_database import DATABASE, empty_database, memory_folder
from ..tracker import MERITS, RunTracker, Trained, merits

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ARTIFACTS, EVALUATION = "artifacts", "evaluation"
_OF_THE_RUN = f"sqlite:///{DATABASE}"
EXAMPLE_ROWS = 5
_LONGEST = 6000  # a parameter may be no longer
_PARAMS_AT_ONCE, _METRICS_AT_ONCE = 100, 1000  # more MLflow does not take
_PLACES = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
_MOST_DIFF = 1_000_000


class MlflowTracker(RunTracker):
    """MLflow: the store of all runs that ``uri`` names, or one in each run."""

    package = "mlflow"
    extra = "track"

    @property
    def uri(self) -> str:
        """The store of all runs; "" where each has its own."""
        return self.options.uri or os.environ.get("MLFLOW_TRACKING_URI") or ""

    def check(self) -> None:
        """See :meth:`.RunTracker.check`."""
        super().check()
        if self.uri:
            try:
                _client(self.uri).search_experiments(max_results=1)
            except Exception as error:  # MLflow, SQLAlchemy and networks all have errors of their own
                raise UserError(
                    f"tracking.uri: MLflow's store {_without_user(self.uri)} does not answer ({first_line(error)})"
                ) from error

    def log_training(self, work: Path, output: Path, trained: Trained) -> dict[str, str]:
        """See :meth:`.RunTracker.log_training`; also says which ``tracking_uri``, relative to the run directory."""
        experiment = self.options.experiment or trained.config["name"]
        if self.uri:
            run = _log_in_store(self.uri, experiment, work, output, trained)
            return {"tracking_uri": _without_user(self.uri), "experiment": experiment, "run_id": run}
        run = _log_in_run(experiment, work, output, trained)
        return {"tracking_uri": _OF_THE_RUN, "experiment": experiment, "run_id": run}

    def log_evaluation(self, run: Path, link: Mapping[str, str], content: Mapping[str, Any], evaluation: Path) -> None:
        """See :meth:`.RunTracker.log_evaluation`."""
        number, files = link["run_id"], [evaluation / "metrics.json", evaluation / "report.html"]
        files += evaluation.glob("plots/*.png")
        if link["tracking_uri"] != _OF_THE_RUN:
            client = _client(self.uri or link["tracking_uri"])
            _log_merits(client, number, content)
            for file in files:
                client.log_artifact(number, str(file), _folder(EVALUATION, file.relative_to(evaluation)))
            return
        (run / DATABASE).stat()  # where it is gone, MLflow would make an empty one
        with _database(run / DATABASE) as client:
            _log_merits(client, number, content)
        folder = _artifacts(run, number) / EVALUATION
        shutil.rmtree(folder, ignore_errors=True)
        for file in files:
            _copy(file, folder / file.relative_to(evaluation))


def _log_in_run(experiment: str, work: Path, output: Path, trained: Trained) -> str:
    """Make the store of a run, whose artifacts MLflow finds by the absolute path of ``output``; returns its number."""
    shutil.rmtree(work / ARTIFACTS, ignore_errors=True)
    (work / DATABASE).unlink(missing_ok=True)
    with _database(work / DATABASE) as client:
        group = client.create_experiment(experiment, artifact_location=(output.absolute() / ARTIFACTS).as_uri())
        run: str = client.create_run(group, run_name=output.name).info.run_id
        artifacts = _artifacts(work, run)
        for file in (file for file in trained.files if not file.endswith(".onnx")):  # that is in the models
            _copy(work / file, artifacts / file)
        _describe(client, run, trained, artifacts)
        for fold in range(len(trained.histories)):
            _log_model(client, group, run, work, fold, trained.dataset)
        client.set_terminated(run)
    return run


def _log_in_store(uri: str, experiment: str, work: Path, output: Path, trained: Trained) -> str:
    """Add a run to a store, with all files as artifacts; returns its number."""
    client = _client(uri)
    there = client.get_experiment_by_name(experiment)
    group = client.create_experiment(experiment, _artifact_root(uri)) if there is None else there.experiment_id
    run: str = client.create_run(group, run_name=output.name).info.run_id
    with tempfile.TemporaryDirectory() as scratch:
        _describe(client, run, trained, Path(scratch))
        client.log_artifacts(run, scratch)
    for file in map(Path, trained.files):
        client.log_artifact(run, str(work / file), _folder("", file))
    client.set_terminated(run)
    return run


def _describe(client: MlflowClient, run: str, trained: Trained, artifacts: Path) -> None:
    """Log tags, parameters and curves; what git does not know of the analysis goes to a folder of artifacts."""
    for key, text in (_tags(trained) | _source(trained.source, artifacts)).items():
        client.set_tag(run, key, text)
    _log(client, run, params=trained.parameters, metrics=_curves(trained))


def _log_merits(client: MlflowClient, run: str, content: Mapping[str, Any]) -> None:
    """Log figures of merit; those of an earlier evaluation that are no more become NaN."""
    now = {_name(key): value for key, value in merits(content)}
    earlier = (key for key in client.get_run(run).data.metrics if key.startswith(MERITS))
    metrics = [(key, now.get(key, np.nan), _milliseconds(), 0) for key in dict.fromkeys([*now, *earlier])]
    _log(client, run, params={}, metrics=metrics)


def _client(uri: str) -> MlflowClient:
    """Return a client of a store, which gives up after a minute in place of many."""
    settings = {"DISABLE_TELEMETRY": "true", "HTTP_REQUEST_MAX_RETRIES": "2", "HTTP_REQUEST_TIMEOUT": "20"}
    for name, value in settings.items():
        os.environ.setdefault(f"MLFLOW_{name}", value)
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


def _artifact_root(uri: str) -> str | None:
    """Return where the artifacts of an SQLite file go, beside it: MLflow's default is the working directory."""
    database = uri.removeprefix("sqlite:///")
    return None if database == uri else (Path(database).absolute().parent / ARTIFACTS).as_uri()


def _milliseconds() -> int:
    return int(time.time() * 1000)


def _without_user(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//", uri)


def _folder(first: str, file: Path) -> str | None:
    """Return the folder of an artifact; None for the uppermost."""
    return (Path(first) / file.parent).as_posix().removeprefix(".") or None


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
    with tempfile.TemporaryDirectory(dir=memory_folder()) as scratch:
        database = Path(scratch, DATABASE)
        if path.exists():
            shutil.copyfile(path, database)
        else:
            database.write_bytes(empty_database())
        yield _client(f"sqlite:///{database}")
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
    now = _milliseconds()
    for fold, (history, size) in enumerate(zip(trained.histories, trained.sizes)):
        yield f"fold{fold}/parameters", size, now, 0
        yield f"fold{fold}/training_seconds", sum(epoch.seconds for epoch in history), now, 0
        for epoch, numbers in trained.curves(fold):
            for name, value in numbers.items():
                yield f"fold{fold}/{name}", value, now, epoch


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
