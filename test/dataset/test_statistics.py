"""Moments of parts merge to those of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nanoforge.dataset import kernels
from nanoforge.dataset.statistics import center_and_scale, leave_one_out, merge


def moments(values: np.ndarray) -> np.ndarray:
    """Return count, mean and squared deviations (3, F) of (N, F) values, by numpy."""
    if not len(values):
        return np.zeros((3, values.shape[1]))
    mean = values.mean(axis=0)
    return np.stack([np.full(values.shape[1], len(values)), mean, ((values - mean) ** 2).sum(axis=0)])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.sampled_from([0, 0, 1, 2, 5, 1000]), min_size=1, max_size=8),
    mean=st.sampled_from([0.0, 1e6, -1e6]),
    spread=st.sampled_from([1e-2, 1.0, 1e3]),
)
def test_any_partition_merges_to_the_whole(seed: int, sizes: list[int], mean: float, spread: float) -> None:
    rng = np.random.default_rng(seed)
    parts = [mean + spread * rng.normal(size=(size, 3)) for size in sizes]
    before = [moments(part) for part in parts]
    copies = [part.copy() for part in before]
    found, expected = merge(before), moments(np.concatenate(parts))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-14, atol=1e-12 * spread)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-6, atol=1e-9 * spread**2)
    np.testing.assert_array_equal(before, copies, "merging leaves the parts alone")
    one_by_one = before[0]
    for part in before[1:]:
        one_by_one = merge([one_by_one, part])
    np.testing.assert_allclose(one_by_one, found, rtol=1e-12)


def test_spread_far_below_the_mean_is_kept() -> None:
    """The textbook formula, mean of squares minus squared mean, loses all digits here."""
    rng = np.random.default_rng(1)
    values = 1e6 + 1e-2 * rng.normal(size=(100_000, 1))
    found = merge([moments(part) for part in np.array_split(values, 37)])
    assert np.sqrt(found[2, 0] / found[0, 0]) == pytest.approx(values.std(), rel=1e-6)
    assert np.sqrt(found[2, 0] / found[0, 0]) == pytest.approx(1e-2, rel=0.01)
    assert found[1, 0] == pytest.approx(values.mean(), rel=1e-15)


def test_the_kernel_keeps_it_too() -> None:
    values = (1e3 + 1e-2 * np.random.default_rng(1).normal(size=(50_000, 1, 1))).astype("f4")
    found = kernels.moments(values, np.ones((50_000, 1), bool), np.zeros(50_000, "u1"), 1)
    assert np.sqrt(found[0, 2, 0] / 50_000) == pytest.approx(values.astype("f8").std(), rel=1e-8)


def test_shards_with_folds_merge_fold_by_fold() -> None:
    rng = np.random.default_rng(2)
    values, fold = rng.normal(size=(500, 2)), rng.integers(0, 4, 500)
    parts = [
        np.stack([moments(values[s][fold[s] == f]) for f in range(4)]) for s in np.array_split(np.arange(500), 6)
    ]  # fmt: skip
    folds = merge(parts)
    for f, others in enumerate(leave_one_out(folds)):
        np.testing.assert_allclose(folds[f], moments(values[fold == f]), rtol=1e-10)
        np.testing.assert_allclose(others, moments(values[fold != f]), rtol=1e-10)


def test_center_and_scale_are_mean_and_standard_deviation() -> None:
    values = np.random.default_rng(3).normal([1, -50, 1e4], [1, 2e-3, 1e2], (1000, 3))
    center, scale = center_and_scale(moments(values))
    assert center.dtype == scale.dtype == np.float32
    np.testing.assert_allclose(center, values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(scale, values.std(axis=0), rtol=1e-5)


def test_a_feature_without_spread_or_entries_gets_scale_one() -> None:
    constant = np.full((1000, 1), np.float32(0.1), "f8")
    nothing = np.zeros((3, 1))
    for content, mean in (
        (moments(constant), 0.1),
        (nothing, 0),
        (moments(constant[:1]), 0.1),
        (moments(constant * 0), 0),
    ):
        center, scale = center_and_scale(content)
        assert center[0] == np.float32(mean) and scale[0] == 1
    many = merge([moments(constant[:k]) for k in (1, 7, 300, 11)])
    assert center_and_scale(many)[1][0] == 1, "rounding in the merge is no spread"
