"""The analysis as a graph: from the columns of one event to the inputs of the model, and to what the cuts say.

The same steps as in ``dataset.inputs``, ``dataset.images``, ``dataset.table`` and ``events.frame``, for one event.
Constituents are a block of (rows, n), whatever the row: one of an event, all objects of ``row: <collection>``
otherwise. Since not every network runs on no rows at all, objects get one row of zeros behind them, whose scores are
cut off at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..config.images import Image
from ..config.inputs import Input
from ..config.schema import IDENTITY, Analysis
from ..dataset.images import around_expressions, geometry_of
from ..dataset.inputs import representative
from ..dataset.table import TableBuilder
from ..events.expressions import Expression
from ..events.frame import Resolver, resolver
from ..events.reader import EventFile
from ..events.selection import Selection
from ..events.syntax import ExpressionError
from .expressions import compile_expression
from .functions import apply
from .graph import BOOL, DOUBLE, FLOAT, INT, DType, Graph
from .images import Middles, place_hits, seed_middles
from .values import Value, literal

STAGE = "predict"
_LAST = 1.7e308  # where infinite keys are sorted; NaN comes after them, and what is not kept at the very end
_TYPES = {"b": ("boolean", BOOL), "i": ("integer", INT), "u": ("integer", INT), "f": ("float", FLOAT)}


@dataclass(frozen=True)
class ColumnInput:
    """A column that the graph takes.

    Attributes
    ----------
    name
        As in the file.
    collection
        Whose objects it describes; None for one value per event.
    type
        "float", "integer" or "boolean": what the float32 numbers stand for.
    """

    name: str
    collection: str | None
    type: str

    @property
    def shape(self) -> list[int | str]:
        """The shape of the graph's input; the first is 1, for ``cms::Ort::ONNXRuntime`` wants one batch size of all."""
        return [1] if self.collection is None else [1, f"n{self.collection}"]


