"""Scales and principal components: what NumPy and scikit-learn make of the same training rows."""

from __future__ import annotations

import numpy as np
import old_runtime
import onnxruntime
import pytest
import torch
from datasets import make_analysis, write_dataset
from fitting import make_fit, options, run
from nanoforge.config import Analysis
from nanoforge.config.mistakes import explain
from nanoforge.dataset.open import open_dataset
from nanoforge.models.base import score
from nanoforge.models.load import load_model
from nanoforge.models.onnx import export_onnx
from nanoforge.provenance import fingerprint
from nanoforge.training import preparation
from nanoforge.training.folds import model_spec
from nanoforge.training.start import new_model
from pydantic import ValidationError
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, RobustScaler, StandardScaler

NETWORK = {"type": "deepsets", "constituent": [8], "hidden": [8]}
MIXED = {
    "event": {"features": [{"number": {"scale": "minmax"}}, {"a": {"scale": "quantile"}}]},
    "jets": {
        "collection": "Jet", "length": 4, "scale": "robust", "pca": 2,
        "features": ["pt", {"eta": {"scale": "log"}}, {"mass": {"scale": "quantile"}}],
    },
}  # fmt: skip


def inputs(scale="standard", **jets):
    block = {"collection": "Jet", "length": 4, "features": ["pt", "eta", "mass"], "scale": scale, **jets}
    return {"event": {"features": ["number", "a"], "scale": scale}, "jets": block}


def fitted(directory, blocks, fold=0, folds=1, in_memory="auto"):
    analysis = make_analysis(folds, inputs=blocks, model=NETWORK)
    data = open_dataset(directory, in_memory=in_memory)
    assert data.key == fingerprint(analysis.dataset_part())  # no scale makes another dataset
    return new_model(model_spec(analysis, data.info), data, fold).eval(), data


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data"), make_analysis())


def entries(data, name, part="train", fold=0):
    rows = data.arrays(part, fold).inputs
    return rows[name] if f"{name}_mask" not in rows else rows[name][rows[f"{name}_mask"]]


def log(values):
    return np.sign(values) * np.log1p(np.abs(values))


SCALERS = {
    "robust": lambda x: RobustScaler().fit(x).transform,
    "minmax": lambda x: MinMaxScaler().fit(x).transform,
    "log": lambda x: lambda y: StandardScaler().fit(log(x)).transform(log(y)),
    "quantile": lambda x: lambda y: 2 * QuantileTransformer(n_quantiles=129).fit(x).transform(y) - 1,
    "none": lambda x: lambda y: y,
}


@pytest.mark.parametrize("scale", sorted(SCALERS))
def test_scales_are_those_of_scikit_learn(directory, scale):
    model, data = fitted(directory, inputs(scale))
    for name in ("event", "jets"):
        expected = SCALERS[scale](entries(data, name).double().numpy())
        for part in ("train", "val"):
            values = entries(data, name, part)
            found = model.preparations[name](values).numpy()
            np.testing.assert_allclose(found, expected(values.double().numpy()), rtol=1e-4, atol=1e-4)


def test_equal_values_share_the_mean_of_their_shares(tmp_path):
    def coarse(_, columns):
        columns["event/features"] = np.round(columns["event/features"] / [500, 2]).astype("f4")

    model, data = fitted(write_dataset(tmp_path / "data", make_analysis(), change=coarse), inputs("quantile"))
    values = entries(data, "event")
    expected = SCALERS["quantile"](values.double().numpy())(values.double().numpy())
    found = model.preparations["event"](values).numpy()
    inner = np.abs(expected) < 1
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-5)
    lowest = values == values.amin(0)  # scikit-learn brings the outermost to the ends, however many there are
    np.testing.assert_allclose(found[lowest[:, 0], 0], lowest[:, 0].float().mean() - 1, atol=0.01)
    beyond = torch.tensor([[-1e9, -torch.inf], [1e9, torch.inf]])
    edges = torch.stack([values.amin(0), values.amax(0)])
    prepare = model.preparations["event"]
    assert torch.equal(prepare(beyond), prepare(edges)) and prepare(edges).abs().max() <= 1


def test_components_are_those_of_scikit_learn(directory):
    model, data = fitted(directory, inputs() | {"jets": inputs("none", pca=2)["jets"]})
    values = entries(data, "jets")
    count = len(values)
    expected = PCA(2, whiten=True).fit_transform(values.double().numpy()) * np.sqrt(count / (count - 1))
    found = model.preparations["jets"](values).numpy()
    np.testing.assert_allclose(found * np.sign((found * expected).sum(0)), expected, atol=1e-4)
    assert model.spec.inputs["jets"].width == 2 and model.spec.inputs["event"].preparation is None


def test_components_of_scaled_features_are_uncorrelated(directory):
    model, data = fitted(directory, MIXED)
    found = model.preparations["jets"](entries(data, "jets")).double()
    np.testing.assert_allclose(torch.cov(found.T, correction=0), np.eye(2), atol=1e-4)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-5)


def test_only_the_rows_that_a_fold_trains_on_count(tmp_path):
    directory = write_dataset(tmp_path / "data", make_analysis(3))
    for fold in range(3):
        model, data = fitted(directory, inputs("minmax"), fold, 3)
        values = entries(data, "event", fold=fold)
        assert len(values) == data.rows("train", fold) < 1000
        scaled = model.preparations["event"](values)
        assert torch.equal(scaled.amin(0), torch.zeros(2)) and torch.allclose(scaled.amax(0), torch.ones(2))
        np.testing.assert_array_equal(model.preparations["event"].center, values.amin(0))


