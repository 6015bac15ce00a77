"""Which process does a trial, and whether it is known to be dead."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_PROC = Path("/proc")


def this_process() -> list[str]:
    """Name this process for others: host, boot, namespace of process ids, id and time of start.

    The host alone where the system has no ``/proc``.
    """
    host = socket.gethostname()
    try:
        return [host, *_scope(), str(os.getpid()), _start(os.getpid())]
    except OSError:
        return [host]


def is_dead(process: list[str]) -> bool:
    """Whether the process of that name has ended; False where only its own host or container could tell."""
    try:
        here = [socket.gethostname(), *_scope()]
    except OSError:
        return False
    *where, pid, start = process if len(process) > 2 else [*process, "", ""]
    if where != here:
        return False
    try:
        os.kill(int(pid), 0)  # unlike /proc, it tells of the processes of other users everywhere
        return _start(int(pid)) != start
    except ProcessLookupError:
        return True
    except OSError:
        return False


def _scope() -> tuple[str, str]:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip(), str((_PROC / "self/ns/pid").readlink())


def _start(pid: int) -> str:
    """Return when a process began, in clock ticks since boot; its name, in parentheses, may hold anything."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
