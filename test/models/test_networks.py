"""What an analysis file says of the model, and networks of the user's own."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
import torch
from nanoforge.config.schema import Analysis
from nanoforge.errors import DataError, UserError
from nanoforge.models.base import ModelSpec, score
from nanoforge.models.load import load_model
from nanoforge.models.network import NetworkModel
from nanoforge.models.onnx import export_onnx
from pydantic import ValidationError
from specimens import INPUTS, NETWORKS, make_inputs, make_model

OWN = """
import torch
from torch import nn

class Sums(nn.Module):
    def __init__(self, inputs, outputs, power=1.0):
        super().__init__()
        self.power = power
        self.layer = nn.Linear(len(inputs["jets"].features), outputs)

    def forward(self, features, masks, raw):
        assert torch.equal(raw["jets"] == 0, ~masks["jets"][..., None].expand_as(raw["jets"]))
        return self.layer(features["jets"].sum(dim=1)) ** self.power

class Flat(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(20, outputs)

    def forward(self, features, masks):
        return self.layer(features["jets"].flatten(1))

class Broken(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs["nothing"], outputs)

function = len
"""


def analysis(model, features=("pt", "eta", "phi", "mass"), **training):
    return Analysis.model_validate(
        {
            "name": "test",
            "samples": {"a": {"files": "a.root", "label": "a"}, "b": {"files": "b.root", "label": "b"}},
            "inputs": {"jets": {"collection": "Jet", "length": 4, "features": list(features)}},
            "model": model,
            "training": training,
        }
    )


def own(folder, name, **options):
    (folder / "mine.py").write_text(OWN)
    block = {"type": "custom", "network": f"{folder / 'mine.py'}:{name}", "options": options}
    return NetworkModel(ModelSpec(INPUTS, ("a", "b"), "classification", block)).eval()


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_the_defaults_of_the_schema_make_a_network(network):
    block = analysis({"type": network}).model.model_dump(mode="json")
    model = NetworkModel(ModelSpec(INPUTS, ("a", "b"), "classification", block))
    assert score(model, make_inputs(3)).shape == (3, 2)


@pytest.mark.parametrize(
    ("model", "features", "message"),
    [
        ({"type": "particletransformer"}, ("pt", "eta", "phi"), r"inputs\.jets: the model needs 'mass'"),
        ({"type": "particlenet"}, ("pt", "mass"), r"inputs\.jets: the model needs 'eta'"),
        ({"type": "particlenet", "kinematics": {"jetz": {}}}, ("eta", "phi"), r"model\.kinematics\.jetz"),
        ({"type": "particletransformer", "width": 20, "heads": 8}, ("pt",), "20 cannot be divided into 8 heads"),
    ],
)
def test_what_a_model_needs_is_known_before_anything_is_read(model, features, message):
    with pytest.raises(ValidationError, match=message):
        analysis(model, features)


def test_a_network_of_sets_needs_a_set():
    content = analysis({"type": "mlp"}).model_dump() | {"inputs": {"event": {"features": ["met"]}}}
    with pytest.raises(ValidationError, match="needs an input with a 'collection'"):
        Analysis.model_validate(content | {"model": {"type": "particlenet"}})


def test_momenta_may_have_other_names():
    block = analysis({"type": "particlenet", "kinematics": {"jets": {"eta": "deta", "phi": "dphi"}}}, ("deta", "dphi"))
    assert block.model.kinematics["jets"].eta == "deta"
    analysis({"type": "particletransformer"}, ("pt", "eta", "phi", "energy"))


def test_the_users_own_network_is_written_as_module_and_class():
    block = analysis({"type": "mine:Net", "options": {"width": 3}}).model
    assert block.model_dump() == {"type": "custom", "network": "mine:Net", "options": {"width": 3}}
    assert analysis(block.model_dump()).model == block


def test_the_users_own_network_counts_for_the_run_and_not_for_the_dataset(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    plain, mine = analysis({"type": "mlp"}), analysis({"type": f"{tmp_path / 'mine.py'}:Flat"})
    assert plain.dataset_part() == mine.dataset_part()
    assert list(mine.digests()) == [str(tmp_path / "mine.py")] and all(mine.digests().values())


def test_the_users_own_network_is_a_model_like_others(tmp_path):
    model, columns = own(tmp_path, "Sums", power=1.0), make_inputs(20)
    model.save(tmp_path / "model.pt")
    assert np.array_equal(score(load_model(tmp_path / "model.pt"), columns), score(model, columns))


def test_a_network_of_fixed_length_is_exported_so(tmp_path):
    export_onnx(own(tmp_path, "Flat"), tmp_path / "model.onnx", {})
    shapes = {i.name: i.type.tensor_type.shape for i in onnx.load(tmp_path / "model.onnx").graph.input}
    assert [d.dim_value for d in shapes["jets"].dim] == [0, 5, 4]


def test_a_network_that_torch_cannot_write_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("Could not guard\non many lines")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(DataError, match=r"cannot write .*mine\.py:Flat as ONNX \(Could not guard\).*branches"):
        export_onnx(own(tmp_path, "Flat"), tmp_path / "model.onnx", {})


def test_a_model_file_finds_its_network_where_it_moved_to(tmp_path, monkeypatch):
    model, columns = own(tmp_path, "Flat"), make_inputs(4)
    model.save(tmp_path / "model.pt")
    (tmp_path / "mine.py").unlink()
    with pytest.raises(UserError, match=r"cannot import 'mine'.*PYTHONPATH"):
        load_model(tmp_path / "model.pt")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    assert np.array_equal(score(load_model(tmp_path / "model.pt"), columns), score(model, columns))
    sys.modules.pop("mine")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Nets", {}, r"mine\.py' has no .*'Nets'"),
        ("function", {}, "not a class derived from torch.nn.Module"),
        ("Broken", {}, r"Broken\(inputs, outputs\) of .*mine\.py' fails at mine\.py:\d+ \(KeyError: 'nothing'\)"),
        ("Flat", {"widht": 3}, r"Flat\(inputs, outputs, widht=3\).*unexpected keyword argument.*model\.options"),
    ],
)
def test_a_network_that_cannot_be_made_is_one_line(tmp_path, name, options, message):
    with pytest.raises(UserError, match=message) as caught:
        own(tmp_path, name, **options)
    assert "\n" not in str(caught.value)


def test_attention_has_a_bias_for_each_pair():
    model, columns = make_model("particletransformer"), make_inputs(10)
    expected = score(model, columns)
    with torch.no_grad():
        for layer in model.network.pairs.layers:
            if hasattr(layer, "weight"):
                layer.weight.zero_()
    assert np.abs(score(model, columns) - expected).max() > 1e-4
