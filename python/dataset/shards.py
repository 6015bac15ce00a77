"""Shards: the rows of neighbouring input files, split by split, and a record of what each file contributed.

A dataset has few of them, however many files it is made from: HDF5 keeps every source of a virtual dataset open, and
once file descriptors run out it reads fill values without an error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from ..errors import DataError
from ..provenance import Accounting, FileRecord
from ..provenance.manifest import adler32, output_record, sealed, unsealed, write_atomically
from . import extremes, kernels
from .categories import count_unlisted
from .event_block import EventBlock
from .info import SPLITS, DatasetInfo
from .inputs import split_input
from .statistics import merge

SHARDS = "shards"
"""The folder with them."""
MOST_SHARDS, FEWEST_SHARDS = 32, 8
"""What a dataset has, but for one of fewer files; and in between as many as hold this:"""
_SHARD_BYTES = 1 << 26
"""Of input files. To make the datasets inside a shard costs as much as to convert some small files."""
_PER_INPUT = ("moments", "extremes", "unlisted")
NO_CATEGORIES: Mapping[str, Mapping[int, Sequence[int]]] = MappingProxyType({})
Record = TypeVar("Record", bound="ShardRecord")
SplitRows = Mapping[str, Any]
"""The rows of every split: arrays by name for HDF5, an Arrow table for Parquet."""


def shard_groups(sizes: Sequence[int | None]) -> list[range]:
    """Divide input files into groups of neighbours, of about the same size.

    Parameters
    ----------
    sizes
        Of the files, in bytes. Where one is not known, all count the same.
    """
    counted = [max(1, size) for size in sizes if size is not None]
    groups = min(MOST_SHARDS, max(FEWEST_SHARDS, sum(counted) // _SHARD_BYTES))
    if len(counted) < len(sizes):
        counted, groups = [1] * len(sizes), MOST_SHARDS
    if groups >= len(sizes):
        return [range(i, i + 1) for i in range(len(sizes))]
    total, filled, edges = sum(counted), 0, [0]
    for number, size in enumerate(counted):
        if (2 * filled + size) * groups // (2 * total) >= len(edges) and number > edges[-1]:
            edges.append(number)
        filled += size
    return [range(first, last) for first, last in zip(edges, [*edges[1:], len(sizes)])]


@dataclass
class ShardRecord:
    """What one input file contributed to its shard.

    Attributes
    ----------
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
    unlisted
        Per input with categories: (2, F), how many entries of the same rows there are, and how many in no category.
    hashed
        Number of events with rows, of which hashes are kept, see :mod:`.repeats`.
    lacks, likely
        Columns of the identity that the file does not have, so that its events are identified by file and entry; and
        those that may do so in their place.
    moments
        Per input: (folds, 3, F) counts, means and squared deviations of the training rows.
    blocks
        Number of rows per split of every block that was written, in order: a merge of parts writes the same ones.
    """

    source: FileRecord
    rows: dict[str, int] = field(default_factory=dict)
    accounting: Accounting = field(default_factory=Accounting)
    sum_of_weights: float = 0.0
    gen_sum_of_weights: float | None = None
    largest_weight: float = 0.0
    population: np.ndarray = field(default_factory=lambda: np.zeros((len(SPLITS), 1, 1), np.int64))
    known: np.ndarray = field(default_factory=lambda: np.zeros((len(SPLITS), 1, 0), np.int64))
    moments: dict[str, np.ndarray] = field(default_factory=dict)
    extremes: dict[str, np.ndarray] = field(default_factory=dict)
    unlisted: dict[str, np.ndarray] = field(default_factory=dict)
    hashed: int = 0
    lacks: list[str] = field(default_factory=list)
    likely: list[str] = field(default_factory=list)
    blocks: list[list[int]] = field(default_factory=list)

    def begin(self, info: DatasetInfo) -> None:
        """Begin with no rows of a dataset."""
        folds = len(SPLITS), info.folds
        self.rows = dict.fromkeys(SPLITS, 0)
        self.population = np.zeros((*folds, max(1, len(info.classes))), np.int64)
        self.known = np.zeros((*folds, len(info.regression)), np.int64)

    def book(self, block: EventBlock, categories: Mapping[str, Mapping[int, Sequence[int]]] = NO_CATEGORIES) -> None:
        """Count the rows of a block, and look at its training rows, which are the first ones.

        ``categories`` are those of inputs, by position of the feature.
        """
        _, folds, classes = self.population.shape
        for split, start, stop in zip(SPLITS, block.bounds[:-1], block.bounds[1:]):
            self.rows[split] += int(stop - start)
        side = np.repeat(np.arange(len(SPLITS)), np.diff(block.bounds))
        cell = side * folds + block.fold
        label = 0 if block.label is None else block.label
        self.population += _histogram(cell * classes + label, self.population.shape)
        for target, values in enumerate(block.targets.values()):
            self.known[..., target] += _histogram(cell[~np.isnan(values)], self.known.shape[:2])
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
            if name in categories:
                counts = count_unlisted(features, valid, categories[name])
                self.unlisted[name] = self.unlisted.get(name, 0) + counts

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        arrays = {key: {name: values.tolist() for name, values in getattr(self, key).items()} for key in _PER_INPUT}
        counts = {name: getattr(self, name).tolist() for name in ("population", "known")}
        nested = {"source": asdict(self.source), "accounting": self.accounting.as_dict()}
        return {field.name: getattr(self, field.name) for field in fields(self)} | arrays | counts | nested

    @classmethod
    def from_dict(cls: type[Record], content: dict[str, Any]) -> Record:
        """Rebuild what :meth:`as_dict` wrote; raises a KeyError, TypeError or ValueError where it is something else."""
        content["source"] = FileRecord(**content["source"])
        content["accounting"] = Accounting.from_dict(content["accounting"])
        content |= {key: {n: np.array(v) for n, v in content[key].items()} for key in _PER_INPUT}
        content |= {name: np.array(content[name], np.int64) for name in ("population", "known")}
        return cls(**content)


def _histogram(cells: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)


@dataclass
class ShardIndex:
    """What is in a shard; written beside it when the shard is complete and on the disk.

    Attributes
    ----------
    key
        What the shard was made from: another key, and the shard is made again.
    files
        Its files, by name, with sizes and checksums.
    records
        Of its input files, in order.
    """

    key: str
    files: list[FileRecord]
    records: list[ShardRecord]

    def rows(self, split: str) -> int:
        """Count the rows of a split."""
        return sum(record.rows.get(split, 0) for record in self.records)

    def names(self, stem: Path) -> list[str]:
        """Return the names of the shard's files and of this one."""
        return [*(file.path for file in self.files), index_path(stem).name]

    def write(self, stem: Path) -> None:
        """Write the index as JSON, atomically."""
        content = {"key": self.key, "files": [asdict(file) for file in self.files]}
        content["records"] = [record.as_dict() for record in self.records]
        write_atomically(index_path(stem), sealed(content))

    @classmethod
    def read(cls, stem: Path) -> ShardIndex | None:
        """Read an index; None when there is none, or none that is whole."""
        try:
            content = unsealed(index_path(stem).read_text())
            files = [FileRecord(**file) for file in content["files"]]
            return cls(content["key"], files, [ShardRecord.from_dict(record) for record in content["records"]])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def verify(self, stem: Path) -> bool:
        """Whether the files of the shard are those that were written, by their sizes and checksums."""
        try:
            return all(
                (stem.parent / file.path).stat().st_size == file.size
                and adler32(stem.parent / file.path) == file.adler32
                for file in self.files
            )
        except OSError:
            return False


