"""Productions that CRAB publishes: a task for each step, which reads what the step before has put into DBS.

A job of the first step makes a lumi section, those of the others each read a file of the step before. A task can be
submitted when all files of the step before are in DBS; ``nanoforge resubmit`` does that. It runs the client in the
release of the step, since CRAB takes release, plugins and configuration from there. What became of a job that failed
decides how it is tried again, by :mod:`.crab_retry`; a lumi section that is lost holds up no other.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from ast import literal_eval
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

from rich.table import Table

from ..cmssw import chain as script
from ..config.load import load
from ..console import out, say
from ..errors import DataError, UserError
from ..events.files import das_files, list_line
from ..production import pileup, systems
from ..production.chain import FOLDER as CHAIN
from ..production.chain import Chain, StepOfChain, call, last_lines
from ..production.plan import Production
from ..production.plan import plan as productions
from ..version import __version__
from .crab_answers import answer, known, sites
from .crab_retry import Options, Prospect, Tries, next_try, prospect
from .crab_rules import check
from .events import ACTIVE, JobState, Process
from .jobdir import JobDir
from .targets.crab import AREA, CALL, CONFIGURATION, STATUS, listed, project_of, settings, was_submitted
from .templates import fill, template

INSTANCE = "prod/phys03"
"""The DBS of users, as DAS calls it."""
_AREAS, _FRESH, _PAUSE = "areas", 60.0, 300.0
_FILES, _TRIES = "files.json", "tries.json"
Give = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class StepTask:
    """The task of a step of a sample.

    Attributes
    ----------
    directory, production, chain, step
        What it is part of.
    number
        Of the sample.
    """

    directory: JobDir
    production: Production
    chain: Chain
    step: StepOfChain
    number: int

    @property
    def request(self) -> str:
        """The name of the request."""
        return f"{self.directory.plan.run_id}-{self.number}-{self.step.name}"

    @property
    def folder(self) -> Path:
        """Its files in the job directory."""
        return self.directory.path / AREA / self.request

    @property
    def project(self) -> Path:
        """What the client makes of it."""
        return project_of(self.folder)

    @property
    def submitted(self) -> bool:
        """Whether the server has taken it."""
        return was_submitted(self.project)

    @property
    def count(self) -> int:
        """How many jobs it has: one for each lumi section, or for each file of the step before."""
        path = self.folder / _FILES
        return int(json.loads(path.read_text())) if path.exists() else len(self.production.sizes)

    # -- what CRAB says -----------------------------------------------------------------------------------------------

    @cached_property
    def jobs(self) -> dict[int, Process]:
        """What is known of its jobs, by number."""
        return known(self.folder / STATUS, self.project / "results", self.count)

    @cached_property
    def states(self) -> Counter[JobState]:
        """How many jobs are in which state."""
        states = Counter(process.state for process in self.jobs.values())
        states[JobState.IDLE] += self.count - sum(states.values()) if self.submitted else 0
        return +states

    @cached_property
    def _answer(self) -> dict[str, Any]:
        path = self.folder / STATUS
        return answer(path.read_text(errors="replace")) if path.exists() else {}

    def _publications(self, state: str) -> int:
        publication = self._answer.get("publication")
        return int(publication.get(state) or 0) if isinstance(publication, dict) else 0

    @property
    def files_in_dbs(self) -> int:
        """How many of its files are in DBS."""
        return self._publications("done")

    @property
    def publications_failed(self) -> int:
        """How many of its files DBS could not take."""
        return self._publications("failed")

    @cached_property
    def failed(self) -> dict[int, Prospect]:
        """Whether another try can help the jobs that failed, by number."""
        tries = Tries.read(self.folder / _TRIES).of_jobs
        failed = {n: p for n, p in self.jobs.items() if p.state not in (JobState.DONE, *ACTIVE)}
        return {number: prospect(process, tries.get(number, ())) for number, process in failed.items()}

    @property
    def lost(self) -> list[int]:
        """Jobs that are not tried again, and hold up no other."""
        return sorted(number for number, hope in self.failed.items() if hope is Prospect.LOST)

    @property
    def dataset(self) -> str | None:
        """The dataset that it makes; None until the first job has ended."""
        names = self._answer.get("outdatasets")
        try:
            names = literal_eval(names) if isinstance(names, str) else names  # the server has it as a text
        except (ValueError, SyntaxError):
            names = None
        return str(names[0]) if isinstance(names, list) and names else None

    @property
    def done(self) -> bool:
        """Whether all its jobs have ended well, but those that are lost, and there are some."""
        return 0 < self.states[JobState.DONE] == self.count - len(self.lost)

    @property
    def complete(self) -> bool:
        """Whether all its files are in DBS but those that are lost."""
        return self.dataset is not None and self.done and self.states[JobState.DONE] <= self.files_in_dbs

    def refreshed(self) -> StepTask:
        """Ask CRAB, unless that was just done, and return the task with its answer; the last one serves as well."""
        path = self.folder / STATUS
        fresh = path.exists() and time.time() - path.stat().st_mtime < _FRESH
        if self.submitted and not (self.complete or fresh) and systems.is_here():
            try:
                self.ask("status", path, dir=self.project)
            except DataError as error:
                say(f"note: {error}")
        return StepTask(self.directory, self.production, self.chain, self.step, self.number)

    # -- the client ---------------------------------------------------------------------------------------------------

    def ask(self, command: str, path: Path, *switches: str, **options: object) -> None:
        """Let the client do a command in the release of the step, and write its answer to a file.

        Raises
        ------
        DataError
            When it fails.
        """
        areas = self.directory.path / _AREAS
        areas.mkdir(exist_ok=True)
        program = self.directory.path / AREA / CALL
        program.write_text(template(CALL, AREA))
        words = [program, path, command, *switches, *(f"{name}={value}" for name, value in options.items())]
        with (self.folder / "client.log").open("wb") as log:
            code = call(self.chain, self.step, "crab", self.directory.path, areas, log, *map(str, words))
        if code:
            last = last_lines(self.folder / "client.log", 1)
            raise DataError(f"{self.folder}: crab {command} fails (exit code {code}): {last}")

    # -- submission ---------------------------------------------------------------------------------------------------

    def prepare(self, dataset: str | None, files: int | None = None) -> None:
        """Write the task, and check it by the rules of CRAB; ``dataset`` is what it reads, of so many files.

        Raises
        ------
        UserError
            When CRAB would not take it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if files is not None:
            (self.folder / _FILES).write_text(f"{files}\n")
        folder = self.chain.folder.resolve()
        mixed = str(folder / pileup.LIST) if self.step.name == "digi" and self.chain.premixed else None
        cores = self.directory.plan.resources.cores
        (self.folder / "pset.py").write_text(script.crab(self.step.name, str(folder), cores, mixed))
        text = self._configuration(dataset)
        (self.folder / CONFIGURATION).write_text(text)
        findings = check(text, self.folder)
        if findings:
            more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
            raise UserError(f"{self.folder / CONFIGURATION}:{findings[0]}{more}")

    def _configuration(self, dataset: str | None) -> str:
        crab, resources = settings(self.directory), self.directory.plan.resources
        tries = self.production.tries(self.production.produce.events_per_job)
        total = self.count * tries if self.production.tries(1) > 1 else self.production.events
        first = dataset is None
        values = {
            "version": __version__, "step": self.step.name, "sample": self.chain.sample, "request": self.request,
            "chain": self.chain.folder.resolve(), "path": self.folder / CONFIGURATION, "folder": self.folder,
            "area": self.folder.parent, "cores": resources.cores, "memory": resources.memory,
            "minutes": math.ceil(resources.runtime / 60), "tag": self.request, "output": crab.output.rstrip("/"),
            "site": crab.site, "whitelist": listed(crab.whitelist or ()), "blacklist": listed(crab.blacklist or ()),
            "plugin": "PrivateMC" if first else "Analysis", "splitting": "EventBased" if first else "FileBased",
            "units": tries if first else 1, "total": total if first else self.count, "dataset": dataset,
            "dbs": None if first else "phys03", "primary": self.chain.sample if first else None,
        }  # fmt: skip
        return fill(template("step_cfg.py.in", AREA), values)


