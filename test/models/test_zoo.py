"""Models and losses that are a file each: XGBoost, estimators of scikit-learn, and what others add."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import toys
import uproot
from nanoforge.config.models import MODELS, parse_model
from nanoforge.errors import UserError
from nanoforge.models import losses, zoo
from nanoforge.models.base import ModelSpec, score
from nanoforge.models.load import load_model
from nanoforge.models.onnx import export_onnx
from nanoforge.models.rows import Rows
from pages import DOC, blocks
from specimens import INPUTS, make_inputs

TREES = {"type": "xgboost", "n_estimators": 8, "learning_rate": 0.3, "max_depth": 3}
HISTOGRAMS = {"type": "sklearn.ensemble:HistGradientBoostingClassifier", "max_iter": 8, "max_leaf_nodes": 8}
LOGISTIC = {"type": "sklearn.linear_model:LogisticRegression", "max_iter": 500}
RIDGE = {"type": "sklearn.linear_model:BayesianRidge"}
FORESTS = {"type": "sklearn.ensemble:HistGradientBoostingRegressor", "max_iter": 8}
TASKS = {
    "binary": ("classification", ("a", "b"), None),
    "classes": ("classification", ("a", "b", "c"), None),
    "mse": ("regression", ("ht", "offset"), {"type": "mse"}),
    "mae": ("regression", ("ht",), {"type": "mae"}),
    "quantile": ("regression", ("ht",), {"type": "quantile"}),
}
ROWS = 400


def make_spec(model, kind):
    task, targets, loss = TASKS[kind]
    return ModelSpec(INPUTS, targets, task, parse_model(model).model_dump(mode="json"), loss)


def make_rows(kind, seed=1, negative=0.0):
    columns = make_inputs(ROWS, seed=seed)
    ht = (columns["jets"][..., 0] * columns["jets_mask"]).sum(axis=1)
    truth = {"binary": ht > 120, "classes": np.digitize(ht, [80, 160])}.get(kind, ht[:, None])
    if kind == "mse":
        truth = np.stack([ht, 1e3 + 50 * ht], axis=1)
        truth[: ROWS // 2, 1] = np.nan
    weight = np.ones(ROWS, np.float32)
    weight[::10] = -negative
    return Rows(columns, truth if truth.dtype.kind == "f" else truth.astype("i8"), weight)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        *[(TREES, kind) for kind in TASKS],
        (HISTOGRAMS, "binary"),
        (HISTOGRAMS, "classes"),
        (LOGISTIC, "binary"),
        (FORESTS, "mse"),
        (RIDGE, "mse"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["type"].rpartition(":")[2],
)
def test_it_learns_and_gives_the_same_scores_as_its_file_and_its_graph(model, kind, tmp_path):
    spec = make_spec(model, kind)
    negative = 0.0 if model in (RIDGE, LOGISTIC) else 0.2  # which take none, or find no end
    fitted, history = spec.options.fit(spec, make_rows(kind, 1, negative), make_rows(kind, 2, negative), 1, 1)
    test = make_rows(kind, 3)
    scores = score(fitted, test.inputs)
    if spec.task == "classification":
        assert scores.sum(axis=1) == pytest.approx(np.ones(ROWS), abs=1e-6)
        assert (scores.argmax(axis=1) == test.truth).mean() > 0.55
    else:
        assert np.corrcoef(scores[:, 0], test.truth[:, 0])[0, 1] > 0.5
    assert all(curve["train"][-1] <= curve["train"][0] for curve in history.values())
    fitted.save(tmp_path / "model.pt")
    assert np.array_equal(score(load_model(tmp_path / "model.pt"), test.inputs), scores)
    seen = make_rows(kind, 1).inputs  # among which are the thresholds themselves
    assert export_onnx(fitted, tmp_path / "model.onnx", {}, seen) < 1e-5
    rubbish = np.where(test.inputs["jets_mask"][..., None], test.inputs["jets"], np.float32(1e30))
    assert np.array_equal(score(fitted, test.inputs | {"jets": rubbish}), scores)


def test_the_best_number_of_trees_is_kept():
    spec = make_spec({**TREES, "early_stopping_rounds": 3, "n_estimators": 60}, "binary")
    fitted, history = spec.options.fit(spec, make_rows("binary"), make_rows("classes", 2), 1, 1)
    validation = history["classes"]["val"]
    assert len(fitted.boosters[0].trees()) == 1 + int(np.argmin(validation)) == len(validation) - 3


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        (HISTOGRAMS | {"max_iterr": 3}, "binary", r"model\.max_iterr: unknown key; did you mean 'max_iter'"),
        (HISTOGRAMS | {"max_iter": "x"}, "binary", "HistGradientBoostingClassifier cannot be fitted: The 'max_iter'"),
        (HISTOGRAMS, "mse", "HistGradientBoostingClassifier is not for a regression"),
        ({"type": "sklearn.ensemble:Forest"}, "binary", r"sklearn\.ensemble has no Forest"),
        ({"type": "sklearn.neighbors:KNeighborsClassifier"}, "binary", "takes no weights"),
        ({"type": "sklearn.svm:SVC"}, "binary", "gives no probabilities"),
        (FORESTS, "mae", "sklearn has no 'mae': use mse"),
    ],
)
def test_what_does_not_fit_is_refused(model, kind, message):
    spec = make_spec(model, kind)
    with pytest.raises(UserError, match=message):
        spec.options.fit(spec, make_rows(kind), None, 1, 1)


@pytest.mark.parametrize(("model", "module"), [(TREES, "xgboost"), (LOGISTIC, "skl2onnx"), (LOGISTIC, "sklearn.base")])
def test_a_package_that_is_missing_is_named(model, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    spec, extra = make_spec(model, "binary"), "xgboost" if module == "xgboost" else "sklearn"
    with pytest.raises(UserError, match=rf"not installed.*pip install 'nanoforge\[{extra}\]'"):
        spec.options.fit(spec, make_rows("binary"), None, 1, 1)


# --- what others add: the recipes of the page ---

ANALYSIS = """
name: toy
samples:
  tt: {{files: tt.root, label: tt}}
  dy: {{files: dy.root, label: dy}}
