"""Values in a graph: tensors that know their type, whether they are lists, and where something is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import BOOL, DOUBLE, INT, DType, Graph


@dataclass(frozen=True)
class Value:
    """A value in the graph, or a constant.

    Attributes
    ----------
    dtype
        Type of the elements: BOOL, INT, FLOAT or DOUBLE.
    tensor
        The elements: (1,) of a value per event, (n,) of lists; empty for a constant.
    constant
        A Python scalar, a slice, or the tuple of values behind ``in``.
    lists
        Whether there is one list per event.
    present
        Where elements are not missing; None where none can be.
    """

    dtype: DType
    tensor: str = ""
    constant: Any = None
    lists: bool = False
    present: str | None = None

    @property
    def sample(self) -> Any:
        """Something of this type, for the functions that tell the type of a result."""
        return np.ones(1, self.dtype) if self.tensor else self.constant


def literal(value: Any) -> Value:
    """Make a constant."""
    return Value(np.asarray(value).dtype if isinstance(value, (bool, int, float)) else BOOL, constant=value)


class Emitter:
    """What all operations on values need.

    Parameters
    ----------
    graph
        Where the operators go.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.op = graph.op

    def tensor(self, value: Value, dtype: DType) -> str:
        """Return the elements in a type, those of a constant as a scalar."""
        if not value.tensor:
            return self.graph.constant(value.constant, dtype)
        return value.tensor if value.dtype == dtype else self.graph.cast(value.tensor, dtype)

    def truth(self, value: Value) -> str:
        """Return the elements as conditions: all but 0 is true."""
        if not value.tensor or value.dtype == BOOL:
            return self.tensor(value, BOOL)
        return self.op("Not", self.op("Equal", value.tensor, self.graph.constant(0, value.dtype)))

    def there(self, value: Value) -> str:
        """Return where elements are not missing, true for all of them as a scalar."""
        return value.present or self.graph.constant(True, BOOL)

    def all_there(self, values: Sequence[Value]) -> str | None:
        """Return where no value is missing; None where none can be."""
        return self.graph.all_of(list(dict.fromkeys(v.present for v in values if v.present is not None)))

    def result(self, values: Sequence[Value], dtype: DType, tensor: str) -> Value:
        """Make the value of an elementwise operation, missing where an operand is."""
        return Value(dtype, tensor, lists=any(v.lists for v in values), present=self.all_there(values))

    def without_missing(self, value: Value) -> Value:
        """Turn missing conditions into false and missing numbers into NaN."""
        if value.present is None:
            return value
        dtype = DOUBLE if value.dtype == INT else value.dtype
        empty = self.graph.constant(False if dtype == BOOL else math.nan, dtype)
        solid = self.graph.where(value.present, self.tensor(value, dtype), empty, dtype)
        return Value(dtype, solid, lists=value.lists)
