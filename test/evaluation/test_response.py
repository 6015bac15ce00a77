"""The response of a regression in bins, and the bins of columns of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from nanoforge.evaluation import statistics
from nanoforge.evaluation.response import planes, responses
from nanoforge.evaluation.scored import Scored
from nanoforge.evaluation.variables import binned, lacking


def regression(number=6000, shift=0.0):
    """A response of 0.9 with a width of a tenth, 0.2 lower where ``pt`` is missing."""
    rng = np.random.default_rng(1)
    pt = rng.gamma(3, 30, number).astype("f4")
    pt[rng.random(number) < 0.2] = -999
    true = rng.uniform(50, 150, number)
    response = np.where(pt < 0, 0.7, 0.9) + rng.normal(0, 0.1, number)
    rows = Scored((true * response - shift)[:, None], true[:, None] - shift, *[rng.choice([1.0, 2, -0.3], number)] * 2)
    return rows.of_target(0), {"pt": pt}


def test_the_response_is_the_weighted_median_and_width_of_each_bin():
    rows, columns = regression()
    found = dict(responses(rows, columns))
    assert list(found) == ["true", "predicted", "pt"]
    edges = found["pt"].edges["pt"]
    assert found["pt"].relative and edges[0] > 0 and len(edges) == 11
    inside = (columns["pt"] >= edges[3]) & (columns["pt"] < edges[4])
    values, weight = (rows.predicted / rows.true)[inside], rows.weight[inside]
    order = np.argsort(values)
    cumulative = np.cumsum(weight[order]) / weight.sum()
    assert found["pt"].rows[3] == inside.sum()
    assert found["pt"].median[3].value == pytest.approx(values[order][np.argmax(cumulative >= 0.5)], abs=0.01)
    for median, width in zip(found["pt"].median, found["pt"].width):
        assert abs(median.value - 0.9) < 4 * median.error and abs(width.value - 0.1) < 4 * width.error
    assert found["pt"].rows.sum() == (columns["pt"] > 0).sum()


def test_a_plane_has_the_rows_of_both_variables():
    rows, columns = regression()
    ((name, found),) = planes(rows, columns)
    true, pt = found.edges.values()
    counts, _, _ = np.histogram2d(rows.true, columns["pt"], [true, pt])
    assert name == "pt" and found.rows.shape == (6, 6)
    np.testing.assert_array_equal(found.rows[1:5, 1:5], counts[1:5, 1:5])  # the outermost hold what is beyond
    assert found.rows.sum() == (columns["pt"] > 0).sum()
    assert all(abs(estimate.value - 0.9) < 5 * estimate.error for estimate in found.median)


def test_targets_at_or_below_zero_have_differences():
    rows, columns = regression(shift=100)
    found = dict(responses(rows, columns))["pt"]
    assert not found.relative and found.median[0].value == pytest.approx(-10, abs=3)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_few_rows_make_few_bins(number):
    rows, columns = regression()
    chosen = Scored(rows.predicted[:number, None], rows.true[:number, None], *[rows.weight[:number]] * 2).of_target(0)
    for _, found in responses(chosen, {name: values[:number] for name, values in columns.items()}):
        assert found.rows.sum() <= number and len(found.median) == len(found.rows)
    assert list(planes(chosen, {"pt": np.full(number, np.nan)})) == []


def test_the_error_of_a_median_is_its_spread():
    rng = np.random.default_rng(0)
    found = [statistics.median(rng.normal(size=200), rng.choice([1.0, 3], 200)) for _ in range(400)]
    values, errors = np.array(found).T
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)
    assert statistics.median(np.array([3.0]), np.ones(1)).value == 3
    assert np.isnan(statistics.median(np.zeros(0), np.zeros(0)).value)


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ([5, 7, np.nan, 9, np.inf], 2),
        ([-999, -999, 20, 30, 50, 90], 2),
        ([-1, -1, 0.1, 0.2, 0.5, 0.9], 2),
        ([-999, -999, -1, -1, 0.2, 0.5, 0.9], 2),  # -1 is near to the others, as seen from -999
        ([0, 0, 0, 1, 1], 0),
        ([0, 1, 1, 2, 2, 3], 0),
        ([-1, 1, -1, 1], 0),
        ([0, 0, 0, 20, 30, 55], 0),
        ([], 0),
    ],
)
def test_what_says_that_there_is_no_value(values, missing):
    assert lacking(np.array(values, dtype=float)).sum() == missing


def test_few_different_values_have_a_bin_each():
    column = binned(np.array([4.0, 5, 5, 7, np.nan]))
    assert column.edges.tolist() == [3.5, 4.5, 6, 7.5] and column.number.tolist() == [0, 1, 1, 2, -1]
    assert column.missing == 0.2
    assert len(binned(np.full(3, np.nan)).edges) == 1
