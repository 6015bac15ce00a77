"""Training: it learns, repeats itself exactly, goes on where it was, and refuses what cannot work."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
import torch
import toys
import yaml
from datasets import make_analysis, write_dataset
from nanoforge.config import Analysis
from nanoforge.dataset import streaming
from nanoforge.dataset.open import open_dataset
from nanoforge.errors import DataError, UserError
from nanoforge.models.base import ModelSpec, score
from nanoforge.models.load import load_model
from nanoforge.models.onnx import export_onnx
from nanoforge.provenance import Manifest
from nanoforge.stages import train as stage
from nanoforge.stages.convert import convert
from nanoforge.stages.evaluate import evaluate
from nanoforge.stages.train import train
from nanoforge.training.fit import Fit
from sklearn.metrics import roc_auc_score

MLP = {"type": "mlp", "hidden": [32], "dropout": 0.1}
DEEPSETS = {"type": "deepsets", "constituent": [16], "hidden": [32], "dropout": 0.1}


def make(model=MLP, folds=1, regression=False, **training):
    options = {"epochs": 3, "batch_size": 64, "learning_rate": 0.01, "seed": 3, "accelerator": "cpu"} | training
    return make_analysis(folds, regression, model=model, training=options)


@pytest.fixture
def quick(monkeypatch):
    """Leave out what takes seconds and is tested elsewhere: the export, MLflow and figures."""
    monkeypatch.setattr(stage, "export_onnx", lambda model, path, metadata: path.write_text("graph"))
    monkeypatch.setattr(stage, "log_training", lambda *_: {})
    monkeypatch.setattr("nanoforge.evaluation.gallery.plots", lambda *_: [])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("plain") / "data", make())


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("folded") / "data", make(folds=2), rows=(600, 200, 0))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, folded):
    output = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "log_training", lambda *_: {})
        return output, train(make(DEEPSETS, folds=2), folded, output)


def weights(run, fold=0):
    return load_model(run / f"fold{fold}" / "model.pt").state_dict()


def same(left, right):
    return all(torch.equal(left[name], right[name]) for name in left)


def history(run, fold=0):
    with (run / f"fold{fold}" / "history.csv").open() as file:
        return list(csv.DictReader(file))


def scores(run, data, part="val"):
    rows = open_dataset(data).arrays(part, 0)
    return score(load_model(run / "fold0" / "model.pt"), {k: t.numpy() for k, t in rows.inputs.items()}), rows


FILES = ("model.pt", "model.onnx", "history.csv", "balance.json", "reference.json")


def test_a_run_directory_is_complete(finished, folded):
    output, manifest = finished
    manifest.verify(output)
    assert Manifest.read(output, "train").identity() == manifest.identity()
    assert {f"fold{i}/{n}" for i in (0, 1) for n in FILES} | {"config.yaml"} == {
        record.path for record in manifest.outputs
    }
    assert (output / "fold1" / "checkpoints" / "last.ckpt").exists()
    assert Analysis.model_validate(yaml.safe_load((output / "config.yaml").read_text())) == make(DEEPSETS, folds=2)
    details = manifest.details
    assert details["dataset"]["identity"] == open_dataset(folded).identity
    assert ModelSpec.from_dict(details["spec"]) == load_model(output / "fold0" / "model.pt").spec
    for fold, best in enumerate(details["best"]):
        losses = [float(row["val_loss"]) for row in history(output, fold)]
        assert best == {"epoch": 1 + int(np.argmin(losses)), "val_loss": min(losses)}


def test_folds_have_their_own_models(finished):
    output, _ = finished
    assert not same(weights(output, 0), weights(output, 1))


@pytest.mark.parametrize("model", [MLP, DEEPSETS], ids=["mlp", "deepsets"])
def test_a_learnable_problem_is_learnt(model, data, tmp_path, quick):
    train(make(model, epochs=8), data, tmp_path / "run")
    found, rows = scores(tmp_path / "run", data)
    assert roc_auc_score(rows.label, found[:, 1]) > 0.9


def test_trees_are_grown_in_place_of_a_network(data, tmp_path, quick):
    manifest = train(make({"type": "lightgbm", "num_iterations": 60, "min_data_in_leaf": 5}), data, tmp_path / "run")
    rows = open_dataset(data).arrays("val", 0)
    model = load_model(tmp_path / "run" / "fold0" / "model.pt")
    found = score(model, {k: t.numpy() for k, t in rows.inputs.items()})
    assert roc_auc_score(rows.label, found[:, 1]) > 0.85
    losses = [float(row["val_loss"]) for row in history(tmp_path / "run")]
    assert manifest.details["best"] == [{"epoch": 1 + int(np.argmin(losses)), "val_loss": min(losses)}]
    with pytest.raises(UserError, match=r"training\.init: lightgbm"):
        init = {"run": str(tmp_path / "run")}
        train(make({"type": "lightgbm"}, init=init), data, tmp_path / "other")


def test_three_classes_are_learnt(tmp_path, quick):
    classes = {"low": "z < -0.5", "middle": "abs(z) <= 0.5", "high": "z > 0.5"}
    analysis = Analysis.model_validate(make(DEEPSETS, epochs=8).model_dump() | {"target": {"classes": classes}})
    data = write_dataset(tmp_path / "data", analysis, edges=(-0.5, 0.5))
    train(analysis, data, tmp_path / "run")
    found, rows = scores(tmp_path / "run", data)
    assert roc_auc_score(rows.label, found, multi_class="ovr") > 0.9


def test_a_regression_is_learnt_in_its_own_units(tmp_path, quick):
    def scale(split, columns):
        columns["target/z"] = 91 + 2.5 * columns["target/z"]

    analysis = make(DEEPSETS, regression=True, epochs=8)
    data = write_dataset(tmp_path / "data", analysis, change=scale)
    train(analysis, data, tmp_path / "run")
    found, rows = scores(tmp_path / "run", data)
    truth = rows.targets[:, 0].numpy()
    assert np.mean((found[:, 0] - truth) ** 2) < 0.2 * truth.var()


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_equal_seeds_give_equal_weights(in_memory, data, tmp_path, quick):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(make(seed=seed, in_memory=in_memory), data, tmp_path / name)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_an_interrupted_run_goes_on_to_the_same_result(folded, tmp_path, quick, monkeypatch):
    analysis, output = make(DEEPSETS, folds=2, patience=9), tmp_path / "run"
    train(analysis, folded, tmp_path / "whole")
    original = Fit._validate

    def interrupt(self, epoch):
        if (self._fold, epoch) == (1, 2):
            raise KeyboardInterrupt
        return original(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_validate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(analysis, folded, output)
    assert not output.exists()
    work = output.with_name(".run.unfinished")
    before = (work / "fold0" / "model.pt").stat().st_mtime_ns
    trained = []
    original_train = Fit._train
    monkeypatch.setattr(Fit, "_train", lambda s, e, b: trained.append((s._fold, e)) or original_train(s, e, b))
    manifest = train(analysis, folded, output)
    assert trained == [(1, 2), (1, 3)]
    assert (output / "fold0" / "model.pt").stat().st_mtime_ns == before
    assert len(manifest.details["best"]) == 2
    for fold in (0, 1):
        assert same(weights(output, fold), weights(tmp_path / "whole", fold))
        keys = ("epoch", "train_loss", "val_loss")
        left, right = ([[row[k] for k in keys] for row in history(run, fold)] for run in (output, tmp_path / "whole"))
        assert left == right


def test_the_best_epoch_is_kept_and_patience_ends_the_training(data, tmp_path, quick, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 1.5, 0.5])
    kept = []

    def validate(self, epoch):
        kept.append({name: tensor.clone() for name, tensor in self._model.state_dict().items()})
        return next(losses)

    monkeypatch.setattr(Fit, "_validate", validate)
    manifest = train(make(epochs=5, patience=2), data, tmp_path / "run")
    assert manifest.details["best"] == [{"epoch": 2, "val_loss": 1.0}]
    assert [row["val_loss"] for row in history(tmp_path / "run")] == ["3.0", "1.0", "2.0", "1.5"]
    assert same(weights(tmp_path / "run"), kept[1])


def test_without_validation_the_last_epoch_is_used(tmp_path, quick, capsys):
    data = write_dataset(tmp_path / "data", make(), rows=(300, 0, 0))
    manifest = train(make(patience=1), data, tmp_path / "run")
    assert manifest.details["best"] == [{"epoch": 3, "val_loss": None}]
    assert [row["val_loss"] for row in history(tmp_path / "run")] == ["", "", ""]
    assert "no rows to validate on" in capsys.readouterr().err


def test_a_dataset_without_training_rows_serves_to_evaluate(data, tmp_path, quick, capsys):
    train(make(epochs=1), data, tmp_path / "run")
    external = make_analysis(split={"train": 0, "val": 0, "test": 1})
    other = write_dataset(tmp_path / "other", external, rows=(0, 0, 150), seed=4)
    found = evaluate(tmp_path / "run", data=other)
    assert 0 <= found["test"]["accuracy"]["value"] <= 1 and found["train"]["accuracy"]["value"] is None
    assert "all rows are of" in found["notices"][0]
    with pytest.raises(UserError, match="no rows to train on"):
        train(external, other, tmp_path / "second")


def test_quantiles_that_cross_are_counted_and_sorted_by_an_option(tmp_path, quick):
    loss = {"type": "quantile", "quantiles": [0.4, 0.5, 0.6]}
    trees = {"type": "lightgbm", "num_iterations": 5, "min_data_in_leaf": 1}
    data = write_dataset(tmp_path / "data", make(regression=True), rows=(300, 60, 200))
    for sort in (False, True):
        train(make(trees, regression=True, loss=loss | {"sort": sort}), data, tmp_path / str(sort))
        notices = evaluate(tmp_path / str(sort), data=data)["notices"]
        assert any("quantiles of z cross in" in notice for notice in notices) != sort
    model = load_model(tmp_path / "True" / "fold0" / "model.pt")
    assert export_onnx(model, tmp_path / "model.onnx", {}) < 1e-6
    rows = open_dataset(data).arrays("test", 0)
    inputs = {name: tensor.numpy() for name, tensor in rows.inputs.items()}
    found, unsorted = score(model, inputs), score(load_model(tmp_path / "False" / "fold0" / "model.pt"), inputs)
    assert (found[:, 1] <= found[:, 0]).all() and (found[:, 0] <= found[:, 2]).all()
    assert np.array_equal(np.sort(found), np.sort(unsorted)) and not np.array_equal(found, unsorted)


def test_a_dataset_of_another_analysis_is_refused(data, tmp_path, quick):
    stale = Analysis.model_validate(make().model_dump() | {"weight": "genWeight"})
    with pytest.raises(UserError, match=r"weight: '1' -> 'genWeight'.*nanoforge convert"):
        train(stale, data, tmp_path / "run")
    cut = Analysis.model_validate(make().model_dump() | {"select_for": {"convert": {"cut": "a > 0"}}})
    with pytest.raises(UserError, match=r"select\.cut"):
        train(cut, data, tmp_path / "run")


def test_what_the_dataset_does_not_depend_on_may_change(data, tmp_path, quick):
    changes = {"name": "other", "select_for": {"predict": {}}}
    train(Analysis.model_validate(make(DEEPSETS, epochs=1).model_dump() | changes), data, tmp_path / "run")


def test_a_finished_run_is_replaced_only_by_force(data, tmp_path, quick):
    train(make(epochs=1), data, tmp_path / "run")
    other = make(epochs=2, learning_rate=0.02)
    with pytest.raises(UserError, match="--force"):
        train(other, data, tmp_path / "run")
    train(other, data, tmp_path / "run", force=True)
    assert len(history(tmp_path / "run")) == 2


def test_a_class_without_events_is_an_error(tmp_path, quick):
    data = write_dataset(tmp_path / "data", make(), edges=(1e9,))
    with pytest.raises(UserError, match="class 'high' has no events"):
        train(make(), data, tmp_path / "run")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the normalisation of nothing
def test_nothing_to_train_on_is_an_error(tmp_path, quick):
    data = write_dataset(tmp_path / "data", make(folds=2), rows=(1, 50, 0))
    with pytest.raises(UserError, match="no rows to train on"):
        train(make(folds=2), data, tmp_path / "run")


def test_a_loss_that_is_not_finite_names_the_input(tmp_path, quick):
    def spoil(split, columns):
        if split == "train":
            columns["jets/valid"][70, 0] = True
            columns["jets/features"][70, 0, 1] = np.nan

    data = write_dataset(tmp_path / "data", make(), change=spoil)
    with pytest.raises(DataError, match=r"epoch 1, step \d+: the training loss is nan: input 'jets'"):
        train(make(), data, tmp_path / "run")


def test_a_diverging_training_blames_the_learning_rate(data, tmp_path, quick):
    with pytest.raises(DataError, match=r"epoch 1.*learning_rate \(1e\+30\)"):
        train(make(learning_rate=1e30), data, tmp_path / "run")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for name in ("tt", "dy"):
        toys.write(folder / f"{name}.root", toys.nano_events(1500, name == "tt"), sumw=3000)
    return folder


def streamed(folder, **changes):
    content = {
        "name": "toy",
        "samples": {n: {"files": str(folder / f"{n}.root"), "label": n} for n in ("tt", "dy")},
        "select": {"jets": "num(Jet_pt > 20) >= 2"},
        "inputs": {
            "event": {"features": ["MET_pt", "nJet"]},
            "jets": {"collection": "Jet", "length": 4, "features": ["pt", "btagDeepFlavB"]},
        },
        "model": MLP,
        "training": {"epochs": 3, "batch_size": 64, "learning_rate": 0.01, "seed": 3, "accelerator": "cpu"},
    }
    return Analysis.model_validate(content | changes)


def test_the_samples_themselves_are_trained_on_and_evaluated(sources, tmp_path, quick, capsys):
    analysis = streamed(sources)
    manifest = train(analysis, analysis, tmp_path / "run")
    manifest.verify(tmp_path / "run")
    assert "rejected by jets" in capsys.readouterr().out
    assert manifest.accounting.events.read == 3000 == sum(r.entries for r in manifest.inputs)
    assert all(r.uuid and r.sample in ("tt", "dy") for r in manifest.inputs)
    convert(analysis, tmp_path / "dataset")
    train(analysis, tmp_path / "dataset", tmp_path / "converted")
    first, second = (load_model(tmp_path / run / "fold0" / "model.pt") for run in ("run", "converted"))
    assert torch.equal(first.get_buffer("jets_center"), second.get_buffer("jets_center"))
    found, expected = (evaluate(tmp_path / run) for run in ("run", "converted"))
    assert found["parts"] == expected["parts"]
    auc = [metrics["test"]["auc.tt"]["value"] for metrics in (found, expected)]
    assert min(auc) > 0.8 and abs(auc[0] - auc[1]) < 0.05


def test_a_training_on_the_samples_goes_on_without_another_survey(sources, tmp_path, quick, monkeypatch):
    analysis, output = streamed(sources), tmp_path / "run"
    train(analysis, analysis, tmp_path / "whole")
    original = Fit._validate

    def interrupt(self, epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        return original(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_validate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(analysis, analysis, output)
    monkeypatch.setattr(streaming, "_survey", None)
    train(analysis, analysis, output)
    assert same(weights(output), weights(tmp_path / "whole"))


def test_the_command_streams_its_own_file_with_its_changes(sources, tmp_path, quick, nanoforge):
    content = streamed(sources).model_dump(mode="json", exclude_defaults=True)
    for name in ("analysis.yaml", "other.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump(content))
        content["weight"] = "genWeight"
    command = ("train", "analysis.yaml", "inputs.jets.length=3", "training.epochs=1")
    ended = nanoforge(*command, "--data", "analysis.yaml", "-o", "run")
    assert (ended.returncode, "train: " in ended.stdout) == (0, True)
    assert load_model(tmp_path / "run" / "fold0" / "model.pt").spec.inputs["jets"].length == 3
    again = nanoforge(*command, "--data", "analysis.yaml", "-o", "run")
    assert (again.returncode, "up to date" in again.stderr) == (0, True)
    other = nanoforge(*command, "--data", "other.yaml", "-o", "another")
    assert other.returncode == 2
    assert "samples of toy: made with another analysis (weight: 'genWeight' -> '1')" in other.stderr
    assert nanoforge("evaluate", "run").returncode == 0
    assert "does not fit the model" in nanoforge("evaluate", "run", "--data", "other.yaml", "-o", "out").stderr


def test_bad_files_are_lost_only_when_asked(sources, tmp_path, quick):
    whole = (sources / "dy.root").read_bytes()
    for name in ("a", "b"):
        (tmp_path / f"dy_{name}.root").write_bytes(whole if name == "a" else whole[:-1000])
    samples = {"tt": {"files": str(sources / "tt.root"), "label": "tt"}}
    samples["dy"] = {"files": str(tmp_path / "dy_*.root"), "label": "dy"}
    analysis = streamed(sources, samples=samples)
    with pytest.raises(DataError, match=r"dy_b\.root: truncated"):
        train(analysis, analysis, tmp_path / "run")
    manifest = train(analysis, analysis, tmp_path / "run", skip_bad_files=True)
    assert [loss.file for loss in manifest.accounting.lost] == [str(tmp_path / "dy_b.root")]
    assert evaluate(tmp_path / "run")["test"]["auc.tt"]["value"] > 0.8


def test_parquet_is_trained_on(sources, tmp_path, quick):
    analysis = streamed(sources, dataset={"format": "parquet"})
    convert(analysis, tmp_path / "dataset")
    train(analysis, tmp_path / "dataset", tmp_path / "run")
    assert evaluate(tmp_path / "run")["test"]["auc.tt"]["value"] > 0.8


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(data, tmp_path):
    with pytest.raises(UserError, match="no CUDA device"):
        train(make(accelerator="gpu"), data, tmp_path / "run")


PROJECT = """
name: toy
functions: ["mine:double"]
samples:
  tt: {files: "files/tt.root", label: tt}
  dy: {files: ["files/dy.root"], label: dy}
