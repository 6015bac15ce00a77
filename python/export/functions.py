"""The elementwise functions of the expressions as ONNX operators.

Each takes tensors of the type in which it computes and returns one of the same type, or conditions. What IEEE 754
rounds in one way (``+ - * / sqrt``, remainders) is computed in the type that numpy has there, so that no cut flips;
everything else in double precision, from the functions that ONNX Runtime has for doubles, and is then rounded.
"""

# ruff: noqa: D102 - methods are called as the functions of numpy that they are
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .graph import BOOL, DOUBLE, FLOAT, INT, DType, Graph

_BELOW_PI = float(np.nextafter(np.float32(math.pi), np.float32(0)))


class Math:
    """Formulas on tensors of one type.

    Parameters
    ----------
    graph
        Where the operators go.
    dtype
        The type of operands and results.
    """

    def __init__(self, graph: Graph, dtype: DType) -> None:
        self.graph = graph
        self.dtype = dtype
        self.op = graph.op

    def number(self, value: float) -> str:
        return self.graph.constant(value, self.dtype)

    def add(self, a: str, b: str) -> str:
        return self.op("Add", a, b)

    def sub(self, a: str, b: str) -> str:
        return self.op("Sub", a, b)

    def mul(self, a: str, b: str) -> str:
        return self.op("Mul", a, b)

    def div(self, a: str, b: str) -> str:
        return self.op("Div", a, b)

    def less(self, a: str, b: str) -> str:
        return self.op("Less", a, b)

    def where(self, condition: str, chosen: str, other: str) -> str:
        return self.graph.where(condition, chosen, other, self.dtype)

    def is_nan(self, a: str) -> str:
        if self.dtype in (INT, BOOL):
            return self.op("Not", self.op("Equal", a, a))
        return self.op("IsNaN", a)

    def is_finite(self, a: str) -> str:
        if self.dtype in (INT, BOOL):
            return self.op("Equal", a, a)
        return self.graph.is_finite(a, self.dtype)

    def keep_nan(self, a: str, result: str) -> str:
        """Return NaN for NaN, which some kernels lose."""
        return self.where(self.is_nan(a), a, result)

    # --- types that numpy keeps ---

    def minimum(self, a: str, b: str) -> str:
        return self.where(self.op("Or", self.less(a, b), self.is_nan(a)), a, b)

    def maximum(self, a: str, b: str) -> str:
        return self.where(self.op("Or", self.less(b, a), self.is_nan(a)), a, b)

    def clip(self, value: str, low: str, high: str) -> str:
        return self.minimum(self.maximum(value, low), high)

    def absolute(self, a: str) -> str:
        return self.op("Abs", a)

    def negative(self, a: str) -> str:
        return self.op("Neg", a)

    def positive(self, a: str) -> str:
        return a

    def sign(self, a: str) -> str:
        return self.keep_nan(a, self.op("Sign", a))

    def floor(self, a: str) -> str:
        return self._whole("Floor", a)

    def ceil(self, a: str) -> str:
        return self._whole("Ceil", a)

    def round(self, a: str) -> str:
        return self._whole("Round", a)

    def _whole(self, kind: str, a: str) -> str:
        """Round; numbers so large that they are whole, infinities and NaN are left out, which some kernels spoil."""
        if self.dtype == INT:
            return a
        small = self.less(self.absolute(a), self.number(2.0 ** np.finfo(self.dtype).nmant))
        return self.where(small, self.op(kind, a), a)

    def sqrt(self, a: str) -> str:
        return self.op("Sqrt", a)

    def _opposite(self, a: str, b: str) -> str:
        """Whether a rest is not zero and its sign not that of the divisor."""
        zero = self.number(0)
        unlike = self.op("Xor", self.less(a, zero), self.less(b, zero))
        return self.op("And", unlike, self.op("Not", self.op("Equal", a, zero)))

    def remainder(self, a: str, b: str) -> str:
        """Compute a rest with the sign of the divisor; that of integers needs a divisor other than 0."""
        if self.dtype == INT:
            return self.op("Mod", a, b)
        rest = self.op("Mod", a, b, fmod=1)
        return self.where(self._opposite(rest, b), self.add(rest, b), rest)

    def floor_divide(self, a: str, b: str) -> str:
        """Divide and round down, as numpy does; integers need a divisor other than 0."""
        if self.dtype == INT:
            rounded = self.div(a, b)  # towards zero
            rest = self.sub(a, self.mul(rounded, b))
            return self.where(self._opposite(rest, b), self.sub(rounded, self.number(1)), rounded)
        rest = self.op("Mod", a, b, fmod=1)
        quotient = self.div(self.sub(a, rest), b)
        quotient = self.where(self._opposite(rest, b), self.sub(quotient, self.number(1)), quotient)
        floor = self.floor(quotient)
        high = self.less(self.number(0.5), self.sub(quotient, floor))
        floor = self.where(high, self.add(floor, self.number(1)), floor)
        return self.where(self.op("Equal", b, self.number(0)), self.div(a, b), floor)

    def raised(self, base: str, exponent: int) -> str:
        """Raise integers to a literal power by multiplications, which wrap around as numpy's do."""
        result = self.op("Expand", self.number(1), self.op("Shape", base))
        while exponent:
            if exponent & 1:
                result = self.mul(result, base)
            base = self.mul(base, base)
            exponent >>= 1
        return result

    def shift_left(self, a: str, bits: int) -> str:
        return self.mul(a, self.number(2**bits))

    def shift_right(self, a: str, bits: int) -> str:
        return self.floor_divide(a, self.number(2**bits))

    def complement(self, a: str) -> str:
        return self.sub(self.op("Neg", a), self.number(1))

    # --- double precision ---

    def exp(self, a: str) -> str:
        return self.op("Exp", a)

    def log(self, a: str) -> str:
        return self.op("Log", a)

    def sin(self, a: str) -> str:
        return self.op("Sin", a)

    def tanh(self, a: str) -> str:
        return self.keep_nan(a, self.op("Tanh", a))

    def pow(self, a: str, b: str) -> str:
        return self.op("Pow", a, b)

    def log10(self, a: str) -> str:
        return self.div(self.log(a), self.number(math.log(10)))

    def log1p(self, a: str) -> str:
        return self._near_zero(a, 1e-5, (1, -0.5), self.log(self.add(self.number(1), a)))

    def expm1(self, a: str) -> str:
        return self._near_zero(a, 1e-5, (1, 0.5), self.sub(self.exp(a), self.number(1)))

    def cos(self, a: str) -> str:
        return self.sin(self.add(a, self.number(math.pi / 2)))

    def tan(self, a: str) -> str:
        return self.div(self.sin(a), self.cos(a))

    def sinh(self, a: str) -> str:
        difference = self.sub(self.exp(a), self.exp(self.negative(a)))
        return self._near_zero(a, 1e-2, (1, 0, 1 / 6, 0, 1 / 120), self.mul(self.number(0.5), difference))

    def cosh(self, a: str) -> str:
        return self.mul(self.number(0.5), self.add(self.exp(a), self.exp(self.negative(a))))

    def arcsinh(self, a: str) -> str:
        size = self.absolute(a)
        log = self.log(self.add(size, self.sqrt(self.add(self.mul(size, size), self.number(1)))))
        return self._near_zero(a, 1e-2, (1, 0, -1 / 6, 0, 3 / 40), self.mul(self.sign(a), log))

    def arccosh(self, a: str) -> str:
        above = self.sub(a, self.number(1))
        root = self.sqrt(self.mul(above, self.add(a, self.number(1))))
        valid = self.op("GreaterOrEqual", a, self.number(1))
        return self.where(valid, self.log1p(self.add(above, root)), self.number(math.nan))

    def arctanh(self, a: str) -> str:
        ratio = self.div(self.add(a, a), self.sub(self.number(1), a))
        return self.mul(self.number(0.5), self.log1p(ratio))

    def arctan(self, a: str) -> str:
        """Compute the arc tangent, which ONNX Runtime has in single precision only."""
        return self.graph.cast(self.op("Atan", self.graph.cast(a, FLOAT)), self.dtype)

    def arcsin(self, a: str) -> str:
        return self.arctan(self.div(a, self.sqrt(self._one_minus_square(a))))

    def arccos(self, a: str) -> str:
        one = self.number(1)
        half = self.arctan(self.sqrt(self.div(self.sub(one, a), self.add(one, a))))
        return self.where(
            self.is_nan(self.sqrt(self._one_minus_square(a))), self.number(math.nan), self.add(half, half)
        )

    def arctan2(self, y: str, x: str) -> str:
        """Compute the angle of a direction from that in the first quadrant."""
        high, wide = self.absolute(y), self.absolute(x)
        infinite = self.op("And", *(self.op("Equal", v, self.number(math.inf)) for v in (high, wide)))
        origin = self.op("And", *(self.op("Equal", v, self.number(0)) for v in (high, wide)))
        angle = self.arctan(self.div(high, wide))
        angle = self.where(infinite, self.number(math.pi / 4), angle)
        angle = self.where(origin, self.number(0), angle)
        angle = self.where(self._negative(x), self.sub(self.number(math.pi), angle), angle)
        angle = self.where(self._negative(y), self.negative(angle), angle)
        return self.where(self.op("Or", self.is_nan(x), self.is_nan(y)), self.number(math.nan), angle)

    def hypot(self, a: str, b: str) -> str:
        sides = [self.absolute(a), self.absolute(b)]
        infinite = self.op("Or", *(self.op("Equal", side, self.number(math.inf)) for side in sides))
        root = self.sqrt(self.add(self.mul(a, a), self.mul(b, b)))
        return self.where(infinite, self.number(math.inf), root)

    def turned(self, a: str, b: str) -> str:
        """Wrap a - b into [-pi, pi), step by step as ``events.operations.delta_phi`` does."""
        circle = self.number(2 * math.pi)
        wrapped = self.sub(a, b)
        for _ in range(2):
            turns = self.floor(self.add(self.div(wrapped, circle), self.number(0.5)))
            wrapped = self.sub(wrapped, self.mul(circle, turns))
        return self.maximum(wrapped, self.number(-math.pi))

    def delta_r(self, eta1: str, phi1: str, eta2: str, phi2: str) -> str:
        return self.hypot(self.sub(eta1, eta2), self.turned(phi1, phi2))

    def _one_minus_square(self, a: str) -> str:
        one = self.number(1)
        return self.mul(self.sub(one, a), self.add(one, a))

    def _negative(self, a: str) -> str:
        """Whether a number is negative, -0 too."""
        zero = self.number(0)
        inverse = self.less(self.div(self.number(1), a), zero)
        return self.op("Or", self.less(a, zero), self.op("And", self.op("Equal", a, zero), inverse))

    def _near_zero(self, a: str, below: float, series: tuple[float, ...], result: str) -> str:
        """Replace a formula by its series, coefficients from the first power on, where it would cancel."""
        total = self.number(0)
        for coefficient in reversed(series):
            total = self.mul(self.add(total, self.number(coefficient)), a)
        return self.where(self.less(self.absolute(a), self.number(below)), total, result)


