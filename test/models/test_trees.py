"""Boosted trees: they learn, are saved, and give the same scores as ONNX, whatever the input."""

from __future__ import annotations

import numpy as np
import old_runtime
import onnx
import onnxruntime
import pytest
from nanoforge.config.models import parse_model
from nanoforge.config.schema import Analysis
from nanoforge.errors import DataError, UserError
from nanoforge.models.base import ModelSpec, score
from nanoforge.models.load import load_model
from nanoforge.models.onnx import export_onnx
from nanoforge.models.rows import Rows, column_names, flatten
from pydantic import ValidationError
from specimens import INPUTS, make_inputs


def fit(spec, *rows_and_seed):
    return spec.options.fit(spec, *rows_and_seed)


TASKS = {
    "binary": ("classification", ("a", "b"), None),
    "classes": ("classification", ("a", "b", "c"), None),
    "mse": ("regression", ("ht", "offset"), {"type": "mse"}),
    "quantile": ("regression", ("ht",), {"type": "quantile"}),
}
ROWS = 1500


def make_spec(kind, **options):
    task, targets, loss = TASKS[kind]
    block = parse_model(
        {"type": "lightgbm", "num_iterations": 40, "min_data_in_leaf": 5, "learning_rate": 0.2, **options}
    )
    return ModelSpec(INPUTS, targets, task, block.model_dump(mode="json"), loss)


