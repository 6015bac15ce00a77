"""The description of a TTree, from its bytes.

uproot makes objects of every member of every branch, which takes up to a millisecond a branch: longer than to read the
values of a small file, and a second for NanoAOD's 1,500. Here just what it takes to read plain branches is looked at:
one number, or one C array of numbers, per entry. The layout is that of ROOT 6 (TTree 20, TBranch 13, TLeaf 2) and of
what uproot writes. Other trees are left to uproot, and so are damaged ones: it says what is wrong with them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_HEADER = struct.Struct(">IH")
"""Bytes that follow, with a flag; version."""
_OBJECT = struct.Struct(">HII")
"""Of TObject: version, unique identifier, bits."""
_ARRAY = struct.Struct(">ii")
"""Of TObjArray: elements, lower bound."""
_TREE = struct.Struct(">qqqqqdiiiiIqqqqqq")
_TREE_RANGES = 10
"""The place of the number of cluster ranges in it."""
_BRANCH_HEAD = struct.Struct(">iiiiq")
"""Compression settings, size of a basket, length of the offsets, baskets, entry."""
_BRANCH_SIZES = struct.Struct(">iIiqqqq")
"""Offset, room for baskets, split level, entries, first entry, bytes, compressed bytes."""
_LEAF = struct.Struct(">iii??")
"""Length, size of an element, offset, whether it has a range, whether it has no sign."""
_UNSIGNED = struct.Struct(">I")

_COUNTED, _NEW_CLASS, _CLASS, _REFERENCED = 0x40000000, 0xFFFFFFFF, 0x80000000, 1 << 4
_AFTER_COUNT = 2
"""What ROOT adds to the positions by which it refers to objects and classes."""

_TYPES = {"O": "?", "B": "i1", "S": "i2", "I": "i4", "G": "i8", "L": "i8", "F": "f4", "D": "f8"}
_LIST = re.compile(r"[^\[\]]*\[[^\[\]]*[^\[\]\d][^\[\]]*\]")
"""The title of a leaf that another one counts: ``Jet_pt[nJet]``."""


class UnusualError(Exception):
    """A tree is laid out otherwise than expected here."""


@dataclass(frozen=True)
class StoredBranch:
    """A branch whose baskets hold the values as they are.

    Attributes
    ----------
    dtype
        Of the stored numbers, in their byte order.
    counter
        The branch that counts the elements of each entry; None where an entry is one number.
    entries, compressed, uncompressed
        Number of entries, and bytes.
    compression
        ROOT's settings.
    places
        Of every basket where it begins in the file, and its bytes.
    edges
        The first entries of the baskets, and the number of entries.
    """

    name: str
    title: str
    dtype: np.dtype
    counter: str | None
    entries: int
    compressed: int
    uncompressed: int
    compression: int
    places: list[tuple[int, int]]
    edges: list[int]


@dataclass(frozen=True)
class TreeDescription:
    """The branches of a TTree by name, in order; None in place of those that are left to uproot."""

    entries: int
    branches: dict[str, StoredBranch | None]


def describe(key: Any) -> TreeDescription | None:
    """Describe the TTree of a key of uproot; None where it is of a kind for uproot."""
    chunk, cursor = key.get_uncompressed_chunk_cursor()
    content = chunk.get(0, key.data_uncompressed_bytes, cursor, {}).tobytes()
    try:
        return _TreeParser(content, key.fKeylen).tree()
    except (UnusualError, struct.error, IndexError, ValueError, RecursionError):
        return None


@dataclass
class _Leaf:
    """``branch`` is the one that it belongs to, which may be told after those that refer to it."""

    type: str
    title: str
    length: int
    unsigned: bool
    counter: _Leaf | None
    branch: str = ""

    def dtype(self) -> np.dtype | None:
        """Return the type of its numbers; None unless an entry is one, or a list that another leaf counts."""
        kind = _TYPES.get(self.type.removeprefix("TLeaf"))
        plain = _LIST.fullmatch(self.title) if self.counter is not None else "[" not in self.title
        if kind is None or self.length != 1 or not plain:
            return None
        return np.dtype(kind.replace("i", "u") if self.unsigned and kind[0] == "i" else kind).newbyteorder(">")


@dataclass
class _Branch:
    """A branch as it is stored; ``baskets`` are its places and edges, None where some are inside the description."""

    name: str
    title: str
    compression: int
    entries: int
    uncompressed: int
    compressed: int
    leaves: list[_Leaf]
    baskets: tuple[list[tuple[int, int]], list[int]] | None

    def stored(self) -> StoredBranch | None:
        """Return what it takes to read it; None where it is left to uproot."""
        dtype = self.leaves[0].dtype() if len(self.leaves) == 1 else None
        if dtype is None or self.baskets is None:
            return None
        counter = self.leaves[0].counter
        if counter is not None and not counter.branch:
            return None
        sizes = self.entries, self.compressed, self.uncompressed, self.compression
        return StoredBranch(
            self.name, self.title, dtype, None if counter is None else counter.branch, *sizes, *self.baskets
        )


class _TreeParser:
    """Goes through the bytes of a TTree; whatever is unexpected raises one of the errors of :func:`describe`."""

    def __init__(self, content: bytes, key_length: int) -> None:
        self._content = content
        self._shift = key_length + _AFTER_COUNT
        self._at = 0
        self._classes: dict[int, str] = {}
        self._objects: dict[int, Any] = {}

    def tree(self) -> TreeDescription:
        """Read the tree up to its branches."""
        self._header(20)
        self._named()
        for _ in ("TAttLine", "TAttFill", "TAttMarker"):
            self._skip()
        entries, *members = self._unpack(_TREE)
        self._at += 2 * (1 + 8 * members[_TREE_RANGES - 1])
        self._skip()  # its features
        branches = self._array(self._branch)
        return TreeDescription(entries, {branch.name: branch.stored() for branch in branches})

    def _branch(self, kind: str) -> _Branch:
        if kind != "TBranch":
            raise UnusualError
        self._header(13)
        name, title = self._named()
        self._skip()  # TAttFill
        compression, _, _, written, _ = self._unpack(_BRANCH_HEAD)
        self._skip()  # its features
        _, room, _, entries, _, uncompressed, compressed = self._unpack(_BRANCH_SIZES)
        if self._array(self._branch):
            raise UnusualError
        leaves = self._array(self._leaf)
        for leaf in leaves:
            leaf.branch = name
        self._skip()  # baskets inside the description
        baskets = self._baskets(written, room, entries)
        if self._string():  # the file that has the baskets
            raise UnusualError
        return _Branch(name, title, compression, entries, uncompressed, compressed, leaves, baskets)

    def _baskets(self, written: int, room: int, entries: int) -> tuple[list[tuple[int, int]], list[int]] | None:
        """Return the places of the baskets, and their edges; None where the description itself holds some."""
        used = min(written, room)
        sizes = self._numbers("i", 4, used, room)
        edges = self._numbers("q", 8, min(used + 1, room), room)
        seeks = self._numbers("q", 8, used, room)
        used = seeks.index(0) if 0 in seeks else used
        edges = edges[: used + 1]
        if len(edges) != used + 1 or edges[-1] != entries:
            return None
        return list(zip(seeks[:used], sizes)), list(edges)

    def _numbers(self, kind: str, size: int, used: int, room: int) -> tuple[int, ...]:
        """Return the first numbers of an array, which a byte precedes."""
        start = self._at + 1
        self._at = start + size * room
        return struct.unpack_from(f">{used}{kind}", self._content, start)

    def _leaf(self, kind: str) -> _Leaf:
        self._header()
        self._header(2)
        _, title = self._named()
        length, _, _, _, unsigned = self._unpack(_LEAF)
        return _Leaf(kind, title, length, unsigned, self._pointer(self._leaf))

    # -- what all objects consist of ----------------------------------------------------------------------------------

    def _unpack(self, structure: struct.Struct) -> tuple[Any, ...]:
        values = structure.unpack_from(self._content, self._at)
        self._at += structure.size
        return values

    def _header(self, expected: int | None = None) -> int:
        """Enter an object; return where it ends."""
        start = self._at + 4
        count, version = self._unpack(_HEADER)
        if not count & _COUNTED or (expected is not None and version != expected):
            raise UnusualError
        return start + (count & ~_COUNTED)

    def _skip(self) -> None:
        self._at = self._header()

    def _string(self) -> str:
        length, start = self._content[self._at], self._at + 1
        if length == 255:
            (length,) = _UNSIGNED.unpack_from(self._content, start)
            start += 4
        self._at = start + length
        return self._content[start : self._at].decode(errors="surrogateescape")

    def _object(self) -> None:
        """Go over what a TObject has."""
        version, _, bits = self._unpack(_OBJECT)
        if version & (_COUNTED >> 16):
            raise UnusualError
        self._at += 2 if bits & _REFERENCED else 0

    def _named(self) -> tuple[str, str]:
        """Return the name and the title of a TNamed."""
        end = self._header()
        self._object()
        named = self._string(), self._string()
        self._check(end)
        return named

    def _array(self, read: Callable[[str], Any]) -> list[Any]:
        """Return the objects of a TObjArray, of which ``read`` reads one of a class."""
        end = self._header()
        self._object()
        self._string()
        size, _ = self._unpack(_ARRAY)
        found = [self._pointer(read) for _ in range(size)]
        self._check(end)
        return found

    def _pointer(self, read: Callable[[str], Any]) -> Any:
        """Return what a pointer refers to: a new object, or one that was read before; None for none."""
        start = self._at
        (count,) = self._unpack(_UNSIGNED)
        if not count:
            return None
        if count == _NEW_CLASS or not count & _COUNTED:
            if count not in self._objects:
                raise UnusualError
            return self._objects[count]
        value = read(self._class())
        self._at = start + 4 + (count & ~_COUNTED)
        self._objects[start + self._shift] = value
        return value

    def _class(self) -> str:
        """Return the name of the class of a new object."""
        start = self._at
        (tag,) = self._unpack(_UNSIGNED)
        if tag == _NEW_CLASS:
            end = self._content.index(b"\0", self._at)
            name = self._content[self._at : end].decode()
            self._at = end + 1
            self._classes[start + self._shift] = name
            return name
        if not tag & _CLASS or tag & ~_CLASS not in self._classes:
            raise UnusualError
        return self._classes[tag & ~_CLASS]

    def _check(self, end: int) -> None:
        if self._at != end:
            raise UnusualError