def tasks(directory: JobDir) -> Iterator[list[StepTask]]:
    """Yield the tasks of each sample, by step."""
    for number, production in enumerate(productions(load(directory.analysis)).values()):
        chain = Chain.read(directory.path / CHAIN / production.sample)
        yield [StepTask(directory, production, chain, step, number) for step in chain.steps]


def _send(task: StepTask, before: StepTask | None) -> None:
    """Submit a task that reads what the one before has published."""
    if before is None:
        task.prepare(None)
    else:
        task.prepare(before.dataset, before.files_in_dbs)
    shutil.rmtree(task.project, ignore_errors=True)  # left from an attempt that the server refused
    task.ask("submit", task.folder / "submit.json", config=task.folder / CONFIGURATION)
    say(f"{task.chain.sample}: step {task.step.name} is submitted as {task.request}")


def _advance(directory: JobDir) -> bool:
    """Submit the next task of each sample whose step before is complete; returns whether there was one."""
    any_new = False
    for of_sample in tasks(directory):
        before: Optional[StepTask] = None
        for task in of_sample:
            if not task.submitted:
                _send(task, before)
                any_new = True
                break
            before = task.refreshed()
            if not before.complete:
                break
    return any_new


def submit(directory: JobDir, *, dry_run: bool) -> None:
    """Submit the first step of each sample; those behind it are submitted by :func:`resubmit`.

    Raises
    ------
    UserError
        When CRAB would not take a task.
    DataError
        When it refuses one.
    """
    with directory.lock(".submit"):
        if not dry_run and not directory.submissions():  # from now on, the same command goes on with this directory
            numbers = range(len(directory.plan.jobs))
            directory.conclude(directory.intend(numbers, directory.plan.resources, ()), "submitted", None, "crab")
        for first, *_ in tasks(directory):
            if dry_run:
                first.prepare(None)
            elif not first.submitted:
                _send(first, None)
    ending = "not submitted (--dry-run)" if dry_run else "the next steps are submitted by 'nanoforge resubmit'"
    say(f"{directory.path}: a task for each step: {ending}; see nanoforge status {directory.path}")


