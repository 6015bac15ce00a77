"""Rows for training, whatever they come from: an HDF5 or Parquet dataset, or the input files themselves.

A loader of single rows costs more than most networks, so nothing here touches a row by itself. Rows come from
:mod:`.slabs`, which are read whole: in memory (:mod:`.cache`) a batch is one ``index_select`` per column; streamed,
threads read the slabs ahead, their rows are scattered over :mod:`.pools`, and batches are slices of one. The order is
that of :mod:`.shuffling`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..console import say
from ..errors import DataError, UserError
from ..provenance import Accounting, FileRecord, Manifest
from ..provenance.manifest import NAME, input_record
from . import shuffling
from .batch import Batch
from .cache import PartCache
from .cut_flow import SampleFlow
from .info import DatasetInfo
from .pools import PoolReader
from .resources import cores, threaded
from .row_sampler import RowSampler
from .slabs import Read, Slab, SlabTable
from .statistics import Truth

POOL_ROWS = 32_768
POOL_BYTES = 1 << 25
OPEN_FILES = 4
MOST_WORKERS = 4


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
    sample_flows
        What became of the events of each sample; known then, and empty for datasets of earlier versions.
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
    sample_flows: Mapping[str, SampleFlow] = {}
    _loaded_columns: tuple[str, ...] = ()
    _numbered = False
    _most_readers = 64

    def __init__(self, in_memory: str, workers: int | None) -> None:
        self._cache = PartCache(in_memory)
        self._workers = min(workers or min(max(1, cores() // 2), MOST_WORKERS), self._most_readers)
        self._listed: SlabTable | None = None
        self._training_truth: Truth | None = None

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

    def load_columns(self, names: Iterable[str]) -> None:
        """Have batches hold, from now on, what :meth:`column` needs to give these columns.

        Raises
        ------
        UserError
            When a column is not in the dataset.
        """
        columns = tuple(dict.fromkeys(name for name in names if self._location(name) is None))
        for name in columns:
            if name not in self.config["keep"]:
                raise UserError(f"{self.name}: has no column {name!r}: add it to 'keep' and make the dataset again")
        if columns != self._loaded_columns:
            self._loaded_columns = columns
            self._cache.clear()

    def number_rows(self) -> None:
        """Have batches hold, from now on, where their rows stand among those of their part."""
        if not self._numbered:
            self._numbered = True
            self._cache.clear()

    def column(self, batch: Batch, name: str) -> Tensor:
        """Return a regression target, a feature of the rows themselves, or a column that is carried, (N,)."""
        location = self._location(name)
        if location is None:
            assert batch.kept is not None  # noqa: S101 - it is carried
            return batch.kept[:, self._loaded_columns.index(name)]
        group, number = location
        return (batch.inputs[group] if group else batch.targets)[:, number]  # type: ignore[index]

    def _location(self, name: str) -> tuple[str, int] | None:
        """Say where batches hold a column anyway: the input, or "" for the targets, and its number."""
        groups = {"": self.info.regression}
        groups |= {group: shape.features for group, shape in self.info.inputs.items() if shape.length is None}
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
        return int(self._table().rows(part, fold).sum())

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
        total = int((self._table().rows(part, fold) if sampler is None else sampler.counts).sum())
        start, stop = shuffling.share(total, rank, world, even=shuffle)
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
        for pool in self._pools(part, fold, sampler).pools((start, stop), size, rng):
            for low in range(0, len(pool), batch_size):
                yield pool.take(low, min(low + batch_size, len(pool)))

    def arrays(self, part: str, fold: int) -> Batch:
        """Read a part into memory whole, in the order in which it is stored."""
        return self.first(part, fold, self.rows(part, fold))

    def first(self, part: str, fold: int, rows: int) -> Batch:
        """Read the first rows of a part, at most so many, in the order in which it is stored."""
        rows = min(rows, self.rows(part, fold))
        return next(self._pools(part, fold).pools((0, rows), rows, None), self._empty()) if rows else self._empty()

    def by_slab(self, part: str, fold: int, world: int = 1) -> Iterator[Batch]:
        """Pass once over a part, slab by slab, each as it is stored; ``world`` processes may keep it in memory."""
        table = self._table()
        counts, chosen = table.rows(part, fold), table.chosen(part, fold)
        if self._fits(part, fold, world):
            whole = self._whole(part, fold)
            stops = np.cumsum(counts).tolist()
            yield from (whole.take(stop - count, stop) for stop, count in zip(stops, counts.tolist()))
            return

        def rows(slab: int) -> Batch:
            return read(table.slabs[slab], chosen) if counts[slab] else self._empty()

        with self._reading() as read, closing(threaded(rows, range(len(table.slabs)), self._workers)) as found:
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
        for name, valid in zip(self.info.regression, self._training().known_targets(fold)):
            if valid == 0:
                raise UserError(
                    f"target.regression.{name}: is NaN in all {rows:,} training rows: correct its expression"
                )
            if valid < rows:
                say(
                    f"note: target {name!r} is NaN in {rows - valid:,} of {rows:,} training rows: its loss ignores them"
                )
        return self._training().target_moments(fold)

    def _training(self) -> Truth:
        if self._training_truth is None:
            self._training_truth = self._truth()
        return self._training_truth

    def _table(self) -> SlabTable:
        """Return all slabs, which are listed once."""
        if self._listed is None:
            self._listed = SlabTable(self._slabs(), self.info.folds)
        return self._listed

    def _rows_sampled(self, part: str, fold: int, sampler: RowSampler) -> Iterator[np.ndarray]:
        """Draw from every slab of a part that is in memory: numbers of rows in the part."""
        edges = np.concatenate([[0], np.cumsum(self._table().rows(part, fold))]).tolist()
        whole = self._whole(part, fold)
        for slab in np.flatnonzero(sampler.counts).tolist():
            yield edges[slab] + sampler.rows(slab, whole.take(edges[slab], edges[slab + 1]))

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
        kept = torch.empty((0, len(self._loaded_columns))) if self._loaded_columns else None
        numbers = torch.empty(0, dtype=torch.int64) if self._numbered else None
        return Batch(inputs, label, targets, torch.empty(0), kept, numbers)

    def _row_bytes(self) -> int:
        return self._empty().row_bytes()

    def _fits(self, part: str, fold: int, world: int) -> bool:
        row_bytes = self._row_bytes()
        return self._cache.fits(part, fold, self.rows(part, fold) * row_bytes, row_bytes, world)

    def _whole(self, part: str, fold: int) -> Batch:
        return self._cache.part(part, fold, self.arrays)

    def _pools(self, part: str, fold: int, sampler: RowSampler | None = None) -> PoolReader:
        table = self._table()
        stored = table.rows(part, fold)
        counts = stored if sampler is None else sampler.counts
        chosen, files, empty = table.chosen(part, fold), self._open_files(), self._empty()
        return PoolReader(table.slabs, counts, stored, chosen, self._reading, empty, self._workers, files, sampler)


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
        flows = manifest.details.get("sample_flows", {})
        self.sample_flows = {name: SampleFlow.from_dict(flow) for name, flow in flows.items()}
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
