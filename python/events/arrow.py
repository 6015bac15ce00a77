"""Parquet, CSV and JSON lines (plain or .gz) as tables of events, through Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import awkward as ak
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
import pyarrow.json
import pyarrow.parquet

from ..errors import FileError
from .columns import Branch, Chunk, columns_of_form
from .files import is_remote
from .readers import EventFile, awkward_chunk, content_uuid

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
            self._parquet = pa.parquet.ParquetFile(path, memory_map=True)
            self.entries = self._parquet.metadata.num_rows
        self._schema = self._parquet.schema_arrow if self._parquet is not None else self._text_schema()

    @cached_property
    def _paths(self) -> dict[str, tuple[tuple[str, ...], Branch]]:
        form = ak.from_arrow(pa.Table.from_pylist([], schema=self._schema)).layout.form
        found = {}
        for key in form.fields:
            for name, path, dtype, jagged in columns_of_form(key, form.content(key)):
                column = name.replace(".", "_")
                type_name = f"{dtype or self._schema.field(key).type}{'[]' if jagged else ''}"
                found[column] = (path, Branch(column, dtype, jagged, type_name=type_name))
        return found

    @cached_property
    def branches(self) -> Mapping[str, Branch]:  # type: ignore[override]
        """Description of every column."""
        return {name: branch for name, (_, branch) in self._paths.items()}

    def _chunks(self, names: Sequence[str], step: int) -> Iterator[Chunk]:
        paths = {name: self._paths[name][0] for name in names}
        start = 0
        for batch in self._batches(sorted({p[0] for p in paths.values()}), step):
            for low in range(0, len(batch), step):
                table = ak.from_arrow(batch.slice(low, step))
                yield awkward_chunk(start, {name: table[path] for name, path in paths.items()}, len(table))
                start += len(table)

    def _batches(self, fields: Sequence[str], step: int) -> Iterator[Any]:
        if self._parquet is not None:
            for batch in self._parquet.iter_batches(batch_size=step, columns=list(fields), use_threads=False):
                yield pa.Table.from_batches([batch])
            return
        with pa.input_stream(self.path, compression="detect") as stream:
            for batch in self._text_reader(stream):
                yield pa.Table.from_batches([batch]).select(fields)

    def _text_schema(self) -> pa.Schema:
        with pa.input_stream(self.path, compression="detect") as stream:
            return self._text_reader(stream).schema

    def _text_reader(self, stream: Any) -> Any:
        if self.path.removesuffix(".gz").endswith(".csv"):
            return pa.csv.open_csv(stream, read_options=pa.csv.ReadOptions(block_size=_BLOCK, use_threads=False))
        return pa.json.open_json(stream, read_options=pa.json.ReadOptions(block_size=_BLOCK, use_threads=False))
