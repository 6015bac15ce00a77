"""What a job lacked, as far as its log and its last line of error tell."""

from __future__ import annotations

import re
from enum import Enum

from .events import Process, State
from .plan import Job

_OUT_OF_MEMORY, _OUT_OF_TIME = (34,), (46, 47)
_KILLED = (137, -9)
_MISTAKE = 2
_TIME_WORDS = re.compile(
    r"wall ?time|run ?time|EnteredCurrentStatus|MaxRuntime|execute duration|job duration", re.IGNORECASE
)
_MEMORY_WORDS = re.compile(r"memory|bad_alloc", re.IGNORECASE)
_DISK_WORDS = re.compile(r"no space left|disk usage", re.IGNORECASE)
_BY_HAND = "via condor_rm"


class Cause(Enum):
    """What a job lacked."""

    TIME = "ran longer than it may"
    MEMORY = "needed more memory"
    DISK = "needed more disk"
    INPUT = "could not read an input"
    MISTAKE = "permanent"
    OTHER = ""


def cause_of(job: Job, process: Process, runtime: int, error: str) -> Cause:
    """Tell what a job lacked.

    Parameters
    ----------
    job
        The job.
    process
        What its log says: held, removed or failed.
    runtime
        How long it may run, in seconds.
    error
        Its last line of error.
    """
    if process.state is State.FAILED:
        return _failure(job, process.exit_code, error)
    if process.state not in (State.HELD, State.REMOVED):
        return Cause.OTHER
    if process.hold_code in _OUT_OF_TIME or _TIME_WORDS.search(process.reason):
        return Cause.TIME
    if process.hold_code in _OUT_OF_MEMORY or _MEMORY_WORDS.search(process.reason):
        return Cause.MEMORY
    if _DISK_WORDS.search(process.reason):
        return Cause.DISK
    by_hand = process.reason.startswith(_BY_HAND)
    late = process.state is State.REMOVED and not by_hand and (process.seconds or 0) >= runtime
    return Cause.TIME if late else Cause.OTHER


def _failure(job: Job, code: int | None, error: str) -> Cause:
    if code == _MISTAKE:
        return Cause.MISTAKE
    if code in _KILLED or _MEMORY_WORDS.search(error):
        return Cause.MEMORY
    if _DISK_WORDS.search(error):
        return Cause.DISK
    if any(path in error or _logical(path) in error for path in job.inputs):
        return Cause.INPUT
    return Cause.OTHER


def _logical(path: str) -> str:
    """Return the part of an address that does not depend on the server."""
    return "/" + path.split("://", 1)[-1].partition("/")[2].lstrip("/") if "://" in path else path
