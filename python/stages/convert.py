"""Convert tables of events into training data, file by file, in parallel and resumably."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config.schema import Analysis
from ..console import say, show_accounting
from ..dataset import kernels
from ..dataset.assemble import SHARDS, Part, assemble
from ..dataset.identity import STORED, assign, event_hash
from ..dataset.info import SPLITS, DatasetInfo
from ..dataset.inputs import Rows, split_input
from ..dataset.layouts import Block
from ..dataset.shards import Hdf5Shard, ParquetShard, ShardRecord, open_shard, shard_size
from ..dataset.statistics import merge
from ..dataset.table import Table, TableBuilder, dataset_info
from ..errors import DataError, FileError, UserError
from ..events.columns import Chunk
from ..events.expressions import parse
from ..events.files import sample_files
from ..events.readers import EventFile, broken_file, open_events
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
            builder = TableBuilder(job.analysis, job.analysis.samples[job.sample], file, STAGE)
            record = ShardRecord(key, source)
            _fill(job, file, builder, record, report)
    except FileError as error:
        if not job.skip_bad_files:
            raise
        report(1)
        lost = Accounting.of_lost(job.path, error.reason, entries)
        return ShardRecord("", input_record(job.path, entries, sample=job.sample), accounting=lost)
    record.size = shard_size(job.stem)
    record.write(sidecar)
    return record


def _fill(job: Job, file: EventFile, builder: TableBuilder, record: ShardRecord, report: Report) -> None:
    """Write the shard of a file; a shard that fails in the middle is removed."""
    with broken_file(job.path, "the Runs tree cannot be read"):
        record.gen_sum_of_weights = file.gen_sum_of_weights()
    record.rows = dict.fromkeys(SPLITS, 0)
    record.class_rows = [0] * len(job.analysis.classes)
    shard = open_shard(job.stem, job.analysis, dataset_info(job.analysis))
    complete = False
    try:
        if not file.entries:
            _append(job, file, builder, record, shard, builder.empty_chunk())
        for chunk in file.chunks(builder.columns):
            _append(job, file, builder, record, shard, chunk)
            report(chunk.size / file.entries if file.entries else 0)
        complete = True
    finally:
        shard.close(complete)
    if not file.entries:
        report(1)


def _append(
    job: Job, file: EventFile, builder: TableBuilder, record: ShardRecord, shard: Hdf5Shard | ParquetShard, chunk: Chunk
) -> None:
    frame = builder.frame(chunk)
    weights = builder.weights(frame)
    record.sum_of_weights += float(weights.sum())
    rows = builder.select(frame, record.accounting)
    entries = chunk.start + rows.events
    identity = {n: v[rows.events] for n, v in builder.identity(frame).items()}
    hashes = event_hash(identity, file.uuid, entries, job.analysis.split.seed)
    split, fold = assign(hashes, job.analysis.split)
    order = np.argsort(split, kind="stable")
    bounds = np.searchsorted(split[order], np.arange(len(SPLITS) + 1))
    rows = Rows(rows.positions[order], rows.events[order])
    table = builder.table(frame, rows)
    identity = {n: v[order] for n, v in identity.items()}
    block = _block(job, table, weights[rows.events], fold[order], identity, entries[order])
    _count(record, block, bounds, job.analysis.split.folds)
    builder.mend(frame, rows, table)
    shard.append(block, bounds)


def _block(
    job: Job, table: Table, weight: np.ndarray, fold: np.ndarray, identity: dict[str, np.ndarray], entry: np.ndarray
) -> Block:
    rows = len(weight)
    sample = list(job.analysis.samples).index(job.sample)
    identity = {name: values.astype(STORED[name]) for name, values in identity.items()}
    origin = {"entry": entry, "sample": np.full(rows, sample, "u2"), "file": np.full(rows, job.number, "u4")}
    return Block(
        table.inputs, weight.astype(np.float32), fold, table.label, table.targets, {**identity, **origin}, table.keep
    )


def _count(record: ShardRecord, block: Block, bounds: np.ndarray, folds: int) -> None:
    """Book rows, classes and the moments of the training rows, which are the first ones."""
    for split, start, stop in zip(SPLITS, bounds[:-1], bounds[1:]):
        record.rows[split] += int(stop - start)
    training = slice(0, int(bounds[1]))
    if block.label is not None:
        counts = np.bincount(block.label[training], minlength=len(record.class_rows))
        record.class_rows = [int(a + b) for a, b in zip(record.class_rows, counts)]
    for name, values in block.inputs.items():
        features, valid = split_input(values)
        moments = kernels.moments(features[training], valid[training], block.fold[training], folds)
        known = record.moments.get(name)
        record.moments[name] = moments if known is None else merge([known, moments])


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
