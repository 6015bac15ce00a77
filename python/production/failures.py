"""What the exit code of cmsRun means for another try (cf. WMCore's ``WMExceptions.py``, CMSSW's ``edm::errors``)."""

from __future__ import annotations

import re
from enum import Enum


class Failure(Enum):
    """Why a step failed, and so what helps."""

    INPUT = "could not read an input"  # other files or servers
    CONFIGURATION = "its configuration is wrong"  # nothing
    MEMORY = "needed more memory"  # more of it
    CRASH = "crashed"  # perhaps once more
    OTHER = "failed"  # another machine


_CODES = {
    **dict.fromkeys((8020, 8021, 8022, 8028, 8034), Failure.INPUT),
    **dict.fromkeys((7000, 7001, 7002, 8007, 8009, 8010, 8011, 8017, 8019, 8023, 8024, 8025), Failure.CONFIGURATION),
    **dict.fromkeys((8004, 8030, 8031, 50660, 137), Failure.MEMORY),
    **dict.fromkeys((132, 134, 135, 136, 139), Failure.CRASH),
}
_BY_SHELL = {code & 255: code for code in _CODES if code > 255}
"""A process ends with the last eight bits of such a code, where no report tells it."""
_WORDS = re.compile(r"cmsRun ended with (\d+)")


def of_process(status: int) -> int:
    """Return the code of a process that left no report: a signal is 128 and its number."""
    status = 128 - status if status < 0 else status
    return status if status in _CODES else _BY_SHELL.get(status, status)


def failure_of(code: int) -> Failure:
    """Tell what an exit code of cmsRun means."""
    return _CODES.get(code, Failure.OTHER)


def message(code: int, kind: str, text: str) -> str:
    """Say with which code cmsRun ended, so that :func:`code_in` finds it."""
    why = f" ({kind})" if kind else ""
    return f"cmsRun ended with {code}{why}" + (f": {text}" if text else "")


def code_in(error: str) -> int | None:
    """Return the exit code of cmsRun that a line of error names."""
    match = _WORDS.search(error)
    return int(match[1]) if match else None
