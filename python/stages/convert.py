"""Convert tables of events into training data, file by file, in parallel and resumably."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..config.schema import Analysis
from ..console import say, show_accounting
from ..dataset.assemble import SHARDS, Part, assemble
from ..dataset.blocks import FileRows
from ..dataset.info import SPLITS
from ..dataset.shards import ShardRecord, open_shard, shard_size
from ..dataset.table import dataset_info
from ..dataset.totals import check, check_weights, scales
from ..errors import FileError
from ..events.files import sample_files
from ..events.readers import EventFile, open_events
from ..parallel import Report, run_jobs
from ..provenance import Accounting, Manifest, fingerprint, staged_output
from ..provenance.manifest import input_record
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


def convert(
    analysis: Analysis, output: Path, jobs: int = 1, skip_bad_files: bool = False, force: bool = False
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

    Returns
    -------
    Manifest
        Of the finished dataset.

    Raises
    ------
    UserError, DataError
        See :mod:`nanoforge.errors`; nothing that was there before is changed then.
    """
    files = [(name, path) for name, sample in analysis.samples.items() for path in sample_files(analysis, name)]
    config = analysis.model_dump(mode="json")
    previous = up_to_date(output, STAGE, analysis.dataset_part(), [path for _, path in files])
    if previous is not None and (skip_bad_files or not previous.lost_files):
        say(f"{output} is up to date")
        return previous
    info = dataset_info(analysis)
    check_weights(analysis)
    with staged_output(output, analysis.dataset_part(), force) as work:
        (work / SHARDS).mkdir(exist_ok=True)
        plan = [
            Job(analysis, sample, path, i, work / SHARDS / f"{sample}-{i:05d}", skip_bad_files)
            for i, (sample, path) in enumerate(files)
        ]
        records = run_jobs(convert_file, plan, jobs, "converting files")
        accounting = Accounting.total(r.accounting for r in records)
        check(analysis, info, records, accounting)
        parts = [
            Part(job.stem, record, scale)
            for job, record, scale in zip(plan, records, scales(analysis, records))
            if record.rows
        ]
        outputs = assemble(work, analysis, info, parts)
        manifest = Manifest(STAGE, config, [r.source for r in records], accounting, seed=analysis.split.seed)
        manifest.details = {
            "dataset": info.as_dict(),
            "key": fingerprint(analysis.dataset_part()),
            "rows": {split: sum(p.record.rows[split] for p in parts) for split in SPLITS},
        }
        manifest.write(work, outputs)
    show_accounting(f"convert: {output}", accounting)
    return manifest


# -- one file ---------------------------------------------------------------------------------------------------------


def convert_file(job: Job, report: Report) -> ShardRecord:
    """Convert one input file into its shard, unless a finished one is there already.

    ``report`` is called with the share of the file that was done since the last call.
    """
    sidecar = job.stem.with_suffix(".json")
    entries = None
    try:
        with open_events(job.path, job.analysis.tree) as file:
            entries = file.entries
            source = input_record(job.path, file.entries, file.uuid, job.sample)
            key = fingerprint([job.analysis.dataset_part(), job.sample, job.number, source])
            known = ShardRecord.read(sidecar)
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
        return ShardRecord("", input_record(job.path, entries, sample=job.sample), accounting=lost)
    record.size = shard_size(job.stem)
    record.write(sidecar)
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
