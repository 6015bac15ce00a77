"""The training of trees on a dataset, beside what ``models.boosting`` does by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import make_analysis, write_dataset
from fitting import PLAIN, options, run
from nanoforge.balance.balancer import Balancer, compute_factors
from nanoforge.config.balance import Balance
from nanoforge.config.training import Training
from nanoforge.dataset.open import open_dataset
from nanoforge.errors import TrainingError, UserError
from nanoforge.models.base import ModelSpec, score
from nanoforge.models.tasks import make_objective, mean_loss
from nanoforge.training.estimators import fit_estimator
from nanoforge.training.folds import model_spec
from nanoforge.training.history import best

OPTIONS = {"num_iterations": 300, "num_leaves": 8, "early_stopping_round": 10}


def fit(folder, second):
    """Fit trees of two targets, of which ``second`` makes the other one from the first."""
    targets = {"regression": {"z": "z", "y": "y"}}
    analysis = make_analysis(regression=True, target=targets, model={"type": "lightgbm", **OPTIONS})

    def change(split, columns):
        columns["target/y"] = second(columns["target/z"], np.random.default_rng(3)).astype("f4")

    data = open_dataset(write_dataset(folder / "data", analysis, change=change))
    network = analysis.model.model_dump(mode="json")
    spec = ModelSpec(data.info.inputs, data.info.regression, "regression", network)
    return fit_estimator(Training(), data, spec, 0, 1, 1, Balancer(compute_factors(Balance(), data, 0), data))


def test_the_history_goes_on_when_one_of_several_targets_is_done(tmp_path):
    model, history = fit(tmp_path, lambda z, rng: rng.normal(size=len(z)))
    first, noise = (len(booster.trees()) for booster in model.boosters)
    assert noise < 10 and first > noise + OPTIONS["early_stopping_round"]
    assert best(history).epoch == first
    assert [epoch.epoch for epoch in history] == list(range(1, len(history) + 1))


def test_a_target_that_is_never_known_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"target\.regression\.y: is NaN in all"):
        fit(tmp_path, lambda z, rng: z * np.nan)


@pytest.mark.parametrize("task", ["classes", "mse", "quantile"])
def test_the_losses_of_trees_are_those_of_networks(task, tmp_path):
    """One definition, so that a search over model.type compares like with like: weights of both signs, two targets."""
    regression = task != "classes"
    changes = {"target": {"regression": {"z": "z", "y": "y"}}} if regression else {}
    loss = {"type": task, "weights": {"y": 3.0}} if regression else None
    model = {"type": "lightgbm", "num_iterations": 12}
    analysis = make_analysis(regression=regression, model=model, training={"loss": loss}, **changes)

    def change(split, columns):
        columns["weight"][::5] *= -0.5
        if regression:
            columns["target/y"] = 1e3 * columns["target/z"] + columns["weight"]
            columns["target/y"][::7] = np.nan

    data = open_dataset(write_dataset(tmp_path / "data", analysis, change=change))
    balance = Balancer(compute_factors(Balance(), data, 0), data)
    trees, history = fit_estimator(analysis.training, data, model_spec(analysis, data.info), 0, 1, 1, balance)
    objective = make_objective(trees.spec.task, trees.spec.targets, trees.spec.loss)
    for part in ("train", "val"):
        rows = balance.weighted(data.arrays(part, 0))
        scores = torch.from_numpy(score(trees, {name: tensor.numpy() for name, tensor in rows.inputs.items()})).double()
        raw, truth = scores.clamp(min=1e-15).log(), rows.label
        if regression:
            center, scale = (torch.from_numpy(values) for values in data.target_moments(0))
            raw = ((scores.unflatten(1, (2, -1)) - center[:, None]) / scale[:, None]).flatten(1)
            truth = (rows.targets - center) / scale
        total, weight = objective.loss(raw, truth, rows.weight.double())
        assert (rows.weight < 0).any() and weight < rows.weight.abs().sum()
        values = [epoch.train_loss if part == "train" else epoch.val_loss for epoch in history]
        last = best(history).epoch if task == "classes" else len(history)
        assert values[last - 1] == pytest.approx(mean_loss(total.item(), weight.item()), rel=1e-4)


def test_trees_take_as_many_threads_as_the_environment_allows(tmp_path, monkeypatch):
    analysis = make_analysis(model={"type": "lightgbm", "num_iterations": 1})
    data = open_dataset(write_dataset(tmp_path / "data", analysis, (60, 20, 0)))
    fit, seen = type(analysis.model).fit, []
    monkeypatch.setattr(type(analysis.model), "fit", lambda *given: seen.append(given[-1]) or fit(*given))
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)  # as with OMP_NUM_THREADS=1
    spec = model_spec(analysis, data.info)
    fit_estimator(analysis.training, data, spec, 0, 1, 1, Balancer(compute_factors(Balance(), data, 0), data))
    assert seen == [1]


def test_trees_that_diverge_are_refused_with_the_remedy(tmp_path):
    def change(split, columns):
        columns["weight"] = np.where(np.random.default_rng(2).random(len(columns["weight"])) < 0.3, -1, 1).astype("f4")

    model = {"type": "lightgbm", "num_iterations": 200, "num_leaves": 63, "learning_rate": 0.3}
    analysis = make_analysis(regression=True, model=model)
    data = open_dataset(write_dataset(tmp_path / "data", analysis, (2000, 0, 0), change=change))
    spec = model_spec(analysis, data.info)
    with pytest.raises(TrainingError, match=r"trees of 'z' diverge: .*training\.balance\.negative to rescale"):
        fit_estimator(analysis.training, data, spec, 0, 1, 1, Balancer(compute_factors(Balance(), data, 0), data))
    rescaled = Balance(negative="rescale")
    _, history = fit_estimator(Training(), data, spec, 0, 1, 1, Balancer(compute_factors(rescaled, data, 0), data))
    assert 0 < history[-1].train_loss < history[0].train_loss


def test_a_validation_part_of_negative_weight_is_refused(tmp_path):
    def change(split, columns):
        columns["weight"] *= -1 if split == "val" else 1

    analysis = make_analysis(model={"type": "lightgbm", "num_iterations": 3})
    data = open_dataset(write_dataset(tmp_path / "data", analysis, (50, 20, 0), change=change))
    with pytest.raises(UserError, match=r"weights of the validation part of fold 0 sum to -.*rescale or absolute"):
        spec, balance = model_spec(analysis, data.info), Balancer(compute_factors(Balance(), data, 0), data)
        fit_estimator(analysis.training, data, spec, 0, 1, 1, balance)
    with pytest.raises(UserError, match=r"weights of the validation part of fold 0 sum to -.*rescale or absolute"):
        run(options(PLAIN), tmp_path / "data", tmp_path / "run")


def test_what_no_loss_can_come_of_is_said_before_anything_is_written(tmp_path):
    """Weights that are all zero or NaN, and a validation part in which no target is known."""

    def spoil(value, part="train", column="weight"):
        def change(split, columns):
            if split == part:
                columns[column][:] = value

        return change

    for number, (value, message) in enumerate(
        ((0.0, "sum to 0 .*correct 'weight'"), (np.nan, "to nan .*correct 'weight'"))
    ):
        data = write_dataset(tmp_path / str(number), options(PLAIN), (40, 10, 0), change=spoil(value))
        with pytest.raises(UserError, match=message):
            run(options(PLAIN, batch_size=10**6), data, tmp_path / f"run{number}")
    unknown = options(PLAIN, regression=True)
    data = write_dataset(tmp_path / "nan", unknown, (40, 10, 0), change=spoil(np.nan, "val", "target/z"))
    with pytest.raises(UserError, match=r"no row of the validation part of fold 0 counts.*targets NaN"):
        run(unknown, data, tmp_path / "run")
