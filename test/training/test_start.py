"""Weights of another run, and parameters that stay as they are."""

from __future__ import annotations

import pytest
import torch
from datasets import write_dataset
from fitting import DEEPSETS, PLAIN, options
from nanoforge.errors import UserError
from nanoforge.models.load import load_model
from nanoforge.stages import train as stage
from nanoforge.stages.train import train
from nanoforge.training.start import freeze, train_mode


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Leave out what takes seconds and is tested elsewhere: the export and MLflow."""
    monkeypatch.setattr(stage, "export_onnx", lambda model, path, metadata: path.write_text("graph"))
    monkeypatch.setattr(stage, "log_training", lambda *_: {})


@pytest.fixture
def trained(tmp_path):
    data = write_dataset(tmp_path / "data", options())
    train(options(), data, tmp_path / "first")
    return data, tmp_path / "first"


def weights(run):
    return load_model(run / "fold0" / "model.pt").state_dict()


def test_frozen_weights_stay_and_the_others_are_trained(trained, tmp_path):
    data, first = trained
    names = list(weights(first))
    kept = [n for n in names if n.startswith("network") and "output" not in n and n.endswith("weight")][:1]
    train(options(init={"run": str(first), "freeze": kept[0].replace(".", r"\.")}), data, tmp_path / "second")
    old, new = weights(first), weights(tmp_path / "second")
    assert torch.equal(old[kept[0]], new[kept[0]])
    others = [n for n in names if n.startswith("network") and n != kept[0]]
    assert all(not torch.equal(old[n], new[n]) for n in others)


def test_what_fits_is_taken_and_the_rest_is_named(trained, tmp_path, capsys):
    data, first = trained
    wider = options(DEEPSETS | {"hidden": [24]}, epochs=1, learning_rate=1e-9, init={"run": str(first)})
    train(wider, data, tmp_path / "second")
    said = " ".join(capsys.readouterr().err.split())
    assert "parameters are those of" in said and "; new are network." in said
    old, new = weights(first), weights(tmp_path / "second")
    same = [n for n in old if n.startswith("network.phi")]
    assert same and all(torch.allclose(old[n], new[n], atol=1e-6) for n in same)


def test_the_normalisation_comes_with_the_weights(trained, tmp_path):
    _, first = trained
    other = write_dataset(tmp_path / "other", options(), seed=5)
    train(options(epochs=1, init={"run": str(first)}), other, tmp_path / "second")
    assert torch.equal(weights(tmp_path / "second")["jets_center"], weights(first)["jets_center"])


def test_another_network_is_refused(trained, tmp_path):
    data, first = trained
    with pytest.raises(UserError, match=r"training\.init\.run: .* has no layer of the same name and shapes"):
        train(options(PLAIN | {"hidden": [7]}, init={"run": str(first)}), data, tmp_path / "second")
    with pytest.raises(UserError, match=r"no manifest\.json"):
        train(options(init={"run": str(tmp_path / "nothing")}), data, tmp_path / "second")


def test_a_layer_that_did_not_fit_is_not_frozen(trained, tmp_path):
    data, first = trained
    init = {"run": str(first), "freeze": [r"network\.phi\..*", r"network\..*\.0\..*"]}
    with pytest.raises(UserError, match=r"init\.freeze: 'network.*would freeze network\.\S+.*it would stay random"):
        train(options(DEEPSETS | {"hidden": [24]}, epochs=1, init=init), data, tmp_path / "second")


def test_freezing_says_what_there_is(trained):
    model = load_model(trained[1] / "fold0" / "model.pt")
    with pytest.raises(UserError, match=r"'head' matches no parameter; there are network\."):
        freeze(model, ["head"])
    with pytest.raises(UserError, match="no parameter is left to train"):
        freeze(model, [".*"])


def test_frozen_averages_stay_too():
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 3), torch.nn.Dropout())
    freeze(model, [r"0\..*"])
    train_mode(model)
    model(torch.randn(8, 3))
    assert torch.equal(model[0].running_mean, torch.zeros(3))
    assert model[1].training and model[2].training