def test_streamed_rows_give_the_same(directory, monkeypatch):
    kept, streamed = (fitted(directory, MIXED, in_memory=m)[0].state_dict() for m in ("always", "never"))
    same = [name for name in kept if name.startswith("preparations")]
    assert same and all(torch.equal(kept[name], streamed[name]) for name in same)
    monkeypatch.setattr(preparation, "SAMPLE", 300)
    bounded = fitted(directory, MIXED)[0].preparations["jets"]
    assert not torch.equal(bounded.knots, kept["preparations.jets.knots"])
    np.testing.assert_allclose(bounded.knots[0, 64], kept["preparations.jets.knots"][0, 64], rtol=0.1)


def test_a_bounded_sample_is_uniform(monkeypatch):
    monkeypatch.setattr(preparation, "SAMPLE", 500)
    ranges = preparation._Ranges([0])
    for start in range(0, 100_000, 1000):
        ranges.add(np.arange(start, start + 1000, dtype=np.float32)[:, np.newaxis])
    assert len(ranges._sample) == 500
    np.testing.assert_allclose(np.quantile(ranges._sample, [0.25, 0.5, 0.75]), [25e3, 50e3, 75e3], atol=8e3)


def spoil(split, columns):
    """A constant feature, no constituent at all, and negative weights, which play no role."""
    columns["event/features"][:, 1] = 7
    columns["jets/valid"][:] = False
    columns["jets/features"][:] = 0
    columns["weight"][::2] *= -1
    if split == "train":
        for statistic, value in (("center", 0), ("scale", 1)):
            columns[f"normalisation/jets/{statistic}"][:] = value
        columns["normalisation/event/scale"][1] = 1
        columns["normalisation/event/center"][1] = 7


@pytest.mark.parametrize("scale", [*SCALERS, "standard"])
def test_constant_and_missing_features_stay_finite(tmp_path, scale):
    directory = write_dataset(tmp_path / "data", make_analysis(), change=spoil)
    model, data = fitted(directory, inputs(scale, pca=3))
    rows = {name: tensor.numpy() for name, tensor in data.arrays("val", 0).inputs.items()}
    assert np.isfinite(score(model, rows)).all()
    assert np.isfinite(score(model, {k: v[:0] for k, v in rows.items()})).all()
    jets = torch.from_numpy(np.ones((1, 4, 3), "f4"))
    assert torch.isfinite(model.preparations["jets"](jets)).all()


def test_the_graph_and_the_file_give_the_scores_of_the_model(directory, tmp_path):
    model, data = fitted(directory, MIXED)
    model.save(tmp_path / "model.pt")
    rows = {name: tensor.numpy() for name, tensor in data.arrays("val", 0).inputs.items()}
    expected = score(model, rows)
    assert np.array_equal(score(load_model(tmp_path / "model.pt"), rows), expected)
    assert export_onnx(model, tmp_path / "model.onnx", {}, rows) < 1e-5
    feed = {name: values.astype("f4") for name, values in rows.items()}
    extreme = {**feed, "event": np.array([[-1e9, 1e9]] * 200, "f4")}
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for columns in (feed, extreme, {k: v[:0] for k, v in feed.items()}):
        np.testing.assert_allclose(session.run(None, columns)[0], score(model, columns), atol=1e-5)
    (first,), (second,) = old_runtime.run(tmp_path / "model.onnx", [feed, extreme])
    np.testing.assert_allclose(first, expected, atol=1e-5)
    np.testing.assert_allclose(second, score(model, extreme), atol=1e-5)


def mixed(**training):
    """A short training on prepared inputs."""
    return Analysis.model_validate(options(NETWORK, **training).model_dump(mode="json") | {"inputs": MIXED})


def test_a_training_that_was_stopped_goes_on_with_the_same_numbers(directory, tmp_path):
    whole, history = run(mixed(epochs=3), directory, tmp_path / "whole")
    assert history[-1].train_loss < history[0].train_loss
    fit = make_fit(mixed(epochs=3), directory, tmp_path / "stopped")

    def stop(epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    fit._report = stop
    with pytest.raises(KeyboardInterrupt):
        fit.run()
    again, _ = run(mixed(epochs=3), directory, tmp_path / "stopped")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


WRONG = {
    "inputs.jets.pca: should be greater than 0": inputs(pca=0),
    "inputs.jets: pca: 4 components of 3 features that are numbers: 3 at most": inputs(pca=4),
    "inputs.jets.scale: should be 'standard', 'robust'": {"jets": inputs("gauss")["jets"]},
    "inputs.jets: scale: a block is for the channels of an 'image'": {"jets": inputs({"pt": "sqrt"})["jets"]},
    "inputs.event.features.0.a.scale: should be 'standard'": {"event": {"features": [{"a": {"scale": 3}}]}},
    "inputs.event.features.0.a.sacle: unknown key": {"event": {"features": [{"a": {"sacle": "log"}}]}},
}


@pytest.mark.parametrize("message", WRONG)
def test_mistakes_are_named(message):
    with pytest.raises(ValidationError) as caught:
        make_analysis(inputs=WRONG[message])
    assert message in explain(caught.value.errors(), Analysis)


def test_trees_take_no_components():
    with pytest.raises(ValidationError, match=r"inputs\.jets\.pca: only networks take components"):
        make_analysis(inputs=inputs(pca=2), model={"type": "lightgbm"})
