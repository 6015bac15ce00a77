"""The distributions of files, filled in one pass: rows are made and scored by the code of ``predict``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..config.schema import Analysis
from ..dataset.inputs import ChosenRows
from ..dataset.table import TableBuilder
from ..distributions.reference import Distributions
from ..distributions.variable import RowValues
from ..errors import FileError, UserError, nearest
from ..events.expressions import Expression, parse
from ..events.frame import Frame
from ..events.open import reading
from ..events.reader import EventFile
from ..events.view import view
from ..parallel import Report
from ..provenance import Accounting, FileRecord
from ..provenance.manifest import input_record
from ..serving.scorer import Scorer
from ..training.trained import TrainedModel
from .periods import Key, Periods

REGIONS = "--regions"
_ERA = re.compile(r"(?:Run)?20[12]\d[A-Z](?:pre\w+|post\w+)?(?![A-Za-z0-9])")
BY = ("run", "lumi", "era", "file")
_UNIT_WEIGHT = "1"


@dataclass(frozen=True)
class MonitorJob:
    """One file to look at.

    Attributes
    ----------
    key
        Of the training.
    model, empty
        What scores, and the bins to fill.
    path
        The file.
    by
        What periods are: "run", "lumi", "era" or "file".
    weight
        An expression; None for that of the analysis where the file has its columns.
    regions
        Further distributions of the rows that a condition on scores and features chooses.
    sampled
        So many rows are kept, chosen at random.
    skip_bad_files
        Count unusable files as lost.
    """

    key: str
    model: TrainedModel
    empty: Distributions
    path: str
    by: str
    weight: str | None
    regions: tuple[str, ...]
    sampled: int
    skip_bad_files: bool


@dataclass
class MonitoredFile:
    """What a file holds.

    Attributes
    ----------
    source, accounting
        The file, and its events.
    periods
        The distributions, by run, say.
    regions
        The distributions of each region.
    sample
        Some rows.
    weight
        The expression that weighed them.
    data
        Whether the file has no generator weights.
    missing
        Why the model cannot read it: the branch that it has not.
    """

    source: FileRecord
    accounting: Accounting
    periods: Periods
    regions: list[Distributions] = field(default_factory=list)
    sample: RowSample = field(default_factory=lambda: RowSample(0))
    weight: str = _UNIT_WEIGHT
    data: bool = False
    missing: str | None = None


_scorers: dict[str, Scorer] = {}
"""Of the stage that this process works for: one file after the other uses the same models."""


def _scorer(job: MonitorJob) -> Scorer:
    if job.key not in _scorers:
        _scorers.clear()
        _scorers[job.key] = job.model.scorer()
    return _scorers[job.key]


def monitor_file(job: MonitorJob, report: Report) -> MonitoredFile:
    """Fill the distributions of a file."""
    analysis, entries = job.model.analysis, None
    periods = Periods(job.empty)
    try:
        with reading(analysis, job.path) as (opened, source):
            entries = opened.entries
            file = view(opened, analysis)
            regions = [job.empty.empty() for _ in job.regions]
            result = MonitoredFile(source, Accounting(), periods, regions, data="genWeight" not in file.branches)
            _fill(job, file, result, report)
            return result
    except FileError as error:
        if not job.skip_bad_files:
            raise
        report(1)
        lost = Accounting.of_lost(job.path, error.reason, entries)
        return MonitoredFile(input_record(job.path, entries), lost, periods)


def _fill(job: MonitorJob, file: EventFile, result: MonitoredFile, report: Report) -> None:
    scorer, analysis = _scorer(job), job.model.analysis
    result.weight = _weight(analysis, file) if job.weight is None else job.weight
    try:
        builder = scorer.builder(file, result.weight)
    except FileError as error:
        of_option = job.weight is not None and error.reason.startswith("weight: ")
        if file.entries and (of_option or error.exit_code != UserError.exit_code):
            raise
        if file.entries:  # NanoAOD without events has not the branches of its tables
            result.missing = error.reason
            result.accounting = Accounting.of_lost(job.path, error.reason, file.entries)
        report(1)
        return
    regions = [Region(text, analysis, scorer.outputs) for text in job.regions]
    result.sample = RowSample(job.sampled, int(file.uuid.replace("-", ""), 16) if file.uuid else 0)
    for chunk in file.chunks(builder.columns):
        frame = builder.frame(chunk)
        rows, values = scorer.rows(file, builder, frame, result.accounting)
        for key, chosen in _by_period(job.by, file, builder, frame, rows):
            result.periods.add(key, values if chosen is None else values.select(chosen))
        for region, distributions in zip(regions, result.regions):
            distributions.add(values.select(region.passed(values)))
        result.sample.add(values)
        report(chunk.size / file.entries if file.entries else 0)


def _weight(analysis: Analysis, file: EventFile) -> str:
    """Return the weight of the analysis where the file has its columns, as simulation has, and 1 for data."""
    names = parse(analysis.weight, "weight").names
    return analysis.weight if names <= {*file.branches, *analysis.define} else _UNIT_WEIGHT


def _by_period(
    by: str, file: EventFile, builder: TableBuilder, frame: Frame, rows: ChosenRows
) -> Iterator[tuple[Key, np.ndarray | None]]:
    """Yield the periods of the rows of a chunk, with the numbers of their rows; None for all."""
    identity = builder.identity(frame)
    name = file.path.rpartition("/")[2]
    if by in ("file", "era") or "run" not in identity:
        match = _ERA.search(file.path) if by == "era" else None
        yield (name if match is None else match[0],), None
        return
    names = ("run",) if by == "run" or "luminosityBlock" not in identity else ("run", "luminosityBlock")
    columns = np.stack([identity[n][rows.events].astype(np.int64) for n in names], axis=1)
    keys, index = np.unique(columns, axis=0, return_inverse=True)
    for number, key in enumerate(keys.tolist()):
        yield tuple(key), None if len(keys) == 1 else np.flatnonzero(index.reshape(-1) == number)


class RowSample:
    """A random subset of rows that come part by part: each is as likely as any other.

    Parameters
    ----------
    most
        So many rows are kept.
    seed
        Of what is random.
    """

    def __init__(self, most: int, seed: int = 0) -> None:
        self._most = most
        self._random = np.random.default_rng([3, seed])
        self._parts: list[tuple[np.ndarray, RowValues]] = []
        self._limit = 1.0

    def add(self, rows: RowValues) -> None:
        """Offer rows; every one draws a number, and the least are kept."""
        if self._most and len(rows):
            drawn = self._random.random(len(rows))
            chosen = np.flatnonzero(drawn <= self._limit)
            self._keep(drawn[chosen], rows.select(chosen))

    def merge(self, other: RowSample) -> None:
        """Offer what was kept of other rows."""
        for drawn, rows in other._parts:
            self._keep(drawn, rows)

    @property
    def rows(self) -> RowValues | None:
        """What is kept; None without any."""
        if not self._parts:
            return None
        self._shrink()
        return self._parts[0][1]

    def _keep(self, drawn: np.ndarray, rows: RowValues) -> None:
        self._parts.append((drawn, rows))
        if sum(len(numbers) for numbers, _ in self._parts) > 2 * self._most:
            self._shrink()

    def _shrink(self) -> None:
        numbers = np.concatenate([part[0] for part in self._parts])
        least = np.argsort(numbers, kind="stable")[: self._most]
        self._parts = [(numbers[least], RowValues.join([part[1] for part in self._parts]).select(least))]
        self._limit = float(numbers[least[-1]]) if len(least) == self._most else 1.0


class Region:
    """Rows that fulfil a condition on their scores and features, in the language of the analysis file.

    Parameters
    ----------
    text
        The condition. Scores have the names of the outputs, and ``score`` is the first; features of the rows
        themselves have theirs.
    analysis, outputs
        What the names are of.
    """

    def __init__(self, text: str, analysis: Analysis, outputs: Sequence[str]) -> None:
        self._inputs = {n: block for n, block in analysis.inputs.items() if block.collection is None}
        self._outputs = tuple(outputs)
        self._expression: Expression = parse(text, REGIONS)
        names = {"score", *outputs, *(f for block in self._inputs.values() for f in block.feature_names)}
        for name in sorted(self._expression.names - names):
            raise UserError(f"{REGIONS}: {text!r}: there is no score or feature {name!r}{nearest(name, names)}")

    def passed(self, rows: RowValues) -> np.ndarray:
        """Return the mask of the rows that are in it, (N,)."""
        columns: dict[str, Any] = {}
        for name, block in self._inputs.items():
            columns |= zip(block.feature_names, rows.tensors[name].T)
        columns |= zip(self._outputs, rows.scores.T)
        columns["score"] = rows.scores[:, 0]
        value = np.asarray(self._expression.evaluate(columns))
        if value.dtype != bool:
            raise UserError(f"{REGIONS}: {self._expression.text!r} is no condition: compare something, 'score > 0.9'")
        return np.broadcast_to(value, (len(rows),))


def check_by(by: str) -> None:
    """Refuse what periods cannot be made by."""
    if by not in BY:
        raise UserError(f"--by {by}: not one of {', '.join(BY)}{nearest(by, BY)}")
