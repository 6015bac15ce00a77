"""The training of trees on a dataset, beside what ``models.trees`` does by itself."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import make_analysis, write_dataset
from nanoforge.config.balance import Balance
from nanoforge.config.training import Training
from nanoforge.dataset.loading import TrainingData
from nanoforge.errors import UserError
from nanoforge.models.model import ModelSpec
from nanoforge.training.balance import Balancer, find_factors
from nanoforge.training.history import best
from nanoforge.training.trees import fit_trees

OPTIONS = {"num_iterations": 300, "num_leaves": 8, "early_stopping_round": 10}


def fit(folder, second):
    """Fit trees of two targets, of which ``second`` makes the other one from the first."""
    targets = {"regression": {"z": "z", "y": "y"}}
    analysis = make_analysis(regression=True, target=targets, model={"type": "lightgbm", **OPTIONS})

    def change(split, columns):
        columns["target/y"] = second(columns["target/z"], np.random.default_rng(3)).astype("f4")

    data = TrainingData.open(write_dataset(folder / "data", analysis, change=change))
    network = analysis.model.model_dump(mode="json")
    spec = ModelSpec(data.info.inputs, data.info.regression, "regression", network)
    return fit_trees(Training(), data, spec, 0, 1, 1, Balancer(find_factors(Balance(), data, 0), data))


def test_the_history_goes_on_when_one_of_several_targets_is_done(tmp_path):
    model, history = fit(tmp_path, lambda z, rng: rng.normal(size=len(z)))
    first, noise = (booster.num_trees() for booster in model.boosters)
    assert noise < 10 and first > noise + OPTIONS["early_stopping_round"]
    assert best(history).epoch == first
    assert [epoch.epoch for epoch in history] == list(range(1, len(history) + 1))


def test_a_target_that_is_never_known_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"target\.regression\.y: is NaN in all"):
        fit(tmp_path, lambda z, rng: z * np.nan)
