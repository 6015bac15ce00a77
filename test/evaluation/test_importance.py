"""Permutation importance."""

from __future__ import annotations

import numpy as np
from nanoforge.evaluation.importance import (
    Importance,
    correlated_groups,
    group_importance,
    permutation_importance,
)

FEATURES = {"event": ("a", "b"), "jets": ("pt", "eta")}


def toy(seed=0, rows=500):
    rng = np.random.default_rng(seed)
    mask = np.arange(4) < rng.integers(0, 5, (rows, 1))
    jets = np.where(mask[..., None], rng.normal(1, 1, (rows, 4, 2)), 0)
    return {"event": rng.normal(size=(rows, 2)), "jets": jets, "jets_mask": mask}


def test_only_the_informative_feature_matters():
    inputs = toy()
    truth = inputs["event"][:, 1].copy()
    found = permutation_importance(lambda x: -np.mean((x["event"][:, 1] - truth) ** 2), inputs, FEATURES)
    assert found.names == ("event.a", "event.b", "jets.pt", "jets.eta")
    assert found.decrease.shape == (4, 3)
    assert found.mean[1] > 1.5 and np.all(found.spread[[0, 2, 3]] == 0)
    assert np.all(found.mean[[0, 2, 3]] == 0)


def test_constituents_are_permuted_among_the_valid_ones_of_all_rows():
    inputs = toy(1)
    before = {name: values.copy() for name, values in inputs.items()}
    seen = []
    permutation_importance(lambda x: seen.append(x["jets"].copy()) or 0.0, inputs, {"jets": ("pt", "eta")})
    original, permuted = seen[0], seen[1]
    mask = inputs["jets_mask"]
    assert np.all(permuted[~mask] == 0)
    assert np.array_equal(permuted[..., 1], original[..., 1])
    assert np.array_equal(np.sort(permuted[mask, 0]), np.sort(original[mask, 0]))
    assert np.mean(permuted[mask, 0] == original[mask, 0]) < 0.05
    assert all(np.array_equal(inputs[name], before[name]) for name in inputs)


def test_the_seed_fixes_the_permutations():
    def metric(x):
        return float(x["event"][:10, 0].sum())

    first, again, other = (permutation_importance(metric, toy(), FEATURES, seed=seed).decrease for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_permutations_of_several_models_are_joined():
    parts = [Importance(("a", "b"), np.array([[1.0, 2], [3, 4]])), Importance(("a", "b"), np.array([[3.0], [5]]))]
    assert np.array_equal(Importance.pool(parts).mean, [2, 4])


def test_correlated_features_are_shuffled_together():
    inputs = toy(2)
    rng = np.random.default_rng(3)
    inputs["event"][:, 1] = np.exp(inputs["event"][:, 0] + rng.normal(0, 0.05, 500))  # of one order, not of one line
    assert correlated_groups(inputs, FEATURES) == [("event", [0, 1])]
    seen = []

    def metric(x):
        seen.append(x["event"].copy())
        return -np.mean((x["event"][:, 0] - inputs["event"][:, 0]) ** 2)

    found = group_importance(metric, inputs, FEATURES, [("event", [0, 1])])
    assert found.names == ("event: a, b",)
    assert found.decrease.shape == (1, 3) and found.mean[0] > 1.5
    rows = {tuple(row) for row in inputs["event"]}
    assert all(tuple(row) in rows for row in seen[1]) and not np.array_equal(seen[1], seen[0])
    assert Importance.pool([found, found]).decrease.shape == (1, 6)


def test_constant_features_and_no_rows_have_no_groups():
    inputs = toy(4)
    inputs["event"][:] = 1
    assert correlated_groups(inputs, FEATURES) == []
    assert correlated_groups({name: values[:0] for name, values in inputs.items()}, FEATURES) == []
    assert group_importance(lambda _: 0.0, inputs, FEATURES, []).names == ()
