"""The work of a stage divided into jobs.

A unit is what a stage can do by itself: an input file, an output of a skim, a block of generated events (see

:mod:`nanoforge.pipeline.parts`). A job gets neighbouring units of one sample.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Optional

from ..config.batch import FLAVOURS, Division, Needs
from ..config.schema import Analysis
from ..errors import DataError, UserError
from ..events.files import group_by_size, sample_files
from ..pipeline.graph import GENERATE, PREDICT, PRODUCE, SKIM, STAGES, TRAIN, TUNE
from ..production.chain import FOLDER as CHAIN
from ..production.plan import plan as productions
from ..provenance.manifest import write_atomically

VERSION = 1
FILES = "files.txt"
"""The list of the files to score, in the directory of a ``predict``."""

_FILES_PER_JOB = 10
_DIVISIONS = {GENERATE.name: Division(events=50_000), PRODUCE.name: Division(files=1)}
_MEMORY, _DISK, _RETRIES = 2000, 10_000, 2
_CHECKPOINT = 3600


@dataclass(frozen=True)
class BatchJob:
    """One job: units ``first`` to ``last`` of a sample; without one, of a list of files, or a stage as a whole.

    ``entries`` is how many events its inputs have, where that was asked for.
    """

    number: int
    sample: Optional[str]
    first: int
    last: int
    entries: Optional[int] = None
    inputs: tuple[str, ...] = ()

    @property
    def part(self) -> str:
        """The name of the directory that it makes."""
        return f"part-{self.number:05d}"

    @property
    def units(self) -> str:
        """Its share as ``--part`` wants it."""
        prefix = "" if self.sample is None else f"{self.sample}:"
        return f"{prefix}{self.first}-{self.last}"


@dataclass(frozen=True)
class Resources:
    """What a job asks for: ``memory`` and ``disk`` in MB for all its cores, ``runtime`` in seconds.

    With a ``flavour``, ``runtime`` is the flavour's. ``checkpoint`` is the time in seconds after which a training
    writes a checkpoint and begins again with it; 0 where there is none.
    """

    cores: int
    memory: int
    disk: int
    runtime: int
    flavour: Optional[str] = None
    gpus: int = 0
    retries: int = _RETRIES
    checkpoint: int = 0

    @classmethod
    def of(cls, stage: str, needs: Needs) -> Resources:
        """Complete what the analysis file says with the defaults of a stage."""
        flavour = needs.flavour or (None if needs.runtime else STAGES[stage].flavour)
        cores = needs.cores or STAGES[stage].cores
        return cls(
            cores=cores,
            memory=needs.memory or _MEMORY * cores,
            disk=needs.disk or _DISK,
            runtime=needs.runtime or FLAVOURS[str(flavour)],
            flavour=flavour,
            gpus=needs.gpu.count if needs.gpu else 0,
            retries=_RETRIES if needs.retries is None else needs.retries,
            checkpoint=(needs.checkpoint or _CHECKPOINT) if stage == TRAIN.name else 0,
        )


@dataclass(frozen=True)
class Plan:
    """What is to be done; ``plan.json`` of a job directory.

    Attributes
    ----------
    run_id
        A name that no other submission has.
    name, stage, target
        Of the analysis; what is run; on what (condor, local ...).
    analysis_sha256
        Of the frozen analysis file.
    jobs
        The jobs, by number.
    resources
        What each asks for at first.
    parts
        The folder or address where the parts arrive: ``parts`` is that in the job directory.
    command
        The words after ``nanoforge`` that all jobs have in common. Relative names lie where the job runs.
    carried
        Files and folders that the jobs do not see and take along.
    grid
        Whether jobs read files of the grid beside their inputs: premixed events.
    script_sha256
        Of the script that the jobs run; empty before it is written.
    published
        Whether these are tasks of CRAB that publish what each step of a production makes (see :mod:`.published`).
    """

    run_id: str
    name: str
    stage: str
    target: str
    analysis_sha256: str
    jobs: tuple[BatchJob, ...]
    resources: Resources
    parts: str
    command: tuple[str, ...]
    carried: tuple[str, ...] = ()
    grid: bool = False
    script_sha256: str = ""
    published: bool = False

    @cached_property
    def in_parts(self) -> bool:
        """Whether each job makes a part; otherwise it runs the stage as a whole."""
        return STAGES[self.stage].in_parts

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """What differs between the jobs, and their descriptions refer to."""
        if not self.in_parts:
            return ("number",)
        return ("number", "first", "last") if self.stage == PREDICT.name else ("number", "sample", "first", "last")

    def identity(self) -> str:
        """Hash of what is done where: trust in the code of its target is trust in this one."""
        return _sha256(f"{self.run_id} {self.target} {self.analysis_sha256}")

    def write(self, path: Path) -> None:
        """Write the plan with a checksum of itself, atomically."""
        body = json.dumps({"version": VERSION, **asdict(self)}, separators=(",", ":"))[1:] + "\n"
        write_atomically(path, f'{{"sha256":"{_sha256(body)}",{body}')

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read what :meth:`write` wrote; raises a :class:`DataError` where it is something else."""
        try:
            text = path.read_text()
            content = json.loads(text)
            if content.pop("version") != VERSION:
                raise ValueError("another version of NanoForge wrote it")
            if content.pop("sha256") != _sha256(text.partition(",")[2]):
                raise ValueError("its content and its checksum disagree")
            content["jobs"] = tuple(BatchJob(**{**job, "inputs": tuple(job["inputs"])}) for job in content["jobs"])
            content["resources"] = Resources(**content["resources"])
            content["command"], content["carried"] = tuple(content["command"]), tuple(content["carried"])
            return cls(**content)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: not a plan that this version of NanoForge can read, or damaged ({error}): give 'nanoforge "
                "submit' another -o"
            ) from None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# -- division ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    """What a stage can do by itself: its inputs, and how many events they have (None: nobody looked)."""

    inputs: tuple[str, ...]
    entries: Optional[int] = None


