"""What values the expressions know, and what their operations, functions, reducers and indices do with them.

A value is a numpy array with one value per event, an awkward array with one list per event, or a scalar. A missing
value is an option type at the innermost level: operands of different depth have it pushed into the lists, which so keep
their lengths. Where no operand is jagged, only numpy is used.

Arithmetic on integers has 64 bits and a sign. Integers beyond that (of ``uint64``) are compared exactly, and refused by
all else. The ``//`` and ``%`` of integers are integers only if the divisor is a literal other than 0; a column may be 0
somewhere, which gives NaN, so that they are floats.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any, Callable, NamedTuple

import numpy as np

from ..errors import first_line
from .syntax import ExpressionError

_KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "float", "U": "string", "S": "string"}
_LARGEST = 2**63 - 1
_BELOW_PI = float(np.nextafter(np.float32(math.pi), np.float32(0)))


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

    dtype = _dtype(value) if kind_of(value) == "float" else np.dtype(np.float64)
    return settle(ak.fill_none(ak.values_astype(value, dtype), dtype.type(np.nan)))


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

    return settle(ak.fill_none(mask, False))


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
    return missing_to_false(value) if kind_of(value) == "boolean" else missing_to_nan(value)


# --- what values are ---


def is_scalar(value: Any) -> bool:
    """Whether a value is no array: a constant, or a property of the sample."""
    return isinstance(value, (bool, int, float, str, np.generic))


def _is_awkward(value: Any) -> bool:
    return not is_scalar(value) and not isinstance(value, np.ndarray)


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


def depth(value: Any) -> int:
    """Tell how deep a value's lists are: 0 for a scalar, 1 for one value per event, 2 for one list per event."""
    return 0 if is_scalar(value) else int(value.ndim)


def kind_of(value: Any) -> str:
    """Tell whether a value holds booleans, integers, floats or strings."""
    kind = np.dtype(type(value)).kind if is_scalar(value) else _dtype(value).kind
    if kind not in _KINDS:
        raise ExpressionError("needs a column of numbers, conditions or strings, not of records")
    return _KINDS[kind]


def settle(value: Any) -> Any:
    """Bring a value from outside into one of the forms that all else relies on.

    Scalars become Python's own, which leave float32 columns alone (NEP 50). One value per event becomes a numpy array
    unless some are missing, fixed-size lists become lists, and foreign byte order is swapped.
    """
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if is_scalar(value):
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
    if is_scalar(value) or _dtype(value) == np.int64 or kind_of(value) == "float":
        return value
    if _dtype(value) == np.uint64 and _any(value > np.uint64(_LARGEST)):
        raise ExpressionError(
            f"holds an integer above {_LARGEST}, which 64 bits with a sign cannot hold: such can only be compared"
        )
    return _cast(value, np.int64)


def _any(mask: Any) -> bool:
    if isinstance(mask, np.ndarray):
        return bool(mask.any())
    import awkward as ak

    return bool(ak.any(mask, axis=None))


def _cast(value: Any, dtype: Any) -> Any:
    """Change the type of a value's numbers, whatever its lists."""
    if is_scalar(value):
        return np.dtype(dtype).type(value).item()
    if isinstance(value, np.ndarray):
        return value.astype(dtype, copy=False)
    import awkward as ak

    return ak.values_astype(value, dtype)


def _common(values: Sequence[Any]) -> np.dtype[Any]:
    """Tell the type that numbers have together; scalars leave that of the columns alone, also next to lists."""
    dtype: np.dtype[Any] = np.result_type(*(value if is_scalar(value) else _dtype(value) for value in values))
    return dtype


def _solid(value: Any) -> Any:
    """Replace missing values by zero, to compute where they do not matter."""
    if not _is_option(value):
        return value
    import awkward as ak

    return ak.fill_none(value, _dtype(value).type(0), axis=-1)


def _present(value: Any) -> Any:
    """Say where a value is not missing."""
    if not _is_option(value):
        return True
    import awkward as ak

    return np.logical_not(ak.is_none(value, axis=-1))


# --- what operands an operation takes ---


def _truths(values: Sequence[Any]) -> Sequence[Any]:
    if any(kind_of(value) == "string" for value in values):
        raise ExpressionError("needs conditions or numbers, not a string: compare it with == first")
    return [bool(value) if is_scalar(value) else value for value in values]


def _numbers(values: Sequence[Any]) -> Sequence[Any]:
    if any(kind_of(value) == "string" for value in values):
        raise ExpressionError("needs numbers, not a string: strings only have ==, != and in")
    return [_widened(value) for value in values]


def _integers(values: Sequence[Any]) -> Sequence[Any]:
    others = {kind_of(value) for value in values} - {"integer"}
    if others:
        raise ExpressionError(f"needs integers, not {' or '.join(sorted(others))}")
    return [_widened(value) for value in values]


