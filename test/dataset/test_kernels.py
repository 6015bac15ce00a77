"""The compiled loops equal slow ones in plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nanoforge.dataset import kernels

KEYS = st.sampled_from([float("nan"), -1.0, 0.0, -0.0, 1.0, 2.0, float("inf"), float("-inf")])
few = settings(max_examples=60, deadline=None)


def offsets_of(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@st.composite
def jagged(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Offsets of lists, and a random seed."""
    return offsets_of(draw(st.lists(st.integers(0, 6), max_size=8))), draw(st.integers(0, 2**32))


@few
@given(data=jagged(), length=st.integers(1, 8), features=st.integers(1, 3), reorder=st.booleans())
def test_pad(data: tuple[np.ndarray, int], length: int, features: int, reorder: bool) -> None:
    offsets, seed = data
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(features, offsets[-1])).astype("f4")
    values[rng.random(values.shape) < rng.choice([0, 0.05])] = rng.choice([np.nan, np.inf, -np.inf])
    starts, stops = offsets[:-1], offsets[1:]
    if reorder:  # rows come in any order, and not all of them
        order = rng.permutation(len(starts))[: len(starts) // 2 + 1]
        starts, stops = starts[order], stops[order]
    out = np.full((len(starts), length, features), 99, "f4")
    valid = np.ones((len(starts), length), bool)
    assert kernels.pad(values, starts, stops, out, valid) == np.isfinite(out).all()
    for r, (start, stop) in enumerate(zip(starts, stops)):
        chosen = values[:, start:stop].T[:length].tolist()
        np.testing.assert_array_equal(out[r], chosen + [[0.0] * features] * (length - len(chosen)))
        assert valid[r].tolist() == [True] * len(chosen) + [False] * (length - len(chosen))


@few
@given(data=jagged(), length=st.integers(1, 8), features=st.integers(1, 3))
def test_pad_picked(data: tuple[np.ndarray, int], length: int, features: int) -> None:
    offsets, seed = data
    rng = np.random.default_rng(seed)
    total = int(offsets[-1])
    values = rng.normal(size=(features, total)).astype("f4")
    values[rng.random(values.shape) < rng.choice([0, 0.05])] = rng.choice([np.nan, np.inf, -np.inf])
    picks = rng.integers(-1, max(total, 1), (5, length)) if total else np.full((5, length), -1)
    out, valid = np.full((5, length, features), 99, "f4"), np.ones((5, length), bool)
    assert kernels.pad_picked(values, picks, out, valid) == np.isfinite(out).all()
    for r in range(5):
        for k, pick in enumerate(picks[r].tolist()):
            assert valid[r, k] == (pick >= 0)
            np.testing.assert_array_equal(out[r, k], values[:, pick] if pick >= 0 else [0.0] * features)


def padded(picks: list[int], length: int) -> list[int]:
    return picks[:length] + [-1] * (length - len(picks))


@few
@given(data=jagged(), length=st.integers(1, 8), share=st.sampled_from([0.0, 0.5, 1.0]))
def test_choose(data: tuple[np.ndarray, int], length: int, share: float) -> None:
    offsets, seed = data
    keep = np.random.default_rng(seed).random(offsets[-1]) < share
    found = kernels.choose(offsets[:-1], offsets[1:], keep, length)
    assert found.shape == (len(offsets) - 1, length)
    for r in range(len(offsets) - 1):
        assert found[r].tolist() == padded([i for i in range(offsets[r], offsets[r + 1]) if keep[i]], length)


@few
@given(rows=st.lists(st.lists(st.tuples(KEYS, st.booleans()), max_size=9), max_size=6), length=st.integers(1, 10))
def test_choose_sorted_is_a_stable_sort_with_nan_last(rows: list[list[tuple[float, bool]]], length: int) -> None:
    offsets = offsets_of([len(row) for row in rows])
    key = np.array([k for row in rows for k, _ in row], dtype=np.float64)
    keep = np.array([k for row in rows for _, k in row], dtype=bool)
    found = kernels.choose_sorted(offsets[:-1], offsets[1:], keep, key, length)
    for r in range(len(rows)):
        kept = [i for i in range(offsets[r], offsets[r + 1]) if keep[i]]
        ranked = sorted(kept, key=lambda i: (math.isnan(key[i]), 0 if math.isnan(key[i]) else key[i]))
        assert found[r].tolist() == padded(ranked, length)


def test_many_constituents_are_sorted_alike() -> None:
    """Few are sorted one by one, many by a merge sort."""
    rng = np.random.default_rng(1)
    key, keep = np.round(rng.normal(size=600), 1), rng.random(600) < 0.8
    key[rng.random(600) < 0.05] = np.nan
    starts = np.array([0, 300, 330])
    found = kernels.choose_sorted(starts, starts + np.array([300, 30, 270]), keep, key, 280)
    for picks, start, count in zip(found, starts, (300, 30, 270)):
        kept = start + np.flatnonzero(keep[start : start + count])
        assert picks.tolist() == padded(kept[np.argsort(key[kept], kind="stable")].tolist(), 280)


def rows_of(offsets: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Choose some objects in any order: their positions and events."""
    rows = rng.permutation(int(offsets[-1]))[: int(offsets[-1]) // 2 + 1]
    return rows, np.searchsorted(offsets, rows, side="right") - 1


def grouped(result: Any) -> list[list[tuple[int, int]]]:
    pair_offsets, owners, items = result
    assert len(owners) == len(items) == pair_offsets[-1] and pair_offsets[0] == 0
    pairs = list(zip(owners.tolist(), items.tolist()))
    return [pairs[a:b] for a, b in zip(pair_offsets[:-1], pair_offsets[1:])]


@st.composite
def two_collections(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    lengths = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=6))
    return offsets_of([a for a, _ in lengths]), offsets_of([b for _, b in lengths]), draw(st.integers(0, 2**32))


@few
@given(data=two_collections())
def test_match_pairs(data: tuple[np.ndarray, np.ndarray, int]) -> None:
    row_offsets, offsets, seed = data
    rows, events = rows_of(row_offsets, np.random.default_rng(seed))
    found = grouped(kernels.match_pairs(offsets, rows, events))
    assert found == [[(r, i) for i in range(offsets[e], offsets[e + 1])] for r, e in zip(rows.tolist(), events)]


@few
@given(data=two_collections())
def test_index_pairs(data: tuple[np.ndarray, np.ndarray, int]) -> None:
    row_offsets, offsets, seed = data
    rng = np.random.default_rng(seed)
    rows, events = rows_of(row_offsets, rng)
    index = rng.choice([-(2**40), -2, -1, 0, 1, 2, 3, 4, 5, 2**40], int(offsets[-1]))
    found = grouped(kernels.index_pairs(row_offsets, offsets, index, rows))
    expected = []
    for r, e in zip(rows.tolist(), events):
        own = [i for i in range(offsets[e], offsets[e + 1]) if row_offsets[e] + index[i] == r]
        expected.append([(r, i) for i in own])
    assert found == expected


@few
@given(
    seed=st.integers(0, 2**32), rows=st.integers(0, 30), length=st.integers(1, 4), features=st.integers(1, 3),
    folds=st.integers(1, 4), offset=st.sampled_from([0.0, 1e6]), first=st.sampled_from([0.0, 1e9]),
)  # fmt: skip
def test_moments(seed: int, rows: int, length: int, features: int, folds: int, offset: float, first: float) -> None:
    rng = np.random.default_rng(seed)
    values = (offset + rng.normal(size=(rows, length, features))).astype("f4")
    values[:1] += np.float32(first)
    values[rng.random(values.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
    valid = np.arange(length) < rng.integers(0, length + 1, (rows, 1))
    fold = rng.integers(0, folds, rows).astype("u1")
    found = kernels.moments(values, valid, fold, folds)
    assert found.shape == (folds, 3, features) and found.dtype == np.float64
    for i in range(folds):
        for f in range(features):
            entries = values[fold == i][valid[fold == i]][:, f].astype("f8")
            entries = entries[np.isfinite(entries)]
            count, mean, squares = found[i, :, f]
            assert count == len(entries)
            if len(entries):
                assert mean == pytest.approx(entries.mean(), rel=1e-13, abs=1e-13)
                assert squares == pytest.approx(((entries - entries.mean()) ** 2).sum(), rel=1e-9, abs=1e-9)
            else:
                assert mean == squares == 0


@few
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 6), length=st.integers(1, 4), features=st.integers(1, 3))
def test_first_bad(seed: int, rows: int, length: int, features: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, length, features)).astype("f4")
    values[rng.random(values.shape) < rng.choice([0, 0.05, 0.5])] = rng.choice([np.nan, np.inf, -np.inf])
    bad = np.argwhere(~np.isfinite(values))
    assert kernels.first_bad(values) == ((bad[0][0], bad[0][2]) if len(bad) else (-1, -1))