def make_rows(kind, rows=ROWS, seed=1):
    columns = make_inputs(rows, seed=seed)
    ht = (columns["jets"][..., 0] * columns["jets_mask"]).sum(axis=1)
    truth = {"binary": ht > 120, "classes": np.digitize(ht, [80, 160]), "quantile": ht[:, None]}.get(kind)
    if kind == "mse":
        truth = np.stack([ht, 1000 + ht], axis=1)
        truth[: rows // 2, 1] = np.nan
    return Rows(columns, truth if truth.dtype.kind == "f" else truth.astype("i8"), np.ones(rows, np.float32))


@pytest.fixture(scope="module", params=sorted(TASKS))
def fitted(request):
    model, history = fit(make_spec(request.param), make_rows(request.param), make_rows(request.param, seed=2), 1, 1)
    return request.param, model, history


def test_trees_learn(fitted):
    kind, model, history = fitted
    test = make_rows(kind, seed=3)
    found = score(model, test.inputs)
    assert found.shape == (ROWS, len(model.spec.outputs)) and found.dtype == np.float32
    if model.spec.task == "classification":
        assert found.sum(axis=1) == pytest.approx(np.ones(ROWS), abs=1e-6)
        assert (found.argmax(axis=1) == test.truth).mean() > 0.8
    else:
        truth = make_rows("quantile", seed=3).truth[:, 0]
        assert np.corrcoef(found[:, 0], truth)[0, 1] > 0.95
    assert all(curve["train"][-1] < curve["train"][0] for curve in history.values())
    assert all(len(curve["val"]) == len(curve["train"]) for curve in history.values())


def test_unknown_targets_are_left_out():
    model, _ = fit(make_spec("mse"), make_rows("mse"), None, 1, 1)
    found = score(model, make_rows("mse", seed=3).inputs)
    assert abs((found[:, 1] - found[:, 0]).mean() - 1000) < 10


def test_quantiles_cover_what_they_say():
    model, _ = fit(make_spec("quantile"), make_rows("quantile"), None, 1, 1)
    seen = make_rows("quantile")
    median, low, high = score(model, seen.inputs).T
    assert (low <= seen.truth[:, 0]).mean() == pytest.approx(0.84, abs=0.1)
    assert (high >= seen.truth[:, 0]).mean() == pytest.approx(0.84, abs=0.1)
    assert low.mean() < median.mean() < high.mean()


def test_padding_has_no_effect_and_masks_may_be_floats(fitted):
    _, model, _ = fitted
    columns = make_inputs(30)
    expected = score(model, columns)
    rubbish = np.where(columns["jets_mask"][..., None], columns["jets"], np.float32(1e30))
    changed = columns | {"jets": rubbish, "jets_mask": columns["jets_mask"].astype("f4")}
    assert np.array_equal(score(model, changed), expected)
    assert score(model, make_inputs(0)).shape == (0, len(model.spec.outputs))


def test_columns_lie_as_they_are_named():
    table, names = flatten(make_spec("binary"), make_inputs(3)), column_names(make_spec("binary"))
    assert table.shape == (3, 2 + 5 * 4 + 2 * 4) and len(names) == table.shape[1]
    assert names[2:7] == [("jets", "pt"), ("jets", "eta"), ("jets", "phi"), ("jets", "mass"), ("jets", "pt")]
    assert np.isnan(table[0, 2:]).all() and np.isfinite(table[0, :2]).all()


def test_save_and_load_give_the_same_scores(fitted, tmp_path):
    _, model, _ = fitted
    model.save(tmp_path / "model")
    again, columns = load_model(tmp_path / "model"), make_inputs(30)
    assert again.spec == model.spec and np.array_equal(score(again, columns), score(model, columns))


def test_broken_files_are_named(fitted, tmp_path):
    path = tmp_path / "model"
    fitted[1].save(path)
    for content in (path.read_bytes()[:-5], b"{}", path.read_bytes().replace(b"num_leaves=", b"leaves=")):
        path.write_bytes(content)
        with pytest.raises(DataError, match="model: not a model of this version"):
            load_model(path)


def test_the_same_seed_gives_the_same_trees():
    one, same, other = (
        fit(make_spec("binary", bagging_fraction=0.5, feature_fraction=0.5), make_rows("binary"), None, seed, 1)[0]
        for seed in (7, 7, 8)
    )
    assert np.array_equal(score(one, make_inputs(50)), score(same, make_inputs(50)))
    assert not np.array_equal(score(one, make_inputs(50)), score(other, make_inputs(50)))


def test_the_best_number_of_trees_is_kept():
    rows = make_rows("binary", rows=200)
    noise = Rows(rows.inputs, np.random.default_rng(1).integers(2, size=200), rows.weight)
    other = Rows(make_inputs(200, seed=9), np.random.default_rng(2).integers(2, size=200), rows.weight)
    model, history = fit(make_spec("binary", early_stopping_round=3), noise, other, 1, 1)
    assert len(model.boosters[0].trees()) == 1 + int(np.argmin(history["classes"]["val"]))
    assert len(history["classes"]["val"]) < 40


def test_onnx_falls_in_the_same_leaves(fitted, tmp_path):
    kind, model, _ = fitted
    assert export_onnx(model, tmp_path / "model.onnx", {}, make_rows(kind).inputs) <= 1e-6
    graph = onnx.load(tmp_path / "model.onnx")
    assert graph.ir_version == 8 and {o.domain: o.version for o in graph.opset_import} == {"": 18, "ai.onnx.ml": 3}
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert tuple(i.name for i in session.get_inputs()) == model.spec.graph_inputs
    rng = np.random.default_rng(4)
    for special in (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40):
        columns = {name: values.astype("f4") for name, values in make_inputs(300).items()}
        for name in INPUTS:
            columns[name][rng.random(columns[name].shape) < 0.3] = special
        assert session.run(["scores"], columns)[0] == pytest.approx(score(model, columns), rel=1e-6, abs=1e-6)


def test_the_runtime_of_cmssw_agrees(fitted, tmp_path):
    _, model, _ = fitted
    export_onnx(model, tmp_path / "model.onnx", {})
    columns = make_inputs(20)
    ((found,),) = old_runtime.run(tmp_path / "model.onnx", [columns])
    assert found == pytest.approx(score(model, columns), rel=1e-6, abs=1e-6)


def test_onnx_agrees_at_the_thresholds_themselves(tmp_path):
    model, _ = fit(make_spec("binary"), make_rows("binary"), None, 1, 1)
    export_onnx(model, tmp_path / "model.onnx", {})
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    node = next(n for n in onnx.load(tmp_path / "model.onnx").graph.node if n.op_type == "TreeEnsembleRegressor")
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    values = onnx.numpy_helper.to_array(attributes["nodes_values_as_tensor"])
    columns = {name: v.astype("f4") for name, v in make_inputs(300, seed=8).items()} | {
        "jets_mask": np.ones((300, 5), "f4")
    }
    of_pt = values[(np.array(attributes["nodes_featureids"]) == 2) & (values != 0)].astype(np.float32)
    near = np.concatenate([of_pt, np.nextafter(of_pt, np.float32(-1e9)), np.nextafter(of_pt, np.float32(1e9))])
    columns["jets"][:, 0, 0] = np.resize(near, 300)
    assert session.run(["scores"], columns)[0] == pytest.approx(score(model, columns), abs=1e-6)


@pytest.mark.parametrize("loss", ["gaussian", "log_cosh"])
def test_a_loss_that_trees_lack_is_refused(loss):
    spec = ModelSpec(INPUTS, ("ht",), "regression", make_spec("mse").network, {"type": loss})
    with pytest.raises(UserError, match=f"lightgbm has no '{loss}'"):
        fit(spec, make_rows("quantile"), None, 1, 1)
    content = {
        "name": "t",
        "samples": {"a": {"files": "a.root"}},
        "inputs": {"event": {"features": ["met"]}},
        "target": {"regression": {"m": "x"}},
        "model": {"type": "lightgbm"},
        "training": {"loss": loss},
    }
    with pytest.raises(ValidationError, match=f"lightgbm has no '{loss}': use mse, mae or quantile"):
        Analysis.model_validate(content)
    del content["target"]
    content["samples"] = {name: {"files": "a.root", "label": name} for name in ("a", "b")}
    for wrong in ({"type": "mse"}, {"type": "focal"}, {"type": "cross_entropy", "label_smoothing": 0.1}):
        with pytest.raises(ValidationError, match=r"training\.loss: .*: use cross_entropy without label smoothing"):
            Analysis.model_validate(content | {"training": {"loss": wrong}})
