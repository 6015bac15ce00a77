"""Columns of RNTuples, page by page.

uproot reads whole clusters, again for every part that is asked for, and does not look at the checksums of the pages.
Here every page is read and decoded once, and verified where it carries an XXH3 sum. The layout is that of ROOT's binary
format 1: pages of ``count`` elements, compressed in the frames of baskets, or as they are where that is not smaller.
"""

from __future__ import annotations

import bisect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import uproot
import xxhash

from ..errors import FileError
from .baskets import decompress
from .columns import Branch, Column, offsets_of
from .reader import awkward_chunk
from .records import Records

_SUM = 8
"""Bytes of a checksum, behind the page."""


Part = tuple[int, int, int]
"""Entries of one cluster: its number, the first of them and the one after the last, counted from its own first."""


class TupleReader:
    """Reads columns of an RNTuple: numbers and lists of them from the pages, the rest through uproot, by clusters.

    Parameters
    ----------
    path
        The file, for messages.
    ntuple
        uproot's model of the RNTuple.
    paths
        The columns: the names of their fields from the outermost on, and their description.
    records
        The bytes of the file.
    """

    def __init__(
        self, path: str, ntuple: Any, paths: Mapping[str, tuple[Sequence[str], Branch]], records: Records
    ) -> None:
        self._path = path
        self._ntuple = ntuple
        self._paths = paths
        self._records = records
        self._bounds = [(c.num_first_entry, c.num_first_entry + c.num_entries) for c in ntuple.cluster_summaries]
        fields = Fields(ntuple)
        numbers_of = {name: fields.numbers(steps) for name, (steps, _) in paths.items()}
        numbers = {name: columns for name, columns in numbers_of.items() if columns is not None}

        def reader(name: str, column: int) -> PageReader:
            return PageReader(path, name, ntuple, column, records)

        self._counts = {name: values for name, (_, values) in numbers.items() if fields.is_count(paths[name][0])}
        self._values = {name: reader(name, v) for name, (_, v) in numbers.items() if name not in self._counts}
        self._lists = {name: lists for name, (lists, _) in numbers.items() if lists is not None}
        self._ends = {column: reader(name, column) for name, column in {**self._lists, **self._counts}.items()}
        self._others = {name: steps for name, (steps, _) in paths.items() if name not in numbers}
        outermost = dict.fromkeys(steps[0] for steps in self._others.values())
        self._checked = [reader(name, column) for name in outermost for column in fields.all_columns(name)]
        self._verified: set[int] = set()
        self._table: tuple[int, Any] = (-1, None)

    def read(self, start: int, stop: int) -> dict[str, Column]:
        """Read entries ``start`` to ``stop``, which are some."""
        parts = self._parts(start, stop)
        ends = self._read_ends(parts)
        offsets = {column: offsets_of(np.concatenate([np.diff(e) for e in lists])) for column, lists in ends.items()}
        bounds = {n: [(c, e[0], e[-1]) for (c, _, _), e in zip(parts, ends[i])] for n, i in self._lists.items()}
        self._prefetch((reader, part) for n, reader in self._values.items() for part in bounds.get(n, parts))
        columns = {}
        for name, reader in self._values.items():
            dtype = np.dtype(self._paths[name][1].dtype)
            pieces = [piece for part in bounds.get(name, parts) for piece in reader.elements(*part)]
            cast = [piece.astype(dtype, copy=False) for piece in pieces]
            columns[name] = Column(cast or [np.zeros(0, dtype)], offsets.get(self._lists.get(name, -1)))
        for name, column in self._counts.items():
            columns[name] = Column([np.diff(offsets[column]).astype(self._paths[name][1].dtype)])
        return columns | self._read_others(parts)

    def _parts(self, start: int, stop: int) -> list[Part]:
        first = bisect.bisect_right(self._bounds, (start, sys.maxsize)) - 1
        parts = []
        for cluster in range(max(first, 0), len(self._bounds)):
            low, high = self._bounds[cluster]
            if low >= stop:
                break
            if high > start:
                parts.append((cluster, max(start, low) - low, min(stop, high) - low))
        return parts

    def _read_ends(self, parts: Sequence[Part]) -> dict[int, list[np.ndarray]]:
        """Return where the lists of each part begin and end in its cluster, (n + 1,) i8, by the column that says it."""
        preceding = [(cluster, max(low - 1, 0), high) for cluster, low, high in parts]
        self._prefetch((reader, part) for reader in self._ends.values() for part in preceding)
        ends: dict[int, list[np.ndarray]] = {}
        for column, reader in self._ends.items():
            for (_, low, _), part in zip(parts, preceding):
                first = [] if low else [np.zeros(1, np.int64)]
                bounds = np.concatenate([*first, *reader.elements(*part)]).astype(np.int64)
                if (np.diff(bounds) < 0).any():
                    raise FileError(self._path, f"the lengths of the lists of {reader.name} contradict one another")
                ends.setdefault(column, []).append(bounds)
        return ends

    def _prefetch(self, requests: Iterable[tuple[PageReader, Part]]) -> None:
        self._records.prefetch(interval for reader, part in requests for interval in reader.places(*part))

    def _read_others(self, parts: Sequence[Part]) -> dict[str, Column]:
        """Read what is not simply numbers; a cluster is kept until the next one is needed."""
        if not self._others:
            return {}
        import awkward as ak

        tables = []
        for cluster, low, high in parts:
            if self._table[0] != cluster:
                self._table = (cluster, self._whole(cluster))
            tables.append(self._table[1][low:high])
        table = tables[0] if len(tables) == 1 else ak.concatenate(tables)
        return awkward_chunk(0, {name: table[tuple(steps)] for name, steps in self._others.items()}, len(table)).columns

    def _whole(self, cluster: int) -> Any:
        """Read a cluster through uproot, which reads the next one too, and throws it away."""
        following = {cluster, min(cluster + 1, len(self._bounds) - 1)}
        for reader in self._checked:
            for number in sorted(following - self._verified):
                reader.verify(number)
        self._verified = following
        start, stop = self._bounds[cluster]
        fields = sorted({steps[0] for steps in self._others.values()})
        return self._ntuple.arrays(filter_name=fields, entry_start=start, entry_stop=stop, array_cache=None)


