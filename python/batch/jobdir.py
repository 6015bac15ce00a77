"""The job directory: all that a submission is made of and has become, in files that one can read.

::

    analysis.yaml       the analysis, frozen: overrides applied, files listed, addresses complete
    chain/<sample>/     of a production: the script of its steps, and the configurations that all jobs share
    plan.json           the jobs
    batch.yaml          how they are to run: the block 'batch' of the analysis
    job.sh              what each of them runs, with environment.sh
    <stage>-<attempt>.sub, items-<attempt>.txt      one pair per submission
    submissions.jsonl   the journal: what was submitted, written before and after
    logs/<run id>/<attempt>/events.log and <number // 1000>/<number>.{out,err}
    parts/part-<number>/                            what comes back
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

import yaml

from ..config.batch import BatchBlock
from ..config.change import as_written
from ..config.schema import Analysis
from ..errors import DataError, UserError
from ..events.files import is_remote
from ..pipeline.graph import PRODUCE, STAGES
from ..production.chain import FOLDER as CHAIN
from ..production.chain import make_all
from ..production.plan import plan as productions
from ..provenance.journal import append_lines, whole_lines
from ..provenance.manifest import fingerprint
from .plan import FILES, BatchJob, Plan, Resources, scored
from .software import software_files, write_environment
from .templates import template

ANALYSIS, BATCH, PLAN, JOURNAL, LOCK = "analysis.yaml", "batch.yaml", "plan.json", "submissions.jsonl", ".lock"
JOB_SCRIPT = "job.sh"
DAG = "pipeline.dag"
PARTS, STUDY = "parts", "study"
REDIRECTORS = "redirectors="
"""Begins an override that holds for every stage, so that it is a variable of the jobs (NANOFORGE_REDIRECTORS)."""
_SUM = "sha256"
_ANEW = "give 'nanoforge submit' another -o"
SHARD = 1000
"""Jobs whose logs share a folder: AFS holds about 16,000 names in one."""


@dataclass(frozen=True)
class Submission:
    """One line of the journal, folded with those that came later.

    ``state`` is "intent" until it is known whether the jobs are in the queue, then "submitted" or "void";
    "prepared" is what the user has yet to submit by a command. ``folder`` is where the job directory was then.
    """

    attempt: int
    state: str
    jobs: tuple[int, ...]
    resources: Resources
    overrides: tuple[str, ...] = ()
    cluster: Optional[int] = None
    schedd: Optional[str] = None
    time: float = 0.0
    folder: Optional[str] = None


@dataclass(frozen=True)
class JobDir:
    """A job directory.

    Attributes
    ----------
    path
        Where it is; absolute.
    plan
        Its plan.
    """

    path: Path
    plan: Plan = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> JobDir:
        """Open what ``nanoforge submit`` made; raises a :class:`UserError` where there is none."""
        try:
            planned = (path / PLAN).exists()
        except PermissionError:
            raise UserError(f"{path}: you may not look into it{_owner(path)}") from None
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        if not planned:
            raise UserError(f"{path}: no {PLAN}, so this is no job directory: 'nanoforge submit' makes one")
        return cls(path.resolve(), Plan.read(path / PLAN))

    @property
    def analysis(self) -> Path:
        """The frozen analysis file."""
        return self.path / ANALYSIS

    @cached_property
    def batch(self) -> BatchBlock:
        """How the jobs are to run."""
        path = self.path / BATCH
        try:
            return BatchBlock.model_validate(yaml.safe_load(path.read_text()))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise DataError(
                f"{path}: cannot be read ({' '.join(str(error).split())}): write the block 'batch' of the analysis "
                "file into it"
            ) from None

    def check_analysis(self) -> None:
        """Refuse to go on with another analysis than the one that was submitted."""
        self._check(self.analysis, self.plan.analysis_sha256)

    def check_script(self) -> None:
        """Refuse to submit another script than before: one that is damaged fails in ways that name something else."""
        if self.plan.script_sha256:
            self._check(self.path / JOB_SCRIPT, self.plan.script_sha256)

    def _check(self, path: Path, expected: str) -> None:
        try:
            if sha256(path.read_text()) == expected:
                return
            problem = "changed since it was submitted"
        except (OSError, ValueError) as error:
            problem = f"cannot be read ({error})"
        copy = copy_of(path)
        same = copy.exists() and sha256(copy.read_text(errors="replace")) == expected
        remedy = f"'cp {copy} {path}' puts it right, or " if same else ""
        raise DataError(f"{path}: {problem}: {remedy}{_ANEW}")

    def transferred(self) -> list[Path]:
        """Return the files that a job takes along, beside :data:`JOB_SCRIPT`."""
        files = [self.path / name for name in (ANALYSIS, FILES, CHAIN) if (self.path / name).exists()]
        return [*files, *software_files(self.path), *map(Path, self.plan.carried)]

    @property
    def parts(self) -> Path | None:
        """Where the parts arrive; None where that is an address."""
        return None if is_remote(self.plan.parts) else self.path / self.plan.parts

    @cached_property
    def logs(self) -> Path:
        """The folder of all logs."""
        return self.path / "logs" / self.plan.run_id

    def part(self, number: int) -> str:
        """Return the path or address of what a job makes."""
        name = self.plan.jobs[number].part
        return f"{self.plan.parts.rstrip('/')}/{name}" if self.parts is None else str(self.parts / name)

    def event_log(self, attempt: int) -> Path:
        """Return the log in which HTCondor tells what becomes of the jobs of a submission."""
        return self.logs / str(attempt) / "events.log"

    def stdout(self, attempt: int, number: int) -> Path:
        """Return the standard output of a job."""
        return self.logs / str(attempt) / str(number // SHARD) / f"{number}.out"

    def stderr(self, attempt: int, number: int) -> Path:
        """Return the standard error of a job."""
        return self.stdout(attempt, number).with_suffix(".err")

    def make_logs(self, attempt: int, numbers: Sequence[int]) -> None:
        """Make the folders that the logs of a submission need."""
        for shard in {number // SHARD for number in numbers}:
            (self.logs / str(attempt) / str(shard)).mkdir(parents=True, exist_ok=True)

    @classmethod
    def all(cls, path: Path) -> list[JobDir]:
        """Return the job directories of the stages of a pipeline, in order; of a single stage, just this one."""
        if not (path / DAG).exists():
            return [cls.open(path)]
        return [cls.open(path / stage) for stage in STAGES if (path / stage / PLAN).exists()]

    def words(self, job: BatchJob | None, overrides: Sequence[str] = ()) -> list[str]:
        """Return the words after ``job.sh`` for a job; without one, as HTCondor fills them in.

        Parameters
        ----------
        job
            The job.
        overrides
            Changes of the analysis, ``key=value``.
        """
        plan = self.plan
        changes = [override for override in overrides if not override.startswith(REDIRECTORS)]
        arguments = [*plan.command[:2], *changes, *plan.command[2:]]
        if plan.in_parts:
            sample = "" if plan.stage == "predict" else "$(sample):"
            arguments += ["--part", job.units if job else f"{sample}$(first)-$(last)"]
        if plan.stage == "tune":
            return ["-", *arguments, "-o", str(self.path / STUDY)]
        part = job.part if job else "$(part)"
        return [part, *arguments, "-o", part]

    def environment(self, resources: Resources, overrides: Sequence[str] = ()) -> dict[str, str]:
        """Return the variables of a job: how a training runs, and other redirectors."""
        redirectors = [override[len(REDIRECTORS) :] for override in overrides if override.startswith(REDIRECTORS)]
        variables = {
            "NANOFORGE_PROCESSES": str(resources.gpus) if resources.gpus > 1 else "",
            "NANOFORGE_CHECKPOINT": str(resources.checkpoint or ""),
            "NANOFORGE_REDIRECTORS": " ".join(re.findall(r"\w+://[^\s,\]'\"]+", " ".join(redirectors))),
        }
        return {name: value for name, value in variables.items() if value}

    # -- the journal --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self, name: str = LOCK) -> Iterator[int]:
        """Keep other submissions of this directory away; yields a descriptor.

        A child process that inherits it holds the lock until it ends, though we be killed: who comes next waits for it,
        and then sees what it did.
        """
        try:
            file = (self.path / name).open("w")
        except PermissionError:
            raise UserError(
                f"{self.path}: you may not write to it{_owner(self.path)}: only who submitted the jobs can submit them "
                "again; 'nanoforge submit' with another -o makes you a job directory of your own"
            ) from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file.fileno()

    def record(self, line: Mapping[str, Any]) -> None:
        """Append a line to the journal, so that it survives what comes next; what an interruption tore is cut off."""
        content = {**line, "time": time.time()}
        text = json.dumps({**content, _SUM: fingerprint(content)}) + "\n"
        descriptor = os.open(self.path / JOURNAL, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            append_lines(descriptor, whole_lines(descriptor), text.encode())
        finally:
            os.close(descriptor)

    def intend(
        self, jobs: Sequence[int], resources: Resources, overrides: Sequence[str] = (), attempt: int | None = None
    ) -> Submission:
        """Record what is about to be submitted: a new attempt, or the one that is named once more."""
        attempt = len(self.submissions()) if attempt is None else attempt
        content = {"jobs": list(jobs), "resources": asdict(resources), "overrides": list(overrides)}
        content["folder"] = str(self.path)
        self.record({"attempt": attempt, "state": "intent", **content})
        return self.submissions()[attempt]

    def conclude(self, submission: Submission, state: str, cluster: int | None, schedd: str | None) -> Submission:
        """Record what became of it: "submitted", or "void" where nothing of it is in the queue."""
        self.record({"attempt": submission.attempt, "state": state, "cluster": cluster, "schedd": schedd})
        return self.submissions()[submission.attempt]

    def submissions(self) -> list[Submission]:
        """Return what was submitted, in order; a last line that an interruption tore does not count."""
        entries: dict[int, dict[str, Any]] = {}
        try:
            for line in self._lines():
                entries.setdefault(int(line["attempt"]), {}).update(line)
            return [_submission(content) for _, content in sorted(entries.items())]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            journal = self.path / JOURNAL
            raise DataError(
                f"{journal}: is damaged ({type(error).__name__}: {error}): see that none of its jobs is in the queue, "
                f"then remove {journal}, and 'nanoforge resubmit' submits those without an output"
            ) from None

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            text = (self.path / JOURNAL).read_text()
        except FileNotFoundError:
            return
        for line in text.rpartition("\n")[0].splitlines():
            content = json.loads(line)
            if content.pop(_SUM) != fingerprint(content):
                raise ValueError("a line and its checksum disagree")
            yield content


def _submission(content: Mapping[str, Any]) -> Submission:
    return Submission(
        **{
            **content,
            "jobs": tuple(content["jobs"]),
            "resources": Resources(**content["resources"]),
            "overrides": tuple(content["overrides"]),
        }
    )


# -- making one -------------------------------------------------------------------------------------------------------


def new_run_id(name: str, stage: str) -> str:
    """Return a name that no other submission has, fit for file names and job attributes."""
    return f"{name}-{stage}-{time.strftime('%y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def as_yaml(analysis: Analysis) -> str:
    """Write a frozen analysis as a file; how it was submitted is no part of it."""
    content = as_written(analysis)
    content.pop("batch", None)
    text: str = yaml.dump(content, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False, width=1000)
    return re.sub(r"\$(?=\{)", r"\\$", text)


def _owner(path: Path) -> str:
    """Say whose a folder is, where that is told."""
    with contextlib.suppress(OSError, KeyError):
        return f" (it belongs to {path.owner()})"
    return ""


def copy_of(path: Path) -> Path:
    """Say where a second copy is of a file that has to stay as it was submitted."""
    return path.with_name(f".{path.name}.submitted")


def sha256(text: str) -> str:
    """Return the checksum of a frozen analysis."""
    return hashlib.sha256(text.encode()).hexdigest()


def create(path: Path, analysis: Analysis, plan: Plan) -> JobDir:
    """Make a job directory, which appears whole or not at all.

    One from which something was submitted is kept, if it is for the same work; another is made anew.

    Parameters
    ----------
    path
        Where.
    analysis
        The frozen analysis.
    plan
        The plan.

    Raises
    ------
    UserError
        When there is something else at ``path``.
    """
    path = path.resolve()
    made = (path / PLAN).exists()
    if made and (path / JOURNAL).exists():
        return _same(JobDir.open(path), plan)
    if made and any((path / PARTS).glob("*")):
        raise DataError(f"{path}: holds parts, but no {JOURNAL}: 'nanoforge resubmit {path}' submits what is missing")
    if path.exists() and not made and any(path.iterdir()):
        raise UserError(f"{path}: holds files that NanoForge did not make; give an empty or new directory")
    work = path.with_name(f".{path.name}.unfinished")
    script = template(JOB_SCRIPT)
    plan = replace(plan, script_sha256=sha256(script))
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        (work / ANALYSIS).write_text(as_yaml(analysis))
        if plan.stage == "predict":
            (work / FILES).write_text("".join(f"{file}\n" for file in scored(_files(analysis))))
        if plan.stage == PRODUCE.name:
            make_all(productions(analysis).values(), work / CHAIN)
        (work / BATCH).write_text(yaml.safe_dump(analysis.batch.model_dump(mode="json", exclude_unset=True)))
        (work / JOB_SCRIPT).write_text(script)
        (work / JOB_SCRIPT).chmod(0o755)
        for name in (ANALYSIS, JOB_SCRIPT):
            shutil.copy(work / name, copy_of(work / name))
        if not plan.published:  # then jobs are cmsRun's alone
            write_environment(analysis.batch, work)
        (work / PARTS).mkdir()
        plan.write(work / PLAN)
        if path.exists():
            shutil.rmtree(path)
        work.rename(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be made: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return JobDir.open(path)


def _files(analysis: Analysis) -> dict[str, list[str]]:
    return {name: sample.files or [] for name, sample in analysis.samples.items()}


def _same(existing: JobDir, plan: Plan) -> JobDir:
    """Return the directory that is there, if it is for the same work."""
    for name in ("stage", "target", "analysis_sha256", "jobs", "command"):
        if getattr(existing.plan, name) != getattr(plan, name):
            raise UserError(f"{existing.path}: holds another submission (its {name} differs): give another -o")
    existing.check_analysis()
    existing.check_script()
    return existing
