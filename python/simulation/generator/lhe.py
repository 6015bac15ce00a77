"""Les Houches event files (arXiv:hep-ph/0609017) in blocks of events, each of which can be read by itself."""

from __future__ import annotations

import functools
import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

import numpy as np

from ...errors import DataError, UserError

_EVENT, _END_OF_INIT, _GROUP = re.compile(rb"\s*<event[\s>]"), b"</init>", b"<eventgroup"
_END = b"</LesHouchesEvents>\n"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, eq=False)
class LheFile:
    """A file of events; the same file is the same object, as :func:`open_lhe` returns it.

    Attributes
    ----------
    path
        The file; it may be compressed by gzip.
    step
        Events of a block.
    events
        How many events it has.
    head
        What comes before the first event.
    starts
        Where each block begins, and where the last event ends (bytes, uncompressed).
    """

    path: str
    step: int
    events: int
    head: bytes
    starts: np.ndarray

    @property
    def energy(self) -> float:
        """The energy of the collision (GeV): the sum of both beams', which collide head on."""
        beams = self.head.partition(b"<init")[2].partition(b">")[2].split()
        try:
            return float(beams[2]) + float(beams[3])
        except (IndexError, ValueError):
            raise DataError(f"{self.path}: its <init> block does not tell the energies of the beams") from None

    @contextmanager
    def block(self, number: int | None, size: int = 0) -> Iterator[str]:
        """Yield the path of a file that holds so many events of a block; without a number, just what precedes them."""
        with NamedTemporaryFile(suffix=".lhe") as file:
            file.write(self.head)
            if number is not None:
                file.write(self._content(number, size))
            file.write(_END)
            file.flush()
            yield file.name

    def _content(self, number: int, size: int) -> bytes:
        first, last = self.starts[number : number + 2].tolist()
        with _opened(self.path) as file:
            file.seek(first)
            content = file.read(last - first)
        events = list(re.finditer(rb"^\s*<event[\s>]", content, re.MULTILINE))
        return content[: events[size].start()] if size < len(events) else content


def open_lhe(path: str, step: int, where: str) -> LheFile:
    """Find the blocks of a file.

    Raises
    ------
    UserError
        When it is missing, or no file of events.
    """
    try:
        state = Path(path).stat()
        return _indexed(path, step, state.st_size, state.st_mtime_ns)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{where}: Beams:LHEF = {path} cannot be read ({reason})") from None


@functools.lru_cache(maxsize=4)
def _indexed(path: str, step: int, size: int, changed: int) -> LheFile:
    """Read the file once; ``size`` and ``changed`` say that it is still the same."""
    starts: list[int] = []
    head: list[bytes] = []
    count, position, end, begun = 0, 0, 0, False
    with _opened(path) as file:
        for line in file:
            if begun and _EVENT.match(line):
                starts += [] if count % step else [position]
                count += 1
            elif not starts:
                head.append(line)
                begun = begun or _END_OF_INIT in line
            position += len(line)
            if _GROUP in line and begun:
                raise UserError(f"{path}: groups of events (<eventgroup>) cannot be divided into blocks")
            end = position if b"</event>" in line else end
    if not begun:
        raise UserError(f"{path}: has no <init> block: it is no file of Les Houches events")
    return LheFile(path, step, count, b"".join(head), np.array([*starts, end], np.int64))


def _opened(path: str) -> BinaryIO:
    with Path(path).open("rb") as file:
        packed = file.read(2) == _GZIP
    return gzip.open(path, "rb") if packed else Path(path).open("rb")  # type: ignore[return-value]