def _comparables(values: Sequence[Any]) -> Sequence[Any]:
    """Keep integers exact: awkward refuses a Python integer that does not fit the column's type, numpy scalars fit."""
    kinds = {kind_of(value) for value in values}
    if "string" in kinds and len(kinds) > 1:
        raise ExpressionError("compares a string with a number")
    if "string" in kinds or all(map(is_scalar, values)):
        return values
    if "float" in kinds:
        return [float(value) if is_scalar(value) else value for value in values]
    return [(np.int64 if value < 2**63 else np.uint64)(value) if is_scalar(value) else value for value in values]


def _choice(values: Sequence[Any]) -> Sequence[Any]:
    condition, *branches = values
    (condition,) = _truths([condition])
    if any(kind_of(branch) != "boolean" for branch in branches):
        branches = list(_numbers(branches))
    return condition, *branches


def _aligned(values: Sequence[Any]) -> Sequence[Any]:
    """Push the missing values among operands of different depth into the lists, which would be missing as a whole."""
    deepest = max(values, key=depth)
    return [
        _pushed(value, deepest) if depth(value) < depth(deepest) and _is_option(value) else value for value in values
    ]


def _pushed(value: Any, lists: Any) -> Any:
    """Give every element of the lists what its event has: a missing value for each, and none in an empty list."""
    import awkward as ak

    positions = ak.local_index(lists, axis=-1)
    solid, present, _ = ak.broadcast_arrays(_solid(value), _present(value), positions)
    return ak.mask(solid, present)


# --- what operations do ---


def _either(a: Any, b: Any) -> Any:
    """Join by or. True or missing is true, so that ``nJet < 2 | Jet_pt[1] > 50`` keeps the events with one jet."""
    result = np.logical_or(a, b)
    if not _is_option(result):
        return result
    import awkward as ak

    sure = np.logical_or(missing_to_false(np.not_equal(a, 0)), missing_to_false(np.not_equal(b, 0)))
    return ak.mask(sure, np.logical_or(sure, _present(result)))


def _both(a: Any, b: Any) -> Any:
    """Join by and; false and missing is false."""
    result = np.logical_and(a, b)
    if not _is_option(result):
        return result
    return np.logical_not(_either(np.logical_not(a), np.logical_not(b)))


def _power(base: Any, exponent: Any) -> Any:
    """Raise to a power; integers only to a literal, non-negative one: others may overflow or be fractions."""
    if kind_of(base) == "integer" and not (isinstance(exponent, int) and exponent >= 0):
        base = np.multiply(base, 1.0)
    return np.power(base, exponent)


