"""The two kinds of failure that a user sees as one ``error:`` line, and their exit codes."""

from __future__ import annotations

import difflib
import errno
import re
import resource
import shutil
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


class NanoForgeError(Exception):
    """A failure with a message for the user: what is wrong, where, and how to mend it."""

    exit_code = 1


class UserError(NanoForgeError):
    """A mistake in the analysis file or on the command line; nothing was changed."""

    exit_code = 2


class DataError(NanoForgeError):
    """A failure of the data or of the machine: a broken file, a full disk, a diverged training."""


class TrainingError(DataError):
    """A training that its own settings spoil: it diverges, or needs too much memory. Others may do."""


_LACKS = {
    errno.EMFILE: "too many open files: raise the limit (ulimit -n 4096), or use fewer -j",
    errno.ENFILE: "the machine has too many open files: try again later",
    errno.ENOMEM: "out of memory: use fewer -j, or a machine with more",
}
_FULL = {errno.ENOSPC: "no space left on the disk", errno.EDQUOT: "your quota of the disk is used up"}
_IN_WORDS = re.compile(
    r"errno = (\d+)|(can't allocate memory|Cannot allocate memory|not enough memory|failed to map segment)"
)
_NO_TEMPORARY = (
    "no folder for temporary files can be written (is /tmp full?): free some space, or set TMPDIR to another"
)
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - nothing is written there


def machine_failure(error: BaseException | None) -> str | None:
    """Say what the machine lacks, where that is behind an exception, be it of a library; None where it is not."""
    for number, cause in _numbers(error):
        if number in _LACKS:
            return _LACKS[number]
        if number == errno.ENOENT and "No usable temporary directory" in str(cause):
            return _NO_TEMPORARY
    return None


def scarce_memory() -> str:
    """Say that memory is limited where much of that is used: many libraries fail in other words then."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return ""
    scarce = limit != resource.RLIM_INFINITY and used > limit / 2
    return f"probably out of memory, of which this process may have {limit >> 20} MB (ulimit -v)" if scarce else ""


def full_disk(error: BaseException | None, *folders: Path) -> str | None:
    """Say which disk is full, where that is behind an exception; None where it is not.

    Few exceptions name the file: else it is the one with the least room of those that are written to, which are
    ``folders``, that of temporary files, and the shared memory.
    """
    for number, cause in _numbers(error):
        if number in _FULL:
            path = getattr(cause, "filename", None) or _narrowest(*folders)
            return f"{path}: {_FULL[number]}: free some, then run the same command again, it goes on where it was"
    return None


def _numbers(error: BaseException | None) -> Iterator[tuple[int | None, BaseException]]:
    """Yield the ``errno`` of an exception and of those behind it."""
    while error is not None:
        match = _IN_WORDS.search(str(error)) if isinstance(error, (OSError, RuntimeError, ImportError)) else None
        number = getattr(error, "errno", None) or (int(match[1]) if match and match[1] else None)
        if isinstance(error, MemoryError) or (match and match[2]):
            number = errno.ENOMEM
        yield number, error
        error = error.__cause__ or error.__context__


def _narrowest(*folders: Path) -> Path:
    """Return the folder with the least room."""
    candidates = [*folders, Path.cwd(), Path(tempfile.tempdir or tempfile.gettempdir()), Path(_SHARED_MEMORY)]
    existing = [
        next((p for p in (folder, *folder.absolute().parents) if p.is_dir()), Path("/")) for folder in candidates
    ]
    rooms = [shutil.disk_usage(folder).free for folder in existing]
    return candidates[rooms.index(min(rooms))]


def nearest(misspelt: str, choices: Iterable[str], most: int = 3) -> str:
    """Say which known names come closest to a misspelt one.

    Parameters
    ----------
    misspelt
        The name that is not known.
    choices
        The names that are.
    most
        At most so many suggestions.

    Returns
    -------
    str
        ``"; did you mean 'a' or 'b'?"``, or an empty string when nothing is near.
    """
    names = list(choices)
    lowered = {name.lower(): name for name in names}
    close = difflib.get_close_matches(misspelt, names, n=most, cutoff=0.6)
    close += [lowered[n] for n in difflib.get_close_matches(misspelt.lower(), list(lowered), n=most, cutoff=0.6)]
    unique = list(dict.fromkeys(close))[:most]
    return f"; did you mean {' or '.join(repr(name) for name in unique)}?" if unique else ""


def code_file(function: Any) -> str:
    """Return the Python file that a function is written in; empty for one that is not written in Python."""
    return str(getattr(getattr(function, "__code__", None), "co_filename", ""))


def raised_at(error: BaseException, file: str) -> str:
    """Say at which line of a user's Python file an error arose: ``" at mine.py:7"``; empty where it did elsewhere."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f" at {Path(file).name}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" at {Path(file).name}:{lines[-1]}" if lines else ""


class FileError(DataError):
    """An input file that cannot be used: ``--skip-bad-files`` counts it as lost and goes on.

    Parameters
    ----------
    path
        The file.
    reason
        What is wrong, and the remedy where there is one.
    mistake
        Whether this looks like a mistake of the user (exit code 2), e.g. a misspelt tree, and not like a broken file.
    """

    def __init__(self, path: str, reason: str, mistake: bool = False) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.exit_code = 2 if mistake else 1

    def __reduce__(self) -> tuple:
        """Survive the way between processes."""
        return (type(self), (self.path, self.reason, self.exit_code == 2))


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, shortened."""
    return shorten((str(error).strip() or "no reason given").splitlines()[0])


_SHOWN = 80


def shorten(text: str) -> str:
    """Make a printable line of at most 80 characters."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
