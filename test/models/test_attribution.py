"""Integrated gradients: their sum, against the difference of scores and against weights that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from nanoforge.config import Analysis
from nanoforge.config.inputs import Input
from nanoforge.dataset.info import InputInfo
from nanoforge.errors import UserError
from nanoforge.evaluation.scoring import check_gradients
from nanoforge.models.attribution import Attribution, integrated_gradients
from nanoforge.models.base import ModelSpec
from nanoforge.models.network import NetworkModel
from nanoforge.models.preparation import preparation_info
from specimens import INPUTS, NETWORKS, make_inputs, make_model
from test_categories import INPUTS as CATEGORIES
from test_categories import rows


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_the_sum_is_the_difference_of_the_scores(network):
    model, columns = make_model(network), make_inputs(40)
    found = integrated_gradients(model, columns)
    assert found.values.shape == (40, 10, 3) and found.names[:3] == ("event.met", "event.ht", "jets.pt")
    tolerance = {"particlenet": 0.05, "particletransformer": 0.01}.get(network, 3e-3)  # neighbours change on the way
    np.testing.assert_allclose(found.values.sum(axis=1), found.difference, atol=tolerance)
    assert np.abs(found.difference).max() > 0.01 and found.incomplete < tolerance / 4
    assert (found.values[:2, 2:] == 0).all(), "rows without constituents have none that could add anything"


def test_categories_and_components_add_up_too():
    block = Input(collection="Tau", length=3, pca=2, features=["pt", {"decayMode": {"categories": [0, 1, 10, 11]}},
                                                              "eta", "phi", "mass"])  # fmt: skip
    inputs = {**CATEGORIES, "taus": replace(CATEGORIES["taus"], preparation=preparation_info(block))}
    torch.manual_seed(1)
    model = NetworkModel(ModelSpec(inputs, ("a", "b"), "classification", NETWORKS["mlp"])).eval()
    model.preparations["taus"].axes.copy_(torch.randn(4, 2) / 10)
    columns = rows(60)
    found = integrated_gradients(model, columns)
    assert found.names[2:4] == ("taus.pt", "taus.decayMode")
    np.testing.assert_allclose(found.values.sum(axis=1), found.difference, atol=2e-3)
    assert np.abs(found.values[:, 3]).max() > 1e-3 and (found.values[~columns["taus_mask"].any(axis=1), 2:] == 0).all()


def test_a_line_is_attributed_by_its_slopes():
    torch.manual_seed(1)
    spec = ModelSpec({"event": InputInfo(("a", "b"))}, ("y",), "regression", {"type": "mlp", "hidden": [8]})
    model = NetworkModel(spec).eval()
    model.network.body, model.network.head = torch.nn.Identity(), torch.nn.Linear(2, 1)
    model.set_normalisation("event", np.array([3.0, 0.0]), np.array([2.0, 1.0]))
    values = np.random.default_rng(1).normal((3, 0), (2, 1), (500, 2)).astype("f4")
    found = integrated_gradients(model, {"event": values})
    slopes = model.network.head.weight.detach().numpy()[0] / [2, 1]
    np.testing.assert_allclose(found.values[..., 0], (values - values.mean(axis=0)) * slopes, atol=1e-5)
    np.testing.assert_allclose(found.mean, np.abs(found.values[..., 0]).mean(axis=0))
    joined = Attribution.join([found, found])
    assert joined.values.shape == (1000, 2, 1) and (joined.error < found.error).all()


def test_captum_finds_the_same():
    captum = pytest.importorskip("captum.attr", reason="captum is not here; the sums are tested without it")
    model, columns = make_model("mlp", inputs={"event": INPUTS["event"]}), make_inputs(20, {"event": INPUTS["event"]})
    found = integrated_gradients(model, columns)
    tensor = torch.from_numpy(columns["event"])
    baseline = tensor.mean(dim=0, keepdim=True)
    expected = captum.IntegratedGradients(model).attribute(tensor, baseline, target=1, n_steps=64)
    np.testing.assert_allclose(found.values[..., 1], expected.detach().numpy(), atol=1e-3)


def test_trees_have_no_gradients():
    spec = ModelSpec({"event": InputInfo(("a",))}, ("a", "b"), "classification", {"type": "mlp", "hidden": [8]})
    check_gradients([NetworkModel(spec)], 100)
    check_gradients([object()], None)
    with pytest.raises(UserError, match=r"evaluation\.integrated_gradients: .* network"):
        check_gradients([object()], 100)
    assert Analysis.model_fields["evaluation"].default.integrated_gradients is None
