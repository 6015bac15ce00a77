"""Convert tables of events into training data, file by file, in parallel and resumably."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config.schema import Analysis
from ..console import say, show_accounting
from ..dataset.assemble import SHARDS, Shard, assemble
from ..dataset.blocks import FileRows
from ..dataset.info import SPLITS
from ..dataset.notices import find_notices
from ..dataset.shards import ShardRecord, open_shard, shard_files, shard_size
from ..dataset.table import dataset_info
from ..dataset.totals import check, check_weights, scales, unknown_targets
from ..errors import FileError
from ..events.files import sample_files
from ..events.readers import EventFile, open_events
from ..parallel import Report, run_jobs
from ..parts import Part, gather, part_stage, unfinished
from ..provenance import Accounting, Manifest, fingerprint, staged_output
from ..provenance.manifest import input_record, refuse_copies
from ..provenance.output import up_to_date

STAGE = "convert"


@dataclass(frozen=True)
class Job:
    """One input file to convert; ``number`` is its place among all input files."""

    analysis: Analysis
    sample: str
    path: str
    number: int
    stem: Path
    skip_bad_files: bool

    @property
    def sidecar(self) -> Path:
        """Where the record of the shard is kept."""
        return self.stem.with_suffix(".json")


def convert(
    analysis: Analysis,
    output: Path,
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
        Number of processes; each works on one file at a time.
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
    files = {name: sample_files(analysis, name) for name in analysis.samples}
    if part is not None:
        return _convert_part(analysis, files, part, output, jobs, skip_bad_files, force)
    paths = [path for of_sample in files.values() for path in of_sample]
    previous = up_to_date(output, STAGE, analysis.dataset_part(), paths)
    if previous is not None and (skip_bad_files or not previous.lost_files):
        say(f"{output} is up to date")
        return previous
    info = dataset_info(analysis)
    check_weights(analysis)
    with staged_output(output, analysis.dataset_part(), force, analysis.settings(STAGE), paths) as work:
        plan = _plan(analysis, files, work, skip_bad_files)
        if parts is None:
            records = run_jobs(convert_file, plan, jobs, "converting files")
        else:
            units: dict[str | None, int] = {name: len(paths) for name, paths in files.items()}
            gather(parts, work, STAGE, analysis.dataset_part(), units, skip_bad_files, jobs)
            records = [_taken(job) for job in plan]
        accounting = Accounting.total(r.accounting for r in records)
        check(analysis, info, records, accounting)
        shards = [
            Shard(job.stem, record, scale)
            for job, record, scale in zip(plan, records, scales(analysis, records))
            if record.rows
        ]
        outputs = assemble(work, analysis, info, shards)
        manifest = _manifest(STAGE, analysis, records, accounting)
        manifest.details = {
            "dataset": info.as_dict(),
            "key": fingerprint(analysis.dataset_part()),
            "rows": {split: sum(s.record.rows[split] for s in shards) for split in SPLITS},
            "unknown_targets": unknown_targets(info, records),
            "notices": find_notices(analysis, records),
        }
        manifest.write(work, outputs)
    show_accounting(f"convert: {output}", accounting)
    return manifest


def _plan(analysis: Analysis, files: Mapping[str, Sequence[str]], work: Path, skip_bad_files: bool) -> list[Job]:
    (work / SHARDS).mkdir(exist_ok=True)
    pairs = [(sample, path) for sample, paths in files.items() for path in paths]
    return [
        Job(analysis, sample, path, i, work / SHARDS / f"{sample}-{i:05d}", skip_bad_files)
        for i, (sample, path) in enumerate(pairs)
    ]


def _manifest(stage: str, analysis: Analysis, records: Sequence[ShardRecord], accounting: Accounting) -> Manifest:
    config = analysis.model_dump(mode="json")
    return Manifest(stage, config, [r.source for r in records], accounting, seed=analysis.split.seed)


# -- parts ------------------------------------------------------------------------------------------------------------


def _convert_part(
    analysis: Analysis,
    files: Mapping[str, Sequence[str]],
    text: str,
    output: Path,
    jobs: int,
    skip_bad_files: bool,
    force: bool,
) -> Manifest:
    """Make the shards of some files, and no dataset."""
    part = Part.parse(text, {name: len(paths) for name, paths in files.items()})
    own = files[str(part.sample)][part.first : part.last + 1]
    key, stage = part.key(analysis.dataset_part()), part_stage(STAGE)
    previous = up_to_date(output, stage, key, own)
    if previous is not None and (skip_bad_files or not previous.lost_files):
        say(f"{output} is up to date")
        return previous
    check_weights(analysis)
    with staged_output(output, key, force, analysis.settings(STAGE), own) as work:
        plan = [job for job in _plan(analysis, files, work, skip_bad_files) if job.sample == part.sample]
        plan = plan[part.first : part.last + 1]
        records = run_jobs(convert_file, plan, jobs, "converting files")
        refuse_copies(r.source for r in records)
        manifest = _manifest(stage, analysis, records, Accounting.total(r.accounting for r in records))
        manifest.details = part.details(analysis.dataset_part())
        names = [path.name for job in plan for path in (*shard_files(job.stem), job.sidecar)]
        manifest.write(work, dict.fromkeys(f"{SHARDS}/{name}" for name in names))
    if manifest.accounting is not None:
        show_accounting(f"convert: {part} in {output}", manifest.accounting)
    return manifest


def _taken(job: Job) -> ShardRecord:
    """Return the record of a shard that came with a part."""
    record = ShardRecord.read(job.sidecar)
    if record is None:
        lost = Accounting()
        lost.lose(unfinished(job.path))
        return ShardRecord("", input_record(job.path, sample=job.sample), accounting=lost)
    return record


# -- one file ---------------------------------------------------------------------------------------------------------


def convert_file(job: Job, report: Report) -> ShardRecord:
    """Convert one input file into its shard, unless a finished one is there already.

    ``report`` is called with the share of the file that was done since the last call.
    """
    entries = None
    try:
        with open_events(job.path, job.analysis.tree, job.analysis.redirectors) as file:
            entries = file.entries
            source = input_record(job.path, file.entries, file.uuid, job.sample)
            key = fingerprint([job.analysis.dataset_part(), job.sample, job.number, source])
            known = ShardRecord.read(job.sidecar)
            if known is not None and known.key == key and known.size == shard_size(job.stem):
                report(1)
                return known
            rows = FileRows(job.analysis, job.sample, job.number, file)
            record = ShardRecord(key, source)
            _write(job, file, rows, record, report)
    except FileError as error:
        if not job.skip_bad_files:
            raise
        report(1)
        lost = Accounting.of_lost(job.path, error.reason, entries)
        record = ShardRecord("", input_record(job.path, entries, sample=job.sample), accounting=lost)
    record.size = shard_size(job.stem)
    record.write(job.sidecar)
    return record


def _write(job: Job, file: EventFile, rows: FileRows, record: ShardRecord, report: Report) -> None:
    """Write the shard of a file; a shard that fails in the middle is removed."""
    shard = open_shard(job.stem, job.analysis, dataset_info(job.analysis))
    complete, seen = False, 0
    try:
        for block in rows.blocks(record):
            shard.append(block)
            read = record.accounting.events.read
            report((read - seen) / file.entries if file.entries else 0)
            seen = read
        complete = True
    finally:
        shard.close(complete)
    if not file.entries:
        report(1)
