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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Optional

from ...config.batch import BatchBlock
from ...config.crab import Crab
from ...console import say
from ...errors import DataError, UserError
from ...pipeline.graph import STAGES
from ...pipeline.stage import Stage
from ...version import __version__
from ..crab_answers import known
from ..crab_rules import MOST_JOBS, check
from ..events import JobState, Process
from ..jobdir import JOB_SCRIPT, JobDir, Submission
from ..outputs import store
from ..plan import BatchJob, Plan, Resources
from ..target import Target
from ..templates import Code, fill, template

AREA = "crab"
"""The folder of a job directory that holds the tasks, and the project directories of the client."""
CONFIGURATION, STATUS, CALL = "crab_cfg.py", "status.json", "call.py"
_SETUP = "cmsenv; source /cvmfs/cms.cern.ch/common/crab-setup.sh"
_FRESH = 60.0
_OFFICIAL = re.compile(r"/store/(?:mc|data)/(?P<era>[^/]+)/(?P<primary>[^/]+)/(?P<tier>[^/]+)/(?P<version>[^/]+)/.+")


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
    jobs: tuple[BatchJob, ...]

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
        return project_of(self.folder)

    @property
    def submitted(self) -> bool:
        """Whether the server has taken it."""
        return was_submitted(self.project)

    @property
    def submission(self) -> list[str]:
        """The command that submits it."""
        return ["crab", "submit", "-c", str(self.configuration)]

    @property
    def results(self) -> Path:
        """Where the client puts outputs and reports."""
        return self.project / "results"

    def known(self) -> dict[int, Process]:
        """Return what CRAB has told of its jobs, by their numbers in the task."""
        return known(self.folder / STATUS, self.results, len(self.jobs))


def project_of(folder: Path) -> Path:
    """Say what the client makes beside the folder of a task, which has the name of the request."""
    return folder.with_name(f"crab_{folder.name}")


def was_submitted(project: Path) -> bool:
    """Whether the server has taken a task: then the client has noted under which name."""
    return (project / ".requestcache").exists()


def tasks(directory: JobDir, attempt: int, numbers: Sequence[int]) -> list[Task]:
    """Divide jobs into tasks: by sample and dataset, with as many jobs as CRAB takes."""
    jobs = [directory.plan.jobs[number] for number in sorted(numbers)]
    result: list[tuple[Optional[str], tuple[BatchJob, ...]]] = []
    for (_, dataset), group in groupby(jobs, lambda job: (job.sample, dataset_of(job.inputs[0] if job.inputs else ""))):
        jobs_of_group = tuple(group)
        result += [
            (dataset, jobs_of_group[first : first + MOST_JOBS]) for first in range(0, len(jobs_of_group), MOST_JOBS)
        ]
    name = f"{directory.plan.run_id}-{attempt}"
    return [
        Task(directory.path / AREA / f"{name}-{i}", dataset, jobs_of_group)
        for i, (dataset, jobs_of_group) in enumerate(result)
    ]


def dataset_of(path: str) -> str | None:
    """Return the dataset of an official file: its name follows from that of the file."""
    match = _OFFICIAL.search(path)
    return f"/{match['primary']}/{match['era']}-{match['version']}/{match['tier']}" if match else None


def settings(directory: JobDir) -> Crab:
    """Return what the analysis file says of CRAB."""
    if directory.batch.crab is None:
        raise UserError(
            "batch.crab: where do the results go? e.g. batch.crab={site: T2_CH_CERN, output: /store/user/<you>}"
        )
    return directory.batch.crab


