"""Where trainings are recorded: one MLflow store for all runs, TensorBoard, Weights & Biases, one's own."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from datasets import make_analysis, write_dataset
from nanoforge.errors import UserError
from nanoforge.evaluation import gallery
from nanoforge.provenance import Manifest
from nanoforge.stages import train as stage
from nanoforge.stages.evaluate import evaluate
from nanoforge.training import tracker
from nanoforge.training.empty_database import empty_database
from pages import DOC, blocks

OPTIONS = {"epochs": 2, "batch_size": 64, "learning_rate": 0.01, "accelerator": "cpu"}
RECIPE = next(text for text in blocks(DOC / "extending.md", "python") if "(RunTracker)" in text)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tracked") / "data"
    write_dataset(folder, analysis(), rows=(300, 80, 80))
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(stage, "export_onnx", lambda model, path, metadata: path.write_text("graph"))
    monkeypatch.setattr(gallery, "plots", lambda *_: iter(()))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("DISABLE_TELEMETRY", "HTTP_REQUEST_MAX_RETRIES", "HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(f"MLFLOW_{name}", "1")
    return


def analysis(**tracking: Any) -> Any:
    split = {"train": 0.7, "val": 0.1, "test": 0.2}
    return make_analysis(training=OPTIONS, split=split, **({"tracking": tracking} if tracking else {}))


def trained(data: Path, run: Path, **tracking: Any) -> dict[str, Any]:
    records = stage.train(analysis(**tracking), data, run).details["records"]
    evaluate(run)
    return dict(records)


def store(folder: Path) -> str:
    """Return the address of an MLflow store without runs."""
    folder.mkdir(exist_ok=True)
    (folder / "all.db").write_bytes(empty_database())
    return f"sqlite:///{folder / 'all.db'}"


@pytest.mark.parametrize("by", ["key", "variable"])
def test_runs_meet_in_one_store(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    uri = store(tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    options = {"uri": uri, "experiment": "taggers"} if by == "key" else {"experiment": "taggers"}
    if by == "variable":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    records = [trained(data, tmp_path / name, **options) for name in ("one", "two")]
    assert not (tmp_path / "one" / "mlflow.db").exists() and not (tmp_path / "mlruns").exists()
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("taggers").experiment_id])
    assert {run.info.run_id for run in runs} == {record["mlflow"]["run_id"] for record in records}
    assert {run.info.run_name for run in runs} == {"one", "two"}
    merits = json.loads((tmp_path / "one" / "evaluation" / "metrics.json").read_text())
    for run in runs:
        assert run.data.params["model.type"] == "mlp" and run.info.status == "FINISHED"
        assert run.data.metrics["test/accuracy"] == pytest.approx(merits["test"]["accuracy"]["value"])
        assert [p.step for p in client.get_metric_history(run.info.run_id, "fold0/val_loss")] == [1, 2]
        assert "fold0/model.pt" in [item.path for item in client.list_artifacts(run.info.run_id, "fold0")]
        assert "evaluation/report.html" in [item.path for item in client.list_artifacts(run.info.run_id, "evaluation")]


def test_nobody_trains_for_a_store_that_does_not_answer(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tracking.uri: MLflow's store http://127.0.0.1:9 does not answer"):
        stage.train(analysis(uri="http://127.0.0.1:9"), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_store_that_fails_afterwards_costs_no_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionError("the server is gone\nfor good")

    monkeypatch.setattr("nanoforge.training.trackers.mlflow._log_in_store", fail)
    assert trained(data, tmp_path / "run", uri=store(tmp_path)) == {}
    Manifest.read(tmp_path / "run", "train").verify(tmp_path / "run")
    said = capsys.readouterr().err
    assert "warning: mlflow has no record of this training (ConnectionError: the server is gone)" in said


def test_what_is_not_installed_is_named_before_the_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    missing = {"mlflow", "wandb"}
    find = importlib.util.find_spec
    monkeypatch.setattr(tracker.importlib.util, "find_spec", lambda name: None if name in missing else find(name))
    with pytest.raises(
        UserError, match=r"tracking.to: the package wandb is not here: pip install 'nanoforge\[wandb\]'"
    ):
        stage.train(analysis(to="wandb"), data, tmp_path / "run")
    assert trained(data, tmp_path / "run") == {}
    assert "note: mlflow is not installed and records no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tracking", "message"),
    [
        ({"to": ["mlflo"]}, "there is no tracker 'mlflo'"),
        ({"uri": "https://me:secret@mlflow.example.org/x"}, "MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_mistakes_are_told_by_the_file(tracking: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        analysis(**tracking)


def test_a_tracker_of_ones_own(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_notes.py").write_text(RECIPE)
    monkeypatch.syspath_prepend(tmp_path)
    records = trained(data, tmp_path / "run", to=["my_notes:Notes"])
    assert records == {"my_notes:Notes": {"file": "notes.txt"}}
    assert (tmp_path / "run" / "notes.txt").read_text().startswith("mlp: [2] epochs, accuracy 0.")
    sys.modules.pop("my_notes")


def test_tensorboard_has_the_curves(data: Path, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard here")
    trained(data, tmp_path / "run", to="tensorboard")
    lines = (tmp_path / "run" / "fold0" / "history.csv").read_text().splitlines()
    number = lines[0].split(",").index("val_loss")
    read = events.EventAccumulator(str(tmp_path / "run" / "tensorboard" / "fold0")).Reload()
    expected = [float(line.split(",")[number]) for line in lines[1:]]
    assert [e.value for e in read.Scalars("val_loss")] == pytest.approx(expected, rel=1e-5)
    assert "test/accuracy" in events.EventAccumulator(
        str(tmp_path / "run" / "tensorboard" / "evaluation")
    ).Reload().Tags()["scalars"]  # fmt: skip


def test_weights_and_biases_has_a_run_to_be_sent(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="no wandb here")
    records = trained(data, tmp_path / "run", to="wandb")
    kept = list((tmp_path / "run" / "wandb").glob(f"offline-run-*-{records['wandb']['run_id']}/*.wandb"))
    assert kept and all(path.stat().st_size > 500 for path in kept)
