"""Expressions for cuts, columns, weights and targets, evaluated on columns from a whitelist of functions.

A text is parsed once (:mod:`.syntax`) and evaluated chunk by chunk (:mod:`.operations`). Columns are numpy arrays with
one value per event, awkward arrays with one list per event, or scalars of a sample. There is no ``eval``, no attribute
and no import; a user's own functions are those that the analysis file names.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

import numpy as np

from ..errors import UserError, code_file, first_line, nearest, raised_at, shorten
from ..registry import import_object
from . import syntax
from .operations import (
    BINARY,
    FUNCTIONS,
    MINMAX,
    REDUCERS,
    UNARY,
    compare,
    depth,
    indexed,
    is_scalar,
    joined,
    kind_of,
    operate,
    settle,
)
from .syntax import ExpressionError, Node

UNTRACED = "?"
"""The owner of lists that a user's function returned."""
UNIFORM = "flat()"
"""The column behind ``flat(a, b)``: in [0, 1), by the hash of the event's identity; no column of a file is named so."""


@dataclass(frozen=True)
class Expression:
    """An expression that is parsed and checked, ready for many chunks; it can be pickled.

    Parameters
    ----------
    text
        The expression as the user wrote it.
    where
        The key of the analysis file, for messages, for example ``"select.two_jets"``.
    names
        The columns that it mentions, with dots joined.
    elementwise
        True without reducer, index and user function: then flat content of lists may be given for the columns.
    """

    text: str
    where: str
    names: frozenset[str]
    elementwise: bool
    _nodes: Sequence[Node] = field(repr=False, compare=False)
    _functions: Mapping[str, Callable[..., Any]] = field(repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return parse, (self.text, self.where, self._functions)

    def evaluate(self, columns: Mapping[str, Any]) -> Any:
        """Compute the value for a chunk of events.

        Parameters
        ----------
        columns
            The columns by name, all of one length; only those in ``names`` are looked up.

        Returns
        -------
        numpy.ndarray or awkward.Array or bool or int or float or str
            One value or one list per event; a scalar if all that goes in is scalar. Missing values are option types.

        Raises
        ------
        UserError
            For an unknown column, wrong kinds of operands, lists of different lengths: all that the user can mend.
        """
        return self.trace(columns, {})[0]

    def trace(self, columns: Mapping[str, Any], owners: Mapping[str, str | None]) -> tuple[Any, str | None]:
        """Compute the value, and follow to which collection its lists belong.

        Parameters
        ----------
        columns
            As :meth:`evaluate` takes them.
        owners
            The collection that each column's lists belong to.

        Returns
        -------
        tuple
            The value, and the collection; "" for lists of their own, behind a mask or a slice, whether or not
            it removes something; :data:`UNTRACED` behind a user's function; None for one value per event.
        """
        evaluation = _Evaluation(self, columns)
        stack: list[tuple[Any, str | None]] = []
        with np.errstate(all="ignore"):
            for node in self._nodes:
                bottom = len(stack) - len(node.children)
                inner = stack[bottom:]
                try:
                    value = evaluation.step(node, [v for v, _ in inner])
                except ExpressionError as error:
                    raise _mistake(self.text, self.where, str(error), node) from error.__cause__
                stack[bottom:] = [(value, _owner(node, inner, owners))]
        return stack[0]


def parse(
    text: str, where: str = "expression", functions: Mapping[str, Callable[..., Any]] | None = None
) -> Expression:
    """Parse an expression and check its functions and their numbers of arguments.

    Parameters
    ----------
    text
        The expression.
    where
        The key of the analysis file, for messages.
    functions
        The user's own functions by name, from :func:`load_functions`.

    Returns
    -------
    Expression
        The expression, to be evaluated on any number of chunks.

    Raises
    ------
    UserError
        For a text outside the language, naming the place and the remedy.

    Examples
    --------
    >>> import numpy as np
    >>> cut = parse("MET.pt > 100 & nJet >= 2", "select.signal_region")
    >>> sorted(cut.names)
    ['MET_pt', 'nJet']
    >>> cut.evaluate({"MET_pt": np.array([50.0, 150.0]), "nJet": np.array([3, 2])}).tolist()
    [False, True]
    """
    functions = dict(functions or {})
    try:
        nodes = syntax.postorder(syntax.parse_tree(text))
        for node in nodes:
            if isinstance(node, syntax.Call):
                _check_call(node, functions)
    except ExpressionError as error:
        raise _mistake(text, where, str(error)) from None
    names = frozenset(node.name for node in nodes if isinstance(node, syntax.Name))
    names |= {UNIFORM} if syntax.calls(nodes, "flat") else frozenset()
    return Expression(text, where, names, all(map(_is_elementwise, nodes)), nodes, functions)


def load_functions(specs: Sequence[str], where: str) -> dict[str, Callable[..., Any]]:
    """Import the user's own functions.

    Parameters
    ----------
    specs
        ``module:name`` or ``/path/to/module.py:name`` for each.
    where
        The key of the analysis file, for messages.

    Returns
    -------
    dict
        The functions by name.

    Raises
    ------
    UserError
        If one cannot be imported, is no function, or would shadow another.
    """
    functions: dict[str, Callable[..., Any]] = {}
    for spec in specs:
        module_name, _, name = str(spec).partition(":")
        if not (module_name and name.isidentifier()) or name.startswith("_"):
            raise UserError(f"{where}: '{spec}' is not of the form module:function")
        if name in FUNCTIONS or name in REDUCERS or name in functions or name in syntax.CONSTANTS:
            raise UserError(f"{where}: '{spec}' would shadow '{name}', which exists already: give it another name")
        functions[name] = _function(str(spec), where)
    return functions


def _function(spec: str, where: str) -> Callable[..., Any]:
    function: Callable[..., Any] = import_object(spec, where)
    if not callable(function):
        raise UserError(f"{where}: '{spec}' is not a function")
    return function


# --- the evaluation ---


class _Evaluation:
    """One expression on one chunk: how each kind of node makes its value of those of its children."""

    def __init__(self, expression: Expression, columns: Mapping[str, Any]) -> None:
        self.expression = expression
        self.columns = columns
        self.known: dict[str, Any] = {}  # each column is asked for once: a mapping may read it from a file
        self.length: int | None = None

    def step(self, node: Node, values: Sequence[Any]) -> Any:
        return self.STEPS[type(node)](self, node, values)

    def literal(self, node: Any, values: Sequence[Any]) -> Any:
        return node.value

    def column(self, node: syntax.Name, values: Sequence[Any]) -> Any:
        if node.name not in self.known:
            self.known[node.name] = self.admit(self.look_up(node.name), node.name)
        return self.known[node.name]

    def look_up(self, name: str) -> Any:
        try:
            return self.columns[name]
        except KeyError:
            names = map(str, self.columns) if isinstance(self.columns, Iterable) else ()
            raise ExpressionError(f"finds no column '{name}'{nearest(name, names)}") from None

    def admit(self, value: Any, source: str) -> Any:
        """Accept a value from outside if it is as long as those before it."""
        value = settle(value)
        if is_scalar(value):
            return value
        if self.length not in (None, len(value)):
            raise ExpressionError(f"mixes lengths: '{source}' has {len(value)} values, others have {self.length}")
        self.length = len(value)
        return value

    def unary(self, node: syntax.Unary, values: Sequence[Any]) -> Any:
        operator = "!" if node.operator == "~" and kind_of(values[0]) == "boolean" else node.operator
        return operate(UNARY[operator], values)

    def binary(self, node: syntax.Binary, values: Sequence[Any]) -> Any:
        operator = node.operator
        if operator in ("&", "|"):
            kinds = {kind_of(value) for value in values}
            if kinds == {"boolean"}:
                operator *= 2
            elif kinds != {"integer"}:
                raise ExpressionError(_trap(node, values, self.expression.text))
        return operate(BINARY[operator], values)

    def compare(self, node: syntax.Compare, values: Sequence[Any]) -> Any:
        pairs = zip(node.operators, values, values[1:])
        return joined("&&", [compare(*pair) for pair in pairs])

    def call(self, node: syntax.Call, values: Sequence[Any]) -> Any:
        if _is_reduction(node):
            return self.reduction(node, values[0])
        if node.function in MINMAX:
            return functools.reduce(lambda a, b: operate(MINMAX[node.function], [a, b]), values)
        if node.function == "flat":
            values = [*values, self.column(syntax.Name(node.span, UNIFORM), [])]
        if node.function in FUNCTIONS:
            return operate(FUNCTIONS[node.function], values)
        try:
            function = self.expression._functions[node.function]
            return self.admit(function(*values), node.function)
        except ExpressionError:
            raise
        except Exception as error:  # a user's function may fail in any way
            line = raised_at(error, code_file(function))
            raise ExpressionError(f"fails{line} with {type(error).__name__}: {first_line(error)}") from error

    def reduction(self, node: syntax.Call, values: Any) -> Any:
        (argument,) = node.arguments
        self.need_lists(argument, values, "reduce")
        kind = kind_of(values)
        if kind == "string":
            raise ExpressionError("needs numbers, not strings")
        if node.function == "num" and kind == "integer" and _is_bitwise(argument):
            raise ExpressionError("counts the elements of lists, whatever their bits: write num((x & 2) != 0)")
        return settle(REDUCERS[node.function](values))

    def index(self, node: syntax.Index, values: Sequence[Any]) -> Any:
        value, item = values
        self.need_lists(node.value, value, "index")
        try:
            return settle(indexed(value, item))
        except (ValueError, TypeError) as error:
            raise ExpressionError(f"cannot be indexed: {first_line(error)}") from error

    def need_lists(self, node: Node, value: Any, verb: str) -> None:
        if depth(value) < 2:
            source = _quoted(self.expression.text[slice(*node.span)])
            raise ExpressionError(f"has nothing to {verb}: {source} is already one value per event")

    def cut(self, node: syntax.Slice, values: Sequence[Any]) -> Any:
        if any(not isinstance(value, int) for value in values):
            raise ExpressionError("needs integer constants as the bounds of a slice")
        written = iter(values)
        start, stop, step = ((None if part is None else next(written)) for part in (*node.parts, None)[:3])
        if step == 0:
            raise ExpressionError("has a step of zero")
        return slice(start, stop, step)

    def members(self, node: syntax.List, values: Sequence[Any]) -> Any:
        return tuple(values)

    STEPS: Mapping[type[Node], Callable[..., Any]] = {
        syntax.Number: literal,
        syntax.String: literal,
        syntax.Name: column,
        syntax.Unary: unary,
        syntax.Binary: binary,
        syntax.Compare: compare,
        syntax.Call: call,
        syntax.Index: index,
        syntax.Slice: cut,
        syntax.List: members,
    }


def _trap(node: syntax.Binary, values: Sequence[Any], text: str) -> str:
    """Explain & and | between unlike operands; ``id & 2 == 2`` is the case that C and Python habits lead to."""
    kinds = " with ".join(kind_of(value) for value in values)
    problem = f"joins {kinds} by '{node.operator}', which takes two conditions or two integers: "
    right = node.right
    if (
        isinstance(right, syntax.Compare)
        and isinstance(right.first, syntax.Number)
        and right.first.span[0] == right.span[0]
    ):
        middle, end = right.first.span[1], right.span[1]
        return f"{problem}comparisons bind tighter, write ({text[node.span[0] : middle]}){text[middle:end]}"
    return f"{problem}write a comparison such as (x != 0) for the number, or (x & 2) != 0 for a bit"


def _is_bitwise(node: Node) -> bool:
    return isinstance(node, (syntax.Unary, syntax.Binary)) and node.operator in ("&", "|", "~", "<<", ">>")


def _is_reduction(node: syntax.Call) -> bool:
    return node.function in REDUCERS and not (node.function in MINMAX and len(node.arguments) > 1)


def _owner(node: Node, inner: Sequence[tuple[Any, str | None]], owners: Mapping[str, str | None]) -> str | None:
    """Tell which collection the lists of a node belong to, from the values and owners of its children."""
    if isinstance(node, syntax.Name):
        return owners.get(node.name)
    if isinstance(node, syntax.Index):
        item, owner = inner[1]
        if isinstance(item, slice) or (depth(item) > 1 and kind_of(item) == "boolean"):
            return ""
        return owner if depth(item) > 1 else None
    if isinstance(node, syntax.Call) and not _is_elementwise(node):
        return None if node.function in REDUCERS else UNTRACED
    inner_owners = {owner for _, owner in inner} - {None}
    if len(inner_owners) > 1:
        return UNTRACED if UNTRACED in inner_owners else ""
    return next(iter(inner_owners), None)


def _is_elementwise(node: Node) -> bool:
    if isinstance(node, syntax.Call):
        return node.function in FUNCTIONS or (node.function in MINMAX and not _is_reduction(node))
    return not isinstance(node, syntax.Index)


def _check_call(node: syntax.Call, functions: Mapping[str, Callable[..., Any]]) -> None:
    """Refuse an unknown function or a wrong number of arguments."""
    name, count = node.function, len(node.arguments)
    syntax.default_of(node)
    if name in FUNCTIONS:
        expected = FUNCTIONS[name].arity
    elif name in REDUCERS:
        expected = max(count, 1) if name in MINMAX else 1
    elif name in functions:
        return
    else:
        raise ExpressionError(f"calls an unknown function '{name}'{nearest(name, [*FUNCTIONS, *REDUCERS, *functions])}")
    if count != expected:
        raise ExpressionError(f"calls {name} with {count} argument{'s' * (count != 1)}, it takes {expected}")


def _mistake(text: str, where: str, problem: str, node: Node | None = None) -> UserError:
    """Put the place before a problem: the key, the text, and the part of it where it is not the whole."""
    part = text[slice(*node.span)] if node and not isinstance(node, syntax.Name) else text
    location = "" if part.strip() == text.strip() else f": {_quoted(part)}"
    return UserError(f"{where}: {_quoted(text)}{location} {problem}")


def _quoted(text: str) -> str:
    line = shorten(text)
    return f'"{line}"' if "'" in line else f"'{line}'"
