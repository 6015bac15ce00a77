"""The target ``crab``: the jobs on the grid, as tasks of CRAB.

Job ``i`` of a task does the ``i``-th job that the task is given, whatever CRAB takes for its input: so a task has
exactly the jobs of the plan, and a recovery task exactly those that are missing. Each job names its first input file,
which says where its data lie. The client is not needed to make and check a task; where it is not here, the commands
are told, and its answers are read from the files that they write.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Optional

from .. import __version__
from ..config.crab import Crab
from ..console import say
from ..errors import DataError, UserError
from .crab_rules import MOST_JOBS, check
from .events import Process, State
from .jobdir import JOB_SCRIPT, JobDir, Submission
from .outputs import store
from .plan import Job, Plan, Resources
from .templates import fill, template

AREA = "crab"
"""The folder of a job directory that holds the tasks, and the project directories of the client."""
CONFIGURATION, STATUS = "crab_cfg.py", "status.json"
_SETUP = "cmsenv; source /cvmfs/cms.cern.ch/common/crab-setup.sh"
_FRESH = 60.0
_OFFICIAL = re.compile(r"/store/(?:mc|data)/(?P<era>[^/]+)/(?P<primary>[^/]+)/(?P<tier>[^/]+)/(?P<version>[^/]+)/.+")
_STATES = {
    "unsubmitted": State.IDLE, "idle": State.IDLE, "held": State.IDLE, "toRetry": State.EVICTED,
    "cooloff": State.EVICTED, "running": State.RUNNING, "transferring": State.RUNNING, "killing": State.RUNNING,
    "transferred": State.DONE, "finished": State.DONE, "failed": State.FAILED, "killed": State.REMOVED,
}  # fmt: skip
_KILLED = {50660: "memory", 50662: "disk usage", 50664: "wall time"}
"""Exit codes of jobs that were removed since they used too much of something."""


@dataclass(frozen=True)
class Task:
    """One task: jobs of one sample that read one dataset, or none.

    Attributes
    ----------
    folder
        Its files in the job directory; the name is that of the request.
    dataset
        What its inputs are part of; None where that is no dataset of CMS, or nothing is read.
    jobs
        Its jobs; CRAB counts them from 1.
    """

    folder: Path
    dataset: Optional[str]
    jobs: tuple[Job, ...]

    @property
    def request(self) -> str:
        """The name of the request."""
        return self.folder.name

    @property
    def configuration(self) -> Path:
        """What ``crab submit`` takes."""
        return self.folder / CONFIGURATION

    @property
    def project(self) -> Path:
        """What the client makes of it, and wants to be given from then on."""
        return self.folder.with_name(f"crab_{self.request}")

    @property
    def submission(self) -> list[str]:
        """The command that submits it."""
        return ["crab", "submit", "-c", str(self.configuration)]

    @cached_property
    def results(self) -> Path:
        """Where the client puts outputs and reports."""
        return self.project / "results"


def tasks(directory: JobDir, attempt: int, numbers: Sequence[int]) -> list[Task]:
    """Divide jobs into tasks: by sample and dataset, with as many jobs as CRAB takes."""
    jobs = [directory.plan.jobs[number] for number in sorted(numbers)]
    found: list[tuple[Optional[str], tuple[Job, ...]]] = []
    for (_, dataset), group in groupby(jobs, lambda job: (job.sample, dataset_of(job.inputs[0] if job.inputs else ""))):
        own = tuple(group)
        found += [(dataset, own[first : first + MOST_JOBS]) for first in range(0, len(own), MOST_JOBS)]
    name = f"{directory.plan.run_id}-{attempt}"
    return [Task(directory.path / AREA / f"{name}-{i}", dataset, own) for i, (dataset, own) in enumerate(found)]


def dataset_of(path: str) -> str | None:
    """Return the dataset of an official file: its name follows from that of the file."""
    found = _OFFICIAL.search(path)
    return f"/{found['primary']}/{found['era']}-{found['version']}/{found['tier']}" if found else None


def settings(directory: JobDir) -> Crab:
    """Return what the analysis file says of CRAB."""
    if directory.batch.crab is None:
        raise UserError("batch.crab: where do the results go? e.g. batch.crab={site: T2_CH_CERN, output: /store/user/<you>}")
    return directory.batch.crab


# -- the files of a task ----------------------------------------------------------------------------------------------


def prepare(
    directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str], attempt: int
) -> Path:
    """Write the tasks of a submission, and check them by the rules of CRAB (see :mod:`.crab_rules`).

    Raises
    ------
    UserError
        When CRAB would not take one of them.
    """
    for task in tasks(directory, attempt, jobs):
        task.folder.mkdir(parents=True, exist_ok=True)
        words = (directory.words(job, overrides) for job in task.jobs)
        (task.folder / "items.txt").write_text("".join(f"{shlex.join(row)}\n" for row in words))
        (task.folder / "crab_job.py").write_text(template("crab_job.py", AREA))
        reads = bool(task.jobs[0].inputs)
        pset = {"source": "PoolSource" if reads else "EmptySource", "no_files": "" if reads else None}
        (task.folder / "pset.py").write_text(fill(template("pset.py.in", AREA), {**pset, "cores": resources.cores}))
        text = describe(directory, task, resources, overrides)
        task.configuration.write_text(text)
        findings = check(text, task.folder)
        if findings:
            more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
            raise UserError(f"{task.configuration}:{findings[0]}{more}")
    return directory.path / AREA


def describe(directory: JobDir, task: Task, resources: Resources, overrides: Sequence[str]) -> str:
    """Return the text of a ``crab_cfg.py``."""
    plan, crab = directory.plan, settings(directory)
    variables = directory.environment(resources, overrides)
    files = [directory.path / JOB_SCRIPT, *directory.transferred(), task.folder / "items.txt"]
    values = {
        "version": __version__, "stage": plan.stage, "what": task.jobs[0].sample, "request": task.request,
        "path": task.configuration, "folder": task.folder, "area": task.folder.parent,
        "arguments": _list(f"{name}={value.replace(' ', ',')}" for name, value in variables.items()),
        "files": _list(map(str, files)),
        "cores": resources.cores, "memory": resources.memory, "minutes": math.ceil(resources.runtime / 60),
        "tag": task.request, "output": crab.output.rstrip("/"), "site": crab.site,
        "whitelist": _list(crab.whitelist or ()), "blacklist": _list(crab.blacklist or ()),
        **_units(plan, task), **_accelerator(directory, resources),
    }  # fmt: skip
    return fill(template("crab_cfg.py.in", AREA), values)


def _units(plan: Plan, task: Task) -> dict[str, Any]:
    """Say what CRAB is to split, so that it makes just the jobs of the task."""
    if plan.stage == "generate":
        units = max(job.entries or 1 for job in task.jobs)
        return {
            "plugin": "PrivateMC", "splitting": "EventBased", "units": units, "total": units * len(task.jobs),
            "dataset": None, "inputs": None, "primary": re.sub(r"[^\w-]", "_", str(task.jobs[0].sample)),
        }  # fmt: skip
    inputs = [job.inputs[0] for job in task.jobs]
    if task.dataset is not None:
        inputs = [path[path.index("/store/") :] for path in inputs]
    return {
        "plugin": "Analysis", "splitting": "FileBased", "units": 1, "total": len(inputs), "dataset": task.dataset,
        "inputs": _list(inputs), "primary": None if task.dataset else str(task.jobs[0].sample),
    }  # fmt: skip


def _accelerator(directory: JobDir, resources: Resources) -> dict[str, Any]:
    gpu = directory.batch.needs(directory.plan.stage).gpu if resources.gpus else None
    needs = {"GPUMemoryMB": gpu.memory} if gpu and gpu.memory else None
    return {"accelerator": True if gpu else None, "accelerator_needs": needs}


def _list(words: Iterator[str] | Sequence[str] | map[str]) -> str | None:
    """Write a list as Python does, one word a line where there are several; None where there are none."""
    quoted = [json.dumps(word) for word in words]
    if not quoted:
        return None
    return f"[{quoted[0]}]" if len(quoted) == 1 else "[\n" + "".join(f"    {word},\n" for word in quoted) + "]"


# -- submission -------------------------------------------------------------------------------------------------------


def submit(directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str] = ()) -> Submission:
    """Submit jobs as tasks; where CRAB's client is not here, tell the commands that do it.

    Raises
    ------
    UserError
        When CRAB would not take a task.
    DataError
        When it refuses one.
    """
    with directory.lock():
        prepare(directory, jobs, resources, overrides, len(directory.submissions()))
        submission = directory.intend(jobs, resources, overrides)
        directory.make_logs(submission.attempt, jobs)
        directory.event_log(submission.attempt).touch()
        return _send(directory, submission)


def settle(directory: JobDir, submission: Submission) -> Submission:
    """Complete a submission that was interrupted: tasks that the client has a directory of are not sent again."""
    with directory.lock():
        submission = directory.submissions()[submission.attempt]
        return submission if submission.state != "intent" else _send(directory, submission)


def withdraw(directory: JobDir, submission: Submission, jobs: Sequence[int]) -> None:
    """Do nothing: what CRAB holds, it handles itself."""


def _send(directory: JobDir, submission: Submission) -> Submission:
    waiting = [t for t in tasks(directory, submission.attempt, submission.jobs) if not t.project.exists()]
    if _client():
        for task in waiting:
            _call(task, "submit", task.folder / "submit.json", config=task.configuration)
    elif waiting:
        commands = [_SETUP, *(shlex.join(task.submission) for task in waiting)]
        say("CRAB's client is not here; these commands submit the tasks:\n  " + "\n  ".join(commands))
    return directory.conclude(submission, "submitted", None, "crab")


# -- the client -------------------------------------------------------------------------------------------------------


def _client() -> bool:
    """Whether the Python of this environment has CRAB's client."""
    python = shutil.which("python3")
    words = [str(python), "-c", "import CRABAPI.RawCommand"]
    return python is not None and subprocess.run(words, capture_output=True, check=False).returncode == 0  # noqa: S603