class Preprocessing:
    """Emits an analysis for files with the columns of a given one.

    Parameters
    ----------
    graph
        Where the operators go.
    analysis
        The analysis file.
    file
        A file as those that the graph is for: it tells types, and which columns are lists of which collection.

    Attributes
    ----------
    inputs
        The tensors of the model by name: (R, F), (R, L, F) and masks (R, L), float32.
    row_middles
        The middles of the images of rows, by the input whose grid it is.
    selected
        (rows,) float32, whether the cuts take a row (1) or not (0), without the additional one.
    columns
        The columns that the graph takes, by name.

    Raises
    ------
    UserError
        For an expression that cannot be compiled, named with its key.
    """

    def __init__(self, graph: Graph, analysis: Analysis, file: EventFile) -> None:
        cuts = analysis.cuts(STAGE)
        builder = TableBuilder(analysis, None, file, STAGE)
        self.graph = graph
        self._file = file
        self._selection = Selection(analysis, None, file, cuts)
        self._defines = list(self._selection.defines.items())
        self._frame = builder.frame(builder.empty_chunk())
        self.row = self._selection.row
        self._known: dict[str, Value] = {}
        self._fine: list[str] = []
        self.columns: dict[str, ColumnInput] = {}
        self.inputs: dict[str, str] = {}
        self.row_middles: dict[str, Middles] = {}
        for name in sorted(analysis.inputs, key=lambda n: _onto(analysis.inputs[n]) is not None):
            _Block(self, analysis.inputs, name).emit()
        self._finite = graph.all_of(self._fine)
        self.selected = self._cut(self._selection.parse_each(cuts, "select"))

    @property
    def rows(self) -> str | int:
        """The number of rows of the inputs, (1,) i8."""
        if self.row is None:
            return 1
        return self.graph.op("Add", self.length(self.row), self.graph.constant([1], INT))

    def scores(self, tensor: str) -> str:
        """Finish the model's scores (R, C): NaN where a feature must not be, and without the additional row."""
        graph = self.graph
        if self._finite is not None:
            nan = graph.constant(np.nan, FLOAT)
            tensor = graph.op("Where", graph.unsqueeze(self._finite, 1), tensor, nan)
        if self.row is None:
            return tensor
        zero = graph.constant([0], INT)
        return graph.op("Slice", tensor, zero, self.length(self.row), zero)

    # --- columns ---

    def column(self, name: str, defines: int | None = None) -> Value:
        """Return a column of the event, of the first ``defines`` definitions or of the file."""
        index = next((i for i, (n, _) in enumerate(self._defines[:defines]) if n == name), None)
        key = name if index is None else f"define.{name}"
        if key not in self._known:
            self._known[key] = self._source(name) if index is None else self._definition(index)
        return self._known[key]

    def _definition(self, index: int) -> Value:
        _, expression = self._defines[index]
        resolve = self._selection.resolver(expression.where)
        value = compile_expression(self.graph, expression, lambda n: self.column(resolve(n), index))
        return value if value.tensor else self._spread(value)

    def _spread(self, value: Value) -> Value:
        dtype = np.asarray(value.constant).dtype
        return Value(dtype, self.graph.constant([value.constant], dtype))

    def _source(self, name: str) -> Value:
        branch = self._file.branches[name]
        kind, dtype = _TYPES[np.dtype(branch.dtype).kind]
        if name == IDENTITY[2]:
            raise ExpressionError("float32 inputs cannot hold event numbers")
        owner = self._frame.owner[name] if branch.jagged else None
        if name in self._file.filled:
            if branch.jagged:
                raise ExpressionError(f"since {self._file.path} has no {name}, of which only the default is known")
            return self._spread(literal(self._file.filled[name]))
        self.columns[name] = column = ColumnInput(name, owner, kind)
        tensor = self.graph.input(name, column.shape)
        if branch.jagged:
            tensor = self.graph.reshape(tensor, -1)
        if branch.dtype == DOUBLE:
            dtype = DOUBLE
        return Value(dtype, tensor if dtype == FLOAT else self.graph.cast(tensor, dtype), lists=branch.jagged)

    def owner(self, name: str) -> str | None:
        """Return the collection that a column describes."""
        return self._frame.owner[name]

    def length(self, collection: str) -> str:
        """Return the number of objects, (1,) i8."""
        used = next((n for n, c in self.columns.items() if c.collection == collection), None)
        if used is None:
            used = representative(collection, self._file, dict(self._defines), "row")
        return self.graph.size(self.column(used).tensor)

    # --- expressions ---

    def parse(self, text: str, where: str) -> Expression:
        """Parse an expression of the analysis."""
        return self._selection.parse(text, where)

    def resolver(self, where: str, prefix: str | None) -> Resolver:
        """Make the function that finds the columns which a name may mean."""
        return resolver(self._selection.known, [prefix] if prefix else [], where, self._file.path)

    def event_value(self, expression: Expression, resolve: Resolver) -> tuple[Value, str | None]:
        """Emit an expression for the whole event, and tell the collection that it describes."""
        value = compile_expression(self.graph, expression, lambda n: self.column(resolve(n)))
        return value, self._frame.evaluate(expression, resolve)[1]

    def _cut(self, cuts: Mapping[str, Expression]) -> str:
        """Join all cuts on events and rows."""
        graph = self.graph
        shape = graph.shape(1) if self.row is None else self.length(self.row)
        tensors = [graph.filled(shape, True, BOOL)]
        for expression in cuts.values():
            value, _ = self.event_value(expression, self._selection.resolver(expression.where))
            tensors.append(value.tensor or graph.constant(value.constant, BOOL))
        joined = graph.all_of(tensors)
        assert joined is not None  # noqa: S101 - there is one at least
        return graph.cast(joined, FLOAT)

    def forbid(self, bad: str, axes: Sequence[int]) -> None:
        """Remember where features are not finite and have to be."""
        graph = self.graph
        count = graph.op("ReduceSum", graph.cast(bad, INT), graph.constant(axes, INT), keepdims=0)
        self._fine.append(graph.op("Equal", count, graph.constant(0, INT)))


