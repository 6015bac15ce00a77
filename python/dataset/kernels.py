"""Compiled loops over jagged data: choose, order and pad constituents. Everything else is numpy."""

from __future__ import annotations

import numpy as np

from ..compiled import jit

_FEW = 64
"""So many constituents of a row are sorted one by one."""


@jit
def pad(values: np.ndarray, starts: np.ndarray, stops: np.ndarray, out: np.ndarray, valid: np.ndarray) -> bool:
    """Copy the first constituents of every row into a padded block; returns whether all of them are finite.

    ``values`` (F, total) f4; ``starts``, ``stops`` (N,) i8 bound each row's constituents; ``out`` (N, L, F) f4 and
    ``valid`` (N, L) bool are written whole, padding with 0.
    """
    rows, length, features = out.shape
    finite = True
    for r in range(rows):
        first = starts[r]
        count = min(stops[r] - first, length)
        for k in range(count):
            valid[r, k] = True
            for f in range(features):
                value = values[f, first + k]
                finite &= np.isfinite(value)
                out[r, k, f] = value
        for k in range(count, length):
            valid[r, k] = False
            for f in range(features):
                out[r, k, f] = 0
    return finite


@jit
def pad_rows(values: np.ndarray, starts: np.ndarray, counts: np.ndarray, out: np.ndarray, valid: np.ndarray) -> None:
    """Copy the constituents of every row, ``values`` (total, F) f4, into a padded block as :func:`pad` does."""
    for r in range(len(out)):
        valid[r, : counts[r]] = True
        valid[r, counts[r] :] = False
        out[r, : counts[r]] = values[starts[r] : starts[r] + counts[r]]
        out[r, counts[r] :] = 0


@jit
def pad_picked(values: np.ndarray, picks: np.ndarray, out: np.ndarray, valid: np.ndarray) -> bool:
    """Copy picked constituents, as :func:`pad`; ``picks`` (N, L) i8 holds positions in ``values``, -1 pads."""
    rows, length, features = out.shape
    finite = True
    for r in range(rows):
        for k in range(length):
            pick = picks[r, k]
            valid[r, k] = pick >= 0
            for f in range(features):
                value = values[f, pick] if pick >= 0 else np.float32(0)
                finite &= np.isfinite(value)
                out[r, k, f] = value
    return finite


@jit
def choose(starts: np.ndarray, stops: np.ndarray, keep: np.ndarray, length: int) -> np.ndarray:
    """Pick the first ``length`` constituents of every row that are kept; returns (N, length) i8, -1 beyond them."""
    picks = np.full((len(starts), length), -1, dtype=np.int64)
    for r in range(len(starts)):
        count = 0
        for i in range(starts[r], stops[r]):
            if keep[i]:
                picks[r, count] = i
                count += 1
                if count == length:
                    break
    return picks


@jit
def choose_sorted(starts: np.ndarray, stops: np.ndarray, keep: np.ndarray, key: np.ndarray, length: int) -> np.ndarray:
    """Pick the ``length`` kept constituents of every row with the smallest key, in ascending order.

    Ties keep their order and NaN comes last, as in a stable sort. Returns (N, length) i8, -1 beyond them.
    """
    picks = np.full((len(starts), length), -1, dtype=np.int64)
    for r in range(len(starts)):
        if min(length, stops[r] - starts[r]) > _FEW:
            kept = starts[r] + np.flatnonzero(keep[starts[r] : stops[r]])
            ordered = kept[np.argsort(key[kept], kind="mergesort")[:length]]
            picks[r, : len(ordered)] = ordered
        else:
            _insert(starts[r], stops[r], keep, key, picks[r])
    return picks


@jit
def _insert(start: int, stop: int, keep: np.ndarray, key: np.ndarray, picks: np.ndarray) -> None:
    """Sort few constituents into ``picks`` (L,) one by one, which needs no memory."""
    length, count = len(picks), 0
    for i in range(start, stop):
        if not keep[i]:
            continue
        position = count
        while position > 0 and (
            key[i] < key[picks[position - 1]] or (np.isnan(key[picks[position - 1]]) and not np.isnan(key[i]))
        ):
            position -= 1
        if position == length:
            continue
        count = min(count + 1, length)
        for k in range(count - 1, position, -1):
            picks[k] = picks[k - 1]
        picks[position] = i


