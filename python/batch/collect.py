"""Merge what the jobs brought back: only when nothing is missing, or when it is said what is."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

from ..console import progress, say
from ..errors import DataError, NanoForgeError, UserError
from ..pipeline.graph import STAGES
from ..provenance.manifest import NAME, adler32, check_inside
from . import published
from .dag import MERGED
from .events import ACTIVE, JobState
from .jobdir import DAG, STUDY, JobDir
from .outputs import Outputs, Store
from .status import JobStatus, JobSurvey, numbers
from .targets import target_of

_WAITS = (0.5, 1.0, 2.0, 4.0)
_WORK, _FETCHED = ".collect", "fetched"
Give = Callable[[Sequence[str]], None]


def collect(
    path: Path, output: Path, skip_bad_files: bool = False, jobs: int = 1, force: bool = False, *, give: Give
) -> None:
    """Merge the parts of a job directory by the stage's own command.

    Parameters
    ----------
    path
        The job directory.
    output
        The stage's result.
    skip_bad_files
        Go on without what is missing: it is named, and lost in the accounting.
    jobs
        Number of processes.
    force
        Replace the result of something else.
    give
        Gives a command, as the words after ``nanoforge``.

    Raises
    ------
    DataError
        When jobs are not done, or a part does not have the checksums of its manifest: it is set aside, so that
        ``nanoforge resubmit`` makes it again.
    """
    if (path / DAG).exists():
        raise UserError(f"{path}: is a pipeline, which merges its stages itself: see {path}/STAGE/{MERGED}")
    directory = JobDir.open(path)
    directory.check_analysis()
    if directory.plan.published:
        return published.collect(directory, output, skip_bad_files=skip_bad_files, force=force, give=give)
    with _working_folder(directory) as work:
        target_of(directory).retrieve(directory)
        survey = JobSurvey(directory)
        states = _settled(survey)
        done = [status for status in states if status.state is JobState.DONE]
        _check(directory, states, skip_bad_files)
        locations = directory.parts or _bring(directory, survey.outputs, done, jobs)
        if not directory.plan.in_parts:
            return _copy(
                directory.path / STUDY if directory.plan.stage == "tune" else locations / done[0].job.part, output
            )
        for status in done:  # just these: a part that is arriving right now is no part
            (work / status.job.part).symlink_to(locations / status.job.part)
        arguments = _words(directory, work, output, skip_bad_files, jobs, force)
        try:
            with _inside(directory.path):
                give(arguments)
        except NanoForgeError as error:
            _set_damaged_aside(directory, survey.outputs, jobs, error)
            raise


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Work in another folder, to which the words of a plan refer."""
    before = os.getcwd()  # noqa: PTH109
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _working_folder(directory: JobDir) -> Iterator[Path]:
    """Give an empty folder that is locked; whoever was killed here left only links in it."""
    work = directory.path / _WORK
    try:
        with (directory.path / f"{_WORK}.lock").open("w") as lock:
            _take(lock, directory)
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            yield work
            shutil.rmtree(work)
    except OSError as error:
        raise DataError(f"{error.filename or directory.path}: {error.strerror or error}") from error


def _take(lock: TextIO, directory: JobDir) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(f"{directory.path}: another 'nanoforge collect' is at work on it") from None


def _settled(survey: JobSurvey) -> list[JobStatus]:
    """Return the states of the jobs, when no job that is done may write its part again.

    An output comes some moments before the log says so.
    """
    for wait in (*_WAITS, None):
        states = survey.look()
        writing = [s.job.number for s in states if s.state is JobState.DONE and s.process and s.process.state in ACTIVE]
        if not writing:
            break
        if wait is None:
            raise DataError(
                f"{survey.directory.path}: {numbers(writing)}: the output is whole, but another try is in the queue "
                "and would write it again: wait for it, or remove it"
            )
        time.sleep(wait)
    return states


def _check(directory: JobDir, states: Sequence[JobStatus], skip_bad_files: bool) -> None:
    """Raise a :class:`DataError` where jobs are not done, unless that is allowed; name them then."""
    missing = [status for status in states if status.state is not JobState.DONE]
    if not missing:
        return
    counts = ", ".join(f"{n} {state}" for state, n in Counter(s.state for s in missing).items())
    named = f"{len(missing)} of {len(states)} jobs are not done ({counts}): {numbers([s.job.number for s in missing])}"
    divisible = STAGES[directory.plan.stage].may_lose and len(missing) < len(states)
    if not skip_bad_files or not divisible:
        raise DataError(
            f"{directory.path}: {named}; 'nanoforge status' says why, 'nanoforge resubmit' tries again"
            + (", --skip-bad-files goes on without" if divisible else "")
        )
    say(f"{named}; they are left out:")
    for status in missing:
        events = "an unknown number of events" if status.job.entries is None else f"{status.job.entries:,} events"
        say(f"  job {status.job.number} ({status.job.units}), {events}: {status.state} {status.reason}".rstrip())


