"""A training with ``training.balance``, and what its report shows of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from datasets import make_analysis, write_dataset
from nanoforge.balance import effect
from nanoforge.balance.weight_factors import WeightFactors
from nanoforge.dataset.open import open_dataset
from nanoforge.errors import UserError
from nanoforge.evaluation import figure as figure_module
from nanoforge.evaluation.figure import all_figures
from nanoforge.models.base import score
from nanoforge.models.load import load_model
from nanoforge.provenance import Manifest
from nanoforge.stages import evaluate as evaluate_stage
from nanoforge.stages import train as train_stage
from nanoforge.stages.evaluate import evaluate
from nanoforge.stages.train import train
from sklearn.metrics import log_loss, roc_auc_score

BALANCE = {
    "negative": "absolute",
    "normalise": "min",
    "shape": {"variables": {"a": {"bins": 3, "range": [0, 6]}, "k$t": [0, 1, 4]}, "to": "high", "by": "resample"},
}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    home = tmp_path_factory.mktemp("balanced")
    options = {"epochs": 2, "batch_size": 64, "accelerator": "cpu", "balance": BALANCE}
    split = {"train": 0.7, "val": 0.1, "test": 0.2}
    analysis = make_analysis(keep=["k$t"], model={"type": "mlp", "hidden": [8]}, training=options, split=split)

    def change(_, columns):
        rows = len(columns["weight"])
        columns["keep/k$t"] = np.random.default_rng(1).exponential(1, rows)
        columns["weight"][::6] *= -0.5

    write_dataset(home / "data", analysis, (900, 200, 400), change=change)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_stage, "export_onnx", lambda model, path, metadata: path.write_text("graph"))
        patch.setattr(train_stage, "log_training", lambda *_: {})
        patch.setattr(evaluate_stage, "log_evaluation", lambda *_: None)
        balances = tuple(figure for figure in all_figures() if "balance" in type(figure).__module__)
        patch.setattr(figure_module, "all_figures", lambda: balances)
        train(analysis, home / "data", home / "run")
        return home, evaluate(home / "run")


def test_the_report_shows_every_variable_and_the_classes(evaluated):
    home, _ = evaluated
    Manifest.read(home / "run", "train").verify(home / "run")
    output = home / "run" / "evaluation"
    page = (output / "report.html").read_text()
    for name, title in (("balance_a", "Balance of a"), ("balance_k_t", "Balance of k$t"), ("balance", "the classes")):
        assert title in page
        for suffix in ("pdf", "png"):
            assert (output / "plots" / f"{name}.{suffix}").stat().st_size > 8000
    assert page.count("<img") == 3


def test_what_is_drawn_is_what_the_rows_weigh(evaluated):
    home, _ = evaluated
    factors = WeightFactors.read(home / "run" / "fold0" / "balance.json")
    rows = open_dataset(home / "data").arrays("train", 0)
    weight, label = rows.weight.numpy().astype("f8"), rows.label.numpy()
    a = np.clip(rows.inputs["event"][:, 1].numpy(), 0, 6)
    before, after = factors.content[1], factors.content[1] * factors.whole
    for k in (0, 1):
        expected = np.histogram(a[label == k], 3, (0, 6), weights=weight[label == k])[0]
        assert effect.bin_shares(factors, before.sum(axis=0), "a")[k] == pytest.approx(expected / expected.sum())
    for name in factors.edges:
        low, high = effect.bin_shares(factors, after.sum(axis=0), name)
        assert low == pytest.approx(high)
    found = effect.class_totals([factors], (before, after))
    share, negative, effective = (found[name] for name in ("Share of all", "Negative share", "Effective / rows"))
    sums = np.bincount(label, weight)
    assert share[0] == pytest.approx(sums / sums.sum()) and share[1] == pytest.approx([0.5, 0.5])
    lost = [-weight[(label == k) & (weight < 0)].sum() / np.abs(weight[label == k]).sum() for k in (0, 1)]
    assert negative[0] == pytest.approx(lost) and negative[1].tolist() == [0, 0]
    kish = [sums[k] ** 2 / (weight[label == k] ** 2).sum() / (label == k).sum() for k in (0, 1)]
    assert effective[0] == pytest.approx(kish) and (effective[1] <= 1).all()


def test_another_dataset_without_the_column_is_refused(evaluated, tmp_path):
    home, _ = evaluated
    other = write_dataset(tmp_path / "other", make_analysis(split={"train": 0.7, "val": 0.1, "test": 0.2}))
    with pytest.raises(UserError, match=r"other: has no column 'k\$t': add it to 'keep'"):
        evaluate(home / "run", data=other, output=tmp_path / "out")


def test_figures_of_merit_keep_the_physics_weights(evaluated):
    """Separation has the weights of the dataset; what reads scores as probabilities has those of the training."""
    home, found = evaluated
    rows = open_dataset(home / "data")
    rows.load_columns(["k$t"])
    test = rows.arrays("test", 0)
    inputs = {name: tensor.numpy() for name, tensor in test.inputs.items()}
    scores = score(load_model(home / "run" / "fold0" / "model.pt"), inputs).astype("f8")
    scores /= scores.sum(axis=1, keepdims=True)
    weight, label = test.weight.numpy(), test.label.numpy()
    assert (weight < 0).any()
    positive = weight > 0
    assert roc_auc_score(label[positive] == 0, scores[positive, 0], sample_weight=weight[positive]) == pytest.approx(
        found["test"]["auc.low"]["value"], abs=0.05
    )
    factors = WeightFactors.read(home / "run" / "fold0" / "balance.json")
    place = np.clip(np.digitize(inputs["event"][:, 1], np.linspace(0, 6, 4)) - 1, 0, 2)
    cell = place * 2 + np.clip(np.digitize(test.kept[:, 0].numpy(), [0, 1, 4]) - 1, 0, 1)
    prior = weight * factors.whole[(weight < 0).astype(int), label, cell]
    assert found["test"]["log_loss"]["value"] == pytest.approx(log_loss(label, scores, sample_weight=prior), rel=1e-4)
    smallest = json.loads((home / "run" / "fold0" / "balance.json").read_text())["signs"][0]
    assert min(smallest) == pytest.approx(1)
