"""Write ROOT files as NanoAOD has them: TTrees of numbers and of lists whose branches share one counter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from ..errors import DataError
from .columns import Branch, Column, offsets_of

POOL = 16_384
"""Events that are gathered before they are written: a hard selection leaves no crumbs."""
MOST = 25_000
"""Events of a basket at most, to keep the memory of whoever reads it small."""

_CODECS = {"zstd": uproot.ZSTD, "zlib": uproot.ZLIB, "lz4": uproot.LZ4, "lzma": uproot.LZMA}


def new_file(path: Path, compression: str) -> Any:
    """Begin a ROOT file for uproot, which takes a name apart at ``::`` and ``:`` where it opens the file itself.

    Parameters
    ----------
    path
        The file; one that is there is replaced.
    compression
        "zstd", "zlib", "lz4" or "lzma" with a level of 1 to 9, e.g. "zstd 5"; or "none".
    """
    codec, _, level = compression.partition(" ")
    return uproot.recreate(path.open("w+b"), compression=_CODECS[codec](int(level)) if codec != "none" else None)


class NanoFile:
    """A new ROOT file of TTrees; a context manager.

    Parameters
    ----------
    path
        The file to write.
    compression
        As for :func:`new_file`.
    """

    def __init__(self, path: Path, compression: str = "zstd 5") -> None:
        self._file = new_file(path, compression)
        self._trees: list[TreeWriter] = []

    def tree(self, name: str, branches: Sequence[Branch]) -> TreeWriter:
        """Begin a tree (``dir/tree`` works) of these branches; it is there even if nothing is ever added to it."""
        self._trees.append(TreeWriter(self._file, name, branches))
        return self._trees[-1]

    def __enter__(self) -> NanoFile:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            for tree in self._trees if error is None else ():
                tree.flush()
        finally:
            self._file.close()


class TreeWriter:
    """A TTree that grows; made by :meth:`NanoFile.tree`.

    Lists become C arrays with their counter, whose name is that of the branch description. Counters may be among the
    branches (then with that type and title, at that place) and are never given: the lists are counted. Branches have
    the type, the order and the title of their description.
    """

    def __init__(self, file: Any, name: str, branches: Sequence[Branch]) -> None:
        self._name = name
        self._lists = {b.name: str(b.counter) for b in branches if b.jagged}
        counters = set(self._lists.values())
        wrong = next(
            (b for b in branches if b.name in counters and (b.jagged or np.dtype(b.dtype).kind not in "iu")), None
        )
        if wrong is not None:
            raise DataError(f"{name}: {wrong.name} counts lists, so it cannot be {wrong.dtype}{'[]' * wrong.jagged}")
        self._types = {b.name: np.dtype(b.dtype) for b in branches if b.jagged or b.name not in counters}
        self._pieces: dict[str, list[np.ndarray]] = {n: [] for n in [*self._types, *counters]}
        self._tree = _make_tree(file, name, branches)
        self._pooled = 0
        self.entries = 0

    def append(self, size: int, columns: Mapping[str, Column]) -> None:
        """Add entries.

        Parameters
        ----------
        size
            How many.
        columns
            The values of every branch but the counters. The arrays are kept until they are written: do not change them.

        Raises
        ------
        DataError
            When the lists of one counter differ in length, or from the values of the counter where these are given too.
        """
        offsets: dict[str, np.ndarray] = {}
        for name, counter in self._lists.items():
            list_offsets = np.asarray(columns[name].offsets)
            first = offsets.setdefault(counter, list_offsets)
            if list_offsets is not first and not np.array_equal(list_offsets, first):
                raise DataError(f"{self._name}: {name} has lists of other lengths than the rest of {counter}")
        for name in self._types:
            self._pieces[name] += columns[name].pieces
        for counter, edges in offsets.items():
            self._pieces[counter].append(np.diff(edges))
            if counter in columns and not np.array_equal(columns[counter].content, self._pieces[counter][-1]):
                raise DataError(f"{self._name}: {counter} is not the number of elements of its lists")
        self._pooled += size
        self.entries += size
        if self._pooled >= POOL:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered, as baskets of equal size."""
        if not self._pooled:
            return
        bounds = {c: offsets_of(self._take(c, np.dtype(np.int64))) for c in set(self._lists.values())}
        values = {name: self._take(name, dtype) for name, dtype in self._types.items()}
        edges = np.linspace(0, self._pooled, math.ceil(self._pooled / MOST) + 1).astype(int)
        for start, stop in zip(edges[:-1], edges[1:]):
            lists = {n: bounds[counter] for n, counter in self._lists.items()}
            self._tree.extend({n: _part(v, lists.get(n), start, stop) for n, v in values.items()})
        self._pooled = 0

    def _take(self, name: str, dtype: np.dtype) -> np.ndarray:
        """Join what was gathered of a column and forget the pieces."""
        pieces = self._pieces[name]
        self._pieces[name] = []
        out = np.empty(sum(map(len, pieces)), dtype)
        Column(pieces).copy_to(out)
        return out


def _part(values: np.ndarray, bounds: np.ndarray | None, start: int, stop: int) -> Any:
    """Return entries ``start`` to ``stop`` of a column as uproot wants them."""
    if bounds is None:
        return values[start:stop]
    inside = bounds[start : stop + 1]
    return Column([values[inside[0] : inside[-1]]], inside - inside[0]).array


def _make_tree(file: Any, name: str, branches: Sequence[Branch]) -> Any:
    """Make an empty tree.

    uproot has no public way to titles, nor to unsigned counters (5.7). Writing the description of n branches takes it
    O(n^2), 4 s for all of NanoAOD, so a tree of one branch is begun, and described once when everything is set.
    """
    import awkward as ak
    from uproot.writing._cascadetree import Tree

    counters = {b.name: str(b.counter) for b in branches if b.jagged}
    types = {
        b.name: ak.types.ListType(ak.types.NumpyType(str(b.dtype))) if b.jagged else np.dtype(b.dtype) for b in branches
    }
    tree = file.mktree(name, {"begun": "u1"}, title=name.rpartition("/")[2])
    bare = tree._cascading
    full = Tree(bare._directory, bare._name, bare._title, types, bare._freesegments, counters.get, None, 10, 10.0)
    described = {b.name: b for b in branches}
    for datum in full._branch_data:
        branch = described.get(datum["fName"])
        if branch is not None:
            datum["fTitle"] = branch.title
            datum["dtype"] = np.dtype(branch.dtype).newbyteorder(">")
    full._key = bare._key
    full._relocate(tree._file, tree._file.sink)
    tree._cascading = full
    return tree
