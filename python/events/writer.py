"""Write ROOT files as NanoAOD has them: TTrees of numbers and of lists whose branches share one counter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from ..errors import DataError
from .columns import Branch, Column

POOL = 16_384
"""Events that are gathered before they are written: a hard selection leaves no crumbs."""
MOST = 25_000
"""Events of a basket at most, to keep the memory of whoever reads it small."""

_CODECS = {"zstd": uproot.ZSTD, "zlib": uproot.ZLIB, "lz4": uproot.LZ4, "lzma": uproot.LZMA}


class NanoFile:
    """A new ROOT file of TTrees; a context manager.

    Parameters
    ----------
    path
        The file to write.
    compression
        "zstd", "zlib", "lz4" or "lzma" with a level of 1 to 9, e.g. "zstd 5"; or "none".
    """

    def __init__(self, path: Path, compression: str = "zstd 5") -> None:
        codec, _, level = compression.partition(" ")
        self._file = uproot.recreate(path, compression=_CODECS[codec](int(level)) if codec != "none" else None)
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
            When lists under one counter differ in length.
        """
        counts: dict[str, Column] = {}
        for name, counter in self._lists.items():
            known = counts.setdefault(counter, columns[name])
            own, first = columns[name].offsets, known.offsets
            if own is not first and not np.array_equal(own, first):  # type: ignore[arg-type]
                raise DataError(f"{self._name}: {name} has lists of other lengths than the rest of {counter}")
        for name in self._types:
            self._pieces[name] += columns[name].pieces
        for counter, column in counts.items():
            self._pieces[counter].append(np.diff(column.offsets))  # type: ignore[arg-type]
        self._pooled += size
        self.entries += size
        if self._pooled >= POOL:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered, as baskets of equal size."""
        if not self._pooled:
            return
        bounds = {c: _bounds(self._take(c, np.dtype(np.int64))) for c in set(self._lists.values())}
        values = {name: self._take(name, dtype) for name, dtype in self._types.items()}
        edges = np.linspace(0, self._pooled, math.ceil(self._pooled / MOST) + 1).astype(int)
        for start, stop in zip(edges[:-1], edges[1:]):
            self._tree.extend(
                {n: _part(v, bounds[self._lists[n]] if n in self._lists else None, start, stop) for n, v in values.items()}
            )
        self._pooled = 0

    def _take(self, name: str, dtype: np.dtype) -> np.ndarray:
        """Join what was gathered of a column and forget the pieces."""
        pieces = self._pieces[name]
        self._pieces[name] = []
        out = np.empty(sum(map(len, pieces)), dtype)
        Column(pieces).copy_to(out)
        return out


def _bounds(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])


def _part(values: np.ndarray, bounds: np.ndarray | None, start: int, stop: int) -> Any:
    """Return entries ``start`` to ``stop`` of a column as uproot wants them."""
    if bounds is None:
        return values[start:stop]
    inside = bounds[start : stop + 1]
    return Column([values[inside[0] : inside[-1]]], inside - inside[0]).array


def _make_tree(file: Any, name: str, branches: Sequence[Branch]) -> Any:
    """Make an empty tree; uproot has no public way to titles, nor to unsigned counters (5.7)."""
    import awkward as ak

    counters = {b.name: str(b.counter) for b in branches if b.jagged}
    types = {
        b.name: ak.types.ListType(ak.types.NumpyType(str(b.dtype))) if b.jagged else np.dtype(b.dtype) for b in branches
    }
    tree = file.mktree(name, types, title=name.rpartition("/")[2], counter_name=lambda branch: counters.get(branch, ""))
    described = {b.name: b for b in branches}
    for datum in tree._cascading._branch_data:
        branch = described.get(datum["fName"])
        if branch is not None:
            datum["fTitle"] = branch.title or datum["fTitle"]
            datum["dtype"] = np.dtype(branch.dtype).newbyteorder(">")
    tree._cascading._relocate(tree._file, tree._file.sink)
    return tree