class Fields:
    """The fields of an RNTuple and the stored columns behind them.

    Parameters
    ----------
    ntuple
        uproot's model of it.
    """

    def __init__(self, ntuple: Any) -> None:
        self.records = ntuple.field_records
        self._columns = ntuple.column_records
        self._children: dict[int, list[int]] = {}
        self._stored: dict[int, list[int]] = {}
        self._projected = {alias.field_id: alias.physical_id for alias in ntuple.alias_column_records}
        for i, field in enumerate(self.records):
            if field.parent_field_id != i:
                self._children.setdefault(field.parent_field_id, []).append(i)
        for i, column in enumerate(self._columns):
            self._stored.setdefault(column.field_id, []).append(i)
        self._top = {f.field_name: i for i, f in enumerate(self.records) if f.parent_field_id == i}

    def numbers(self, path: Sequence[str]) -> tuple[int | None, int] | None:
        """Return the columns of the ends of the lists (None: one value per entry) and of the values of a column.

        None stands for a field that is not simply numbers, or lists or records of them.
        """
        field, lists = self._top[path[0]], None
        if self.records[field].struct_role == uproot.const.RNTupleFieldRole.COLLECTION:
            lists, inner = self._column(field), self._children.get(field, [])
            if lists is None or len(inner) != 1 or "optional" in self.records[field].type_name:
                return None
            field = inner[0]
        for name in path[1:]:
            field = next((i for i in self._children.get(field, ()) if self.records[i].field_name == name), field)
        record = self.records[field]
        if record.struct_role != uproot.const.RNTupleFieldRole.LEAF or record.repetition:
            return None
        values = self._column(field)
        return None if values is None else (lists, values)

    def is_count(self, path: Sequence[str]) -> bool:
        """Whether a column holds the lengths of the lists whose ends are stored."""
        return "RNTupleCardinality" in self.records[self._top[path[0]]].type_name

    def all_columns(self, name: str) -> Iterator[int]:
        """Yield the stored columns of a field and all fields inside."""
        pending = [self._top[name]]
        while pending:
            field = pending.pop()
            yield from self._stored.get(field, ())
            if field in self._projected:
                yield self._projected[field]
            pending += self._children.get(field, ())

    def _column(self, field: int) -> int | None:
        """Return the one stored column of a field; None where it has several, or not from the first entry on."""
        stored = [self._projected[field]] if field in self._projected else self._stored.get(field, [])
        if len(stored) != 1 or len(self._stored.get(self._columns[stored[0]].field_id, [])) != 1:
            return None
        column = self._columns[stored[0]]
        plain = column.first_element_index == 0 and column.type in _ENCODINGS
        return stored[0] if plain else None


class _Encoding(NamedTuple):
    """How the elements of a page are stored; ``bits`` of booleans, bytes ``split`` by their place in the element."""

    dtype: np.dtype
    bits: bool
    split: bool
    zigzag: bool
    delta: bool


def _encodings() -> dict[int, _Encoding]:
    """Return the encodings by the number of the column's type, but for those of truncated floats and variants."""
    const = uproot.const
    encodings = {}
    for number, name in const.rntuple_col_num_to_dtype_dict.items():
        if number not in const.rntuple_custom_float_types and name != "switch":
            sets = (const.rntuple_split_types, const.rntuple_zigzag_types, const.rntuple_delta_types)
            dtype = np.dtype("?" if name == "bit" else name)
            encodings[number] = _Encoding(dtype, name == "bit", *(number in numbers for numbers in sets))
    return encodings


