"""The target ``slurm``: the same jobs as job arrays of Slurm, in folders that all its nodes see.

Each job tells in a file of its own what happens to it; of jobs that were killed, the queue knows. What a site wants
beside (a partition, a quality of service) comes from sbatch's variables, such as ``SBATCH_PARTITION``.
"""

from __future__ import annotations

import math
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...errors import DataError, UserError
from ...version import __version__
from ..events import ACTIVE, JobLog, JobState, Process, read_logs
from ..jobdir import SHARD, JobDir, Submission
from ..plan import Resources
from ..target import Target
from ..templates import fill, template

ARRAY = 1000
"""Jobs of one array; Slurm takes 1,001 where it is not told otherwise."""
_WAITING = (
    "PENDING", "CONFIGURING", "POWER_UP_NODE", "REQUEUED", "REQUEUE_FED", "RESV_DEL_HOLD", "STOPPED", "SUSPENDED",
)  # fmt: skip
_RUNNING = ("RUNNING", "COMPLETING", "EXPEDITING", "RESIZING", "SIGNALING", "STAGE_OUT", "UPDATE_DB")
_HELD = ("REQUEUE_HOLD", "SPECIAL_EXIT")
_CANCELLED = "it was cancelled"
_ENDS = {
    "BOOT_FAIL": "its node did not start", "CANCELLED": _CANCELLED, "DEADLINE": "its deadline is over",
    "FAILED": "it failed without telling how", "LAUNCH_FAILED": "it could not be started",
    "NODE_FAIL": "its node failed", "OUT_OF_MEMORY": "out of memory", "PREEMPTED": "it had to make room for others",
    "RECONFIG_FAIL": "its node did not start", "REVOKED": "another cluster took it", "TIMEOUT": "its wall time is over",
}  # fmt: skip
"""States of Slurm's ``job_state_codes``: with those above all but COMPLETED, and what they mean."""


class SlurmTarget(Target):
    """Slurm: job arrays, in folders that all nodes see."""

    def submit(
        self, directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str] = ()
    ) -> Submission:
        """Submit jobs as arrays.

        Raises
        ------
        UserError
            When Slurm is not here.
        DataError
            When it refuses them.
        """
        _require("sbatch")
        with directory.lock() as lock:
            script = self.prepare(directory, jobs, resources, overrides, len(directory.submissions()))
            submission = directory.intend(jobs, resources, overrides)
            directory.event_log(submission.attempt).touch()
            arrays = [_sbatch(directory, submission, script, first, lock) for first in range(0, len(jobs), ARRAY)]
            return directory.conclude(submission, "submitted", arrays[0], None)

    def prepare(
        self, directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str], attempt: int
    ) -> Path:
        """Write the script of a submission, and the rows that it reads."""
        directory.make_logs(attempt, jobs)
        numbers = [directory.plan.jobs[number] for number in jobs]
        rows = (shlex.join([str(job.number), *directory.words(job, overrides)]) for job in numbers)
        (directory.path / f"items-{attempt}.txt").write_text("".join(f"{row}\n" for row in rows))
        path = directory.path / f"{directory.plan.stage}-{attempt}.sh"
        path.write_text(describe(directory, resources, overrides, attempt, path))
        return path

    def reconcile(self, directory: JobDir, submission: Submission) -> Submission:
        """Find out what became of a submission that was interrupted: the queue knows it, or its jobs have begun.

        Raises
        ------
        DataError
            When Slurm does not answer.
        """
        with directory.lock():
            submission = directory.submissions()[submission.attempt]
            if submission.state == "void":
                return submission
            queue = _queue(directory, submission)
            if queue is None:
                raise DataError("squeue does not answer: try again later")
            begun = any(_log(directory, submission, number).exists() for number in submission.jobs)
            accepted = bool(queue) or begun
            if accepted and submission.state == "submitted":
                return submission
            return directory.conclude(submission, "submitted" if accepted else "void", None, None)

    def withdraw(self, directory: JobDir, submission: Submission, jobs: Sequence[int]) -> None:
        """Cancel jobs that Slurm holds: released later, they would do what another does by then."""
        queue = _queue(directory, submission) or {}
        held = [queue[row].number for row, number in enumerate(submission.jobs) if number in jobs and row in queue]
        if held:
            _call("scancel", *held)

    def processes(self, directory: JobDir, submission: Submission) -> dict[int, Process]:
        """Return what the jobs tell in their own logs, and what the queue knows of those that could not tell it."""
        processes = super().processes(directory, submission)
        processes.update(read_logs({number: _log(directory, submission, number) for number in submission.jobs}))
        queue = _queue(directory, submission)
        if queue is None:
            return processes
        for row, number in enumerate(submission.jobs):
            entry = queue.get(row)
            if entry is not None:
                _correct(processes.setdefault(number, Process()), entry.state)
            elif number in processes and processes[number].state in ACTIVE:
                _correct(processes[number], "unknown")
        return processes

    def needs_log(self, directory: JobDir) -> bool:
        """Whether nothing else knows: but the queue does."""
        return False


