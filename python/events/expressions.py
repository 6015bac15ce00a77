"""Expressions for cuts, columns, weights and targets, evaluated on columns from a whitelist of functions.

A text is parsed once (:mod:`.syntax`) and evaluated chunk by chunk. Columns are numpy arrays with one value per event,
awkward arrays with one list per event, or scalars of a sample. There is no ``eval``, no attribute and no import; a
user's own functions are those that the analysis file names. Where no column is jagged, only numpy is used.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np

from ..errors import UserError, nearest
from . import syntax
from .syntax import ExpressionError, Node

UNTRACED = "?"
"""The owner of lists that a user's function returned."""

_SHOWN = 80
_KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "float", "U": "string", "S": "string"}


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
        functions[name] = _import_function(module_name, name, where)
    return functions


def _import_file(path: str) -> Any:
    specification = importlib.util.spec_from_file_location(Path(path).stem, path)
    if specification is None or specification.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _import_function(module_name: str, name: str, where: str) -> Callable[..., Any]:
    try:
        module = _import_file(module_name) if module_name.endswith(".py") else importlib.import_module(module_name)
    except Exception as error:  # a user's module may fail in any way when it is run
        problem = f"{type(error).__name__}: {_first_line(error)}"
        raise UserError(
            f"{where}: cannot import '{module_name}' ({problem}): is it beside the analysis file or on PYTHONPATH?"
        ) from error
    function = getattr(module, name, None)
    if function is None:
        raise UserError(f"{where}: '{module_name}' has no function '{name}'{nearest(name, vars(module))}")
    if not callable(function):
        raise UserError(f"{where}: '{module_name}:{name}' is not a function")
    return function


def missing_to_nan(value: Any) -> Any:
    """Turn missing values into NaN.

    Parameters
    ----------
    value
        What an expression gave.

    Returns
    -------
    numpy.ndarray or awkward.Array or scalar
        An array of an option type as floats (``float32`` stays so); anything else as it is.
    """
    if not _is_option(value):
        return value
    import awkward as ak

    dtype = _dtype(value) if _kind(value) == "float" else np.dtype(np.float64)
    return _settle(ak.fill_none(ak.values_astype(value, dtype), dtype.type(np.nan)))


def missing_to_false(mask: Any) -> Any:
    """Turn missing values of a condition into False: an event without a leading jet does not pass its cut.

    Parameters
    ----------
    mask
        What an expression gave.

    Returns
    -------
    numpy.ndarray or awkward.Array or scalar
        The condition without missing values.
    """
    if not _is_option(mask):
        return mask
    import awkward as ak

    return _settle(ak.fill_none(mask, False))


def without_missing(value: Any) -> Any:
    """Turn missing conditions into False and missing numbers into NaN.

    Parameters
    ----------
    value
        What an expression gave.

    Returns
    -------
    numpy.ndarray or awkward.Array or scalar
        The value as :func:`missing_to_false` or :func:`missing_to_nan` returns it.
    """
    return missing_to_false(value) if _kind(value) == "boolean" else missing_to_nan(value)


# --- what values are ---


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str, np.generic))


def _is_awkward(value: Any) -> bool:
    return not _is_scalar(value) and not isinstance(value, np.ndarray)


def _layouts(value: Any) -> Iterable[Any]:
    """Walk from the outermost layout of an awkward array to its leaf; a string is a leaf."""
    layout = value.layout
    yield layout
    while layout.is_option or layout.is_indexed or (layout.is_list and not _is_string(layout)):
        layout = layout.content
        yield layout


def _is_string(layout: Any) -> bool:
    return layout.parameter("__array__") in ("string", "bytestring")


def _is_option(value: Any) -> bool:
    return _is_awkward(value) and any(layout.is_option for layout in _layouts(value))


def _dtype(value: Any) -> np.dtype[Any]:
    """Tell the type of an array's numbers, whatever its lists."""
    if isinstance(value, np.ndarray):
        return np.dtype(value.dtype)
    leaf = list(_layouts(value))[-1]
    other: Any = np.float64 if leaf.is_unknown else np.str_ if leaf.is_list else object
    dtype: np.dtype[Any] = np.dtype(leaf.dtype if leaf.is_numpy else other)
    return dtype


def _kind(value: Any) -> str:
    """Tell whether a value holds booleans, integers, floats or strings."""
    kind = np.dtype(type(value)).kind if _is_scalar(value) else _dtype(value).kind
    if kind not in _KINDS:
        raise ExpressionError("needs a column of numbers, conditions or strings, not of records")
    return _KINDS[kind]


