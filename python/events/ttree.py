"""The description of a TTree, from its bytes.

uproot makes objects of every member of every branch, which takes up to a millisecond a branch: longer than to read the
values of a small file, and a second for NanoAOD's 1,500. Here just what it takes to read plain branches is looked at:
one number, or one C array of numbers, per entry. The layout is that of ROOT 6 (TTree 20, TBranch 13, TLeaf 2) and of
what uproot writes. Other trees are left to uproot, and so are damaged ones: it says what is wrong with them.

The trees of one production differ in their numbers alone: how many entries there are, and where the baskets are. What
was learnt from one tells where the numbers of the next are, when all other bytes are the same.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
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
_TREE_SETTINGS = slice(48, 68)
"""The bytes of it that do not count entries or bytes."""
_BRANCH_HEAD = struct.Struct(">iiiiq")
"""Compression settings, size of a basket, length of the offsets, baskets, entry."""
_BRANCH_SIZES = struct.Struct(">iIiqqqq")
"""Offset, room for baskets, split level, entries, first entry, bytes, compressed bytes."""
_BRANCH_SETTINGS = 12
"""So many bytes of it come before the entries."""
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
        for layout in tuple(_layouts):
            if layout.fits(content, key.fKeylen):
                return layout.describe(content)
        layout = _TreeParser(content, key.fKeylen).layout()
        described = layout.describe(content)
    except (UnusualError, struct.error, IndexError, ValueError, RecursionError):
        return None
    _layouts.appendleft(layout)
    return described


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


@dataclass(frozen=True)
class _Branch:
    """A branch, and where the description has its numbers: ``head``, ``sizes``, and ``baskets``, ``room`` of them."""

    name: str
    title: str
    leaves: list[_Leaf]
    head: int
    sizes: int
    room: int
    baskets: int

    @cached_property
    def kind(self) -> tuple[np.dtype, str | None] | None:
        """The type of its numbers, and its counter; None where it is left to uproot."""
        dtype = self.leaves[0].dtype() if len(self.leaves) == 1 else None
        if dtype is None:
            return None
        counter = self.leaves[0].counter
        if counter is not None and not counter.branch:
            return None
        return dtype, None if counter is None else counter.branch

    def stored(self, content: bytes) -> StoredBranch | None:
        """Return what it takes to read it; None where it is left to uproot."""
        compression, _, _, written, _ = _BRANCH_HEAD.unpack_from(content, self.head)
        _, _, _, entries, _, uncompressed, compressed = _BRANCH_SIZES.unpack_from(content, self.sizes)
        baskets = self._baskets(content, written, entries)
        if self.kind is None or baskets is None:
            return None
        sizes = entries, compressed, uncompressed, compression
        return StoredBranch(self.name, self.title, *self.kind, *sizes, *baskets)

    def _baskets(self, content: bytes, written: int, entries: int) -> tuple[list[tuple[int, int]], list[int]] | None:
        """Return the places of the baskets, and their edges; None where the description itself holds some."""
        used, at = min(written, self.room), self.baskets + 1  # a byte precedes each array
        sizes = struct.unpack_from(f">{used}i", content, at)
        at += 4 * self.room + 1
        edges = struct.unpack_from(f">{min(used + 1, self.room)}q", content, at)
        seeks = struct.unpack_from(f">{used}q", content, at + 8 * self.room + 1)
        used = seeks.index(0) if 0 in seeks else used
        edges = edges[: used + 1]
        if len(edges) != used + 1 or edges[-1] != entries:
            return None
        return list(zip(seeks[:used], sizes)), list(edges)


class _Layout:
    """Where the numbers of a tree are, and all other bytes of its description.

    Parameters
    ----------
    content, end
        A description, the branches of which end there.
    key_length
        Of its key: positions in the description are counted with it.
    tree
        Where the numbers of the tree are.
    branches
        Its branches.
    numbers
        The parts of the description, from and to, that may be others in other files.
    """

    def __init__(
        self,
        content: bytes,
        end: int,
        key_length: int,
        tree: int,
        branches: list[_Branch],
        numbers: Sequence[tuple[int, int]],
    ) -> None:
        self._key_length, self._tree, self._branches, self._end = key_length, tree, branches, end
        self._fixed = np.full(end, 0xFF, np.uint8)
        for start, stop in numbers:
            self._fixed[start:stop] = 0
        self._bytes = np.frombuffer(content, np.uint8, end) & self._fixed

    def fits(self, content: bytes, key_length: int) -> bool:
        """Tell whether another description differs from this one in numbers alone."""
        if key_length != self._key_length or len(content) < self._end:
            return False
        return np.array_equal(np.frombuffer(content, np.uint8, self._end) & self._fixed, self._bytes)

    def describe(self, content: bytes) -> TreeDescription:
        """Describe a tree that fits."""
        entries: int = _TREE.unpack_from(content, self._tree)[0]
        return TreeDescription(entries, {branch.name: branch.stored(content) for branch in self._branches})


_layouts: deque[_Layout] = deque(maxlen=8)
"""Of the last trees: the files of a stage are mostly of a few productions."""


class _TreeParser:
    """Goes through the bytes of a TTree; whatever is unexpected raises one of the errors of :func:`describe`."""

    def __init__(self, content: bytes, key_length: int) -> None:
        self._content = content
        self._shift = key_length + _AFTER_COUNT
        self._at = 0
        self._numbers: list[tuple[int, int]] = []
        self._classes: dict[int, str] = {}
        self._objects: dict[int, Any] = {}

    def layout(self) -> _Layout:
        """Read the tree up to its branches."""
        self._header(20)
        self._named()
        for _ in ("TAttLine", "TAttFill", "TAttMarker"):
            self._skip()
        tree = self._at
        ranges = self._unpack(_TREE)[_TREE_RANGES]
        self._numbers += [(tree, tree + _TREE_SETTINGS.start), (tree + _TREE_SETTINGS.stop, self._at)]
        for _ in ("last entries", "sizes"):
            self._skip_numbers(8 * ranges)
        self._skip()  # its features
        branches = self._array(self._branch)
        return _Layout(self._content, self._at, self._shift - _AFTER_COUNT, tree, branches, self._numbers)

    def _branch(self, kind: str) -> _Branch:
        if kind != "TBranch":
            raise UnusualError
        self._header(13)
        name, title = self._named()
        self._skip()  # TAttFill
        head = self._at
        self._unpack(_BRANCH_HEAD)
        self._numbers.append((head, self._at))
        self._skip()  # its features
        sizes = self._at
        room = self._unpack(_BRANCH_SIZES)[1]
        self._numbers.append((sizes + _BRANCH_SETTINGS, self._at))
        if self._array(self._branch):
            raise UnusualError
        leaves = self._array(self._leaf)
        for leaf in leaves:
            leaf.branch = name
        self._skip()  # baskets inside the description
        baskets = self._at
        for size in (4, 8, 8):  # sizes, first entries, places
            self._skip_numbers(size * room)
        if self._string():  # the file that has the baskets
            raise UnusualError
        return _Branch(name, title, leaves, head, sizes, room, baskets)

    def _skip_numbers(self, size: int) -> None:
        """Go over an array of numbers, which a byte precedes."""
        start = self._at + 1
        self._at = start + size
        self._numbers.append((start, self._at))

    def _leaf(self, kind: str) -> _Leaf:
        end = self._header()
        self._header(2)
        _, title = self._named()
        length, _, _, _, unsigned = self._unpack(_LEAF)
        leaf = _Leaf(kind, title, length, unsigned, self._pointer(self._leaf))
        self._numbers.append((self._at, end))  # the smallest and the largest value
        return leaf

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
        elements = [self._pointer(read) for _ in range(size)]
        self._check(end)
        return elements

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
