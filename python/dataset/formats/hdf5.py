"""HDF5, one plain tensor for each input: shards, and a file of virtual datasets over them for every split."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ...config.schema import Compression
from ...provenance import Manifest
from ...version import __version__
from ..event_block import Arrays, EventBlock
from ..format import DatasetFormat, Normalisation, StoredRows
from ..hdf5 import GrowingFile, datasets, open_rows
from ..info import NORMALISATION, SPLITS
from ..shards import SHARDS, ShardWriter, SplitRows, WrittenShard, compare_types, rows_of, temporary_path
from ..sparse import pack, rows_between

if TYPE_CHECKING:
    from ..source import TrainingData


class Hdf5Format(DatasetFormat):
    """Plain tensors in HDF5, see :mod:`..info`."""

    def lay_out(self, block: EventBlock) -> SplitRows:
        """Lay rows out as arrays by name, split by split."""
        rows = self._arrays(block)
        return {split: rows_between(rows, self._sparse, start, stop) for split, start, stop in block.spans()}

    def _arrays(self, block: EventBlock) -> Arrays:
        return tensors(block, self._sparse)

    @property
    def _sparse(self) -> Sequence[str]:
        """The inputs that have no padding."""
        return [name for name, described in self._info.inputs.items() if described.sparse]

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
            features = file[f"{name}/{'contents' if name in self._sparse else 'features'}"]
            features.attrs["names"] = list(block.feature_expressions)
            features.attrs["expressions"] = list(block.feature_expressions.values())
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


def tensors(block: EventBlock, sparse: Sequence[str]) -> Arrays:
    """Lay rows out as plain tensors, see :mod:`..info`, but for some inputs, see :mod:`..sparse`."""
    arrays: Arrays = {}
    for name, values in block.inputs.items():
        features, valid = values if isinstance(values, tuple) else (values, None)
        if name in sparse:
            arrays[f"{name}/contents"], arrays[f"{name}/stops"] = pack(features, valid)
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

    def __init__(self, stem: Path, compression: Compression, sparse: Sequence[str]) -> None:
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
            for name in self._sparse:
                self._written[split, name] += len(arrays[f"{name}/contents"])

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

    def __init__(self, stem: Path, sparse: Sequence[str]) -> None:
        self._file = open_rows(_path(stem))
        self._sparse = sparse
        self._columns = {split: datasets(self._file[split]) for split in SPLITS}

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
    sparse: Sequence[str],
) -> None:
    """Map the shards' datasets into one; the one with the weights, SALT's of the ``row``, is copied and scaled."""
    used = [shard for shard in shards if shard.index.rows(split)] or list(shards)[:1]
    described = [_described(shard, split) for shard in used]
    for shard, types in zip(used[1:], described[1:]):
        dtypes = ({name: dtype for name, (_, dtype) in columns.items()} for columns in (types, described[0]))
        compare_types(shard.first(split), next(dtypes), used[0].first(split), next(dtypes))
    rows = sum(shard.index.rows(split) for shard in used)
    for name in sparse:
        shape, dtype = described[0].pop(f"{name}/contents")
        del described[0][f"{name}/stops"]
        _join_sparse(out, split, name, {s: shards[s] for s in used}, shape, dtype)
    for name, (shape, dtype) in described[0].items():
        if name == (row or "weight"):
            values = np.concatenate([_scaled(shard, split, scale, row) for shard in used])
            out.reserve(values.nbytes)
            out.file.create_dataset(name, data=values)
            continue
        out.map(name, (rows, *shape), dtype, [(shards[s], f"{split}/{name}", s.index.rows(split)) for s in used])


def _join_sparse(
    out: GrowingFile,
    split: str,
    name: str,
    shards: Mapping[WrittenShard, str],
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> None:
    """Map the contents of an input into one dataset, and write the offsets of its rows."""
    offsets, sources, total = [np.zeros(1, np.int64)], [], 0
    for shard, path in shards.items():
        with open_rows(_path(shard.stem)) as file:
            offsets.append(file[f"{split}/{name}/stops"][:] + total)
            rows = len(file[f"{split}/{name}/contents"])
        sources.append((path, f"{split}/{name}/contents", rows))
        total += rows
    joined = np.concatenate(offsets)
    out.map(f"{name}/contents", (total, *shape), dtype, sources)
    out.reserve(joined.nbytes)
    out.file.create_dataset(f"{name}/offsets", data=joined)


def _described(shard: WrittenShard, split: str) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return shape of a row and type of every dataset of a split."""
    with open_rows(_path(shard.stem)) as file:
        return {name: (item.shape[1:], item.dtype) for name, item in datasets(file[split]).items()}


def _scaled(shard: WrittenShard, split: str, scale: np.ndarray, row: str | None) -> np.ndarray:
    """Read the weights of a shard, times the factors (S,) of their samples; those of SALT with all fields."""
    with open_rows(_path(shard.stem)) as file:
        group = file[split]
        values = np.asarray(group[row or "weight"][:])
        sample = values["sample"] if row else group["id/sample"][:]
    weight = values["weight"] if row else values
    weight *= scale[sample]
    return values