inputs: {event: {features: [MET_pt, {twice: double(nJet)}]}}
model: {type: "mine:Net"}
training: {epochs: 2, batch_size: 256, accelerator: cpu}
"""
MINE = """
import torch
def double(x): return 2 * x
class Net(torch.nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.last = torch.nn.Linear(2, outputs)
    def forward(self, features, masks):
        return self.last(features["event"])
"""


def test_a_project_may_move(sources, tmp_path, quick, nanoforge, monkeypatch):
    """Files, dataset, functions, own network and run move together: all stages find them by what they are."""
    monkeypatch.setattr(stage, "check_export", lambda model: None)
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(sources, here / "files")
    (here / "a.yaml").write_text(PROJECT)
    (here / "mine.py").write_text(MINE)
    for command in ("convert {0}/a.yaml -o {0}/data", "train {0}/a.yaml --data {0}/data -o {0}/run"):
        answer = nanoforge(*command.format(here).split())
        assert answer.returncode == 0, answer.stderr
    here.rename(there)
    answers = [
        nanoforge(*command.format(there).split())
        for command in (
            "train {0}/a.yaml --data {0}/data -o {0}/run",
            "evaluate {0}/run",
            "predict {0}/run {0}/files/tt.root -o {0}/friends",
            "train {0}/a.yaml --data {0}/data -o {0}/run training.epochs=3",
        )
    ]
    assert [answer.returncode for answer in answers] == [0] * 4, [answer.stderr for answer in answers]
    assert "is up to date" in answers[0].stderr and "goes on after epoch 2" in answers[3].stderr
    assert all("other folders" in " ".join(answers[k].stderr.split()) for k in (0, 3))
    (there / "files" / "dy.root").write_bytes((there / "files" / "tt.root").read_bytes())
    answer = nanoforge("train", there / "a.yaml", "--data", there / "data", "-o", there / "run", "training.epochs=4")
    assert answer.returncode == 2 and "made with another analysis" in answer.stderr