NATIVE: dict[str, Callable[..., str]] = {
    "abs": Math.absolute, "sign": Math.sign, "floor": Math.floor, "ceil": Math.ceil, "round": Math.round,
    "sqrt": Math.sqrt, "minimum": Math.minimum, "maximum": Math.maximum, "min": Math.minimum, "max": Math.maximum,
    "clip": Math.clip, "+": Math.add, "-": Math.sub, "*": Math.mul, "/": Math.div,
}  # fmt: skip
"""Computed in the type of the result."""

PRECISE: dict[str, Callable[..., str]] = {
    "exp": Math.exp, "log": Math.log, "log10": Math.log10, "log1p": Math.log1p, "expm1": Math.expm1,
    "sin": Math.sin, "cos": Math.cos, "tan": Math.tan, "arcsin": Math.arcsin, "asin": Math.arcsin,
    "arccos": Math.arccos, "acos": Math.arccos, "arctan": Math.arctan, "atan": Math.arctan,
    "arctan2": Math.arctan2, "atan2": Math.arctan2, "sinh": Math.sinh, "cosh": Math.cosh, "tanh": Math.tanh,
    "arcsinh": Math.arcsinh, "asinh": Math.arcsinh, "arccosh": Math.arccosh, "acosh": Math.arccosh,
    "arctanh": Math.arctanh, "atanh": Math.arctanh, "hypot": Math.hypot, "pow": Math.pow, "**": Math.pow,
    "delta_phi": Math.turned, "delta_r": Math.delta_r,
}  # fmt: skip
"""Computed in double precision."""


def apply(graph: Graph, name: str, dtype: DType, operands: list[str]) -> str:
    """Emit a function of :data:`NATIVE` or :data:`PRECISE`, whose operands come as :func:`working_type` says."""
    if name in NATIVE:
        return NATIVE[name](Math(graph, dtype), *operands)
    doubles = Math(graph, DOUBLE)
    result = PRECISE[name](doubles, *operands)
    if dtype == DOUBLE:
        return result
    if name == "delta_phi":
        result = doubles.minimum(result, doubles.number(_BELOW_PI))
    return graph.cast(result, dtype)


def working_type(name: str, dtype: DType) -> DType:
    """Tell the type in which a function whose result is of type ``dtype`` computes."""
    return dtype if name in NATIVE else DOUBLE
