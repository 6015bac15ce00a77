"""Differences of runs on the same rows, against DeLong's formula written out and against repetitions."""

from __future__ import annotations

import numpy as np
import pytest
from nanoforge.errors import DataError
from nanoforge.evaluation import paired, statistics
from nanoforge.evaluation.paired import differences, read_rows, save_rows
from nanoforge.evaluation.scored import Scored
from scipy import stats


def scores(number, seed, weights=(1.0,), gain=0.3):
    """Two correlated scores of the same rows, of which the second is better by ``gain``, with ties."""
    rng = np.random.default_rng(seed)
    signal = np.arange(number) < number // 3
    common = rng.normal(size=number)
    first, second = (
        np.round(signal * shift + common + 0.7 * rng.normal(size=number), 1) for shift in (1.0, 1.0 + gain)
    )
    return first, second, signal, rng.choice(weights, number)


def delong(first, second, signal):
    """Variances and covariance by all pairs of rows, as DeLong, DeLong and Clarke-Pearson have it."""
    v10, v01, areas = [], [], []
    for score in (first, second):
        s, b = score[signal][:, None], score[~signal][None]
        kernel = (s > b) + 0.5 * (s == b)
        v10.append(kernel.mean(axis=1))
        v01.append(kernel.mean(axis=0))
        areas.append(kernel.mean())
    covariance = np.cov(v10) / len(v10[0]) + np.cov(v01) / len(v01[0])
    return areas[1] - areas[0], np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])


def test_without_weights_it_is_delongs():
    first, second, signal, weight = scores(200, 1)
    found = statistics.auc_difference(first, second, signal, weight)
    assert tuple(found) == pytest.approx(delong(first, second, signal))


def test_with_negative_weights_the_error_is_the_spread_of_repetitions():
    found = [statistics.auc_difference(*scores(400, seed, (1.0, 2, -0.3))) for seed in range(400)]
    values, errors = np.array(found).T
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.12)


def test_p_values_of_equally_good_scores_are_uniform():
    p = []
    for seed in range(300):
        difference = statistics.auc_difference(*scores(300, seed, (1.0, 3), gain=0))
        p.append(paired.Difference(difference, "DeLong").p_value)
    assert stats.kstest(p, "uniform").pvalue > 0.01


def as_rows(score, signal, weight):
    both = np.column_stack([score, -score])
    return Scored(both, (~signal).astype(int), weight, weight)


def test_a_classification_differs_in_areas_and_rejections(monkeypatch):
    first, second, signal, weight = scores(2000, 3)
    a, b = as_rows(first, signal, weight), as_rows(second, signal, weight)
    found = differences(a, b, "classification", ("s", "b"))
    assert list(found) == ["auc.s", "rejection.s.50"]
    assert found["auc.s"].method == "DeLong" and found["auc.s"].p_value < 0.001
    expected = [statistics.rejection(statistics.roc_curve(x, signal, weight), 0.5) for x in (first, second)]
    assert found["rejection.s.50"].estimate.value == pytest.approx(expected[1].value - expected[0].value)
    apart = np.hypot(expected[0].error, expected[1].error)
    assert 0.3 * apart < found["rejection.s.50"].estimate.error < 1.1 * apart
    same = differences(a, a, "classification", ("s", "b"))
    assert same["auc.s"].p_value == 1 and same["rejection.s.50"].estimate.error == 0
    whole = found["rejection.s.50"].estimate.error
    monkeypatch.setattr(paired, "BOOTSTRAP_ROWS", 1000)
    part = differences(a, b, "classification", ("s", "b"))["rejection.s.50"].estimate
    assert part.error == pytest.approx(whole, rel=0.4) and part.value == found["rejection.s.50"].estimate.value


def test_a_regression_differs_by_pairs():
    rng = np.random.default_rng(4)
    true, common = rng.normal(0, 5, (2, 3000))
    noise = rng.normal(0, 0.2, (2, 3000))
    rows = [Scored((true + common / 5 + n)[:, None], true[:, None], np.ones(3000), np.ones(3000)) for n in noise]
    rows[1].scores[:] += 0.05
    rows[0].truth[:5] = rows[1].truth[:5] = np.nan
    found = differences(*rows, "regression", ("z",))
    assert list(found) == ["bias.z", "rms.z", "resolution.z", "r2.z"]
    residuals = [(r.scores - r.truth)[5:, 0] for r in rows]
    change = residuals[1] - residuals[0]
    assert found["bias.z"].estimate.value == pytest.approx(change.mean())
    assert found["bias.z"].estimate.error == pytest.approx(change.std() / np.sqrt(2995), rel=0.15)
    assert found["bias.z"].p_value < 0.001 < found["resolution.z"].p_value


def test_absent_classes_and_few_rows_are_undefined():
    first, second, _, weight = scores(10, 5)
    for signal in (np.zeros(10, bool), np.ones(10, bool)):
        found = differences(*(as_rows(x, signal, weight) for x in (first, second)), "classification", ("s", "b"))
        assert "p undefined" in str(found["auc.s"]) and np.isnan(found["rejection.s.50"].p_value)
    none = as_rows(first[:0], signal[:0], weight[:0])
    assert np.isnan(differences(none, none, "classification", ("s", "b"))["auc.s"].p_value)


def test_rows_are_kept_and_of_many_the_same_subset(tmp_path, monkeypatch):
    first, _, signal, weight = scores(100, 6)
    rows = as_rows(first, signal, weight)
    save_rows(tmp_path / "all.npz", rows)
    assert np.array_equal(read_rows(tmp_path / "all.npz").scores, rows.scores)
    monkeypatch.setattr(paired, "MOST_ROWS", 40)
    save_rows(tmp_path / "some.npz", rows)
    assert len(read_rows(tmp_path / "some.npz")) == 40
    assert read_rows(tmp_path / "none.npz") is None
    (tmp_path / "broken.npz").write_bytes((tmp_path / "all.npz").read_bytes()[:200])
    with pytest.raises(DataError, match=r"broken\.npz: cannot be read"):
        read_rows(tmp_path / "broken.npz")
