"""Reading an HDF5 dataset of layout ``tensors`` for training, see :mod:`.info` for what lies where."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..provenance import Manifest
from .batch import Batch
from .hdf5 import open_rows
from .info import SPLITS, DatasetInfo
from .resources import Handles
from .shards import MOST_SHARDS
from .slabs import Read, Slab
from .source import StoredData, check_truth
from .sparse import CONTENTS, HITS, unpack
from .statistics import Truth

SLAB_ROWS = 8192


class Hdf5Data(StoredData):
    """A finished HDF5 dataset; its slabs are sequential rows of one sample."""

    _most_readers = 1  # HDF5 does one thing at a time

    def __init__(self, directory: Path, manifest: Manifest, in_memory: str, workers: int | None) -> None:
        super().__init__(directory, manifest, in_memory, workers)
        if manifest.config["dataset"].get("compression", "none") != "none":
            import hdf5plugin  # noqa: F401 - makes the codecs known to HDF5
        shards = {directory / name: rows for name, rows in manifest.details["shards"].items()}
        files: Handles[OpenShard] = Handles(OpenShard, OpenShard.close, MOST_SHARDS)
        self._tables = {
            split: SplitTable(
                directory / f"{split}.h5", {path: rows[split] for path, rows in shards.items()}, files, self.info
            )
            for split in SPLITS
        }
        self._samples = list(manifest.details["samples"].values())
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
        slabs, most = [], self.info.most_rows(SLAB_ROWS)
        for split in SPLITS:
            last = 0
            for sample, rows in enumerate(self._samples):
                first, last = last, last + rows[split]
                for start in range(first, last, most):
                    stop = min(start + most, last)
                    slabs.append(Slab(sample, 0, self._folds(split, start, stop), (split, start, stop)))
        return slabs

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

    def _read(self, slab: Slab, splits: np.ndarray) -> Batch:
        split, start, stop = slab.location
        folds = splits[SPLITS.index(split)]
        chosen = None if folds.all() else folds[self._tables[split].column("fold", start, stop)]
        return self._tables[split].read(start, stop, chosen, self._loaded_columns)


class OpenShard:
    """An open shard; its datasets stay open, too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)
        self._datasets: dict[str, h5py.Dataset] = {}

    def dataset(self, name: str, rows: int) -> h5py.Dataset:
        """Return a dataset, which has so many rows."""
        if name not in self._datasets:
            self._datasets[name] = _required(self._file, self._path, name)
            if len(self._datasets[name]) != rows:
                raise DataError(
                    f"{self._path}: {name!r} has {len(self._datasets[name])} rows, and {rows} were written: run "
                    "'nanoforge convert' again"
                )
        return self._datasets[name]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class SplitTable:
    """The rows of a split, to be read by one thread at a time.

    They are read from the shards themselves: where a source of a virtual dataset cannot be opened, HDF5 reads fill
    values in its place without an error. What all shards have together is in the file of the split.

    Parameters
    ----------
    path
        The file of the split.
    shards
        The number of its rows in every shard, in order.
    files
        Opens the shards.
    info
        The dataset.
    """

    def __init__(self, path: Path, shards: Mapping[Path, int], files: Handles[OpenShard], info: DatasetInfo) -> None:
        self._path = path
        self._shards = list(shards)
        self._edges = np.cumsum([0, *shards.values()])
        self._files = files
        self._info = info
        self._lock = threading.RLock()
        self._file = _opened(path)
        self._weight = self["weight"]
        self.rows = int(self._edges[-1])
        if len(self._weight) != self.rows:
            raise DataError(f"{path}: does not have the rows of its shards: run 'nanoforge convert' again")
        constituents = [name for name, shape in info.inputs.items() if shape.length is not None]
        self._sparse = {name: self._parts(name) for name in constituents if f"{name}/offsets" in self._file}
        self._offsets = {name: self[f"{name}/offsets"] for name in self._sparse}
        self._content_edges = {
            name: np.array([offsets[edge] for edge in self._edges]) for name, offsets in self._offsets.items()
        }

    def _parts(self, name: str) -> Sequence[str]:
        """Name the datasets of an input without padding; of hits, datasets of before have contents, too."""
        return HITS if f"{name}/{HITS[0]}" in self._file else CONTENTS

    def __getitem__(self, name: str) -> h5py.Dataset:
        return _required(self._file, self._path, name)

    def column(self, name: str, start: int, stop: int) -> np.ndarray:
        """Read rows ``start`` to ``stop`` of one column."""
        with self._lock:
            if name == "weight":  # normalised here, and not in the shards
                return np.asarray(self._weight[start:stop])
            return _joined(self._pieces(name, start, stop, self._edges))

    def _pieces(self, name: str, start: int, stop: int, edges: np.ndarray) -> Iterator[np.ndarray]:
        """Read rows shard by shard, at these edges; where there are none, an array without rows from the last one."""
        number = min(int(np.searchsorted(edges, start, side="right")), len(self._shards)) - 1
        while True:
            path, low, rows = self._shards[number], int(edges[number]), int(edges[number + 1] - edges[number])
            last = min(stop, low + rows)
            with self._files.use(path) as shard:
                yield np.asarray(shard.dataset(f"{self._path.stem}/{name}", rows)[start - low : last - low])
            start, number = last, number + 1
            if start >= stop:
                return

    def constituents(self, name: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Read features (N, L, F) and validity (N, L) of an input of rows ``start`` to ``stop``."""
        if name not in self._sparse:
            return self.column(f"{name}/features", start, stop), self.column(f"{name}/valid", start, stop)
        with self._lock:
            offsets = self._offsets[name][start : stop + 1]
            first, last = int(offsets[0]), int(offsets[-1])
            edges = self._content_edges[name]
            arrays = {p: _joined(self._pieces(f"{name}/{p}", first, last, edges)) for p in self._sparse[name]}
        shape = self._info.inputs[name]
        try:
            return unpack(arrays, offsets, shape.length or 0, shape.image)
        except ValueError as error:
            raise DataError(f"{self._path}: {name}: {error}: run 'nanoforge convert' again") from None

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
            if shape.length is None:
                inputs[name] = tensor(self.column(f"{name}/features", start, stop))
            else:
                inputs[name], inputs[f"{name}_mask"] = map(tensor, self.constituents(name, start, stop))
        label, targets, weight = self.truth(start, stop)
        columns = [self.column(f"keep/{name}", start, stop) for name in kept]
        return Batch(
            inputs,
            None if label is None else tensor(label),
            None if targets is None else tensor(targets),
            tensor(weight),
            tensor(np.stack(columns, axis=1).astype(np.float32)) if columns else None,
        )


def _joined(pieces: Iterable[np.ndarray]) -> np.ndarray:
    arrays = list(pieces)
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _opened(path: Path) -> h5py.File:
    try:
        return open_rows(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}): run 'nanoforge convert' again") from None


def _required(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    if name not in file:
        raise DataError(f"{path}: no dataset {name!r}: run 'nanoforge convert' again")
    return file[name]