def jobs(analysis: Analysis, stage: str, split: Division | None = None) -> tuple[BatchJob, ...]:
    """Divide a stage of an analysis into jobs.

    Parameters
    ----------
    analysis
        The frozen analysis: its samples list their files.
    stage
        One of :data:`~..pipeline.graph.STAGES`.
    split
        How many units a job gets. Files are opened only where events have to be counted.

    Raises
    ------
    UserError
        When there is nothing to do, or the stage cannot be divided in this way.
    """
    if not STAGES[stage].in_parts:
        count = analysis.batch.workers if stage == TUNE.name else 1
        return tuple(BatchJob(number, None, number, number) for number in range(count))
    split = split or _DIVISIONS.get(stage, Division(files=_FILES_PER_JOB))
    planned: list[BatchJob] = []
    for sample, units in _units(analysis, stage, split.events is not None).items():
        for first, last in _ranges(units, split):
            chosen = units[first : last + 1]
            inputs = tuple(path for unit in chosen for path in unit.inputs)
            entries = None if chosen[0].entries is None else sum(unit.entries or 0 for unit in chosen)
            planned.append(BatchJob(len(planned), sample, first, last, entries, inputs))
    if not planned:
        raise UserError(f"--stage {stage}: there is nothing to do: no sample has a 'generator'")
    return tuple(planned)


def _units(analysis: Analysis, stage: str, count: bool) -> Mapping[str | None, list[Unit]]:
    if stage == GENERATE.name:
        return _blocks(analysis)
    if stage == PRODUCE.name:
        return {
            name: [Unit((), size) for size in production.sizes] for name, production in productions(analysis).items()
        }
    files = {name: sample_files(analysis, name) for name in analysis.samples}
    groups: dict[str | None, list[tuple[str, ...]]]
    if stage == PREDICT.name:
        groups = {None: [(path,) for path in scored(files)]}
    elif stage == SKIM.name:
        target, redirectors = analysis.skim.target_bytes, analysis.redirectors
        groups = {name: group_by_size(paths, target, redirectors) for name, paths in files.items()}
    else:
        groups = {name: [(path,) for path in paths] for name, paths in files.items()}
    if not count:
        return {name: [Unit(paths) for paths in group] for name, group in groups.items()}
    entries = _entries(analysis, [path for group in groups.values() for paths in group for path in paths])
    return {name: [Unit(paths, sum(entries[p] for p in paths)) for paths in group] for name, group in groups.items()}


def scored(files: Mapping[str, Sequence[str]]) -> list[str]:
    """List the files of all samples; samples may share a file, which is scored once."""
    return list(dict.fromkeys(path for paths in files.values() for path in paths))


def _blocks(analysis: Analysis) -> dict[str | None, list[Unit]]:
    from ..simulation.generator.event_blocks import sizes

    generators = {name: s.generator for name, s in analysis.samples.items() if s.generator is not None}
    return {name: [Unit((), size) for size in sizes(generator.events)] for name, generator in generators.items()}


def _ranges(units: Sequence[Unit], split: Division) -> Iterator[tuple[int, int]]:
    """Yield the first and last unit of each job; a unit that has too many events by itself is a job of its own."""
    first, filled = 0, 0
    for number, unit in enumerate(units):
        full = number - first >= split.files if split.files else filled + (unit.entries or 0) > (split.events or 0)
        if full and number > first:
            yield first, number - 1
            first, filled = number, 0
        filled += unit.entries or 0
    if units:
        yield first, len(units) - 1


def _entries(analysis: Analysis, paths: Sequence[str]) -> dict[str, int]:
    """Count the events of files, several at a time: opening one over the network is mostly waiting."""
    from concurrent.futures import ThreadPoolExecutor

    from ..console import progress

    def count(path: str) -> int:
        from ..events.open import open_for

        with open_for(analysis, path, checksum=False) as file:
            bar.advance(1)
            return int(file.entries or 0)

    unique = list(dict.fromkeys(paths))
    with progress("counting events", len(unique)) as bar, ThreadPoolExecutor(16) as pool:
        return dict(zip(unique, pool.map(count, unique)))


def command(stage: str, data: Path | None, run: Path | None, cores: int = 1) -> tuple[str, ...]:
    """Return the words after ``nanoforge`` that all jobs of a stage have in common.

    Parameters
    ----------
    stage
        The stage.
    data
        The dataset: for train and tune; for evaluate, another than that of the training.
    run
        What ``nanoforge train`` made: for evaluate and predict.
    cores
        Of each job, which a production uses by threads.
    """
    reads = STAGES[stage].reads
    if data is not None and "dataset" not in (*reads, *STAGES[stage].may_read):
        raise UserError(f"--data: '{stage}' reads no dataset: leave it out")
    if run is not None and "run" not in reads:
        raise UserError(f"--run: '{stage}' reads no training: leave it out")
    if "run" in reads and run is None:
        raise UserError(f"--stage {stage}: which training? give --run RUN")
    if "dataset" in reads and data is None:
        raise UserError(f"--stage {stage}: on what? give --data DATASET")
    arguments = [stage, "analysis.yaml" if run is None else str(run)]
    if run is not None and "files" in reads:
        arguments.append(FILES)
    if data is not None:
        arguments += ["--data", str(data)]
    if stage == PRODUCE.name:
        arguments += ["--chain", CHAIN, "--threads", str(cores)]
    return (*arguments, *(["--trust"] if run or data else []))  # submit asked