def _quotient(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """Make a division of integers by anything but a literal NaN where it is one by zero: numpy has 0 there."""

    def divide(a: Any, b: Any) -> Any:
        if "float" in (kind_of(a), kind_of(b)) or (is_scalar(b) and b != 0):
            return function(a, b)
        return _where(np.not_equal(b, 0), np.multiply(function(a, b), 1.0), math.nan)

    return divide


def delta_phi(a: Any, b: Any) -> Any:
    """Wrap a - b into [-pi, pi), in double precision; the result is in single precision if the operands are."""
    wrapped = _turned(a, b)
    if _common((a, b)) != np.float32:
        return wrapped
    return _cast(np.minimum(wrapped, _BELOW_PI), np.float32)


def delta_r(eta1: Any, phi1: Any, eta2: Any, phi2: Any) -> Any:
    """Compute the distance of two directions, in the precision of :func:`delta_phi`."""
    delta_eta = np.subtract(_cast(eta1, np.float64), _cast(eta2, np.float64))
    distance = np.hypot(delta_eta, _turned(phi1, phi2))
    return _cast(distance, np.float32) if _common((eta1, phi1, eta2, phi2)) == np.float32 else distance


def _turned(a: Any, b: Any) -> Any:
    """Wrap a - b into [-pi, pi); small differences stay exact, and rounding never leaves the interval."""
    wrapped = np.subtract(_cast(a, np.float64), _cast(b, np.float64))
    for _ in range(2):  # rounding may leave pi itself after the first turn, and a hair below -pi after both
        wrapped = wrapped - 2 * math.pi * np.floor(wrapped / (2 * math.pi) + 0.5)
    return np.maximum(wrapped, -math.pi)


def _clip(value: Any, low: Any, high: Any) -> Any:
    return np.minimum(np.maximum(value, low), high)


def _column_itself(column: Any, default: Any) -> Any:
    """Return the column: where a file lacks it, ``events.view`` has put the default in its place."""
    return column


def _is_missing(value: Any) -> Any:
    return _filled(np.isnan(value), True)


def _is_finite(value: Any) -> Any:
    return _filled(np.isfinite(value), False)


def _filled(mask: Any, value: bool) -> Any:
    if not _is_option(mask):
        return mask
    import awkward as ak

    return settle(ak.fill_none(mask, value, axis=-1))


def _where(condition: Any, chosen: Any, other: Any) -> Any:
    """Choose; what is missing in the other branch does not matter."""
    condition = condition if is_scalar(condition) else np.not_equal(condition, 0)
    if not any(map(_is_awkward, (condition, chosen, other))):
        return np.where(condition, chosen, other)
    import awkward as ak

    # awkward would make float64 of float32 next to a Python scalar
    solid = ak.broadcast_arrays(*map(_solid, (condition, chosen, other)))
    result = ak.values_astype(ak.where(*solid), _common((chosen, other)))
    if not any(map(_is_option, (condition, chosen, other))):
        return result
    present = _where(_solid(condition), _present(chosen), _present(other))
    return ak.mask(result, np.logical_and(_present(condition), present))


def _apply(function: Callable[..., Any], operands: Sequence[Any]) -> Any:
    """Call an elementwise function, with numpy's and awkward's complaints in the user's words."""
    try:
        if all(map(is_scalar, operands)):
            return _fold(function, operands)
        return function(*_aligned(operands))
    except ValueError as error:
        if "broadcast" in str(error):
            raise ExpressionError("combines lists of different lengths") from error
        raise ExpressionError(f"cannot be computed: {first_line(error)}") from error
    except (TypeError, OverflowError) as error:
        raise ExpressionError(f"cannot be computed: {first_line(error)}") from error


def _fold(function: Callable[..., Any], operands: Sequence[Any]) -> Any:
    """Compute with constants only; an integer beyond 64 bits becomes a float instead of wrapping around."""
    result = np.asarray(function(*operands)).item()
    if isinstance(result, int) and not isinstance(result, bool) and function not in _BITWISE:
        rough = float(function(*map(float, operands)))
        return result if abs(rough) < 2**63 else rough
    return result


def _flat(low: Any, high: Any, uniform: Any) -> Any:
    return low + (high - low) * uniform


class Function(NamedTuple):
    """An elementwise function of the language: what it computes, of how many arguments, after which preparation."""

    compute: Callable[..., Any]
    arity: int
    prepare: Callable[[Sequence[Any]], Sequence[Any]] = _numbers


_UNARY_UFUNCS = (
    "sqrt exp log log10 log1p expm1 sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh "
    "floor ceil sign"
)
FUNCTIONS: dict[str, Function] = {
    **{name: Function(getattr(np, name), 1) for name in _UNARY_UFUNCS.split()},
    **{name: Function(getattr(np, name), 2) for name in ("minimum", "maximum", "hypot", "arctan2")},
    "abs": Function(np.absolute, 1),
    "isnan": Function(_is_missing, 1),
    "is_missing": Function(_is_missing, 1),
    "isfinite": Function(_is_finite, 1),
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
    "default": Function(_column_itself, 2, list),
    "flat": Function(_flat, 2),
    "where": Function(_where, 3, _choice),
    "delta_phi": Function(delta_phi, 2),
    "delta_r": Function(delta_r, 4),
}
MINMAX = {"min": FUNCTIONS["minimum"], "max": FUNCTIONS["maximum"]}  # of several arguments

_BITWISE = (np.bitwise_or, np.bitwise_and, np.left_shift, np.right_shift, np.invert)
UNARY = {
    "+": Function(np.positive, 1),
    "-": Function(np.negative, 1),
    "~": Function(np.invert, 1, _integers),
    "!": Function(np.logical_not, 1, _truths),
}
BINARY = {
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
    "//": Function(_quotient(np.floor_divide), 2),
    "%": Function(_quotient(np.remainder), 2),
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
    """Make a reducer along the last axis from the awkward function of that name.

    It skips missing elements as if they were not in the list. Where nothing else is, as in an empty list, ``num``,
    ``sum`` and ``count_nonzero`` are 0, ``any`` is false, ``all`` is true, and the others are missing.
    """

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
    return (_count_nonzero if kind_of(values) == "boolean" else _count)(values)


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
    if is_scalar(index):
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


def indexed(values: Any, item: Any) -> Any:
    """Compute ``values[item]`` for lists and a slice, an index or a mask."""
    if isinstance(item, slice):
        return values[:, item]
    kind = kind_of(item)
    if kind == "integer":
        return (_pick if depth(item) < 2 else _gather)(values, _widened(item))
    if kind == "boolean" and depth(item) > 1:
        return _masked(values, item)
    if kind == "boolean":
        raise ExpressionError("has one condition per event as its mask, where one per element is needed")
    raise ExpressionError(f"needs integers or conditions as its index, not {kind}")


# --- for the evaluation ---


def operate(function: Function, values: Sequence[Any]) -> Any:
    """Apply an elementwise function to operands as they are."""
    return _apply(function.compute, function.prepare(values))


def joined(operator: str, conditions: Sequence[Any]) -> Any:
    """Join conditions by ``&&`` or ``||``."""
    return functools.reduce(lambda a, b: operate(BINARY[operator], [a, b]), conditions)


def compare(operator: str, left: Any, right: Any) -> Any:
    """Compare two values, or one with the tuple behind ``in``."""
    if operator in ("in", "not in"):
        result = joined("||", [compare("==", left, item) for item in right])
        return result if operator == "in" else operate(UNARY["!"], [result])
    if "string" in (kind_of(left), kind_of(right)) and operator not in ("==", "!="):
        raise ExpressionError("orders strings, which only have ==, != and in")
    return operate(_COMPARE[operator], [left, right])
