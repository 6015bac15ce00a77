"""What the report says of inputs: correlations and shapes are those of numpy, with negative weights and gaps too."""

from __future__ import annotations

import numpy as np
import pytest
from nanoforge.distributions.axis import Range
from nanoforge.distributions.counts import BinCounts, Binning
from nanoforge.distributions.variable import Variable
from nanoforge.evaluation.figures.inputs import said_of
from nanoforge.evaluation.figures.sculpting import shapes
from nanoforge.evaluation.inputs import correlation, ordered


def test_correlations_are_those_of_numpy():
    rng = np.random.default_rng(1)
    values = rng.normal((1e4, 0, 1, 0), (1, 2, 3, 0), (500, 4))
    values[:, 1] += values[:, 0] - 1e4
    weight = rng.choice([1.0, 2.0, -0.3], 500)
    mean = weight @ values / weight.sum()
    centred = values - mean
    covariance = (centred.T @ (weight[:, None] * centred))[:3, :3]
    spread = np.sqrt(np.diag(covariance))
    found = correlation(values, weight)
    assert found[:3, :3] == pytest.approx((covariance / np.outer(spread, spread))[:3, :3], abs=1e-9)
    assert np.isnan(found[3]).all(), "of a constant"


def test_correlations_take_the_rows_in_which_both_are_known():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(300, 3))
    values[:, 2] += values[:, 0]
    values[rng.random((300, 3)) < 0.3] = np.nan
    found = correlation(values, np.ones(300))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        both = np.isfinite(values[:, [i, j]]).all(axis=1)
        expected = np.corrcoef(values[both][:, i], values[both][:, j])[0, 1]
        assert found[i, j] == pytest.approx(expected) and found[j, i] == pytest.approx(expected)


def test_shares_of_what_is_not_in_the_figure_are_said():
    binning = Binning(np.array([0.5]), 0.0, 1.0, Range(2, 0.0, 1.0), (-999.0,))
    training, test = BinCounts.zero(binning), BinCounts.zero(binning)
    training.add(binning, np.array([0.1, 0.2, -999, np.nan], "f4"), np.ones(4))
    test.add(binning, np.array([0.1, 0.2, 0.3, 7], "f4"), np.ones(4))
    said = said_of(binning, training, test)
    assert "25.0 and 0.0 % are missing (NaN)" in said and "25.0 and 0.0 % are exactly -999" in said
    assert "0.0 and 25.0 % are above the axis" in said
    assert said_of(binning, test, test).count("%") == 1


def test_shapes_after_cuts_are_histograms_of_the_rows():
    rng = np.random.default_rng(3)
    values, weight = rng.normal(size=400), rng.choice([1.0, -0.2], 400)
    passing = {"all": np.ones(400, bool), "some": values > 0, "few": np.arange(400) < 5}
    sums = shapes(values, weight, passing, Range(4, -1.0, 1.0))
    assert list(sums) == ["all", "some"]
    for name, (content, squares) in sums.items():
        chosen = passing[name]
        expected, _ = np.histogram(values[chosen], np.linspace(-1, 1, 5), weights=weight[chosen])
        assert content[1:-1] == pytest.approx(expected) and content.sum() == pytest.approx(weight[chosen].sum())
        assert squares.sum() == pytest.approx((weight[chosen] ** 2).sum())


def test_important_features_come_first_and_lengths_beside_the_best_of_their_input():
    a, b, c, n = (
        Variable(*v) for v in (("feature", "x", "a"), ("feature", "x", "b"), ("feature", "y", "c"), ("length", "x", ""))
    )
    assert ordered([a, n, b, c], {"x.a": 0.1, "x.b": 0.3, "y.c": 0.2})[0] in (n, b)
    assert ordered([a, n, b, c], {"x.a": 0.1, "x.b": 0.3, "y.c": 0.2})[2:] == [c, a]
