"""The search: it finds, goes on, shares its directory, and refuses what would compare nothing."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
import toys
import yaml
from datasets import make_analysis, write_dataset
from nanoforge.config import Analysis, load
from nanoforge.errors import DataError, UserError
from nanoforge.provenance import Manifest
from nanoforge.stages import train as training
from nanoforge.stages.tune import tune
from nanoforge.tuning import objective

RATE = "training.learning_rate"
RATES = {RATE: {"low": 1e-5, "high": 1e-1, "log": True}}
HIDDEN = {"model.hidden": {"choices": [[4], [8, 8]]}}
RESULT = {"best.yaml", "trials.csv", "report.html", "history.pdf", "history.png", "manifest.json", "study.journal"}


def make(parameters=RATES, trials=3, folds=1, model=None, epochs=2, regression=False, **search):
    options = {"epochs": epochs, "batch_size": 32, "learning_rate": 0.01, "seed": 3, "accelerator": "cpu"}
    block = {"trials": trials, "pruner": "none", "parameters": parameters} | search
    model = model or {"type": "mlp", "hidden": [4]}
    samples = {"one": {"files": ["/data/one.root"]}}
    return make_analysis(folds, regression, samples=samples, model=model, training=options, search=block)


def written(analysis, path, **changes):
    """Write an analysis to a file and read it again."""
    path.write_text(yaml.safe_dump(analysis.model_dump(mode="json", exclude_unset=True) | changes))
    return load(path)


@pytest.fixture
def drawn(monkeypatch):
    """Do not draw, which takes a second."""
    monkeypatch.setattr("nanoforge.tuning.results._plots", lambda *_: iter(()))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("plain") / "data", make(), rows=(200, 100, 0))


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("folded") / "data", make(folds=2), rows=(200, 100, 0))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, folded):
    output = tmp_path_factory.mktemp("finished") / "search"
    return output, tune(make(RATES | HIDDEN, 6, folds=2), folded, output)


def table(output):
    with (output / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def tried(output):
    return [(row[RATE], row["state"], row["val_loss"]) for row in table(output)]


def test_a_search_leaves_its_result_and_nothing_else(finished):
    output, manifest = finished
    assert {path.name for path in output.iterdir()} == RESULT | {
        f"{name}.{kind}" for name in ("importance", "parallel", "intermediate") for kind in ("pdf", "png")
    }
    page = (output / "report.html").read_text()
    assert page.count("<img") == 4 and "Best trials" in page and "6 trials (6 complete, 0 pruned, 0 fail)" in page
    manifest.verify(output)
    assert Manifest.read(output, "tune").identity() == manifest.identity()
    rows = table(output)
    assert len(rows) == 6 and {row["state"] for row in rows} == {"complete"}
    losses = [float(row["val_loss"]) for row in rows]
    best = manifest.details["best"]
    assert best["val_loss"] == min(losses) and best["trial"] == int(np.argmin(losses))
    assert best["parameters"][RATE] == float(rows[best["trial"]][RATE])
    assert sum(manifest.details["importance"].values()) == pytest.approx(1)


def test_the_best_is_an_analysis_whose_training_is_as_good(finished, folded, tmp_path, monkeypatch):
    output, manifest = finished
    found = manifest.details["best"]
    best = load(output / "best.yaml")
    assert best.search is None
    assert best.dataset_part() == make(folds=2).dataset_part()
    assert best.training.learning_rate == found["parameters"][RATE]
    assert best.model.hidden == found["parameters"]["model.hidden"]
    monkeypatch.setattr(training, "export_onnx", lambda model, path, metadata: path.write_text("graph"))
    monkeypatch.setattr(training, "log_training", lambda *_: {})
    run = training.train(best, folded, tmp_path / "run")
    assert np.mean([fold["val_loss"] for fold in run.details["best"]]) == found["val_loss"]  # the mean over the folds


def test_names_of_files_stay_valid(tmp_path, drawn):
    analysis = written(make(trials=1), tmp_path / "analysis.yaml", samples={"one": {"files": ["a/one.root"]}})
    tune(analysis, write_dataset(tmp_path / "data", analysis, rows=(64, 32, 0)), tmp_path / "deep" / "search")
    best = load(tmp_path / "deep" / "search" / "best.yaml")
    assert best.samples["one"].files == [str(tmp_path / "a" / "one.root")]


def test_an_interrupted_search_goes_on_to_the_same_end(data, tmp_path, monkeypatch, drawn):
    tune(make(trials=4), data, tmp_path / "whole")
    fit, calls = objective.fit_fold, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit(*arguments)

    monkeypatch.setattr(objective, "fit_fold", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(make(trials=4), data, tmp_path / "parts")
    (tmp_path / "parts" / ".result").mkdir()  # as where it was killed at its end
    (tmp_path / "parts" / ".result" / "best.yaml").touch()
    assert not (tmp_path / "parts" / "manifest.json").exists()
    tune(make(trials=4), data, tmp_path / "parts")
    assert tried(tmp_path / "parts") == tried(tmp_path / "whole") and len(calls) == 5
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}


def test_a_finished_search_is_up_to_date_until_more_is_wanted(data, tmp_path, capsys, drawn):
    first = tune(make(trials=2), data, tmp_path / "search")
    before = tried(tmp_path / "search")
    assert tune(make(trials=2), data, tmp_path / "search").created == first.created
    assert "up to date" in capsys.readouterr().err
    assert tune(make(trials=2), data, tmp_path / "search", trials=4).details["trials"] == 4
    assert tried(tmp_path / "search")[:2] == before and len(tried(tmp_path / "search")) == 4


def test_processes_share_a_search(tmp_path, capsys, drawn):
    analysis = written(make(trials=12, epochs=3), tmp_path / "analysis.yaml")
    data = write_dataset(tmp_path / "data", analysis, rows=(200, 100, 0))
    command = [sys.executable, "-m", "nanoforge", "tune", "analysis.yaml", "--data", "data", "-o", "search"]
    worker = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while worker.poll() is None and not (tmp_path / "search" / "study.journal").exists():
        time.sleep(0.02)
    tune(analysis, data, tmp_path / "search")
    messages = worker.communicate(timeout=120)[1] + capsys.readouterr().err
    assert worker.returncode == 0, messages
    rows = table(tmp_path / "search")
    assert [row["state"] for row in rows] == ["complete"] * 12
    assert len({row[RATE] for row in rows}) == 12 == messages.count("val_loss")
    Manifest.read(tmp_path / "search", "tune").verify(tmp_path / "search")


def test_pruned_trials_leave_nothing_behind(data, tmp_path, monkeypatch, drawn):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    manifest = tune(make(trials=8, epochs=9, pruner="asha"), data, tmp_path / "search")
    assert manifest.details["states"]["pruned"] and manifest.details["states"]["complete"]
    pruned = [row for row in table(tmp_path / "search") if row["state"] == "pruned"]
    assert {row["epochs"] for row in pruned} <= {"1", "3"}
    assert not list(scratch.iterdir())


def test_a_diverging_trial_fails_and_the_search_goes_on(data, tmp_path, drawn):
    rates = {RATE: {"choices": [0.01, 1e30]}}
    manifest = tune(make(rates, 6), data, tmp_path / "search")
    assert manifest.details["states"]["fail"] and manifest.details["best"]["parameters"] == {RATE: 0.01}
    rows = table(tmp_path / "search")
    assert {(row[RATE], row["state"]) for row in rows} == {("0.01", "complete"), ("1e+30", "fail")}
    assert all("learning_rate" in row["reason"] for row in rows if row["state"] == "fail")


def test_a_search_without_a_trial_that_ends_is_an_error(data, tmp_path):
    with pytest.raises(DataError, match=r"none of 2 trials .* loss is nan"):
        tune(make({RATE: {"choices": [1e30, 1e31]}}, 2), data, tmp_path / "search")
    assert not (tmp_path / "search" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ({"type": "lightgbm", "num_iterations": 5}, "num_leaves"),
        ({"type": "xgboost", "n_estimators": 5}, "max_depth"),
        ({"type": "sklearn.ensemble:HistGradientBoostingClassifier", "max_iter": 5}, "max_leaf_nodes"),
    ],
    ids=["lightgbm", "xgboost", "sklearn"],
)
def test_trees_are_searched_too(model, key, data, tmp_path, drawn):
    rate = {"low": 0.01, "high": 1}
    parameters = {f"model.{key}": {"low": 2, "high": 16, "log": True}, "model.learning_rate": rate}
    manifest = tune(make(parameters, 3, model=model, pruner="asha"), data, tmp_path / "search")
    assert manifest.details["states"]["complete"] == 3
    assert 2 <= getattr(load(tmp_path / "search" / "best.yaml").model, key) <= 16


def test_the_samples_themselves_are_searched_on(tmp_path, capsys, drawn):
    content = {
        "name": "toy",
        "samples": {n: {"files": str(tmp_path / f"{n}.root"), "label": n} for n in ("tt", "dy")},
        "select": {"jets": "num(Jet_pt > 20) >= 2"},
        "inputs": {"event": {"features": ["MET_pt", "nJet"]}},
        "training": {"epochs": 1, "accelerator": "cpu"},
        "search": {"trials": 1, "parameters": RATES},
    }
    for name in ("tt", "dy"):
        toys.write(tmp_path / f"{name}.root", toys.nano_events(300, name == "tt"), sumw=600)
    analysis = Analysis.model_validate(content)
    manifest = tune(analysis, analysis, tmp_path / "search")
    assert manifest.accounting.events.read == 600
    assert "rejected by jets" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "search").iterdir()} <= RESULT


def test_another_analysis_or_dataset_needs_force(data, tmp_path, drawn):
    tune(make(trials=1), data, tmp_path / "search")
    with pytest.raises(UserError, match=r"another analysis or dataset .*epochs: 2 -> 3.*--force"):
        tune(make(trials=1, epochs=3), data, tmp_path / "search")
    other = write_dataset(tmp_path / "other", make(), rows=(200, 100, 0), seed=1)
    with pytest.raises(UserError, match=r"another analysis or dataset \(dataset: "):
        tune(make(trials=1), other, tmp_path / "search")
    assert (tmp_path / "search" / "manifest.json").exists()
    manifest = tune(make(trials=2), other, tmp_path / "search", force=True)
    assert manifest.details["trials"] == 2


def test_a_wrong_value_is_refused_before_anything_is_made(tmp_path):
    wrong = {"model.dropout": {"low": 0.1, "high": 2.0}}
    with pytest.raises(UserError, match=r"search\.parameters\.model\.dropout: .*less than 1"):
        tune(make(wrong), tmp_path / "nothing", tmp_path / "search")
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"inputs.jets.length": {"low": 2, "high": 9}}, "the dataset is the same for all"),
        ({"training": {"choices": [1, 2]}}, "only keys of model and training"),
        ({"training.loss.gamma": {"low": 1, "high": 3}}, "what the validation loss means"),
        ({"training.balance.classes": {"choices": ["none", "counts"]}}, "what the validation loss means"),
        ({"training.seed": {"low": 1, "high": 3}}, "luck"),
        ({RATE: {"low": 1e-2, "high": 1e-4}}, "low 0.01 is not below high 0.0001"),
        ({RATE: {"low": 0, "high": 1, "log": True}}, "low above 0"),
        ({RATE: {"choices": [0.1]}}, "at least 2 entries"),
        ({RATE: {"choices": [0.1, 0.1]}}, "twice"),
        ({RATE: {"choices": [0.1, 0.2], "low": 1}}, "stand alone"),
        ({RATE: {"min": 1}}, "unknown key"),
        ({}, "give at least 1"),
    ],
)
def test_the_block_is_checked(parameters, message, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        written(make(), tmp_path / "analysis.yaml", search={"parameters": parameters})
    assert "search.parameters" in str(caught.value)


def test_what_cannot_be_searched_is_refused(data, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no such block"):
        tune(make_analysis(), data, tmp_path / "search")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds no search"):
        tune(make(), data, tmp_path / "full")
    blind = write_dataset(tmp_path / "blind", make(), rows=(100, 0, 0))
    with pytest.raises(UserError, match=r"no rows to validate on.*split\.val"):
        tune(make(), blind, tmp_path / "search")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="not torchrun"):
        tune(make(), data, tmp_path / "search")


def test_who_ends_early_leaves_the_result_to_the_others(data, tmp_path, monkeypatch, drawn):
    monkeypatch.setattr("nanoforge.tuning.study.BEAT", 0.05)
    analysis, output = make(trials=2), tmp_path / "search"
    answers, fit = [], objective.fit_fold

    def slow(*arguments):  # while the first process is at its last trial, a second one comes
        if not answers:
            answers.append(None)
            answers[0] = tune(analysis, data, output)
        return fit(*arguments)

    monkeypatch.setattr(objective, "fit_fold", slow)
    assert tune(analysis, data, output).details["trials"] == 2
    assert answers == [None]


def test_the_command_line(nanoforge, tmp_path, drawn):
    write_dataset(tmp_path / "data", written(make(trials=9), tmp_path / "analysis.yaml"), rows=(64, 32, 0))
    words = ("tune", "analysis.yaml", "training.epochs=1", "--data", "data", "-o", "search", "--trials", 2)
    answer = nanoforge(*words)
    assert answer.returncode == 0, answer.stderr
    assert "trial 1 (2 of 2 are done): val_loss" in answer.stderr
    assert "learning_rate" in answer.stdout
    assert load(tmp_path / "search" / "best.yaml").training.epochs == 1
