"""Columns of a table of events: their description, their values in one chunk, and the collections they form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Branch:
    """Description of one column.

    ``dtype`` None marks a column that cannot be read: for its type (strings, nested lists), or for what ``problem``
    says.
    """

    name: str
    dtype: np.dtype | None
    jagged: bool = False
    counter: str | None = None
    title: str = ""
    type_name: str = ""
    compressed: int | None = None
    uncompressed: int | None = None
    codec: str | None = None
    problem: str = ""


class Column:
    """The values of one column for the events of a chunk.

    Parameters
    ----------
    pieces
        The values in order, in one or more arrays of one dtype and any byte order: one value per event, or the
        concatenated lists where there are offsets.
    offsets
        None for one value per event; else (n + 1,) i8, starting at 0: list e is ``content[offsets[e]:offsets[e + 1]]``.
    """

    def __init__(self, pieces: Sequence[np.ndarray], offsets: np.ndarray | None = None) -> None:
        self.pieces = pieces
        self.offsets = offsets

    @cached_property
    def content(self) -> np.ndarray:
        """The values as one array in the machine's byte order."""
        joined = self.pieces[0] if len(self.pieces) == 1 else np.concatenate(self.pieces)
        return joined.astype(joined.dtype.newbyteorder("="), copy=False)

    def copy_to(self, out: np.ndarray) -> None:
        """Copy (and cast) the values into an array of the same length, without an intermediate one."""
        if "content" in self.__dict__:
            out[:] = self.content
            return
        start = 0
        for piece in self.pieces:
            out[start : start + len(piece)] = piece
            start += len(piece)

    def where(self, mask: np.ndarray, offsets: np.ndarray | None = None) -> Column:
        """Return the values where a mask over all of them is true, in the byte order in which they are stored.

        ``offsets`` are those of the shorter lists.
        """
        stops = np.cumsum([len(piece) for piece in self.pieces])
        masks = np.split(mask, stops[:-1])
        return Column([piece[chosen] for piece, chosen in zip(self.pieces, masks)], offsets)

    @cached_property
    def array(self) -> Any:
        """The values as expressions take them: a numpy array, or an awkward array of lists."""
        if self.offsets is None:
            return self.content
        import awkward as ak

        return ak.Array(
            ak.contents.ListOffsetArray(ak.index.Index64(self.offsets), ak.contents.NumpyArray(self.content))
        )


def offsets_of(counts: np.ndarray) -> np.ndarray:
    """Return the (n + 1,) i8 offsets of n lists of these lengths."""
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


@dataclass
class Chunk:
    """Consecutive events of a file: entries ``start`` to ``start + size``, and the columns that were asked for."""

    start: int
    size: int
    columns: dict[str, Column]


@dataclass
class Collection:
    """Branches that describe the same objects, e.g. ``Jet``; their counters never are features."""

    name: str
    branches: dict[str, Branch] = field(default_factory=dict)
    counters: list[str] = field(default_factory=list)

    def attribute(self, branch: str) -> str:
        """Return the part of a branch's name after the collection's: ``pt`` of ``Jet_pt``."""
        return branch[len(self.name) :].lstrip("_")


def collection_name(branch: Branch, branches: Mapping[str, Any]) -> str:
    """Say which collection a branch of lists belongs to.

    A counter that several branches share (``nJet``) names the collection; the private counter of a branch written by
    uproot (``nJet_jetId``) does not: the longest prefix that has a counter and is no branch decides, or else the first
    word.
    """
    counter = branch.counter
    if counter and counter.startswith("n") and branch.name.startswith(counter[1:] + "_"):
        return counter[1:]
    parts = branch.name.split("_")
    prefixes = ["_".join(parts[:i]) for i in range(len(parts) - 1, 0, -1)]
    return next((p for p in prefixes if f"n{p}" in branches and p not in branches), parts[0])


def collections(branches: Mapping[str, Branch]) -> tuple[dict[str, Collection], dict[str, Branch]]:
    """Group branches into collections.

    Returns
    -------
    tuple
        The collections by name, and the branches with one value per event that count nothing.
    """
    groups: dict[str, Collection] = {}
    counters: dict[str, str] = {}
    for branch in branches.values():
        if branch.jagged:
            owner = collection_name(branch, branches)
            groups.setdefault(owner, Collection(owner)).branches[branch.name] = branch
    for name, group in groups.items():
        counts = {b.counter for b in group.branches.values() if b.counter} | {f"n{name}"}
        group.counters = sorted(c for c in counts if c in branches and not branches[c].jagged)
        counters.update(dict.fromkeys(group.counters, name))
    flat = {n: b for n, b in branches.items() if not b.jagged and n not in counters}
    return groups, flat


def columns_of_form(name: str, form: Any) -> Iterator[tuple[str, tuple[str, ...], np.dtype | None, bool]]:
    """Take the awkward form of a field apart into plain columns.

    Yields
    ------
    tuple
        Column name, path of field names, dtype (None: not readable), and whether it holds one list per event.
        Records become one column per field: ``Jet: list of {pt, eta}`` is ``Jet_pt`` and ``Jet_eta``.
    """
    jagged = False
    inner = _without_options(form)
    if inner.is_list and not getattr(inner, "parameters", {}).get("__array__"):
        jagged = True
        inner = _without_options(inner.content)
    if inner.is_record and not inner.is_tuple:
        for key in inner.fields:
            leaf = _without_options(inner.content(key))
            yield f"{name}_{key}", (name, key), _dtype(leaf), jagged
    else:
        yield name, (name,), _dtype(inner), jagged


def _without_options(form: Any) -> Any:
    while form.is_option or form.is_indexed:
        form = form.content
    return form


def _dtype(form: Any) -> np.dtype | None:
    if form.is_unknown:  # nothing but missing values
        return np.dtype(np.float64)
    is_number = form.is_numpy and not form.inner_shape and not form.parameters.get("__array__")
    return np.dtype(form.primitive) if is_number and np.dtype(form.primitive).kind in "biuf" else None


def column_of_awkward(array: Any) -> Column:
    """Turn an awkward array of numbers or of lists of numbers into a column.

    Missing numbers become NaN, missing lists empty ones.
    """
    import awkward as ak

    layout = array.layout
    if isinstance(layout, ak.contents.ListOffsetArray) and layout.content.is_numpy and layout.purelist_depth == 2:
        offsets = np.asarray(layout.offsets.data, dtype=np.int64)
        return Column([np.asarray(layout.content.data)[offsets[0] : offsets[-1]]], offsets - offsets[0])
    if array.ndim == 1:
        return Column([_numbers(array)])
    counts = ak.to_numpy(ak.fill_none(ak.num(array), 0))
    return Column([_numbers(ak.flatten(array))], offsets_of(counts))


def _numbers(array: Any) -> np.ndarray:
    import awkward as ak

    if array.layout.is_option or array.layout.is_indexed:
        if ak.any(ak.is_none(array)):
            array = ak.fill_none(ak.values_astype(array, np.float64), np.nan)
        else:
            array = ak.drop_none(array)
    return ak.to_numpy(array)
