"""From chunks of events to table rows: selection, labels, weights, and the inputs of the model."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..config.schema import IDENTITY, Analysis, Sample
from ..errors import DataError, FileError, UserError, nearest
from ..events.columns import Chunk
from ..events.expressions import Expression
from ..events.frame import Frame, Level, Schema
from ..events.identity import integer_columns, lacking, likely_identity
from ..events.reader import EventFile
from ..events.selection import Selection, condition, cut, use
from ..provenance import Accounting, Ledger, WeightSums
from .images import Drawings, input_info
from .info import DatasetInfo
from .inputs import ChosenRows, InputBuilder, representative


@dataclass
class Table:
    """Values of the chosen rows. Inputs live in buffers that the next chunk overwrites.

    ``inputs`` maps a name to features (N, F) f4, or to (features (N, L, F) f4, valid (N, L) bool); ``targets`` are
    (N,) f4, NaN where they are not known.
    """

    inputs: dict[str, Any]
    label: np.ndarray | None = None
    targets: dict[str, np.ndarray] = field(default_factory=dict)
    keep: dict[str, np.ndarray] = field(default_factory=dict)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return what a model takes: the features of each input, and for constituents ``<input>_mask``."""
        tensors = {}
        for name, values in self.inputs.items():
            if isinstance(values, tuple):
                tensors[name], tensors[f"{name}_mask"] = values
            else:
                tensors[name] = values
        return tensors


def dataset_info(analysis: Analysis) -> DatasetInfo:
    """Describe the dataset that an analysis makes.

    Raises
    ------
    UserError
        When it says nothing to learn: neither a target nor two different labels.
    """
    if analysis.target is None:
        without = next((n for n, s in analysis.samples.items() if s.label is None), None)
        if without is not None:
            raise UserError(f"samples.{without}: needs a 'label', since there is no 'target'")
        if len(analysis.classes) < 2:
            raise UserError("there is nothing to tell apart: give the samples different labels, or a 'target'")
    inputs = {name: input_info(analysis.inputs, name) for name in analysis.inputs}
    return DatasetInfo(analysis.row, inputs, tuple(analysis.classes), tuple(analysis.regression), analysis.split.folds)


