"""Open a table of events, whatever its format, and read chosen columns in chunks of bounded size."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.schema import REDIRECTORS
from ..errors import DataError, FileError, NanoForgeError, machine_failure
from .checksums import verify
from .columns import Branch, Chunk, Column, column_of_awkward
from .damage import reason
from .files import is_remote

STEP = 16_384
"""Events per chunk: chunks that stay in the caches are faster than big ones, and bound the memory."""


class EventFile(ABC):
    """One table of events in one file; use it as a context manager.

    Attributes
    ----------
    path
        The file.
    entries
        Number of events; None where only reading tells (CSV, JSON).
    uuid
        32 hexadecimal digits that identify the file: ROOT's own, or a digest of its content.
    branches
        Description of every column by name, in the order of the file. Dots in names become ``_``.
    filled
        The columns that the file lacks, with the value that the analysis lets stand for them.
    verified
        Whether the checksum of the file needs no look when its columns are read.
    """

    path: str
    filled: Mapping[str, Any] = {}
    verified: bool = True
    redirectors: Sequence[str] = REDIRECTORS
    entries: int | None
    uuid: str
    branches: Mapping[str, Branch]

    def chunks(self, names: Sequence[str], step: int = STEP, within: tuple[int, int] | None = None) -> Iterator[Chunk]:
        """Read columns chunk by chunk, each part of the file once.

        Parameters
        ----------
        names
            Columns.
        step
            Number of entries to aim at in a chunk.
        within
            First entry and the one after the last; by default the whole file.

        Raises
        ------
        FileError
            As soon as something cannot be read; never does a file end early in silence.
        """
        if not self.verified:
            verify(self.path, self.redirectors)
            self.verified = True
        start, stop = within or (0, self.entries)
        read = start
        chunks = self._chunks(names, step, start, sys.maxsize if stop is None else stop)
        while True:
            with broken_file(self.path, f"cannot be read after entry {read}"):
                chunk = next(chunks, None)
            if chunk is None:
                break
            read += chunk.size
            yield chunk
        if stop is not None and read != stop:
            raise FileError(self.path, f"ends after {read} of {self.entries} entries")

    @abstractmethod
    def _chunks(self, names: Sequence[str], step: int, start: int, stop: int) -> Iterator[Chunk]:
        """Read columns of entries ``start`` to ``stop`` chunk by chunk; any exception means that the file is broken.

        A file whose number of entries is not known is read to its end, wherever ``stop`` is.
        """

    def gen_sum_of_weights(self) -> float | None:
        """Return the sum of generator weights before any skim, from NanoAOD's ``Runs`` tree, where there is one."""
        return None

    def sibling(self, tree: str) -> EventFile | None:
        """Open another table in the same file, to be used until this one is closed; None where there is none."""
        return None

    def close(self) -> None:  # noqa: B027 - most readers hold nothing open
        """Release the file."""

    def __enter__(self) -> EventFile:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()


class FileView(EventFile):
    """A file as seen through another one, whose columns differ; what is derived from it has :meth:`chunks`.

    Parameters
    ----------
    file
        The file behind it.
    """

    def __init__(self, file: EventFile) -> None:
        self._file = file
        self.path, self.entries, self.uuid, self.filled = file.path, file.entries, file.uuid, file.filled

    def _chunks(self, names: Sequence[str], step: int, start: int, stop: int) -> Iterator[Chunk]:
        raise NotImplementedError  # chunks() asks the file itself

    def _any_column(self) -> list[str]:
        """Name a stored column, which tells where events are if nothing else is read."""
        return [next(n for n, b in self._file.branches.items() if b.dtype is not None and not b.jagged)]

    def gen_sum_of_weights(self) -> float | None:
        """Return that of the file."""
        return self._file.gen_sum_of_weights()

    def sibling(self, tree: str) -> EventFile | None:
        """Return that of the file."""
        return self._file.sibling(tree)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextlib.contextmanager
def broken_file(path: str, problem: str) -> Iterator[None]:
    """Turn whatever a reading library raises on a broken file into a :class:`FileError`."""
    try:
        yield
    except NanoForgeError:
        raise
    except Exception as error:
        lack = machine_failure(error)
        if lack is not None:  # which is no fault of the file: it must not be counted as lost
            raise DataError(f"{path}: {problem}: {lack}") from error
        raise FileError(path, f"{problem}: {reason(error)}") from error


def awkward_chunk(start: int, arrays: Mapping[str, Any], size: int) -> Chunk:
    """Build a chunk from awkward arrays; lists of equal lengths share their offsets."""
    columns: dict[str, Column] = {}
    offsets_by_content: dict[bytes, Any] = {}
    for name, array in arrays.items():
        column = column_of_awkward(array)
        if column.offsets is not None:
            column.offsets = offsets_by_content.setdefault(
                hashlib.md5(column.offsets.tobytes(), usedforsecurity=False).digest(), column.offsets
            )
        columns[name] = column
    return Chunk(start, size, columns)


def content_uuid(path: str) -> str:
    """Identify a file without an identity of its own by its size, head and tail."""
    if is_remote(path):
        return hashlib.sha256(path.encode()).hexdigest()[:32]
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        head = file.read(1 << 16)
        file.seek(max(0, size - (1 << 16)))
        return digest_uuid(head, file.read(), size)


def digest_uuid(head: bytes, tail: bytes, size: int) -> str:
    """Identify content by its first and last 64 kB and its size."""
    return hashlib.sha256(head + tail + str(size).encode()).hexdigest()[:32]
