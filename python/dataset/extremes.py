"""What lies at the edges of a feature: a value that repeats far from the rest may mean "not there".

Extremes are (8, F): the number of values, that of values which are no integers, then the smallest value, how often it
occurs, and the smallest but one; and these three of the negative values, which tell of the largest. They merge exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..compiled import jit

ROWS = 512
"""At least so many training rows of a block are looked at, evenly spread over it; all where there are fewer."""
FEWEST, SMALLEST_SHARE = 3, 0.002
"""What occurs less often is not worth a word."""
_CHOSEN = (99, 999, 9999, 99999, 999999)
_HUGE = 1e9


def look(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the extremes (8, F) of valid, finite entries of some rows: ``values`` (N, L, F), ``valid`` (N, L)."""
    step = max(1, len(values) // ROWS)
    return _extremes(values[::step], valid[::step])


@jit
def _extremes(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    rows, length, features = values.shape
    extremes = np.zeros((8, features))
    extremes[2], extremes[4], extremes[5], extremes[7] = np.inf, np.inf, np.inf, np.inf
    for r in range(rows):
        for k in range(length):
            if not valid[r, k]:
                continue
            for f in range(features):
                value = np.float64(values[r, k, f])
                if np.isfinite(value):
                    extremes[0, f] += 1
                    extremes[1, f] += value != np.floor(value)
                    if value < extremes[4, f]:
                        _book(extremes[2:5, f], value)
                    if -value < extremes[7, f]:
                        _book(extremes[5:8, f], -value)
    return extremes


@jit
def _book(edge: np.ndarray, value: float) -> None:
    """Book a value below the smallest but one at an edge: the smallest, how often it occurs, the smallest but one."""
    if value < edge[0]:
        edge[2], edge[0], edge[1] = edge[0], value, 1
    elif value == edge[0]:
        edge[1] += 1
    else:
        edge[2] = value


def merge(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Merge extremes (8, F)."""
    stack = np.stack(parts)
    return np.concatenate([stack[:, :2].sum(axis=0), _merge_edges(stack[:, 2:5]), _merge_edges(stack[:, 5:])])


def _merge_edges(edges: np.ndarray) -> np.ndarray:
    """Merge the smallest value, how often it occurs, and the smallest but one, (P, 3, F)."""
    smallest = edges[:, 0].min(axis=0)
    count = np.where(edges[:, 0] == smallest, edges[:, 1], 0).sum(axis=0)
    values = np.concatenate([edges[:, 0], edges[:, 2]])
    return np.stack([smallest, count, np.where(values > smallest, values, np.inf).min(axis=0)])


def sentinels(extremes: np.ndarray) -> list[list[tuple[float, float]]]:
    """Find for each of F features the values that repeat far from the rest, and the share of all values that they are.

    Such a value is the smallest or the largest, and its distance to the next one is as large as the range of the rest;
    a tenth of it is enough for numbers that people choose (99, 999, ..., or beyond 1e9). Of features that hold nothing
    but integers, which may be categories or counts, these alone are found.
    """
    values = []
    for column in extremes.T:
        (count, fractions), low, high = column[:2], column[2:5], column[5:]
        pairs = []
        for sign, (value, repeats, second), far in ((1, low, -high[0]), (-1, high, -low[0])):
            chosen = abs(value) in _CHOSEN or _HUGE < abs(value) < np.inf
            least = 0.1 if chosen else 1.0 if fractions else np.inf
            frequent = repeats >= max(FEWEST, SMALLEST_SHARE * count)
            if frequent and second < far and second - value >= least * (far - second):
                pairs.append((float(sign * value), float(repeats / count)))
        values.append(pairs)
    return values