class CrabTarget(Target):
    """The grid, by CRAB: a task for each sample and dataset."""

    def submit(
        self, directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str] = ()
    ) -> Submission:
        """Submit jobs as tasks; where CRAB's client is not here, tell the commands that do it.

        Raises
        ------
        UserError
            When CRAB would not take a task.
        DataError
            When it refuses one.
        """
        with directory.lock():
            self.prepare(directory, jobs, resources, overrides, len(directory.submissions()))
            submission = directory.intend(jobs, resources, overrides)
            directory.make_logs(submission.attempt, jobs)
            directory.event_log(submission.attempt).touch()
            return _send(directory, submission)

    def prepare(
        self, directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str], attempt: int
    ) -> Path:
        """Write the tasks of a submission, and check them by the rules of CRAB (see :mod:`..crab_rules`).

        Raises
        ------
        UserError
            When CRAB would not take one of them.
        """
        for task in tasks(directory, attempt, jobs):
            task.folder.mkdir(parents=True, exist_ok=True)
            arguments = (directory.words(job, overrides) for job in task.jobs)
            (task.folder / "items.txt").write_text("".join(f"{shlex.join(row)}\n" for row in arguments))
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

    def reconcile(self, directory: JobDir, submission: Submission) -> Submission:
        """Complete a submission that was interrupted: tasks that the server has taken are not sent again."""
        with directory.lock():
            submission = directory.submissions()[submission.attempt]
            return submission if submission.state in ("submitted", "void") else _send(directory, submission)

    def withdraw(self, directory: JobDir, submission: Submission, jobs: Sequence[int]) -> None:
        """Do nothing: what CRAB holds, it handles itself."""

    def processes(self, directory: JobDir, submission: Submission) -> dict[int, Process]:
        """Tell where the jobs of a submission are, by what CRAB says; outputs that have come are put in place.

        Without the client, this is what ``crab status --json`` or ``crab report`` have written (see
        :mod:`..crab_answers`).
        """
        client = _client()
        processes = super().processes(directory, submission)
        for task in tasks(directory, submission.attempt, submission.jobs):
            unpack(directory, task)
            if client and task.submitted and _age(task.folder / STATUS) > _FRESH:
                with contextlib.suppress(DataError):  # the last answer serves as well
                    _call(task, "status", task.folder / STATUS, dir=task.project)
            answer = task.known()
            for number, job in enumerate(task.jobs, 1):
                arrived = Path(directory.part(job.number)).exists()
                process = answer.get(number) or Process(
                    JobState.DONE if arrived else JobState.IDLE, _waits(task, client)
                )
                if process.state is JobState.DONE and not arrived and not _was_damaged(directory, submission, job):
                    process.state, process.reason = JobState.IDLE, f"its output is to be fetched: {_fetching(task)}"
                processes[job.number] = process
        return processes

    def needs_log(self, directory: JobDir) -> bool:
        """Whether nothing else knows: but CRAB does."""
        return False

    def retrieve(self, directory: JobDir) -> None:
        """Fetch the outputs of jobs that are done, where the client is here; otherwise tell the commands."""
        client = _client()
        for submission in directory.submissions():
            for task in tasks(directory, submission.attempt, submission.jobs):
                done = [number for number, process in task.known().items() if process.state is JobState.DONE]
                missing = [n for n in done if not Path(directory.part(task.jobs[n - 1].number)).exists()]
                if missing and client:
                    _call(task, "getoutput", task.folder / "getoutput.json", dir=task.project, jobids=_ids(missing))
                elif missing and not any(task.results.glob("part_*.tar")):
                    say(f"{len(missing)} outputs are to be fetched: {_fetching(task)}")
                unpack(directory, task)

    def takes(self, stage: Stage) -> bool:
        """Whether jobs of the grid can do a stage."""
        return stage.on_grid

    def adapted(self, batch: BatchBlock) -> BatchBlock:
        """Return the block for jobs that see CVMFS, and whose results have a place on the grid."""
        return super().adapted(batch).model_copy(update={"shared": batch.shared or ["/cvmfs"], "output": None})

    def gives_by_core(self, batch: BatchBlock) -> bool:
        """Whether memory and disk come with cores: sites of the grid give 2 GB and 20 GB with each."""
        return True


# -- the files of a task ----------------------------------------------------------------------------------------------


def describe(directory: JobDir, task: Task, resources: Resources, overrides: Sequence[str]) -> str:
    """Return the text of a ``crab_cfg.py``."""
    plan, crab = directory.plan, settings(directory)
    variables = directory.environment(resources, overrides)
    files = [directory.path / JOB_SCRIPT, *directory.transferred(), task.folder / "items.txt"]
    values = {
        "version": __version__, "stage": plan.stage, "what": task.jobs[0].sample, "request": task.request,
        "path": task.configuration, "folder": task.folder, "area": task.folder.parent,
        "arguments": listed(f"{name}={value.replace(' ', ',')}" for name, value in variables.items()),
        "files": listed(map(str, files)),
        "cores": resources.cores, "memory": resources.memory, "minutes": math.ceil(resources.runtime / 60),
        "tag": task.request, "output": crab.output.rstrip("/"), "site": crab.site,
        "whitelist": listed(crab.whitelist or ()), "blacklist": listed(crab.blacklist or ()),
        **_units(plan, task), **_accelerator(directory, resources),
    }  # fmt: skip
    return fill(template("crab_cfg.py.in", AREA), values)


