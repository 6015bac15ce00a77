"""Reading a finished dataset (layout ``tensors``) for training: batches by slicing, from memory or streamed from disk.

A loader of single rows costs more than most networks, so nothing here touches a row by itself: in memory a batch is one
``index_select`` per column; from disk, sequential slabs in random order are pooled, and a batch is drawn from the pool.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, UserError
from ..provenance import Manifest
from .info import SPLITS, DatasetInfo

SLAB_ROWS = 8192
POOL_SLABS = 4
OPEN_SLABS = 32
MEMORY_SHARE = 0.4


@dataclass(frozen=True)
class Batch:
    """N rows as tensors.

    Attributes
    ----------
    inputs
        Per input its raw features, (N, F) f4 or (N, L, F) f4; for constituents ``<input>_mask``, (N, L) bool, too.
    label
        Index of the class, (N,) i8; None for a regression.
    targets
        Regression targets in the order of ``DatasetInfo.regression``, (N, T) f4; None for a classification.
    weight
        Physics weight, (N,) f4.
    """

    inputs: dict[str, Tensor]
    label: Tensor | None
    targets: Tensor | None
    weight: Tensor

    def __len__(self) -> int:
        return len(self.weight)

    def tensors(self) -> list[Tensor]:
        """Return all tensors, in a fixed order."""
        return [t for t in (*self.inputs.values(), self.label, self.targets, self.weight) if t is not None]

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Apply a function to every tensor."""
        inputs = {name: change(t) for name, t in self.inputs.items()}
        label, targets = (None if t is None else change(t) for t in (self.label, self.targets))
        return Batch(inputs, label, targets, change(self.weight))

    def take(self, start: int, stop: int, order: Tensor | None = None) -> Batch:
        """Return rows ``start`` to ``stop``, of a permutation of the rows where ``order`` is given."""
        if order is None:
            return self.each(lambda t: t[start:stop])
        return self.each(lambda t: t.index_select(0, order[start:stop]))

    def to(self, device: torch.device) -> Batch:
        """Move to a device."""
        return self.each(lambda t: t.to(device))

    @staticmethod
    def join(parts: Sequence[Batch]) -> Batch:
        """Put the rows of several batches one after the other."""
        if len(parts) == 1:
            return parts[0]
        columns = iter([torch.cat(column) for column in zip(*(p.tensors() for p in parts))])
        return parts[0].each(lambda _: next(columns))