def resubmit(directory: JobDir, *, permanent: bool) -> None:
    """Let CRAB try again the jobs that failed, as far as that can help, and submit the steps that can begin.

    Parameters
    ----------
    directory
        The job directory.
    permanent
        Also those that another try does not help.

    Raises
    ------
    UserError
        When only such jobs are left.
    """
    with directory.lock(".submit"):
        hopeless, again = False, False
        for of_sample in tasks(directory):
            for task in (task.refreshed() for task in of_sample if task.submitted):
                again |= _again(task, permanent)
                hopeless |= Prospect.NEVER in task.failed.values()
        if not _advance(directory) and not again:
            if hopeless and not permanent:
                raise UserError(
                    f"{directory.path}: only mistakes are left, which another try does not mend: --permanent tries it"
                )
            say(f"{directory.path}: there is nothing to submit now: see nanoforge status {directory.path}")


def _again(task: StepTask, permanent: bool) -> bool:
    """Try again what failed in a task; returns whether there was something."""
    name = f"{task.chain.sample}: step {task.step.name}"
    tries, groups = Tries.read(task.folder / _TRIES), dict[str, list[int]]()
    ran_at = sites(task.folder / STATUS)
    for number, hope in sorted(task.failed.items()):
        process = task.jobs[number]
        if hope is not Prospect.AGAIN and not permanent:
            say(f"{name}: job {number} {hope.value} ({process.reason or f'exit code {process.exit_code}'})")
            continue
        before, blacklist = tries.of_jobs.get(number, ()), settings(task.directory).blacklist or ()
        options = next_try(process, before, task.directory.plan.resources, blacklist, ran_at.get(number, ""))
        groups.setdefault(json.dumps(options), []).append(number)
    for text, numbers in groups.items():
        changes: Options = json.loads(text)
        jobs = ",".join(map(str, numbers))
        task.ask("resubmit", task.folder / "resubmit.json", dir=task.project, jobids=jobs, **changes)
        tries.add(numbers, changes)
        changed = "".join(f", {key}={value}" for key, value in changes.items())
        say(f"{name}: jobs {jobs} are tried again{changed}")
    unpublished = task.publications_failed if task.done and not groups else 0
    if unpublished:
        task.ask("resubmit", task.folder / "resubmit.json", "--publication", dir=task.project)
        say(f"{name}: {unpublished} files are put into DBS again")
    if not groups and not unpublished:
        return False
    (task.folder / STATUS).unlink()
    return True


