"""What a model promises whatever its network: masks, normalisation, files, ONNX."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from nanoforge.dataset.info import InputInfo
from nanoforge.errors import DataError
from nanoforge.models.base import ModelSpec, score
from nanoforge.models.deepsets import DeepSets
from nanoforge.models.load import load_model
from specimens import INPUTS, NETWORKS, SET_NETWORKS, make_inputs, make_model, tensors


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


@pytest.mark.parametrize("network", SET_NETWORKS)
def test_sets_have_no_order_and_any_amount_of_padding(network):
    model, columns = make_model(network), make_inputs(20)
    expected = score(model, columns)
    order = np.random.default_rng(1).permutation(5)
    shuffled = columns | {"jets": columns["jets"][:, order], "jets_mask": columns["jets_mask"][:, order]}
    assert score(model, shuffled) == pytest.approx(expected, abs=1e-6)
    longer = columns | {
        "jets": np.pad(columns["jets"], ((0, 0), (0, 3), (0, 0)), constant_values=np.nan),
        "jets_mask": np.pad(columns["jets_mask"], ((0, 0), (0, 3))),
    }
    assert score(model, longer) == pytest.approx(expected, abs=1e-6)


def test_a_missing_constituent_is_not_an_average_one(network):
    model, columns = make_model(network), make_inputs(3)
    average = columns | {"jets": columns["jets"] * 0 + model.jets_center.numpy()}
    assert np.abs(score(model, average | {"jets_mask": ~columns["jets_mask"]}) - score(model, average)).max() > 1e-4


@pytest.mark.parametrize("network", ["mlp", "deepsets"])
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


def test_constituents_are_enough(network):
    inputs = {"jets": INPUTS["jets"]}
    assert score(make_model(network, inputs=inputs), make_inputs(4, inputs)).shape == (4, 3)


@pytest.mark.parametrize("network", ["mlp", "deepsets"])
def test_features_of_the_row_are_enough(network):
    inputs = {"event": INPUTS["event"]}
    assert score(make_model(network, inputs=inputs), make_inputs(4, inputs)).shape == (4, 3)


def test_every_input_counts(network):
    model, columns = make_model(network), make_inputs(20)
    expected = score(model, columns)
    for name in INPUTS:
        changed = score(model, columns | {name: columns[name] + np.float32(0.5)})
        assert np.abs(changed - expected).max() > 1e-4


def test_score_works_without_rows(network):
    assert score(make_model(network), make_inputs(0)).shape == (0, 3)


def test_save_and_load_give_the_same_scores(network, tmp_path):
    model, columns = make_model(network), make_inputs(20)
    model.save(tmp_path / "model.pt")
    again = load_model(tmp_path / "model.pt")
    assert again.spec == model.spec and not again.training
    assert np.array_equal(score(again, columns), score(model, columns))


def test_a_specification_survives_json():
    spec = make_model("deepsets", "regression", ("mass",), loss={"type": "gaussian", "weights": {"mass": 2.0}}).spec
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.as_dict()))) == spec


def test_broken_model_files_are_named(tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(DataError, match=r"model\.pt"):
        load_model(path)
    path.write_bytes(b"not a model")
    with pytest.raises(DataError, match=r"model\.pt: not a model"):
        load_model(path)
    make_model("mlp").save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"model\.pt: not a model"):
        load_model(path)
    for content in ({"spec": {}}, {"spec": make_model("mlp").spec.as_dict(), "state": {}}, [1]):
        torch.save(content, path)
        with pytest.raises(DataError, match=r"model\.pt: not a model"):
            load_model(path)


def test_deepsets_pool_as_they_are_told():
    """Whatever is in padding, and with no constituents at all."""

    torch.manual_seed(1)
    network = DeepSets({"jets": InputInfo(("pt", "eta"), 4)}, 1, [5], [3], 0.0, ["mean", "sum", "max"])
    jets, mask = torch.randn(3, 4, 2), torch.tensor([[True, True, False, False], [True] * 4, [False] * 4])
    pooled = network._pool("jets", jets, mask)
    phi = network.phi["jets"](jets[0, :2])
    expected = torch.cat([phi.mean(0), phi.sum(0) / 4, phi.amax(0)])
    assert torch.allclose(pooled[0], expected) and not pooled[2].any()
    jets[0, 2:] = math.nan
    assert torch.equal(network._pool("jets", jets, mask), pooled)
    assert not network._pool("jets", jets[:, :0], mask[:, :0]).any()