class TableBuilder:
    """Turns the chunks of one file into table rows, as the analysis says.

    Everything that can be wrong with the expressions is found here, before the first event is read: the builder runs
    once on a made-up chunk.

    Parameters
    ----------
    analysis
        The analysis file.
    sample
        The sample the file belongs to; None when predicting on files of any origin.
    file
        The opened file.
    stage
        "convert" or "predict": whose cuts apply. Only "convert" has labels, targets and kept columns.
    weight
        What events weigh where the stage is "predict"; "convert" has the weight of the sample.

    Attributes
    ----------
    columns
        The columns to read, no others.
    lacks
        Columns of the identity that the file does not have: its events are then identified by file and entry.
    likely
        Columns that may identify events in their place.
    """

    def __init__(
        self, analysis: Analysis, sample: Sample | None, file: EventFile, stage: str, *, weight: str = "1"
    ) -> None:
        training = stage == "convert"
        cuts = {**analysis.cuts(stage), **(sample.select if sample and training else {})}
        self._file = file
        self._selection = Selection(analysis, sample, file, cuts)
        self._row = self._selection.row
        self._identity = analysis.identity_columns
        self._defined = frozenset(analysis.define)
        self.lacks = self._lacking(file)
        self.likely = likely_identity(file.branches) if self.lacks else []
        if self.lacks and analysis.identity is not None and training:
            nearest_column = nearest(self.lacks[0], integer_columns(file.branches))
            reason = f"identity: there is no column {self.lacks[0]!r} with one integer per event{nearest_column}"
            raise FileError(file.path, reason, mistake=True)
        self._weight = self._parse_weight(analysis, sample) if training else self._selection.parse(weight, "weight")
        self._parse_all(analysis, training)
        self.columns = self._required(training)
        self._schema = Schema(file.path, file.branches, self.columns)
        self._try_out()

    def for_file(self, file: EventFile, *, reuse_buffers: bool = False) -> TableBuilder | None:
        """Return the builder of another file, of the same sample and with the same columns; None where they differ."""
        if list(file.branches) != list(self._file.branches) or self.lacks != self._lacking(file):
            return None
        schema = self._schema.for_file(file.path, file.branches)
        if schema is None:
            return None
        other = copy(self)
        other._file, other._schema = file, schema
        other._selection = self._selection.for_file(file)
        if not reuse_buffers:
            other._inputs = [builder.fresh() for builder in self._inputs]
        other.likely = likely_identity(file.branches) if self.lacks else []
        return other

    def _lacking(self, file: EventFile) -> list[str]:
        return [n for n in lacking(self._identity, file.branches) if n not in self._defined]

    def _parse_all(self, analysis: Analysis, training: bool) -> None:
        parse_each, parsed = self._selection.parse_each, self._selection.known
        self._classes = parse_each(analysis.classes if training else {}, "target.classes")
        self._targets = parse_each(analysis.regression if training else {}, "target.regression")
        # files to be scored may lack what was kept for the training, as data lack generator branches
        kept = [n for n in analysis.keep if training or {n, f"{self._row}_{n}"} & parsed]
        self._keep = parse_each({n: n for n in kept}, "keep")
        self._inputs = [
            InputBuilder(analysis.inputs, name, self._row, self._selection.parse, self._file, parsed)
            for name in analysis.inputs
        ]

    def _parse_weight(self, analysis: Analysis, sample: Sample | None) -> Expression:
        """Parse the weight of the sample; data, which have no generator weights, need one of their own."""
        weight = self._selection.parse((sample.weight if sample else None) or analysis.weight, "weight")
        try:
            self._selection.columns_of([weight])
        except FileError as error:
            name = next((name for name, one in analysis.samples.items() if one is sample), None)
            if name is None or sample is None or sample.weight is not None or not error.reason.startswith("weight: "):
                raise
            data = "data count as they are" if sample.data else "if these are data"
            remedy = f"{error.reason}; {data}: samples.{name}.weight: 1"
            raise FileError(error.path, remedy, mistake=True) from None
        return weight

    def _required(self, training: bool) -> list[str]:
        """Return the columns to read, no others."""
        groups = (self._classes, self._targets, self._keep, {"": self._weight})
        columns = self._selection.columns_of(e for g in groups for e in g.values())
        defines = self._selection.defines
        collections = {f"inputs.{b.name}.{b.block.collection_key}": b.block.collection for b in self._inputs}
        collections["row"] = self._row
        columns |= {representative(c, self._file, defines, where) for where, c in collections.items() if c}
        for builder in self._inputs:
            columns |= builder.columns()
        columns |= set() if self.lacks else set(self._identity)
        if not training:
            self._selection.restrict(columns)
        columns |= self._selection.columns()
        return [n for n in self._file.branches if n in columns]

    def _try_out(self) -> None:
        """Run once on made-up events: wrong depths and kinds are reported before anything is read."""
        frame = self.frame(self._schema.probe())
        self._check_identity(frame)
        self.select(frame, Accounting())
        level = self._level(frame)
        rows = ChosenRows(np.arange(2), np.arange(2) if self._row is None else np.zeros(2, dtype=np.int64))
        self._build(frame, rows, level, Accounting())
        for expression in (*self._targets.values(), *self._keep.values()):
            self._values(frame, expression, level)
        for expression in self._classes.values():
            condition(self._values(frame, expression, level), expression, self._file.path)
        self._values(frame, self._weight, frame.event_level())

    def _check_identity(self, frame: Frame) -> None:
        """Refuse a defined column that cannot identify events."""
        for name in set(self._identity) & set(self._selection.defines):
            column = frame.columns[name]
            if column.offsets is not None or column.content.dtype.kind not in "iu":
                raise UserError(f"identity: define.{name} has to give one integer per event")

    def _values(self, frame: Frame, expression: Expression, level: Level) -> np.ndarray:
        return frame.values(expression, self._selection.resolver(expression.where), level)

    def _level(self, frame: Frame) -> Level:
        return frame.object_level(self._row) if self._row else frame.event_level()

    def empty_chunk(self) -> Chunk:
        """Return a chunk without events: a file without any still makes a shard with all columns."""
        return self._schema.empty()

    def frame(self, chunk: Chunk) -> Frame:
        """Put the defined columns on top of a chunk."""
        return self._selection.frame(self._schema, chunk)

    def select(self, frame: Frame, accounting: Accounting, weights: np.ndarray | None = None) -> ChosenRows:
        """Apply the cuts in order and book them, and weights of the events, (n,) f8; cuts on rows come last."""
        events, row_cuts = self._selection.events(frame, accounting.events, weights)
        if self._row is None:
            return ChosenRows(events, events)
        return self._select_rows(frame, events, row_cuts, accounting, weights)

    def _select_rows(
        self,
        frame: Frame,
        events: np.ndarray,
        cuts: dict[str, np.ndarray],
        accounting: Accounting,
        weights: np.ndarray | None,
    ) -> ChosenRows:
        row = str(self._row)
        chosen = np.zeros(frame.size, dtype=bool)
        chosen[events] = True
        event_of_row = frame.object_level(row).events
        rows = np.flatnonzero(chosen[event_of_row])
        ledger = accounting.rows = accounting.rows or Ledger(f"{row} rows")
        ledger.read += len(rows)
        if weights is not None:
            weights = weights[event_of_row]
            ledger.weights = ledger.weights or WeightSums()
            ledger.weights.read += float(weights[rows].sum())
        for name, passed in cuts.items():
            rows = cut(ledger, name, rows, passed, weights)
        use(ledger, rows, weights)
        return ChosenRows(rows, np.searchsorted(frame.offsets(row), rows, side="right") - 1)

    def identity(self, frame: Frame) -> dict[str, np.ndarray]:
        """Return the columns (n,) that identify the events of a chunk; empty where the file lacks one."""
        if self.lacks:
            return {}
        columns = {name: frame.columns[name].content for name in self._identity}
        for name, values in columns.items():
            if values.dtype.kind not in "iu":
                raise FileError(self._file.path, f"{name}, by which events are identified, is missing in some of them")
        return columns

    def weights(self, frame: Frame) -> np.ndarray:
        """Return the physics weight (n,) f8 of all events of a chunk, before any cut."""
        weights = self._values(frame, self._weight, frame.event_level()).astype(np.float64)
        wrong = np.flatnonzero(~np.isfinite(weights))
        if len(wrong):
            raise DataError(f"{self._place(frame, wrong[0])}: the weight {self._weight.text!r} is not finite")
        return weights

    def _build(self, frame: Frame, rows: ChosenRows, level: Level, accounting: Accounting) -> dict[str, Any]:
        """Fill the inputs: those first on whose grids others are drawn."""
        drawings = Drawings(accounting)
        by_grid = sorted(self._inputs, key=lambda builder: not builder.has_grid)
        built = {builder.name: builder.build(frame, rows, level, drawings) for builder in by_grid}
        return {builder.name: built[builder.name] for builder in self._inputs}

    def table(self, frame: Frame, rows: ChosenRows, accounting: Accounting) -> Table:
        """Fill inputs, labels, targets and kept columns of the chosen rows, in their order; hits are booked."""
        level = self._level(frame)
        table = Table(self._build(frame, rows, level, accounting))
        if self._classes:
            table.label = self._labels(frame, rows, level)
        for name, expression in self._targets.items():
            values = self._values(frame, expression, level)[rows.positions].astype(np.float32)
            wrong = np.flatnonzero(np.isinf(values))
            if len(wrong):
                raise DataError(f"{self._place(frame, rows.events[wrong[0]])}: {expression.where} is infinite")
            table.targets[name] = values
        table.keep = {name: values[rows.positions] for name, values in self.kept(frame).items()}
        return table

    def kept(self, frame: Frame) -> dict[str, np.ndarray]:
        """Return the kept columns of all rows of a chunk, chosen or not."""
        level = self._level(frame)
        return {name: self._values(frame, expression, level) for name, expression in self._keep.items()}

    def clear(self, table: Table) -> dict[str, np.ndarray]:
        """Set what :meth:`mend` would refuse to 0, in place, and say by input where that was, (N, L, F) bool."""
        cleared = {builder.name: builder.clear(table.inputs[builder.name]) for builder in self._inputs}
        return {name: wrong for name, wrong in cleared.items() if wrong is not None}

    def mend(self, frame: Frame, rows: ChosenRows, table: Table) -> None:
        """Apply each input's policy to NaN and infinities: an error that names the place, or the fill value."""
        for builder in self._inputs:
            bad = builder.mend(table.inputs[builder.name])
            if bad is not None:
                row, feature = bad
                raise DataError(
                    f"{self._place(frame, rows.events[row])}: inputs.{builder.name}: {feature!r} is NaN or infinite; "
                    f"mend the expression, cut on it, or set inputs.{builder.name}.nan to {{fill: <value>}}, or for "
                    "trees to keep"
                )

    def _labels(self, frame: Frame, rows: ChosenRows, level: Level) -> np.ndarray:
        """Return the class of every row, (N,) i8; a row in no class or in two is an error."""
        values = ((e, self._values(frame, e, level)) for e in self._classes.values())
        masks = np.stack([condition(v, e, self._file.path)[rows.positions] for e, v in values])
        wrong = np.flatnonzero(masks.sum(axis=0) != 1)
        if len(wrong):
            claims = [name for name, mask in zip(self._classes, masks) if mask[wrong[0]]]
            problem = (
                f"is in the classes {' and '.join(claims)}"
                if claims
                else f"is in no class ({', '.join(self._classes)})"
            )
            raise UserError(
                f"{self._place(frame, rows.events[wrong[0]])}: a row {problem}, {len(wrong)} of {len(masks[0])} rows "
                "are so; each must be in exactly one: correct target.classes or select"
            )
        return masks.argmax(axis=0)

    def _place(self, frame: Frame, event: int) -> str:
        identity = self.identity(frame)
        names = "run:lumi:event" if self._identity == IDENTITY else ":".join(self._identity)
        event_text = f" ({names} {':'.join(str(v[event]) for v in identity.values())})" if identity else ""
        return f"{self._file.path}: entry {frame.start + int(event)}{event_text}"


class TableBuilders:
    """Makes the builders of many files: what was parsed and tried out for one serves the next with the same columns.

    Parameters
    ----------
    analysis, stage
        As for :class:`TableBuilder`.
    reuse_buffers
        Give all builders the same buffers: for files that are read one after the other.
    """

    def __init__(self, analysis: Analysis, stage: str, *, reuse_buffers: bool = False) -> None:
        self.analysis = analysis
        self._stage = stage
        self._reuse_buffers = reuse_buffers
        self._last: tuple[tuple[str | None, str], TableBuilder] | None = None

    def for_file(self, file: EventFile, sample: str | None = None, *, weight: str = "1") -> TableBuilder:
        """Return the builder of a file, which belongs to a sample or (None) may be of any origin."""
        last = self._last
        builder = None
        if last is not None and last[0] == (sample, weight):
            builder = last[1].for_file(file, reuse_buffers=self._reuse_buffers)
        if builder is None:
            described = None if sample is None else self.analysis.samples[sample]
            builder = TableBuilder(self.analysis, described, file, self._stage, weight=weight)
            self._last = (sample, weight), builder
        return builder
