"""Shards made from those of parts: the same rows, written in the same blocks, so that they are equal to the byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ..config.schema import Analysis
from ..errors import DataError
from .hdf5 import datasets, open_rows
from .info import SPLITS
from .shards import ShardIndex, ShardRecord, ShardWriter, index_path, shard_path


@dataclass(frozen=True)
class StoredFile:
    """What a part holds of one input file.

    ``starts`` are its first rows in the part's shard, split by split, and ``first`` its first event in the hashes.
    """

    stem: Path
    starts: Mapping[str, int]
    record: ShardRecord
    first: int


def stored_files(stem: Path) -> Iterator[StoredFile]:
    """List what a part's shard holds of its input files, in order.

    Raises
    ------
    DataError
        When its index is damaged.
    """
    index = ShardIndex.read(stem)
    if index is None:
        raise DataError(f"{index_path(stem)}: damaged: make this part again")
    starts, first = dict.fromkeys(SPLITS, 0), 0
    for record in index.records:
        yield StoredFile(stem, starts, record, first)
        starts = {split: start + record.rows.get(split, 0) for split, start in starts.items()}
        first += record.hashed


def copy_rows(files: Iterable[StoredFile], analysis: Analysis, writer: ShardWriter) -> None:
    """Write the rows of input files that parts hold, in order."""
    stored = _ParquetRows if analysis.dataset.format == "parquet" else _Hdf5Rows
    for stem, of_shard in groupby(files, lambda file: file.stem):
        with closing(stored(stem)) as rows:
            for file in of_shard:
                writer.begin(file.record.source.path, str(file.record.source.sample))
                starts = dict(file.starts)
                for counts in file.record.blocks:
                    writer.append({s: rows.read(s, starts[s], starts[s] + n) for s, n in zip(SPLITS, counts)})
                    starts = {split: starts[split] + count for split, count in zip(SPLITS, counts)}


class _Hdf5Rows:
    def __init__(self, stem: Path) -> None:
        self._file = open_rows(shard_path(stem))
        self._columns = {split: datasets(self._file[split]) for split in SPLITS}

    def read(self, split: str, start: int, stop: int) -> dict[str, np.ndarray]:
        return {name: dataset[start:stop] for name, dataset in self._columns[split].items()}

    def close(self) -> None:
        self._file.close()


class _ParquetRows:
    def __init__(self, stem: Path) -> None:
        self._stem = stem
        self._groups: dict[str, _RowGroups] = {}

    def read(self, split: str, start: int, stop: int) -> Any:
        if split not in self._groups:
            self._groups[split] = _RowGroups(shard_path(self._stem, split))
        return self._groups[split].read(start, stop)

    def close(self) -> None:
        for groups in self._groups.values():
            groups.file.close()


class _RowGroups:
    """Rows of a Parquet file by their numbers; the row group that was read last is kept."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.file = pq.ParquetFile(path)
        sizes = [self.file.metadata.row_group(i).num_rows for i in range(self.file.num_row_groups)]
        self._edges = np.cumsum([0, *sizes]).tolist()
        self._last: tuple[int, Any] = (-1, self.file.schema_arrow.empty_table())

    def read(self, start: int, stop: int) -> Any:
        import pyarrow as pa

        pieces = [self._last[1].slice(0, 0)]
        group = int(np.searchsorted(self._edges, start, side="right")) - 1
        while start < stop:
            if self._last[0] != group:
                self._last = (group, self.file.read_row_group(group))
            low, high = self._edges[group], min(stop, self._edges[group + 1])
            pieces.append(self._last[1].slice(start - low, high - start))
            start, group = high, group + 1
        return pa.concat_tables(pieces)
