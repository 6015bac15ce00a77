"""One shard per input file: its rows, split by split, and a record of what went into it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..config.schema import Analysis, Compression
from ..provenance import Accounting, FileRecord
from ..provenance.manifest import write_atomically
from . import extremes, kernels, layouts
from .hdf5 import GrowingFile
from .info import SPLITS, DatasetInfo
from .inputs import split_input
from .layouts import Block
from .statistics import merge

_PER_INPUT = ("moments", "extremes")


@dataclass
class ShardRecord:
    """What one input file contributed; written beside the shard when the shard is complete.

    Attributes
    ----------
    key
        What the shard was made from: another key, and the shard is made again.
    size
        Bytes of the shard's files.
    source
        The input file.
    rows
        Number of rows per split.
    accounting
        Events and rows of this file.
    sum_of_weights
        Of all events read, before cuts.
    gen_sum_of_weights
        From the ``Runs`` tree; None where there is none.
    largest_weight
        The largest absolute weight of a row.
    population
        Number of rows per split, fold and class, (3, K, C); without classes C is 1.
    known
        Number of rows in which a regression target is known, per split, fold and target, (3, K, T).
    extremes
        Per input: (8, F), see :mod:`.extremes`, of some of the training rows.
    lacks, likely
        Columns of the identity that the file does not have, so that its events are identified by file and entry; and
        those that may do so in their place.
    moments
        Per input: (folds, 3, F) counts, means and squared deviations of the training rows.
    """

    key: str
    source: FileRecord
    rows: dict[str, int] = field(default_factory=dict)
    accounting: Accounting = field(default_factory=Accounting)
    sum_of_weights: float = 0.0
    gen_sum_of_weights: float | None = None
    largest_weight: float = 0.0
    population: np.ndarray = field(default_factory=lambda: np.zeros((len(SPLITS), 1, 1), np.int64))
    known: np.ndarray = field(default_factory=lambda: np.zeros((len(SPLITS), 1, 0), np.int64))
    moments: dict[str, np.ndarray] = field(default_factory=dict)
    size: int = 0
    extremes: dict[str, np.ndarray] = field(default_factory=dict)
    lacks: list[str] = field(default_factory=list)
    likely: list[str] = field(default_factory=list)

    def begin(self, info: DatasetInfo) -> None:
        """Begin with no rows of a dataset."""
        folds = len(SPLITS), info.folds
        self.rows = dict.fromkeys(SPLITS, 0)
        self.population = np.zeros((*folds, max(1, len(info.classes))), np.int64)
        self.known = np.zeros((*folds, len(info.regression)), np.int64)

    def book(self, block: Block) -> None:
        """Count the rows of a block, and the moments of its training rows, which are the first ones."""
        _, folds, classes = self.population.shape
        for split, start, stop in zip(SPLITS, block.bounds[:-1], block.bounds[1:]):
            self.rows[split] += int(stop - start)
        side = np.repeat(np.arange(len(SPLITS)), np.diff(block.bounds))
        cell = side * folds + block.fold
        label = 0 if block.label is None else block.label
        self.population += _count(cell * classes + label, self.population.shape)
        for target, values in enumerate(block.targets.values()):
            self.known[..., target] += _count(cell[~np.isnan(values)], self.known.shape[:2])
        training = slice(0, int(block.bounds[1]))
        for name, values in block.inputs.items():
            features, valid = split_input(values)
            features, valid = features[training], valid[training]
            moments = kernels.moments(features, valid, block.fold[training], folds)
            edges = extremes.look(features, valid)
            if name in self.moments:
                moments = merge([self.moments[name], moments])
                edges = extremes.merge([self.extremes[name], edges])
            self.moments[name], self.extremes[name] = moments, edges

    def write(self, path: Path) -> None:
        """Write the record as JSON, atomically."""
        content = asdict(self) | {
            key: {name: values.tolist() for name, values in getattr(self, key).items()} for key in _PER_INPUT
        }
        content |= {name: getattr(self, name).tolist() for name in ("population", "known")}
        write_atomically(path, json.dumps(content))

    @classmethod
    def read(cls, path: Path) -> ShardRecord | None:
        """Read a record; None when there is none, or none that is whole."""
        try:
            content = json.loads(path.read_text())
            content["source"] = FileRecord(**content["source"])
            content["accounting"] = Accounting.from_dict(content["accounting"])
            content |= {key: {n: np.array(v) for n, v in content[key].items()} for key in _PER_INPUT}
            content |= {name: np.array(content[name], np.int64) for name in ("population", "known")}
            return cls(**content)
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _count(cells: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)


class Hdf5Shard:
    """Writes rows to ``<stem>.h5``, one group per split, growing dataset by dataset."""

    def __init__(self, stem: Path, lay_out: Callable[[Block], layouts.Arrays], compression: Compression) -> None:
        self.path = stem.with_suffix(".h5")
        self._temporary = stem.with_suffix(".part")
        self._file = GrowingFile(self._temporary, compression)
        self._lay_out = lay_out

    def append(self, block: Block) -> None:
        """Append the rows of a block."""
        arrays = self._lay_out(block)
        spans = list(zip(SPLITS, block.bounds[:-1], block.bounds[1:]))
        self._file.append({f"{s}/{n}": values[start:stop] for s, start, stop in spans for n, values in arrays.items()})

    def close(self, complete: bool) -> None:
        """Finish the shard, or remove what there is of it."""
        self._file.close()
        if complete:
            self._temporary.replace(self.path)
        else:
            self._temporary.unlink(missing_ok=True)


class ParquetShard:
    """Writes rows to ``<stem>.<split>.parquet``."""

    def __init__(self, stem: Path, lay_out: Callable[[Block], Any]) -> None:
        self._stem = stem
        self._lay_out = lay_out
        self._writers: dict[str, Any] = {}

    def append(self, block: Block) -> None:
        """Append the rows of a block."""
        import pyarrow.parquet as pq

        table = self._lay_out(block)
        for split, start, stop in zip(SPLITS, block.bounds[:-1], block.bounds[1:]):
            if split not in self._writers:
                self._writers[split] = pq.ParquetWriter(self._path(split), table.schema, compression="zstd")
            self._writers[split].write_table(table.slice(start, stop - start))

    def _path(self, split: str) -> Path:
        return parquet_part(self._stem, split)

    def close(self, complete: bool) -> None:
        """Finish the shard, or remove what there is of it."""
        try:
            for writer in self._writers.values():
                writer.close()
        except OSError:
            complete = False
            raise
        finally:
            for split, writer in self._writers.items():
                writer.is_open = False  # a writer that failed to close would try again when it is deleted
                if not complete:
                    self._path(split).unlink()


def parquet_part(stem: Path, split: str) -> Path:
    """Say where the rows of a split lie in a Parquet shard."""
    return stem.with_name(f"{stem.name}.{split}.parquet")


def open_shard(stem: Path, analysis: Analysis, info: DatasetInfo) -> Hdf5Shard | ParquetShard:
    """Start the shard of one input file in the format and layout of the analysis."""
    if analysis.dataset.format == "parquet":
        return ParquetShard(stem, layouts.parquet(info))
    lay_out = layouts.tensors if analysis.dataset.layout == "tensors" else layouts.salt(info)
    return Hdf5Shard(stem, lay_out, analysis.dataset.compression)


def shard_size(stem: Path) -> int:
    """Return the bytes of all files of a shard."""
    return sum(path.stat().st_size for path in shard_files(stem))


def shard_files(stem: Path) -> list[Path]:
    """Return the files of a shard."""
    return sorted(path for path in stem.parent.glob(f"{stem.name}.*") if path.suffix in (".h5", ".parquet"))
