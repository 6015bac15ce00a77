"""Parquet: jagged columns, a folder for every split."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from ...provenance import Manifest
from ..event_block import EventBlock
from ..format import DatasetFormat, Normalisation, StoredRows
from ..info import NORMALISATION, SPLITS
from ..shards import SHARDS, ShardWriter, SplitRows, WrittenShard, compare_types, temporary_path

if TYPE_CHECKING:
    from ..source import TrainingData

GROUP_ROWS = 16_384
"""Of a row group, which is what is read at once; of long inputs fewer."""


class ParquetFormat(DatasetFormat):
    """``<input>_<feature>`` columns, constituents as lists without padding."""

    def lay_out(self, block: EventBlock) -> SplitRows:
        """Lay rows out as an Arrow table, split by split."""
        rows = self._table(block)
        return {split: rows.slice(start, stop - start) for split, start, stop in block.spans()}

    def _table(self, block: EventBlock) -> Any:
        import pyarrow as pa

        columns: dict[str, Any] = {n: pa.array(v) for n, v in block.columns().items()}
        for name, described in self._info.inputs.items():
            if described.length is None:
                values = block.inputs[name]
                columns.update({f"{name}_{f}": pa.array(v.copy()) for f, v in zip(described.features, values.T)})
                continue
            features, valid = block.inputs[name]
            offsets = np.zeros(len(valid) + 1, dtype=np.int32)
            np.cumsum(valid.sum(axis=1), out=offsets[1:])
            flat = features[valid]
            for feature, values in zip(described.features, flat.T):
                columns[f"{name}_{feature}"] = pa.ListArray.from_arrays(offsets, pa.array(values.copy()))
        return pa.table(columns)

    def files(self, stem: Path) -> list[Path]:
        """List the files of a shard, one per split."""
        return [_path(stem, split) for split in SPLITS]

    def _writer(self, stem: Path) -> ShardWriter:
        return ParquetShard(stem, self._info.most_rows(GROUP_ROWS))

    def stored(self, stem: Path) -> StoredRows:
        """Open a shard to copy its rows."""
        return ParquetRows(stem)

    def assemble(
        self, directory: Path, shards: Sequence[WrittenShard], scale: np.ndarray, normalisation: Normalisation
    ) -> tuple[dict[str, int | None], dict[str, Any]]:
        """Move the rows of every split to a folder of its own, with normalised weights."""
        files: dict[str, int | None] = {}
        for split in SPLITS:
            (directory / split).mkdir(exist_ok=True)
            first: tuple[str, Any] | None = None
            for shard in shards:
                name = f"{split}/{shard.stem.name}.parquet"
                schema = _move_parquet(_path(shard.stem, split), directory / name, scale)
                if shard.index.rows(split):
                    types = {field.name: field.type for field in schema}
                    first = first or (shard.first(split), types)
                    compare_types(shard.first(split), types, *first)
                files[name] = shard.index.rows(split)
        plain = {n: {k: v.tolist() for k, v in values.items()} for n, values in normalisation.items()}
        (directory / f"{NORMALISATION}.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
        shutil.rmtree(directory / SHARDS)
        return {**files, f"{NORMALISATION}.yaml": None}, {}

    @classmethod
    def open(cls, directory: Path, manifest: Manifest, in_memory: str, workers: int | None) -> TrainingData:
        """Open a finished dataset for training."""
        from ..jagged import ParquetData

        return ParquetData(directory, manifest, in_memory, workers)


def _path(stem: Path, split: str) -> Path:
    return stem.with_name(f"{stem.name}.{split}.parquet")


class ParquetShard(ShardWriter):
    """Writes rows to ``<stem>.<split>.parquet``; a row group has rows of one sample, and all but its last are full."""

    def __init__(self, stem: Path, group_rows: int) -> None:
        super().__init__()
        self._stem = stem
        self._group_rows = group_rows
        self._waiting: dict[str, Any] = {}
        self._writers: dict[str, Any] = {}

    def begin(self, path: str, sample: str) -> None:
        """Begin with the rows of the next input file."""
        if sample != self._sample:
            self._write(1)
        super().begin(path, sample)

    def _append(self, rows: SplitRows) -> None:
        import pyarrow as pa

        for split, table in rows.items():
            waiting = self._waiting.get(split)
            if waiting is None or (split not in self._writers and not len(waiting)):
                self._waiting[split] = table
            elif len(table):
                self._waiting[split] = pa.concat_tables([waiting, table])
        self._write(self._group_rows)

    def _write(self, fewest: int) -> None:
        """Write the rows that wait as row groups of at least so many."""
        for split, table in self._waiting.items():
            start = 0
            while len(table) - start >= fewest:
                self._writer(split).write_table(table.slice(start, self._group_rows).combine_chunks())
                start += self._group_rows
            self._waiting[split] = table.slice(start)

    def _writer(self, split: str) -> Any:
        import pyarrow.parquet as pq

        if split not in self._writers:
            path = temporary_path(_path(self._stem, split))
            self._writers[split] = pq.ParquetWriter(path, self._waiting[split].schema, compression="zstd")
        return self._writers[split]

    def _finish(self) -> None:
        self._write(1)
        for split in self._waiting:
            self._writer(split).close()

    def _abandon(self) -> None:
        for writer in self._writers.values():
            writer.is_open = False  # a writer that failed to close would try again when it is deleted

    def _files(self) -> list[Path]:
        return [_path(self._stem, split) for split in SPLITS]

    @staticmethod
    def _types(rows: Any) -> dict[str, Any]:
        return {field.name: field.type for field in rows.schema}


class ParquetRows(StoredRows):
    """The rows of a shard in Parquet."""

    def __init__(self, stem: Path) -> None:
        self._stem = stem
        self._groups: dict[str, _RowGroups] = {}

    def read(self, split: str, start: int, stop: int) -> Any:
        """Read rows of a split."""
        if split not in self._groups:
            self._groups[split] = _RowGroups(_path(self._stem, split))
        return self._groups[split].read(start, stop)

    def close(self) -> None:
        """Close the files."""
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


def _move_parquet(source: Path, target: Path, scale: np.ndarray) -> Any:
    """Copy rows group by group, with their weights times the factors (S,) of their samples; returns the schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as stored:
        schema = stored.schema_arrow
        column = schema.get_field_index("weight")
        with pq.ParquetWriter(target, schema, compression="zstd") as writer:
            for group in range(stored.num_row_groups):
                table = stored.read_row_group(group)
                weight = table["weight"].to_numpy() * scale[table["sample"].to_numpy()]
                writer.write_table(table.set_column(column, schema.field(column), pa.array(weight)))
    return schema
