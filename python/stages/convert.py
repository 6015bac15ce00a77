"""Convert tables of events into training data, shard by shard, in parallel and resumably."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ..config.schema import Analysis
from ..dataset.assemble import assemble, remove_scraps
from ..dataset.cut_flow import sample_flows
from ..dataset.event_block import EventBlock
from ..dataset.file_rows import FileRows
from ..dataset.formats import format_of
from ..dataset.merging import StoredFile, copy_rows, stored_files
from ..dataset.notices import check_identity, find_notices
from ..dataset.repeats import EventHashes, EventLog, count_repeats, event_hashes, events_path
from ..dataset.shards import SHARDS, ShardIndex, ShardRecord, WrittenShard, shard_groups
from ..dataset.table import TableBuilders, dataset_info
from ..dataset.totals import check, check_weights, scales, unknown_targets
from ..errors import FileError
from ..events.files import sample_files
from ..events.open import reading
from ..events.reader import EventFile
from ..parallel import Report, run_jobs
from ..pipeline.outcome import Outcome, Request
from ..pipeline.parts import Part, gather, unfinished
from ..provenance import Accounting, Manifest, fingerprint
from ..provenance.manifest import input_record, refuse_copies

STAGE = "convert"


@dataclass(frozen=True)
class InputFile:
    """An input file; ``number`` is its place among all of the analysis."""

    sample: str
    path: str
    number: int


@dataclass(frozen=True)
class ConvertJob:
    """Input files to convert into one shard, which has the path ``stem`` without a suffix.

    ``stored`` is what parts hold of them, in a merge; a file that is in none is lost.
    """

    analysis: Analysis
    files: tuple[InputFile, ...]
    stem: Path
    skip_bad_files: bool
    stored: tuple[StoredFile | None, ...] = ()

    @property
    def key(self) -> str:
        """What the shard is made from, but for the content of the files."""
        layout = format_of(self.analysis, dataset_info(self.analysis)).layout
        made_from = [self.analysis.dataset_part(), [astuple(file) for file in self.files]]
        return fingerprint([*made_from, layout] if layout else made_from)


def convert(
    analysis: Analysis,
    output: str | Path,
    *,
    jobs: int = 1,
    skip_bad_files: bool = False,
    force: bool = False,
    part: str | None = None,
    parts: Path | None = None,
) -> Manifest:
    """Convert the samples of an analysis into a dataset.

    Parameters
    ----------
    analysis
        The analysis file.
    output
        The dataset's directory. An interrupted conversion goes on where it was.
    jobs
        Number of processes; each works on one shard at a time.
    skip_bad_files
        Count files that cannot be used as lost, with the reason, instead of stopping at the first.
    force
        Replace a finished dataset of another configuration.
    part
        Only these files, as ``sample:first-last``: makes a part, which is no dataset.
    parts
        A folder of parts, of which the dataset is made; then no input is read.

    Returns
    -------
    Manifest
        Of the finished dataset.

    Raises
    ------
    UserError, DataError
        See :mod:`nanoforge.errors`; nothing that was there before is changed then.
    """
    output = Path(output)
    files = {name: sample_files(analysis, name) for name in analysis.samples}
    share = None if part is None else Part.parse(part, {name: len(paths) for name, paths in files.items()})
    chosen = _numbered(files)
    if share is not None:
        chosen = [file for file in chosen if file.sample == share.sample][share.first : share.last + 1]
    request = Request(
        STAGE, output, analysis.dataset_part(), analysis.settings(STAGE), [file.path for file in chosen],
        share, force, accept_lost=skip_bad_files,
    )  # fmt: skip
    finished = request.finished()
    if finished is not None:
        return finished
    check_weights(analysis)

    def work(folder: Path) -> Outcome:
        if parts is not None:
            plan = _merge_plan(analysis, files, folder, parts, skip_bad_files, jobs)
            return _dataset(analysis, plan, run_jobs(merge_files, plan, jobs, "merging parts"), folder)
        plan = _plan(analysis, chosen, folder, skip_bad_files)
        indices = run_jobs(convert_files, plan, jobs, "converting files")
        return (_dataset if share is None else _shards)(analysis, plan, indices, folder)

    return request.make(work)


def _dataset(analysis: Analysis, plan: Sequence[ConvertJob], indices: Sequence[ShardIndex], folder: Path) -> Outcome:
    """Make the dataset of its finished shards."""
    info = dataset_info(analysis)
    records = [record for index in indices for record in index.records]
    accounting = Accounting.total(r.accounting for r in records)
    check(analysis, info, records, accounting)
    scale = dict(zip((str(r.source.sample) for r in records), scales(analysis, records)))
    shards = [WrittenShard(job.stem, index) for job, index in zip(plan, indices) if any(r.rows for r in index.records)]
    repeats = count_repeats([part for job, index in zip(plan, indices) for part in _hashes(job, index)], folder)
    factors = [scale[name] for name in analysis.samples]
    outputs, details = assemble(folder, analysis, info, shards, factors, format_of(analysis, info))
    details = {
        "dataset": info.as_dict(),
        **details,
        "unknown_targets": unknown_targets(info, records),
        "notices": find_notices(analysis, records, repeats),
        "repeats": asdict(repeats),
        "sample_flows": {name: flow.as_dict() for name, flow in sample_flows(analysis, records, scale).items()},
    }
    return _outcome(analysis, records, accounting.without_weights(), outputs, details, _checksums(shards))


def _shards(analysis: Analysis, plan: Sequence[ConvertJob], indices: Sequence[ShardIndex], folder: Path) -> Outcome:
    """Leave the shards of a part as they are: they are no dataset."""
    records = [record for index in indices for record in index.records]
    refuse_copies(r.source for r in records)
    outputs = dict.fromkeys(f"{SHARDS}/{name}" for job, index in zip(plan, indices) for name in index.names(job.stem))
    remove_scraps(folder, outputs)
    accounting = Accounting.total(r.accounting for r in records)
    return _outcome(analysis, records, accounting.without_weights(), outputs)


def _hashes(job: ConvertJob, index: ShardIndex) -> Iterator[EventHashes]:
    """Say where the hashes of the events of a shard are: beside it, or where parts hold them."""
    first = 0
    for record, part in zip(index.records, job.stored):
        stem, start = (job.stem, first) if part is None else (part.stem, part.first)
        yield event_hashes(record, events_path(stem), start)
        first += record.hashed


def _checksums(shards: Sequence[WrittenShard]) -> dict[str, str]:
    """Return the checksums of the shards' own files, as they were written."""
    return {f"{SHARDS}/{file.path}": str(file.adler32) for shard in shards for file in shard.index.files}


