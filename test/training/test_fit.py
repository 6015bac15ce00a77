"""The steps of a training: parts of a batch, precision, the range test, and what may fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import write_dataset
from fitting import DEEPSETS, PLAIN, make_fit, options, run
from nanoforge.errors import DataError, UserError
from nanoforge.models.base import score
from nanoforge.training import fit as module
from nanoforge.training.fit import Fit
from sklearn.metrics import roc_auc_score


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("plain") / "data", options())


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("regression") / "data", options(regression=True))


def auc(fit: Fit) -> float:
    fit.run()
    rows = fit._dataset.arrays("val", 0)
    found = score(fit.best_model(), {name: tensor.numpy() for name, tensor in rows.inputs.items()})
    return roc_auc_score(rows.label, found[:, 1])


def test_parts_of_a_batch_give_the_same_step(data, tmp_path):
    whole, parts = (run(options(PLAIN, accumulation=n), data, tmp_path / str(n))[0] for n in (1, 5))
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-3, atol=1e-5)


def test_gradients_are_clipped(data, tmp_path, monkeypatch):
    norms, original = [], torch.optim.AdamW.step

    def step(self, *arguments):
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.cat(gradients).norm()))
        return original(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    run(options(epochs=1), data, tmp_path / "free")
    free, norms[:] = list(norms), []
    run(options(epochs=1, gradient_clip=0.05), data, tmp_path / "clipped")
    assert max(norms) < 0.0501 < max(free)


@pytest.mark.parametrize("model", [PLAIN, DEEPSETS], ids=["mlp", "deepsets"])
def test_bf16_learns_and_keeps_float_weights(model, data, tmp_path):
    fit = make_fit(options(model, epochs=6, precision="bf16"), data, tmp_path)
    assert auc(fit) > 0.9
    assert {t.dtype for t in fit._model.parameters()} == {torch.float32}


def test_features_reach_the_normalisation_in_full_precision(tmp_path):
    def shift(split, columns):
        columns["event/features"][:, 1] += 5000  # spread of 2: bfloat16 has steps of 32 here
        if split == "train":
            columns["normalisation/event/center"] += np.array([0, 5000], "f4")

    data = write_dataset(tmp_path / "data", options(), change=shift)
    assert auc(make_fit(options(epochs=6, precision="bf16"), data, tmp_path / "fit")) > 0.9


def test_a_learning_rate_is_found_and_nothing_of_the_search_is_kept(data, tmp_path):
    fit = make_fit(options(epochs=6, learning_rate="auto"), data, tmp_path / "auto")
    assert auc(fit) > 0.9
    found = fit.range_test.suggestion
    assert 1e-4 < found < 0.3 and fit._state.learning_rate == found
    given, _ = run(options(epochs=6, learning_rate=found), data, tmp_path / "given")
    assert all(torch.equal(given[name], tensor) for name, tensor in fit._model.state_dict().items())
    again = make_fit(options(epochs=6, learning_rate="auto"), data, tmp_path / "auto")
    again.run()
    assert again.range_test == fit.range_test


@pytest.mark.parametrize("loss", ["mse", "mae", "log_cosh", "gaussian", "quantile"])
def test_losses_of_a_regression_fall(loss, regression, tmp_path):
    _, history = run(options(regression=True, loss=loss), regression, tmp_path)
    assert history[-1].val_loss < history[0].val_loss


@pytest.mark.parametrize("loss", ["focal", {"type": "cross_entropy", "label_smoothing": 0.1}])
def test_losses_of_a_classification_learn(loss, data, tmp_path):
    assert auc(make_fit(options(epochs=6, loss=loss), data, tmp_path)) > 0.9


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (torch.OutOfMemoryError, "CUDA out of memory"),
        (RuntimeError, "DefaultCPUAllocator: can't allocate memory: 1 TB"),
    ],
)
def test_out_of_memory_names_the_remedy(kind, message, data, tmp_path, monkeypatch):
    def fail(*_):
        raise kind(message)

    monkeypatch.setattr(module.Fit, "_step", fail)
    with pytest.raises(DataError, match=r"out of memory on cpu: set training\.accumulation to 2.*batch_size \(128\)"):
        run(options(), data, tmp_path)


def test_fp16_on_a_cpu_is_refused(data, tmp_path):
    with pytest.raises(UserError, match="'fp16' needs a GPU"):
        make_fit(options(precision="fp16"), data, tmp_path)