_ENCODINGS = _encodings()


class PageReader:
    """Access to the elements of one stored column; the last page is kept, so that each is decoded once.

    Parameters
    ----------
    path, name
        The file and the column, for messages.
    ntuple
        uproot's model of it.
    column
        The number of the stored column.
    records
        The bytes of the file.
    """

    def __init__(self, path: str, name: str, ntuple: Any, column: int, records: Records) -> None:
        self.name = name
        self._path = path
        self._links = ntuple.page_link_list
        self._column = column
        self._encoding = _ENCODINGS[ntuple.column_records[column].type]
        self._records = records
        self._edges: tuple[int, list[int]] = (-1, [])
        self._last: tuple[tuple[int, int], np.ndarray | None] = ((-1, -1), None)

    def places(self, cluster: int, start: int, stop: int) -> list[tuple[int, int]]:
        """Return seek position and size of the pages with elements ``start`` to ``stop`` that are still to be read."""
        pages = self._pages(cluster)
        inside = self._inside(cluster, start, stop)
        return [_place(pages[i]) for i in inside if (cluster, i) != self._last[0]]

    def elements(self, cluster: int, start: int, stop: int) -> list[np.ndarray]:
        """Return the elements ``start`` to ``stop`` of a cluster, in order, in one or more arrays."""
        pieces = []
        for i in self._inside(cluster, start, stop):
            edges = self._edges_of(cluster)
            pieces.append(self._page(cluster, i)[max(start - edges[i], 0) : stop - edges[i]])
        if sum(map(len, pieces)) != stop - start:
            raise FileError(self._path, f"column {self.name}: cluster {cluster} has fewer values than entries need")
        return pieces

    def verify(self, cluster: int) -> None:
        """Raise a :class:`FileError` unless the checksums of all pages of a cluster are right."""
        self._records.prefetch(map(_place, self._pages(cluster)))
        for i, page in enumerate(self._pages(cluster)):
            self._verified(cluster, i, self._records[_place(page)])

    def _pages(self, cluster: int) -> Sequence[Any]:
        links = self._links[cluster]
        return links[self._column].pages if self._column < len(links) else ()

    def _edges_of(self, cluster: int) -> list[int]:
        """Return the number of the first element of every page, and that behind the last."""
        if self._edges[0] != cluster:
            counts = [page.num_elements for page in self._pages(cluster)]
            self._edges = (cluster, [0, *np.cumsum(counts, dtype=np.int64).tolist()])
        return self._edges[1]

    def _inside(self, cluster: int, start: int, stop: int) -> range:
        edges = self._edges_of(cluster)
        if start >= stop:
            return range(0)
        return range(bisect.bisect_right(edges, start) - 1, min(bisect.bisect_left(edges, stop), len(edges) - 1))

    def _page(self, cluster: int, index: int) -> np.ndarray:
        key, page = self._last
        if key != (cluster, index) or page is None:
            described = self._pages(cluster)[index]
            stored = self._verified(cluster, index, self._records[_place(described)])
            page = _decoded(stored, int(described.num_elements), self._encoding)
            self._last = ((cluster, index), page)
        return page

    def _verified(self, cluster: int, index: int, record: bytes) -> bytes:
        """Return the stored bytes of a page without their checksum, which has to be right."""
        if not self._pages(cluster)[index].has_checksum:
            return record
        stored, checksum = record[:-_SUM], record[-_SUM:]
        if xxhash.xxh3_64_intdigest(stored) != int.from_bytes(checksum, "little"):
            raise FileError(
                self._path,
                f"column {self.name}: the checksum (XXH3) of page {index} of cluster {cluster} is wrong: the file is "
                "damaged; copy it again",
            )
        return stored


def _place(page: Any) -> tuple[int, int]:
    return page.locator.offset, page.locator.num_bytes + (_SUM if page.has_checksum else 0)


def _decoded(stored: bytes, count: int, encoding: _Encoding) -> np.ndarray:
    """Return the elements of a page, (count,) of the encoding's type."""
    item = encoding.dtype.itemsize
    size = (count + 7) // 8 if encoding.bits else count * item
    raw = np.frombuffer(decompress(stored, 0, size), np.uint8)
    if encoding.bits:
        return np.unpackbits(raw, count=count, bitorder="little").view(bool)
    if encoding.split:
        raw = np.ascontiguousarray(raw.reshape(item, count).T)
    values = raw.reshape(-1).view(encoding.dtype)
    if encoding.zigzag:
        unsigned = values.view(f"u{item}")
        values = ((unsigned >> 1) ^ (~(unsigned & 1) + 1)).view(encoding.dtype)
    return np.cumsum(values, dtype=values.dtype) if encoding.delta else values
