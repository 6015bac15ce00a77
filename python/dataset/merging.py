"""Shards made from those of parts: the same rows, written in the same blocks, so that they are equal to the byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ..errors import DataError
from .format import DatasetFormat
from .info import SPLITS
from .shards import ShardIndex, ShardRecord, ShardWriter, index_path


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


def copy_rows(files: Iterable[StoredFile], layout: DatasetFormat, writer: ShardWriter) -> None:
    """Write the rows of input files that parts hold, in order."""
    for stem, of_shard in groupby(files, lambda file: file.stem):
        with closing(layout.stored(stem)) as rows:
            for file in of_shard:
                writer.begin(file.record.source.path, str(file.record.source.sample))
                starts = dict(file.starts)
                for counts in file.record.blocks:
                    writer.append({s: rows.read(s, starts[s], starts[s] + n) for s, n in zip(SPLITS, counts)})
                    starts = {split: starts[split] + count for split, count in zip(SPLITS, counts)}
