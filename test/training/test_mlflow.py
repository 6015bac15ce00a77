"""The MLflow store of a run: what is in it, that it is found from anywhere, and that its models can be loaded."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

import mlflow
import numpy as np
import pytest
from datasets import make_analysis, write_dataset
from nanoforge.config.tracking import Tracking
from nanoforge.dataset.open import open_dataset
from nanoforge.evaluation import figure, gallery, style
from nanoforge.models.base import score
from nanoforge.models.load import load_model
from nanoforge.provenance import Manifest
from nanoforge.stages.evaluate import evaluate
from nanoforge.stages.train import train
from nanoforge.training import tracker
from nanoforge.training.trackers import mlflow as tracking

OPTIONS = {"epochs": 2, "batch_size": 64, "learning_rate": 0.01, "accelerator": "cpu"}


def git(folder, *arguments):
    command = ["git", "-C", folder, "-c", "user.name=me", "-c", "user.email=me@here", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def few_plots(results, histories):
    """Two figures that take no time."""
    for name in ("roc", "loss"):
        yield figure.Plot(name, name, name, style.new_figure(1))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run and its evaluation; the analysis file lies in a git checkout, and was changed since it was committed."""
    home = tmp_path_factory.mktemp("tracked")
    checkout = home / "analysis"
    checkout.mkdir()
    git(checkout, "init", "-q")
    (checkout / "toy.yaml").write_text("name: old\n")
    git(checkout, "add", "toy.yaml")
    git(checkout, "commit", "-q", "-m", "first")
    (checkout / "toy.yaml").write_text("name: toy\n")
    model = {"type": "deepsets", "constituent": [16], "hidden": [16]}
    analysis = make_analysis(model=model, training=OPTIONS, split={"train": 0.7, "val": 0.1, "test": 0.2})
    write_dataset(home / "data", analysis, rows=(500, 150, 150))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr(gallery, "plots", few_plots)
        train(analysis, home / "data", home / "run", file=checkout / "toy.yaml")
        evaluate(home / "run")
    return home


