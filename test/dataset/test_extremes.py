"""Values that may mean "not there" are found, and what merely looks like them is not."""

from __future__ import annotations

import numpy as np
import pytest
from nanoforge.dataset import extremes

RNG = np.random.default_rng(1)
N = 5000


def found(values: np.ndarray) -> list[tuple[float, float]]:
    values = np.asarray(values, "f4").reshape(-1, 1, 1)
    return extremes.sentinels(extremes.look(values, np.ones(values.shape[:2], bool)))[0]


def mixed(values: np.ndarray, sentinel: float, share: float = 0.1) -> np.ndarray:
    return np.where(np.arange(len(values)) % round(1 / share) == 0, sentinel, values)


@pytest.mark.parametrize(
    ("values", "sentinel"),
    [
        (RNG.normal(50, 1, N), -999),
        (RNG.exponential(50, N), -99),
        (RNG.normal(0, 1, N), 9999),
        (RNG.uniform(0, 1, N), -1),
        (RNG.uniform(-1, 1, N), -10),
        (RNG.normal(0, 1, N), np.finfo("f4").max),
        (RNG.poisson(3, N), -999),
        (RNG.poisson(3, N), -(2**31)),
        (RNG.uniform(100, 150, N), 0),
    ],
)
def test_values_that_stand_apart(values: np.ndarray, sentinel: float) -> None:
    [(value, share)] = found(mixed(values, sentinel))
    assert value == np.float32(sentinel) and share == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(0, 1, N),
        RNG.exponential(50, N),
        RNG.standard_cauchy(N),
        RNG.poisson(2, N),
        RNG.integers(0, 2, N),
        RNG.choice([-1, 1], N),
        RNG.choice([-1, 0, 1], N),
        RNG.choice([0, 1, 2, 10, 11], N),
        RNG.choice([-211, 11, 13, 22, 130, 211], N),
        np.clip(RNG.normal(0, 1, N), -2, 2),
        np.maximum(RNG.normal(0, 1, N), 0),
        mixed(RNG.exponential(50, N) + 20, -1),
        mixed(RNG.normal(50, 1, N), -999, 1 / 2500),
        np.zeros(N),
        np.full(N, np.nan),
        np.zeros(0),
    ],
    ids=range(16),
)
def test_values_that_do_not(values: np.ndarray) -> None:
    assert found(values) == []


def test_both_ends_and_several_features() -> None:
    normal = RNG.normal(0, 1, N)
    values = np.stack([normal, mixed(mixed(normal, 999), -999, 0.05)], axis=1).astype("f4")[:, np.newaxis]
    valid = np.ones((N, 1), bool)
    one, two = extremes.sentinels(extremes.look(values, valid))
    assert one == [] and [value for value, _ in two] == [-999, 999]


def test_padding_and_what_is_not_finite_do_not_count() -> None:
    values = np.array([[[1], [0]], [[np.nan], [0]], [[-np.inf], [2]], [[1], [5]]], "f4")
    valid = np.array([[True, False], [True, False], [True, True], [True, True]])
    np.testing.assert_array_equal(extremes.look(values, valid)[:, 0], [4, 0, 1, 2, 2, -5, 1, -2])


def test_parts_merge_exactly_in_any_order() -> None:
    values = RNG.integers(-3, 4, (300, 2, 3)).astype("f4") / 2
    valid = RNG.random((300, 2)) < 0.7
    whole = extremes.look(values, valid)
    parts = [extremes.look(values[i : i + 7], valid[i : i + 7]) for i in range(0, 300, 7)]
    for order in (parts, parts[::-1], [extremes.merge(parts[:20]), extremes.merge(parts[20:])]):
        np.testing.assert_array_equal(extremes.merge(order), whole)
    assert whole[0].sum() == 3 * valid.sum()
