"""What the jobs of a site see of this machine, and what the site refuses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ..config.batch import BatchBlock
from ..console import say
from ..errors import UserError

SHARED = {"lxplus": ("/afs", "/eos", "/cvmfs"), "lpc": ("/cvmfs",), "generic": ("/",)}
"""Folders that the jobs of a site see under the same names as the submitting machine."""
_LENIENT: ContextVar[bool] = ContextVar("lenient", default=False)


@contextmanager
def noting_refusals(dry: bool) -> Iterator[None]:
    """Let demands be notes while a dry run is made: any machine may make one, also one that the site does not know."""
    before = _LENIENT.set(dry)
    try:
        yield
    finally:
        _LENIENT.reset(before)


def is_dry() -> bool:
    """Whether a dry run is made."""
    return _LENIENT.get()


def refuse(message: str) -> None:
    """Refuse what the site would; of a dry run, only say it.

    Raises
    ------
    UserError
        With the message.
    """
    if not _LENIENT.get():
        raise UserError(message)
    say(f"note: before it can be submitted: {message}")


def shared_folders(batch: BatchBlock) -> tuple[str, ...]:
    """Return the folders that the jobs see."""
    return SHARED[batch.site] if batch.shared is None else tuple(batch.shared)


def visible_to_jobs(path: str | Path, batch: BatchBlock) -> bool:
    """Whether the jobs see a file or folder of this machine."""
    return any(absolute(path).is_relative_to(folder) for folder in shared_folders(batch))


def absolute(path: str | Path) -> Path:
    """Return a path from the root on, links kept: the folders that jobs see are often links here."""
    return Path(os.path.normpath(Path(path).expanduser().absolute()))


def path_of_jobs(path: str, batch: BatchBlock, key: str) -> Path:
    """Return the path of a file or folder that the jobs use where it is; refuses what they do not see.

    Raises
    ------
    UserError
        When they do not; ``key`` says where it was written.
    """
    if not visible_to_jobs(path, batch):
        refuse(f"{key}: the jobs of {batch.site} do not see {path}: {remedy(batch)}")
    return absolute(path)


def remedy(batch: BatchBlock) -> str:
    """Say how the jobs come to see a file."""
    return f"put it under {' or '.join(shared_folders(batch))} (or name the folders that they see in batch.shared)"
