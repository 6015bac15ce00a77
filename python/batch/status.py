"""Where the jobs of a directory are: from their event logs and what they brought back."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table

from ..console import out
from ..errors import DataError
from . import published
from .causes import Cause, cause_of
from .events import ACTIVE, JobState, Process, read_log
from .jobdir import DAG, JobDir, Submission
from .outputs import Output, Outputs, store
from .plan import BatchJob
from .targets import target_of

_PAUSE = 5.0
_FRESH = 60.0
_SUMMARY = "job.sh: exit code"
_TAIL = 4096
_SHOWN = 8


@dataclass(frozen=True)
class JobStatus:
    """Where one job is.

    Attributes
    ----------
    job
        The job.
    state, reason
        Where it is, and why if that is no good place.
    process
        What the log of its last submission says; None where none knows it.
    submission
        That submission.
    cause
        What it lacked.
    read, lost
        Events that it read, and of these those in files that it could not use and was allowed to skip.
    """

    job: BatchJob
    state: JobState
    reason: str = ""
    process: Process | None = None
    submission: Submission | None = None
    cause: Cause = Cause.OTHER
    read: int = 0
    lost: int = 0


class JobSurvey:
    """Looks at a job directory, again and again; what did not change is not read again."""

    def __init__(self, directory: JobDir, pipeline: Path | None = None) -> None:
        self.directory, self.pipeline = directory, pipeline
        self.expects_output = directory.plan.stage != "tune"
        self.outputs = Outputs(directory.plan, store(directory.plan, directory.parts))

    def look(self) -> list[JobStatus]:
        """Return the state of all jobs, by number."""
        processes = _processes(self.directory)
        outputs = self._arrived() if self.expects_output else {}
        self._goes_on = self.pipeline is not None and dagman(self.pipeline) in ACTIVE
        return [
            self._state(job, outputs.get(job.number), *processes.get(job.number, (None, None))) for job in self._jobs
        ]

    def _arrived(self) -> dict[int, Output]:
        """Look for outputs; before anything was submitted their address may be out of reach, as after a dry run."""
        try:
            return self.outputs.survey()
        except DataError:
            if self.pipeline is not None or self.directory.submissions():
                raise
            return {}

    @property
    def _jobs(self) -> Sequence[BatchJob]:
        return self.directory.plan.jobs

    def _state(
        self, job: BatchJob, output: Output | None, process: Process | None, submission: Submission | None
    ) -> JobStatus:
        if output is not None and output.problem is None:
            return JobStatus(job, JobState.DONE, "", process, submission, Cause.OTHER, output.read, output.lost)
        if process is None or submission is None:
            if self._goes_on or (submission is not None and _is_fresh(submission)):
                return JobStatus(job, JobState.IDLE, "", None, submission)
            if submission is None:
                return JobStatus(job, JobState.NEW)
            return JobStatus(job, JobState.LOST, _lost(self.directory, submission), None, submission)
        if process.state is JobState.DONE and output is not None:
            return JobStatus(job, JobState.FAILED, f"ended well, but: {output.problem}", process, submission)
        if process.state in ACTIVE:
            return JobStatus(job, process.state, self._moved(submission) or process.reason, process, submission)
        return self._ended(job, process, submission)

    def _moved(self, submission: Submission) -> str:
        """Say that a job in the queue knows the job directory by another name: what it writes does not come here."""
        folder = submission.folder
        if folder is None or Path(folder) == self.directory.path:
            return ""
        return f"was submitted when this folder was {folder}, where its log and its part go: give it that name again"

    def _ended(self, job: BatchJob, process: Process, submission: Submission) -> JobStatus:
        failed = process.state is JobState.FAILED
        error = (last_error(self.directory.stderr(submission.attempt, job.number)) or process.reason) if failed else ""
        cause = cause_of(job, process, submission.resources.runtime, error)
        reason = _ending(process, error) if failed else process.reason
        if cause.value and cause.value not in reason:
            limit = f" ({submission.resources.runtime} s)" if cause is Cause.TIME else ""
            reason = f"{cause.value}{limit}: {reason}"
        return JobStatus(job, process.state, reason, process, submission, cause)


def _processes(directory: JobDir) -> dict[int, tuple[Process | None, Submission]]:
    """Find the last process of every job that was submitted, or the one that is still to do something."""
    target = target_of(directory)
    latest: dict[int, tuple[Process | None, Submission]] = {}
    for submission in directory.submissions():
        if submission.state == "void":
            continue
        processes = target.processes(directory, submission)
        for number in submission.jobs:
            process, earlier = processes.get(number), latest.get(number, (None, None))[0]
            if earlier is None or earlier.state not in ACTIVE or (process and process.state in ACTIVE):
                latest[number] = process, submission
    return latest


def dagman(pipeline: Path) -> JobState:
    """Return the state of the DAGMan of a pipeline."""
    log = pipeline / f"{DAG}.dagman.log"
    processes = read_log(log, (0,)) if log.exists() else {}
    return processes[0].state if processes else JobState.LOST


def _is_fresh(submission: Submission) -> bool:
    """Whether the log may not know of a submission yet."""
    return submission.state == "submitted" and abs(time.time() - submission.time) < _FRESH


def _lost(directory: JobDir, submission: Submission) -> str:
    if submission.state == "intent":
        return "its submission was interrupted"
    log = directory.event_log(submission.attempt)
    return f"not in {log.name} of attempt {submission.attempt}" if log.exists() else f"{log} is missing"


def _ending(process: Process, error: str) -> str:
    code = process.exit_code
    if code is None:
        return process.reason
    return (f"exit code {code}" if code >= 0 else f"killed by signal {-code}") + (f": {error}" if error else "")


def last_error(path: Path) -> str:
    """Return the last line of a job's standard error that says ``error:``, or else its last line."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _TAIL, 0))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    except OSError:
        return ""
    lines = [line for line in lines if line and not line.startswith(_SUMMARY)]
    return next((line for line in reversed(lines) if line.startswith("error:")), lines[-1] if lines else "")