def describe(directory: JobDir, resources: Resources, overrides: Sequence[str], attempt: int, path: Path) -> str:
    """Return the text of a script for sbatch."""
    plan = directory.plan
    variables = directory.environment(replace(resources, checkpoint=0), overrides)  # nobody takes its checkpoints
    values = {
        "version": __version__, "stage": plan.stage, "name": plan.name, "run": plan.run_id, "attempt": attempt,
        "path": path, "shard": SHARD, "jobdir": shlex.quote(str(directory.path)),
        "parts": shlex.quote(str(directory.parts or plan.parts)),
        "logs": shlex.quote(str(directory.logs / str(attempt))),
        "inputs": shlex.join(map(str, directory.transferred())),
        "environment": shlex.join(f"{name}={value}" for name, value in variables.items()) or None,
        "cores": resources.cores, "memory": resources.memory, "minutes": math.ceil(resources.runtime / 60) + 1,
        "gpus": resources.gpus or None, "account": directory.batch.accounting_group, "retries": resources.retries,
    }  # fmt: skip
    return fill(template("slurm.sh"), values)


def _sbatch(directory: JobDir, submission: Submission, script: Path, first: int, lock: int) -> int:
    """Submit the array that begins with a row; returns its number."""
    numbers = submission.jobs[first : first + ARRAY]
    answer = _call(
        "sbatch", "--parsable", f"--job-name={_name(directory, submission, first)}", f"--array=0-{len(numbers) - 1}",
        f"--export=ALL,NANOFORGE_FIRST={first}", str(script), lock=lock,
    )  # fmt: skip
    match = re.match(r"\d+", answer.stdout)
    if answer.returncode or match is None:
        if first == 0:
            directory.conclude(submission, "void", None, None)
        raise DataError(f"{script}: sbatch refuses it: {answer.stderr.strip() or answer.stdout.strip()}")
    log = JobLog(directory.event_log(submission.attempt))
    for row, number in enumerate(numbers, first):
        log.submitted(row, number)
    return int(match[0])


def _name(directory: JobDir, submission: Submission, row: int) -> str:
    return f"{directory.plan.run_id}-{submission.attempt}-{row // ARRAY}"


def _correct(process: Process, state: str) -> None:
    """Let a job be where the queue says that it is, unless it has told itself how it ended.

    A signal tells a job no more than that it ends: it may be preempted, or begin again later.
    """
    if process.state in (JobState.DONE, JobState.FAILED):
        return
    if state in _WAITING:
        process.state, process.reason = JobState.IDLE, "" if state == "PENDING" else f"Slurm: {state}"
    elif state in _RUNNING:
        process.state, process.reason = JobState.RUNNING, ""
    elif state in _HELD:
        process.state, process.reason = JobState.HELD, f"Slurm holds it ({state})"
    elif process.state is not JobState.REMOVED or (process.reason == _CANCELLED and state in _ENDS):
        process.state = JobState.REMOVED
        process.reason = _ENDS.get(state, f"it left the queue ({state}) without telling how it ended")


class _Entry(NamedTuple):
    """What the queue says of a job: its state, and the number under which Slurm has it."""

    state: str
    number: str


def _queue(directory: JobDir, submission: Submission) -> Mapping[int, _Entry] | None:
    """Return what Slurm says of the rows of a submission, as long as it remembers them; None where it says nothing."""
    if shutil.which("squeue") is None:
        return None
    names = {_name(directory, submission, row): row for row in range(0, len(submission.jobs), ARRAY)}
    options = ("--array", "--noheader", "--states=all", f"--name={','.join(names)}", "--format=%j %K %T %A")
    answer = _call("squeue", *options)
    if answer.returncode:
        return None
    rows = (line.rsplit(maxsplit=3) for line in answer.stdout.splitlines())
    return {names[row[0]] + int(row[1]): _Entry(*row[2:]) for row in rows if len(row) == 4 and row[1].isdigit()}


def _log(directory: JobDir, submission: Submission, number: int) -> Path:
    return directory.stdout(submission.attempt, number).with_suffix(".log")


def _call(*command: str, lock: int | None = None) -> subprocess.CompletedProcess[str]:
    inherited = () if lock is None else (lock,)
    return subprocess.run(  # noqa: S603 - no shell, and the words are ours
        command, capture_output=True, text=True, check=False, pass_fds=inherited
    )


def _require(program: str) -> None:
    if shutil.which(program) is None:
        raise UserError(f"{program} is not here: submit from a machine of the cluster, or --dry-run")
