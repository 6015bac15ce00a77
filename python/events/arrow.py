"""Parquet, CSV and JSON lines (plain or .gz) as tables of events, through Arrow."""

from __future__ import annotations

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

from ..errors import FileError
from .columns import Branch, Chunk, columns_of_form
from .files import is_remote
from .reader import EventFile, awkward_chunk, content_uuid

_BLOCK = 1 << 24


class ArrowFile(EventFile):
    """A table in a format that Arrow reads in batches.

    Lists of numbers are collections of constituents, lists of records (``Jet: [{"pt": 1}, …]``) become ``Jet_pt``.
    """

    def __init__(self, path: str) -> None:
        if is_remote(path):
            raise FileError(path, "only ROOT files are read over the network: copy it first", mistake=True)
        self.path = path
        self.uuid = content_uuid(path)
        self._parquet = None
        self.entries = None
        if path.endswith((".parquet", ".pq")):
            self._parquet = pa.parquet.ParquetFile(
                path
            )  # a map of a file that is truncated meanwhile kills the process
            self.entries = self._parquet.metadata.num_rows
        self._schema = self._parquet.schema_arrow if self._parquet is not None else self._text_schema()

    @cached_property
    def _paths(self) -> dict[str, tuple[tuple[str, ...], Branch]]:
        found = {}
        for field in self._schema:
            for name, path, dtype, jagged in _columns_of(field):
                column = name.replace(".", "_")
                type_name = f"{dtype or field.type}{'[]' if jagged else ''}"
                found[column] = (path, Branch(column, dtype, jagged, type_name=type_name))
        return found

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

    def _batches(self, fields: Sequence[str], step: int, start: int) -> Iterator[tuple[int, Any]]:
        """Read batches with the number of their first row; of a Parquet file none that end before ``start``."""
        if self._parquet is None:
            with pa.input_stream(self.path, compression="detect") as stream:
                batches = (pa.Table.from_batches([batch]).select(fields) for batch in self._text_reader(stream, fields))
                yield from _numbered(0, batches)
            return
        groups = range(self._parquet.num_row_groups)
        stops = np.cumsum([self._parquet.metadata.row_group(i).num_rows for i in groups])
        wanted = [i for i in groups if stops[i] > start]
        if wanted:
            read = self._parquet.iter_batches(step, wanted, list(fields), use_threads=False)
            first = int(stops[wanted[0] - 1]) if wanted[0] else 0
            yield from _numbered(first, (pa.Table.from_batches([batch]) for batch in read))

    def _text_schema(self) -> pa.Schema:
        with pa.input_stream(self.path, compression="detect") as stream:
            return self._text_reader(stream).schema

    def _text_reader(self, stream: Any, fields: Sequence[str] = ()) -> Any:
        """Begin to read a text; of CSV these fields alone, so that what is wrong in others does no harm."""
        if self.path.removesuffix(".gz").endswith(".csv"):
            options = pa.csv.ReadOptions(block_size=_BLOCK, use_threads=False)
            return pa.csv.open_csv(stream, options, convert_options=pa.csv.ConvertOptions(include_columns=list(fields)))
        return pa.json.open_json(stream, read_options=pa.json.ReadOptions(block_size=_BLOCK, use_threads=False))


def _columns_of(field: pa.Field) -> list[tuple[str, tuple[str, ...], np.dtype | None, bool]]:
    """Take a field apart; one of a type that awkward does not know (a decimal) does no harm until it is used."""
    try:
        form = ak.from_arrow(pa.Table.from_pylist([], schema=pa.schema([field]))).layout.form
        return list(columns_of_form(field.name, form.content(field.name)))
    except Exception:  # of every kind
        return [(field.name, (field.name,), None, False)]


def _numbered(first: int, tables: Iterator[Any]) -> Iterator[tuple[int, Any]]:
    """Pair tables with the numbers of their first rows."""
    for table in tables:
        yield first, table
        first += len(table)
