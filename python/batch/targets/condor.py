"""The target ``condor``: the jobs in an HTCondor pool, through its own commands."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from .. import proxy
from ..condor_commands import call, dry_run, in_log, in_queue, last_words, require, schedd
from ..condor_description import check, describe, item
from ..events import JobState, Process, read_log, read_queue
from ..jobdir import JobDir, Submission
from ..lint import Rules
from ..plan import Resources
from ..target import Target

if TYPE_CHECKING:
    from ...config.batch import BatchBlock
    from ...config.schema import Analysis

_ATTRIBUTES = (
    "ClusterId", "ProcId", "NanoForgeJob", "JobStatus", "HoldReason", "HoldReasonCode", "ExitCode", "ExitBySignal",
    "ExitSignal", "JobCurrentStartDate", "EnteredCurrentStatus", "MemoryUsage", "NumJobStarts", "RemoveReason",
)  # fmt: skip
_SUBMITTED = re.compile(r"^(\d+)\.\d+", re.MULTILINE)


class CondorTarget(Target):
    """HTCondor, at CERN, the LPC and elsewhere: one cluster for each submission."""

    def submit(
        self, directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str] = ()
    ) -> Submission:
        """Submit jobs as one cluster.

        Raises
        ------
        UserError
            When the description would not be accepted, or HTCondor is not here.
        DataError
            When HTCondor refuses it.
        """
        require("condor_submit")
        proxy.check(directory.batch, directory.plan, resources.runtime)
        with directory.lock() as lock:
            attempt = len(directory.submissions())
            description = self.prepare(directory, jobs, resources, overrides, attempt)
            dry_run(description)
            submission = directory.intend(jobs, resources, overrides)
            spool = ["-spool"] if directory.batch.mode == "spool" else []
            answer = call(["condor_submit", "-terse", *spool, description.name], directory.path, (lock,))
            cluster = _SUBMITTED.search(answer.stdout)
            if answer.returncode or cluster is None:
                self.withdraw(directory, submission, jobs)  # it may fail when they are in the queue already
                directory.conclude(submission, "void", None, None)
                raise DataError(f"{description}: condor_submit refuses it: {last_words(answer)}")
            return directory.conclude(submission, "submitted", int(cluster[1]), schedd())

    def prepare(
        self, directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str], attempt: int
    ) -> Path:
        """Write the description of a submission and what it refers to, and check it by our own rules."""
        directory.make_logs(attempt, jobs)
        items = directory.path / f"items-{attempt}.txt"
        items.write_text("".join(item(directory, number) for number in jobs))
        path = directory.path / f"{directory.plan.stage}-{attempt}.sub"
        queue = f"{', '.join(directory.plan.columns)} from {items}"
        path.write_text(describe(directory, resources, overrides, attempt, len(jobs), queue))
        check(path, Rules(directory.batch.site, directory.batch.mode))
        return path

    def reconcile(self, directory: JobDir, submission: Submission) -> Submission:
        """Find out what became of a submission that was interrupted: the log and the queue know the run.

        One that was submitted, but whose log is not there, counts as void if its jobs have left the queue.

        Raises
        ------
        DataError
            When HTCondor does not answer.
        """
        with directory.lock():  # until a condor_submit that outlived us has ended
            submission = directory.submissions()[submission.attempt]
            log = directory.event_log(submission.attempt)
            if submission.state == "void" or (submission.state == "submitted" and log.exists()):
                return submission
            commands = [["condor_q"]]
            if submission.state == "intent":
                commands.append(["condor_history", "-limit", "1"])
            cluster = in_log(log) or in_queue(_mine(directory, submission.attempt), commands)
            if submission.state == "submitted" and cluster is not None:
                return submission
            return directory.conclude(submission, "void" if cluster is None else "submitted", cluster, schedd())

    def withdraw(self, directory: JobDir, submission: Submission, jobs: Sequence[int]) -> None:
        """Take jobs of a submission out of the queue."""
        numbers = ", ".join(map(str, jobs))
        constraint = f"{_mine(directory, submission.attempt)} && member(NanoForgeJob, {{ {numbers} }})"
        answer = call(["condor_rm", "-constraint", constraint])
        if answer.returncode and "find/remove all jobs" not in answer.stderr:  # that is: they had left
            raise DataError(f"{directory.path}: condor_rm: {last_words(answer)}")

    def submit_pipeline(self, analysis: Analysis, output: Path, *, dry_run: bool) -> None:
        """Submit all stages that an analysis needs as one DAG (see :mod:`..dag`)."""
        from .. import dag

        dag.submit(self, analysis, output, dry_run=dry_run)

    def processes(self, directory: JobDir, submission: Submission) -> dict[int, Process]:
        """Read the event log; in spool mode it is with the scheduler, and what has ended is fetched."""
        if self.needs_log(directory) or directory.event_log(submission.attempt).exists():
            return super().processes(directory, submission)
        processes = read_queue(queued(directory, submission))
        if any(process.state in (JobState.DONE, JobState.FAILED) for process in processes.values()):
            fetch(directory, submission)
        for number in submission.jobs:
            log = directory.stdout(submission.attempt, number).with_suffix(".log")
            if log.exists():
                processes.update(read_log(log, (number,)))
        return processes

    def needs_log(self, directory: JobDir) -> bool:
        """Whether the queue cannot tell: in spool mode, logs stay with it until they are fetched."""
        return directory.batch.mode != "spool"

    def adapted(self, batch: BatchBlock) -> BatchBlock:
        """Return the block as it is: its rules are those of HTCondor's sites."""
        return batch

    def gives_by_core(self, batch: BatchBlock) -> bool:
        """Whether it is CERN's pool, which gives 2 GB of memory and 20 GB of disk with each core."""
        return batch.site == "lxplus"


def queued(directory: JobDir, submission: Submission) -> list[dict[str, Any]]:
    """Return what the queue knows of the jobs of a submission.

    It is all there is until the results of a submission in spool mode are fetched: their logs are with the scheduler.
    """
    constraint = _mine(directory, submission.attempt)
    answer = call(["condor_q", "-constraint", constraint, "-json", "-attributes", ",".join(_ATTRIBUTES)])
    if answer.returncode:
        raise DataError(f"{directory.path}: condor_q does not answer: {last_words(answer)}: try again later")
    return json.loads(answer.stdout or "[]")


def fetch(directory: JobDir, submission: Submission) -> None:
    """Bring home what jobs in spool mode made that have ended, and take them out of the queue."""
    ended = [f"{job['ClusterId']}.{job['ProcId']}" for job in queued(directory, submission) if job["JobStatus"] == 4]
    for command in ("condor_transfer_data", "condor_rm") if ended else ():
        answer = call([command, *ended])
        if answer.returncode:
            raise DataError(f"{directory.path}: {command}: {last_words(answer)}: try again later")


def _mine(directory: JobDir, attempt: int) -> str:
    return f'NanoForgeRun == "{directory.plan.run_id}" && NanoForgeAttempt == {attempt}'
