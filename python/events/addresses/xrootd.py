"""``root://``: XRootD servers, read from the first that delivers, and on with the next where one fails."""

from __future__ import annotations

import io
import itertools
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import uproot
from uproot.source.chunk import Chunk, Source
from uproot.source.futures import TrivialFuture

from ...errors import FileError
from ..damage import HEAD, size_of_root
from ..protocol import RemoteFiles

Result = TypeVar("Result")
Range = tuple[int, int]
"""First byte and the one after the last."""

_LIMITS = {"ConnectionWindow": 15, "ConnectionRetry": 2, "RequestTimeout": 120, "StreamTimeout": 60}
"""A dead server is an error after half a minute, not after half an hour; XRD_CONNECTIONWINDOW etc. win over these."""
_CHECKSUM_WAIT = 60
"""Seconds for a checksum, which some servers have to read the whole file for."""
_BUFFER = 1 << 20
_MOST_BYTES, _MOST_RANGES = 2_097_136, 1024
"""Of one element of a vector read, and its elements: what every XRootD server accepts."""


class XRootDFiles(RemoteFiles):
    """Files on XRootD servers."""

    schemes = ("root", "xroot", "roots", "xroots")

    def matches(self, pattern: str) -> list[str]:
        """Return the addresses that fit one with wildcards, sorted."""
        limit_waiting()
        return super().matches(pattern)

    def size(self, path: str, addresses: Sequence[str]) -> int:
        """Return the size of a file in bytes."""
        with XRootDSource(path, addresses) as source:
            return source.num_bytes

    def checksum(self, address: str) -> str | None:
        """Return the adler32 of a file as its server says it, in eight digits; None where it says none."""
        return checksum(address)

    def open(self, path: str, addresses: Sequence[str]) -> Any:
        """Open a file to read bytes."""
        return io.BufferedReader(_XRootDFile(XRootDSource(path, addresses)), _BUFFER)

    def open_root(self, path: str, addresses: Sequence[str]) -> Any:
        """Open a ROOT file by uproot."""
        return uproot.open({path: None}, handler=XRootDSource, addresses=addresses)


class XRootDSource(Source):
    """uproot's access to a file that lies at one or several addresses, as a handler of :func:`uproot.open`.

    All addresses are of the same file: one with another size or another head counts as a failure. What was read from a
    server that fails in the middle stays valid, since reading goes on byte for byte with the next one.

    Parameters
    ----------
    path
        The name of the file, for messages.
    addresses
        Where it lies, ``root://server//path``, in the order in which they are tried.

    Raises
    ------
    FileError
        When no server delivers what is asked for, here and from every read; it names all of them.
    """

    def __init__(self, path: str, addresses: Sequence[str] = (), **_: Any) -> None:
        super().__init__()
        self._file_path = path
        self._left = list(addresses) or [path]
        self._failures: list[str] = []
        self._head = b""
        self._size: int | None = None
        self._file: Any = None
        self._attempt(lambda file: None)

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        """Read parts of the file, all with as few requests as the protocol allows: a far server answers in 0.1 s."""
        self._num_requests += 1
        self._num_requested_chunks += len(ranges)
        self._num_requested_bytes += sum(stop - start for start, stop in ranges)
        ranges = [(start, min(stop, self.num_bytes)) for start, stop in ranges]  # uproot looks ahead of what it needs
        if all(stop <= len(self._head) for _, stop in ranges):
            return [self._head[start:stop] for start, stop in ranges]
        return self._attempt(lambda file: _read(file, ranges))

    def chunk(self, start: int, stop: int) -> Chunk:
        """Return one part of the file, for uproot."""
        return self._chunk((start, stop), self.read([(start, stop)])[0])

    def chunks(self, ranges: list[Range], notifications: queue.Queue) -> list[Chunk]:
        """Return parts of the file, for uproot; all are there already."""
        chunks = [self._chunk(interval, data) for interval, data in zip(ranges, self.read(ranges))]
        for chunk in chunks:
            notifications.put(chunk)
        return chunks

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        assert self._size is not None  # noqa: S101 - known since the file was opened
        return self._size

    @property
    def closed(self) -> bool:
        """Whether nothing can be read any more."""
        return self._file is None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._close()

    def _chunk(self, interval: Range, data: bytes) -> Chunk:
        return Chunk(self, *interval, TrivialFuture(data))

    def _attempt(self, work: Callable[[Any], Result]) -> Result:
        """Do something with the open file, at the next servers too where it fails."""
        while self._left:
            try:
                if self._file is None:
                    self._file = self._open(self._left[0])
                return work(self._file)
            except OSError as error:
                self._failures.append(f"{_server(self._left.pop(0))} ({error})")
                self._close()
        failures = "; nor from ".join(self._failures)
        raise FileError(self._file_path, f"cannot be read from {failures}. {_said_limits()}")

    def _open(self, address: str) -> Any:
        from XRootD.client.file import File

        limit_waiting()
        file = File()
        _answer(file.open(address))
        size = _answer(file.stat()).size
        head = _answer(file.read(0, min(size, HEAD)))
        if size < size_of_root(head):
            raise OSError(f"truncated: {size:,} of {size_of_root(head):,} bytes are there")
        if self._size is None:
            self._size, self._head = size, head
        elif (size, head) != (self._size, self._head):
            raise OSError(f"another file: {size:,} bytes with another head, instead of {self._size:,}")
        return file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close(timeout=1)  # of a server that is gone nobody waits for the answer
            self._file = None