def _settle(value: Any) -> Any:
    """Bring a value from outside into one of the forms that all else relies on.

    Scalars become Python's own, which leave float32 columns alone (NEP 50). One value per event becomes a numpy array
    unless some are missing, fixed-size lists become lists, and foreign byte order is swapped.
    """
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if _is_scalar(value):
        return value
    if isinstance(value, np.ndarray):
        value = value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
        if value.ndim == 1:
            return value
    import awkward as ak

    if not isinstance(value, (np.ndarray, ak.Array)):
        raise ExpressionError(f"needs an array or a scalar, not {type(value).__name__}")
    array = ak.from_regular(value, axis=None)
    if array.ndim > 1 or _is_option(array) or _dtype(array).kind not in "biuf":
        return array
    return ak.to_numpy(array)


def _widened(value: Any) -> Any:
    """Make all integers 64 bits and signed, so that ``nJet - 5`` and sums of bytes do not wrap around."""
    if isinstance(value, (bool, int)):
        return int(value) if -(2**63) <= value < 2**63 else float(value)
    if _is_scalar(value) or _dtype(value) == np.int64 or _kind(value) == "float":
        return value
    if isinstance(value, np.ndarray):
        return value.astype(np.int64)
    import awkward as ak

    return ak.values_astype(value, np.int64)


# --- what operands an operation takes ---


def _truths(values: Sequence[Any]) -> Sequence[Any]:
    if any(_kind(value) == "string" for value in values):
        raise ExpressionError("needs conditions or numbers, not a string: compare it with == first")
    return [bool(value) if _is_scalar(value) else value for value in values]


def _numbers(values: Sequence[Any]) -> Sequence[Any]:
    if any(_kind(value) == "string" for value in values):
        raise ExpressionError("needs numbers, not a string: strings only have ==, != and in")
    return [_widened(value) for value in values]


def _integers(values: Sequence[Any]) -> Sequence[Any]:
    others = {_kind(value) for value in values} - {"integer"}
    if others:
        raise ExpressionError(f"needs integers, not {' or '.join(sorted(others))}")
    return [_widened(value) for value in values]


def _comparables(values: Sequence[Any]) -> Sequence[Any]:
    """Keep integers exact: awkward refuses a Python integer that does not fit the column's type, numpy scalars fit."""
    kinds = {_kind(value) for value in values}
    if "string" in kinds and len(kinds) > 1:
        raise ExpressionError("compares a string with a number")
    if "string" in kinds or all(map(_is_scalar, values)):
        return values
    if "float" in kinds:
        return [float(value) if _is_scalar(value) else value for value in values]
    return [(np.int64 if value < 2**63 else np.uint64)(value) if _is_scalar(value) else value for value in values]


def _choice(values: Sequence[Any]) -> Sequence[Any]:
    condition, *branches = values
    (condition,) = _truths([condition])
    if any(_kind(branch) != "boolean" for branch in branches):
        branches = list(_numbers(branches))
    return condition, *branches


# --- what operations do ---


def _either(a: Any, b: Any) -> Any:
    """Join by or. True or missing is true, so that ``nJet < 2 | Jet_pt[1] > 50`` keeps the events with one jet."""
    joined = np.logical_or(a, b)
    if not _is_option(joined):
        return joined
    import awkward as ak

    sure = np.logical_or(missing_to_false(np.not_equal(a, 0)), missing_to_false(np.not_equal(b, 0)))
    return ak.mask(sure, np.logical_or(sure, ~ak.is_none(joined, axis=-1)))


def _both(a: Any, b: Any) -> Any:
    """Join by and; false and missing is false."""
    joined = np.logical_and(a, b)
    if not _is_option(joined):
        return joined
    return np.logical_not(_either(np.logical_not(a), np.logical_not(b)))


def _power(base: Any, exponent: Any) -> Any:
    """Raise to a power; integers only to a literal, non-negative one: others may overflow or be fractions."""
    if _kind(base) == "integer" and not (isinstance(exponent, int) and exponent >= 0):
        base = np.multiply(base, 1.0)
    return np.power(base, exponent)


def _delta_phi(a: Any, b: Any) -> Any:
    """Wrap a - b into [-pi, pi); small differences stay exact, and rounding never leaves the interval."""
    wrapped = np.subtract(a, b)
    for _ in range(2):  # rounding may leave pi itself after the first turn, and a hair below -pi after both
        wrapped = wrapped - 2 * math.pi * np.floor(wrapped / (2 * math.pi) + 0.5)
    return np.maximum(wrapped, -math.pi)


