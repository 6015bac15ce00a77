"""The graph in ONNX Runtime against NanoForge's own way to the scores, on real events and on what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..config.schema import Analysis
from ..dataset.identity import assign_fold
from ..dataset.inputs import ChosenRows, split_input
from ..dataset.table import Table, TableBuilder
from ..errors import DataError, UserError
from ..events.columns import Chunk, Column, collection_name, offsets_of
from ..events.frame import Frame
from ..events.hashing import event_hash
from ..events.reader import EventFile
from ..models.base import Model, score
from ..models.onnx import TOLERANCE
from ..provenance import Accounting
from ..serving.session import feeds, open_session
from .assembly import AVERAGE, BY_EVENT, FOLD, Exported
from .expressions import REMEDY
from .preprocessing import STAGE

EVENTS = 200
"""Events of a file that are compared as they are."""
_RESIZED = 25
_ROWS = 40  # objects of a collection that no input is cut to; with very long inputs there are as many pairs of each
_EXACT = 2**24
Feed = dict[str, np.ndarray]


@dataclass
class Parity:
    """What was compared.

    Attributes
    ----------
    events, rows
        So many, and rows that the cuts take; the latter have scores.
    worst
        The largest difference of a score, relative where the score is above 1.
    tolerance
        Above which the export fails.
    lengths
        The numbers of objects that events had, by collection (with columns only).
    """

    events: int = 0
    rows: int = 0
    worst: float = 0.0
    tolerance: float = TOLERANCE
    lengths: dict[str, list[int]] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


class ParityCheck:
    """Compares an exported graph with models, file by file.

    Parameters
    ----------
    exported
        The graph.
    analysis
        The analysis file.
    models
        All folds, or the one that is used.
    rule
        As for the export.
    """

    def __init__(self, exported: Exported, analysis: Analysis, models: Sequence[Model], rule: str) -> None:
        self._session = open_session(exported.model.SerializeToString())
        self._by_columns = exported.description["level"] == "columns"
        self._inputs = exported.description["inputs"]
        self._analysis = analysis
        self._models = models
        self._rule = rule
        self.parity = Parity(lengths={} if self._by_columns else None)

    def file(self, file: EventFile) -> None:
        """Compare the first events of a file.

        Raises
        ------
        DataError
            When they differ: nothing may be exported then.
        UserError
            When a column does not fit into float32 inputs.
        """
        builder = TableBuilder(self._analysis, None, file, STAGE)
        for name in self._wanted() - set(file.branches):
            raise UserError(f"{file.path}: has no column {name!r}, which the graph takes for the first file has it")
        names = [n for n in file.branches if n in {*builder.columns, *self._wanted()}]
        within = None if file.entries is None else (0, min(EVENTS, file.entries))
        chunk = next(iter(file.chunks(names, EVENTS, within)), None)
        if chunk is None or not chunk.size:
            return
        chunk = _as_fed(chunk, self._wanted()) if self._by_columns else chunk
        self._check_integers(chunk)
        for part in (chunk, *(self._resized(chunk, file, n) for n in self._sizes())):
            self._chunk(builder, file, part)

    def _wanted(self) -> set[str]:
        return {i["name"] for i in self._inputs if i["kind"] in ("event", "object")}

    def _sizes(self) -> list[int]:
        """Return the numbers of objects that each kind of events has to be tried with."""
        if not self._by_columns:
            return []
        caps = {b.length for b in self._analysis.inputs.values() if b.length is not None}
        return sorted({0, 1, *caps, *(cap + 3 for cap in caps)})

    def _resized(self, chunk: Chunk, file: EventFile, size: int) -> Chunk:
        """Give the first events so many objects in every collection, and no more than what is cut off or many rows."""
        most: dict[str | None, int] = {}
        for block in self._analysis.inputs.values():
            most[block.collection] = max(most.get(block.collection, _ROWS), (block.length or 0) + 3)
        sizes = {
            n: min(size, most.get(collection_name(b, file.branches), _ROWS))
            for n, b in file.branches.items()
            if b.jagged
        }
        counters = {n: b.counter for n, b in file.branches.items() if b.counter}
        return _resized(chunk, counters, sizes)

    def _check_integers(self, chunk: Chunk) -> None:
        for item in self._inputs:
            if item["kind"] in ("event", "object") and item["type"] == "integer":
                largest = int(np.abs(chunk.columns[item["name"]].content.astype(np.float64)).max(initial=0))
                if largest > _EXACT:
                    raise UserError(
                        f"{item['name']}: holds {largest}, and float32 inputs only integers up to 2**24: {REMEDY}"
                    )

    def _chunk(self, builder: TableBuilder, file: EventFile, chunk: Chunk) -> None:
        frame = builder.frame(chunk)
        rows = builder.select(frame, Accounting())
        fold = self._folds(builder, file, frame) if self._rule == BY_EVENT else np.zeros(chunk.size, np.int64)
        table, good = _table(builder, self._analysis, frame, rows)
        expected = np.full((len(rows.positions), len(self._models[0].spec.outputs)), np.nan, np.float32)
        expected[good] = self._expected(table, fold[rows.events[good]])
        if self._by_columns:
            scores = self._found_by_columns(builder, frame, chunk, rows, fold)
        else:
            expected = expected[good]
            scores = self._found_by_features(table, fold[rows.events[good]])
        self._book(chunk.size, expected, scores)

    def _folds(self, builder: TableBuilder, file: EventFile, frame: Frame) -> np.ndarray:
        identity = builder.identity(frame)
        if not identity:
            columns = ", ".join(self._analysis.identity_columns)
            raise UserError(
                f"--fold by-event: {file.path} has no {columns}, by which the fold is chosen: use 'average'"
            )
        entries = np.arange(frame.size)
        hashes = event_hash(identity, file.uuid, entries, self._analysis.split.seed)
        return assign_fold(hashes, self._analysis.split.folds)

    def _expected(self, table: Table, fold: np.ndarray) -> np.ndarray:
        """Score rows in Python."""
        inputs = table.tensors()
        scores = np.stack([score(model, inputs) for model in self._models])
        if self._rule == AVERAGE:
            return scores.mean(axis=0)
        return scores[fold, np.arange(len(fold))]

    def _found_by_features(self, table: Table, fold: np.ndarray) -> np.ndarray:
        feed = {name: values.astype(np.float32) for name, values in table.tensors().items()}
        if self._rule == BY_EVENT:
            feed[FOLD] = fold.astype(np.float32)
        parts = [slice(0, 0), slice(0, 1), slice(1, None)] if len(fold) > 1 else [slice(None)]
        return np.concatenate(
            [self._run({n: v[part] for n, v in feed.items()})[0] for part in parts if len(fold[part])]
        )

    def _found_by_columns(
        self, builder: TableBuilder, frame: Frame, chunk: Chunk, rows: ChosenRows, fold: np.ndarray
    ) -> np.ndarray:
        """Run event after event; what the graph says of the cuts must be what Python says."""
        scores, selected = [], []
        for event, feed in enumerate(feeds(chunk, sorted(self._wanted()))):
            if self._rule == BY_EVENT:
                feed[FOLD] = fold[event : event + 1].astype(np.float32)
            outputs = self._run(feed)
            scores.append(outputs[0])
            selected.append(outputs[1])
        by_rows = np.concatenate(selected) if selected else np.empty(0, np.float32)
        total = frame.size if self._analysis.row == "event" else int(frame.offsets(self._analysis.row)[-1])
        expected = np.zeros(total, np.float32)
        expected[rows.positions] = 1
        wrong = np.flatnonzero(expected != by_rows) if len(by_rows) == total else [0]
        if len(wrong):
            raise DataError(
                f"ONNX Runtime selects other rows than predict, {len(wrong)} of {total}: please report this"
            )
        self._note_lengths(chunk)
        return np.concatenate(scores)[rows.positions]

    def _run(self, feed: Feed) -> list[np.ndarray]:
        outputs = ["scores", "selected"] if self._by_columns else ["scores"]
        return [np.asarray(values) for values in self._session.run(outputs, feed)]

    def _note_lengths(self, chunk: Chunk) -> None:
        assert self.parity.lengths is not None  # noqa: S101 - with columns only
        for item in self._inputs:
            if item["kind"] == "object":
                before = self.parity.lengths.get(item["collection"], [])
                lengths = np.diff(np.asarray(chunk.columns[item["name"]].offsets))
                self.parity.lengths[item["collection"]] = sorted({*before, *lengths.tolist()})

    def _book(self, events: int, expected: np.ndarray, scores: np.ndarray) -> None:
        unlike = np.isfinite(expected) != np.isfinite(scores)
        difference = np.abs(scores - expected) / np.maximum(1, np.abs(expected))
        worst = float(np.max(difference, initial=0, where=np.isfinite(difference)))
        if unlike.any() or not worst <= TOLERANCE:
            how = "in what is NaN" if unlike.any() else f"by {worst:.1e}"
            raise DataError(f"ONNX Runtime differs from predict {how}, {TOLERANCE:g} is allowed: please report this")
        self.parity.events += events
        self.parity.rows += len(expected)
        self.parity.worst = max(self.parity.worst, worst)


def _table(builder: TableBuilder, analysis: Analysis, frame: Frame, rows: ChosenRows) -> tuple[Table, np.ndarray]:
    """Return the inputs of the rows whose features are finite wherever they have to be, and which rows these are."""
    good = np.ones(len(rows.positions), bool)
    table = builder.table(frame, rows, Accounting())
    for name, values in table.inputs.items():
        if analysis.inputs[name].nan == "error":
            features, _ = split_input(values)
            good &= np.isfinite(features).all(axis=(1, 2))
    chosen = ChosenRows(rows.positions[good], rows.events[good])
    table = builder.table(frame, chosen, Accounting())
    builder.mend(frame, chosen, table)
    return table, good


def _as_fed(chunk: Chunk, names: set[str]) -> Chunk:
    """Round columns of double precision to what the graph gets of them."""
    columns = dict(chunk.columns)
    for name in names:
        column = columns[name]
        if column.content.dtype == np.float64:
            columns[name] = Column([column.content.astype(np.float32).astype(np.float64)], column.offsets)
    return Chunk(chunk.start, chunk.size, columns)


def _resized(chunk: Chunk, counters: Mapping[str, str], sizes: Mapping[str, int]) -> Chunk:
    """Give lists of the first events so many objects, by column, by leaving some out or repeating them."""
    events = min(chunk.size, _RESIZED)
    columns: dict[str, Column] = {}
    counts: dict[str, np.ndarray] = {}
    for name, column in chunk.columns.items():
        if column.offsets is None:
            columns.setdefault(name, Column([column.content[:events]]))
            continue
        lengths = np.diff(column.offsets[: events + 1])
        new = np.where(lengths > 0, sizes[name], 0)
        offsets = offsets_of(new)
        index = np.arange(offsets[-1]) - np.repeat(offsets[:-1], new)
        picks = np.repeat(column.offsets[:events], new) + index % np.repeat(np.maximum(lengths, 1), new)
        columns[name] = Column([column.content[picks]], offsets)
        if name in counters:
            counts[counters[name]] = new
    for name in counts.keys() & columns.keys():
        columns[name] = Column([counts[name].astype(columns[name].content.dtype)])
    return Chunk(chunk.start, events, columns)