def _call(task: Task, command: str, answer: Path, **options: object) -> Any:
    """Let the client do a command in a process of its own; returns its answer."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(template("call.py", AREA))
        script.flush()
        words = [f"{name}={value}" for name, value in options.items()]
        done = subprocess.run(  # noqa: S603 - no shell, and the words are ours
            [str(shutil.which("python3")), script.name, str(answer), command, *words],
            cwd=task.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise DataError(f"{task.folder}: crab {command} fails: {''.join(last) or done.returncode}")
    return json.loads(answer.read_text())


# -- what becomes of the jobs -----------------------------------------------------------------------------------------


def update(directory: JobDir, submission: Submission, processes: dict[int, Process]) -> None:
    """Tell where the jobs of a submission are, by what CRAB says; outputs that have come are put in place.

    Without the client, this is what ``crab status --json`` or ``crab report`` have written (see :func:`known`).
    """
    client = _client()
    for task in tasks(directory, submission.attempt, submission.jobs):
        unpack(directory, task)
        if client and task.project.exists() and _age(task.folder / STATUS) > _FRESH:
            with contextlib.suppress(DataError):  # the last answer serves as well
                _call(task, "status", task.folder / STATUS, dir=task.project)
        answer = known(task)
        for number, job in enumerate(task.jobs, 1):
            process = answer.get(number) or Process(reason=_waits(task))
            if process.state is State.DONE and not _has_arrived(directory, job):
                process.state, process.reason = State.RUNNING, f"its output is to be fetched: {_fetching(task)}"
            processes[job.number] = process


def retrieve(directory: JobDir) -> None:
    """Fetch the outputs of jobs that are done, where the client is here; otherwise tell the commands."""
    client = _client()
    for submission in directory.submissions():
        for task in tasks(directory, submission.attempt, submission.jobs):
            done = [number for number, process in known(task).items() if process.state is State.DONE]
            missing = [number for number in done if not _has_arrived(directory, task.jobs[number - 1])]
            if missing and client:
                _call(task, "getoutput", task.folder / "getoutput.json", dir=task.project, jobids=_ids(missing))
            elif missing and not any(task.results.glob("part_*.tar")):
                say(f"{len(missing)} outputs are to be fetched: {_fetching(task)}")
            unpack(directory, task)


def _ids(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _fetching(task: Task) -> str:
    return f"crab getoutput -d {task.project}"


def _waits(task: Task) -> str:
    return "" if task.project.exists() else f"to be submitted: {shlex.join(task.submission)}"


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime if path.exists() else math.inf


def _has_arrived(directory: JobDir, job: Job) -> bool:
    """Whether its part is there, or was and is damaged: then it is to be made again."""
    damaged = directory.path / f"{directory.plan.parts}-damaged"
    return Path(directory.part(job.number)).exists() or any(damaged.glob(f"{job.part}-*"))


def known(task: Task) -> dict[int, Process]:
    """Return what is known of the jobs of a task, by their numbers in it.

    That is the answer of ``crab status`` in ``status.json`` of the task (the client's, or what
    ``crab status -d PROJECT --json > status.json`` prints); without one, what ``crab report`` has put into the
    results of the project.
    """
    path = task.folder / STATUS
    jobs = _jobs(path.read_text()) if path.exists() else {}
    if jobs:
        return {int(number): _process(info) for number, info in jobs.items() if number.isdigit()}
    finished, failed = reported(task.results)
    states = {**dict.fromkeys(failed, State.FAILED), **dict.fromkeys(finished, State.DONE)}
    reasons = {State.FAILED: "not finished, says crab report", State.DONE: ""}
    return {number: Process(state, reasons[state]) for number, state in states.items()}


def _jobs(text: str) -> Mapping[str, Any]:
    """Find the states of jobs in what the client answers or prints."""
    for candidate in (text, *(line for line in text.splitlines() if line.startswith("{"))):
        with contextlib.suppress(ValueError):
            content = json.loads(candidate)
            return content.get("jobs", content)
    return {}


def _process(info: Mapping[str, Any]) -> Process:
    """Read what CRAB says of a job: its state, the times and sizes of each try, and the error of the last."""
    code, reason = (info.get("Error") or [None, ""])[:2]
    state = State.REMOVED if code in _KILLED else _STATES.get(info.get("State", ""), State.IDLE)
    reason = f"{_KILLED[code]}: {reason}" if code in _KILLED else reason
    running = state in (State.RUNNING, State.DONE)
    return Process(
        state=state,
        reason="" if running else " ".join(str(reason).split()),
        exit_code=0 if state is State.DONE else code if state is State.FAILED else None,
        runs=int(info.get("Retries") or 0) + 1,
        started=(info.get("StartTimes") or [None])[-1],
        ended=None if state is State.RUNNING else (info.get("EndTimes") or [None])[-1],
    )


def reported(results: Path) -> tuple[set[int], set[int]]:
    """Read what ``crab report`` says: the numbers of the jobs that are finished, and of those that are not.

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


def unpack(directory: JobDir, task: Task) -> None:
    """Put the outputs that the client has fetched where parts belong."""
    for path in task.results.glob("part_*.tar"):
        job = task.jobs[int(path.stem.rpartition("_")[2]) - 1]
        with tempfile.TemporaryDirectory(dir=directory.path, prefix=".part") as folder:
            try:
                with tarfile.open(path) as archive:
                    archive.extractall(folder, filter="data")
                store(directory.plan, directory.parts).receive(Path(folder) / job.part)
            except (tarfile.TarError, OSError) as error:
                say(f"{path}: is damaged, or no {job.part} ({error}): fetch it again")
                continue
        path.unlink()