def _units(plan: Plan, task: Task) -> dict[str, Any]:
    """Say what CRAB is to split, so that it makes just the jobs of the task."""
    if not STAGES[plan.stage].reads:
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
        "inputs": listed(inputs), "primary": None if task.dataset else str(task.jobs[0].sample),
    }  # fmt: skip


def _accelerator(directory: JobDir, resources: Resources) -> dict[str, Any]:
    gpu = directory.batch.needs(directory.plan.stage).gpu if resources.gpus else None
    needs = {"GPUMemoryMB": gpu.memory} if gpu and gpu.memory else None
    return {"accelerator": True if gpu else None, "accelerator_needs": needs}


def listed(items: Iterator[str] | Sequence[str] | map[str]) -> Code | None:
    """Write a list as Python does, one word a line where there are several; None where there are none."""
    quoted = [json.dumps(item) for item in items]
    if not quoted:
        return None
    if len(quoted) == 1:
        return Code(f"[{quoted[0]}]")
    return Code("[\n" + "".join(f"    {item},\n" for item in quoted) + "]")


# -- submission -------------------------------------------------------------------------------------------------------


def _send(directory: JobDir, submission: Submission) -> Submission:
    waiting = [task for task in tasks(directory, submission.attempt, submission.jobs) if not task.submitted]
    if _client():
        for task in waiting:
            shutil.rmtree(task.project, ignore_errors=True)  # left from an attempt that the server refused
            _call(task, "submit", task.folder / "submit.json", config=task.configuration)
    elif waiting:
        commands = [_SETUP, *(shlex.join(task.submission) for task in waiting)]
        say("CRAB's client is not here; these commands submit the tasks:\n  " + "\n  ".join(commands))
        return directory.conclude(submission, "prepared", None, None)
    return directory.conclude(submission, "submitted", None, "crab")


# -- the client -------------------------------------------------------------------------------------------------------


def _client() -> bool:
    """Whether the Python of this environment has CRAB's client."""
    python = shutil.which("python3")
    argv = [str(python), "-c", "import CRABAPI.RawCommand"]
    return python is not None and subprocess.run(argv, capture_output=True, check=False).returncode == 0  # noqa: S603


def _call(task: Task, command: str, answer: Path, **options: object) -> Any:
    """Let the client do a command in a process of its own; returns its answer."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(template(CALL, AREA))
        script.flush()
        assignments = [f"{name}={value}" for name, value in options.items()]
        done = subprocess.run(  # noqa: S603 - no shell, and the words are ours
            [str(shutil.which("python3")), script.name, str(answer), command, *assignments],
            cwd=task.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise DataError(f"{task.folder}: crab {command} fails: {''.join(last) or done.returncode}")
    try:
        return json.loads(answer.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{task.folder}: crab {command} answers something else than JSON ({error})") from None


# -- what becomes of the jobs -----------------------------------------------------------------------------------------


def _ids(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _fetching(task: Task) -> str:
    return f"crab getoutput -d {task.project}"


def _waits(task: Task, client: bool) -> str:
    """Say what to do about a task of which nothing is known."""
    if not task.submitted:
        return f"to be submitted: {shlex.join(task.submission)}"
    return "" if client else f"to be asked for: crab status -d {task.project} --json > {task.folder / STATUS}"


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime if path.exists() else math.inf


def _was_damaged(directory: JobDir, submission: Submission, job: BatchJob) -> bool:
    """Whether what it made had to be set aside: then it is to be made again."""
    aside = (directory.path / f"{directory.plan.parts}-damaged").glob(f"{job.part}-*")
    return any(folder.stat().st_ctime > submission.time for folder in aside)


def unpack(directory: JobDir, task: Task) -> None:
    """Put the outputs that the client has fetched where parts belong."""
    outputs = {path: re.fullmatch(r"part_(\d+)", path.stem) for path in task.results.glob("part_*.tar")}
    numbered = {path: int(match[1]) for path, match in outputs.items() if match}
    for path, number in numbered.items():
        if not 1 <= number <= len(task.jobs):
            say(f"{path}: the task has no job {number}: it is left alone")
            continue
        job = task.jobs[number - 1]
        with tempfile.TemporaryDirectory(dir=directory.path, prefix=".part") as folder:
            try:
                with tarfile.open(path) as archive:
                    archive.extractall(folder, filter="data")
                store(directory.plan, directory.parts).receive(Path(folder) / job.part)
            except (tarfile.TarError, OSError) as error:
                say(f"{path}: is damaged, or no {job.part} ({error}): fetch it again")
                continue
        path.unlink()