class _XRootDFile(io.RawIOBase):
    """The same as a file of Python's."""

    def __init__(self, source: XRootDSource) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.num_bytes}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._source.read([(self._at, min(self._at + len(buffer), self._source.num_bytes))])[0]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._source.__exit__(None, None, None)
        super().close()


def limit_waiting() -> None:
    """Give this process's XRootD client limits of time, where the user's environment gives none."""
    from XRootD.client.env import EnvPutInt

    for name, value in _LIMITS.items():
        EnvPutInt(name, value)


def checksum(address: str) -> str | None:
    """Return the adler32 of a file as its server says it, in eight digits; None where it says none."""
    from XRootD.client.filesystem import FileSystem
    from XRootD.client.flags import QueryCode

    limit_waiting()
    server, _, path = address.partition("://")[2].partition("/")
    scheme = address.partition("://")[0]
    status, answer = FileSystem(f"{scheme}://{server}").query(
        QueryCode.CHECKSUM, f"/{path.lstrip('/')}", _CHECKSUM_WAIT
    )
    fields = bytes(answer or b"").decode(errors="replace").rstrip("\0\n ").split() if status.ok else []
    return fields[1].zfill(8) if len(fields) == 2 and fields[0].lower() == "adler32" else None


def _said_limits() -> str:
    variables = {f"XRD_{name.upper()}": seconds for name, seconds in _LIMITS.items()}
    connection, answer = (
        f"{name}={os.environ.get(name, variables[name])} s" for name in ("XRD_CONNECTIONWINDOW", "XRD_REQUESTTIMEOUT")
    )
    return f"Limits: {connection} for a connection, {answer} for an answer"


def _read(file: Any, ranges: Sequence[Range]) -> list[bytes]:
    pieces = [list(_pieces(*interval)) for interval in ranges]
    unique = list(dict.fromkeys(itertools.chain.from_iterable(pieces)))
    contents: dict[Range, bytes] = {}
    for i in range(0, len(unique), _MOST_RANGES):
        batch = unique[i : i + _MOST_RANGES]
        chunks = _answer(file.vector_read(batch)).chunks if len(batch) > 1 else None
        buffers = [c.buffer for c in chunks] if chunks else [_answer(file.read(*batch[0]))]
        short = next((interval for interval, data in zip(batch, buffers) if len(data) != interval[1]), None)
        if short is not None or len(buffers) != len(batch):
            raise OSError(f"fewer bytes than asked for at {short or batch[-1]}")
        contents.update(zip(batch, buffers))
    return [b"".join(contents[piece] for piece in parts) for parts in pieces]


def _pieces(start: int, stop: int) -> Iterator[Range]:
    """Cut a part of a file into offsets and lengths that one element of a vector read may have."""
    for first in range(start, stop, _MOST_BYTES):
        yield first, min(stop - first, _MOST_BYTES)


def _answer(response: tuple[Any, Any]) -> Any:
    status, answer = response
    if not status.ok:
        raise OSError(" ".join(status.message.split()))
    return answer


def _server(address: str) -> str:
    return "/".join(address.split("/")[:3]) + "/"