weight: genWeight
inputs: {{event: {{features: [MET_pt, nJet]}}, jets: {{collection: Jet, length: 3, features: [pt, eta]}}}}
model: {model}
training: {{epochs: 1, accelerator: cpu, loss: {loss}}}
search: {{trials: 2, parameters: {{training.learning_rate: {{low: 0.01, high: 0.1}}}}}}
"""
RECIPES = {
    kind: next(text for text in blocks(DOC / "extending.md", "python") if f"({kind})" in text)
    for kind in ("NetworkOptions", "ClassificationLossOptions")
}


@pytest.fixture
def inside():
    """The recipes as files of ours."""
    files = {}
    with pytest.MonkeyPatch.context() as patch:

        def add(folder):
            for package, name, code in (
                (zoo, "linear", "NetworkOptions"),
                (losses, "margin", "ClassificationLossOptions"),
            ):
                files[package] = folder / name
                files[package].mkdir()
                (files[package] / f"{name}.py").write_text(RECIPES[code])
                package.__path__.append(str(files[package]))
                patch.setitem(sys.modules, f"{package.__name__}.{name}", None)
                sys.modules.pop(f"{package.__name__}.{name}")

        yield add
        for package, folder in files.items():
            package.__path__.remove(str(folder))


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        ("{type: linear, bias: false}", "{type: margin, size: 2}"),
        ("{type: 'mine:Linear', options: {bias: false}}", "{type: 'mine:Margin', options: {size: 2}}"),
        ("{type: xgboost, n_estimators: 5}", "null"),
        ("{type: 'sklearn.ensemble:HistGradientBoostingClassifier', max_iter: 5}", "null"),
    ],
    ids=["ours", "a user's", "xgboost", "sklearn"],
)
def test_it_is_trained_evaluated_predicted_exported(model, loss, tmp_path, nanoforge, monkeypatch, inside):
    monkeypatch.setattr("nanoforge.stages.train.log_training", lambda *_: {})
    monkeypatch.setattr("nanoforge.evaluation.gallery.plots", lambda *_: [])
    for name in ("tt", "dy"):
        toys.write(tmp_path / f"{name}.root", toys.nano_events(300, name == "tt"))
    (tmp_path / "analysis.yaml").write_text(ANALYSIS.format(model=model, loss=loss))
    if "linear" in model:
        inside(tmp_path)
        assert "linear" in MODELS.names()
        assert nanoforge("train", "analysis.yaml", "--data", "dataset", "model.bas=1").stderr.count("\n") == 1
    (tmp_path / "mine.py").write_text("\n".join(RECIPES.values()))
    for command in (
        "convert analysis.yaml -o dataset",
        "train analysis.yaml --data dataset -o run",
        "evaluate run",
        "predict run tt.root -o friends",
        "export run -o export",  # which compares with predict
    ):
        answer = nanoforge(*command.split())
        assert answer.returncode == 0, (command, answer.stderr)
    scores = uproot.open(tmp_path / "friends" / "tt.root")["Events"].arrays(library="np")
    assert all(np.isfinite(values).all() for values in scores.values())
