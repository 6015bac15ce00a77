"""Events that are in memory already: awkward arrays, NanoEvents, or columns of numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np

from ..errors import UserError
from .columns import Branch, Chunk, columns_of_form
from .reader import EventFile, awkward_chunk

_NAME = "the events in memory"


class ArrayFile(EventFile):
    """Events in memory as a table like any other.

    Parameters
    ----------
    events
        A record array of awkward, whose fields are columns (``Jet_pt``) or records (``Jet`` with ``pt``), as those of
        NanoEvents; or columns by name: arrays of numpy, of lists too (``RDataFrame.AsNumpy``), or of awkward. Only the
        columns that are asked for are read.

    Raises
    ------
    UserError
        When it is something else, or the columns have different lengths.
    """

    def __init__(self, events: Any) -> None:
        self.path = _NAME
        self.uuid = "0" * 32
        self._columns = dict(_columns(events))
        self._counters = _counters(self._columns)
        self.entries = _length(events)
        self.branches = {name: branch for name, (branch, _) in self._columns.items()}
        self.branches |= {name: Branch(name, np.dtype("i4"), type_name="counter") for name in self._counters}

    def _chunks(self, names: Sequence[str], step: int, start: int, stop: int) -> Iterator[Chunk]:
        for low in range(start, min(stop, self.entries or 0), step):
            part = slice(low, min(low + step, stop, self.entries or 0))
            yield awkward_chunk(low, {name: self._values(name, part) for name in names}, part.stop - low)

    def _values(self, name: str, part: slice) -> Any:
        if name in self._columns:
            return self._columns[name][1]()[part]
        return ak.values_astype(ak.num(self._columns[self._counters[name]][1]()[part]), "int32")


def _columns(events: Any) -> Iterator[tuple[str, tuple[Branch, Any]]]:
    """Yield the description of every column, and what gives its values."""
    if isinstance(events, ak.Array) and ak.fields(events):
        form = events.layout.form
        while not form.is_record:  # joined or selected events
            form = form.content
        for field in form.fields:
            for name, path, dtype, jagged in columns_of_form(field, form.content(field)):
                counter = f"n{path[0]}" if jagged and len(path) > 1 else None
                yield name, (_described(name, dtype, jagged, counter), lambda path=path: events[path])
    elif isinstance(events, Mapping):
        for name, values in events.items():
            array = _as_awkward(str(name), values)
            for column, path, dtype, jagged in columns_of_form(str(name), array.layout.form):
                counter = f"n{name}" if jagged and len(path) > 1 else None
                branch = _described(column, dtype, jagged, counter)
                yield column, (branch, lambda array=array, path=path: array[path[1:]] if path[1:] else array)
    else:
        raise UserError(f"events: {type(events).__name__} is neither a record array of awkward nor columns by name")


def _described(name: str, dtype: np.dtype | None, jagged: bool, counter: str | None) -> Branch:
    return Branch(name, dtype, jagged, counter, type_name=f"{dtype}{'[]' if jagged else ''}")


def _as_awkward(name: str, values: Any) -> Any:
    if isinstance(values, ak.Array):
        return values
    array = np.asarray(values)
    if array.dtype != object:
        return ak.from_regular(ak.Array(array)) if array.ndim > 1 else ak.Array(array)
    try:  # RVecs of ROOT are sequences
        lists = [np.asarray(item) for item in array]
        flat = np.concatenate(lists) if lists else np.empty(0, np.float32)
    except ValueError as error:
        raise UserError(f"events: column {name!r} holds neither numbers nor lists of numbers ({error})") from None
    return ak.unflatten(flat, [len(item) for item in lists])


def _counters(columns: Mapping[str, tuple[Branch, Any]]) -> dict[str, str]:
    """Map the counters that NanoEvents leaves out (``nJet``) to a column of the collection."""
    of_lists = {branch.counter: name for name, (branch, _) in columns.items() if branch.counter is not None}
    return {counter: name for counter, name in of_lists.items() if counter not in columns}


def _length(events: Any) -> int:
    if not isinstance(events, Mapping):
        return len(events)
    lengths = {name: len(values) for name, values in events.items()}
    for name, length in lengths.items():
        first = next(iter(lengths))
        if length != lengths[first]:
            raise UserError(f"events: {first!r} has {lengths[first]} values, and {name!r} has {length}")
    return next(iter(lengths.values()), 0)
