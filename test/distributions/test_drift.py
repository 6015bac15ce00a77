"""Drift: flat p values without any, found with little, exact with weights of both signs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nanoforge.dataset.info import InputInfo
from nanoforge.distributions.counts import BinCounts, Binning
from nanoforge.distributions.drift import ALARM, FEW, OK, WARNING, Drift, Thresholds, drift
from nanoforge.distributions.reference import Distribution, Reference, count_reference
from nanoforge.distributions.variable import FEATURE, RowValues, Variable, variables
from scipy.stats import kstest

X = Variable(FEATURE, "event", "x")
LIMITS = Thresholds()


def reference_of(values: np.ndarray, weight: np.ndarray | None = None) -> Distribution:
    values = values.astype("f4")
    weight = np.ones(len(values)) if weight is None else weight
    binning = Binning.of(values, weight)
    binning = Binning(binning.edges, float(values.min()), float(values.max()), binning.drawn, binning.special)
    return Distribution(X, binning, counted(binning, values, weight))


def counted(binning: Binning, values: np.ndarray, weight: np.ndarray | None = None) -> BinCounts:
    counts = BinCounts.zero(binning)
    counts.add(binning, values.astype("f4"), np.ones(len(values)) if weight is None else weight)
    return counts


def compared(reference: Distribution, values: np.ndarray, weight: np.ndarray | None = None) -> Drift:
    return drift(reference, counted(reference.binning, values, weight), LIMITS)


def test_p_values_are_flat_without_drift() -> None:
    rng = np.random.default_rng(1)
    chi2, ks = [], []
    for _ in range(250):
        result = compared(reference_of(rng.normal(size=5000)), rng.normal(size=3000))
        assert result.state == OK
        for values, value in zip((chi2, ks), result.p_values()):
            values.append(value)
    assert kstest(chi2, "uniform").pvalue > 0.01
    assert kstest(ks, "uniform").pvalue > 0.01


def test_p_values_of_weights_of_both_signs_are_flat() -> None:
    rng = np.random.default_rng(2)
    p_values = []
    for _ in range(250):
        values, weight = rng.normal(size=(2, 6000)), rng.choice([-1.0, 2.0], (2, 6000), p=[0.2, 0.8])
        p_values.append(compared(reference_of(values[0], weight[0]), values[1], weight[1]).p_values()[0])
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_a_shift_of_a_tenth_of_sigma_is_seen_and_is_small() -> None:
    rng = np.random.default_rng(3)
    reference = reference_of(rng.normal(size=20_000))
    results = [compared(reference, rng.normal(0.1, 1, 5000)) for _ in range(20)]
    chi2, ks = np.transpose([r.p_values() for r in results])
    assert np.mean(ks < 0.01) > 0.9 and np.mean(chi2 < 0.01) > 0.5
    assert all(r.state == OK and r.psi < 0.05 for r in results)


@pytest.mark.parametrize(("shift", "state"), [(0.0, OK), (0.35, WARNING), (0.8, ALARM)])
def test_the_size_of_an_effect_decides(shift: float, state: str) -> None:
    rng = np.random.default_rng(4)
    reference = reference_of(rng.normal(size=50_000))
    result = compared(reference, rng.normal(shift, 1, 50_000))
    assert result.state == state
    assert result.psi == pytest.approx(shift**2, rel=0.2, abs=0.005)  # of normal distributions: δ²


def test_negative_weights_cancel_exactly() -> None:
    """Events and counter-events at any other value change nothing but the errors."""
    rng = np.random.default_rng(5)
    values, more = rng.normal(size=20_000), rng.normal(3, 0.1, 5000)
    reference = reference_of(values)
    plain = compared(reference, values)
    both = np.concatenate([values, more, more])
    weight = np.concatenate([np.ones(len(values)), np.ones(len(more)), -np.ones(len(more))])
    cancelled = compared(reference, both, weight)
    assert cancelled.psi == pytest.approx(0, abs=1e-9) and plain.psi == pytest.approx(0, abs=1e-9)
    assert cancelled.ks == pytest.approx(plain.ks, abs=1e-9)
    assert cancelled.effective < plain.effective


def test_what_the_index_does_not_see_is_seen_in_its_share() -> None:
    rng = np.random.default_rng(6)
    reference = reference_of(rng.exponential(50, 100_000))
    values = rng.exponential(50, 100_000)
    values[:200] = -999
    result = compared(reference, values)
    assert result.psi < 0.01 and result.ks < 0.01
    assert result.state == WARNING
    assert {s.name for s in result.shares if s.state != OK} == {"below", "-999"}
    values[200:400], values[400:2000] = 1e9, np.nan
    result = compared(reference, values)
    assert result.state == ALARM
    assert {s.name: s.state for s in result.shares if s.state != OK} == {
        "below": WARNING, "-999": WARNING, "above": WARNING, "NaN": ALARM,
    }  # fmt: skip
    assert any("-999: 0.2 %" in reason for reason in result.reasons)


def test_few_events_are_not_judged_and_some_are_with_care() -> None:
    rng = np.random.default_rng(7)
    reference = reference_of(rng.normal(size=20_000))
    assert compared(reference, rng.normal(size=50)).state == FEW
    assert compared(reference, np.empty(0)).state == FEW
    states = [compared(reference, rng.normal(size=150)).state for _ in range(200)]
    assert np.mean([s != OK for s in states]) < 0.02
    assert compared(reference, rng.normal(2, 1, 150)).state == ALARM


@pytest.mark.parametrize("values", [[0, 0, 0, 0], [1, 2, 3], [0.0] * 500 + [1.0] * 300 + [7.0] * 200])
def test_values_that_repeat_have_their_own_bins(values: list[float]) -> None:
    column = np.resize(np.array(values), 2000)
    reference = reference_of(column)
    distinct = len(set(values))
    assert reference.counts.bins.shape[1] == distinct
    np.testing.assert_array_equal(reference.counts.bins[0], np.unique(column, return_counts=True)[1])
    assert compared(reference, column).state == OK


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(width=32) | st.sampled_from([0.0, -1.0, -999.0, 5.0]), max_size=60),
    cut=st.integers(0, 60),
    weights=st.lists(st.sampled_from([-2.0, 1.0, 0.5]), min_size=60, max_size=60),
)
def test_counts_add_up_and_survive_json(values: list[float], cut: int, weights: list[float]) -> None:
    column, weight = np.array(values, "f4"), np.array(weights[: len(values)])
    binning = Binning.of(column, weight)
    whole, first, second = (BinCounts.zero(binning) for _ in range(3))
    whole.add(binning, column, weight)
    first.add(binning, column[:cut], weight[:cut])
    second.add(binning, column[cut:], weight[cut:])
    first.merge(second)
    again = BinCounts.from_dict(first.as_dict())
    finite = np.isfinite(column)
    for counts in (whole, first, again):
        assert counts.values == len(column)
        assert counts.bins[0].sum() == pytest.approx(weight[finite].sum())
        assert counts.drawn[0, 0].sum() == pytest.approx(weight[finite].sum())
        assert counts.shares[0, 2] == pytest.approx(weight[~finite].sum())
        for number, special in enumerate(binning.special):
            assert counts.shares[0, 3 + number] == pytest.approx(weight[column == np.float32(special)].sum())
    assert Binning.from_dict(binning.as_dict()).same_as(binning)


def rows_of(rng: np.random.Generator, number: int) -> RowValues:
    mask = np.arange(3) < rng.integers(0, 4, (number, 1))
    tensors = {
        "event": rng.normal(size=(number, 2)).astype("f4"),
        "jets": np.where(mask[:, :, None], rng.exponential(30, (number, 3, 1)), 0).astype("f4"),
        "jets_mask": mask,
    }
    return RowValues(tensors, rng.random((number, 2)).astype("f4"), rng.choice([-1.0, 2.0], number), mask[:, 0] * 1)


def test_a_reference_counts_features_lengths_and_scores_of_each_class(tmp_path: Any) -> None:
    rng = np.random.default_rng(8)
    parts = [rows_of(rng, 500) for _ in range(4)]
    inputs = {"event": InputInfo(("a", "b")), "jets": InputInfo(("pt",), 3)}
    counted = count_reference(iter(parts), inputs, ("s", "b"), 2, {"jets": -7.0})
    assert [v.label for v in variables(inputs, ("s", "b"))] == [
        "event.a", "event.b", "jets.pt", "num(jets)", "score s", "score b",
    ]  # fmt: skip
    reference = Reference(counted, {"s": (1000, 900.0), "b": (1000, 400.0)}, 0.5)
    reference.write(tmp_path / "reference.json")
    again = Reference.read(tmp_path / "reference.json")
    assert again.distributions.same_bins(counted) and again.distributions.rows == 2000
    weight = np.concatenate([p.weight for p in parts])
    label = np.concatenate([p.label for p in parts if p.label is not None])
    mask = np.concatenate([p.tensors["jets_mask"] for p in parts])
    pt = np.concatenate([p.tensors["jets"] for p in parts])[..., 0]
    one = again.distributions[Variable(FEATURE, "jets", "pt")]
    assert (one.binning.low, one.binning.high) == (pt[mask].min(), pt[mask].max())
    assert -7 in one.binning.special
    for number in range(2):
        chosen = mask & (label == number)[:, None]
        expected = np.broadcast_to(weight[:, None], mask.shape)[chosen].sum()
        assert one.counts.drawn[number, 0].sum() == pytest.approx(expected)
    lengths = again.distributions[Variable("length", "jets", "")].counts
    np.testing.assert_allclose(lengths.bins[0], np.bincount(mask.sum(axis=1), weight, 4))
    expected = [900 / weight[label == 0].sum() / 0.5, 400 / weight[label == 1].sum() / 0.5]
    np.testing.assert_allclose(again.factors, expected)
    assert counted.empty().same_bins(counted) and counted.empty().rows == 0


def test_folds_add_up_in_the_bins_of_the_first() -> None:
    rng = np.random.default_rng(9)
    inputs = {"event": InputInfo(("a", "b")), "jets": InputInfo(("pt",), 3)}
    first = count_reference(iter([rows_of(rng, 300)]), inputs, ("s", "b"), 2, {})
    second = count_reference(iter([rows_of(rng, 300)]), inputs, ("s", "b"), 2, {}, first)
    assert second.same_bins(first)
    classes = {"s": (300, 1.0), "b": (300, 2.0)}
    ranges = [(one.binning.low, second[one.variable].binning.low) for one in first]
    both = Reference.of_folds([Reference(first, dict(classes), 0.4), Reference(second, dict(classes), 0.4)])
    assert both.share == 0.8 and both.classes["b"] == (600, 4.0) and both.distributions.rows == 600
    assert [one.binning.low for one in both.distributions] == [min(pair) for pair in ranges]
