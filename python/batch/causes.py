"""What a job lacked, as far as its log and its last line of error tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from ..production.failures import code_in
from .events import JobState, Process
from .plan import BatchJob

_BY_POLICY = (None, 0, 3, 21, 26)
"""Hold codes after which only the words tell what the policy of a user, a machine or a site has found."""
_TIME_CODES = (46, 47)
_OUT_OF_RESOURCES = (21, 34)
"""Hold codes of a machine that enforces what was asked for; the subcode says what."""
_MEMORY, _DISK = 102, 104
_OLD_MEMORY = (34, 0)
"""Versions that know no subcodes use this code for memory."""
_MISTAKE = 2
_TIME_WORDS = re.compile(
    r"wall ?time|run ?time|EnteredCurrentStatus|MaxRuntime|execute duration|job duration", re.IGNORECASE
)
_MEMORY_WORDS = re.compile(r"memory|bad_alloc", re.IGNORECASE)
_DISK_WORDS = re.compile(r"no space left|disk usage", re.IGNORECASE)
_BY_HAND = "via condor_rm"
_PATH = re.compile(r"\S*/[\w.]\S*")


class Cause(Enum):
    """What a job lacked."""

    TIME = "ran longer than it may"
    MEMORY = "needed more memory"
    DISK = "needed more disk"
    INPUT = "could not read an input"
    MISTAKE = "permanent"
    OTHER = ""


def cause_of(job: BatchJob, process: Process, runtime: int, error: str) -> Cause:
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
    if process.state is JobState.FAILED:
        return cause_of_failure(process.exit_code, error, job.inputs)
    if process.state not in (JobState.HELD, JobState.REMOVED):
        return Cause.OTHER
    by_hand = process.reason.startswith(_BY_HAND)
    late = process.state is JobState.REMOVED and not by_hand and (process.seconds or 0) >= runtime
    cause = _by_code(process)
    return Cause.TIME if late and cause is Cause.OTHER else cause


def _by_code(process: Process) -> Cause:
    """Tell by HTCondor's codes why a job was held; words count where these leave it to a policy."""
    code, subcode = process.hold_code, process.hold_subcode
    if code in _TIME_CODES:
        return Cause.TIME
    if code in _OUT_OF_RESOURCES and subcode in (_MEMORY, _DISK):
        return Cause.MEMORY if subcode == _MEMORY else Cause.DISK
    if code in _BY_POLICY:
        return _by_words(process.reason)
    if code == _OLD_MEMORY[0] and subcode in (_OLD_MEMORY[1], None):
        return Cause.DISK if _DISK_WORDS.search(_PATH.sub("", process.reason)) else Cause.MEMORY
    return Cause.OTHER


def _by_words(text: str) -> Cause:
    """Tell by the words of a text, names of files left out."""
    text = _PATH.sub("", text)
    patterns = {Cause.TIME: _TIME_WORDS, Cause.MEMORY: _MEMORY_WORDS, Cause.DISK: _DISK_WORDS}
    return next((cause for cause, pattern in patterns.items() if pattern.search(text)), Cause.OTHER)


_CODES = {
    _MISTAKE: Cause.MISTAKE,
    **dict.fromkeys((137, -9, 8004, 8030, 8031, 50660, 50661), Cause.MEMORY),
    **dict.fromkeys((152, -24, 8032, 50663, 50664, 71304, 71305, 71306, 71307), Cause.TIME),
    **dict.fromkeys((8033, 50662), Cause.DISK),
    **dict.fromkeys((84, 85, 92, 8020, 8021, 8022, 8028, 8034), Cause.INPUT),
}
"""Exit codes: ours, those of signals, and those of cmsRun, CRAB and its wrapper (WMCore's ``WMExceptions.py``)."""


def cause_of_failure(code: int | None, error: str, inputs: Sequence[str] = ()) -> Cause:
    """Tell what a job lacked that has ended, by its exit code, its last line of error, and its inputs."""
    of_cmsrun = code_in(error)
    for number in (code, of_cmsrun):
        if number in _CODES:
            return _CODES[number]
    cause = _by_words(error)
    if cause in (Cause.MEMORY, Cause.DISK):
        return cause
    return Cause.INPUT if any(path in error or _logical(path) in error for path in inputs) else Cause.OTHER


def _logical(path: str) -> str:
    """Return the part of an address that does not depend on the server."""
    return "/" + path.split("://", 1)[-1].partition("/")[2].lstrip("/") if "://" in path else path
