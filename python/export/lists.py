"""Reducers and indices on the lists of one event, missing elements included, as ``events.operations`` has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..events.operations import MINMAX
from .functions import Math
from .graph import BOOL, DOUBLE, INT, MAX_INT, DType
from .values import Emitter, Value


class Lists(Emitter):
    """Operations on lists, (n,) with any n, also 0."""

    # --- reducers ---

    def reduced(self, name: str, value: Value) -> Value:
        """Reduce a list to a value; missing elements are as if they were not in it."""
        elements = self.op("Expand", self.there(value), self.op("Shape", value.tensor))
        if name in ("num", "count_nonzero", "any", "all"):
            return self._counted(name, value, elements)
        if value.dtype == BOOL:
            value = Value(INT, self.tensor(value, INT), lists=True, present=value.present)
        if name == "sum":
            return Value(value.dtype, self._sum(value, elements))
        count = self._total(elements)
        present = self.op("Greater", count, self.graph.constant(0, INT))
        if name == "mean":
            total = self.graph.cast(self._sum(value, elements), DOUBLE)
            return Value(DOUBLE, self.op("Div", total, self.graph.cast(count, DOUBLE)), present=present)
        extreme = self._extreme("Min" if name.endswith("min") else "Max", value, elements)
        if name in MINMAX:
            return Value(value.dtype, extreme, present=present)
        return Value(INT, self._place(value, elements, extreme), present=present)

    def _counted(self, name: str, value: Value, present: str) -> Value:
        zero, truth = self.graph.constant(0, INT), self.truth(value)
        if name == "all":
            failed = self._total(self.op("And", present, self.op("Not", truth)))
            return Value(BOOL, self.op("Equal", failed, zero))
        every = name == "num" and value.dtype != BOOL
        count = self._total(present if every else self.op("And", present, truth))
        return Value(BOOL, self.op("Greater", count, zero)) if name == "any" else Value(INT, count)

    def _total(self, conditions: str) -> str:
        """Count the true ones, (1,) i8."""
        return self._reduce("Sum", self.graph.cast(conditions, INT), 0, INT)

    def _reduce(self, kind: str, tensor: str, neutral: Any, dtype: DType) -> str:
        """Reduce (n,) to (1,), with a neutral element among them: not every runtime reduces nothing."""
        longer = self.graph.longer(tensor, neutral, dtype)
        return self.op(f"Reduce{kind}", longer, self.graph.constant([0], INT), keepdims=1)

    def _sum(self, value: Value, present: str) -> str:
        wide = INT if value.dtype == INT else DOUBLE
        solid = self.op("Where", present, self.tensor(value, wide), self.graph.constant(0, wide))
        total = self._reduce("Sum", solid, 0, wide)
        return total if wide == value.dtype else self.graph.cast(total, value.dtype)

    def _extreme(self, kind: str, value: Value, present: str) -> str:
        """Return the least or the largest element that is there and not NaN."""
        low, high = (-MAX_INT - 1, MAX_INT) if value.dtype == INT else (-math.inf, math.inf)
        neutral = high if kind == "Min" else low
        counted = self.op("And", present, self.op("Not", Math(self.graph, value.dtype).is_nan(value.tensor)))
        solid = self.op("Where", counted, value.tensor, self.graph.constant(neutral, value.dtype))
        return self._reduce(kind, solid, neutral, value.dtype)

    def _place(self, value: Value, present: str, extreme: str) -> str:
        """Return the first place of the extreme; as in a search from the left, a NaN only counts as the very first."""
        is_extreme = self.op("And", present, self.op("Equal", value.tensor, extreme))
        is_nan = self.op("And", present, Math(self.graph, value.dtype).is_nan(value.tensor))
        first, best, nan = (self._first(value.tensor, condition) for condition in (present, is_extreme, is_nan))
        return self.op("Where", self.op("Equal", first, nan), first, best)

    def _first(self, tensor: str, conditions: str) -> str:
        indices = self.graph.range(self.graph.size(tensor))
        candidates = self.op("Where", conditions, indices, self.graph.constant(MAX_INT, INT))
        return self._reduce("Min", candidates, MAX_INT, INT)

    # --- indices ---

    def indexed(self, value: Value, item: Value) -> Value:
        """Take elements by a slice, a mask, or one or more indices."""
        if isinstance(item.constant, slice):
            return self._sliced(value, item.constant)
        if item.dtype == BOOL and item.lists:
            mask = self.without_missing(item).tensor
            return self._each(value, lambda tensor: self.op("Compress", tensor, mask, axis=0))
        return self._picked(value, item)

    def _each(self, value: Value, take: Callable[[str], str]) -> Value:
        """Take elements, and of what says whether they are missing."""
        present = value.present
        if present is not None:
            present = take(self.op("Expand", present, self.op("Shape", value.tensor)))
        return Value(value.dtype, take(value.tensor), lists=True, present=present)

    def _sliced(self, value: Value, bounds: slice) -> Value:
        """Slice; backwards by turning the list round first, since ONNX clamps unlike Python there."""
        start, stop, step = bounds.start, bounds.stop, 1 if bounds.step is None else bounds.step
        if step < 0:
            start, stop, step = (None if start is None else ~start), (None if stop is None else ~stop), -step
            value = self._each(value, lambda tensor: self._cut(tensor, MAX_INT, -MAX_INT, -1))
        return self._each(value, lambda tensor: self._cut(tensor, start or 0, MAX_INT if stop is None else stop, step))

    def _cut(self, tensor: str, *bounds: int) -> str:
        start, stop, step = (self.graph.constant([max(-MAX_INT, min(b, MAX_INT))], INT) for b in bounds)
        return self.op("Slice", tensor, start, stop, self.graph.constant([0], INT), step)

    def _picked(self, value: Value, item: Value) -> Value:
        """Take one element, or one for each of another list's indices; missing where they point to nothing."""
        size = self.graph.size(value.tensor)
        index = item.tensor or self.graph.constant([item.constant], INT)
        if not item.tensor and item.constant < 0:
            index = self.op("Add", index, size)
        not_low = self.op("GreaterOrEqual", index, self.graph.constant(0, INT))
        valid = self.op("And", not_low, self.op("Less", index, size))
        if item.present is not None:
            valid = self.op("And", valid, item.present)
        gathered = self.op("Where", valid, index, size)
        # one more element, to which an index to nothing points
        picked = self._each(self._extended(value), lambda tensor: self.op("Gather", tensor, gathered, axis=0))
        present = valid if picked.present is None else self.op("And", valid, picked.present)
        return Value(value.dtype, picked.tensor, lists=item.lists, present=present)

    def _extended(self, value: Value) -> Value:
        longer = self.graph.longer(value.tensor, 0, value.dtype)
        if value.present is None:
            return Value(value.dtype, longer, lists=True)
        present = self.op("Expand", value.present, self.op("Shape", value.tensor))
        return Value(value.dtype, longer, lists=True, present=self.graph.longer(present, False, BOOL))
