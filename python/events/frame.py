"""The columns of a chunk with what is defined on top of them, and their values wherever a table row needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import FileError, UserError, nearest
from .columns import Branch, Chunk, Column, collection_name, column_of_awkward, offsets_of
from .expressions import UNTRACED, Expression
from .operations import without_missing

LABEL = "label"
PAIR_VARIABLES = ("delta_r", "delta_eta", "delta_phi")
_PRIMES = (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109)
_PROBE_VALUES = np.array([1, 0, 100, -1, 3, 1e6, -1e6])

Resolver = Callable[[str], str]


@dataclass
class Level:
    """Where values are wanted: per event, per object of a collection, or per pair of a row and a constituent.

    Attributes
    ----------
    name
        For messages: "event", "Jet", "Jet and SV".
    size
        Number of values.
    events
        (size,) index of the event of each place; None where places are the events.
    objects
        For every collection known here, the (size,) index into its concatenated lists; None where that is the identity.
    extra
        Further values, e.g. ``delta_r`` of a pair.
    """

    name: str
    size: int
    events: np.ndarray | None = None
    objects: dict[str, np.ndarray | None] = field(default_factory=dict)
    extra: dict[str, np.ndarray] = field(default_factory=dict)


class Schema:
    """Which columns there are, and to which collection a column of lists belongs.

    Lists that happen to be equally long are never taken for one another: expressions are traced, and what only a look
    at lengths can tell is decided by a probe, made-up events in which every collection has a length of its own. It
    describes the file and is shared by all chunks; what is defined on top is known to each :class:`Frame`.
    """

    def __init__(self, path: str, branches: Mapping[str, Branch], names: Iterable[str]) -> None:
        self.path = path
        self.branches = branches
        self.owner: dict[str, str | None] = {}
        self._result_owner: dict[tuple[str, str], str] = {}
        for name in names:
            branch = branches[name]
            if branch.problem:
                raise FileError(path, f"{name} cannot be read: it {branch.problem}")
            if branch.dtype is None:
                raise UserError(
                    f"{name}: columns of type {branch.type_name} are not read; only numbers and lists of them"
                )
            self.owner[name] = collection_name(branch, branches) if branch.jagged else None

    def for_file(self, path: str, branches: Mapping[str, Branch]) -> Schema | None:
        """Return that of another file which has columns of these names; None where their types differ."""
        other = Schema(path, branches, self.owner)
        if other.owner != self.owner or any(branches[n].dtype != self.branches[n].dtype for n in self.owner):
            return None
        other._result_owner = self._result_owner
        return other

    @cached_property
    def collections(self) -> set[str]:
        """Names of the file's collections; to know them, all its branches have to be described."""
        return {collection_name(b, self.branches) for b in self.branches.values() if b.jagged}

    def probe(self) -> Chunk:
        """Make events in which every collection has its own length; values vary, so that masks remove some.

        At the end come an event without any objects and one that lacks only those of one collection, for each.
        """
        collections = list(dict.fromkeys(o for o in self.owner.values() if o))
        if len(collections) > len(_PRIMES):
            raise UserError(f"expressions use {len(collections)} collections, at most {len(_PRIMES)} are possible")
        full_events = len(_PROBE_VALUES)
        events = full_events + 1 + len(collections)
        offsets = {}
        for i, (collection, length) in enumerate(zip(collections, _PRIMES)):
            counts = np.full(events, length)
            counts[[full_events, full_events + 1 + i]] = 0
            offsets[collection] = offsets_of(counts)
        columns = {}
        for name, owner in self.owner.items():
            lists = offsets[owner] if owner else None
            values = np.resize(_PROBE_VALUES, events if lists is None else lists[-1])
            dtype = np.dtype(self.branches[name].dtype)
            values = np.abs(values) if dtype.kind == "u" else values  # -1 would be 2**64 - 1
            columns[name] = Column([values.astype(np.int64).astype(dtype)], lists)
        return Chunk(0, events, columns)

    def empty(self, events: int = 0) -> Chunk:
        """Make a chunk without events, or with some that are zero everywhere and have no objects."""
        lists = np.zeros(events + 1, dtype=np.int64)
        nothing = {
            n: Column([np.zeros(0 if owner else events, self.branches[n].dtype)], lists if owner else None)
            for n, owner in self.owner.items()
        }
        return Chunk(0, events, nothing)

    def settle(
        self,
        expression: Expression,
        owner: str | None,
        offsets: np.ndarray | None,
        shared_offsets: Mapping[str, np.ndarray],
    ) -> str | None:
        """Return the collection that an expression's lists belong to.

        What a user's function returned is decided once, on the probe, by comparing with the ``shared_offsets`` offsets.
        """
        if offsets is None or owner != UNTRACED:
            return None if offsets is None else owner
        key = (expression.where, expression.text)
        if key not in self._result_owner:
            self._result_owner[key] = next((c for c, o in shared_offsets.items() if np.array_equal(o, offsets)), "")
        return self._result_owner[key]


