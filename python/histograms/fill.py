"""Fill histograms with the events of files, all of them in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import hist
import numpy as np

from ..config.schema import Analysis
from ..dataset.shards import ShardRecord
from ..errors import DataError, FileError, UserError
from ..events.columns import Chunk
from ..events.expressions import Expression
from ..events.frame import Frame, Resolver, Schema
from ..events.open import reading
from ..events.reader import EventFile, broken_file
from ..events.selection import Selection, condition, cut
from ..events.view import view
from ..parallel import Report
from ..provenance import Accounting
from ..provenance.manifest import input_record
from .request import PlotRequest

STAGE = "convert"
"""The cuts of the analysis are those of this stage: what is drawn is what is trained on."""
CUT, WEIGHT = "--cut", "--weight"


@dataclass(frozen=True)
class Drawn:
    """What is drawn: histograms, further cuts on events or objects, and a further weight."""

    requests: tuple[PlotRequest, ...]
    cuts: tuple[str, ...] = ()
    weight: str = "1"


@dataclass(frozen=True)
class FillJob:
    """One input file to fill histograms from."""

    analysis: Analysis
    sample: str
    path: str
    drawn: Drawn
    skip_bad_files: bool


@dataclass
class Filled:
    """The histograms of one file, in the order of the requests.

    ``not_finite`` counts for each the values that are NaN or infinite, which it leaves out.
    """

    record: ShardRecord
    histograms: list[hist.Hist] = field(default_factory=list)
    not_finite: list[int] = field(default_factory=list)


def fill_file(job: FillJob, report: Report) -> Filled:
    """Fill all histograms from one file.

    ``report`` is called with the share of the file that was done since the last call.
    """
    entries = None
    try:
        with reading(job.analysis, job.path, job.sample) as (opened, source):
            entries = opened.entries
            filled = Filled(ShardRecord(source), [empty(r) for r in job.drawn.requests], [0] * len(job.drawn.requests))
            _fill(job, opened, filled, report)
    except FileError as error:
        if not job.skip_bad_files:
            raise
        report(1)
        lost = Accounting.of_lost(job.path, error.reason, entries)
        return Filled(ShardRecord(input_record(job.path, entries, sample=job.sample), accounting=lost))
    return filled


def _fill(job: FillJob, file: EventFile, filled: Filled, report: Report) -> None:
    record = filled.record
    with broken_file(file.path, "the Runs tree cannot be read"):
        record.gen_sum_of_weights = file.gen_sum_of_weights()
    values = FileValues(job.analysis, job.sample, file, job.drawn)
    for chunk in values.chunks():
        for number, (columns, weight) in enumerate(values.of(chunk, record)):
            if not np.isfinite(weight).all():
                raise DataError(f"{file.path}: the weight is not finite in some events: mend its expression")
            finite = np.logical_and.reduce([np.isfinite(column) for column in columns])
            filled.not_finite[number] += len(finite) - int(finite.sum())
            numbers = [column[finite].astype(np.float64) for column in columns]
            filled.histograms[number].fill(*numbers, weight=weight[finite])
        report(chunk.size / file.entries if file.entries else 0)
    if not file.entries:
        report(1)


def empty(request: PlotRequest) -> hist.Hist:
    """Make a histogram without entries, which has weights and their squares, and bins beyond both ends."""
    axes = [
        hist.axis.Regular(r.bins, r.low, r.high, name=axis, label=text)
        for axis, r, text in zip("xy", request.ranges, request.expressions)
        if r is not None
    ]
    return hist.Hist(*axes, storage=hist.storage.Weight())


def first_values(job: FillJob) -> list[list[np.ndarray]]:
    """Return for every request the values of x, or of x and y, in the first events of a file."""
    with reading(job.analysis, job.path, job.sample) as (file, source):
        values = FileValues(job.analysis, job.sample, file, job.drawn)
        chunk = next(values.chunks(), None) or values.empty_chunk()
        return [columns for columns, _ in values.of(chunk, ShardRecord(source))]


class FileValues:
    """The values of all requests in the events of a file that pass the cuts, chunk by chunk.

    Whatever is wrong with the expressions is found when this is made: it runs once on made-up events.

    Parameters
    ----------
    analysis
        The analysis; what it selects, defines and weighs counts here, too.
    sample
        The sample the file belongs to.
    file
        The opened file.
    drawn
        What is asked for.
    """

    def __init__(self, analysis: Analysis, sample: str, file: EventFile, drawn: Drawn) -> None:
        block = analysis.samples[sample]
        self._file = view(file, analysis)
        self._selection = Selection(analysis, block, self._file, {**analysis.cuts(STAGE), **block.select})
        parse = self._selection.parse
        self._weights = [
            parse(block.weight or analysis.weight, "weight"),
            parse(drawn.weight, WEIGHT),
        ]
        self._cuts = [parse(text, CUT) for text in drawn.cuts]
        self._requests = [[parse(text, "draw") for text in request.expressions] for request in drawn.requests]
        drawing = [expression for request in self._requests for expression in request]
        columns = self._selection.columns_of([*self._weights, *self._cuts, *drawing])
        self._selection.restrict(columns)
        columns |= self._selection.columns()
        self._columns = [name for name in self._file.branches if name in columns]
        self._schema = Schema(self._file.path, self._file.branches, self._columns)
        for _ in self.of(self._schema.probe(), ShardRecord(input_record(""))):
            pass

    def chunks(self) -> Iterator[Chunk]:
        """Read the columns that are needed."""
        return self._file.chunks(self._columns)

    def empty_chunk(self) -> Chunk:
        """Return a chunk without events."""
        return self._schema.empty()

    def of(self, chunk: Chunk, record: ShardRecord) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
        """Yield the values of every request, each (n,), with their weights, (n,) f8, and book the events of a chunk."""
        frame = self._selection.frame(self._schema, chunk)
        weights = np.ones(chunk.size)
        for expression in self._weights:
            weights = weights * frame.values(expression, self._resolver(expression), frame.event_level())
            if expression is self._weights[0]:
                record.sum_of_weights += float(weights.sum())
        ledger = record.accounting.events
        events, row_cuts = self._selection.events(frame, ledger)
        object_cuts: list[tuple[str, np.ndarray]] = []
        for expression in self._cuts:
            column, owner = frame.evaluate(expression, self._resolver(expression))
            passed = condition(column.content, expression, self._file.path)
            if owner is None:
                kept = cut(ledger, expression.text, events, passed)
                ledger.used -= len(events) - len(kept)
                events = kept
            else:
                object_cuts.append((owner, passed))
        chosen = np.zeros(chunk.size, dtype=bool)
        chosen[events] = True
        for request in self._requests:
            columns, offsets, owner = self._evaluated(frame, request)
            passed, weight = chosen, weights
            if offsets is not None:
                passed, weight = (np.repeat(values, np.diff(offsets)) for values in (chosen, weights))
            if owner is not None and owner == self._selection.row:
                passed = np.logical_and.reduce([passed, *row_cuts.values()])
            for collection, of_objects in object_cuts:
                if not owner or collection != owner:
                    raise UserError(_cut_depth(collection, request, owner))
                passed = passed & of_objects
            yield [column[passed] for column in columns], weight[passed]

    def _evaluated(
        self, frame: Frame, request: Sequence[Expression]
    ) -> tuple[list[np.ndarray], np.ndarray | None, str | None]:
        """Return the values of x, or of x and y, one per event or per object; then with offsets and collection."""
        evaluated = [frame.evaluate(expression, self._resolver(expression)) for expression in request]
        lists = [(column.offsets, owner) for column, owner in evaluated if column.offsets is not None]
        if not lists:
            return [column.content for column, _ in evaluated], None, None
        offsets, owner = lists[0]
        for other, of_other in lists[1:]:
            if of_other != owner or not np.array_equal(other, offsets):
                x, y = (expression.text for expression in request)
                raise UserError(
                    f"draw: {y!r} has one value per {of_other or 'list element'}, but {x!r} per "
                    f"{owner or 'list element'}: only values of the same objects can be drawn against each other"
                )
        counts = np.diff(offsets)
        contents = [c.content if c.offsets is not None else np.repeat(c.content, counts) for c, _ in evaluated]
        return contents, offsets, owner

    def _resolver(self, expression: Expression) -> Resolver:
        return self._selection.resolver(expression.where)


def _cut_depth(collection: str, request: Sequence[Expression], owner: str | None) -> str:
    text = ":".join(expression.text for expression in reversed(request))
    return (
        f"{CUT}: a cut has one value per {collection or 'list element'}, but {text!r} has one per "
        f"{'event' if owner is None else owner or 'list element'}: wrap the cut in any(), all() or num(...) >= 1"
    )