@jit
def match_pairs(offsets: np.ndarray, rows: np.ndarray, events: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List all pairs of a row and a constituent of the same event.

    ``rows`` (N,) are positions of the chosen rows, ``events`` (N,) their events, ``offsets`` those of the constituents.
    Returns pair offsets (N + 1,), and row and constituent of every pair (P,), all i8.
    """
    pair_offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    for r in range(len(rows)):
        pair_offsets[r + 1] = pair_offsets[r] + offsets[events[r] + 1] - offsets[events[r]]
    pair_rows = np.empty(pair_offsets[-1], dtype=np.int64)
    items = np.empty(pair_offsets[-1], dtype=np.int64)
    for r in range(len(rows)):
        first = offsets[events[r]]
        for p in range(pair_offsets[r], pair_offsets[r + 1]):
            pair_rows[p] = rows[r]
            items[p] = first + p - pair_offsets[r]
    return pair_offsets, pair_rows, items


@jit
def _attach(row_offsets: np.ndarray, offsets: np.ndarray, index: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return for every constituent the place of its row among the chosen ones; -1 where it has none."""
    owner = np.full(len(index), -1, dtype=np.int64)
    for e in range(len(offsets) - 1):
        count = row_offsets[e + 1] - row_offsets[e]
        for i in range(offsets[e], offsets[e + 1]):
            if 0 <= index[i] < count:
                owner[i] = place[row_offsets[e] + index[i]]
    return owner


@jit
def index_pairs(
    row_offsets: np.ndarray, offsets: np.ndarray, index: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attach constituents to the rows that their index branch names; an index out of range attaches to none.

    ``row_offsets`` and ``offsets`` bound the events' objects and constituents, ``index`` (total,) i8 is the position of
    the object within the event, ``rows`` (N,) are the chosen objects. Returns as :func:`match_pairs` does; constituents
    keep their order.
    """
    indices = np.full(row_offsets[-1], -1, dtype=np.int64)
    for r in range(len(rows)):
        indices[rows[r]] = r
    owner = _attach(row_offsets, offsets, index, indices)
    attached = np.flatnonzero(owner >= 0)
    pair_offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    for i in attached:
        pair_offsets[owner[i] + 1] += 1
    pair_offsets = np.cumsum(pair_offsets)
    fill = pair_offsets.copy()
    pair_rows = np.empty(len(attached), dtype=np.int64)
    items = np.empty(len(attached), dtype=np.int64)
    for i in attached:
        p = fill[owner[i]]
        fill[owner[i]] += 1
        pair_rows[p] = rows[owner[i]]
        items[p] = i
    return pair_offsets, pair_rows, items


@jit
def _sums(
    values: np.ndarray, valid: np.ndarray, fold: np.ndarray, shift: np.ndarray, folds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sum up the deviations of valid entries from ``shift`` (folds, F), and their squares, as if all were finite.

    Valid entries come first in every row, so that the inner loop runs over adjacent numbers, which the compiler turns
    into vector instructions. Returns counts (folds, L) and sums (folds, 2, L, F).
    """
    rows, length, features = values.shape
    counts = np.zeros((folds, length))
    sums = np.zeros((folds, 2, length * features))
    center = np.empty((folds, length * features))
    for j in range(length * features):
        center[:, j] = shift[:, j % features]
    for r in range(rows):
        entries = 0
        while entries < length and valid[r, entries]:
            counts[fold[r], entries] += 1
            entries += 1
        row, middle = values[r].reshape(length * features), center[fold[r]]
        first, second = sums[fold[r], 0], sums[fold[r], 1]
        for j in range(entries * features):
            deviation = np.float64(row[j]) - middle[j]
            first[j] += deviation
            second[j] += deviation * deviation
    return counts, sums.reshape((folds, 2, length, features))


@jit
def _finite_sums(
    values: np.ndarray, valid: np.ndarray, fold: np.ndarray, shift: np.ndarray, folds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Do what :func:`_sums` does, leaving NaN and infinities out; counts are (folds, F), sums (folds, 2, F)."""
    rows, length, features = values.shape
    counts, sums = np.zeros((folds, features)), np.zeros((folds, 2, features))
    for r in range(rows):
        for k in range(length):
            for f in range(features):
                deviation = np.float64(values[r, k, f]) - shift[fold[r], f]
                if valid[r, k] and np.isfinite(deviation):
                    counts[fold[r], f] += 1
                    sums[fold[r], 0, f] += deviation
                    sums[fold[r], 1, f] += deviation * deviation
    return counts, sums


def moments(values: np.ndarray, valid: np.ndarray, fold: np.ndarray, folds: int) -> np.ndarray:
    """Accumulate count, mean and sum of squared deviations of valid, finite entries, per fold and feature.

    ``values`` (N, L, F) f4, ``valid`` (N, L) bool with the valid ones first, ``fold`` (N,) u1. Returns
    (folds, 3, F) f8. Sums are taken relative to an entry, which keeps their precision where the mean is large beside
    the spread.
    """
    shift = _entries(values, valid, fold, folds)
    counts, sums = _sums(values, valid, fold, shift, folds)
    if np.isfinite(sums).all():
        count, sums = np.repeat(counts.sum(axis=1, keepdims=True), values.shape[2], axis=1), sums.sum(axis=2)
    else:
        count, sums = _finite_sums(values, valid, fold, shift, folds)
    total, squares = sums[:, 0], sums[:, 1]
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    spread = np.maximum(0, squares - total * mean)
    return np.stack([count, np.where(count > 0, shift + mean, 0), np.where(count > 0, spread, 0)], axis=1)


@jit
def _entries(values: np.ndarray, valid: np.ndarray, fold: np.ndarray, folds: int) -> np.ndarray:
    """Return the first valid, finite entry of every fold and feature, (folds, F) f8; 0 where there is none."""
    rows, length, features = values.shape
    entries, missing = np.full((folds, features), np.nan), folds * features
    for r in range(rows):
        for k in range(length):
            for f in range(features):
                if valid[r, k] and np.isnan(entries[fold[r], f]) and np.isfinite(values[r, k, f]):
                    entries[fold[r], f] = values[r, k, f]
                    missing -= 1
        if missing == 0:
            break
    return np.where(np.isnan(entries), 0.0, entries)


@jit
def first_bad(values: np.ndarray) -> tuple[int, int]:
    """Return row and feature of the first entry of (N, L, F) that is NaN or infinite; (-1, -1) when there is none."""
    rows, length, features = values.shape
    for r in range(rows):
        for k in range(length):
            for f in range(features):
                if not np.isfinite(values[r, k, f]):
                    return r, f
    return -1, -1
