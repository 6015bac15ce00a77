"""Raw columns of events in the bodies of requests, and scores in those of answers: JSON lines, Arrow, or Parquet."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.ipc
import pyarrow.json
import pyarrow.parquet

from ..events.arrow import BLOCK, ArrowFile, numbered
from ..events.reader import digest_uuid
from .request_error import RequestError

MAX_EVENTS = 1_000_000
MAX_VALUES = 50_000_000
"""Of all columns of a request: a compressed body may hold a thousand times its size."""


class TableFormat(ABC):
    """How a table stands in a body.

    Attributes
    ----------
    media_types
        Its names in ``Content-Type`` and ``Accept``; answers have the first.
    """

    media_types: tuple[str, ...]

    @abstractmethod
    def read(self, body: bytes) -> tuple[Any, int | None]:
        """Open a body: what has a ``schema`` and gives :meth:`batches`, and the number of rows where that is known."""

    @abstractmethod
    def batches(self, table: Any, fields: Sequence[str], step: int) -> Iterator[Any]:
        """Yield record batches with these columns, of about ``step`` rows."""

    @abstractmethod
    def write(self, table: Any) -> bytes:
        """Return the body of an answer."""


class JsonLines(TableFormat):
    """An object a line, as in files ``*.jsonl``."""

    media_types = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")

    def read(self, body: bytes) -> tuple[Any, int | None]:
        """See :class:`TableFormat`."""
        reader = pa.json.open_json(pa.BufferReader(body), pa.json.ReadOptions(block_size=BLOCK, use_threads=False))
        table = reader.read_all()
        return table, len(table)

    def batches(self, table: Any, fields: Sequence[str], step: int) -> Iterator[Any]:
        """See :class:`TableFormat`."""
        yield from table.select(fields).to_batches(step)

    def write(self, table: Any) -> bytes:
        """See :class:`TableFormat`."""
        return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in table.to_pylist())


class ArrowStream(TableFormat):
    """Arrow's streaming format, without compression."""

    media_types = ("application/vnd.apache.arrow.stream",)

    def read(self, body: bytes) -> tuple[Any, int | None]:
        """See :class:`TableFormat`."""
        _refuse_compressed(body)
        table = pa.ipc.open_stream(pa.BufferReader(body)).read_all()
        table.validate(full=True)  # offsets that lead elsewhere would be followed
        return table, len(table)

    def batches(self, table: Any, fields: Sequence[str], step: int) -> Iterator[Any]:
        """See :class:`TableFormat`."""
        yield from table.select(fields).to_batches(step)

    def write(self, table: Any) -> bytes:
        """See :class:`TableFormat`."""
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue()


class Parquet(TableFormat):
    """A Parquet file; only the columns that the model needs are unpacked."""

    media_types = ("application/vnd.apache.parquet", "application/x-parquet")

    def read(self, body: bytes) -> tuple[Any, int | None]:
        """See :class:`TableFormat`."""
        file = pa.parquet.ParquetFile(pa.BufferReader(body))
        metadata = file.metadata
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        _check_values(sum(group.column(i).num_values for group in groups for i in range(group.num_columns)))
        return file, metadata.num_rows

    def batches(self, table: Any, fields: Sequence[str], step: int) -> Iterator[Any]:
        """See :class:`TableFormat`."""
        yield from table.iter_batches(step, columns=list(fields), use_threads=False)

    def write(self, table: Any) -> bytes:
        """See :class:`TableFormat`."""
        sink = io.BytesIO()
        pa.parquet.write_table(table, sink, compression="zstd")
        return sink.getvalue()


FORMATS: dict[str, TableFormat] = {
    media_type: kind for kind in (JsonLines(), ArrowStream(), Parquet()) for media_type in kind.media_types
}


class ReceivedEvents(ArrowFile):
    """The events in the body of a request, as those in a file of the same content.

    Raises
    ------
    RequestError
        400 where the body is something else, 413 where it holds too much.
    """

    def __init__(self, body: bytes, kind: TableFormat) -> None:
        self.path = "the events"
        self.uuid = digest_uuid(body[: 1 << 16], body[-(1 << 16) :], len(body))
        self._kind = kind
        try:
            self._table, self.entries = kind.read(body)
            self._schema = self._table.schema_arrow if isinstance(kind, Parquet) else self._table.schema
        except RequestError:
            raise
        except Exception as error:  # of every kind
            reason = str(error).partition("\n")[0][:200]
            raise RequestError(400, f"the body is no table of {kind.media_types[0]} ({reason})") from None
        if self.entries is not None and self.entries > MAX_EVENTS:
            raise RequestError(413, f"{self.entries:,} events, and {MAX_EVENTS:,} are taken: send fewer at a time")

    def _batches(self, fields: Sequence[str], step: int, start: int) -> Iterator[tuple[int, Any]]:
        read = self._kind.batches(self._table, fields, step)
        yield from numbered(0, (pa.Table.from_batches([batch]) for batch in read))


def format_of_request(content_type: str | None) -> TableFormat:
    """Return the format of a body.

    Raises
    ------
    RequestError
        415 where it is none of ours.
    """
    name = (content_type or "").partition(";")[0].strip().lower()
    if name not in FORMATS:
        ours = ", ".join(dict.fromkeys(kind.media_types[0] for kind in FORMATS.values()))
        raise RequestError(415, f"Content-Type {name!r} is not taken; events come as {ours}")
    return FORMATS[name]


def format_of_answer(accept: str | None, default: TableFormat) -> TableFormat:
    """Return the format that a client accepts, by default that of its request.

    Raises
    ------
    RequestError
        406 where it accepts none of ours.
    """
    names = [part.partition(";")[0].strip().lower() for part in (accept or "*/*").split(",")]
    chosen = next((FORMATS[name] for name in names if name in FORMATS), None)
    if chosen is None and not {"*/*", "application/*"} & set(names):
        raise RequestError(406, f"Accept {accept!r}: scores come as {', '.join(FORMATS)}")
    return chosen or default


def _check_values(count: int) -> None:
    if count > MAX_VALUES:
        raise RequestError(413, f"{count:,} values, and {MAX_VALUES:,} are taken: send fewer events or columns")


def _refuse_compressed(body: bytes) -> None:
    """Refuse compressed or dictionary-encoded batches, which say nothing of the memory that they take."""
    reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(body))
    for message in reader:
        if message.type == "schema":
            continue
        if message.type != "record batch" or _has_compression(np.frombuffer(message.metadata, np.uint8).tobytes()):
            raise RequestError(
                400, "compressed and dictionary-encoded Arrow batches are not taken: send them plain, or as Parquet"
            )


def _has_compression(metadata: bytes) -> bool:
    """Look into the flatbuffer of a message: field 2 is its header, field 3 of a record batch its compression.

    https://github.com/apache/arrow/blob/main/format/Message.fbs
    """

    def number(at: int, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(metadata[at : at + size], "little", signed=signed)

    def field(table: int, index: int) -> int:
        fields = table - number(table, 4, signed=True)
        at = 4 + 2 * index
        return number(fields + at, 2) if at < number(fields, 2) else 0

    message = number(0, 4)
    header = message + field(message, 2)
    return field(header + number(header, 4), 3) != 0
