"""The bins that are chosen for values."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from nanoforge.distributions.axis import Range, automatic_range


def test_bins_are_chosen_for_the_values() -> None:
    rng = np.random.default_rng(1)
    assert automatic_range(np.array([3, 5, 4, 4])) == Range(3, 2.5, 5.5)
    assert automatic_range(np.array([True, False])) == Range(2, -0.5, 1.5)
    pt = automatic_range(rng.exponential(40, 10_000))
    assert pt.low == 0 and 200 < pt.high < 400 and 25 <= pt.bins <= 60
    eta = automatic_range(rng.normal(0, 1, 10_000))
    assert -4 < eta.low < -2.5 and 2.5 < eta.high < 4 and 25 <= eta.bins <= 60
    mass = automatic_range(np.append(rng.normal(91, 3, 10_000), [np.nan, np.inf, 1e9]))
    assert 75 < mass.low < 85 and 97 < mass.high < 107
    assert automatic_range(np.full(5, 7.0)) == Range(1, 6.5, 7.5)
    assert automatic_range(np.zeros(0)) == automatic_range(np.array([np.nan])) == Range(1, 0, 1)
    assert automatic_range(np.array([0, 2**40])).bins <= 60


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_most_values_lie_within_chosen_bins(values: list[float]) -> None:
    array = np.array(values, np.float32)
    chosen, finite = automatic_range(array), array[np.isfinite(array)]
    assert 1 <= chosen.bins <= 100
    if len(finite):
        outside = ((finite < chosen.low) | (finite > chosen.high)).sum()
        assert outside <= 2