# -- the summary ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reason:
    """Jobs that are where they are for one reason; numbers in its text (files, hosts) are those of the first job."""

    state: JobState
    text: str
    jobs: list[int]


@dataclass(frozen=True)
class Summary:
    """The jobs of a stage, counted.

    Attributes
    ----------
    stage
        The stage.
    states
        Its jobs.
    now
        When they were looked at, in seconds since 1970.
    """

    stage: str
    states: Sequence[JobStatus] = field(repr=False)
    now: float

    @cached_property
    def counts(self) -> Counter[JobState]:
        """Number of jobs per state."""
        return Counter(status.state for status in self.states)

    @property
    def finished(self) -> bool:
        """Whether nothing will change by itself."""
        return not any(self.counts[state] for state in ACTIVE)

    @property
    def read(self) -> int:
        """Events that finished jobs read."""
        return sum(status.read for status in self.states)

    @cached_property
    def events(self) -> int | None:
        """Events of all jobs; None where nobody counted those that are to come."""
        counts = [s.read if s.state is JobState.DONE else s.job.entries for s in self.states]
        return None if None in counts else sum(n or 0 for n in counts)

    @property
    def lost(self) -> int:
        """Events that finished jobs skipped, since their files were unusable."""
        return sum(status.lost for status in self.states)

    @cached_property
    def finish(self) -> float | None:
        """When the last job will be done, in seconds since 1970, if as many run at a time as now.

        Every job is taken to last as long as the median of those that are done: clocks may have jumped during some.
        """
        lasted = [s.process.seconds for s in self.states if s.state is JobState.DONE and s.process is not None]
        finished = [seconds for seconds in lasted if seconds is not None]
        running = [s.process for s in self.states if s.state is JobState.RUNNING and s.process is not None]
        if not finished or not running:
            return None
        usual = statistics.median(finished)
        rest = [max(usual - max(self.now - (p.started or self.now), 0), 0) for p in running]
        waiting = self.counts[JobState.IDLE] + self.counts[JobState.EVICTED]
        return self.now + max((sum(rest) + waiting * usual) / len(running), *rest)

    @cached_property
    def reasons(self) -> list[Reason]:
        """Why jobs are not done, the most frequent reasons first."""
        reasons: dict[tuple[JobState, str], Reason] = {}
        for status in self.states:
            if status.state in (JobState.DONE, JobState.RUNNING) or not status.reason:
                continue
            key = (status.state, _alike(status))
            reasons.setdefault(key, Reason(status.state, status.reason, [])).jobs.append(status.job.number)
        return sorted(reasons.values(), key=lambda reason: -len(reason.jobs))

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON types."""
        return {
            "stage": self.stage,
            "jobs": len(self.states),
            "states": {str(state): self.counts[state] for state in JobState},
            "events": {"read": self.read, "lost": self.lost, "all": self.events},
            "expected_finish": self.finish,
            "reasons": [{"state": str(r.state), "reason": r.text, "jobs": r.jobs} for r in self.reasons],
        }


def _alike(status: JobStatus) -> str:
    """Return a reason without what differs from job to job."""
    text = status.reason
    for path in status.job.inputs:
        text = text.replace(path, "*")
    return re.sub(r"\d+", "#", text)


# -- what the user sees -----------------------------------------------------------------------------------------------


def surveys(path: Path) -> list[JobSurvey]:
    """Return a survey of each stage of a pipeline, or the one of a single stage."""
    pipeline = path if (path / DAG).exists() else None
    return [JobSurvey(directory, pipeline) for directory in JobDir.all(path)]


def status(directory: Path, watch: bool = False, as_json: bool = False) -> None:
    """Show where the jobs are.

    Parameters
    ----------
    directory
        The job directory.
    watch
        Go on until nothing changes any more, or Ctrl-C.
    as_json
        Print JSON.
    """
    every = surveys(directory)
    if every[0].directory.plan.published:
        published.status(every[0].directory, watch=watch, as_json=as_json)
        return

    def look() -> list[Summary]:
        return [Summary(s.directory.plan.stage, s.look(), time.time()) for s in every]

    if as_json:
        out.print_json(json.dumps([summary.as_dict() for summary in look()]))
    elif watch:
        _watch(look, str(directory))
    else:
        out.print(_drawn(look(), str(directory)))


def _watch(look: Callable[[], list[Summary]], title: str) -> None:
    with Live(console=out, auto_refresh=False) as display:
        while True:
            begun = time.monotonic()
            summaries = look()
            display.update(_drawn(summaries, title), refresh=True)
            if all(summary.finished for summary in summaries):
                return
            time.sleep(
                max(_PAUSE, 4 * (time.monotonic() - begun))
            )  # a fifth of the time at most: it may be a login node


def _drawn(summaries: Iterable[Summary], title: str) -> Group:
    summaries = list(summaries)
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    columns = [state for state in JobState if any(summary.counts[state] for summary in summaries)]
    table.add_column("stage")
    for name in ("jobs", *map(str, columns), "events", "finish"):
        table.add_column(name, justify="right")
    for summary in summaries:
        counts = [f"{summary.counts[state]:,}" for state in columns]
        table.add_row(summary.stage, f"{len(summary.states):,}", *counts, _events(summary), _finish(summary))
    return Group(table, *(_explained(summary, len(summaries) > 1) for summary in summaries))


def _events(summary: Summary) -> str:
    if not summary.read and not summary.events:  # a training counts none
        return ""
    of = "" if summary.events is None else f" of {summary.events:,}"
    return f"{summary.read:,}{of}" + (f" ({summary.lost:,} lost)" if summary.lost else "")


def _finish(summary: Summary) -> str:
    if summary.finish is None:
        return ""
    moment = datetime.fromtimestamp(summary.finish).astimezone()
    return moment.strftime("%H:%M" if summary.finish - summary.now < 72_000 else "%a %H:%M")


def _explained(summary: Summary, named: bool) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for reason in summary.reasons:
        prefix = f"{summary.stage} " if named else ""
        table.add_row(f"{len(reason.jobs):,}", f"{prefix}{reason.state}", f"{reason.text} ({numbers(reason.jobs)})")
    return table


def numbers(jobs: Sequence[int]) -> str:
    """Name some jobs: all of a few, the first of many."""
    first = ", ".join(map(str, jobs[:_SHOWN]))
    return f"job{'s' if len(jobs) > 1 else ''} {first}" + (", ..." if len(jobs) > _SHOWN else "")
