"""Pools: rows of many slabs, which threads read ahead, put together in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Union

import numpy as np
import torch
from torch import Tensor

from . import shuffling
from .batch import Batch
from .resources import release_memory, threaded
from .row_sampler import RowSampler
from .slabs import Read, Slab

TRIM_BYTES = 1 << 26


class _Repeated:
    """Rows of a slab that are drawn more often than there are rows."""

    def __init__(self, batch: Batch, rows: Tensor) -> None:
        self._batch = batch
        self._rows = rows

    def take(self, start: int, stop: int) -> Batch:
        return self._batch.select(self._rows[start:stop])


def _sampled(batch: Batch, slab: int, sampler: RowSampler | None) -> Batch | _Repeated:
    """Draw from the rows of a slab, and keep in memory whichever is smaller, what is stored or what is drawn."""
    if sampler is None:
        return batch
    rows = torch.from_numpy(sampler.rows(slab, batch))
    return batch.select(rows) if len(rows) < len(batch) else _Repeated(batch, rows)


_Rows = Union[Batch, _Repeated]


@dataclass(frozen=True)
class PoolReader:
    """Reads the rows of slabs in pools.

    Attributes
    ----------
    slabs
        All slabs.
    counts
        How many rows come from each, (S,).
    stored
        How many rows of the part each has, (S,).
    chosen
        The splits and folds of the rows, (3, K) bool.
    reading
        Opens what a pass needs.
    empty
        A batch without rows, which tells shapes and types.
    workers
        Number of threads that read ahead.
    open_files
        How many files may stay open while none of their rows is read.
    sampler
        Which rows come how often; None where each comes once.
    """

    slabs: Sequence[Slab]
    counts: np.ndarray
    stored: np.ndarray
    chosen: np.ndarray
    reading: Callable[[], AbstractContextManager[Read]]
    empty: Batch
    workers: int
    open_files: int
    sampler: RowSampler | None = None

    def pools(self, share: tuple[int, int], size: int, rng: np.random.Generator | None) -> Iterator[Batch]:
        """Yield pools of ``size`` rows, of which only the last may be smaller.

        Parameters
        ----------
        share
            First row and the one after the last, as from :func:`.shuffling.share`.
        size
            Rows of a pool.
        rng
            For a random order; None for that in which rows are stored.
        """
        streams = [list(range(len(self.slabs)))]
        if rng is not None:
            samples, files = ([getattr(slab, name) for slab in self.slabs] for name in ("sample", "file"))
            streams = shuffling.shuffled(samples, files, self.open_files, rng)
        plan = list(shuffling.pools(streams, self.counts.tolist(), share, size))
        needed = dict.fromkeys(piece.slab for pieces in plan for piece in pieces)
        pools_a_trim = max(1, TRIM_BYTES // (size * self.empty.row_bytes()))
        with self.reading() as read:
            rows = threaded(partial(self._rows, read), needed, self.workers)
            with closing(rows):
                reads = zip(needed, rows)
                opened: dict[int, _Rows] = {}
                for number, pieces in enumerate(plan, 1):
                    if number % pools_a_trim == 0:
                        release_memory()
                    missing = {piece.slab for piece in pieces} - opened.keys()
                    opened.update(islice(reads, len(missing)))
                    yield self._pool(pieces, opened, rng)
                    for piece in pieces:
                        if piece.stop == self.counts[piece.slab]:
                            del opened[piece.slab]

    def _rows(self, read: Read, slab: int) -> _Rows:
        batch = read(self.slabs[slab], self.chosen)
        if self.empty.numbers is not None:
            first = int(self.stored[:slab].sum())
            batch = replace(batch, numbers=torch.arange(first, first + len(batch)))
        return _sampled(batch, slab, self.sampler)

    def _pool(
        self, pieces: list[shuffling.SlabRange], opened: Mapping[int, _Rows], rng: np.random.Generator | None
    ) -> Batch:
        """Put pieces of slabs together, scattered at random."""
        total = sum(piece.stop - piece.start for piece in pieces)
        pool = self.empty.each(lambda t: t.new_empty((total, *t.shape[1:])))
        positions = torch.from_numpy(np.arange(total) if rng is None else rng.permutation(total))
        filled = 0
        for piece in pieces:
            targets = positions[filled : filled + piece.stop - piece.start]
            for target, source in zip(pool.tensors(), opened[piece.slab].take(piece.start, piece.stop).tensors()):
                target.index_copy_(0, targets, source)
            filled += len(targets)
        return pool
