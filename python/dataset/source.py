"""Rows for training, whatever they come from: an HDF5 or Parquet dataset, or the input files themselves.

A loader of single rows costs more than most networks, so nothing here touches a row by itself. Rows come from slabs,
which are read whole: in memory a batch is one ``index_select`` per column; streamed, threads read the slabs ahead,
their rows are scattered over a pool, and batches are slices of it. The order is that of :mod:`.order`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..console import say
from ..errors import DataError, UserError
from ..provenance import Accounting, FileRecord, Manifest
from ..provenance.manifest import NAME, input_record
from . import order
from .batch import Batch
from .info import SPLITS, DatasetInfo
from .resources import available_memory, cores, release_memory, threaded
from .row_sampler import RowSampler
from .statistics import Truth

POOL_ROWS = 32_768
POOL_BYTES = 1 << 25
TRIM_BYTES = 1 << 26
OPEN_FILES = 4
MEMORY_SHARE = 0.4
MOST_WORKERS = 4


@dataclass(frozen=True, eq=False)
class Slab:
    """Rows that are read together.

    Attributes
    ----------
    sample
        Number of their sample.
    file
        Number of the file that has to be open to read them.
    counts
        Number of rows per split and fold, (3, K).
    place
        Where in the file they lie, as its reader wants it: first row and the one after the last, say.
    """

    sample: int
    file: int
    counts: np.ndarray
    place: Any


Read = Callable[[Slab, np.ndarray], Batch]
"""Reads the rows of a slab of the wanted splits and folds, (3, K) bool, in the order in which they are stored."""


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


class TrainingData(ABC):
    """Rows to train on: their shape, normalisation, and batches of them.

    Parameters
    ----------
    in_memory
        "always", "never", or "auto": keep a part in memory if it needs less than 40 % of what is available.
    workers
        Number of threads that read ahead; None for one per two cores, at most 4. The batches do not depend on it.

    Attributes
    ----------
    name
        What messages call it.
    info
        Its inputs, classes or targets, and folds.
    identity
        Hash of what it was made from and holds.
    key
        Hash of the part of the analysis that it was made with.
    config
        The resolved configuration that it was made with.
    sources
        The files that it is read from, for the manifests of later stages.
    accounting
        The books of what was read to make it, where that was done for this training and not before.
    inputs
        The files that a finished dataset was made from, as they were then.
    notices
        What a reader of results must know of the data; complete once :meth:`prepare` was called.
    """

    name: str
    info: DatasetInfo
    identity: str
    key: str
    config: dict[str, Any]
    sources: list[FileRecord]
    accounting: Accounting | None = None
    notices: Sequence[str] = ()
    inputs: Sequence[FileRecord] = ()
    _carried: tuple[str, ...] = ()
    _most_readers = 64

    def __init__(self, in_memory: str, workers: int | None) -> None:
        self._in_memory = in_memory
        self._workers = min(workers or min(max(1, cores() // 2), MOST_WORKERS), self._most_readers)
        self._available = available_memory()
        self._resident: dict[tuple[str, int], Batch] = {}
        self._layout: tuple[list[Slab], np.ndarray] | None = None
        self._known_truth: Truth | None = None

    def prepare(self, folder: Path) -> list[str]:
        """Make ready for the methods below.

        Input files are read once, to count their rows and find the normalisation. What this finds is kept in
        ``folder/data``, and used again where it is there. A finished dataset knows all this.

        Returns
        -------
        list of str
            The files in the folder that keep it.

        Raises
        ------
        UserError, DataError
            As ``nanoforge convert`` would.
        """
        del folder
        return []

    def carry(self, names: Iterable[str]) -> None:
        """Have batches hold, from now on, what :meth:`column` needs to give these columns.

        Raises
        ------
        UserError
            When a column is not in the dataset.
        """
        carried = tuple(name for name in names if self._place(name) is None)
        for name in carried:
            if name not in self.config["keep"]:
                raise UserError(f"{self.name}: has no column {name!r}: add it to 'keep' and make the dataset again")
        if carried != self._carried:
            self._carried = carried
            self._resident.clear()

    def column(self, batch: Batch, name: str) -> Tensor:
        """Return a regression target, a feature of the rows themselves, or a column that is carried, (N,)."""
        place = self._place(name)
        if place is None:
            assert batch.kept is not None  # noqa: S101 - it is carried
            return batch.kept[:, self._carried.index(name)]
        group, number = place
        return (batch.inputs[group] if group else batch.targets)[:, number]  # type: ignore[index]

    def _place(self, name: str) -> tuple[str, int] | None:
        """Say where batches hold a column anyway: the input, or "" for the targets, and its number."""
        groups = {"": self.info.regression}
        groups |= {own: shape.features for own, shape in self.info.inputs.items() if shape.length is None}
        return next(((group, names.index(name)) for group, names in groups.items() if name in names), None)

    @abstractmethod
    def normalisation(self, fold: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return (center, scale) per input, each (F,) f4, from the rows that model ``fold`` trains on."""

    @abstractmethod
    def _slabs(self) -> list[Slab]:
        """List all slabs, in the order in which rows are counted where nothing is shuffled."""

    @abstractmethod
    def _truth(self) -> Truth:
        """Sum up labels, targets and weights of the training rows."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Read]:
        """Open what a pass needs; the function that this gives is called by several threads."""

    def rows(self, part: str, fold: int) -> int:
        """Count the rows of a part ("train", "val" or "test") of model ``fold``."""
        return int(self._counts(part, fold).sum())

    def batches(
        self,
        part: str,
        fold: int,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world: int = 1,
        sampler: RowSampler | None = None,
    ) -> Iterator[Batch]:
        """Pass once over a part; only the last batch may be short.

        Parameters
        ----------
        part
            "train", "val" or "test".
        fold
            Number of the model.
        batch_size
            Rows in a batch.
        shuffle
            Random order, fixed by ``seed`` and ``epoch``; otherwise the order in which the rows are stored. Streamed,
            rows mix within pools of 32,768 (fewer where they need more than 32 MB), which draw from all samples in
            proportion.
        seed, epoch
            What the random order depends on.
        rank, world
            Number of this process and of all, of a distributed training: each gets other rows. Shuffled, all get
            equally many, so that all make equally many steps, and at most ``world - 1`` rows, others in every epoch,
            are left out; otherwise none is, and the numbers differ by one row at most.
        sampler
            Which rows come how often; by default each comes once. What is drawn has to be shuffled.
        """
        rng = np.random.default_rng([seed, epoch]) if shuffle else None
        total = int((self._counts(part, fold) if sampler is None else sampler.counts).sum())
        start, stop = order.share(total, rank, world, even=shuffle)
        if self._fits(part, fold, world):
            whole = self._whole(part, fold)
            rows = None if rng is None else torch.from_numpy(rng.permutation(total)[start:stop])
            if sampler is not None:
                rows = torch.from_numpy(np.concatenate(list(self._rows_sampled(part, fold, sampler))))[rows]
            for low in range(start, stop, batch_size):
                high = min(low + batch_size, stop)
                yield whole.take(low, high) if rows is None else whole.select(rows[low - start : high - start])
            return
        rows_of_pool = min(POOL_ROWS, POOL_BYTES // self._row_bytes())
        size = batch_size * max(1, rows_of_pool // batch_size)
        for pool in self._pools(part, fold, (start, stop), size, rng, sampler):
            for low in range(0, len(pool), batch_size):
                yield pool.take(low, min(low + batch_size, len(pool)))

    def arrays(self, part: str, fold: int) -> Batch:
        """Read a part into memory whole, in the order in which it is stored."""
        return self.first(part, fold, self.rows(part, fold))

    def first(self, part: str, fold: int, rows: int) -> Batch:
        """Read the first rows of a part, at most so many, in the order in which it is stored."""
        rows = min(rows, self.rows(part, fold))
        return next(self._pools(part, fold, (0, rows), rows, None), self._empty()) if rows else self._empty()

    def by_slab(self, part: str, fold: int, world: int = 1) -> Iterator[Batch]:
        """Pass once over a part, slab by slab, each as it is stored; ``world`` processes may keep it in memory."""
        counts, wanted = self._counts(part, fold), self._wanted(part, fold)
        slabs = self._layout[0] if self._layout else []
        if self._fits(part, fold, world):
            whole = self._whole(part, fold)
            stops = np.cumsum(counts).tolist()
            yield from (whole.take(stop - count, stop) for stop, count in zip(stops, counts.tolist()))
            return

        def rows(slab: int) -> Batch:
            return read(slabs[slab], wanted) if counts[slab] else self._empty()

        with self._reading() as read, closing(threaded(rows, range(len(slabs)), self._workers)) as found:
            yield from found

    def class_weights(self, fold: int) -> np.ndarray:
        """Return rows, Σw and Σw² per class over the training part, (3, 2, C).

        In the middle are weights that are not negative, and negative ones. Without classes all rows count as one.

        Raises
        ------
        DataError
            When a label is not the index of a class.
        """
        return self._training().class_weights(fold)

    def target_moments(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the regression targets, each (T,), where known in the training part.

        Raises
        ------
        UserError
            When a target is known in none of the rows.
        DataError
            When a target is infinite.
        """
        rows = self.rows("train", fold)
        for name, known in zip(self.info.regression, self._training().known_targets(fold)):
            if known == 0:
                raise UserError(
                    f"target.regression.{name}: is NaN in all {rows:,} training rows: correct its expression"
                )
            if known < rows:
                say(
                    f"note: target {name!r} is NaN in {rows - known:,} of {rows:,} training rows: its loss ignores them"
                )
        return self._training().target_moments(fold)

    def _training(self) -> Truth:
        if self._known_truth is None:
            self._known_truth = self._truth()
        return self._known_truth

    def _counts(self, part: str, fold: int) -> np.ndarray:
        """Count the rows of a part in every slab."""
        if self._layout is None:
            slabs = self._slabs()
            shape = (len(slabs), len(SPLITS), self.info.folds)
            self._layout = slabs, np.array([slab.counts for slab in slabs], np.int64).reshape(shape)
        return (self._layout[1] * self._wanted(part, fold)).sum(axis=(1, 2))

    def _wanted(self, part: str, fold: int) -> np.ndarray:
        """Say which splits and folds make a part, (3, K) bool; see ``dataset.info`` for what it is with folds."""
        wanted = np.zeros((len(SPLITS), self.info.folds), dtype=bool)
        own = SPLITS.index(part)
        if self.info.folds == 1:
            wanted[own] = True
        elif part == "test":
            wanted[:own, fold] = True
        else:
            wanted[own] = np.arange(self.info.folds) != fold
        return wanted

    def _rows_sampled(self, part: str, fold: int, sampler: RowSampler) -> Iterator[np.ndarray]:
        """Draw from every slab of a part that is in memory: numbers of rows in the part."""
        edges = np.concatenate([[0], np.cumsum(self._counts(part, fold))]).tolist()
        whole = self._whole(part, fold)
        for slab in np.flatnonzero(sampler.counts).tolist():
            yield edges[slab] + sampler.rows(slab, whole.take(edges[slab], edges[slab + 1]))

    def _pools(
        self,
        part: str,
        fold: int,
        share: tuple[int, int],
        size: int,
        rng: np.random.Generator | None,
        sampler: RowSampler | None = None,
    ) -> Iterator[Batch]:
        """Yield pools of rows: in random order, or as they are stored where there is no random generator."""
        counts = self._counts(part, fold)
        if sampler is not None:
            counts = sampler.counts
        slabs = self._layout[0] if self._layout else []
        streams = [list(range(len(slabs)))]
        if rng is not None:
            streams = order.shuffled([s.sample for s in slabs], [s.file for s in slabs], self._open_files(), rng)
        plan = list(order.pools(streams, counts.tolist(), share, size))
        needed = dict.fromkeys(piece.slab for pieces in plan for piece in pieces)
        wanted = self._wanted(part, fold)
        pools_a_trim = max(1, TRIM_BYTES // (size * self._row_bytes()))
        with self._reading() as read:
            found = threaded(lambda slab: _sampled(read(slabs[slab], wanted), slab, sampler), needed, self._workers)
            with closing(found):
                reads = zip(needed, found)
                opened: dict[int, Batch | _Repeated] = {}
                for number, pieces in enumerate(plan, 1):
                    if number % pools_a_trim == 0:
                        release_memory()
                    missing = {piece.slab for piece in pieces} - opened.keys()
                    opened.update(islice(reads, len(missing)))
                    yield self._pool(pieces, opened, rng)
                    for piece in pieces:
                        if piece.stop == counts[piece.slab]:
                            del opened[piece.slab]

    def _pool(
        self, pieces: list[order.Piece], opened: Mapping[int, Batch | _Repeated], rng: np.random.Generator | None
    ) -> Batch:
        """Put pieces of slabs together, scattered at random."""
        total = sum(piece.stop - piece.start for piece in pieces)
        pool = self._empty().each(lambda t: t.new_empty((total, *t.shape[1:])))
        places = torch.from_numpy(np.arange(total) if rng is None else rng.permutation(total))
        filled = 0
        for piece in pieces:
            there = places[filled : filled + piece.stop - piece.start]
            for target, source in zip(pool.tensors(), opened[piece.slab].take(piece.start, piece.stop).tensors()):
                target.index_copy_(0, there, source)
            filled += len(there)
        return pool

    def _open_files(self) -> int:
        """Say how many files may stay open while none of their rows is read."""
        return OPEN_FILES

    def _empty(self) -> Batch:
        """Return a batch without rows, which tells shapes and types."""
        inputs: dict[str, Tensor] = {}
        for name, shape in self.info.inputs.items():
            sizes = (0, len(shape.features)) if shape.length is None else (0, shape.length, len(shape.features))
            inputs[name] = torch.empty(sizes)
            if shape.length is not None:
                inputs[f"{name}_mask"] = torch.empty(sizes[:2], dtype=torch.bool)
        label = torch.empty(0, dtype=torch.int64) if self.info.classes else None
        targets = torch.empty((0, len(self.info.regression))) if self.info.regression else None
        kept = torch.empty((0, len(self._carried))) if self._carried else None
        return Batch(inputs, label, targets, torch.empty(0), kept)

    def _row_bytes(self) -> int:
        return sum(t.element_size() * int(np.prod(t.shape[1:])) for t in self._empty().tensors())

    def _fits(self, part: str, fold: int, world: int) -> bool:
        """Whether a part is, or may be, held in memory by every one of ``world`` processes."""
        if self._in_memory != "auto" or (part, fold) in self._resident:
            return self._in_memory != "never"
        kept = sum(len(batch) for key, batch in self._resident.items() if key[1] == fold)
        needed = (kept + self.rows(part, fold)) * self._row_bytes()
        return needed * world < MEMORY_SHARE * self._available

    def _whole(self, part: str, fold: int) -> Batch:
        if (part, fold) not in self._resident:
            self._resident = {key: kept for key, kept in self._resident.items() if key[1] == fold}
            self._resident[part, fold] = self.arrays(part, fold)
        return self._resident[part, fold]


class StoredData(TrainingData):
    """A finished dataset in a directory: ``manifest`` says what is in it."""

    def __init__(self, directory: Path, manifest: Manifest, in_memory: str, workers: int | None) -> None:
        super().__init__(in_memory, workers)
        self.name = str(directory)
        self.info = DatasetInfo.from_dict(manifest.details["dataset"])
        self.identity = manifest.identity()
        self.key = manifest.details["key"]
        self.config = manifest.config
        self.notices = manifest.details.get("notices", [])
        self.inputs = manifest.inputs
        self.sources = [input_record(str(directory.absolute() / NAME))]


def check_truth(name: str, info: DatasetInfo, label: np.ndarray | None, targets: np.ndarray | None) -> None:
    """Raise a :class:`DataError` where a label is not the index of a class, or a target is infinite."""
    classes = len(info.classes)
    if label is not None and len(label) and not 0 <= label.min() <= label.max() < classes:
        raise DataError(f"{name}: a label is not one of {classes} classes: run 'nanoforge convert' again")
    if targets is not None and np.isinf(targets).any():
        wrong = info.regression[int(np.argmax(np.isinf(targets).any(axis=0)))]
        raise DataError(
            f"{name}: target {wrong!r} holds infinite values: reject such rows with a cut and run 'nanoforge convert' "
            "again"
        )
