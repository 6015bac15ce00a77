"""Parquet, CSV and JSON lines (plain or .gz) as tables of events, through Arrow."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
import pyarrow.json
import pyarrow.parquet

from .columns import Branch, Chunk, columns_of_form
from .files import addresses, is_remote
from .reader import EventFile, awkward_chunk, content_uuid
from .remote import remote_files

BLOCK = 1 << 24


class ArrowFile(EventFile):
    """A table in a format that Arrow reads in batches.

    Lists of numbers are collections of constituents, lists of records (``Jet: [{"pt": 1}, …]``) become ``Jet_pt``.
    """

    _schema: pa.Schema

    def __init__(self, path: str, redirectors: Sequence[str]) -> None:
        self.path = path
        self.redirectors = redirectors
        self.uuid = content_uuid(path)
        self.entries = None

    def _source(self) -> Any:
        """Return what Arrow opens: the name of a local file, or an open remote one."""
        if not is_remote(self.path):
            return self.path
        candidates = addresses(self.path, self.redirectors)
        return remote_files(candidates[0]).open(self.path, candidates)

    @cached_property
    def _paths(self) -> dict[str, tuple[tuple[str, ...], Branch]]:
        paths = {}
        for field in self._schema:
            for name, path, dtype, jagged in _columns_of(field):
                column = name.replace(".", "_")
                type_name = f"{dtype or field.type}{'[]' if jagged else ''}"
                paths[column] = (path, Branch(column, dtype, jagged, type_name=type_name))
        return paths

    @cached_property
    def branches(self) -> Mapping[str, Branch]:  # type: ignore[override]
        """Description of every column."""
        return {name: branch for name, (_, branch) in self._paths.items()}

    def _chunks(self, names: Sequence[str], step: int, start: int, stop: int) -> Iterator[Chunk]:
        paths = {name: self._paths[name][0] for name in names}
        for first, batch in self._batches(sorted({p[0] for p in paths.values()}), step, start):
            last = min(stop, first + len(batch))
            for low in range(max(first, start), last, step):
                table = ak.from_arrow(batch.slice(low - first, min(step, last - low)))
                yield awkward_chunk(low, {name: table[path] for name, path in paths.items()}, len(table))

    @abstractmethod
    def _batches(self, fields: Sequence[str], step: int, start: int) -> Iterator[tuple[int, Any]]:
        """Read batches of about ``step`` rows, each with the number of its first row, from ``start`` at the latest."""


class ParquetFile(ArrowFile):
    """A Parquet file."""

    def __init__(self, path: str, redirectors: Sequence[str]) -> None:
        super().__init__(path, redirectors)
        # no memory map: that of a file which is truncated meanwhile kills the process
        self._file = pa.parquet.ParquetFile(self._source())
        self._schema = self._file.schema_arrow
        self.entries = self._file.metadata.num_rows

    def _batches(self, fields: Sequence[str], step: int, start: int) -> Iterator[tuple[int, Any]]:
        groups = range(self._file.num_row_groups)
        stops = np.cumsum([self._file.metadata.row_group(i).num_rows for i in groups])
        needed = [i for i in groups if stops[i] > start]
        if needed:
            read = self._file.iter_batches(step, needed, list(fields), use_threads=False)
            first = int(stops[needed[0] - 1]) if needed[0] else 0
            yield from numbered(first, (pa.Table.from_batches([batch]) for batch in read))

    def close(self) -> None:
        """Release the file."""
        self._file.close(force=True)


class TextFile(ArrowFile):
    """A text, plain or compressed by gzip, which is read from its beginning."""

    def __init__(self, path: str, redirectors: Sequence[str]) -> None:
        super().__init__(path, redirectors)
        with self._stream() as stream:
            self._schema = self._reader(stream, ()).schema

    def _stream(self) -> Any:
        return pa.input_stream(self._source(), compression="gzip" if self.path.endswith(".gz") else None)

    @abstractmethod
    def _reader(self, stream: Any, fields: Sequence[str]) -> Any:
        """Begin to read these fields, or all where none is named, as batches with a schema."""

    def _batches(self, fields: Sequence[str], step: int, start: int) -> Iterator[tuple[int, Any]]:
        with self._stream() as stream:
            yield from numbered(
                0, (pa.Table.from_batches([batch]).select(fields) for batch in self._reader(stream, fields))
            )


class CsvFile(TextFile):
    """CSV; what is wrong in columns that are not read does no harm."""

    def _reader(self, stream: Any, fields: Sequence[str]) -> Any:
        options = pa.csv.ReadOptions(block_size=BLOCK, use_threads=False)
        return pa.csv.open_csv(stream, options, convert_options=pa.csv.ConvertOptions(include_columns=list(fields)))


class JsonFile(TextFile):
    """JSON lines."""

    def _reader(self, stream: Any, fields: Sequence[str]) -> Any:
        return pa.json.open_json(stream, read_options=pa.json.ReadOptions(block_size=BLOCK, use_threads=False))


def _columns_of(field: pa.Field) -> list[tuple[str, tuple[str, ...], np.dtype | None, bool]]:
    """Take a field apart; one of a type that awkward does not know (a decimal) does no harm until it is used."""
    try:
        form = ak.from_arrow(pa.Table.from_pylist([], schema=pa.schema([field]))).layout.form
        return list(columns_of_form(field.name, form.content(field.name)))
    except Exception:  # of every kind
        return [(field.name, (field.name,), None, False)]


def numbered(first: int, tables: Iterator[Any]) -> Iterator[tuple[int, Any]]:
    """Pair tables with the numbers of their first rows."""
    for table in tables:
        yield first, table
        first += len(table)
