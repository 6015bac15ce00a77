"""Generate the samples that have a ``generator``: Pythia 8, a parametrised detector, NanoAOD-like files."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..config.generator import Generator
from ..config.schema import Analysis
from ..console import say, show_accounting
from ..errors import UserError, nearest
from ..parallel import Report, stream_jobs
from ..provenance import Accounting, Ledger, Manifest, fingerprint, staged_output
from ..provenance.manifest import write_atomically
from ..provenance.output import up_to_date
from ..simulation import nanoaod
from ..simulation.blocks import check, sizes, survey
from ..simulation.books import Trials
from ..simulation.flatness import flatness
from ..simulation.gun import Occupancy

STAGE = "generate"
_RECORDS = ".records"


@dataclass(frozen=True)
class Job:
    """One block of events of a sample; ``first`` is the number of its first event."""

    generator: Generator
    sample: str
    block: int
    size: int
    first: int
    occupancy: Occupancy | None


def generate(
    analysis: Analysis,
    output: Path,
    sample: str | None = None,
    events: int | None = None,
    jobs: int = 1,
    force: bool = False,
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

    Returns
    -------
    Manifest
        Of the finished files.

    Raises
    ------
    UserError, DataError
        See :mod:`nanoforge.errors`; nothing that was there before is changed then.
    """
    plan = _plan(analysis, sample, events)
    key = {name: generator.model_dump(mode="json") for name, generator in plan.items()}
    previous = up_to_date(output, STAGE, key)
    if previous is not None:
        say(f"{output} is up to date")
        return previous
    for name, generator in plan.items():  # before anything is made: a refused setting costs nothing
        check(generator, name)
    with staged_output(output, key, force) as work:
        books = _write(plan, work, jobs)
        manifest = _manifest(plan, books, key)
        figures = {path.name: None for path in _draw(books, work)}
        shutil.rmtree(work / _RECORDS)
        manifest.write(work, figures | {f"{name}.root": generator.events for name, generator in plan.items()})
    _tell(output, plan, books, manifest)
    return manifest


def _plan(analysis: Analysis, sample: str | None, events: int | None) -> dict[str, Generator]:
    plan = {name: s.generator for name, s in analysis.samples.items() if s.generator is not None}
    if not plan:
        raise UserError("no sample has a 'generator': there is nothing to generate")
    if sample is not None:
        if sample not in plan:
            known = nearest(sample, plan) or f"; samples with a generator: {', '.join(plan)}"
            raise UserError(f"--sample {sample}: there is no such sample with a 'generator'{known}")
        plan = {sample: plan[sample]}
    return {n: g if events is None else g.model_copy(update={"events": events}) for n, g in plan.items()}


def _write(plan: Mapping[str, Generator], work: Path, jobs: int) -> dict[str, Trials]:
    """Write the files of all samples but those that an interrupted run finished; returns the books of the filters."""
    records = {name: work / _RECORDS / f"{name}.json" for name in plan}
    (work / _RECORDS).mkdir(exist_ok=True)
    missing = {name: _jobs(name, plan[name]) for name, record in records.items() if not record.exists()}
    stream = stream_jobs(make_block, [job for blocks in missing.values() for job in blocks], jobs, "generating blocks")
    with closing(stream):
        for name, blocks in missing.items():
            with nanoaod.SampleFile(work / f"{name}.root.part", plan[name].format) as file:
                for piece in islice(stream, len(blocks)):
                    file.append(piece)
            (work / f"{name}.root.part").rename(work / f"{name}.root")
            write_atomically(records[name], json.dumps(file.books.as_dict()))
    return {name: Trials.from_dict(json.loads(record.read_text())) for name, record in records.items()}


def _jobs(name: str, generator: Generator) -> list[Job]:
    """Divide a sample into blocks."""
    occupancy = _survey(name, generator)
    plan, first = [], 1
    for block, size in enumerate(sizes(generator.events)):
        plan.append(Job(generator, name, block, size, first, occupancy))
        first += size
    return plan


def make_block(job: Job, report: Report) -> nanoaod.Piece:
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


def _manifest(plan: Mapping[str, Generator], books: Mapping[str, Trials], key: dict[str, Any]) -> Manifest:
    """Book all events that were tried: passed, or rejected by a filter."""
    accounting = Accounting()
    for name, trials in books.items():
        rejected = {f"{name}.{cut}": count for cut, count in trials.rejected.items()}
        accounting.events.add(Ledger("events", trials.tried, trials.passed, rejected))
    manifest = Manifest(STAGE, {"samples": key}, [], accounting, seed=min(g.seed for g in plan.values()))
    manifest.details = {"key": fingerprint(key), "samples": {n: _details(plan[n], b) for n, b in books.items()}}
    return manifest


def _draw(books: Mapping[str, Trials], work: Path) -> list[Path]:
    """Draw the spectra of all guns."""
    from ..evaluation import spectra

    drawn = [spectra.draw(b.spectra, work / f"{n}_spectra") for n, b in books.items() if b.spectra is not None]
    return [path for paths in drawn for path in paths]


def _details(generator: Generator, trials: Trials) -> dict[str, Any]:
    efficiency, uncertainty = trials.efficiency
    out: dict[str, Any] = {
        "seed": generator.seed, "tried": trials.tried, "passed": trials.passed,
        "filter_efficiency": efficiency, "filter_efficiency_error": uncertainty,
    }  # fmt: skip
    section = trials.passed_cross_section
    if section is not None:
        out |= {"cross_section_pb": section[0], "cross_section_error_pb": section[1]}
    if trials.spectra is not None:
        out |= {"chi2_per_ndf_to_flat": flatness(trials.spectra)}
    return out


def _tell(output: Path, plan: Mapping[str, Generator], books: Mapping[str, Trials], manifest: Manifest) -> None:
    if manifest.accounting is not None:
        show_accounting(f"generate: {output}", manifest.accounting)
    for name, trials in books.items():
        efficiency, uncertainty = trials.efficiency
        line = f"{output / name}.root: {plan[name].events:,} events"
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