def _delta_r(eta1: Any, phi1: Any, eta2: Any, phi2: Any) -> Any:
    return np.hypot(np.subtract(eta1, eta2), _delta_phi(phi1, phi2))


def _clip(value: Any, low: Any, high: Any) -> Any:
    return np.minimum(np.maximum(value, low), high)


def _where(condition: Any, chosen: Any, other: Any) -> Any:
    condition = condition if _is_scalar(condition) else np.not_equal(condition, 0)
    branches = chosen, other
    if not any(map(_is_awkward, (condition, *branches))):
        return np.where(condition, *branches)
    import awkward as ak

    # awkward would make float64 of float32 next to a Python scalar
    dtype = np.result_type(*(branch if _is_scalar(branch) else _dtype(branch) for branch in branches))
    return ak.values_astype(ak.where(*ak.broadcast_arrays(condition, *branches)), dtype)


def _apply(function: Callable[..., Any], operands: Sequence[Any]) -> Any:
    """Call an elementwise function, with numpy's and awkward's complaints in the user's words."""
    try:
        if all(map(_is_scalar, operands)):
            return _fold(function, operands)
        return function(*operands)
    except ValueError as error:
        if "broadcast" in str(error):
            raise ExpressionError("combines lists of different lengths") from error
        raise ExpressionError(f"cannot be computed: {_first_line(error)}") from error
    except (TypeError, OverflowError) as error:
        raise ExpressionError(f"cannot be computed: {_first_line(error)}") from error


def _fold(function: Callable[..., Any], operands: Sequence[Any]) -> Any:
    """Compute with constants only; an integer beyond 64 bits becomes a float instead of wrapping around."""
    result = np.asarray(function(*operands)).item()
    if isinstance(result, int) and not isinstance(result, bool) and function not in _BITWISE:
        rough = float(function(*map(float, operands)))
        return result if abs(rough) < 2**63 else rough
    return result


class Function(NamedTuple):
    """An elementwise function of the language: what it computes, of how many arguments, after which preparation."""

    compute: Callable[..., Any]
    arity: int
    prepare: Callable[[Sequence[Any]], Sequence[Any]] = _numbers


_UNARY_UFUNCS = (
    "sqrt exp log log10 log1p expm1 sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh "
    "floor ceil sign isnan isfinite"
)
FUNCTIONS: dict[str, Function] = {
    **{name: Function(getattr(np, name), 1) for name in _UNARY_UFUNCS.split()},
    **{name: Function(getattr(np, name), 2) for name in ("minimum", "maximum", "hypot", "arctan2")},
    "abs": Function(np.absolute, 1),
    "round": Function(np.rint, 1),
    "asin": Function(np.arcsin, 1),
    "acos": Function(np.arccos, 1),
    "atan": Function(np.arctan, 1),
    "asinh": Function(np.arcsinh, 1),
    "acosh": Function(np.arccosh, 1),
    "atanh": Function(np.arctanh, 1),
    "atan2": Function(np.arctan2, 2),
    "pow": Function(_power, 2),
    "clip": Function(_clip, 3),
    "where": Function(_where, 3, _choice),
    "delta_phi": Function(_delta_phi, 2),
    "delta_r": Function(_delta_r, 4),
}
_MINMAX = {"min": FUNCTIONS["minimum"], "max": FUNCTIONS["maximum"]}  # of several arguments

_BITWISE = (np.bitwise_or, np.bitwise_and, np.left_shift, np.right_shift, np.invert)
_UNARY = {
    "+": Function(np.positive, 1),
    "-": Function(np.negative, 1),
    "~": Function(np.invert, 1, _integers),
    "!": Function(np.logical_not, 1, _truths),
}
_BINARY = {
    "||": Function(_either, 2, _truths),
    "&&": Function(_both, 2, _truths),
    "|": Function(np.bitwise_or, 2, _integers),
    "&": Function(np.bitwise_and, 2, _integers),
    "<<": Function(np.left_shift, 2, _integers),
    ">>": Function(np.right_shift, 2, _integers),
    "+": Function(np.add, 2),
    "-": Function(np.subtract, 2),
    "*": Function(np.multiply, 2),
    "/": Function(np.divide, 2),
    "//": Function(np.floor_divide, 2),
    "%": Function(np.remainder, 2),
    "**": Function(_power, 2),
}
_COMPARE = {
    "<": Function(np.less, 2, _comparables),
    "<=": Function(np.less_equal, 2, _comparables),
    ">": Function(np.greater, 2, _comparables),
    ">=": Function(np.greater_equal, 2, _comparables),
    "==": Function(np.equal, 2, _comparables),
    "!=": Function(np.not_equal, 2, _comparables),
}


