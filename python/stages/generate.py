"""Generate the samples that have a ``generator``: Pythia 8, a parametrised detector, NanoAOD-like files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..config.generator import Generator
from ..config.schema import Analysis
from ..console import say
from ..errors import UserError, nearest
from ..parallel import Report, stream_jobs
from ..pipeline.outcome import Outcome, Request
from ..pipeline.parts import Gathered, Part, gather
from ..provenance import Accounting, Ledger, Manifest, Piece, fingerprint, make_room
from ..provenance.manifest import adler32, remove
from ..simulation.generator.event_blocks import check, sizes, survey
from ..simulation.generator.flatness import flatness
from ..simulation.generator.gun import Occupancy
from ..simulation.generator.trials import Trials
from ..simulation.nano import nanoaod

STAGE = "generate"
_RECORDS = ".records"


@dataclass(frozen=True)
class GenerateJob:
    """One block of events of a sample; ``first`` is the number of its first event."""

    generator: Generator
    sample: str
    block: int
    size: int
    first: int
    occupancy: Occupancy | None


def generate(
    analysis: Analysis,
    output: str | Path,
    *,
    sample: str | None = None,
    events: int | None = None,
    jobs: int = 1,
    force: bool = False,
    part: str | None = None,
    parts: Path | None = None,
) -> Manifest:
    """Generate the samples of an analysis, one file each.

    Parameters
    ----------
    analysis
        The analysis file.
    output
        Gets ``<sample>.root``, and for a gun ``<sample>_spectra.png`` and ``.pdf``. Samples that an interrupted run
        finished are not made again.
    sample
        Only this one; by default all that have a ``generator``.
    events
        So many of each sample, instead of the number that the analysis file gives.
    jobs
        Number of processes; the events do not depend on it.
    force
        Replace a finished result of something else.
    part
        Only these blocks of 250 events, as ``sample:first-last``, in ``<sample>-<first>.root``.
    parts
        A folder of parts, whose files make up the result.

    Returns
    -------
    Manifest
        Of the finished files.

    Raises
    ------
    UserError, DataError
        See :mod:`nanoforge.errors`; nothing that was there before is changed then.
    """
    output = Path(output)
    plan = _plan(analysis, sample, events)
    whole = {name: _made_from(name, generator) for name, generator in plan.items()}
    units: dict[str | None, int] = {name: len(sizes(generator.events)) for name, generator in plan.items()}
    share = None if part is None else Part.parse(part, units)
    request = Request(STAGE, output, whole, {"samples": whole}, part=share, force=force)
    finished = request.finished()
    if finished is not None:
        return finished
    trials: dict[str, Trials] = {}

    def work(folder: Path) -> Outcome:
        if parts is None:
            files = _files(plan, share)
            for file in files:  # before anything is made: a refused setting costs nothing
                check(file.generator, file.sample)
            made, checksums = _write(files, folder, jobs)
            entries: dict[str, int | None] = {file.name: made[file.sample].passed for file in files}
        else:
            finished_parts = gather(parts, folder, STAGE, whole, units, incomplete=False, jobs=jobs)
            made, entries, checksums = _gathered(finished_parts), finished_parts.entries, finished_parts.checksums
        trials.update(made)
        if share is None:
            entries |= {path.name: None for path in _draw(trials, folder)}
        details = {"samples": {name: _details(plan[name], of_sample) for name, of_sample in trials.items()}}
        seed = min(g.seed for g in plan.values())
        return Outcome({"samples": whole}, [], entries, _accounting(trials), details, checksums, seed)

    manifest = request.make(work)
    _tell(plan, trials)
    return manifest


def _made_from(sample: str, generator: Generator) -> dict[str, Any]:
    """Return what a sample is made from: its block, and the content of the files that this names."""
    content = generator.model_dump(mode="json")
    try:
        sums = {path: adler32(Path(path)) for path in generator.files.values()}
    except OSError as error:
        raise UserError(f"samples.{sample}.generator: {error.filename}: {error.strerror}") from None
    return content | ({"adler32": sums} if sums else {})


def _gathered(finished_parts: Gathered) -> dict[str, Trials]:
    """Sum up the books of all parts."""
    trials: dict[str, Trials] = {}
    for part, _, manifest in finished_parts.parts:
        name = str(part.sample)
        trials.setdefault(name, Trials()).add(Trials.from_dict(manifest.details["samples"][name]["books"]))
    return trials


def _plan(analysis: Analysis, sample: str | None, events: int | None) -> dict[str, Generator]:
    plan = {name: s.generator for name, s in analysis.samples.items() if s.generator is not None}
    if not plan:
        raise UserError("no sample has a 'generator': there is nothing to generate")
    if sample is not None:
        if sample not in plan:
            choices = nearest(sample, plan) or f"; samples with a generator: {', '.join(plan)}"
            raise UserError(f"--sample {sample}: there is no such sample with a 'generator'{choices}")
        plan = {sample: plan[sample]}
    return {n: g if events is None else g.model_copy(update={"events": events}) for n, g in plan.items()}


@dataclass(frozen=True)
class _File:
    """A file to write: these blocks of a sample."""

    name: str
    sample: str
    generator: Generator
    blocks: range


def _files(plan: Mapping[str, Generator], part: Part | None) -> list[_File]:
    if part is not None:
        name = str(part.sample)
        return [_File(f"{name}-{part.first:05d}.root", name, plan[name], range(part.first, part.last + 1))]
    return [_File(f"{name}.root", name, g, range(len(sizes(g.events)))) for name, g in plan.items()]


def _write(files: Sequence[_File], work: Path, jobs: int) -> tuple[dict[str, Trials], dict[str, str]]:
    """Write all files but those that an interrupted run finished.

    Returns the books of the samples' filters, and the checksums of the files.
    """
    records = {file.name: work / _RECORDS / f"{file.name}.json" for file in files}
    pieces = {file.name: Piece.read(records[file.name], _key(file)) for file in files}
    missing = [(file, _jobs(file)) for file in files if pieces[file.name] is None]
    stream = stream_jobs(make_block, [job for _, blocks in missing for job in blocks], jobs, "generating blocks")
    with closing(stream):
        for file, blocks in missing:
            unfinished = work / f"{file.name}.part"
            make_room(unfinished, work / file.name, records[file.name])
            with nanoaod.SampleFile(unfinished, file.generator.format) as out:
                for block in islice(stream, len(blocks)):
                    out.append(block)
            unfinished.rename(work / file.name)
            counts = out.trials.as_dict()
            pieces[file.name] = Piece.write(records[file.name], _key(file), [work / file.name], counts)
    remove(work / _RECORDS)
    done = [(file, piece) for file in files if (piece := pieces[file.name]) is not None]
    return (
        {file.sample: Trials.from_dict(piece.payload) for file, piece in done},
        {file.name: str(piece.outputs[0].adler32) for file, piece in done},
    )


def _key(file: _File) -> str:
    blocks = [file.blocks.start, file.blocks.stop]
    return fingerprint([file.sample, file.name, file.generator.model_dump(mode="json"), blocks])


def _jobs(file: _File) -> list[GenerateJob]:
    """Divide a file into blocks."""
    occupancy = _survey(file.sample, file.generator)
    plan, first = [], 1
    for block, size in enumerate(sizes(file.generator.events)):
        if block in file.blocks:
            plan.append(GenerateJob(file.generator, file.sample, block, size, first, occupancy))
        first += size
    return plan


def make_block(job: GenerateJob, report: Report) -> nanoaod.NanoBlock:
    """Make one block; ``report`` is called when it is done."""
    piece = nanoaod.make(job.generator, job.sample, job.block, job.size, job.first, job.occupancy)
    report(1)
    return piece


def _survey(name: str, generator: Generator) -> Occupancy | None:
    if generator.flatten is None:
        return None
    occupancy = survey(generator, name)
    empty = len(occupancy.passed) - len(occupancy.filled)
    if empty:
        say(
            f"samples.{name}.generator.flatten: no pilot event passed in {empty} of {len(occupancy.passed)} bins of "
            "mass and pt: they stay empty"
        )
    return occupancy


def _accounting(trials_by_sample: Mapping[str, Trials]) -> Accounting:
    """Book all events that were tried: passed, or rejected by a filter."""
    accounting = Accounting()
    for name, trials in trials_by_sample.items():
        rejected = {f"{name}.{cut}": count for cut, count in trials.rejected.items()}
        accounting.events.add(Ledger("events", trials.tried, trials.passed, rejected))
    return accounting


def _draw(trials_by_sample: Mapping[str, Trials], work: Path) -> list[Path]:
    """Draw the spectra of all guns."""
    guns = {name: trials.spectra for name, trials in trials_by_sample.items() if trials.spectra is not None}
    if not guns:
        return []
    from ..evaluation import spectra

    return [path for name, gun in guns.items() for path in spectra.draw(gun, work / f"{name}_spectra")]


def _details(generator: Generator, trials: Trials) -> dict[str, Any]:
    efficiency, uncertainty = trials.efficiency
    out: dict[str, Any] = {
        "seed": generator.seed, "tried": trials.tried, "passed": trials.passed,
        "filter_efficiency": efficiency, "filter_efficiency_error": uncertainty, "books": trials.as_dict(),
    }  # fmt: skip
    section = trials.passed_cross_section
    if section is not None:
        out |= {"cross_section_pb": section[0], "cross_section_error_pb": section[1]}
    if trials.spectra is not None:
        out |= {"chi2_per_ndf_to_flat": flatness(trials.spectra)}
    return out


def _tell(plan: Mapping[str, Generator], trials_by_sample: Mapping[str, Trials]) -> None:
    for name, trials in trials_by_sample.items():
        efficiency, uncertainty = trials.efficiency
        line = f"samples.{name}: {trials.passed:,} events"
        if plan[name].filters:
            line += f", filter efficiency {efficiency:.4g} +- {uncertainty:.2g}"
        if trials.passed_cross_section is not None:
            line += f", cross section {_measured(*trials.passed_cross_section)} pb (Pythia, leading order"
            line += ", times the efficiency)" if plan[name].filters else ")"
        say(line)


def _measured(value: float, error: float) -> str:
    """Write a value as far as its error's second digit says something."""
    digits = max(1 - math.floor(math.log10(error)), 0) if error > 0 else 0
    return f"{value:,.{digits}f} +- {error:,.{digits}f}" if digits < 6 else f"{value:.4g} +- {error:.2g}"
