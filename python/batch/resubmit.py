"""Submit again what is missing, with what it lacked: time, memory, disk, or another way to its input."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..config.batch import FLAVOURS
from ..config.load import load
from ..console import say
from ..errors import UserError
from . import published
from .causes import Cause
from .events import ACTIVE, JobState
from .jobdir import DAG, JobDir, Submission
from .plan import Resources
from .status import JobStatus, JobSurvey, dagman, numbers, surveys
from .target import Target
from .targets import target_of

Changes = tuple[Resources, tuple[str, ...]]

_MEMORY_PER_CORE, _DISK_PER_CORE = 2000, 20_000


def resubmit(path: Path, processes: int = 1, permanent: bool = False) -> None:
    """Submit again all jobs that are neither done nor in the queue.

    Parameters
    ----------
    path
        The job directory.
    processes
        For the target ``local``: so many jobs at a time.
    permanent
        Also those that ended with a mistake (exit code 2).

    Raises
    ------
    UserError
        When only such jobs are left, or time or memory cannot grow any more.
    DataError
        When the batch system does not answer.
    """
    if (path / DAG).exists():
        return _resubmit_pipeline(path, permanent)
    directory = JobDir.open(path)
    directory.check_analysis()
    directory.check_script()
    if directory.plan.published:
        published.resubmit(directory, permanent=permanent)
        return
    target = target_of(directory)
    with directory.lock(".submit"):
        hidden = _reconcile(directory, target)
        missing = [s for s in JobSurvey(directory).look() if s.state not in (JobState.DONE, *ACTIVE)]
        missing = [s for s in missing if s.submission is None or s.submission.attempt not in hidden]
        refused = [] if permanent else [s for s in missing if s.cause is Cause.MISTAKE]
        again = [s for s in missing if s not in refused]
        _tell(refused)
        if refused and not again:
            raise UserError(f"{path}: only mistakes are left, which another try does not mend: --permanent tries it")
        if not again:
            say(f"{path}: there is nothing to submit again")
            return
        plan = _grouped(directory, target, again)
        _withdraw(directory, target, again)
        submissions = [_submit(directory, target, jobs, *changes) for changes, jobs in plan.items()]
    for submission in submissions:
        target.run(directory, submission, processes)


def _resubmit_pipeline(path: Path, permanent: bool) -> None:
    """Let DAGMan go on where it ended; the jobs of a stage share what they ask for."""
    from . import dag

    manager = dagman(path)
    if manager in ACTIVE:
        raise UserError(f"{path}: the pipeline still runs: wait until it has ended, or remove it by condor_rm")
    resources: dict[str, Resources] = {}
    for survey in surveys(path):
        missing = [status for status in survey.look() if status.state is not JobState.DONE]
        refused = [] if permanent else [status for status in missing if status.cause is Cause.MISTAKE]
        if refused:
            job, reason = refused[0].job.number, refused[0].reason
            raise UserError(f"{survey.directory.path}: job {job} ended with a mistake ({reason}): --permanent tries it")
        target = target_of(survey.directory)
        requested = [_changed(survey.directory, target, status)[0] for status in missing]
        if requested:
            most = {name: max(getattr(r, name) for r in requested) for name in ("cores", "memory", "disk")}
            resources[survey.directory.plan.stage] = replace(max(requested, key=lambda r: r.runtime), **most)
    if not resources and manager is JobState.DONE:
        say(f"{path}: there is nothing to submit again")
        return
    dag.resubmit(path, resources)


def _reconcile(directory: JobDir, target: Target) -> set[int]:
    """Find out about interrupted submissions, and those without a log; returns those that are in the queue unseen."""
    hidden = set()
    for submission in directory.submissions():
        log = directory.event_log(submission.attempt)
        unseen = not log.exists() and target.needs_log(directory)
        if submission.state == "intent" or (submission.state == "submitted" and unseen):
            settled = target.reconcile(directory, submission)
            if settled.state == "submitted" and unseen:
                hidden.add(submission.attempt)
                say(
                    f"attempt {submission.attempt} is in the queue as cluster {settled.cluster}, but {log} is missing: "
                    "its jobs are left alone"
                )
    return hidden


def _tell(refused: Sequence[JobStatus]) -> None:
    for status in refused[:3]:
        say(f"job {status.job.number} is not tried again: {status.reason}")
    if len(refused) > 3:
        say(f"... and {len(refused) - 3} more like these: 'nanoforge status' names all")


def _withdraw(directory: JobDir, target: Target, missing: Iterable[JobStatus]) -> None:
    held: dict[int, tuple[Submission, list[int]]] = {}
    for status in missing:
        if status.state is JobState.HELD and status.submission is not None:
            held.setdefault(status.submission.attempt, (status.submission, []))[1].append(status.job.number)
    for submission, jobs in held.values():
        target.withdraw(directory, submission, jobs)


def _submit(
    directory: JobDir, target: Target, jobs: Sequence[JobStatus], resources: Resources, overrides: tuple[str, ...]
) -> Submission:
    causes = ", ".join(sorted({status.cause.value for status in jobs} - {Cause.OTHER.value}))
    submission: Submission = target.submit(directory, [s.job.number for s in jobs], resources, overrides)
    requests = [resources.flavour or f"{resources.runtime} s", f"{resources.memory} MB", f"{resources.disk} MB of disk"]
    say(f"{numbers(submission.jobs)} again{f' ({causes})' if causes else ''}: {', '.join([*requests, *overrides])}")
    return submission


# -- what changes -----------------------------------------------------------------------------------------------------


def _grouped(directory: JobDir, target: Target, missing: Iterable[JobStatus]) -> Mapping[Changes, list[JobStatus]]:
    """Put together what is submitted in the same way; one submission for each."""
    groups: dict[Changes, list[JobStatus]] = {}
    for status in missing:
        groups.setdefault(_changed(directory, target, status), []).append(status)
    return groups


def _changed(directory: JobDir, target: Target, status: JobStatus) -> Changes:
    """Return what a job asks for in its next try, and the changes of the analysis file."""
    submission = status.submission
    resources = directory.plan.resources if submission is None else submission.resources
    overrides = () if submission is None else submission.overrides
    per_core = target.gives_by_core(directory.batch)
    if status.cause is Cause.TIME:
        resources = _longer(resources, status)
    elif status.cause is Cause.MEMORY:
        cores = math.ceil(2 * resources.memory / _MEMORY_PER_CORE) if per_core else 0
        resources = replace(resources, memory=2 * resources.memory, cores=max(resources.cores, cores))
    elif status.cause is Cause.DISK:
        cores = math.ceil(2 * resources.disk / _DISK_PER_CORE) if per_core else 0
        resources = replace(resources, disk=2 * resources.disk, cores=max(resources.cores, cores))
    elif status.cause is Cause.INPUT:
        overrides = _rotated(directory, overrides)
    return resources, overrides


def _longer(resources: Resources, status: JobStatus) -> Resources:
    if resources.flavour is None:
        return replace(resources, runtime=2 * resources.runtime)
    order = list(FLAVOURS)
    if resources.flavour == order[-1]:
        raise UserError(
            f"job {status.job.number} ran longer than '{order[-1]}', the longest flavour: submit anew, split finer"
        )
    flavour = order[order.index(resources.flavour) + 1]
    return replace(resources, flavour=flavour, runtime=FLAVOURS[flavour])


def _rotated(directory: JobDir, overrides: Sequence[str]) -> tuple[str, ...]:
    """Put the first redirector last."""
    others = tuple(override for override in overrides if not override.startswith("redirectors="))
    first, *rest = load(directory.analysis, overrides).redirectors
    return (*others, f"redirectors=[{','.join([*rest, first])}]") if rest else tuple(overrides)
