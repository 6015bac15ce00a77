"""Rows that are drawn: as often as they should be, as many as there were, whoever reads them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nanoforge.balance.resampling import Resampling


def drawn(slabs, total, seed, epoch):
    """Return how often each row of each slab, given as its wanted multiplicity, comes."""
    draw = Resampling(np.array([slab.sum() for slab in slabs]), lambda batch: batch, total, seed, epoch)
    rows = [draw.rows(number, slab) if len(slab) else [] for number, slab in enumerate(slabs)]
    assert [len(own) for own in rows] == draw.counts.tolist()
    return np.concatenate([np.bincount(own, minlength=len(slab)) for own, slab in zip(rows, slabs) if len(slab)])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.sampled_from([0, 1, 2, 30, 500]), min_size=1, max_size=8),
    zeros=st.sampled_from([0.0, 0.5]),
    total=st.sampled_from([1, 17, 1000]),
)
def test_each_row_comes_as_often_as_wanted_rounded_down_or_up(seed, sizes, zeros, total):
    rng = np.random.default_rng(seed)
    slabs = [rng.pareto(1.5, size) * (rng.random(size) >= zeros) for size in [*sizes, 3]]
    slabs[-1][0] += 1
    times = drawn(slabs, total, seed, 3)
    wanted = np.concatenate(slabs)
    wanted *= total / wanted.sum()
    assert times.sum() == total
    assert (np.abs(times - wanted) < 1 + 1e-6).all()
    assert (times[wanted == 0] == 0).all()


def test_over_many_epochs_the_mean_is_what_was_wanted():
    rng = np.random.default_rng(1)
    slabs = [rng.exponential(1.0, size) for size in (40, 1, 100)]
    epochs = 2000
    mean = np.mean([drawn(slabs, 70, 5, epoch) for epoch in range(epochs)], axis=0)
    wanted = np.concatenate(slabs)
    wanted *= 70 / wanted.sum()
    part = wanted % 1
    pulls = (mean - wanted) / np.sqrt(np.maximum(part * (1 - part), 1e-3) / epochs)
    assert np.abs(pulls).max() < 4.5  # 141 rows


def test_rows_are_drawn_independently_of_their_neighbours():
    """A comb on rows as they are stored would take every other one: these or those."""
    kinds = {tuple(drawn([np.ones(20)], 10, 1, epoch)) for epoch in range(50)}
    assert len(kinds) == 50


@pytest.mark.parametrize(("seed", "epoch"), [(1, 2), (2, 1)])
def test_seed_and_epoch_fix_what_is_drawn(seed, epoch):
    slabs = [np.random.default_rng(0).exponential(1.0, 300)]
    assert drawn(slabs, 300, seed, epoch).tolist() == drawn(slabs, 300, seed, epoch).tolist()
    assert drawn(slabs, 300, seed, epoch).tolist() != drawn(slabs, 300, 1, 1).tolist()
