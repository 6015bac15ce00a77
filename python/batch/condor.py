"""Submission to HTCondor through its own commands: any version of it serves, none of its libraries is needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.batch import Batch, Needs
from ..errors import DataError, UserError
from ..version import __version__
from . import proxy
from .jobdir import SHARD, JobDir, Submission
from .lint import MOST_JOBS, SPOOL_MEGABYTES, Rules, lint
from .plan import Resources
from .templates import fill, template

CHECKPOINT_CODE = 85
_ATTRIBUTES = (
    "ClusterId", "ProcId", "NanoForgeJob", "JobStatus", "HoldReason", "HoldReasonCode", "ExitCode", "ExitBySignal",
    "ExitSignal", "JobCurrentStartDate", "EnteredCurrentStatus", "MemoryUsage", "NumJobStarts", "RemoveReason",
)  # fmt: skip
_SUBMITTED = re.compile(r"^(\d+)\.\d+", re.MULTILINE)
_SUBMIT_EVENT = re.compile(r"^000 \((\d+)\.", re.MULTILINE)


def submit(directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str] = ()) -> Submission:
    """Submit jobs as one cluster.

    Parameters
    ----------
    directory
        The job directory.
    jobs
        The numbers of the jobs.
    resources
        What they ask for.
    overrides
        Changes of the analysis (key=value), for this submission only.

    Returns
    -------
    Submission
        What is in the queue now. The journal tells of it before and after: the same call after an interruption
        submits nothing twice.

    Raises
    ------
    UserError
        When the description would not be accepted, or HTCondor is not here.
    DataError
        When HTCondor refuses it.
    """
    _require("condor_submit")
    proxy.check(directory.batch, directory.plan, resources.runtime)
    with directory.lock() as lock:
        attempt = len(directory.submissions())
        description = prepare(directory, jobs, resources, overrides, attempt)
        dry_run(description)
        submission = directory.intend(jobs, resources, overrides)
        spool = ["-spool"] if directory.batch.mode == "spool" else []
        answer = call(["condor_submit", "-terse", *spool, description.name], directory.path, (lock,))
        cluster = _SUBMITTED.search(answer.stdout)
        if answer.returncode or cluster is None:
            withdraw(directory, submission, jobs)  # it may fail when they are in the queue already
            directory.conclude(submission, "void", None, None)
            raise DataError(f"{description}: condor_submit refuses it: {last_words(answer)}")
        return directory.conclude(submission, "submitted", int(cluster[1]), schedd())


def prepare(
    directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str], attempt: int
) -> Path:
    """Write the description of a submission and what it refers to, and check it by our own rules."""
    directory.make_logs(attempt, jobs)
    items = directory.path / f"items-{attempt}.txt"
    items.write_text("".join(_item(directory, number) for number in jobs))
    path = directory.path / f"{directory.plan.stage}-{attempt}.sub"
    queue = f"{', '.join(directory.plan.columns)} from {items}"
    path.write_text(describe(directory, resources, overrides, attempt, len(jobs), queue))
    check(path, Rules(directory.batch.site, directory.batch.mode))
    return path


def settle(directory: JobDir, submission: Submission) -> Submission:
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


def withdraw(directory: JobDir, submission: Submission, jobs: Sequence[int]) -> None:
    """Take jobs of a submission out of the queue."""
    numbers = ", ".join(map(str, jobs))
    mine = f"{_mine(directory, submission.attempt)} && member(NanoForgeJob, {{ {numbers} }})"
    answer = call(["condor_rm", "-constraint", mine])
    if answer.returncode and "find/remove all jobs" not in answer.stderr:  # that is: they had left
        raise DataError(f"{directory.path}: condor_rm: {last_words(answer)}")


def queued(directory: JobDir, submission: Submission) -> list[dict[str, Any]]:
    """Return what the queue knows of the jobs of a submission.

    It is all there is until the results of a submission in spool mode are fetched: their logs are with the scheduler.
    """
    mine = _mine(directory, submission.attempt)
    answer = call(["condor_q", "-constraint", mine, "-json", "-attributes", ",".join(_ATTRIBUTES)])
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


# -- the description --------------------------------------------------------------------------------------------------


def describe(
    directory: JobDir, resources: Resources, overrides: Sequence[str], attempt: int, count: int, queue: str
) -> str:
    """Return the text of a submit description.

    Parameters
    ----------
    directory, resources, overrides, attempt
        As for :func:`submit`.
    count
        How many jobs it will have.
    queue
        What stands after ``queue``.
    """
    plan = directory.plan
    values = {
        "version": __version__, "stage": plan.stage, "name": plan.name, "jobdir": directory.path, "run": plan.run_id,
        "attempt": attempt, "shard": SHARD, "queue": queue,
        "arguments": " ".join(map(_quoted, directory.words(None, overrides))),
        "environment": _assignments({**directory.environment(resources, overrides), **_destination(directory)}),
        "max_materialize": MOST_JOBS // 2 if count > MOST_JOBS else None,
        **_checkpoint(resources),
        **common(directory, resources),
    }  # fmt: skip
    return fill(template("job.sub"), values)


def common(directory: JobDir, resources: Resources) -> dict[str, Any]:
    """Return what any description of a stage says of files, resources and the site."""
    batch = directory.batch
    return {**_transfer(directory), **_needs(batch.needs(directory.plan.stage), resources), **_site(batch, resources)}


def _quoted(word: str) -> str:
    """Quote a word for HTCondor, where it has to be."""
    if re.fullmatch(r"[\w$().,:=+/@%-]+", word):
        return word
    return "'" + word.replace("'", "''").replace('"', '""') + "'"


def _destination(directory: JobDir) -> dict[str, str]:
    """Let the job itself copy its result where HTCondor has no plugin for it: at the LPC."""
    copies = directory.parts is None and directory.batch.site == "lpc"
    return {"NANOFORGE_DESTINATION": directory.plan.parts} if copies else {}


def _assignments(variables: Mapping[str, str]) -> str | None:
    return " ".join(f"{name}={_quoted(value)}" for name, value in variables.items()) or None


def _item(directory: JobDir, number: int) -> str:
    job = directory.plan.jobs[number]
    return " ".join(str(getattr(job, column)) for column in directory.plan.columns) + "\n"


def _transfer(directory: JobDir) -> dict[str, Any]:
    """Say what goes to the job and comes back, and with which credentials."""
    plan, batch = directory.plan, directory.batch
    certificate = proxy.find(batch, plan)
    remote, copied = directory.parts is None, bool(_destination(directory))
    plugin, comes_back = remote and not copied, plan.stage != "tune" and not copied
    spool = batch.mode == "spool" and batch.site == "lxplus"
    return {
        "initialdir": directory.path if remote else directory.parts,
        "inputs": ", ".join(map(str, directory.transferred())),
        "part": "part-$INT(number,%05d)" if plan.stage != "tune" else None,
        "outputs": "$(part)" if comes_back else '""',
        "destination": plan.parts if plugin else None,
        "create_dir": True if plugin else None,
        "log": "$INT(folder)/$(number).log" if batch.mode == "spool" else "events.log",
        "max_transfer": SPOOL_MEGABYTES if spool else None,
        "use_proxy": None if certificate is None else "true",
        "proxy": certificate,
        "credential": True if batch.site == "lxplus" else None,
    }


def _checkpoint(resources: Resources) -> dict[str, Any]:
    use = resources.checkpoint > 0
    return {
        "checkpoint_code": CHECKPOINT_CODE if use else None,
        "checkpoint_files": ".$(part).unfinished" if use else None,
    }


def _needs(needs: Needs, resources: Resources) -> dict[str, Any]:
    gpu = needs.gpu if resources.gpus else None
    devices = "|".join(map(re.escape, gpu.devices)) if gpu and gpu.devices else None
    return {
        "retries": resources.retries,
        "cores": resources.cores,
        "memory": resources.memory,
        "disk": resources.disk,
        "gpus": resources.gpus or None,
        "gpu_memory": gpu.memory if gpu else None,
        "requirements": None if devices is None else f'regexp("{devices}", TARGET.GPUs_DeviceName)',
    }


def _site(batch: Batch, resources: Resources) -> dict[str, Any]:
    """Say how long a job may run, and on whose account, as the site wants it."""
    cern = batch.site == "lxplus"
    return {
        "flavour": resources.flavour if cern else None,
        "max_runtime": resources.runtime if resources.flavour is None or not cern else None,
        "limit": None if cern else resources.runtime,
        "os": "el9" if cern else None,
        "accounting_group": batch.accounting_group if cern else None,
        "plain_group": None if cern else batch.accounting_group,
    }


# -- checks -----------------------------------------------------------------------------------------------------------


def check(description: Path, rules: Rules) -> None:
    """Raise a :class:`UserError` where a description breaks a rule (see :mod:`.lint`)."""
    findings = lint(description.read_text(), description.parent, rules)
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise UserError(f"{description}:{findings[0]}{more}")


def dry_run(description: Path, macros: Sequence[str] = ()) -> None:
    """Let condor_submit read a description; what it warns of, it would do wrong."""
    answer = call(["condor_submit", "-dry-run", "/dev/null", *macros, description.name], description.parent)
    warnings = [line for line in (answer.stderr + answer.stdout).splitlines() if "WARNING" in line]
    if answer.returncode or warnings:
        raise UserError(f"{description}: condor_submit -dry-run: {warnings[0] if warnings else last_words(answer)}")


def in_log(log: Path) -> int | None:
    """Return the first cluster that a log of events tells of."""
    try:
        found = _SUBMIT_EVENT.search(log.read_text(errors="replace"))
    except FileNotFoundError:
        return None
    return int(found[1]) if found else None


def in_queue(constraint: str, commands: Sequence[Sequence[str]]) -> int | None:
    """Ask the queue (condor_q), or the history, for a cluster."""
    for command in commands:
        answer = call([*command, "-constraint", constraint, "-af", "ClusterId"])
        if answer.returncode:
            raise DataError(f"{command[0]} does not answer: {last_words(answer)}: try again later")
        if answer.stdout.split():
            return int(answer.stdout.split()[0])
    return None


def _mine(directory: JobDir, attempt: int) -> str:
    return f'NanoForgeRun == "{directory.plan.run_id}" && NanoForgeAttempt == {attempt}'


# -- commands ---------------------------------------------------------------------------------------------------------


def call(
    command: Sequence[str], folder: Path | None = None, inherited: Iterable[int] = ()
) -> subprocess.CompletedProcess:
    """Run a command of HTCondor; its answer may be a refusal."""
    _require(command[0])
    return subprocess.run(  # noqa: S603 - no shell, and the words are ours
        command, cwd=folder, capture_output=True, text=True, check=False, pass_fds=tuple(inherited)
    )


def schedd() -> str | None:
    """Return the name of the queue's host, where it can be told."""
    answer = call(["condor_config_val", "SCHEDD_HOST"]) if shutil.which("condor_config_val") else None
    name = answer.stdout.strip() if answer is not None and not answer.returncode else ""
    return name or None


def _require(program: str) -> None:
    if shutil.which(program) is None:
        raise UserError(f"{program} is not here: submit from a machine of the pool (LXPLUS, cmslpc), or --dry-run")


def last_words(answer: subprocess.CompletedProcess) -> str:
    """Return the last line of what a command says."""
    words: list[str] = [line.strip() for line in (answer.stderr or answer.stdout).splitlines() if line.strip()]
    return words[-1] if words else f"exit code {answer.returncode}"