@contextlib.contextmanager
def looked_at(uri):
    """Let MLflow look at a store, which it writes to the environment, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        yield
        mlflow.set_tracking_uri(None)


@pytest.fixture
def store(home, tmp_path, monkeypatch):
    """A client of the store, in another working directory than that of the training, and its only run."""
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{home / 'run' / tracking.DATABASE}"
    with looked_at(uri):
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name("toy")
        yield client, client.search_runs([experiment.experiment_id])[0]


def test_parameters_curves_and_origin_are_found(home, store):
    client, run = store
    manifest = Manifest.read(home / "run", "train")
    assert run.info.status == "FINISHED" and run.info.run_id == manifest.details["records"]["mlflow"]["run_id"]
    params = run.data.params
    assert params["model.type"] == "deepsets" and params["training.epochs"] == "2" and params["split.test"] == "0.2"
    assert params["inputs.jets.features"] == "['pt', 'eta', 'mass']" and params["weight"] == "1"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "fold0/val_loss")] == [1, 2]
    (cost,) = manifest.details["cost"]
    network = load_model(home / "run" / "fold0" / "model.pt")
    assert run.data.metrics["fold0/parameters"] == cost["parameters"] == sum(p.numel() for p in network.parameters())
    assert run.data.metrics["fold0/training_seconds"] == pytest.approx(cost["seconds"])
    assert run.data.tags["dataset_identity"] == open_dataset(home / "data").identity
    assert run.data.tags["config_sha256"] == manifest.config_sha256
    assert run.data.tags["nanoforge_commit"] == (manifest.git_commit or "")
    assert run.data.tags["version.torch"] == manifest.versions["torch"]


def test_the_state_of_the_folder_of_the_analysis_is_recorded(home, store):
    client, run = store
    commit = git(home / "analysis", "rev-parse", "HEAD")
    assert run.data.tags["analysis_commit"] == f"{commit}-dirty"
    assert run.data.tags["mlflow.source.name"] == str(home / "analysis" / "toy.yaml")
    assert len(run.data.tags["analysis_diff_sha256"]) == 64
    lines = Path(client.download_artifacts(run.info.run_id, "analysis.diff")).read_text().splitlines()
    assert "-name: old" in lines and "+name: toy" in lines


def test_models_are_loaded_and_score_as_ours(home, store):
    _, run = store
    assert not list((home / "run").rglob("*.pkl"))
    uri = f"runs:/{run.info.run_id}/model_fold0"
    data = open_dataset(home / "data")
    inputs = {name: tensor.numpy().astype("f4") for name, tensor in data.arrays("test", 0).inputs.items()}
    ours = score(load_model(home / "run" / "fold0" / "model.pt"), inputs)
    model = mlflow.pyfunc.load_model(uri)
    assert np.abs(model.predict(inputs)["scores"] - ours).max() < 1e-5
    shapes = {spec.name: spec.shape for spec in model.metadata.signature.inputs}
    assert shapes == {"event": (-1, 2), "jets": (-1, -1, 3), "jets_mask": (-1, -1)}
    assert [(spec.name, spec.shape) for spec in model.metadata.signature.outputs] == [("scores", (-1, 2))]
    first = data.first("train", 0, tracking.EXAMPLE_ROWS)
    np.testing.assert_allclose(model.input_example["jets"], first.inputs["jets"].numpy(), rtol=1e-6)
    assert model.predict(model.input_example)["scores"].shape == (tracking.EXAMPLE_ROWS, 2)
    assert mlflow.onnx.load_model(uri).ir_version == 8


def test_the_evaluation_is_in_the_run(home, store):
    client, run = store
    found = json.loads((home / "run" / "evaluation" / "metrics.json").read_text())
    metrics = run.data.metrics
    for name, estimate in found["test"].items():
        if estimate["value"] is not None:
            assert metrics[f"test/{name}"] == estimate["value"]
    assert metrics["test/auc.low_error"] == found["test"]["auc.low"]["error"]
    assert {a.path for a in client.list_artifacts(run.info.run_id, "fold0")} >= {"fold0/history.csv", "fold0/model.pt"}
    artifacts = {a.path for a in client.list_artifacts(run.info.run_id, "evaluation")}
    assert artifacts == {"evaluation/metrics.json", "evaluation/plots", "evaluation/report.html"}
    plots = {a.path for a in client.list_artifacts(run.info.run_id, "evaluation/plots")}
    assert {"evaluation/plots/roc.png", "evaluation/plots/loss.png"} <= plots
    assert all(plot.endswith(".png") for plot in plots)
    Manifest.read(home / "run", "train").verify(home / "run")


@pytest.fixture
def logged(home, tmp_path):
    """A copy of the run, and what a second evaluation of it says."""
    run = tmp_path / "run"
    shutil.copytree(home / "run", run)
    content = json.loads((run / "evaluation" / "metrics.json").read_text())
    return run, Manifest.read(run, "train").details["records"]["mlflow"], content


def test_another_evaluation_replaces_the_first(logged):
    run, link, content = logged
    del content["test"]["brier"]
    content["test"]["accuracy"]["value"] = 0.25
    content["spread"]["accuracy"] = {"value": 0.5, "error": 0.1}
    (run / "evaluation" / "plots" / "roc.png").unlink()
    tracker.log_evaluation(run, Tracking(), {"mlflow": link}, content, run / "evaluation")
    metrics = mlflow.MlflowClient(f"sqlite:///{run / tracking.DATABASE}").get_run(link["run_id"]).data.metrics
    assert metrics["test/accuracy"] == 0.25 and np.isnan(metrics["test/brier"])
    assert metrics["folds/accuracy"] == 0.5 and metrics["folds/accuracy_error"] == 0.1
    assert metrics["fold0/parameters"] > 0
    plots = run / "artifacts" / link["run_id"] / "artifacts" / "evaluation" / "plots"
    assert (plots / "loss.png").exists() and not (plots / "roc.png").exists()


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"no database" * 100)])
def test_a_store_that_fails_is_a_warning(logged, capsys, spoil):
    run, link, content = logged
    spoil(run / tracking.DATABASE)
    left = sorted(run.iterdir())
    tracker.log_evaluation(run, Tracking(), {"mlflow": link}, content, run / "evaluation")
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("warning: mlflow has no record of the evaluation of")]) == 1
    assert sorted(run.iterdir()) == left


def test_names_and_values_that_mlflow_would_refuse(logged):
    params = {"options.a(b)": "x" * 10_000, **{f"options.n{i}": str(i) for i in range(150)}}
    with tracking._database(logged[0] / tracking.DATABASE) as client:
        run = client.create_run("0").info.run_id
        tracking._log(client, run, params, [("x%", 1.0, 0, 0)])
        data = client.get_run(run).data
    assert len(data.params) == 151 and len(data.params["options.a_b_"]) == 6000
    assert data.metrics == {"x_": 1.0}


def test_a_moved_project_is_evaluated_and_its_models_are_found(home, tmp_path, monkeypatch, capsys):
    """The run names its dataset, and MLflow its artifacts, by absolute paths of before."""
    shutil.copytree(home, tmp_path / "elsewhere")
    home.rename(home.with_name("gone"))
    run = tmp_path / "elsewhere" / "run"
    try:
        monkeypatch.setattr(gallery, "plots", few_plots)
        assert evaluate(run, output=tmp_path / "again")["test"]
        said = " ".join(capsys.readouterr().err.split())
        assert f"was made as {home / 'run'}" in said and "mlflow.db says where the artifacts are now" in said
        with looked_at(f"sqlite:///{run / tracking.DATABASE}"):
            client = mlflow.MlflowClient()
            (found,) = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
            assert "history.csv" in [Path(item.path).name for item in client.list_artifacts(found.info.run_id, "fold0")]
            assert mlflow.onnx.load_model(f"runs:/{found.info.run_id}/model_fold0").graph.input
        tracking.follow(run)
        assert "says where" not in capsys.readouterr().err
    finally:
        home.with_name("gone").rename(home)