# --- reducers and indices, which need awkward ---


def _reducer(name: str, prepare: Callable[[Any], Any] = _widened, **options: Any) -> Callable[[Any], Any]:
    """Make a reducer along the last axis from the awkward function of that name."""

    def reduce(values: Any) -> Any:
        import awkward as ak

        return getattr(ak, name)(prepare(values), axis=-1, **options)

    return reduce


def _as_it_is(values: Any) -> Any:
    return values


_count = _reducer("count", _as_it_is)
_count_nonzero = _reducer("count_nonzero", _as_it_is)


def _num(values: Any) -> Any:
    """Count the true ones of conditions, or the elements of a list."""
    return (_count_nonzero if _kind(values) == "boolean" else _count)(values)


REDUCERS: dict[str, Callable[[Any], Any]] = {
    "num": _num,
    "count_nonzero": _count_nonzero,
    "any": _reducer("any", _as_it_is),
    "all": _reducer("all", _as_it_is),
    "sum": _reducer("sum"),
    "mean": _reducer("mean", mask_identity=True),
    "min": _reducer("min"),
    "max": _reducer("max"),
    "argmin": _reducer("argmin"),
    "argmax": _reducer("argmax"),
}


def _valid(index: Any, counts: Any) -> Any:
    """Hide the indices that point to nothing: -1 in NanoAOD, or beyond the end of an event's list."""
    import awkward as ak

    return ak.mask(index, (index >= 0) & (index < counts))


def _pick(values: Any, index: Any) -> Any:
    """Take one element of each event's list; a literal that is negative counts from the end."""
    import awkward as ak

    counts = ak.num(values, axis=1)
    if _is_scalar(index):
        index = (counts if index < 0 else counts * 0) + index
    return ak.firsts(values[ak.singletons(_valid(index, counts))], axis=1)


def _gather(values: Any, index: Any) -> Any:
    """Take an element for each of another list's indices, missing where they point to nothing."""
    import awkward as ak

    return values[_valid(index, ak.num(values, axis=1))]


def _masked(values: Any, mask: Any) -> Any:
    """Keep the elements where a list of conditions of the same length is true."""
    import awkward as ak

    if not ak.all(ak.num(values, axis=1) == ak.num(mask, axis=1)):
        raise ExpressionError("masks lists of different lengths")
    return values[missing_to_false(mask)]


def _indexed(values: Any, item: Any) -> Any:
    if isinstance(item, slice):
        return values[:, item]
    kind = _kind(item)
    if kind == "integer":
        return (_pick if _ndim(item) < 2 else _gather)(values, _widened(item))
    if kind == "boolean" and _ndim(item) > 1:
        return _masked(values, item)
    if kind == "boolean":
        raise ExpressionError("has one condition per event as its mask, where one per element is needed")
    raise ExpressionError(f"needs integers or conditions as its index, not {kind}")


def _ndim(value: Any) -> int:
    return 0 if _is_scalar(value) else int(value.ndim)


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
        value = _settle(value)
        if _is_scalar(value):
            return value
        if self.length not in (None, len(value)):
            raise ExpressionError(f"mixes lengths: '{source}' has {len(value)} values, others have {self.length}")
        self.length = len(value)
        return value

    def unary(self, node: syntax.Unary, values: Sequence[Any]) -> Any:
        operator = "!" if node.operator == "~" and _kind(values[0]) == "boolean" else node.operator
        return _operate(_UNARY[operator], values)

    def binary(self, node: syntax.Binary, values: Sequence[Any]) -> Any:
        operator = node.operator
        if operator in ("&", "|"):
            kinds = {_kind(value) for value in values}
            if kinds == {"boolean"}:
                operator *= 2
            elif kinds != {"integer"}:
                raise ExpressionError(_trap(node, values, self.expression.text))
        return _operate(_BINARY[operator], values)

    def compare(self, node: syntax.Compare, values: Sequence[Any]) -> Any:
        pairs = zip(node.operators, values, values[1:])
        return _joined("&&", [_compare(*pair) for pair in pairs])

    def call(self, node: syntax.Call, values: Sequence[Any]) -> Any:
        if _is_reduction(node):
            return self.reduction(node, values[0])
        if node.function in _MINMAX:
            return functools.reduce(lambda a, b: _operate(_MINMAX[node.function], [a, b]), values)
        if node.function in FUNCTIONS:
            return _operate(FUNCTIONS[node.function], values)
        try:
            return self.admit(self.expression._functions[node.function](*values), node.function)
        except ExpressionError:
            raise
        except Exception as error:  # a user's function may fail in any way
            raise ExpressionError(f"fails with {type(error).__name__}: {_first_line(error)}") from error

    def reduction(self, node: syntax.Call, values: Any) -> Any:
        (argument,) = node.arguments
        self.need_lists(argument, values, "reduce")
        if _kind(values) == "string":
            raise ExpressionError("needs numbers, not strings")
        return _settle(REDUCERS[node.function](values))

    def index(self, node: syntax.Index, values: Sequence[Any]) -> Any:
        value, item = values
        self.need_lists(node.value, value, "index")
        try:
            return _settle(_indexed(value, item))
        except (ValueError, TypeError) as error:
            raise ExpressionError(f"cannot be indexed: {_first_line(error)}") from error

    def need_lists(self, node: Node, value: Any, verb: str) -> None:
        if _ndim(value) < 2:
            shown = _quoted(self.expression.text[slice(*node.span)])
            raise ExpressionError(f"has nothing to {verb}: {shown} is already one value per event")

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


