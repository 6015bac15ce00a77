"""Convert tables of events into training data, file by file, in parallel and resumably."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config.schema import Analysis
from ..console import say, show_accounting
from ..dataset.assemble import SHARDS, Part, assemble
from ..dataset.blocks import FileRows
from ..dataset.info import SPLITS, DatasetInfo
from ..dataset.shards import ShardRecord, open_shard, shard_size
from ..dataset.table import dataset_info
from ..errors import DataError, FileError, UserError
from ..events.expressions import parse
from ..events.files import sample_files
from ..events.readers import EventFile, open_events
from ..parallel import Report, run_jobs
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
    _check_weights(analysis)
    with staged_output(output, analysis.dataset_part(), force) as work:
        (work / SHARDS).mkdir(exist_ok=True)
        plan = [
            Job(analysis, sample, path, i, work / SHARDS / f"{sample}-{i:05d}", skip_bad_files)
            for i, (sample, path) in enumerate(files)
        ]
        records = run_jobs(convert_file, plan, jobs, "converting files")
        accounting = Accounting.total(r.accounting for r in records)
        _check(analysis, info, plan, records, accounting)
        parts = [
            Part(job.stem, record, scale)
            for job, record, scale in zip(plan, records, _scales(analysis, plan, records))
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


# -- all files --------------------------------------------------------------------------------------------------------


def _scales(analysis: Analysis, plan: Sequence[Job], records: Sequence[ShardRecord]) -> list[float]:
    """Return for every file the factor xsec * lumi / (sum of weights) on its weights; 1 without a cross section."""
    factors: dict[str, float] = {}
    for name, sample in analysis.samples.items():
        factors[name] = 1.0
        if sample.xsec is not None:
            own = [r for job, r in zip(plan, records) if job.sample == name and r.rows]
            factors[name] = sample.xsec * analysis.lumi / _sum_of_weights(analysis, name, own)
    return [factors[job.sample] for job in plan]


def _check_weights(analysis: Analysis) -> None:
    """Refuse weights that do not go with the sum of generator weights that they are divided by."""
    for name, sample in analysis.samples.items():
        if sample.xsec is not None and sample.sumw is None and not _has_generator_weight(analysis, name):
            raise UserError(
                f"samples.{name}: 'xsec' is divided by the sum of genWeight, which the weight does not contain: set "
                f"'weight: genWeight', or give the sum that belongs to your weight, samples.{name}.sumw"
            )


def _has_generator_weight(analysis: Analysis, name: str) -> bool:
    """Whether the weight of a sample is made from the generator's, also through defined columns."""
    texts = [analysis.samples[name].weight or analysis.weight]
    seen: set[str] = set()
    while texts:
        for column in parse(texts.pop()).names - seen:
            seen.add(column)
            texts += [analysis.define[column]] if column in analysis.define else []
    return any(column.lower() in ("genweight", "generator_weight") for column in seen)


def _sum_of_weights(analysis: Analysis, name: str, records: Sequence[ShardRecord]) -> float:
    given = analysis.samples[name].sumw
    if isinstance(given, float):
        total = given
    elif given == "events":
        total = sum(r.sum_of_weights for r in records)
    else:
        without = next((r.source.path for r in records if r.gen_sum_of_weights is None), None)
        if without is not None:
            raise UserError(
                f"samples.{name}: {without} has no Runs tree with genEventSumw to normalise to 'xsec': give the sum of "
                f"generator weights, samples.{name}.sumw, or 'sumw: events' if nobody skimmed the files"
            )
        total = sum(r.gen_sum_of_weights or 0.0 for r in records)
    if not total > 0:
        raise DataError(f"samples.{name}: the sum of generator weights is {total:g}: the sample cannot be normalised")
    return total


def _check(
    analysis: Analysis, info: DatasetInfo, plan: Sequence[Job], records: Sequence[ShardRecord], books: Accounting
) -> None:
    """Refuse results that no training should silently start from."""
    refuse_copies([r.source for r in records])
    for job, record in zip(plan, records):
        if record.rows and not record.accounting.events.read:
            say(f"note: {job.path} holds no events")
    for name in analysis.samples:
        own = [r for job, r in zip(plan, records) if job.sample == name]
        if all(r.accounting.lost for r in own):
            reason = own[0].accounting.lost[0]
            raise DataError(
                f"samples.{name}: none of its {len(own)} file(s) can be used: {reason.file}: {reason.reason}"
            )
        if not any(r.accounting.events.read for r in own):
            raise DataError(f"samples.{name}: its {len(own)} file(s) hold no events")
    ledger = books.rows or books.events
    if not ledger.used:
        worst = max(ledger.rejected, key=lambda cut: ledger.rejected[cut], default=None)
        hint = f"; select.{worst} rejects most of them" if worst else ""
        raise DataError(f"none of the {ledger.read} {ledger.unit} passes the cuts{hint}")
    totals = np.sum([r.class_rows for r in records if r.rows], axis=0)
    empty = [name for name, total in zip(info.classes, totals) if not total]
    if empty:
        raise UserError(
            f"target.classes.{empty[0]}: no training row is in this class: correct its condition "
            f"{analysis.classes[empty[0]]!r}, the cuts, or the samples"
        )