def _words(directory: JobDir, work: Path, output: Path, skip_bad_files: bool, jobs: int, force: bool) -> list[str]:
    """Return the stage's command that merges the parts in a folder."""
    by_name = {Path(path).name: path for path in directory.plan.carried}
    return [
        *(by_name.get(argument, argument) for argument in directory.plan.command),
        "--from-parts", str(work), *_address(directory), "-o", str(output.absolute()), "-j", str(jobs),
        *["--skip-bad-files"] * skip_bad_files, *["--force"] * force,
    ]  # fmt: skip


def _set_damaged_aside(directory: JobDir, outputs: Outputs, jobs: int, cause: NanoForgeError | None = None) -> None:
    """Look for the parts that spoilt a merge: they are missing from now on, and a DataError says so."""
    damaged = outputs.damaged(jobs)
    for number, problem in damaged.items():
        say(f"{directory.part(number)}: {problem}: set aside")
        outputs.store.set_aside(directory.plan.jobs[number].part)
        shutil.rmtree(directory.path / _FETCHED / directory.plan.jobs[number].part, ignore_errors=True)
    if damaged:
        more = "its part was" if len(damaged) == 1 else "their parts were"
        raise DataError(
            f"{directory.path}: {numbers(list(damaged))}: {more} damaged and set aside: run 'nanoforge resubmit "
            f"{directory.path}', then collect again"
        ) from cause


def _copy(source: Path, output: Path) -> None:
    """Copy the result of a stage that runs as a whole; it appears whole."""
    output = output.absolute()
    work = output.with_name(f".{output.name}.collecting")
    if output.exists() and any(output.iterdir()):
        if (output / NAME).exists() and (output / NAME).read_bytes() == (source / NAME).read_bytes():
            return say(f"{output} is up to date")
        raise UserError(f"{output}: holds something else; give another -o")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work)
    if output.exists():
        output.rmdir()
    work.rename(output)


def _address(directory: JobDir) -> list[str]:
    """Say where parts are that stay there, if it is an address."""
    in_place = STAGES[directory.plan.stage].in_place and directory.parts is None
    return ["--from-parts-at", directory.plan.parts] if in_place else []


# -- parts at an address ----------------------------------------------------------------------------------------------


def _bring(directory: JobDir, outputs: Outputs, done: Sequence[JobStatus], jobs: int) -> Path:
    """Bring parts to this machine; of those that stay where they are, just the manifests, once all are checked."""
    if not STAGES[directory.plan.stage].in_place:
        return _fetch(directory, outputs, done, jobs)
    _set_damaged_aside(directory, outputs, jobs)
    for status in done:
        folder = directory.path / _FETCHED / status.job.part
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NAME).write_bytes(outputs.store.read(f"{status.job.part}/{NAME}"))
    return directory.path / _FETCHED


def _fetch(directory: JobDir, outputs: Outputs, done: Sequence[JobStatus], jobs: int) -> Path:
    """Bring parts to this machine, once, and checked; returns where they are."""
    folder = directory.path / _FETCHED
    folder.mkdir(exist_ok=True)
    parts = [status.job.part for status in done]
    connections = max(jobs, outputs.store.connections)
    with progress("fetching parts", len(parts)) as bar, ThreadPoolExecutor(connections) as pool:
        damaged = []
        for part, whole in zip(parts, pool.map(partial(_fetch_one, outputs.store, folder), parts)):
            damaged += [] if whole else [part]
            bar.advance(1)
    if damaged:
        _set_damaged_aside(directory, outputs, jobs)
        raise DataError(f"{directory.plan.parts}: {', '.join(damaged)}: did not arrive whole: run it again")
    return folder


def _fetch_one(store: Store, folder: Path, part: str) -> bool:
    """Bring one part here; returns whether its files have their checksums."""
    target, work = folder / part, folder / f".{part}"
    manifest = store.read(f"{part}/{NAME}")
    if (target / NAME).exists() and (target / NAME).read_bytes() == manifest:
        return True
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    work.mkdir()
    for record in json.loads(manifest)["outputs"]:
        check_inside(record["path"], f"{part}/{NAME}")
        store.fetch(f"{part}/{record['path']}", work / record["path"])
        if adler32(work / record["path"]) != record["adler32"]:
            return False
    (work / NAME).write_bytes(manifest)
    work.rename(target)
    return True
