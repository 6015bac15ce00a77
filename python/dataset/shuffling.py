"""The order of the rows in an epoch: a function of sizes, seed and epoch alone, never of who reads them.

The slabs of every sample form a stream, in random order. The streams are merged in proportion to their rows: of the
first n rows of an epoch, every sample has its share, to one row. Pools and the shares of several processes are
consecutive parts of this one sequence, so that each of them holds all samples in proportion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class SlabRange(NamedTuple):
    """Rows ``start`` to ``stop`` of a slab."""

    slab: int
    start: int
    stop: int


def share(total: int, rank: int, world: int, even: bool) -> tuple[int, int]:
    """Return the part of a sequence of rows that one of several processes gets.

    Parameters
    ----------
    total
        Number of rows.
    rank, world
        Number of the process, and how many there are.
    even
        Give all processes the same number of rows, and leave out the last ``total % world``; otherwise no row is left
        out, and the numbers differ by one at most.
    """
    if even:
        total -= total % world
    return total * rank // world, total * (rank + 1) // world


def shuffled(
    samples: Sequence[int], files: Sequence[int], open_files: int, rng: np.random.Generator
) -> list[list[int]]:
    """Permute the slabs of every sample.

    Parameters
    ----------
    samples, files
        The sample and the file of every slab.
    open_files
        Only so many files are read from at the same time: all slabs of the first ones, chosen at random, precede those
        of the next.

    Returns
    -------
    list of list of int
        The slabs of every sample, in order.
    """
    streams = []
    of_sample, of_file = np.asarray(samples, int), np.asarray(files, int)
    names = np.unique(of_sample)
    at_once = max(1, open_files // max(1, len(names)))
    for name in names:
        rows = np.flatnonzero(of_sample == name)
        order = rng.permutation(np.unique(of_file[rows]))
        rank = np.empty(of_file.max() + 1, int)
        rank[order] = np.arange(len(order)) // at_once
        rows = rng.permutation(rows)
        streams.append(rows[np.argsort(rank[of_file[rows]], kind="stable")].tolist())
    return streams


def merged(sizes: np.ndarray, position: int) -> np.ndarray:
    """Count the rows of every stream, (S,), among the first ``position`` rows of their proportional merge.

    Row i of a stream of n rows stands at (i + 1/2) / n; of equal places the earlier stream's comes first.
    """
    total = int(sizes.sum())
    counts = (sizes * position * 2 + total) // (2 * total) if total else np.zeros_like(sizes)
    steps = 2 * np.maximum(sizes, 1).astype(np.longdouble)
    while (excess := int(counts.sum()) - position) != 0:
        if excess > 0:
            last = np.where(counts > 0, (2 * counts - 1) / steps, -1)
            counts[len(sizes) - 1 - np.argmax(last[::-1])] -= 1
        else:
            following = np.where(counts < sizes, (2 * counts + 1) / steps, 2)
            counts[np.argmin(following)] += 1
    return counts


def pools(
    streams: Sequence[Sequence[int]], rows: Sequence[int], part: tuple[int, int], size: int
) -> Iterator[list[SlabRange]]:
    """Cut a part of the merged streams into pools of ``size`` rows; only the last may be smaller.

    Parameters
    ----------
    streams
        The slabs of every stream, in order.
    rows
        Number of rows of every slab.
    part
        First row and the one after the last, as from :func:`share`.
    size
        Rows of a pool.
    """
    edges = [np.concatenate([[0], np.cumsum([rows[slab] for slab in stream])]).astype(np.int64) for stream in streams]
    sizes = np.array([edge[-1] for edge in edges], dtype=np.int64)
    start, stop = part
    low = merged(sizes, start)
    for position in range(start, stop, size):
        high = merged(sizes, min(position + size, stop))
        yield [
            piece
            for stream, edge, first, last in zip(streams, edges, low.tolist(), high.tolist())
            for piece in _pieces(stream, edge, first, last)
        ]
        low = high


def _pieces(stream: Sequence[int], edges: np.ndarray, first: int, last: int) -> Iterator[SlabRange]:
    """Find the rows ``first`` to ``last`` of a stream in its slabs."""
    slab = int(np.searchsorted(edges, first, side="right")) - 1
    while first < last:
        low, high = int(edges[slab]), int(edges[slab + 1])
        end = min(last, high)
        if first < end:
            yield SlabRange(stream[slab], first - low, end - low)
        first, slab = end, slab + 1
