"""Open a table of events, whatever its format."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..config.schema import REDIRECTORS
from ..errors import FileError
from ..provenance import FileRecord
from ..provenance.manifest import input_record
from .files import require
from .reader import EventFile, broken_file

_ARROW_SUFFIXES = (".parquet", ".pq", ".csv", ".json", ".jsonl", ".ndjson")


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


def is_arrow(path: str) -> bool:
    """Whether a file is Parquet, CSV or JSON lines, by its name: one table and no trees."""
    return path.removesuffix(".gz").endswith(_ARROW_SUFFIXES)