def status(directory: JobDir, *, watch: bool, as_json: bool) -> None:
    """Show where the tasks are."""
    while True:
        asked = [[task.refreshed() for task in of_sample] for of_sample in tasks(directory)]
        rows = [_row(task) for of_sample in asked for task in of_sample]
        out.print_json(json.dumps(rows)) if as_json else out.print(_table(rows))
        if not watch or all(of_sample[-1].complete for of_sample in asked):
            return
        time.sleep(_PAUSE)


def _row(task: StepTask) -> dict[str, Any]:
    return {
        "sample": task.chain.sample, "step": task.step.name, "jobs": task.count,
        "states": {str(state): count for state, count in task.states.items()},
        "lost": task.lost, "published": task.files_in_dbs, "dataset": task.dataset, "submitted": task.submitted,
    }  # fmt: skip


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table("sample", "step", "jobs", "in DBS", "dataset", box=None)
    for row in rows:
        states = ", ".join(f"{count} {state}" for state, count in row["states"].items())
        if row["lost"]:
            states += f" (lost: {', '.join(map(str, row['lost']))})"
        jobs = states if row["submitted"] else "to be submitted when the step before is complete"
        in_dbs = f"{row['published']} of {row['jobs']}" if row["submitted"] else ""
        table.add_row(row["sample"], row["step"], jobs, in_dbs, row["dataset"] or "")
    return table


def collect(directory: JobDir, output: Path, *, skip_bad_files: bool, force: bool, give: Give) -> None:
    """List the files of the last step, by what DBS has of its dataset.

    Raises
    ------
    DataError
        When some are missing, unless that is allowed.
    """
    files: dict[str, dict[str, list[str]]] = {}
    for of_sample in tasks(directory):
        sample, kept = of_sample[0].chain.sample, of_sample[0].production.kept
        for task in (task.refreshed() for task in of_sample if task.step.name in kept):
            if task.dataset is None:
                raise DataError(
                    f"{directory.path}: {sample}: step {task.step.name} has made nothing yet: see its status"
                )
            names = das_files(task.dataset, instance=INSTANCE)
            sections = len(task.production.sizes)
            if len(names) < sections and not skip_bad_files:
                raise DataError(
                    f"{task.dataset}: DBS has {len(names)} of {sections} files: wait, or 'nanoforge resubmit'; "
                    "--skip-bad-files goes on without"
                )
            files.setdefault(sample, {})[task.step.name] = [
                list_line(name, getattr(name, "adler32", "")) for name in names
            ]
    path = directory.path / "published.json"
    path.write_text(json.dumps(files, indent=1) + "\n")
    options = [*["--skip-bad-files"] * skip_bad_files, *["--force"] * force]
    give(["produce", str(directory.analysis), "--from-published", str(path), "-o", str(output.absolute()), *options])
