"""Files of lines that several processes append to, and that an interruption may tear."""

from __future__ import annotations

import os


def whole_lines(descriptor: int) -> bytes:
    """Return the lines of an open, locked journal, without the last line break and without a line that was torn."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).rpartition(b"\n")[0]


def append_lines(descriptor: int, whole: bytes, lines: bytes) -> None:
    """Write lines behind the :func:`whole_lines`, in place of one that was torn; they are on the disk then."""
    end = len(whole) + 1 if whole else 0
    os.ftruncate(descriptor, end)
    os.pwrite(descriptor, lines, end)
    os.fsync(descriptor)
