"""HTCondor's own commands: any version of it serves, none of its libraries is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import DataError, UserError

_SUBMIT_EVENT = re.compile(r"^000 \((\d+)\.", re.MULTILINE)


def dry_run(description: Path, macros: Sequence[str] = ()) -> None:
    """Let condor_submit read a description; what it warns of, it would do wrong."""
    answer = call(["condor_submit", "-dry-run", "/dev/null", *macros, description.name], description.parent)
    warnings = [line for line in (answer.stderr + answer.stdout).splitlines() if "WARNING" in line]
    if answer.returncode or warnings:
        raise UserError(f"{description}: condor_submit -dry-run: {warnings[0] if warnings else last_words(answer)}")


def in_log(log: Path) -> int | None:
    """Return the first cluster that a log of events tells of."""
    try:
        match = _SUBMIT_EVENT.search(log.read_text(errors="replace"))
    except FileNotFoundError:
        return None
    return int(match[1]) if match else None


def in_queue(constraint: str, commands: Sequence[Sequence[str]]) -> int | None:
    """Ask the queue (condor_q), or the history, for a cluster."""
    for command in commands:
        answer = call([*command, "-constraint", constraint, "-af", "ClusterId"])
        if answer.returncode:
            raise DataError(f"{command[0]} does not answer: {last_words(answer)}: try again later")
        if answer.stdout.split():
            return int(answer.stdout.split()[0])
    return None


def call(
    command: Sequence[str], folder: Path | None = None, inherited: Iterable[int] = ()
) -> subprocess.CompletedProcess:
    """Run a command of HTCondor; its answer may be a refusal."""
    require(command[0])
    return subprocess.run(  # noqa: S603 - no shell, and the words are ours
        command, cwd=folder, capture_output=True, text=True, check=False, pass_fds=tuple(inherited)
    )


def schedd() -> str | None:
    """Return the name of the queue's host, where it can be told."""
    answer = call(["condor_config_val", "SCHEDD_HOST"]) if shutil.which("condor_config_val") else None
    name = answer.stdout.strip() if answer is not None and not answer.returncode else ""
    return name or None


def require(program: str) -> None:
    """Raise a :class:`UserError` where a program is not here."""
    if shutil.which(program) is None:
        raise UserError(f"{program} is not here: submit from a machine of the pool (LXPLUS, cmslpc), or --dry-run")


def last_words(answer: subprocess.CompletedProcess) -> str:
    """Return the last line of what a command says."""
    lines: list[str] = [line.strip() for line in (answer.stderr or answer.stdout).splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {answer.returncode}"
