"""Expressions as ONNX operators on the columns of one event.

Operations are those of ``events.operations``, whose own code tells the types of the results, tried on an array of one
element. In an input with constituents everything broadcasts to (rows, n).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import UserError, shorten
from ..events import syntax
from ..events.expressions import Expression
from ..events.operations import BINARY, FUNCTIONS, MINMAX, REDUCERS, UNARY, compare, kind_of, operate
from ..events.syntax import ExpressionError, Node
from .functions import NATIVE, PRECISE, Math, apply, working_type
from .graph import BOOL, DOUBLE, INT, MAX_INT, DType, Graph
from .lists import Lists
from .values import Emitter, Value, literal

REMEDY = "define it otherwise, or leave the expressions outside of the graph with --features"


def compile_expression(graph: Graph, expression: Expression, column: Callable[[str], Value]) -> Value:
    """Emit an expression.

    Parameters
    ----------
    graph
        Where the operators go.
    expression
        What the analysis file says; it evaluates without an error in Python.
    column
        Returns the value of a name that the expression mentions.

    Returns
    -------
    Value
        What the expression is, with nothing missing: NaN for numbers and false for conditions.

    Raises
    ------
    UserError
        For what has no counterpart in the graph: a user's own function, or shifts by a column.
    """
    compiler = _Compiler(graph, column)
    text = expression.text
    stack: list[Value] = []
    for node in syntax.postorder(syntax.parse_tree(text)):
        bottom = len(stack) - len(node.children)
        try:
            with np.errstate(all="ignore"):  # constants may be infinite, as in 1 / 0
                stack[bottom:] = [compiler.step(node, stack[bottom:])]
        except ExpressionError as error:
            part = shorten(text[slice(*node.span)])
            raise UserError(
                f"{expression.where}: {shorten(text)!r}: {part!r} cannot be compiled into ONNX, {error}: {REMEDY}"
            ) from None
    return compiler.without_missing(stack[0])


class _Compiler(Emitter):
    """How each kind of node makes its value of those of its children."""

    def __init__(self, graph: Graph, column: Callable[[str], Value]) -> None:
        super().__init__(graph)
        self.column = column
        self.lists = Lists(graph)

    def step(self, node: Node, values: list[Value]) -> Value:
        return self.STEPS[type(node)](self, node, values)

    # --- nodes ---

    def number(self, node: Any, values: list[Value]) -> Value:
        return literal(node.value)

    def name(self, node: syntax.Name, values: list[Value]) -> Value:
        return self.column(node.name)

    def unary(self, node: syntax.Unary, values: list[Value]) -> Value:
        (operand,) = values
        operator = "!" if node.operator == "~" and operand.dtype == BOOL else node.operator
        sample = operate(UNARY[operator], [operand.sample])
        if not operand.tensor:
            return literal(sample)
        if operator == "!":
            return self.result(values, BOOL, self.op("Not", self.truth(operand)))
        emit = {"+": Math.positive, "-": Math.negative, "~": Math.complement}[operator]
        tensor = emit(Math(self.graph, sample.dtype), self.tensor(operand, sample.dtype))
        return self.result(values, sample.dtype, tensor)

    def binary(self, node: syntax.Binary, values: list[Value]) -> Value:
        operator = node.operator
        if operator in ("&", "|") and {kind_of(v.sample) for v in values} == {"boolean"}:
            operator *= 2
        sample = operate(BINARY[operator], [v.sample for v in values])
        if not any(v.tensor for v in values):
            return literal(sample)
        if operator in ("&&", "||"):
            return self.either(values) if operator == "||" else self.both(values)
        if operator in ("**", "//", "%", "<<", ">>", "&", "|"):
            return self.integral(operator, values, sample.dtype)
        return self.elementwise(operator, values, sample.dtype)

    def comparison(self, node: syntax.Compare, values: list[Value]) -> Value:
        pairs = zip(node.operators, values, values[1:])
        return functools.reduce(lambda a, b: self.both([a, b]), [self.compared(*pair) for pair in pairs])

    def call(self, node: syntax.Call, values: list[Value]) -> Value:
        name = node.function
        if name in REDUCERS and not (name in MINMAX and len(values) > 1):
            return self.lists.reduced(name, values[0])
        if name in MINMAX:
            function = {"min": "minimum", "max": "maximum"}[name]
            return functools.reduce(lambda a, b: self.function(function, [a, b]), values)
        if name in FUNCTIONS:
            return self.function(name, values)
        raise ExpressionError("it is a function of your own")

    def index(self, node: syntax.Index, values: list[Value]) -> Value:
        return self.lists.indexed(*values)

    def bounds(self, node: syntax.Slice, values: list[Value]) -> Value:
        written = iter(values)
        parts = [None if part is None else next(written).constant for part in (*node.parts, None)[:3]]
        return Value(INT, constant=slice(*parts))

    def members(self, node: syntax.List, values: list[Value]) -> Value:
        return Value(BOOL, constant=tuple(values))

    # --- conditions ---

    def either(self, values: Sequence[Value]) -> Value:
        """Join by or; true or missing is true."""
        a, b = values
        if not (a.tensor or b.tensor):
            return literal(operate(BINARY["||"], [a.sample, b.sample]))
        both_there = self.all_there(values)
        if both_there is None:
            return self.result(values, BOOL, self.op("Or", self.truth(a), self.truth(b)))
        sure = self.op("Or", *(self.op("And", self.truth(v), self.there(v)) for v in values))
        return Value(BOOL, sure, lists=a.lists or b.lists, present=self.op("Or", sure, both_there))

    def both(self, values: Sequence[Value]) -> Value:
        """Join by and; false and missing is false."""
        if self.all_there(values) is None and any(v.tensor for v in values):
            return self.result(values, BOOL, self.op("And", *map(self.truth, values)))
        return self.negated(self.either([self.negated(v) for v in values]))

    def negated(self, value: Value) -> Value:
        if not value.tensor:
            return literal(not value.constant)
        return self.result([value], BOOL, self.op("Not", self.truth(value)))

    def compared(self, operator: str, left: Value, right: Value) -> Value:
        if operator in ("in", "not in"):
            equal = [self.compared("==", left, item) for item in right.constant]
            member = functools.reduce(lambda a, b: self.either([a, b]), equal)
            return member if operator == "in" else self.negated(member)
        if not (left.tensor or right.tensor):
            return literal(compare(operator, left.constant, right.constant))
        dtype = _common([left, right])
        if operator == "!=":
            return self.negated(self.compared("==", left, right))
        kind = {"<": "Less", "<=": "LessOrEqual", ">": "Greater", ">=": "GreaterOrEqual", "==": "Equal"}[operator]
        tensor = self.op(kind, self.tensor(left, dtype), self.tensor(right, dtype))
        return self.result([left, right], BOOL, tensor)

    # --- numbers ---

    def function(self, name: str, values: Sequence[Value]) -> Value:
        if name == "default":
            return values[0]
        if name == "flat":
            raise ExpressionError("it goes by the identity of the event, which a graph is not given")
        if not any(v.tensor for v in values):
            return literal(operate(FUNCTIONS[name], [v.constant for v in values]))
        if name in ("isnan", "is_missing", "isfinite"):
            return self.checked(name, values[0])
        sample = operate(FUNCTIONS[name], [v.sample for v in values])
        if name == "where":
            return self.chosen(values, sample.dtype)
        if name == "pow":
            return self.integral("**", values, sample.dtype)
        return self.elementwise(name, values, sample.dtype)

    def elementwise(self, name: str, values: Sequence[Value], dtype: DType) -> Value:
        if name not in NATIVE and name not in PRECISE:
            raise ExpressionError("it has no counterpart there")
        working = working_type(name, dtype)
        tensors = [self.tensor(v, working) for v in values]
        return self.result(values, dtype, apply(self.graph, name, dtype, tensors))

    def checked(self, name: str, value: Value) -> Value:
        """Say what is NaN or missing, or what is finite and not missing."""
        emit = Math(self.graph, value.dtype)
        if name == "isfinite":
            tensor = self.op("And", emit.is_finite(value.tensor), self.there(value))
        else:
            tensor = self.op("Or", emit.is_nan(value.tensor), self.op("Not", self.there(value)))
        return Value(BOOL, tensor, lists=value.lists)

    def chosen(self, values: Sequence[Value], dtype: DType) -> Value:
        """Choose; what is missing in the other branch does not matter."""
        condition, a, b = values
        truth = self.truth(condition)
        tensor = self.graph.where(truth, self.tensor(a, dtype), self.tensor(b, dtype), dtype)
        present = condition.present
        if a.present is not None or b.present is not None:
            chosen_present = self.graph.where(truth, self.there(a), self.there(b), BOOL)
            present = chosen_present if present is None else self.op("And", present, chosen_present)
        return Value(dtype, tensor, lists=any(v.lists for v in values), present=present)

    def integral(self, operator: str, values: Sequence[Value], dtype: DType) -> Value:
        """Apply an operator that treats integers in a way of its own."""
        a, b = values
        if operator in ("&", "|"):
            kind = "BitwiseAnd" if operator == "&" else "BitwiseOr"
            return self.result(values, INT, self.op(kind, self.tensor(a, INT), self.tensor(b, INT)))
        if operator in ("<<", ">>"):
            if b.tensor or not 0 <= b.constant < 63:
                raise ExpressionError("which shifts only by a literal from 0 to 62")
            shift = Math.shift_left if operator == "<<" else Math.shift_right
            return self.result(values, INT, shift(Math(self.graph, INT), self.tensor(a, INT), b.constant))
        if operator == "**":
            if dtype == INT:
                return self.result(values, INT, Math(self.graph, INT).raised(self.tensor(a, INT), b.constant))
            return self.elementwise("**", values, dtype)
        return self.divided(operator, values, dtype)

    def divided(self, operator: str, values: Sequence[Value], dtype: DType) -> Value:
        """Divide; of integers by what may be 0 the result is a float, NaN where it is."""
        a, b = values
        integers = not {v.dtype for v in values} - {BOOL, INT}
        working = INT if integers else dtype
        formulas = Math(self.graph, working)
        divide = formulas.floor_divide if operator == "//" else formulas.remainder
        if not integers or dtype == INT:
            return self.result(values, dtype, divide(self.tensor(a, working), self.tensor(b, working)))
        zero = self.op("Equal", self.tensor(b, INT), self.graph.constant(0, INT))
        harmless = self.op("Where", zero, self.graph.constant(1, INT), self.tensor(b, INT))
        quotient = self.graph.cast(divide(self.tensor(a, INT), harmless), DOUBLE)
        nan = self.graph.constant(math.nan, DOUBLE)
        return self.result(values, DOUBLE, self.op("Where", zero, nan, quotient))

    STEPS: Mapping[type[Node], Callable[..., Value]] = {
        syntax.Number: number,
        syntax.String: number,
        syntax.Name: name,
        syntax.Unary: unary,
        syntax.Binary: binary,
        syntax.Compare: comparison,
        syntax.Call: call,
        syntax.Index: index,
        syntax.Slice: bounds,
        syntax.List: members,
    }


def _common(values: Sequence[Value]) -> DType:
    """Tell the type in which values are compared; integers only meet integers as such, and exactly."""
    if any(kind_of(v.sample) == "float" for v in values):
        return np.result_type(*(v.dtype if v.tensor else float(v.constant) for v in values))
    large = any(not v.tensor and not -MAX_INT - 1 <= v.constant <= MAX_INT for v in values)
    return DOUBLE if large else INT
