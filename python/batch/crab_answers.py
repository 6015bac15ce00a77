"""What CRAB tells of the jobs of a task: by ``crab status``, or in the files of ``crab report``."""

from __future__ import annotations

import contextlib
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from .events import JobState, Process

_STATES = {
    "unsubmitted": JobState.IDLE, "idle": JobState.IDLE, "held": JobState.IDLE, "toRetry": JobState.EVICTED,
    "cooloff": JobState.EVICTED, "running": JobState.RUNNING, "transferring": JobState.RUNNING,
    "killing": JobState.RUNNING,
    "transferred": JobState.DONE, "finished": JobState.DONE, "failed": JobState.FAILED, "killed": JobState.REMOVED,
}  # fmt: skip
_ENDED = ("SUBMITFAILED", "SUBMITREFUSED", "FAILED", "KILLED")
"""States of tasks whose jobs, as far as they have not begun, never will."""
_SITE = re.compile(r"T[0-3]_[A-Z]{2}(_[A-Za-z0-9]+)+")
_NOT_BEGUN = (JobState.IDLE, JobState.EVICTED)


def known(status: Path, results: Path, count: int) -> dict[int, Process]:
    """Return what is known of the jobs of a task, by their numbers in it.

    Parameters
    ----------
    status
        The answer of ``crab status``: the client's, or what ``crab status -d PROJECT --json`` prints.
    results
        Without that file, what ``crab report`` has put here counts.
    count
        How many jobs the task has.

    Raises
    ------
    DataError
        When a file of ``crab report`` is damaged.
    """
    told = answer(status.read_text(errors="replace")) if status.exists() else {}
    of_jobs = told.get("jobs", told)
    jobs = {int(n): _process(info) for n, info in _mapping(of_jobs).items() if n.isdigit() and 1 <= int(n) <= count}
    state = next((str(told[key]) for key in ("status", "dbStatus") if told.get(key)), "").partition(" ")[0]
    if state in _ENDED:
        message = told.get("taskFailureMsg") or told.get("taskWarningMsg") or ""
        reason = f"{state}: {' '.join(str(message).split())}"
        jobs = {number: Process(JobState.REMOVED, reason) for number in range(1, count + 1)} | {
            number: Process(JobState.REMOVED, reason) if process.state in _NOT_BEGUN else process
            for number, process in jobs.items()
        }
    if jobs:
        return jobs
    finished, failed = reported(results)
    states = {**dict.fromkeys(failed, JobState.FAILED), **dict.fromkeys(finished, JobState.DONE)}
    reasons = {JobState.FAILED: "not finished, says crab report", JobState.DONE: ""}
    return {number: Process(state, reasons[state]) for number, state in states.items() if 1 <= number <= count}


def sites(status: Path) -> dict[int, str]:
    """Return where jobs ran last, by their numbers, as far as an answer of ``crab status`` tells it."""
    jobs = _mapping(answer(status.read_text(errors="replace")).get("jobs")) if status.exists() else {}
    visited = {n: _sequence(_mapping(info).get("SiteHistory")) for n, info in jobs.items() if n.isdigit()}
    last = {int(number): str(names[-1]) for number, names in visited.items() if names}
    return {number: name for number, name in last.items() if _SITE.fullmatch(name)}


def answer(text: str) -> dict[str, Any]:
    """Find what the client answers, or prints beside other things: one dictionary."""
    for candidate in (text, *(line for line in text.splitlines() if line.startswith("{"))):
        with contextlib.suppress(ValueError):
            content = json.loads(candidate)
            if isinstance(content, dict):
                return content
    return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> Any:
    """Return what is a number, and not a truth value or a text."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _process(info: Any) -> Process:
    """Read what CRAB says of a job: its state, the times and sizes of each try, and the error of the last.

    What is not as it should be counts as not said: the next answer may say it.
    """
    info = _mapping(info)
    code, reason = [*_sequence(info.get("Error"))[:2], None, None][:2]
    code = _number(code)
    state = _STATES.get(str(info.get("State")), JobState.IDLE)
    starts, ends = (_sequence(info.get(name)) or [None] for name in ("StartTimes", "EndTimes"))
    return Process(
        state=state,
        reason=" ".join(str(reason or "").split()) if state in (JobState.FAILED, JobState.REMOVED) else "",
        exit_code=0 if state is JobState.DONE else code if state is JobState.FAILED else None,
        runs=int(_number(info.get("Retries")) or 0) + 1,
        started=_number(starts[-1]),
        ended=None if state is JobState.RUNNING else _number(ends[-1]),
    )


def reported(results: Path) -> tuple[set[int], set[int]]:
    """Read what ``crab report`` says of a task that has ended: which jobs are finished, and which are not.

    Jobs are finished that processed their files (``processedFiles.json``), or whose luminosity blocks are not among
    those of ``notFinishedLumis.json``.
    """
    processed, missing = _read(results / "processedFiles.json"), _read(results / "notFinishedLumis.json")
    expected = dict(_wanted(results / "run_and_lumis.tar.gz"))
    jobs = _numbers(_read(results / "filesToProcess.json")) | set(expected)
    if processed:
        finished = _numbers(processed)
    elif missing:
        finished = {number for number, lumis in expected.items() if lumis and not _overlap(lumis, missing)}
    else:
        finished = set()
    failed = _numbers(_read(results / "failedFiles.json"))
    return finished, (jobs - finished if missing else failed)


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}): let 'crab report' write it again") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: is no table of jobs or runs: let 'crab report' write it again")
    return content


def _numbers(table: Mapping[str, Any]) -> set[int]:
    return {int(number) for number in table if number.isdigit()}


def _wanted(path: Path) -> Iterator[tuple[int, Mapping[str, list[list[int]]]]]:
    """Yield the luminosity blocks that each job was to do."""
    if not path.exists():
        return
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                number, file = re.search(r"job_lumis_(\d+)\.json$", member.name), archive.extractfile(member)
                if number and file:
                    yield int(number[1]), json.load(file)
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}): let 'crab report' write it again") from None


def _overlap(one: Mapping[str, list[list[int]]], other: Mapping[str, list[list[int]]]) -> bool:
    """Whether two lists of luminosity blocks, as ranges by run, have any in common."""
    return any(
        first <= high and low <= last
        for run in one.keys() & other.keys()
        for first, last in one[run]
        for low, high in other[run]
    )