def resolver(columns: Iterable[str], prefixes: Sequence[str], where: str, path: str) -> Resolver:
    """Make the function that finds the column a name means: ``pt`` is ``Jet_pt`` where Jet is a prefix.

    A prefix wins over a plain column of the same name, an earlier prefix over a later one.
    """
    names = set(columns)

    def resolve(name: str) -> str:
        for candidate in (*(f"{p}_{name}" for p in prefixes), name):
            if candidate in names:
                return candidate
        local = [n[len(p) + 1 :] for p in prefixes for n in names if n.startswith(f"{p}_")]
        meant = f"{prefixes[0]}_{name}" if prefixes else name
        hint = nearest(name, local) or nearest(meant, names)
        generator = not hint and name.startswith(("gen", "Gen", "LHE", "Pileup"))
        hint = hint or ("; the file has no generator branches, is it data?" if generator else "")
        raise FileError(path, f"{where}: no column {meant if name not in names else name!r}{hint}", mistake=True)

    return resolve


class Frame:
    """The columns of one chunk.

    Parameters
    ----------
    schema
        Column owners, shared by all chunks of a file.
    chunk
        The values.
    label
        The sample's label, known to expressions as ``label``.

    Attributes
    ----------
    owner
        The collection that each column's lists belong to, those of defined columns included; None for one value per
        event.
    """

    def __init__(self, schema: Schema, chunk: Chunk, label: str | None) -> None:
        self.schema = schema
        self.size = chunk.size
        self.start = chunk.start
        self.columns = dict(chunk.columns)
        self.owner = dict(schema.owner)
        self._label = label
        self._offsets: dict[str, np.ndarray] = {}
        for name, column in self.columns.items():
            owner = self.owner[name]
            if owner and column.offsets is not None:
                offsets = self._offsets.setdefault(owner, column.offsets)
                self._share(name, column, offsets)

    def _share(self, name: str, column: Column, offsets: np.ndarray) -> None:
        """Make the columns of a collection share one array of offsets: expressions then see that they fit together."""
        if column.offsets is None or column.offsets is offsets:
            return
        if not np.array_equal(column.offsets, offsets):
            raise FileError(self.schema.path, f"{name} has lists of other lengths than the rest of its collection")
        column.offsets = offsets

    def offsets(self, collection: str) -> np.ndarray:
        """Return the (n + 1,) offsets of a collection's lists."""
        if collection not in self._offsets:
            name = next(n for n in self.columns if n.startswith(f"{collection}_"))
            owner = self.owner[name]
            remedy = f"use {owner} in its place, or choose some by a mask, {owner}_x[...]" if owner else "it is no list"
            raise UserError(
                f"define.{name}: has one value per {owner or 'event'}, so {collection} is no collection: {remedy}"
            )
        return self._offsets[collection]

    def define(self, name: str, expression: Expression, resolve: Resolver) -> None:
        """Add a column; lists of their own make a new collection, or join one that was made so.

        Its name is the longest beginning of the column's name that is a collection already, or else the first word.
        """
        column, owner = self.evaluate(expression, resolve)
        if owner == "" and column.offsets is not None:
            owner = self._collection(name)
            offsets = self._offsets.setdefault(owner, column.offsets)
            if not np.array_equal(column.offsets, offsets):
                raise UserError(
                    f"{expression.where}: {expression.text!r} gives lists of other lengths than the rest of {owner}, "
                    f"whose name it begins with: call it something else, or select all columns of {owner} alike"
                )
            column.offsets = offsets
        self.owner[name] = owner
        self.columns[name] = column

    def _collection(self, name: str) -> str:
        parts = name.split("_")
        beginnings = ["_".join(parts[:i]) for i in range(len(parts) - 1, 0, -1)]
        return next((b for b in beginnings if b in self._offsets or b in self.schema.collections), parts[0])

    def evaluate(self, expression: Expression, resolve: Resolver) -> tuple[Column, str | None]:
        """Evaluate an expression for whole events.

        Returns
        -------
        tuple
            The values, and the collection that they belong to (None: one per event; "": lists of their own).
        """
        names = {n: resolve(n) for n in expression.names if not self._is_label(n)}
        late = next((c for c in names.values() if c not in self.columns), None)
        if late is not None:
            raise UserError(f"{expression.where}: {late!r} is not defined yet: 'define' goes from top to bottom")
        columns = {n: self.columns[c] for n, c in names.items()}
        owners = {self.owner[c] for c in names.values()} - {None}
        if expression.elementwise and len(owners) <= 1 and (not owners or not _has_flat(columns.values())):
            offsets = next((c.offsets for c in columns.values()), None)
            size = self.size if offsets is None else int(offsets[-1])
            result = expression.evaluate({n: c.content for n, c in columns.items()} | self._label_column())
            return Column([full(result, size, expression)], offsets), next(iter(owners), None)
        arrays = {n: c.array for n, c in columns.items()} | self._label_column()
        result, owner = expression.trace(arrays, {n: self.owner[c] for n, c in names.items()})
        column = self._as_column(result, expression)
        owner = self.schema.settle(expression, owner, column.offsets, self._offsets)
        self._check_offsets(column, owner, expression)
        return column, owner

    def _as_column(self, result: Any, expression: Expression) -> Column:
        result = without_missing(result)
        if isinstance(result, np.ndarray) or not hasattr(result, "layout"):
            return Column([full(result, self.size, expression)])
        if result.ndim > 2:
            raise UserError(
                f"{expression.where}: {expression.text!r} gives lists of lists; reduce them by sum(), any() ..."
            )
        return column_of_awkward(result)

    def values(self, expression: Expression, resolve: Resolver, level: Level) -> np.ndarray:
        """Evaluate an expression at a level.

        Returns
        -------
        numpy.ndarray
            (level.size,) values; a chunk's own array where no copy is needed, so do not write to it.

        Raises
        ------
        UserError
            When the expression gives lists where one value is needed, or the other way round.
        """
        if not expression.elementwise:
            column, owner = self.evaluate(expression, resolve)
            return self._gather(column, owner, level, expression)
        values = dict(self._label_column())
        for name in expression.names:
            if name in level.extra:
                values[name] = level.extra[name]
            elif not self._is_label(name):
                source = resolve(name)
                values[name] = self._gather(self.columns[source], self.owner[source], level, expression)
        return full(expression.evaluate(values), level.size, expression)

    def copy(self, expression: Expression, resolve: Resolver, level: Level, out: np.ndarray) -> None:
        """Write the values of an expression at a level into ``out``; plain columns go there without a detour."""
        if len(expression.names) == 1 and expression.text in expression.names and expression.text not in level.extra:
            name = resolve(expression.text)
            owner = self.owner[name]
            if (owner is None and level.events is None) or (owner in level.objects and level.objects[owner] is None):
                self._check_offsets(self.columns[name], owner, expression)
                self.columns[name].copy_to(out)
                return
        out[:] = self.values(expression, resolve, level)

    def _gather(self, column: Column, owner: str | None, level: Level, expression: Expression) -> np.ndarray:
        if column.offsets is None:
            return column.content if level.events is None else column.content[level.events]
        if owner is None or owner not in level.objects:
            raise UserError(_wrong_depth(expression, owner, level))
        self._check_offsets(column, owner, expression)
        index = level.objects[owner]
        return column.content if index is None else column.content[index]

    def _check_offsets(self, column: Column, owner: str | None, expression: Expression) -> None:
        offsets = self._offsets[owner] if owner else None
        if offsets is None or column.offsets is None or column.offsets is offsets:
            return
        if not np.array_equal(column.offsets, offsets):
            raise UserError(
                f"{expression.where}: {expression.text!r} gives lists of other lengths than {owner} has in some "
                f"events of {self.schema.path}: let its function keep all objects, and write a mask out, {owner}_x[...]"
            )

    def event_level(self) -> Level:
        """Return the level of one value per event."""
        return Level("event", self.size)

    def object_level(self, collection: str) -> Level:
        """Return the level of one value per object of a collection."""
        offsets = self.offsets(collection)
        events = np.repeat(np.arange(self.size), np.diff(offsets))
        return Level(collection, int(offsets[-1]), events, {collection: None})

    def _is_label(self, name: str) -> bool:
        return name == LABEL and self._label is not None

    def _label_column(self) -> dict[str, Any]:
        return {LABEL: self._label} if self._label is not None else {}


def full(result: Any, size: int, expression: Expression) -> np.ndarray:
    """Spread a scalar result over ``size`` values."""
    values = np.asarray(without_missing(result))
    if values.dtype.kind not in "biuf":
        raise UserError(f"{expression.where}: {expression.text!r} is no number")
    return np.broadcast_to(values, (size,)) if values.ndim == 0 else values


def _has_flat(columns: Iterable[Column]) -> bool:
    return any(c.offsets is None for c in columns)


def _wrong_depth(expression: Expression, owner: str | None, level: Level) -> str:
    expected = f"a list per event (one value per {owner})" if owner else "a list per event"
    if level.events is None:
        remedy = "reduce it by sum(), max(), any(), num() ..., or take one element, [0]"
    else:
        remedy = f"use columns of {' and '.join(level.objects)}, or reduce it by sum(), max(), any() ..."
    return (
        f"{expression.where}: {expression.text!r} gives {expected}, but one value per {level.name} is needed: {remedy}"
    )