def _numbered(files: Mapping[str, Sequence[str]]) -> list[InputFile]:
    pairs = [(sample, path) for sample, paths in files.items() for path in paths]
    return [InputFile(sample, path, number) for number, (sample, path) in enumerate(pairs)]


def _plan(
    analysis: Analysis,
    files: Sequence[InputFile],
    work: Path,
    skip_bad_files: bool,
    stored: Sequence[StoredFile | None] | None = None,
) -> list[ConvertJob]:
    """Divide files into shards; how many processes there are makes no difference."""
    (work / SHARDS).mkdir(exist_ok=True)
    stored = stored or [None] * len(files)
    sources = [input_record(f.path) if s is None else s.record.source for f, s in zip(files, stored)]
    return [
        ConvertJob(
            analysis,
            tuple(files[group.start : group.stop]),
            work / SHARDS / f"{i:02d}",
            skip_bad_files,
            tuple(stored[group.start : group.stop]),
        )
        for i, group in enumerate(shard_groups([source.size for source in sources]))
    ]


def _outcome(
    analysis: Analysis,
    records: Sequence[ShardRecord],
    accounting: Accounting,
    outputs: Mapping[str, int | None],
    details: Mapping[str, Any] = MappingProxyType({}),
    checksums: Mapping[str, str] = MappingProxyType({}),
) -> Outcome:
    config, sources = analysis.model_dump(mode="json"), [record.source for record in records]
    return Outcome(config, sources, outputs, accounting, details, checksums, analysis.split.seed)


def _merge_plan(
    analysis: Analysis, files: Mapping[str, Sequence[str]], work: Path, parts: Path, skip_bad_files: bool, jobs: int
) -> list[ConvertJob]:
    """Divide files into the shards that one conversion of all would make, to be filled from those of parts."""
    units: dict[str | None, int] = {name: len(paths) for name, paths in files.items()}
    stored: dict[str, list[StoredFile | None]] = {name: [None] * len(paths) for name, paths in files.items()}
    finished_parts = gather(parts, None, STAGE, analysis.dataset_part(), units, skip_bad_files, jobs)
    for part, folder, manifest in finished_parts.parts:
        stems = [(folder / o.path).with_suffix("") for o in manifest.outputs if o.path.endswith(".json")]
        of_parts = [file for stem in stems for file in stored_files(stem)]
        stored[str(part.sample)][part.first : part.last + 1] = of_parts
    all_stored = [file for name in files for file in stored[name]]
    return _plan(analysis, _numbered(files), work, skip_bad_files, all_stored)


# -- one shard --------------------------------------------------------------------------------------------------------


