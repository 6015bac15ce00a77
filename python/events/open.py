"""Open a table of events, whatever its format."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..config.schema import REDIRECTORS, Analysis
from ..errors import FileError
from ..provenance import FileRecord
from ..provenance.manifest import input_record
from ..registry import Registry
from .files import require
from .format import InputFormat
from .reader import EventFile, broken_file

FORMATS: Registry[InputFormat] = Registry("input format", InputFormat, f"{__package__}.formats")  # type: ignore[type-abstract]
ROOT = "root"
"""The format of files that are of no other."""


def format_of(path: str, formats: Sequence[str] = ()) -> InputFormat:
    """Return the format of a file, by its name: one of the user's own (``module:Class``), or any other."""
    return next((one for one in _all_formats(tuple(formats)) if one.fits(path)), _root())


@functools.cache
def _all_formats(specs: tuple[str, ...]) -> list[InputFormat]:
    additions = [FORMATS.load(spec, f"formats[{number}]")() for number, spec in enumerate(specs)]
    return additions + [kind() for _, kind in FORMATS.all()]


@functools.cache
def _root() -> InputFormat:
    return FORMATS.load(ROOT, "formats")()


def open_events(
    path: str,
    tree: str,
    redirectors: Sequence[str] = REDIRECTORS,
    *,
    formats: Sequence[str] = (),
    checksum: bool = True,
) -> EventFile:
    """Open the table of events of a file: a TTree or RNTuple (``dir/tree`` works), Parquet, CSV or JSON lines.

    Parameters
    ----------
    path
        The file. One with a logical name (``/store/...``) is read from the first of the redirectors that delivers it.
    tree
        The TTree or RNTuple.
    redirectors
        Where files with logical names are.
    formats
        The user's own formats, ``module:Class``.
    checksum
        Whether the file as a whole is compared with its checksum, where one is known, before columns are read.

    Raises
    ------
    FileError
        When the file is missing, broken, of no known format, or without the tree.
    """
    with broken_file(path, "cannot be opened"):
        kind = format_of(path, formats)
        require(path, kind.kind)
        file = kind.open(path, tree, redirectors)
        file.verified, file.redirectors = not checksum, redirectors
        return file


def open_for(analysis: Analysis, path: str, *, checksum: bool = True) -> EventFile:
    """Open the table of events of a file as an analysis says: its tree, redirectors and formats."""
    return open_events(path, analysis.tree, analysis.redirectors, formats=analysis.formats, checksum=checksum)


@contextlib.contextmanager
def reading(analysis: Analysis, path: str, sample: str | None = None) -> Iterator[tuple[EventFile, FileRecord]]:
    """Open the table of events of a file that must stay as it is until the end, and describe it as it was before.

    Raises
    ------
    FileError
        As :func:`open_events` does; and when another program changed the file meanwhile: nothing of it can be trusted.
    """
    before = input_record(path, sample=sample)
    try:
        with open_for(analysis, path) as file:
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