def _operate(function: Function, values: Sequence[Any]) -> Any:
    return _apply(function.compute, function.prepare(values))


def _joined(operator: str, conditions: Sequence[Any]) -> Any:
    return functools.reduce(lambda a, b: _operate(_BINARY[operator], [a, b]), conditions)


def _compare(operator: str, left: Any, right: Any) -> Any:
    if operator in ("in", "not in"):
        found = _joined("||", [_compare("==", left, item) for item in right])
        return found if operator == "in" else _operate(_UNARY["!"], [found])
    if "string" in (_kind(left), _kind(right)) and operator not in ("==", "!="):
        raise ExpressionError("orders strings, which only have ==, != and in")
    return _operate(_COMPARE[operator], [left, right])


def _trap(node: syntax.Binary, values: Sequence[Any], text: str) -> str:
    """Explain & and | between unlike operands; ``id & 2 == 2`` is the case that C and Python habits lead to."""
    kinds = " with ".join(_kind(value) for value in values)
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


def _is_reduction(node: syntax.Call) -> bool:
    return node.function in REDUCERS and not (node.function in _MINMAX and len(node.arguments) > 1)


def _owner(node: Node, inner: Sequence[tuple[Any, str | None]], owners: Mapping[str, str | None]) -> str | None:
    """Tell which collection the lists of a node belong to, from the values and owners of its children."""
    if isinstance(node, syntax.Name):
        return owners.get(node.name)
    if isinstance(node, syntax.Index):
        item, owner = inner[1]
        if isinstance(item, slice) or (_ndim(item) > 1 and _kind(item) == "boolean"):
            return ""
        return owner if _ndim(item) > 1 else None
    if isinstance(node, syntax.Call) and not _is_elementwise(node):
        return None if node.function in REDUCERS else UNTRACED
    known = {owner for _, owner in inner} - {None}
    if len(known) > 1:
        return UNTRACED if UNTRACED in known else ""
    return next(iter(known), None)


def _is_elementwise(node: Node) -> bool:
    if isinstance(node, syntax.Call):
        return node.function in FUNCTIONS or (node.function in _MINMAX and not _is_reduction(node))
    return not isinstance(node, syntax.Index)


def _check_call(node: syntax.Call, functions: Mapping[str, Callable[..., Any]]) -> None:
    """Refuse an unknown function or a wrong number of arguments."""
    name, given = node.function, len(node.arguments)
    if name in FUNCTIONS:
        expected = FUNCTIONS[name].arity
    elif name in REDUCERS:
        expected = max(given, 1) if name in _MINMAX else 1
    elif name in functions:
        return
    else:
        raise ExpressionError(f"calls an unknown function '{name}'{nearest(name, [*FUNCTIONS, *REDUCERS, *functions])}")
    if given != expected:
        raise ExpressionError(f"calls {name} with {given} argument{'s' * (given != 1)}, it takes {expected}")


def _mistake(text: str, where: str, problem: str, node: Node | None = None) -> UserError:
    """Put the place before a problem: the key, the text, and the part of it where it is not the whole."""
    part = text[slice(*node.span)] if node and not isinstance(node, syntax.Name) else text
    place = "" if part.strip() == text.strip() else f": {_quoted(part)}"
    return UserError(f"{where}: {_quoted(text)}{place} {problem}")


def _quoted(text: str) -> str:
    line = _shorten(text)
    return f'"{line}"' if "'" in line else f"'{line}'"


def _shorten(text: str) -> str:
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _first_line(error: BaseException) -> str:
    return _shorten((str(error).strip() or "no reason given").splitlines()[0])