def convert_files(job: ConvertJob, report: Report) -> ShardIndex:
    """Convert neighbouring input files into their shard, unless a finished one is there already.

    ``report`` is called with the share of the shard that was done since the last call.
    """
    index = _finished(job)
    if index is not None and all(r.source.unchanged() and not r.accounting.lost for r in index.records):
        report(1)
        return index
    broken: dict[int, ShardRecord] = {}
    index = None
    while index is None:
        index = _write(job, broken, report)
    index.write(job.stem)
    return index


def _finished(job: ConvertJob) -> ShardIndex | None:
    """Return the index of a shard that an interrupted run made of the same files, if it is as it was written."""
    index = ShardIndex.read(job.stem)
    return index if index is not None and index.key == job.key and index.verify(job.stem) else None


def _write(job: ConvertJob, broken: dict[int, ShardRecord], report: Report) -> ShardIndex | None:
    """Write the shard without the broken files; None where one more broke in the middle of its rows."""
    records: list[ShardRecord] = []
    complete = False
    with EventLog(events_path(job.stem)) as log:
        shard = _Shard(job, log, lambda done: report(done / len(job.files)))
        try:
            for file in job.files:
                record = broken.get(file.number)
                if record is None:
                    record = _convert_file(shard, file)
                if record.accounting.lost and record.blocks:
                    broken[file.number] = replace(record, blocks=[])
                    return None
                records.append(record)
            complete = any(record.rows for record in records)
        finally:
            stored = shard.writer.close(complete=complete)
        if complete:
            stored.append(log.finish())
    return ShardIndex(job.key, stored, records)


class _Shard:
    """What serves all files of a shard."""

    def __init__(self, job: ConvertJob, log: EventLog, report: Report) -> None:
        self.job, self.log, self.report = job, log, report
        self.builders = TableBuilders(job.analysis, STAGE, reuse_buffers=True)
        layout = format_of(job.analysis, dataset_info(job.analysis))
        self.lay_out, self.writer = layout.lay_out, layout.start(job.stem)
        self.read: list[ShardRecord] = []
        """Of the first file with events, to which all later ones are compared."""


def _convert_file(shard: _Shard, file: InputFile) -> ShardRecord:
    """Append the rows of a file to its shard; the record of a lost one lists blocks if it broke after some."""
    job = shard.job
    entries: int | None = None
    blocks: list[list[int]] = []
    try:
        with reading(job.analysis, file.path, file.sample) as (opened, source):
            entries = opened.entries
            record = ShardRecord(source)
            blocks = record.blocks
            rows = FileRows(shard.builders, file.sample, file.number, opened)
            shard.writer.begin(file.path, file.sample)
            for block in _reported(rows.blocks(record, log=shard.log), opened, record, shard.report):
                if not blocks:
                    check_identity(job.analysis, [*shard.read, record])
                blocks.append(np.diff(block.bounds).tolist())
                shard.writer.append(shard.lay_out(block))
        if not shard.read and record.accounting.events.read:
            shard.read.append(record)
        return record
    except FileError as error:
        if not job.skip_bad_files:
            raise
        shard.report(1)
        lost = Accounting.of_lost(file.path, error.reason, entries)
        return ShardRecord(input_record(file.path, entries, sample=file.sample), accounting=lost, blocks=blocks)


def _reported(
    blocks: Iterator[EventBlock], file: EventFile, record: ShardRecord, report: Report
) -> Iterator[EventBlock]:
    """Report the share of the file that was done with every block."""
    seen = 0
    for block in blocks:
        yield block
        read = record.accounting.events.read
        report((read - seen) / file.entries if file.entries else 0)
        seen = read
    if not file.entries:
        report(1)


def merge_files(job: ConvertJob, report: Report) -> ShardIndex:
    """Fill a shard with what parts hold of its input files, unless a finished one is there already."""
    records = [_lost(file) if part is None else part.record for file, part in zip(job.files, job.stored)]
    index = _finished(job)
    if index is None or [r.source for r in index.records] != [r.source for r in records]:
        complete = False
        layout = format_of(job.analysis, dataset_info(job.analysis))
        writer = layout.start(job.stem)
        try:
            copy_rows([part for part in job.stored if part is not None and part.record.rows], layout, writer)
            complete = any(record.rows for record in records)
        finally:
            stored = writer.close(complete=complete)
        index = ShardIndex(job.key, stored, records)
        index.write(job.stem)
    report(1)
    return index


def _lost(file: InputFile) -> ShardRecord:
    """Book a file that is in no part."""
    lost = Accounting()
    lost.lose(unfinished(file.path))
    return ShardRecord(input_record(file.path, sample=file.sample), accounting=lost)
