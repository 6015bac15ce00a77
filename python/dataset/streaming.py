"""Training on the input files themselves, without a conversion: the rows are made while they are needed.

One pass over the files, the survey, finds what a conversion would record. After it a slab is a range of entries of a
file, as the reader cut them: any of them can be read at any time, and gives the very rows that a conversion writes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config.moved import without_folders
from ..config.schema import Analysis
from ..console import progress
from ..errors import DataError, FileError
from ..events.files import sample_files
from ..events.open import open_for, reading
from ..events.reader import EventFile
from ..provenance import Accounting, FileRecord, fingerprint, make_room
from ..provenance.manifest import input_record, sealed, unsealed, write_atomically
from .batch import Batch
from .cut_flow import sample_flows
from .event_block import EventBlock
from .file_rows import FileRows
from .info import SPLITS
from .notices import find_notices
from .repeats import EventLog, Repeats, count_repeats, event_hashes, events_path, is_whole
from .resources import Handles, threaded
from .shards import NO_CATEGORIES, ShardRecord
from .slabs import Read, Slab
from .source import OPEN_FILES, TrainingData
from .statistics import Truth, merge, normalisation
from .table import TableBuilders, dataset_info
from .totals import check, check_weights, scales

FOLDER = "data"
REPEATS = "repeats.json"
IDLE_BYTES = 1 << 26
_TRUTH = [own.name for own in fields(Truth)]


@dataclass
class Survey(ShardRecord):
    """What the survey finds in one file.

    Attributes
    ----------
    key
        What it was found with: another key, and the file is surveyed again.
    slabs
        Of every slab the first entry, the one after the last, and the number of rows per split and fold, (3, K). A text
        file has but one, with None for the end: it can only be read from its beginning.
    truth
        Fields of the file's :class:`.statistics.Truth`, with weights that are not yet normalised.
    """

    key: str = ""
    slabs: list[list[Any]] = field(default_factory=list)
    truth: dict[str, list[Any]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the finding as JSON, atomically, whatever stands there."""
        make_room(path)
        write_atomically(path, sealed(self.as_dict()))

    @classmethod
    def read(cls, path: Path) -> Survey | None:
        """Read a finding; None when there is none, or none that is whole."""
        try:
            return cls.from_dict(unsealed(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


class _IgnoredRecord(ShardRecord):
    """For rows that were booked by the survey."""

    def book(self, block: EventBlock, categories: Mapping[str, Mapping[int, Sequence[int]]] = NO_CATEGORIES) -> None:
        """Book nothing."""


@dataclass(frozen=True)
class SurveyJob:
    """One input file to survey; ``number`` is its place among all input files, ``part`` a digest of the analysis.

    The hashes of its events are needed unless repeated events were ``counted`` before.
    """

    builders: TableBuilders
    part: str
    sample: str
    path: str
    number: int
    folder: Path
    skip_bad_files: bool
    counted: bool

    @property
    def sidecar(self) -> Path:
        """Where the finding is kept."""
        return self.folder / f"{self.sample}-{self.number:05d}.json"


class StreamedData(TrainingData):
    """The rows of the samples of an analysis; :meth:`prepare` comes before everything else.

    Parameters
    ----------
    analysis
        The analysis file.
    in_memory, workers
        See :class:`.source.TrainingData`.
    skip_bad_files
        Count unusable files as lost, instead of stopping at the first.
    """

    def __init__(self, analysis: Analysis, in_memory: str, workers: int | None, skip_bad_files: bool) -> None:
        super().__init__(in_memory, workers)
        self._analysis = analysis
        self._builders = TableBuilders(analysis, "convert")
        self._skip_bad_files = skip_bad_files
        self.name = f"samples of {analysis.name}"
        self.info = dataset_info(analysis)
        check_weights(analysis)
        self.sources = [
            input_record(path, sample=name) for name in analysis.samples for path in sample_files(analysis, name)
        ]
        part = analysis.dataset_part()
        self.config = analysis.model_dump(mode="json")
        self.key = fingerprint(part)
        files = [(s.sample, Path(s.path).name, s.size, s.modified) for s in self.sources]
        self.identity = fingerprint([without_folders(part), files])  # the same where a project has moved to
        self._records: list[Survey] = []
        self._scales: list[float] = []

    def prepare(self, folder: Path) -> list[str]:
        """Survey the files, unless ``folder/data`` holds what an earlier survey found in them."""
        (folder / FOLDER).mkdir(exist_ok=True)
        sidecars = folder / FOLDER
        self._records, repeats = self._surveyed(sidecars)
        self.accounting = Accounting.total(r.accounting for r in self._records).without_weights()
        check(self._analysis, self.info, self._records, self.accounting)
        self.notices = find_notices(self._analysis, self._records, repeats)
        self._scales = scales(self._analysis, self._records)
        factors = {str(r.source.sample): scale for r, scale in zip(self._records, self._scales)}
        self.sample_flows = sample_flows(self._analysis, self._records, factors)
        self.sources = [r.source for r in self._records]
        return [f"{FOLDER}/{name}" for name in (*(job.sidecar.name for job in self._jobs(sidecars)), REPEATS)]

    def _surveyed(self, folder: Path) -> tuple[list[Survey], Repeats]:
        """Survey all files and count repeated events, whose hashes are needed no more once that is done."""
        counted = (folder / REPEATS).exists()
        records = self._survey(folder, counted)
        key = fingerprint([(r.key, asdict(r.source), r.hashed) for r in records])
        paths = [events_path(job.sidecar) for job in self._jobs(folder)]
        repeats = Repeats.read(folder / REPEATS, key)
        if repeats is None:
            if counted:  # of other files: the hashes of those that stayed are made again
                records = self._survey(folder, counted=False)
            repeats = count_repeats([event_hashes(record, path) for record, path in zip(records, paths)], folder)
            repeats.write(folder / REPEATS, key)
        for path in paths:  # also of a file that was surveyed again, since its record was damaged
            path.unlink(missing_ok=True)
        return records, repeats

    def _jobs(self, folder: Path, counted: bool = True) -> list[SurveyJob]:
        return [
            SurveyJob(self._builders, self.key, str(s.sample), s.path, number, folder, self._skip_bad_files, counted)
            for number, s in enumerate(self.sources)
        ]

    def _survey(self, folder: Path, counted: bool) -> list[Survey]:
        jobs = self._jobs(folder, counted)
        stop = threading.Event()
        with progress("reading the files once", len(jobs)) as bar:

            def report(share: float) -> None:
                if stop.is_set():
                    raise DataError("interrupted")
                bar.advance(share)

            return list(threaded(lambda job: survey_file(job, report), jobs, self._workers, stop))

    def normalisation(self, fold: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return (center, scale) per input, each (F,) f4, from the rows that model ``fold`` trains on."""
        result = normalisation(self.info.inputs, [r.moments for r in self._records if r.rows])
        if self.info.folds == 1:
            return {name: (values["center"], values["scale"]) for name, values in result.items()}
        return {name: (values["fold_center"][fold], values["fold_scale"][fold]) for name, values in result.items()}

    def _slabs(self) -> list[Slab]:
        samples = list(self._analysis.samples)
        return [
            Slab(samples.index(str(record.source.sample)), number, np.array(counts), (start, stop))
            for number, record in enumerate(self._records)
            for start, stop, counts in record.slabs
        ]

    def _truth(self) -> Truth:
        total = Truth.zero(self.info.folds, len(self.info.classes), len(self.info.regression))
        for record, scale in zip(self._records, self._scales):
            if record.rows:
                powers = np.array([1, scale, scale**2]).reshape(3, 1, 1)
                total.weights += powers * np.array(record.truth["weights"])
                total.moments = merge([total.moments, np.array(record.truth["moments"])])
        return total

    @contextmanager
    def _reading(self) -> Iterator[Read]:
        files: Handles[_OpenSource] = Handles(self._open, _OpenSource.close, self._open_files())
        keep = self._buffers_are_small()

        def read(slab: Slab, chosen: np.ndarray) -> Batch:
            source, scale = self.sources[slab.file], np.float32(self._scales[slab.file])
            with files.use(slab.file) as opened:
                rows = opened.rows or FileRows(self._builders, str(source.sample), slab.file, opened.file)
                within = None if slab.location[1] is None else slab.location
                blocks = rows.blocks(_IgnoredRecord(source), within)
                batch = Batch.join([_batch(block, chosen, scale, self._loaded_columns) for block in blocks])
                opened.rows = rows if keep else None
            if len(batch) != (slab.counts * chosen).sum():
                raise _changed(source)
            return batch

        try:
            yield read
        finally:
            files.close()

    def _open_files(self) -> int:
        """Keep at least one file of each sample open."""
        return max(OPEN_FILES, len(self._analysis.samples))

    def _buffers_are_small(self) -> bool:
        """Whether all files that stay open may keep their buffers, three times the rows of their biggest slab."""
        entries = max((stop - start for r in self._records for start, stop, _ in r.slabs if stop), default=0)
        return 3 * entries * self._row_bytes() * self._open_files() <= IDLE_BYTES

    def _open(self, number: int) -> _OpenSource:
        source = self.sources[number]
        if not source.unchanged():
            raise _changed(source)
        file = open_for(self._analysis, source.path)
        if (file.entries, file.uuid) != (source.entries, source.uuid):
            file.close()
            raise _changed(source)
        return _OpenSource(file, source)


@dataclass
class _OpenSource:
    """An open file as it was found, and its rows where their buffers are kept between slabs."""

    file: EventFile
    source: FileRecord
    rows: FileRows | None = None

    def close(self) -> None:
        self.file.close()
        if not self.source.unchanged():
            raise _changed(self.source)


def survey_file(job: SurveyJob, report: Callable[[float], None]) -> Survey:
    """Count the rows of one file, and sum up what they hold, unless that was done before.

    ``report`` is called with the share of the file that was done since the last call.
    """
    analysis = job.builders.analysis
    key = fingerprint([job.part, job.sample, job.number, job.path, _TRUTH])
    previous = _known(job, key)
    if previous is not None:
        report(1)
        return previous
    entries = None
    try:
        with reading(analysis, job.path, job.sample) as (file, source):
            entries = file.entries
            record = Survey(source, key=key)
            _survey(job, file, record, report)
    except FileError as error:
        if not job.skip_bad_files:
            raise
        lost = Accounting.of_lost(job.path, error.reason, entries)
        record = Survey(input_record(job.path, entries, sample=job.sample), accounting=lost, key=key)
    record.write(job.sidecar)
    return record


def _known(job: SurveyJob, key: str) -> Survey | None:
    """Return an earlier finding, if the file is as it was."""
    survey = Survey.read(job.sidecar)
    if survey is None or survey.key != key or not survey.source.unchanged():
        return None
    if not job.counted and not survey.accounting.lost and not is_whole(events_path(job.sidecar), survey.hashed):
        return None
    return survey if job.skip_bad_files or not survey.accounting.lost else None


def _survey(job: SurveyJob, file: EventFile, record: Survey, report: Callable[[float], None]) -> None:
    analysis = job.builders.analysis
    folds = analysis.split.folds
    truth = Truth.zero(folds, len(analysis.classes), len(analysis.regression))
    seen = 0
    with EventLog(events_path(job.sidecar)) as log:
        for block in FileRows(job.builders, job.sample, job.number, file).blocks(record, log=log):
            read = record.accounting.events.read
            index = _side(block) * folds + block.fold
            counts = np.bincount(index, minlength=len(SPLITS) * folds).reshape(len(SPLITS), folds)
            record.slabs.append([seen, read, counts.tolist()])
            _book(truth, block)
            report((read - seen) / file.entries if file.entries else 0)
            seen = read
        log.finish()
    if file.entries is None:
        record.slabs = [[0, None, np.sum([counts for _, _, counts in record.slabs], axis=0).tolist()]]
    record.truth = {name: getattr(truth, name).tolist() for name in _TRUTH}


def _book(truth: Truth, block: EventBlock) -> None:
    """Book the training rows of a block."""
    training = slice(0, int(block.bounds[1]))
    label = None if block.label is None else block.label[training]
    targets = _targets(block)
    truth.book(label, None if targets is None else targets[training], block.weight[training], block.fold[training])


def _batch(block: EventBlock, chosen: np.ndarray, scale: np.float32, kept: Sequence[str]) -> Batch:
    """Copy the chosen rows of a block, whose inputs are overwritten by the next; their weights are normalised."""
    rows = np.flatnonzero(chosen[_side(block), block.fold])
    inputs: dict[str, torch.Tensor] = {}
    for name, values in block.inputs.items():
        features, valid = values if isinstance(values, tuple) else (values, None)
        inputs[name] = torch.from_numpy(np.take(features, rows, axis=0))
        if valid is not None:
            inputs[f"{name}_mask"] = torch.from_numpy(np.take(valid, rows, axis=0))
    targets = _targets(block)
    columns = [block.keep[name][rows].astype(np.float32) for name in kept]
    return Batch(
        inputs,
        None if block.label is None else torch.from_numpy(block.label[rows]),
        None if targets is None else torch.from_numpy(targets[rows]),
        torch.from_numpy(block.weight[rows] * scale),
        torch.from_numpy(np.stack(columns, axis=1)) if columns else None,
    )


def _side(block: EventBlock) -> np.ndarray:
    """Return the split of every row, (N,)."""
    return np.repeat(np.arange(len(SPLITS)), np.diff(block.bounds))


def _targets(block: EventBlock) -> np.ndarray | None:
    """Return the regression targets, (N, T); None where there are none."""
    return np.stack(list(block.targets.values()), axis=1) if block.targets else None


def _changed(source: FileRecord) -> DataError:
    return DataError(f"{source.path}: changed since its rows were counted: run the same command again")