class _Block:
    """One input of the model."""

    def __init__(self, event: Preprocessing, inputs: Mapping[str, Input], name: str) -> None:
        self.event = event
        self.graph = event.graph
        self.inputs = inputs
        self.name = name
        self.block = block = inputs[name]
        self.row = event.row
        self.resolve = event.resolver(f"inputs.{name}", block.collection or self.row)
        self.extra: dict[str, Value] = {}

    def emit(self) -> None:
        """Put the input's tensors among those of the event."""
        if self.block.match:
            self.extra = self.separation()
        texts = self.block.feature_expressions
        values = [self.value(text, self.block.feature_key(n)) for n, text in texts.items()]
        if self.block.collection is None:
            features = self.mended(self.without_missing(self.stack(values, [self.event.rows])), None)
            self.event.inputs[self.name] = features
            return
        keep, key = self.kept(), self.key()
        shape = [self.event.rows, self.event.length(self.block.collection)]
        if self.block.image is None:
            features, valid = self.padded(self.stack(values, shape), shape, keep, key)
            features = self.without_missing(features)
        else:
            features, valid = self.padded(*self.placed_hits(self.block.image, values, shape, keep, key))
        features = self.mended(features, valid)
        self.event.inputs[self.name] = features
        self.event.inputs[f"{self.name}_mask"] = self.graph.cast(valid, FLOAT)

    # --- where values live ---

    def value(self, text: str, key: str) -> Value:
        """Emit an expression at the level of the input."""
        return self.emitted(text, key, self.resolve, self.placed)

    def emitted(self, text: str, key: str, resolve: Resolver, place: Callable[[Value, str | None], Value]) -> Value:
        """Emit an expression whose columns, or if it joins lists whose result, ``place`` brings to a level."""
        expression = self.event.parse(text, f"inputs.{self.name}.{key}")

        def lookup(name: str) -> Value:
            if name in self.extra:
                return self.extra[name]
            column = resolve(name)
            return place(self.event.column(column), self.event.owner(column))

        if expression.elementwise:
            return compile_expression(self.graph, expression, lookup)
        return place(*self.event.event_value(expression, resolve))

    def placed(self, value: Value, owner: str | None) -> Value:
        """Let values of rows be columns of the block of (rows, n), and of constituents be rows of it."""
        return value if owner == self.block.collection else self.of_rows(value, owner)

    def of_rows(self, value: Value, owner: str | None) -> Value:
        """Let values of rows be a column, with one for the additional row; those of the event are for all rows."""
        if owner is None or owner != self.row:
            return value
        extended = self.graph.longer(value.tensor, 0, value.dtype)
        if self.block.collection is not None:
            extended = self.graph.unsqueeze(extended, 1)
        return Value(value.dtype, extended, lists=True)

    def separation(self) -> dict[str, Value]:
        """Compute the distance of row and constituent in every pair, as ``dataset.inputs`` does."""
        names = [f"{c}_{v}" for c in (str(self.block.collection), str(self.row)) for v in ("eta", "phi")]
        eta1, phi1, eta2, phi2 = (self.placed(self.event.column(n), self.event.owner(n)) for n in names)
        operands = {"delta_r": [eta1, phi1, eta2, phi2], "delta_phi": [phi1, phi2], "delta_eta": [eta1, eta2]}
        variables = {}
        for name, values in operands.items():
            dtype = np.result_type(*(v.dtype for v in values))
            working, function = (dtype, "-") if name == "delta_eta" else (DOUBLE, name)
            tensors = [v.tensor if v.dtype == working else self.graph.cast(v.tensor, working) for v in values]
            variables[name] = Value(dtype, apply(self.graph, function, dtype, tensors), lists=True)
        return variables

    def stack(self, values: Sequence[Value], shape: Sequence[str | int]) -> str:
        """Join features, each of which broadcasts to a shape, along a new last axis."""
        columns = [self.graph.unsqueeze(self.spread(value, FLOAT, shape), len(shape)) for value in values]
        return self.graph.op("Concat", *columns, axis=len(shape))

    def spread(self, value: Value, dtype: DType, shape: Sequence[str | int]) -> str:
        """Give a value the whole of a shape, in a type."""
        tensor = value.tensor or self.graph.constant(value.constant, dtype)
        tensor = tensor if value.dtype == dtype or not value.tensor else self.graph.cast(tensor, dtype)
        return self.graph.op("Expand", tensor, self.graph.shape(*shape))

    # --- hits ---

    def placed_hits(
        self, image: Image, values: Sequence[Value], shape: Sequence[str | int], keep: str | None, key: str | None
    ) -> tuple[str, Sequence[str | int], str, str]:
        """Put hits where they are on the images of rows; returns what :meth:`padded` takes.

        As ``dataset.inputs`` does: first the position, then what hits are sorted by.
        """
        graph = self.graph
        eta, phi = (self.spread(value, DOUBLE, shape) for value in values[:2])
        channels = self.without_missing(self.stack(values[2:], shape))
        axis = graph.constant([2], INT)
        first = graph.op("Slice", channels, graph.constant([0], INT), graph.constant([1], INT), axis)
        first = graph.cast(graph.op("Squeeze", first, axis), DOUBLE)
        keep = graph.op("Expand", keep or graph.constant(True, BOOL), graph.shape(*shape))
        geometry = geometry_of(self.inputs, self.name)
        if image.onto is None:
            self.event.row_middles[self.name] = self.middles(image, geometry.middle_eta, (eta, phi), first, keep)
        middles = self.event.row_middles[image.onto or self.name]
        positions, keep = place_hits(graph, geometry, (eta, phi), middles, keep)
        columns = [graph.unsqueeze(graph.cast(position, FLOAT), 2) for position in positions]
        return graph.op("Concat", *columns, channels, axis=2), shape, keep, key or graph.op("Neg", first)

    def middles(self, image: Image, middle_eta: float | None, hits: tuple[str, str], first: str, keep: str) -> Middles:
        """Return the middles of the images of rows."""
        if middle_eta is not None:
            return Middles(self.graph.constant(middle_eta, DOUBLE), self.graph.constant(0, DOUBLE))
        texts = around_expressions(image, self.row)
        if not texts:
            return seed_middles(self.graph, hits, first, keep)
        resolve = self.event.resolver(f"inputs.{self.name}.image.around", self.row)
        values = [self.emitted(text, "image.around", resolve, self.of_rows) for text in texts]
        return Middles(*(self.spread(value, DOUBLE, [self.event.rows, 1]) for value in values))

    # --- constituents ---

    def kept(self) -> str | None:
        """Say which constituents of which rows are taken: those that belong to the row and pass ``where``."""
        conditions = []
        if self.block.index is not None:
            column = self.event.column(self.resolve(self.block.index))
            rows = self.graph.longer(self.graph.range(self.event.length(str(self.row))), -1, INT)
            conditions.append(self.graph.op("Equal", column.tensor, self.graph.unsqueeze(rows, 1)))
        for key in ("match", "where"):
            text = getattr(self.block, key)
            if text is not None:
                value = self.value(text, key)
                conditions.append(value.tensor or self.graph.constant(value.constant, BOOL))
        return self.graph.all_of(conditions)

    def key(self) -> str | None:
        """Emit the key by which constituents are sorted."""
        if self.block.sort is None:
            return None
        value = self.value(self.block.sort, "sort")
        return self.graph.cast(value.tensor, DOUBLE) if value.tensor else self.graph.constant(value.constant, DOUBLE)

    def padded(self, features: str, shape: Sequence[str | int], keep: str | None, key: str | None) -> tuple[str, str]:
        """Bring the chosen constituents to the front, cut and pad: (R, L, F), and whether they are there (R, L)."""
        graph, rows, length = self.graph, self.event.rows, int(self.block.length or 0)
        count = len(self.block.feature_names)
        longer = graph.op("Concat", features, graph.filled(graph.shape(rows, length, count), 0, FLOAT), axis=1)
        occupied = graph.op("Expand", keep or graph.constant(True, BOOL), graph.shape(*shape))
        occupied = graph.op("Concat", occupied, graph.filled(graph.shape(rows, length), False, BOOL), axis=1)
        if keep is None and key is None:
            zero, axis = graph.constant([0], INT), graph.constant([1], INT)
            front = [graph.op("Slice", t, zero, graph.constant([length], INT), axis) for t in (longer, occupied)]
            return front[0], front[1]
        order = self.order(occupied, key, shape)
        _, picks = graph.ops("TopK", 2, order, graph.constant([length], INT), axis=1, largest=0, sorted=1)
        valid = graph.op("GatherElements", graph.cast(occupied, INT), picks, axis=1)
        wide = graph.op("Expand", graph.unsqueeze(picks, 2), graph.shape(rows, length, count))
        return graph.op("GatherElements", longer, wide, axis=1), graph.cast(valid, BOOL)

    def order(self, occupied: str, key: str | None, shape: Sequence[str | int]) -> str:
        """Return (R, n + L) numbers that ascend as the constituents should; ``TopK`` leaves equal ones in order."""
        graph = self.graph
        end = graph.constant(np.inf, DOUBLE)
        if key is None:
            return graph.op("Where", occupied, graph.constant(0, DOUBLE), end)
        bounded = graph.op(
            "Where", graph.op("Less", key, graph.constant(_LAST, DOUBLE)), key, graph.constant(_LAST, DOUBLE)
        )
        bounded = graph.op("Where", graph.op("IsNaN", key), graph.constant(1.01 * _LAST, DOUBLE), bounded)
        bounded = graph.op("Expand", bounded, graph.shape(*shape))
        padding = graph.filled(graph.shape(self.event.rows, int(self.block.length or 0)), np.inf, DOUBLE)
        return graph.op("Where", occupied, graph.op("Concat", bounded, padding, axis=1), end)

    def without_missing(self, features: str) -> str:
        """Let what means "not there" be NaN."""
        graph, nan = self.graph, self.graph.constant(np.nan, FLOAT)
        for missing in self.block.missing:
            features = graph.op("Where", graph.op("Equal", features, graph.constant(missing, FLOAT)), nan, features)
        return features

    def mended(self, features: str, valid: str | None) -> str:
        """Apply the policy for NaN and infinities, and set the padding to 0."""
        graph = self.graph
        bad = graph.op("Not", graph.is_finite(features, FLOAT))
        if valid is not None:
            occupied = graph.unsqueeze(valid, 2)
            features = graph.op("Where", occupied, features, graph.constant(0, FLOAT))
            bad = graph.op("And", bad, occupied)
        axes = [1] if valid is None else [1, 2]
        if self.block.replacement is None:
            self.event.forbid(bad, axes)
            return features
        if self.block.image is not None:  # nothing replaces a position
            ends = (graph.constant([end], INT) for end in (0, 2, 2))
            self.event.forbid(graph.op("Slice", bad, *ends), axes)
        return graph.op("Where", bad, graph.constant(self.block.replacement, FLOAT), features)


def _onto(block: Input) -> str | None:
    return None if block.image is None else block.image.onto
