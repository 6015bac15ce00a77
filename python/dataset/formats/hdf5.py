"""HDF5, one plain tensor for each input: shards, and a file of virtual datasets over them for every split."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ...config.schema import Compression
from ...errors import DataError
from ...provenance import Manifest
from ...version import __version__
from ..event_block import Arrays, EventBlock
from ..format import DatasetFormat, Normalisation, StoredRows
from ..hdf5 import GrowingFile, datasets, open_rows
from ..info import NORMALISATION, SPLITS, DatasetInfo
from ..shards import SHARDS, ShardWriter, SplitRows, WrittenShard, compare_types, rows_of, temporary_path
from ..sparse import HITS, pack, parts_of, rows_between

if TYPE_CHECKING:
    from ..source import TrainingData


Sparse = Mapping[str, Sequence[str]]
"""Inputs without padding, and their datasets, see :func:`..sparse.parts_of`."""


class Hdf5Format(DatasetFormat):
    """Plain tensors in HDF5, see :mod:`..info`."""

    def lay_out(self, block: EventBlock) -> SplitRows:
        """Lay rows out as arrays by name, split by split."""
        rows = self._arrays(block)
        return {split: rows_between(rows, self._sparse, start, stop) for split, start, stop in block.spans()}

    def _arrays(self, block: EventBlock) -> Arrays:
        return tensors(block, self._info, self._sparse)

    @property
    def layout(self) -> str:
        """Tell hits that are stored by the cells which they fill."""
        return HITS[0] if HITS in self._sparse.values() else ""

    @property
    def _sparse(self) -> Sparse:
        """The inputs that have no padding, with their datasets."""
        parts = {name: parts_of(described) for name, described in self._info.inputs.items()}
        return {name: datasets for name, datasets in parts.items() if datasets}

    def files(self, stem: Path) -> list[Path]:
        """List the one file of a shard."""
        return [_path(stem)]

    def _writer(self, stem: Path) -> ShardWriter:
        return Hdf5Shard(stem, self._analysis.dataset.compression, self._sparse)

    def stored(self, stem: Path) -> StoredRows:
        """Open a shard to copy its rows."""
        return Hdf5Rows(stem, self._sparse)

    def assemble(
        self, directory: Path, shards: Sequence[WrittenShard], scale: np.ndarray, normalisation: Normalisation
    ) -> tuple[dict[str, int | None], dict[str, Any]]:
        """Write a file of virtual datasets for every split, with normalised weights."""
        names = {shard: f"{SHARDS}/{_path(shard.stem).name}" for shard in shards}
        files: dict[str, int | None] = {name: sum(map(shard.index.rows, SPLITS)) for shard, name in names.items()}
        for split in SPLITS:
            files[f"{split}.h5"] = sum(shard.index.rows(split) for shard in shards)
            with GrowingFile(directory / f"{split}.h5") as out:
                _join(out, split, names, scale, self._row(), self._sparse)
                out.file.attrs["nanoforge"] = __version__
                self._describe(out.file, normalisation)
        return files, {"shards": {name: rows_of(shard.index.records) for shard, name in names.items()}}

    def _row(self) -> str | None:
        """Name the table that has the weights among its fields; None where they are a dataset of their own."""
        return None

    def _describe(self, file: h5py.File, normalisation: Normalisation) -> None:
        for name, block in self._analysis.inputs.items():
            parts = self._sparse.get(name, ("features",))
            names, expressions = list(block.feature_expressions), list(block.feature_expressions.values())
            for part, columns in zip(parts, (slice(0, 2), slice(2, None)) if len(parts) > 1 else (slice(None),)):
                file[f"{name}/{part}"].attrs["names"] = names[columns]
                file[f"{name}/{part}"].attrs["expressions"] = expressions[columns]
            for key, values in normalisation[name].items():
                file.create_dataset(f"{NORMALISATION}/{name}/{key}", data=values)  # assigned, it would hold the time
        if "target/label" in file:
            file["target/label"].attrs["classes"] = list(self._analysis.classes)
        file["id/sample"].attrs["names"] = list(self._analysis.samples)

    @classmethod
    def open(cls, directory: Path, manifest: Manifest, in_memory: str, workers: int | None) -> TrainingData:
        """Open a finished dataset for training."""
        from ..tensors import Hdf5Data

        return Hdf5Data(directory, manifest, in_memory, workers)


def _path(stem: Path) -> Path:
    return stem.with_suffix(".h5")


def tensors(block: EventBlock, info: DatasetInfo, sparse: Sparse) -> Arrays:
    """Lay rows out as plain tensors, see :mod:`..info`, but for some inputs, see :mod:`..sparse`."""
    arrays: Arrays = {}
    for name, values in block.inputs.items():
        features, valid = values if isinstance(values, tuple) else (values, None)
        if name in sparse:
            packed = pack(features, valid, info.inputs[name].image)
            arrays.update({f"{name}/{part}": values for part, values in packed.items()})
            continue
        arrays[f"{name}/features"] = features
        if valid is not None:
            arrays[f"{name}/valid"] = valid
    if block.label is not None:
        arrays["target/label"] = block.label
    arrays.update({f"target/{n}": v for n, v in block.targets.items()})
    arrays.update({"weight": block.weight, "fold": block.fold})
    arrays.update({f"id/{n}": v for n, v in block.identity.items()})
    arrays.update({f"keep/{n}": v for n, v in block.keep.items()})
    return arrays


class Hdf5Shard(ShardWriter):
    """Writes rows to ``<stem>.h5``, one group per split."""

    def __init__(self, stem: Path, compression: Compression, sparse: Sparse) -> None:
        super().__init__()
        self._shard = _path(stem)
        self._sparse = sparse
        self._written = dict.fromkeys(itertools.product(SPLITS, sparse), 0)
        self._file = GrowingFile(temporary_path(self._shard), compression)

    def _append(self, rows: SplitRows) -> None:
        for split, arrays in rows.items():  # in the order of names, whatever that of a layout or of a part's file is
            stops = {f"{name}/stops": arrays[f"{name}/stops"] + self._written[split, name] for name in self._sparse}
            arrays = {**arrays, **stops}
            self._file.append({f"{split}/{name}": arrays[name] for name in sorted(arrays)})
            for name, parts in self._sparse.items():
                self._written[split, name] += len(arrays[f"{name}/{parts[0]}"])

    def _finish(self) -> None:
        self._file.close()

    def _abandon(self) -> None:
        self._file.discard()

    def _files(self) -> list[Path]:
        return [self._shard]

    @staticmethod
    def _types(rows: Arrays) -> dict[str, np.dtype]:
        return {name: values.dtype for name, values in rows.items()}


class Hdf5Rows(StoredRows):
    """The rows of a shard in HDF5."""

    def __init__(self, stem: Path, sparse: Sparse) -> None:
        self._file = open_rows(_path(stem))
        self._sparse = sparse
        self._columns = {split: datasets(self._file[split]) for split in SPLITS}
        missing = {f"{name}/{part}" for name, parts in sparse.items() for part in parts} - self._columns[
            SPLITS[0]
        ].keys()
        if missing:
            self._file.close()
            raise DataError(f"{_path(stem)}: no dataset {min(missing)!r}: make this part again")

    def read(self, split: str, start: int, stop: int) -> dict[str, np.ndarray]:
        """Read rows of a split."""
        return rows_between(self._columns[split], self._sparse, start, stop)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _join(
    out: GrowingFile,
    split: str,
    shards: Mapping[WrittenShard, str],
    scale: np.ndarray,
    row: str | None,
    sparse: Sparse,
) -> None:
    """Map the shards' datasets into one; the one with the weights, SALT's of the ``row``, is copied and scaled."""
    used = [shard for shard in shards if shard.index.rows(split)] or list(shards)[:1]
    with ExitStack() as stack:
        groups = [stack.enter_context(open_rows(_path(shard.stem)))[split] for shard in used]
        columns = [datasets(group) for group in groups]
        types = [{name: item.dtype for name, item in found.items()} for found in columns]
        for shard, others in zip(used[1:], types[1:]):
            compare_types(shard.first(split), others, used[0].first(split), types[0])
        for name, parts in sparse.items():
            ends = [found.pop(f"{name}/stops")[:] for found in columns]
            _write_offsets(out, f"{name}/offsets", ends, [len(found[f"{name}/{parts[0]}"]) for found in columns])
        for name in columns[0]:
            items = [found[name] for found in columns]
            if name == (row or "weight"):
                values = np.concatenate([_scaled(group, scale, row) for group in groups])
                out.reserve(values.nbytes)
                out.file.create_dataset(name, data=values)
                continue
            sources = [(shards[shard], f"{split}/{name}", len(item)) for shard, item in zip(used, items)]
            out.map(name, (sum(map(len, items)), *items[0].shape[1:]), items[0].dtype, sources)


def _write_offsets(out: GrowingFile, name: str, stops: Sequence[np.ndarray], totals: Sequence[int]) -> None:
    """Write where the constituents of every row begin, of shards' ``stops`` (N,) and numbers of constituents."""
    before = np.cumsum([0, *totals[:-1]])
    offsets = np.concatenate([np.zeros(1, np.int64), *(ends + first for ends, first in zip(stops, before))])
    out.reserve(offsets.nbytes)
    out.file.create_dataset(name, data=offsets)


def _scaled(group: h5py.Group, scale: np.ndarray, row: str | None) -> np.ndarray:
    """Read the weights of a shard, times the factors (S,) of their samples; those of SALT with all fields."""
    values = np.asarray(group[row or "weight"][:])
    sample = values["sample"] if row else group["id/sample"][:]
    weight = values["weight"] if row else values
    weight *= scale[sample]
    return values