@dataclass(frozen=True, eq=False)
class WrittenShard:
    """A shard with rows in the dataset: its path without suffix, and what is in it."""

    stem: Path
    index: ShardIndex

    def first(self, split: str) -> str:
        """Return its first input file, of those with rows in a split where there are any."""
        records = self.index.records
        return next((r for r in records if r.rows.get(split)), records[0]).source.path


def rows_of(records: Iterable[ShardRecord]) -> dict[str, int]:
    """Count the rows of input files, per split."""
    counts = dict.fromkeys(SPLITS, 0)
    for record in records:
        for split, rows in record.rows.items():
            counts[split] += rows
    return counts


def index_path(stem: Path) -> Path:
    """Say where the index of a shard lies."""
    return stem.with_suffix(".json")


class ShardWriter(ABC):
    """Writes the rows of input files, one file after the other; they are there when it is closed as complete."""

    def __init__(self) -> None:
        self._path = self._sample = ""
        self._first: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._compared: set[str] = set()

    def begin(self, path: str, sample: str) -> None:
        """Begin with the rows of the next input file."""
        self._path, self._sample = path, sample
        self._compared.clear()

    def append(self, rows: SplitRows) -> None:
        """Append rows of the input file.

        Raises
        ------
        DataError
            When it has other columns than the files before it.
        """
        for split, values in rows.items():
            if split not in self._compared and _count_rows(values):
                self._compared.add(split)
                types = self._types(values)
                compare_types(self._path, types, *self._first.setdefault(split, (self._path, types)))
        self._append(rows)

    def close(self, *, complete: bool) -> list[FileRecord]:
        """Bring the shard's files to the disk and return them, or (not complete) remove what there is of them."""
        try:
            if complete:
                self._finish()
                return [put_in_place(path) for path in self._files()]
            self._abandon()
        except BaseException:
            self._abandon()
            raise
        finally:
            for path in self._files():
                temporary_path(path).unlink(missing_ok=True)
        return []

    @abstractmethod
    def _append(self, rows: SplitRows) -> None: ...

    @abstractmethod
    def _finish(self) -> None:
        """Write what waits, and close the files."""

    @abstractmethod
    def _abandon(self) -> None:
        """Close files that are to be removed."""

    @abstractmethod
    def _files(self) -> list[Path]:
        """List the files as they are called in the end."""

    @staticmethod
    @abstractmethod
    def _types(rows: Any) -> Mapping[str, Any]:
        """Return the types of the columns by name."""


def compare_types(path: str, types: Mapping[str, Any], first: str, others: Mapping[str, Any]) -> None:
    """Raise a :class:`DataError` where two files have other columns, or columns of other types: none is converted.

    Parameters
    ----------
    path, types
        A file, and its columns by name.
    first, others
        A file before it, and its columns.
    """
    for name in dict.fromkeys([*others, *types]):
        if name not in types or name not in others:
            has, lacks = (path, first) if name in types else (first, path)
            raise DataError(f"{lacks}: has no {name}, but {has} has it: mend the files, or leave the column out")
        if types[name] != others[name]:
            raise DataError(
                f"{path}: {name} is {types[name]}, but {others[name]} in {first}: define it as a float, '1.0 * …', or "
                "mend the files"
            )


def _count_rows(values: Any) -> int:
    """Count the rows of arrays by name, or of an Arrow table."""
    return len(next(iter(values.values()))) if isinstance(values, dict) else len(values)


def temporary_path(path: Path) -> Path:
    """Say where a file is while it is written."""
    return path.with_name(f"{path.name}.part")


def put_in_place(path: Path) -> FileRecord:
    """Give a file that was written its name, when it is on the disk."""
    record = output_record(temporary_path(path), path.name)
    temporary_path(path).replace(path)
    return record
