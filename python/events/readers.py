"""Open a table of events, whatever its format, and read chosen columns in chunks of bounded size."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config.schema import REDIRECTORS
from ..errors import DataError, FileError, NanoForgeError, machine_failure
from ..provenance import FileRecord
from ..provenance.manifest import input_record
from .checksums import verify
from .columns import Branch, Chunk, Column, column_of_awkward
from .damage import reason
from .files import is_remote, require

STEP = 16_384
"""Events per chunk: chunks that stay in the caches are faster than big ones, and bound the memory."""

_ARROW_SUFFIXES = (".parquet", ".pq", ".csv", ".json", ".jsonl", ".ndjson")


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


def open_events(path: str, tree: str, redirectors: Sequence[str] = REDIRECTORS, *, checksum: bool = True) -> EventFile:
    """Open the table of events of a file: a TTree or RNTuple (``dir/tree`` works), Parquet, CSV or JSON lines.

    Parameters
    ----------
    path
        The file. One with a logical name (``/store/...``) is read from the first of the redirectors that delivers it.
    tree
        The TTree or RNTuple.
    redirectors
        Where files with logical names are.
    checksum
        Whether the file as a whole is compared with its checksum, where one is known, before columns are read.

    Raises
    ------
    FileError
        When the file is missing, broken, of no known format, or without the tree.
    """
    with broken_file(path, "cannot be opened"):
        require(path)
        file = _open_arrow(path) if is_arrow(path) else _open_root(path, tree, redirectors)
        file.verified, file.redirectors = not checksum, redirectors
        return file


@contextlib.contextmanager
def reading(
    path: str, tree: str, redirectors: Sequence[str] = REDIRECTORS, sample: str | None = None
) -> Iterator[tuple[EventFile, FileRecord]]:
    """Open the table of events of a file that must stay as it is until the end, and describe it as it was before.

    Raises
    ------
    FileError
        As :func:`open_events` does; and when another program changed the file meanwhile: nothing of it can be trusted.
    """
    before = input_record(path, sample=sample)
    try:
        with open_events(path, tree, redirectors) as file:
            yield file, replace(before, entries=file.entries, uuid=file.uuid)
    except FileError as error:
        _check_unchanged(before, error)
        raise
    _check_unchanged(before)


def _check_unchanged(before: FileRecord, cause: FileError | None = None) -> None:
    if before.size is not None and not before.unchanged():
        raise FileError(
            before.path, "changed while it was read: run the same command again when it is whole"
        ) from cause


def _open_arrow(path: str) -> EventFile:
    from .arrow import ArrowFile  # which takes a tenth of a second, and is not in every job

    return ArrowFile(path)


def _open_root(path: str, tree: str, redirectors: Sequence[str]) -> EventFile:
    from .root import open_root

    return open_root(path, tree, redirectors)


@contextlib.contextmanager
def broken_file(path: str, what: str) -> Iterator[None]:
    """Turn whatever a reading library raises on a broken file into a :class:`FileError`."""
    try:
        yield
    except NanoForgeError:
        raise
    except Exception as error:
        lack = machine_failure(error)
        if lack is not None:  # which is no fault of the file: it must not be counted as lost
            raise DataError(f"{path}: {what}: {lack}") from error
        raise FileError(path, f"{what}: {reason(error)}") from error


def is_arrow(path: str) -> bool:
    """Whether a file is Parquet, CSV or JSON lines, by its name: one table and no trees."""
    return path.removesuffix(".gz").endswith(_ARROW_SUFFIXES)


def awkward_chunk(start: int, arrays: Mapping[str, Any], size: int) -> Chunk:
    """Build a chunk from awkward arrays; lists of equal lengths share their offsets."""
    columns: dict[str, Column] = {}
    known: dict[bytes, Any] = {}
    for name, array in arrays.items():
        column = column_of_awkward(array)
        if column.offsets is not None:
            column.offsets = known.setdefault(
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
        return hashlib.sha256(head + file.read() + str(size).encode()).hexdigest()[:32]
