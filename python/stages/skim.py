"""Skim NanoAOD: chosen events and branches of every sample, in files that are NanoAOD again.

The trees ``Runs`` and ``LuminosityBlocks`` go along whole, so that a skim is normalised as what it was made from. Other
trees and objects beside them (a ``TObjString``, ``MetaData``) are left behind.

Whole inputs are assigned to outputs, in order, by their size on disk; one output is one job, on a process or on a Dask
cluster. coffea's ``Runner`` does not serve here: it deals out ranges of entries and sums up what comes back.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..config.schema import Analysis
from ..console import say
from ..errors import DataError, FileError
from ..events.branches import layout, values
from ..events.files import sample_files, skim_outputs
from ..events.merging import BranchesDifferError, BranchUnion, MergedTrees
from ..events.open import open_for, reading
from ..events.reader import EventFile
from ..events.skimmer import Skimmer
from ..events.writer import NanoFile
from ..parallel import Report, run_jobs, run_on_dask
from ..pipeline.outcome import Outcome, Request
from ..pipeline.parts import Gathered, Part, gather, unfinished
from ..provenance import Accounting, FileRecord, Lost, Manifest, Piece, fingerprint, make_room
from ..provenance.manifest import input_record, refuse_copies

STAGE = "skim"
CARRIED = ("Runs", "LuminosityBlocks")

_RECORDS = ".records"
_MOST_NAMED = 10


@dataclass(frozen=True)
class SkimJob:
    """One output to write, from whole inputs of one sample; ``part`` is a digest of the analysis."""

    analysis: Analysis
    part: str
    sample: str
    paths: tuple[str, ...]
    output: Path
    record: Path
    skip_bad_files: bool


@dataclass
class Record:
    """What became of a job.

    Attributes
    ----------
    sources
        The inputs, lost ones included.
    accounting
        Of all inputs.
    entries
        Events of the output; None where there is none, since all inputs are lost.
    unwritable
        Branches that no TTree of uproot can hold, by name, with their type.
    idle
        Lines of the keep list that fit no branch.
    checksum
        Of the output, where there is one.
    filled
        Branches that some of the inputs lack: in how many, and what stands for them.
    """

    sources: list[FileRecord] = field(default_factory=list)
    accounting: Accounting = field(default_factory=Accounting)
    entries: int | None = None
    unwritable: dict[str, str] = field(default_factory=dict)
    idle: list[str] = field(default_factory=list)
    checksum: str | None = None
    filled: dict[str, tuple[int, str]] = field(default_factory=dict)

    def write(self, job: SkimJob, key: str) -> None:
        """Record that the output of a job is finished."""
        payload = asdict(self) | {"sources": None}
        outputs = [] if self.entries is None else [job.output]
        piece = Piece.write(job.record, key, outputs, payload, self.sources)
        self.checksum = next((output.adler32 for output in piece.outputs), None)

    @classmethod
    def read(cls, job: SkimJob, key: str) -> Record | None:
        """Read what :meth:`write` wrote; None unless the output is as it was, and made from the same."""
        piece = Piece.read(job.record, key)
        if piece is None:
            return None
        checksum = next((output.adler32 for output in piece.outputs), None)
        accounting = Accounting.from_dict(piece.payload["accounting"])
        return cls(**piece.payload | {"sources": piece.inputs, "accounting": accounting, "checksum": checksum})


def skim(
    analysis: Analysis,
    output: str | Path,
    *,
    jobs: int = 1,
    skip_bad_files: bool = False,
    force: bool = False,
    scheduler: str | None = None,
    part: str | None = None,
    parts: Path | None = None,
) -> Manifest:
    """Skim the samples of an analysis.

    Parameters
    ----------
    analysis
        The analysis file.
    output
        Gets ``<sample>/<input>.root``, or ``<sample>/part-0000.root`` and so on where inputs are merged. An interrupted
        skim goes on where it was.
    jobs, skip_bad_files, force, parts
        As for the conversion.
    scheduler
        Address of a Dask scheduler, whose workers do the work instead of ``jobs`` processes.
    part
        Only these outputs, as ``sample:first-last``.

    Returns
    -------
    Manifest
        Of the finished skim.
    """
    output = Path(output)
    target, redirectors = analysis.skim.target_bytes, analysis.redirectors
    groups = {n: skim_outputs(sample_files(analysis, n), target, redirectors) for n in analysis.samples}
    units: dict[str | None, int] = {sample: len(outputs) for sample, outputs in groups.items()}
    share = None if part is None else Part.parse(part, units)
    if share is not None:
        chosen = list(groups[str(share.sample)].items())[share.first : share.last + 1]
        groups = {str(share.sample): dict(chosen)}
    inputs = [path for outputs in groups.values() for paths in outputs.values() for path in paths]
    request = Request(
        STAGE, output, analysis.skim_part(), analysis.settings(STAGE), inputs, share, force, accept_lost=skip_bad_files
    )
    finished = request.finished()
    if finished is not None:
        return finished

    def work(folder: Path) -> Outcome:
        if parts is not None:
            finished_parts = gather(parts, folder, STAGE, request.key, units, skip_bad_files, jobs)
            return _outcome(
                analysis,
                folder,
                _gathered(finished_parts, groups),
                finished_parts.entries,
                finished_parts.checksums,
                share,
            )
        plan = _plan(analysis, groups, folder, skip_bad_files)
        records = _work(plan, jobs, scheduler)
        done = {str(job.output.relative_to(folder)): record for job, record in zip(plan, records)}
        written = {name: record.entries for name, record in done.items() if record.entries is not None}
        checksums = {name: record.checksum for name, record in done.items() if record.checksum is not None}
        return _outcome(analysis, folder, records, written, checksums, share)

    return request.make(work)


def _outcome(
    analysis: Analysis,
    folder: Path,
    records: Sequence[Record],
    written: Mapping[str, int | None],
    checksums: Mapping[str, str],
    share: Part | None,
) -> Outcome:
    """Sum up what became of all outputs, and tell of branches that were left out."""
    _check(records)
    _clean(folder, written)
    sources = [source for record in records for source in record.sources]
    details = {"not_written": _unwritable(records), "idle": _idle(analysis, records), "filled": _filled(records)}
    _tell(details, len(sources), complete=share is None)
    accounting = Accounting.total(r.accounting for r in records)
    return Outcome(analysis.model_dump(mode="json"), sources, written, accounting, details, checksums)


def _plan(
    analysis: Analysis, groups: Mapping[str, Mapping[str, tuple[str, ...]]], work: Path, skip_bad_files: bool
) -> list[SkimJob]:
    part = fingerprint(analysis.skim_part())
    return [
        SkimJob(
            analysis,
            part,
            sample,
            paths,
            work / sample / name,
            work / _RECORDS / sample / f"{name}.json",
            skip_bad_files,
        )
        for sample, outputs in groups.items()
        for name, paths in outputs.items()
    ]


def _work(plan: Sequence[SkimJob], jobs: int, scheduler: str | None) -> list[Record]:
    if scheduler is None:
        return run_jobs(skim_files, plan, jobs, "skimming files")
    return run_on_dask(skim_files, plan, scheduler, "skimming files")


def _gathered(finished_parts: Gathered, groups: Mapping[str, Mapping[str, tuple[str, ...]]]) -> list[Record]:
    """Return what parts say of themselves, and what is lost with the outputs that are in none of them."""
    records = []
    for manifest in finished_parts.manifests:
        entries = sum(output.entries or 0 for output in manifest.outputs) if manifest.outputs else None
        unwritable, idle = manifest.details["not_written"], manifest.details["idle"]
        record = Record(manifest.inputs, manifest.accounting or Accounting(), entries, unwritable, idle)
        record.filled = manifest.details.get("filled", {})
        records.append(record)
    for sample, numbers in finished_parts.missing.items():
        outputs = list(groups[str(sample)].values())
        for path in (path for number in numbers for path in outputs[number]):
            record = Record([input_record(path, sample=sample)])
            record.accounting.lose(unfinished(path))
            records.append(record)
    return records


def _check(records: Sequence[Record]) -> None:
    refuse_copies(source for record in records for source in record.sources)
    for sample in dict.fromkeys(record.sources[0].sample for record in records):
        of_sample = [record for record in records if record.sources[0].sample == sample]
        if all(r.entries is None for r in of_sample):
            lost = of_sample[0].accounting.lost[0]
            raise DataError(f"samples.{sample}: none of its files can be used: {lost.file}: {lost.reason}")


def _clean(work: Path, written: Mapping[str, int | None]) -> None:
    """Remove the records, and outputs of an interrupted run that had other inputs."""
    shutil.rmtree(work / _RECORDS, ignore_errors=True)
    for path in work.rglob("*.root"):
        if str(path.relative_to(work)) not in written:
            path.unlink()


def _unwritable(records: Sequence[Record]) -> dict[str, str]:
    return {name: kind for record in records for name, kind in record.unwritable.items()}


def _filled(records: Sequence[Record]) -> dict[str, tuple[int, str]]:
    """Sum up which branches inputs lack: in how many, and what stands for them."""
    total: dict[str, tuple[int, str]] = {}
    for record in records:
        for name, (count, value) in record.filled.items():
            total[name] = (total.get(name, (0, ""))[0] + count, value)
    return total


def _idle(analysis: Analysis, records: Sequence[Record]) -> list[str]:
    written = [record for record in records if record.entries is not None]
    return [rule for rule in analysis.skim.keep if all(rule in record.idle for record in written)]


def _tell(details: Mapping[str, Any], files: int, *, complete: bool) -> None:
    """Name the branches that could not be written, and lines of the keep list that never did anything."""
    unwritable = details["not_written"]
    if unwritable:
        names = ", ".join(f"{name} ({kind})" for name, kind in unwritable.items())
        say(f"warning: not written, since only numbers and lists of them can be: {names}")
    filled = [f"{name} ({count} of {files} files: {value})" for name, (count, value) in details["filled"].items()]
    if filled:
        more = f" and {len(filled) - _MOST_NAMED} more" if len(filled) > _MOST_NAMED else ""
        say(f"warning: filled where files lack them: {', '.join(filled[:_MOST_NAMED])}{more}")
    for rule in details["idle"] if complete else ():
        say(f"note: skim.keep: {rule!r} fits no branch")


# -- one output -------------------------------------------------------------------------------------------------------


def skim_files(job: SkimJob, report: Report) -> Record:
    """Write one output, unless it is there already.

    A file that turns out to be bad in the middle is left out altogether: the output is begun again without it.
    """
    key = fingerprint([job.part, job.sample, job.paths])
    previous = Record.read(job, key)
    if previous is not None:
        report(1)
        return previous
    make_room(job.record, job.output)
    lost: dict[str, Lost] = {}
    sources: dict[str, FileRecord] = {}
    union: BranchUnion | None = None
    while True:
        record = Record(idle=list(job.analysis.skim.keep))
        try:
            paths = [path for path in job.paths if path not in lost]
            try:
                _write(job, paths, sources, record, report, union)
                break
            except BranchesDifferError:
                union = _all_branches(job, paths)
        except FileError as error:
            if not job.skip_bad_files or error.path not in job.paths:
                raise
            source = sources.setdefault(error.path, input_record(error.path, sample=job.sample))
            lost[error.path] = Lost(error.path, error.reason, source.entries)
    for loss in lost.values():
        record.accounting.lose(loss)
    record.sources = [sources[path] for path in job.paths]
    if not lost:
        record.write(job, key)
    return record


def _all_branches(job: SkimJob, paths: Sequence[str]) -> BranchUnion:
    """Look at all inputs for the branches of their trees."""
    union = BranchUnion()
    for path in paths:
        with open_for(job.analysis, path, checksum=False) as file:
            union.add(path, job.analysis.tree, _skimmer(job, file).branches)
            for name in CARRIED:
                tree = file.sibling(name)
                union.add(path, name, layout(tree, lambda branch: True)[0] if tree else ())
    return union


def _write(
    job: SkimJob,
    paths: Sequence[str],
    sources: dict[str, FileRecord],
    record: Record,
    report: Report,
    union: BranchUnion | None,
) -> None:
    """Write the output of the given inputs, if there are any; it appears when it is complete."""
    if not paths:
        return
    temporary = job.record.with_name(f"{uuid4().hex}.root")
    try:
        with NanoFile(temporary, job.analysis.skim.compression) as out:
            trees = MergedTrees(out, union)
            for path in paths:
                with reading(job.analysis, path, job.sample) as (file, source):
                    sources[path] = source
                    _copy(job, file, trees, record, report)
        record.filled = trees.filled
        temporary.replace(job.output)
    finally:
        temporary.unlink(missing_ok=True)
    record.entries = record.accounting.events.used


def _copy(job: SkimJob, file: EventFile, trees: MergedTrees, record: Record, report: Report) -> None:
    """Copy the chosen events of one input, and the trees beside them."""
    skimmer = _skimmer(job, file)
    record.unwritable |= skimmer.unwritable
    record.idle = [rule for rule in record.idle if rule in skimmer.idle]
    events = trees.get(file.path, job.analysis.tree, skimmer.branches, skimmer.defaults)
    for size, read, columns in skimmer.chunks(record.accounting.events):
        events.append(size, columns)
        report(read / file.entries / len(job.paths) if file.entries else 0)
    if not file.entries:
        report(1 / len(job.paths))
    total = file.gen_sum_of_weights()
    if total is not None and not math.isfinite(total):
        raise FileError(file.path, f"the sum of generator weights in its Runs tree is {total:g}: fetch the file again")
    for name in CARRIED:
        tree = file.sibling(name)
        branches, unwritable = layout(tree, lambda branch: True) if tree else ([], {})
        record.unwritable |= {f"{name}.{branch}": kind for branch, kind in unwritable.items()}
        if tree is None or not branches:
            trees.without(file.path, name)
            continue
        rows = trees.get(file.path, name, branches)
        for chunk in tree.chunks(values(branches)):
            rows.append(chunk.size, chunk.columns)


_skimmers: dict[tuple[str, str], Skimmer] = {}
"""The last one of this process, which serves the next file with the same columns."""


def _skimmer(job: SkimJob, file: EventFile) -> Skimmer:
    last = _skimmers.get((job.part, job.sample))
    skimmer = last.for_file(file) if last is not None else None
    if skimmer is None:
        try:
            skimmer = Skimmer(job.analysis, job.sample, file)
        except FileError:
            if file.entries:
                raise
            skimmer = Skimmer(_without_cuts(job.analysis, job.sample), job.sample, file)
        _skimmers.clear()
        _skimmers[job.part, job.sample] = skimmer
    return skimmer


def _without_cuts(analysis: Analysis, sample: str) -> Analysis:
    """Return the analysis for NanoAOD without events, which has not the branches of its tables."""
    samples = {**analysis.samples, sample: analysis.samples[sample].model_copy(update={"select": {}})}
    return analysis.model_copy(update={"samples": samples, "select": {}, "select_for": {}, "define": {}})