class TrainingData:
    """A finished dataset: its shape, normalisation and rows.

    Attributes
    ----------
    directory
        Where it lies.
    info
        Its inputs, classes or targets, and folds.
    identity
        Hash of what it was made from and holds.
    key
        Hash of the part of the analysis that it was made with.
    config
        The resolved configuration that it was made with.
    """

    def __init__(self, directory: Path, manifest: Manifest, in_memory: str) -> None:
        self.directory = directory
        self.info = DatasetInfo.from_dict(manifest.details["dataset"])
        self.identity = manifest.identity()
        self.key = manifest.details["key"]
        self.config = manifest.config
        self._tables = {split: _Table(directory / f"{split}.h5", self.info) for split in SPLITS}
        self._empty = self._tables["train"].read(0, 0, None)
        self._counts: dict[tuple[str, int], int] = {}
        self._resident: dict[tuple[str, int], Batch] = {}
        needed = sum(t.rows for t in self._tables.values()) * _row_bytes(self._empty)
        fits = needed < MEMORY_SHARE * available_memory()
        self._in_memory = fits if in_memory == "auto" else in_memory == "always"

    @classmethod
    def open(cls, directory: Path, in_memory: str = "auto") -> TrainingData:
        """Open a dataset that ``nanoforge convert`` finished, and check its files.

        Parameters
        ----------
        directory
            The output of ``nanoforge convert``.
        in_memory
            "always", "never", or "auto": when it needs less than 40 % of the memory that is available now.

        Raises
        ------
        UserError
            When it is unfinished, or laid out for another program.
        DataError
            When a file is missing, changed or broken.
        """
        manifest = Manifest.read(directory, "convert")
        options = manifest.config["dataset"]
        for key, needed in (("format", "hdf5"), ("layout", "tensors")):
            if options[key] != needed:
                raise UserError(
                    f"{directory}: dataset.{key} is {options[key]!r}, and training reads {needed!r}: "
                    f"set dataset.{key} to {needed} and run 'nanoforge convert' again"
                )
        manifest.verify(directory)
        return cls(directory, manifest, in_memory)

    def normalisation(self, fold: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return (center, scale) per input, each (F,) f4, from the rows that model ``fold`` trains on."""
        table = self._tables["train"]
        if self.info.folds == 1:
            names, index = ("center", "scale"), ()
        else:
            names, index = ("fold_center", "fold_scale"), (fold,)  # type: ignore[assignment]
        return {
            name: (table[f"normalisation/{name}/{names[0]}"][index], table[f"normalisation/{name}/{names[1]}"][index])
            for name in self.info.inputs
        }

    def rows(self, part: str, fold: int) -> int:
        """Count the rows of a part ("train", "val" or "test") of model ``fold``."""
        key = (part, fold)
        if key not in self._counts:
            self._counts[key] = sum(slab.count() for slab in self._slabs(part, fold))
        return self._counts[key]

    def batches(
        self, part: str, fold: int, batch_size: int, *, shuffle: bool = False, seed: int = 0, epoch: int = 0
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
            Random order, fixed by ``seed`` and ``epoch``; otherwise the order on disk. Streamed, rows mix within
            pools of 4 randomly chosen slabs of 8,192 rows, and no more than these are in memory.
        seed, epoch
            What the random order depends on.
        """
        rng = np.random.default_rng([seed, epoch]) if shuffle else None
        pools = [self._resident_part(part, fold)] if self._in_memory else self._pools(part, fold, rng)
        return _slices(pools, batch_size, rng)

    def arrays(self, part: str, fold: int) -> Batch:
        """Read a part into memory whole, in the order on disk."""
        total = self.rows(part, fold)
        whole = self._empty.each(lambda t: t.new_empty((total, *t.shape[1:])))
        filled = 0
        for slab in self._slabs(part, fold):
            read = slab.read()
            for target, source in zip(whole.tensors(), read.tensors()):
                target[filled : filled + len(read)] = source
            filled += len(read)
        return whole

    def class_totals(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of events and the sum of weights per class, each (C,), over the training part.

        Raises
        ------
        DataError
            When a label is not the index of a class.
        """
        classes = len(self.info.classes)
        counts, sums = np.zeros(classes, np.int64), np.zeros(classes)
        for slab in self._slabs("train", fold):
            label, weight = slab.column("target/label"), slab.column("weight")
            if len(label) and not 0 <= label.min() <= label.max() < classes:
                raise DataError(
                    f"{self.directory}: a label is not one of {classes} classes: run 'nanoforge convert' again"
                )
            counts += np.bincount(label, minlength=classes)
            sums += np.bincount(label, weights=weight, minlength=classes)
        return counts, sums

    def target_moments(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the regression targets, each (T,), over the training part.

        Raises
        ------
        DataError
            When a target is not finite.
        """
        moments = [self._moments(name, fold) for name in self.info.regression]
        return np.array([m for m, _ in moments]), np.array([s for _, s in moments])

    def _moments(self, target: str, fold: int) -> tuple[float, float]:
        """Merge mean and variance slab by slab (Chan, Golub, LeVeque 1979), which large means do not spoil."""
        count, mean, squares = 0, 0.0, 0.0
        for slab in self._slabs("train", fold):
            values = slab.column(f"target/{target}").astype(np.float64)
            if not np.isfinite(values).all():
                raise DataError(
                    f"{self.directory}: target {target!r} holds NaN or infinite values: reject such rows with a cut "
                    "and run 'nanoforge convert' again"
                )
            if len(values):
                total, shift = count + len(values), values.mean() - mean
                squares += ((values - values.mean()) ** 2).sum() + shift**2 * count * len(values) / total
                mean += shift * len(values) / total
                count = total
        return mean, float(np.sqrt(squares / max(count, 1)))

    def _slabs(self, part: str, fold: int) -> list[_Slab]:
        """List the slabs of a part in the order on disk; see ``dataset.info`` for what a part is with folds."""
        wanted: tuple[Callable[[Any, int], Any], int] | None = None
        splits = [part]
        if self.info.folds > 1:
            wanted = (operator.eq if part == "test" else operator.ne, fold)
            splits = ["train", "val"] if part == "test" else [part]
        return [
            _Slab(table, start, min(start + SLAB_ROWS, table.rows), wanted)
            for table in (self._tables[split] for split in splits)
            for start in range(0, table.rows, SLAB_ROWS)
        ]

    def _pools(self, part: str, fold: int, rng: np.random.Generator | None) -> Iterator[Batch]:
        slabs = self._slabs(part, fold)
        order = range(len(slabs)) if rng is None else rng.permutation(len(slabs))
        for start in range(0, len(slabs), POOL_SLABS):
            yield Batch.join([slabs[i].read() for i in order[start : start + POOL_SLABS]])

    def _resident_part(self, part: str, fold: int) -> Batch:
        if (part, fold) not in self._resident:
            self._resident = {key: kept for key, kept in self._resident.items() if key[1] == fold}
            self._resident[part, fold] = self.arrays(part, fold)
        return self._resident[part, fold]


class _Table:
    """One HDF5 file of virtual datasets.

    Its datasets stay open, because reopening one reopens its sources; but each source costs a file handle and 0.6 MB
    for as long, so that after ``OPEN_SLABS`` slabs all are closed.
    """

    def __init__(self, path: Path, info: DatasetInfo) -> None:
        self._path = path
        self._info = info
        self._open()
        self.rows = len(self["weight"])

    def _open(self) -> None:
        try:
            self._file = h5py.File(self._path, "r")
        except OSError as error:
            raise DataError(f"{self._path}: cannot be read ({error}): run 'nanoforge convert' again") from None
        self._datasets: dict[str, h5py.Dataset] = {}
        self._touched: set[int] = set()

    def __getitem__(self, name: str) -> h5py.Dataset:
        if name not in self._datasets:
            if name not in self._file:
                raise DataError(f"{self._path}: no dataset {name!r}: run 'nanoforge convert' again")
            self._datasets[name] = self._file[name]
        return self._datasets[name]

    def column(self, name: str, start: int, stop: int) -> np.ndarray:
        """Read rows ``start`` to ``stop`` of one column."""
        if start not in self._touched and len(self._touched) == OPEN_SLABS:
            self._file.close()
            self._open()
        self._touched.add(start)
        source = self[name]
        if start == stop:  # which HDF5 cannot read from a virtual dataset
            return np.empty((0, *source.shape[1:]), source.dtype)
        return np.asarray(source[start:stop])

    def read(self, start: int, stop: int, chosen: np.ndarray | None) -> Batch:
        """Read rows ``start`` to ``stop``, of these the ``chosen`` ones (bool)."""

        def column(name: str) -> Tensor:
            values = self.column(name, start, stop)
            return torch.from_numpy(values if chosen is None else values[chosen])

        inputs: dict[str, Tensor] = {}
        for name, shape in self._info.inputs.items():
            inputs[name] = column(f"{name}/features")
            if shape.length is not None:
                inputs[f"{name}_mask"] = column(f"{name}/valid")
        label = column("target/label") if self._info.classes else None
        names = self._info.regression
        targets = torch.stack([column(f"target/{name}") for name in names], dim=1) if names else None
        return Batch(inputs, label, targets, column("weight"))


@dataclass(frozen=True)
class _Slab:
    """Sequential rows of a table; ``wanted`` is a comparison with a fold that they have to pass."""

    table: _Table
    start: int
    stop: int
    wanted: tuple[Callable[[Any, int], Any], int] | None

    def chosen(self) -> np.ndarray | None:
        """Say which rows are wanted, (n,) bool; None for all."""
        if self.wanted is None:
            return None
        compare, fold = self.wanted
        return np.asarray(compare(self.table.column("fold", self.start, self.stop), fold))

    def count(self) -> int:
        """Count the wanted rows."""
        chosen = self.chosen()
        return self.stop - self.start if chosen is None else int(chosen.sum())

    def read(self) -> Batch:
        """Read all columns of the wanted rows."""
        return self.table.read(self.start, self.stop, self.chosen())

    def column(self, name: str) -> np.ndarray:
        """Read one column of the wanted rows."""
        chosen = self.chosen()
        values = self.table.column(name, self.start, self.stop)
        return values if chosen is None else values[chosen]


def available_memory() -> int:
    """Return how many bytes a process can still use: what the machine has free, or less where a cgroup limits it."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    memory, group = Path("/proc/meminfo"), Path("/proc/self/cgroup")
    if memory.is_file():
        lines = memory.read_text().splitlines()
        limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    if group.is_file():
        # A batch slot is often a small share of a big machine, and what exceeds it is killed.
        here = Path("/sys/fs/cgroup", group.read_text().rpartition("::")[2].strip().lstrip("/"))
        bounds = [folder / "memory.max" for folder in (here, *here.parents)]
        texts = [bound.read_text().strip() for bound in bounds if bound.is_file()]
        limits += [int(text) for text in texts if text != "max"]
    return min(limits)


def _row_bytes(empty: Batch) -> int:
    return sum(t.element_size() * int(np.prod(t.shape[1:])) for t in empty.tensors())


def _slices(pools: Iterable[Batch], batch_size: int, rng: np.random.Generator | None) -> Iterator[Batch]:
    """Cut pools into batches; what is left of one pool joins the next."""
    rest: Batch | None = None
    for pool in pools:
        if rest is not None and len(rest):
            pool = Batch.join([rest, pool])
        order = None if rng is None else torch.from_numpy(rng.permutation(len(pool)))
        whole = len(pool) - len(pool) % batch_size
        for start in range(0, whole, batch_size):
            yield pool.take(start, start + batch_size, order)
        rest = pool.take(whole, len(pool), order)
    if rest is not None and len(rest):
        yield rest
