"""Reading an HDF5 dataset of layout ``tensors`` for training, see :mod:`.info` for what lies where."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..provenance import Manifest
from .info import SPLITS, DatasetInfo
from .loading import Batch, Read, Slab, StoredData
from .statistics import Truth

SLAB_ROWS = 8192
OPEN_SLABS = 32


class Hdf5Data(StoredData):
    """A finished HDF5 dataset; its slabs are sequential rows of one sample."""

    _most_readers = 1  # HDF5 does one thing at a time

    def __init__(self, directory: Path, manifest: Manifest, in_memory: str, workers: int | None) -> None:
        super().__init__(directory, manifest, in_memory, workers)
        if manifest.config["dataset"].get("compression", "none") != "none":
            import hdf5plugin  # noqa: F401 - makes the codecs known to HDF5
        self._tables = {split: Table(directory / f"{split}.h5", self.info) for split in SPLITS}
        self._tables["train"].read(0, 0, None)  # says what is missing

    def normalisation(self, fold: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return (center, scale) per input, each (F,) f4, from the rows that model ``fold`` trains on."""
        table = self._tables["train"]
        names, index = ("center", "scale"), ()
        if self.info.folds > 1:
            names, index = ("fold_center", "fold_scale"), (fold,)  # type: ignore[assignment]
        return {
            name: (table[f"normalisation/{name}/{names[0]}"][index], table[f"normalisation/{name}/{names[1]}"][index])
            for name in self.info.inputs
        }

    def _slabs(self) -> list[Slab]:
        found = []
        for split, table in self._tables.items():
            for sample, first, last in table.samples():
                for start in range(first, last, SLAB_ROWS):
                    stop = min(start + SLAB_ROWS, last)
                    found.append(Slab(sample, 0, self._folds(split, start, stop), (split, start, stop)))
        return found

    def _folds(self, split: str, start: int, stop: int) -> np.ndarray:
        """Count rows per split and fold, (3, K)."""
        counts = np.zeros((len(SPLITS), self.info.folds), np.int64)
        if self.info.folds == 1:
            counts[SPLITS.index(split)] = stop - start
        else:
            fold = self._tables[split].column("fold", start, stop)
            counts[SPLITS.index(split)] = np.bincount(fold, minlength=self.info.folds)
        return counts

    def _truth(self) -> Truth:
        info, table = self.info, self._tables["train"]
        truth = Truth.zero(info.folds, len(info.classes), len(info.regression))
        for start in range(0, table.rows, SLAB_ROWS):
            stop = min(start + SLAB_ROWS, table.rows)
            label, targets, weight = table.truth(start, stop)
            check_truth(self.name, info, label, targets)
            truth.book(label, targets, weight, table.column("fold", start, stop))
        return truth

    @contextmanager
    def _reading(self) -> Iterator[Read]:
        yield self._read

    def _read(self, slab: Slab, wanted: np.ndarray) -> Batch:
        split, start, stop = slab.place
        own = wanted[SPLITS.index(split)]
        chosen = None if own.all() else own[self._tables[split].column("fold", start, stop)]
        return self._tables[split].read(start, stop, chosen, self._carried)


class Table:
    """One HDF5 file of virtual datasets, to be read by one thread at a time.

    Its datasets stay open, because reopening one reopens its sources; but each source costs a file handle and 0.6 MB
    for as long, so that after ``OPEN_SLABS`` slabs all are closed.
    """

    def __init__(self, path: Path, info: DatasetInfo) -> None:
        self._path = path
        self._info = info
        self._lock = threading.RLock()
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

    def samples(self) -> list[tuple[int, int, int]]:
        """List the samples with rows: number, first row, and the one after the last.

        Each input file has a shard, ``<sample>-<number>.h5``, and those of a sample lie one after the other.
        """
        source = self["fold"]
        edges: dict[str, int] = {}
        for shard in source.virtual_sources() if source.is_virtual else ():
            edges.setdefault(Path(shard.file_name).stem.rpartition("-")[0], shard.vspace.get_select_bounds()[0][0])
        starts = sorted(edges.values()) or [0]
        spans = zip(range(len(starts)), starts, [*starts[1:], self.rows])
        return [(number, first, last) for number, first, last in spans if last > first]

    def column(self, name: str, start: int, stop: int) -> np.ndarray:
        """Read rows ``start`` to ``stop`` of one column."""
        with self._lock:
            if start not in self._touched and len(self._touched) == OPEN_SLABS:
                self._file.close()
                self._open()
            self._touched.add(start)
            source = self[name]
            if start == stop:  # which HDF5 cannot read from a virtual dataset
                return np.empty((0, *source.shape[1:]), source.dtype)
            return np.asarray(source[start:stop])

    def truth(self, start: int, stop: int) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray]:
        """Read labels (N,), targets (N, T) and weights (N,)."""
        label = self.column("target/label", start, stop) if self._info.classes else None
        columns = [self.column(f"target/{name}", start, stop) for name in self._info.regression]
        return label, np.stack(columns, axis=1) if columns else None, self.column("weight", start, stop)

    def read(self, start: int, stop: int, chosen: np.ndarray | None, kept: Sequence[str] = ()) -> Batch:
        """Read rows ``start`` to ``stop``, of these the ``chosen`` ones (bool), with these columns of ``keep``."""

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values if chosen is None else values[chosen])

        inputs: dict[str, Tensor] = {}
        for name, shape in self._info.inputs.items():
            inputs[name] = tensor(self.column(f"{name}/features", start, stop))
            if shape.length is not None:
                inputs[f"{name}_mask"] = tensor(self.column(f"{name}/valid", start, stop))
        label, targets, weight = self.truth(start, stop)
        columns = [self.column(f"keep/{name}", start, stop) for name in kept]
        return Batch(
            inputs,
            None if label is None else tensor(label),
            None if targets is None else tensor(targets),
            tensor(weight),
            tensor(np.stack(columns, axis=1).astype(np.float32)) if columns else None,
        )


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
