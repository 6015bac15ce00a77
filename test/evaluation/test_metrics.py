"""Figures of merit: against scikit-learn for positive weights, and against their definitions for any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nanoforge.evaluation import statistics as m
from nanoforge.evaluation.importance import Importance
from nanoforge.evaluation.results import Fold, Results
from nanoforge.evaluation.scored import Scored
from scipy import stats
from sklearn import metrics as sk


def toy(seed, rows=300, levels=20, negative=False):
    """Scores with many ties, of two classes that overlap."""
    rng = np.random.default_rng(seed)
    signal = rng.random(rows) < 0.4
    score = np.clip(rng.normal(np.where(signal, 0.6, 0.4), 0.2), 0, 1).round(2 if levels > 20 else 1)
    weight = rng.uniform(0.1, 3, rows) * (rng.choice([1, 1, 1, -1], rows) if negative else 1)
    return score, signal, weight


def pairwise_auc(score, signal, weight):
    s, b = score[signal][:, None], score[~signal][None, :]
    pairs = weight[signal][:, None] * weight[~signal][None, :]
    return np.sum(pairs * ((s > b) + 0.5 * (s == b))) / np.sum(pairs)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5, 5), st.booleans(), st.floats(0.01, 100)), min_size=2, max_size=60).filter(
        lambda rows: len({signal for _, signal, _ in rows}) == 2
    )
)
def test_auc_and_average_precision_are_scikit_learns_for_positive_weights(rows):
    score, signal, weight = (np.array(column) for column in zip(*rows))
    assert m.auc(score, signal, weight).value == pytest.approx(sk.roc_auc_score(signal, score, sample_weight=weight))
    expected = sk.average_precision_score(signal, score, sample_weight=weight)
    assert m.average_precision(score, signal, weight).value == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_auc_with_negative_weights_is_the_pairwise_sum(seed):
    score, signal, weight = toy(seed, negative=True)
    assert m.auc(score, signal, weight).value == pytest.approx(pairwise_auc(score, signal, weight))
    curve = m.roc_curve(score, signal, weight)
    assert np.trapezoid(curve.signal, curve.background) == pytest.approx(pairwise_auc(score, signal, weight))


def test_negative_weights_cancel_the_rows_that_they_subtract():
    score, signal, weight = toy(1)
    extra_score, extra_signal, extra_weight = toy(2)
    there_and_back = [(extra_score, extra_signal, sign * extra_weight) for sign in (1, -1)]
    joined = [np.concatenate(columns) for columns in zip((score, signal, weight), *there_and_back)]
    for figure in (m.auc, m.average_precision, m.calibration_error):
        assert np.allclose(np.ravel(figure(*joined))[0], np.ravel(figure(score, signal, weight))[0])
    assert m.kolmogorov_smirnov(joined[0], joined[2], score, weight)[0] == pytest.approx(0, abs=1e-12)


def test_roc_curve_is_scikit_learns():
    score, signal, weight = toy(3)
    background, efficiency, _ = sk.roc_curve(signal, score, sample_weight=weight, drop_intermediate=False)
    curve = m.roc_curve(score, signal, weight)
    assert np.allclose(curve.signal, efficiency) and np.allclose(curve.background, background)


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
def test_two_gaussians(distance):
    rng = np.random.default_rng(4)
    signal = np.arange(40000) < 20000
    score = rng.normal(np.where(signal, distance, 0.0))
    found = m.auc(score, signal, np.ones(len(score)))
    assert found.value == pytest.approx(stats.norm.cdf(distance / np.sqrt(2)), abs=4 * found.error)
    curve = m.roc_curve(score, signal, np.ones(len(score)))
    for efficiency in (0.3, 0.5, 0.8):
        expected = 1 / stats.norm.sf(distance - stats.norm.ppf(efficiency))
        rejection = m.rejection(curve, efficiency)
        assert rejection.value == pytest.approx(expected, abs=4 * rejection.error + 0.02 * expected)


def figures_of(score, signal, weight):
    """All figures of merit that have an error; the residuals have long tails."""
    scores, label, curve = (
        np.stack([score, 1 - score], axis=1),
        (~signal).astype(int),
        m.roc_curve(score, signal, weight),
    )
    residual = np.sinh(4 * score - 2 - signal)
    found = {"auc": m.auc(score, signal, weight)}
    found |= {f"rejection {efficiency}": m.rejection(curve, efficiency) for efficiency in (0.5, 0.8)}
    for figure in (m.accuracy, m.log_loss, m.brier):
        found[figure.__name__] = figure(scores, label, weight)
    return found | {figure.__name__: figure(residual, weight) for figure in (m.average, m.rms, m.resolution)}


def sample(seed, signal, background, weights):
    rng = np.random.default_rng(seed)
    is_signal = np.arange(signal + background) < signal
    score = 1 / (1 + np.exp(-rng.normal(np.where(is_signal, 0.7, -0.7))))
    return score, is_signal, rng.choice(weights, len(score)) * (0.5 + score)


@pytest.mark.parametrize(("signal", "background", "weights"), [(60, 1500, [1.0]), (1500, 1500, [1.0, 2.0, -0.5])])
def test_errors_are_the_spread_of_repetitions_and_a_bootstrap_of_the_rows(signal, background, weights):
    found = [figures_of(*sample(seed, signal, background, weights)) for seed in range(120)]
    one, rng = sample(0, signal, background, weights), np.random.default_rng(1)
    drawn = [
        figures_of(*(column[rows] for column in one)) for rows in rng.integers(len(one[0]), size=(120, len(one[0])))
    ]
    for name in found[0]:
        (values, errors), copies = np.array([f[name] for f in found]).T, np.array([f[name].value for f in drawn])
        assert np.median(errors) == pytest.approx(np.std(values), rel=0.3), name
        assert found[0][name].error == pytest.approx(np.std(copies), rel=0.5 if name[:3] in ("rej", "res") else 0.25), (
            name
        )


def test_rejection_fluctuates_with_a_small_signal():
    """Against infinitely much background the threshold alone moves: ±0.39, where the binomial error is ±0.02."""
    score, signal, weight = sample(3, 100, 100_000, [1.0])
    rejection = m.rejection(m.roc_curve(score, signal, weight), 0.7)
    rng, (s, b) = np.random.default_rng(2), (np.flatnonzero(signal), np.flatnonzero(~signal)[:20_000])
    copies = []
    for _ in range(40):
        rows = np.concatenate([rng.choice(s, len(s)), b])
        copies.append(m.rejection(m.roc_curve(score[rows], signal[rows], weight[rows]), 0.7).value)
    assert rejection.error == pytest.approx(np.std(copies), rel=0.4)


def test_a_single_row_has_no_error():
    score, signal, weight = sample(4, 1, 500, [1.0])
    found = figures_of(score, signal, weight)
    assert np.isfinite(found["auc"].value) and np.isnan(found["auc"].error)
    assert np.isfinite(found["rejection 0.5"].value) and np.isnan(found["rejection 0.5"].error)
    assert np.isnan([m.average(np.ones(1), np.ones(1)).error, m.resolution(np.ones(1), np.ones(1)).error]).all()
    assert np.isnan(m.reliability(np.array([0.1, 0.9, 0.9]), np.array([True, True, False]), np.ones(3)).error[0])


def test_constant_scores_separate_nothing():
    score, (_, signal, weight) = np.full(300, 0.5), toy(5)
    assert m.auc(score, signal, weight) == pytest.approx((0.5, 0.0))
    curve = m.roc_curve(score, signal, weight)
    assert len(curve.signal) == 2
    assert m.rejection(curve, 0.5).value == pytest.approx(2)


@pytest.mark.parametrize("present", [True, False])
def test_an_absent_class_is_undefined_not_an_error(present):
    score, weight = np.linspace(0, 1, 50), np.ones(50)
    signal = np.full(50, present)
    assert np.isnan(m.auc(score, signal, weight)).all()
    assert np.isnan(m.rejection(m.roc_curve(score, signal, weight), 0.5).value)
    scores = np.stack([score, 1 - score], axis=1)
    matrix = m.normalised(m.confusion((~signal).astype(int), scores.argmax(axis=1), weight, 2), 1)
    assert np.isnan(matrix[int(present)]).all() and np.isfinite(matrix[int(not present)]).all()
    assert all(np.isnan(m.kolmogorov_smirnov(score, weight, score[:0], weight[:0])))


def test_no_background_left_is_an_infinite_rejection():
    score, signal = np.array([0.9, 0.8, 0.1]), np.array([True, True, False])
    assert m.rejection(m.roc_curve(score, signal, np.ones(3)), 0.5).value == np.inf


def test_rejection_interpolates_between_points():
    score = np.array([3, 2, 2, 1, 1, 0.0])
    signal = np.array([True, True, False, True, False, False])
    curve = m.roc_curve(score, signal, np.ones(6))
    assert m.rejection(curve, 0.5).value == pytest.approx(6)  # halfway from (1/3, 0) to (2/3, 1/3)


@pytest.mark.parametrize("classes", [2, 4])
def test_classification_metrics_are_scikit_learns(classes):
    rng = np.random.default_rng(6)
    scores = rng.dirichlet(np.ones(classes), 500)
    label, weight = rng.integers(0, classes, 500), rng.uniform(0.1, 2, 500)
    predicted = scores.argmax(axis=1)
    matrix = m.confusion(label, predicted, weight, classes)
    assert np.allclose(matrix, sk.confusion_matrix(label, predicted, sample_weight=weight))
    for axis, how in ((1, "true"), (0, "pred")):
        expected = sk.confusion_matrix(label, predicted, sample_weight=weight, normalize=how)
        assert np.allclose(m.normalised(matrix, axis), expected)
    assert m.accuracy(scores, label, weight).value == pytest.approx(
        sk.accuracy_score(label, predicted, sample_weight=weight)
    )
    assert m.log_loss(scores, label, weight).value == pytest.approx(sk.log_loss(label, scores, sample_weight=weight))
    given_scores = scores[:, 1] if classes == 2 else scores
    assert m.brier(scores, label, weight).value == pytest.approx(
        sk.brier_score_loss(label, given_scores, sample_weight=weight)
    )


def test_log_loss_of_a_certain_mistake_is_finite():
    assert np.isfinite(m.log_loss(np.array([[0.0, 1.0]], np.float32), np.array([0]), np.ones(1)).value)


def test_calibrated_scores_are_found_calibrated():
    rng = np.random.default_rng(7)
    score, weight = rng.random(100_000), rng.choice([1.0, 3.0, -0.5], 100_000)
    signal = rng.random(100_000) < score
    curve = m.reliability(score, signal, weight)
    assert np.max(np.abs(curve.observed - curve.predicted) / curve.error) < 4
    assert m.calibration_error(score, signal, weight) < 0.02


def test_calibration_error_of_a_known_miscalibration():
    rng = np.random.default_rng(8)
    truth = rng.random(100_000)
    signal = rng.random(100_000) < truth
    assert m.calibration_error(truth / 2, signal, np.ones(100_000)) == pytest.approx(0.25, abs=0.01)
    assert m.calibration_error(np.ones(100_000), signal, np.ones(100_000)) == pytest.approx(0.5, abs=0.01)


def test_kolmogorov_smirnov_is_scipys_without_weights():
    rng = np.random.default_rng(9)
    a, b = rng.normal(size=3000).round(2), rng.normal(0.05, 1, 2000).round(2)
    distance, p_value = m.kolmogorov_smirnov(a, np.ones(3000), b, np.ones(2000))
    expected = stats.ks_2samp(a, b, method="asymp")
    assert distance == pytest.approx(expected.statistic)
    assert p_value == pytest.approx(expected.pvalue, abs=0.02)


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 5.0), (1.0, 1.0, 1.0, -1.0)])
def test_kolmogorov_smirnov_p_values_are_uniform_under_the_null(weights):
    rng = np.random.default_rng(10)
    p_values = []
    for _ in range(400):
        columns = [(rng.random(size), rng.choice(weights, size)) for size in (800, 500)]
        p_values.append(m.kolmogorov_smirnov(*columns[0], *columns[1])[1])
    assert stats.kstest(p_values, "uniform").pvalue > 0.005


def test_kolmogorov_smirnov_finds_a_shift():
    rng = np.random.default_rng(11)
    assert m.kolmogorov_smirnov(rng.random(2000), np.ones(2000), rng.random(2000) * 0.9, np.ones(2000))[1] < 1e-6


def test_quantiles_with_weights_repeat_rows():
    values, weight = np.array([5.0, 1.0, 3.0]), np.array([1.0, 2.0, 1.0])
    fractions = np.array([0.1, 0.5, 0.9])
    many = m.quantile(np.repeat(values, (1000, 2000, 1000)), np.ones(4000), fractions)
    assert np.allclose(many, [1, 2, 5], atol=1.01)  # a step function; the middle of it is between 1 and 3
    assert m.quantile(values, weight, np.array([0.25, 0.625, 0.875])) == pytest.approx([1, 3, 5])
    assert np.isnan(m.quantile(values, -weight, fractions)).all()


def test_regression_metrics_of_a_gaussian():
    rng = np.random.default_rng(12)
    true, weight = rng.uniform(50, 150, 50_000), rng.uniform(0.5, 1.5, 50_000)
    predicted = true + rng.normal(2, 10, 50_000)
    residual = predicted - true
    bias, resolution = m.average(residual, weight), m.resolution(residual, weight)
    assert bias.value == pytest.approx(2, abs=4 * bias.error)
    assert resolution.value == pytest.approx(10, abs=4 * resolution.error)
    assert m.rms(residual, weight).value == pytest.approx(np.sqrt(104), rel=0.02)
    assert m.r2(true, predicted, weight).value == pytest.approx(sk.r2_score(true, predicted, sample_weight=weight))


def test_bins_of_the_target_hold_equally_many_rows():
    true = np.random.default_rng(14).exponential(size=1000)
    edges = m.quantile_bins(true)
    assert len(edges) == 11
    assert np.all(np.bincount(m.in_bins(true, edges)) == 100)
    assert np.array_equal(m.in_bins(np.full(5, 2.0), m.quantile_bins(np.full(5, 2.0))), np.zeros(5))


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (m.Estimate(0.93391, 0.00213), "0.9339 ± 0.0021"),
        (m.Estimate(1234.5, 30.2), "1234 ± 30"),
        (m.Estimate(3.2e-9, 1.1e-10), "3.2e-09 ± 1.1e-10"),
        (m.Estimate(0.123456), "0.1235"),
        (m.Estimate(float("nan")), "undefined"),
        (m.Estimate(float("inf")), "infinite"),
    ],
)
def test_estimates_are_written_to_their_precision(estimate, text):
    assert str(estimate) == text


@pytest.mark.parametrize(("passed", "number"), [(0, 10), (3, 10), (10, 10), (70, 1000)])
def test_the_interval_of_an_efficiency_is_wilsons(passed, number):
    found = m.efficiency(np.arange(number) < passed, np.full(number, 2.5))
    low, high = stats.binomtest(passed, number).proportion_ci(0.6826894921, "wilson")
    if 0 < passed < number:  # errors of means have the factor n/(n - 1)
        number -= 1
        share, z = passed / (number + 1), 1
        middle, width = share + z / (2 * number), np.sqrt(share * (1 - share) / number + z / (4 * number**2))
        low, high = ((middle + sign * width) / (1 + z / number) for sign in (-1, 1))
    assert found == pytest.approx((found.value, low, high), abs=1e-9)


def test_the_interval_of_a_weighted_efficiency_covers_as_often_as_it_says():
    rng, covered, true = np.random.default_rng(5), 0, 0.08
    for _ in range(1000):
        weight = rng.choice([1.0, 1, 3, -0.3], 150)
        found = m.efficiency(rng.random(150) < true, weight)
        covered += found.low <= true <= found.high
    assert covered / 1000 == pytest.approx(0.683, abs=0.05)


def test_efficiencies_of_few_or_negative_rows():
    assert np.isnan(m.efficiency(np.zeros(0, bool), np.zeros(0))).all()
    alone = m.efficiency(np.array([True]), np.array([2.0]))
    assert alone.value == 1 and np.isnan([alone.low, alone.high]).all()
    beyond = m.efficiency(np.array([True, True, False, True]), np.array([1.0, 1, -0.5, 1]))
    assert beyond.value == pytest.approx(1.2) and beyond.high - beyond.value == pytest.approx(beyond.value - beyond.low)
    assert str(m.Interval(0.5, 0.49, 0.51)) == "0.500 \N{PLUS-MINUS SIGN} 0.010"
    assert str(m.Interval(0.0, 0.0, 0.1)) == "0.00 +0.10 \N{MINUS SIGN}0.00"


def test_pairs_of_classes_are_scikit_learns():
    rng = np.random.default_rng(2)
    label = rng.integers(0, 3, 900)
    scores = rng.dirichlet([1, 1, 1], 900) + 0.3 * np.eye(3)[label]
    weight = rng.uniform(0.5, 2, 900)
    scores[:5] = 0
    rows = Scored(scores, label, weight, weight)
    results = Results("classification", ("a", "b", "c"), [Fold(rows, rows, Importance.none(), [])], [])
    assert {(a, b) for a, of_a in results.pairwise_aucs.items() for b in of_a} == {("a", "b"), ("a", "c"), ("b", "c")}
    chosen = label != 1
    ratio = np.where(scores.sum(axis=1) > 0, scores[:, 0] / np.maximum(scores[:, 0] + scores[:, 2], 1e-300), 0.5)
    expected = sk.roc_auc_score(label[chosen] == 0, ratio[chosen], sample_weight=weight[chosen])
    assert results.pairwise_aucs["a"]["c"].value == pytest.approx(expected)
