"""What CRAB tells of the jobs of a task: by ``crab status``, or in the files of ``crab report``."""

from __future__ import annotations

import contextlib
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .events import Process, State

_STATES = {
    "unsubmitted": State.IDLE, "idle": State.IDLE, "held": State.IDLE, "toRetry": State.EVICTED,
    "cooloff": State.EVICTED, "running": State.RUNNING, "transferring": State.RUNNING, "killing": State.RUNNING,
    "transferred": State.DONE, "finished": State.DONE, "failed": State.FAILED, "killed": State.REMOVED,
}  # fmt: skip
_REFUSED = ("SUBMITFAILED", "KILLED")
"""States of tasks that have no jobs and will have none."""
_KILLED = {50660: "memory", 50662: "disk usage", 50664: "wall time"}
"""Exit codes of jobs that were removed since they used too much of something."""


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
    """
    answer = _answer(status.read_text()) if status.exists() else {}
    jobs = answer.get("jobs", answer)
    if not jobs and answer.get("status") in _REFUSED:
        reason = f"{answer['status']}: {' '.join(str(answer.get('taskFailureMsg', '')).split())}"
        return {number: Process(State.REMOVED, reason) for number in range(1, count + 1)}
    if jobs:
        return {int(number): _process(info) for number, info in jobs.items() if number.isdigit()}
    finished, failed = reported(results)
    states = {**dict.fromkeys(failed, State.FAILED), **dict.fromkeys(finished, State.DONE)}
    reasons = {State.FAILED: "not finished, says crab report", State.DONE: ""}
    return {number: Process(state, reasons[state]) for number, state in states.items()}


def _answer(text: str) -> dict[str, Any]:
    """Find what the client answers, or prints beside other things: one dictionary."""
    for candidate in (text, *(line for line in text.splitlines() if line.startswith("{"))):
        with contextlib.suppress(ValueError):
            return dict(json.loads(candidate))
    return {}


def _process(info: Mapping[str, Any]) -> Process:
    """Read what CRAB says of a job: its state, the times and sizes of each try, and the error of the last."""
    code, reason = (info.get("Error") or [None, ""])[:2]
    state = _STATES.get(info.get("State", ""), State.IDLE)
    if state is State.FAILED and code in _KILLED:
        state, reason = State.REMOVED, f"{_KILLED[code]}: {reason}"
    return Process(
        state=state,
        reason=" ".join(str(reason).split()) if state in (State.FAILED, State.REMOVED) else "",
        exit_code=0 if state is State.DONE else code if state is State.FAILED else None,
        runs=int(info.get("Retries") or 0) + 1,
        started=(info.get("StartTimes") or [None])[-1],
        ended=None if state is State.RUNNING else (info.get("EndTimes") or [None])[-1],
    )


def reported(results: Path) -> tuple[set[int], set[int]]:
    """Read what ``crab report`` says of a task that has ended: which jobs are finished, and which are not.

    Jobs are finished that processed their files (``processedFiles.json``), or whose luminosity blocks are not among
    those of ``notFinishedLumis.json``.
    """
    processed, missing = _read(results / "processedFiles.json"), _read(results / "notFinishedLumis.json")
    wanted = dict(_wanted(results / "run_and_lumis.tar.gz"))
    jobs = {int(number) for number in _read(results / "filesToProcess.json")} | set(wanted)
    if processed:
        finished = {int(number) for number in processed}
    elif missing:
        finished = {number for number, lumis in wanted.items() if lumis and not _overlap(lumis, missing)}
    else:
        finished = set()
    failed = {int(number) for number in _read(results / "failedFiles.json")}
    return finished, (jobs - finished if missing else failed)


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else {}


def _wanted(path: Path) -> Iterator[tuple[int, Mapping[str, list[list[int]]]]]:
    """Yield the luminosity blocks that each job was to do."""
    if not path.exists():
        return
    with tarfile.open(path) as archive:
        for member in archive:
            number, file = re.search(r"job_lumis_(\d+)\.json$", member.name), archive.extractfile(member)
            if number and file:
                yield int(number[1]), json.load(file)


def _overlap(one: Mapping[str, list[list[int]]], other: Mapping[str, list[list[int]]]) -> bool:
    """Whether two lists of luminosity blocks, as ranges by run, have any in common."""
    return any(
        first <= high and low <= last
        for run in one.keys() & other.keys()
        for first, last in one[run]
        for low, high in other[run]
    )
