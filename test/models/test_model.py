"""What a model promises whatever its network: masks, normalisation, files, ONNX."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from nanoforge.dataset.info import InputInfo
from nanoforge.errors import DataError
from nanoforge.models import onnx as exporter
from nanoforge.models.model import Model, ModelSpec, score
from nanoforge.models.onnx import export_onnx

INPUTS = {"event": InputInfo(("met", "ht")), "jets": InputInfo(("pt", "eta", "phi"), 5), "muons": InputInfo(("pt",), 2)}
NETWORKS = {
    "mlp": {"type": "mlp", "hidden": [16, 8], "dropout": 0.1},
    "deepsets": {"type": "deepsets", "constituent": [8, 8], "hidden": [16], "dropout": 0.1},
}
RNG = np.random.default_rng(5)


def make_model(network, task="classification", outputs=("a", "b", "c"), inputs=INPUTS):
    torch.manual_seed(1)
    model = Model(ModelSpec(inputs, outputs, task, NETWORKS[network])).eval()
    for name, info in inputs.items():
        width = len(info.features)
        model.set_normalisation(name, RNG.normal(50, 5, width), RNG.uniform(5, 20, width))
    return model


def make_inputs(rows, inputs=INPUTS, rng=RNG):
    columns = {}
    for name, info in inputs.items():
        shape = (rows,) if info.length is None else (rows, info.length)
        columns[name] = rng.normal(50, 20, (*shape, len(info.features))).astype("f4")
        if info.length is not None:
            columns[f"{name}_mask"] = rng.random(shape) < 0.6
            columns[f"{name}_mask"][:2] = False
    return columns


def tensors(model, columns):
    return [torch.from_numpy(columns[name]) for name in model.spec.graph_inputs]


@pytest.fixture(params=sorted(NETWORKS))
def network(request):
    return request.param


def test_graph_inputs_are_ordered_as_the_file_orders_them():
    assert make_model("mlp").spec.graph_inputs == ("event", "jets", "jets_mask", "muons", "muons_mask")


def test_scores_are_probabilities(network):
    scores = score(make_model(network), make_inputs(20), batch_size=7)
    assert scores.shape == (20, 3) and scores.dtype == np.float32
    assert scores.sum(axis=1) == pytest.approx(np.ones(20), abs=1e-6)


@pytest.mark.parametrize("rubbish", [1e30, np.nan, np.inf])
def test_padding_has_no_effect(network, rubbish):
    model, columns = make_model(network), make_inputs(20)
    expected = score(model, columns)
    for name in ("jets", "muons"):
        columns[name] = np.where(columns[f"{name}_mask"][..., None], columns[name], np.float32(rubbish))
    assert np.array_equal(score(model, columns), expected)


def test_padding_gets_no_gradient_and_gives_none(network):
    model, columns = make_model(network), make_inputs(20)
    columns["jets"][~columns["jets_mask"]] = np.nan
    given = [t.requires_grad_() if t.is_floating_point() else t for t in tensors(model, columns)]
    model.logits(*given).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    jets = given[model.spec.graph_inputs.index("jets")].grad
    assert (jets[~torch.from_numpy(columns["jets_mask"])] == 0).all()


def test_rows_without_constituents_have_finite_scores_and_gradients(network):
    model, columns = make_model(network), make_inputs(2)
    assert not columns["jets_mask"].any()
    model.logits(*tensors(model, columns)).sum().backward()
    assert np.isfinite(score(model, columns)).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_masks_may_be_floats(network):
    model, columns = make_model(network), make_inputs(20)
    floats = {k: v.astype("f4") if v.dtype == bool else v for k, v in columns.items()}
    assert np.array_equal(score(model, floats), score(model, columns))


def test_deepsets_ignores_order_and_amount_of_padding():
    model, columns = make_model("deepsets"), make_inputs(20)
    expected = score(model, columns)
    order = RNG.permutation(5)
    shuffled = columns | {"jets": columns["jets"][:, order], "jets_mask": columns["jets_mask"][:, order]}
    assert score(model, shuffled) == pytest.approx(expected, abs=1e-6)
    longer = columns | {
        "jets": np.pad(columns["jets"], ((0, 0), (0, 3), (0, 0))),
        "jets_mask": np.pad(columns["jets_mask"], ((0, 0), (0, 3))),
    }
    assert score(model, longer) == pytest.approx(expected, abs=1e-6)


def test_a_missing_constituent_is_not_an_average_one(network):
    model, columns = make_model(network), make_inputs(3)
    average = columns | {"jets": columns["jets"] * 0 + model.jets_center.numpy()}
    assert np.abs(score(model, average | {"jets_mask": ~columns["jets_mask"]}) - score(model, average)).max() > 1e-4


def test_units_of_the_features_do_not_matter(network):
    model, columns = make_model(network), make_inputs(20)
    expected = score(model, columns)
    for name, info in INPUTS.items():
        factor = 1000.0 * np.ones(len(info.features))
        center, scale = (model.get_buffer(f"{name}_{k}").numpy() for k in ("center", "scale"))
        model.set_normalisation(name, center * factor + 7, scale * factor)
        columns[name] = (columns[name] * 1000 + 7).astype("f4")
    assert score(model, columns) == pytest.approx(expected, abs=1e-5)


def test_a_feature_without_spread_keeps_its_scale(network):
    model = make_model(network)
    model.set_normalisation("event", np.array([1.0, 2.0]), np.array([0.0, 3.0]))
    assert model.event_scale.tolist() == [1, 3]
    assert np.isfinite(score(model, make_inputs(5))).all()


def test_regression_returns_targets_in_their_units(network):
    model, columns = make_model(network, "regression", ("mass", "pt")), make_inputs(20)
    model.set_normalisation("target", np.array([91.0, 45.0]), np.array([2.5, 10.0]))
    given = tensors(model, columns)
    with torch.no_grad():
        assert model.standardise_targets(model(*given)).numpy() == pytest.approx(model.logits(*given).numpy(), abs=1e-4)
    assert abs(score(model, columns)[:, 0].mean() - 91) < 5


@pytest.mark.parametrize("only", ["event", "jets"])
def test_one_kind_of_input_is_enough(network, only):
    inputs = {only: INPUTS[only]}
    assert score(make_model(network, inputs=inputs), make_inputs(4, inputs)).shape == (4, 3)


def test_score_works_without_rows(network):
    assert score(make_model(network), make_inputs(0)).shape == (0, 3)


def test_save_and_load_give_the_same_scores(network, tmp_path):
    model, columns = make_model(network), make_inputs(20)
    model.save(tmp_path / "model.pt")
    again = Model.load(tmp_path / "model.pt")
    assert again.spec == model.spec and not again.training
    assert np.array_equal(score(again, columns), score(model, columns))


def test_a_specification_survives_json():
    spec = make_model("deepsets").spec
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.as_dict()))) == spec


def test_broken_model_files_are_named(tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(DataError, match=r"model\.pt"):
        Model.load(path)
    path.write_bytes(b"not a model")
    with pytest.raises(DataError, match=r"model\.pt: not a model"):
        Model.load(path)
    make_model("mlp").save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"model\.pt: not a model"):
        Model.load(path)
    for content in ({"spec": {}}, {"spec": make_model("mlp").spec.as_dict(), "state": {}}, [1]):
        torch.save(content, path)
        with pytest.raises(DataError, match=r"model\.pt: not a model"):
            Model.load(path)


def test_onnx_agrees_and_describes_itself(network, tmp_path, capfd):
    model, path = make_model(network), tmp_path / "model.onnx"
    export_onnx(model, path, {"config_sha256": "abc"})
    assert capfd.readouterr() == ("", "")
    graph = onnx.load(path)
    assert graph.ir_version == 8 and [o.version for o in graph.opset_import] == [18]
    metadata = {p.key: p.value for p in graph.metadata_props}
    assert metadata["config_sha256"] == "abc" and json.loads(metadata["outputs"]) == ["a", "b", "c"]
    assert json.loads(metadata["features"])["jets"] == ["pt", "eta", "phi"]
    assert json.loads(metadata["lengths"]) == {"jets": 5, "muons": 2}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert tuple(i.name for i in session.get_inputs()) == model.spec.graph_inputs
    assert {i.type for i in session.get_inputs()} == {"tensor(float)"}
    for rows in (1, 5, 64):
        columns = make_inputs(rows)
        feed = {name: values.astype("f4") for name, values in columns.items()}
        assert session.run(["scores"], feed)[0] == pytest.approx(score(model, columns), abs=1e-5)


def test_a_graph_that_disagrees_is_not_written(tmp_path, monkeypatch):
    model = make_model("mlp")
    other = exporter._trace(model)
    monkeypatch.setattr(exporter, "_trace", lambda _: other)
    with torch.no_grad():
        model.network.head.bias += 1 * torch.arange(3)
    with pytest.raises(DataError, match="differs from the model"):
        export_onnx(model, tmp_path / "model.onnx", {})
    assert not (tmp_path / "model.onnx").exists()
