"""HDF5, one plain tensor for each input: shards, and a file of virtual datasets over them for every split."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from ..source import TrainingData


class Hdf5Format(DatasetFormat):
    """Plain tensors in HDF5, see :mod:`..info`."""

    def lay_out(self, block: EventBlock) -> SplitRows:
        """Lay rows out as arrays by name, split by split."""
        rows = self._arrays(block)
        return {split: {n: v[start:stop] for n, v in rows.items()} for split, start, stop in block.spans()}

    def _arrays(self, block: EventBlock) -> Arrays:
        return tensors(block)

    def files(self, stem: Path) -> list[Path]:
        """List the one file of a shard."""
        return [_path(stem)]

    def _writer(self, stem: Path) -> ShardWriter:
        return Hdf5Shard(stem, self._analysis.dataset.compression)

    def stored(self, stem: Path) -> StoredRows:
        """Open a shard to copy its rows."""
        return Hdf5Rows(stem)

    def assemble(
        self, directory: Path, shards: Sequence[WrittenShard], scale: np.ndarray, normalisation: Normalisation
    ) -> tuple[dict[str, int | None], dict[str, Any]]:
        """Write a file of virtual datasets for every split, with normalised weights."""
        names = {shard: f"{SHARDS}/{_path(shard.stem).name}" for shard in shards}
        files: dict[str, int | None] = {name: sum(map(shard.index.rows, SPLITS)) for shard, name in names.items()}
        for split in SPLITS:
            files[f"{split}.h5"] = sum(shard.index.rows(split) for shard in shards)
            with GrowingFile(directory / f"{split}.h5") as out:
                _join(out, split, names, scale, self._row())
                out.file.attrs["nanoforge"] = __version__
                self._describe(out.file, normalisation)
        return files, {"shards": {name: rows_of(shard.index.records) for shard, name in names.items()}}

    def _row(self) -> str | None:
        """Name the table that has the weights among its fields; None where they are a dataset of their own."""
        return None

    def _describe(self, file: h5py.File, normalisation: Normalisation) -> None:
        for name, block in self._analysis.inputs.items():
            features = file[f"{name}/features"]
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


def tensors(block: EventBlock) -> Arrays:
    """Lay rows out as plain tensors, see :mod:`..info`."""
    arrays: Arrays = {}
    for name, values in block.inputs.items():
        features, valid = values if isinstance(values, tuple) else (values, None)
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

    def __init__(self, stem: Path, compression: Compression) -> None:
        super().__init__()
        self._shard = _path(stem)
        self._file = GrowingFile(temporary_path(self._shard), compression)

    def _append(self, rows: SplitRows) -> None:
        for split, arrays in rows.items():  # in the order of names, whatever that of a layout or of a part's file is
            self._file.append({f"{split}/{name}": arrays[name] for name in sorted(arrays)})

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

    def __init__(self, stem: Path) -> None:
        self._file = open_rows(_path(stem))
        self._columns = {split: datasets(self._file[split]) for split in SPLITS}

    def read(self, split: str, start: int, stop: int) -> dict[str, np.ndarray]:
        """Read rows of a split."""
        return {name: dataset[start:stop] for name, dataset in self._columns[split].items()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _join(out: GrowingFile, split: str, shards: Mapping[WrittenShard, str], scale: np.ndarray, row: str | None) -> None:
    """Map the shards' datasets into one; the one with the weights, SALT's of the ``row``, is copied and scaled."""
    used = [shard for shard in shards if shard.index.rows(split)] or list(shards)[:1]
    described = [_described(shard, split) for shard in used]
    for shard, types in zip(used[1:], described[1:]):
        dtypes = ({name: dtype for name, (_, dtype) in columns.items()} for columns in (types, described[0]))
        compare_types(shard.first(split), next(dtypes), used[0].first(split), next(dtypes))
    rows = sum(shard.index.rows(split) for shard in used)
    for name, (shape, dtype) in described[0].items():
        if name == (row or "weight"):
            values = np.concatenate([_scaled(shard, split, scale, row) for shard in used])
            out.reserve(values.nbytes)
            out.file.create_dataset(name, data=values)
            continue
        out.map(name, (rows, *shape), dtype, [(shards[s], f"{split}/{name}", s.index.rows(split)) for s in used])


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
