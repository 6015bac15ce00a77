"""ROOT files: TTrees (decompressed baskets straight into columns) and RNTuples, local and remote."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import uproot

from ..config.schema import REDIRECTORS
from ..errors import FileError, nearest
from .baskets import Basket, decode_basket
from .columns import Branch, Chunk, Column, columns_of_form
from .damage import ROOT, refuse_damaged
from .files import addresses, is_remote
from .pages import TupleReader
from .reader import STEP, EventFile, awkward_chunk, broken_file
from .records import LocalRecords, Records, RemoteRecords
from .remote import remote_files
from .ttree import StoredBranch, TreeDescription, describe

_PLAIN_TYPE = re.compile(
    r"(?P<list>std::vector<|ROOT::VecOps::RVec<)?(?:ROOT::RNTupleCardinality<)?(?P<number>[\w:]+?)(_t)?>*"
)
_CPP_TYPES = {"bool": "?", "float": "f4", "double": "f8"} | {
    f"std::{sign}int{bits}": f"{sign or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}

_TYPE_NAMES = {np.dtype(code): re.sub(r"std::(\w+)", r"\1_t", name) for name, code in _CPP_TYPES.items()}

_RANGE = re.compile(r"\[([^\[\]]*,[^\[\]]*)\]$")
_SIZE = re.compile(r"\[(\d+)\]")

_CODECS = {0: "ZLIB", 1: "ZLIB", 2: "LZMA", 3: "ZLIB", 4: "LZ4", 5: "ZSTD"}


def open_file(path: str, redirectors: Sequence[str] = REDIRECTORS) -> Any:
    """Open a ROOT file, one with a logical name (``/store/...``) through the redirectors.

    Local ones by plain reads: uproot's default reopens the file for every basket, and a memory map counts all that was
    read as memory of the process.
    """
    if not is_remote(path):
        refuse_damaged(path, ROOT)
        handler = uproot.source.file.MultithreadedFileSource  # without threads: to start one takes as long as opening
        return uproot.open({path: None}, handler=handler, use_threads=False)
    candidates = addresses(path, redirectors)
    return remote_files(candidates[0]).open_root(path, candidates)


def tree_names(file: Any) -> list[str]:
    """Return the paths of the TTrees and RNTuples of an open file."""
    return list(dict.fromkeys(file.keys(cycle=False, recursive=True, filter_classname=_is_tree)))


def _is_tree(class_name: str) -> bool:
    return class_name in ("TTree", "TNtuple", "TNtupleD") or "RNTuple" in class_name


def open_root(path: str, tree: str, redirectors: Sequence[str] = REDIRECTORS) -> EventFile:
    """Open a tree of a ROOT file."""
    file = open_file(path, redirectors)
    _refuse_old_ntuple(path, tree, file.classnames(cycle=False).get(tree, ""))
    events = reader(path, file, tree)
    if events is None:
        trees = tree_names(file)
        has = f"it has {', '.join(trees)}" if trees else f"it has no tree at all{_unclosed(file)}"
        raise FileError(path, f"no tree {tree!r}; {has}{nearest(tree, trees)}", mistake=True)
    return events


def _unclosed(file: Any) -> str:
    """Say so where the program that wrote a file did not come to close it: ROOT then wrote no list of its types."""
    return "; whoever wrote it did not close it: make it again" if not file.file.fSeekInfo else ""


def _refuse_old_ntuple(path: str, tree: str, class_name: str, epoch: int = 1) -> None:
    """Raise a :class:`FileError` for an RNTuple that was written before its format was settled."""
    if "Experimental" in class_name or not epoch:
        raise FileError(
            path,
            f"{tree} is an RNTuple of a format before its first release, which nothing reads any more but the ROOT "
            "that wrote it: write it again with ROOT 6.34 or newer, or there as a TTree (RDataFrame's Snapshot)",
        )


class _LazyBranches(Mapping[str, Branch]):
    """Descriptions made when they are asked for: interpreting 1,500 branches to read 20 takes longer than reading."""

    def __init__(self, path: str, names: Iterable[str], describe: Callable[[str], Branch]) -> None:
        self._path = path
        self._names = dict.fromkeys(names)
        self._describe = describe
        self._known: dict[str, Branch] = {}

    def __getitem__(self, name: str) -> Branch:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._known:
            with broken_file(self._path, f"the description of {name} cannot be read"):
                self._known[name] = self._describe(name)
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _RootFile(EventFile):
    entries: int

    def __init__(self, path: str, file: Any, entries: int) -> None:
        self.path = path
        self.entries = entries
        self.uuid = file.file.uuid.hex
        self._file = file

    def gen_sum_of_weights(self) -> float | None:
        runs = reader(self.path, self._file, "Runs")
        name = next((n for n in ("genEventSumw", "genEventSumw_") if runs is not None and n in runs.branches), None)
        if runs is None or name is None:
            return None
        chunks = runs._chunks([name], STEP, 0, runs.entries)
        return float(sum(chunk.columns[name].content.sum() for chunk in chunks))

    def sibling(self, tree: str) -> EventFile | None:
        with broken_file(self.path, f"the tree {tree} cannot be read"):
            return reader(self.path, self._file, tree)

    def close(self) -> None:
        self._file.close()


class TTreeFile(_RootFile):
    """A TTree. Plain branches are read basket by basket, the rest through uproot's interpretations.

    Parameters
    ----------
    path, file
        The opened file.
    name
        The name of the tree.
    described
        Its description; without one it is read by uproot.
    """

    def __init__(self, path: str, file: Any, name: str, described: TreeDescription | None) -> None:
        super().__init__(path, file, 0)
        self._name = name
        self._described = None if described is None else {_column(n): b for n, b in described.branches.items()}
        self.entries = int(self._tree.num_entries) if described is None else described.entries

    @cached_property
    def _tree(self) -> Any:
        return self._file[self._name]

    @cached_property
    def _leaves(self) -> dict[str, Any]:
        """The branches without sub-branches, as uproot reads them."""
        return {_column(b.name): b for b in self._tree.itervalues(recursive=True) if not b.branches}

    @cached_property
    def branches(self) -> Mapping[str, Branch]:  # type: ignore[override]
        """Description of every branch that has no sub-branches."""
        return _LazyBranches(self.path, self._leaves if self._described is None else self._described, self._describe)

    def _describe(self, name: str) -> Branch:
        stored = (self._described or {}).get(name)
        if stored is None:
            return _describe_branch(name, self._leaves[name])
        return _describe_stored(name, stored, self.entries, self._file.file.fCompress)

    def _stored(self, name: str) -> StoredBranch | None:
        """Return where the values of a branch are; None where only uproot can read them."""
        stored = (self._described or {}).get(name)
        return _stored_branch(self._leaves[name]) if stored is None else stored

    def _chunks(self, names: Sequence[str], step: int, start: int, stop: int) -> Iterator[Chunk]:
        stored = {name: self._stored(name) for name in names}
        plain = {n: b for n, b in stored.items() if b is not None}
        other = {n: self._leaves[n] for n, b in stored.items() if b is None}
        counting = {b.counter: self._stored(_column(b.counter)) for b in plain.values() if b.counter is not None}
        edges = [*(b.edges for b in plain.values()), *(b.entry_offsets for b in other.values())]
        with RemoteRecords(self._file.file.source) if is_remote(self.path) else LocalRecords(self.path) as records:
            baskets = {n: _Baskets(b, records, self._branch) for n, b in plain.items()}
            counters = {n: _Baskets(b, records, self._branch) for n, b in counting.items() if b is not None}
            for first, last in _aligned_steps(edges, start, stop, step):
                records.prefetch(p for b in (*baskets.values(), *counters.values()) for p in b.places(first, last))
                columns = _plain_columns(baskets, counters, first, last)
                if other:
                    arrays = {n: b.array(_interpretation(b), first, last) for n, b in other.items()}
                    columns |= awkward_chunk(first, arrays, last - first).columns
                yield Chunk(first, last - first, columns)

    def _branch(self, name: str) -> Any:
        """Return a branch as uproot reads it."""
        return self._leaves[_column(name)]


def _column(branch: str) -> str:
    return branch.rstrip(".").replace(".", "_")


class RNTupleFile(_RootFile):
    """An RNTuple; a collection of records (``Jet: {pt, eta}``) becomes ``Jet_pt`` and ``Jet_eta``."""

    def __init__(self, path: str, file: Any, tree: Any) -> None:
        super().__init__(path, file, int(tree.num_entries))
        self._tree = tree

    @cached_property
    def _paths(self) -> dict[str, tuple[tuple[str, ...], Branch]]:
        paths = {}
        for field in self._tree.fields:
            if field.name.startswith("_"):  # storage behind the projected fields that ROOT's importer makes
                continue
            for name, path, dtype, jagged in _columns_of_field(field):
                column = name.replace(".", "_")
                type_text = field.typename if len(path) == 1 else f"{dtype or 'unreadable'}{'[]' if jagged else ''}"
                counter = self._counters.get(name) if len(path) == 1 else f"n{field.name}" if jagged else None
                paths[column] = (path, Branch(column, dtype, jagged, counter, field.description, type_text))
        return paths

    @cached_property
    def _counters(self) -> dict[str, str]:
        """The field that counts the lists of another one, since both are projections of one column of lengths."""
        aliases = [(a.physical_id, self._tree.field_records[a.field_id]) for a in self._tree.alias_column_records]
        counts = {i: field.field_name for i, field in aliases if "Cardinality" in field.type_name}
        names = [(field.field_name, counts[i]) for i, field in aliases if i in counts]
        return {name: counter for name, counter in names if name != counter}

    @cached_property
    def branches(self) -> Mapping[str, Branch]:  # type: ignore[override]
        """Description of every column."""
        return {name: branch for name, (_, branch) in self._paths.items()}

    def page_sizes(self) -> dict[str, dict[str, Any]]:
        """Sum up the pages of every column: ``compressed``, ``uncompressed`` (bytes) and ``codec``, as in a Branch."""
        ntuple = self._tree
        owners = {i: column.field_id for i, column in enumerate(ntuple.column_records)}
        projected: dict[int, int] = {}
        for alias in ntuple.alias_column_records:  # the lengths of a collection are one column: the counter's
            if alias.physical_id not in projected or "Cardinality" in ntuple.field_records[alias.field_id].type_name:
                projected[alias.physical_id] = alias.field_id
        names = {i: _column_of_field(ntuple.field_records, owner) for i, owner in {**owners, **projected}.items()}
        sizes: dict[str, dict[str, Any]] = {}
        for cluster in ntuple.page_link_list:
            for i, (column, pages) in enumerate(zip(ntuple.column_records, cluster)):
                size = sizes.setdefault(names[i], {"compressed": 0, "uncompressed": 0, "codec": None})
                size["compressed"] += sum(page.locator.num_bytes for page in pages.pages)
                size["uncompressed"] += sum(page.num_elements for page in pages.pages) * column.nbits // 8
                if pages.compression_settings is not None:
                    size["codec"] = _codec(pages.compression_settings)
        return sizes

    def _chunks(self, names: Sequence[str], step: int, start: int, stop: int) -> Iterator[Chunk]:
        with RemoteRecords(self._file.file.source) if is_remote(self.path) else LocalRecords(self.path) as records:
            columns = TupleReader(self.path, self._tree, {n: self._paths[n] for n in names}, records)
            for first in range(start, stop, step):
                last = min(first + step, stop)
                yield Chunk(first, last - first, columns.read(first, last))


def reader(path: str, file: Any, name: str) -> TTreeFile | RNTupleFile | None:
    """Return the reader of a TTree or RNTuple of an open file; None where it has none of this name."""
    if file.classnames(cycle=False).get(name) == "TTree":
        described = describe(file.key(name))
        if described is not None:
            return TTreeFile(path, file, name, described)
    tree = file.get(name)
    if not hasattr(tree, "num_entries"):
        return None
    if isinstance(tree, uproot.TTree):
        return TTreeFile(path, file, name, None)
    _refuse_old_ntuple(path, tree.name, tree.classname, tree.member("fVersionEpoch"))
    return RNTupleFile(path, file, tree)


class _Baskets:
    """Basket-wise access to one branch; the last basket is kept, so that each is decompressed once.

    ``branches`` gives branches by name as uproot reads them, for baskets of other kinds.
    """

    def __init__(self, branch: StoredBranch, records: Records, branches: Callable[[str], Any]) -> None:
        self._name, self.counter = branch.name, branch.counter
        self._records = records
        self._branches = branches
        self._places, self._edges, self._dtype = branch.places, branch.edges, branch.dtype
        self._last: tuple[int, Basket | None] = (-1, None)

    def places(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return seek position and size of the baskets of entries ``start`` to ``stop`` that are still to be read."""
        first, last = bisect.bisect_right(self._edges, start) - 1, bisect.bisect_left(self._edges, stop)
        first += first == self._last[0]
        return [interval for interval in self._places[first:last] if interval[0]]

    def pieces(self, start: int, stop: int, offsets: np.ndarray | None) -> list[np.ndarray]:
        """Return views of the stored values of entries ``start`` to ``stop``; offsets are relative to ``start``."""
        views = []
        index = bisect.bisect_right(self._edges, start) - 1
        while index < len(self._edges) - 1 and self._edges[index] < stop:
            first, last = max(start, self._edges[index]), min(stop, self._edges[index + 1])
            expected = last - first if offsets is None else int(offsets[last - start] - offsets[first - start])
            views.append(self._view(index, first, last, expected, offsets is not None))
            index += 1
        return views

    def _view(self, index: int, first: int, last: int, expected: int, jagged: bool) -> np.ndarray:
        basket = self._basket(index)
        edge, end, item = self._edges[index], self._edges[index + 1], self._dtype.itemsize
        values = basket.data[: len(basket.data) // item * item].view(self._dtype)
        if not jagged:
            low, high = first - edge, last - edge
        elif basket.starts is None:  # ROOT can leave them out (kGenerateOffsetMap): then only the counter knows
            low = self._count(edge, first)
            high = low + expected
        else:
            low, high = basket.position(first - edge) // item, basket.position(last - edge) // item
        if high - low != expected or high > len(values) or (last == end and high != len(values)):
            raise ValueError(f"basket {index} of {self._name} contradicts the number of its values")
        return values[low:high]

    def _count(self, start: int, stop: int) -> int:
        counts = self._branches(str(self.counter)).array(entry_start=start, entry_stop=stop, library="np")
        return int(counts.sum(dtype=np.int64))

    def _basket(self, index: int) -> Basket:
        last, basket = self._last
        if last != index or basket is None:
            interval = self._places[index] if index < len(self._places) else (0, 0)  # others are embedded in the tree
            basket = decode_basket(self._records[interval]) if interval[0] else None
            if basket is None:
                unread = self._branches(self._name).basket(index)
                starts = unread.byte_offsets
                basket = Basket(np.asarray(unread.data), None if starts is None else np.asarray(starts[:-1]))
            self._last = (index, basket)
        return basket


def _plain_columns(
    baskets: Mapping[str, _Baskets], counters: Mapping[str, _Baskets], start: int, stop: int
) -> dict[str, Column]:
    """Read entries ``start`` to ``stop``; branches with one counter share their offsets."""
    offsets = {name: _offsets(counter, start, stop) for name, counter in counters.items()}
    offsets_of = {name: offsets[reader.counter] if reader.counter else None for name, reader in baskets.items()}
    return {
        name: Column(reader.pieces(start, stop, offsets_of[name]), offsets_of[name]) for name, reader in baskets.items()
    }


def _offsets(counter: _Baskets, start: int, stop: int) -> np.ndarray:
    offsets = np.zeros(stop - start + 1, dtype=np.int64)
    np.cumsum(np.concatenate(counter.pieces(start, stop, None)), out=offsets[1:])
    return offsets


def _aligned_steps(edges_of: Sequence[list[int]], start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut at entries where all branches start a basket, if there is such a place within half a step of the aim."""
    common = set.intersection(*map(set, edges_of)) if edges_of else set()
    edges = np.array(sorted(e for e in {*common, stop} if e <= stop))
    while start < stop:
        near = edges[(edges > start) & (edges <= start + step * 3 // 2)]
        cut = int(near[np.argmin(np.abs(near - start - step))]) if len(near) else min(start + step, stop)
        yield start, cut
        start = cut


def _columns_of_field(field: Any) -> Iterable[tuple[str, tuple[str, ...], np.dtype | None, bool]]:
    """Take a field apart; plain numbers and lists of them by their type's name (uproot's forms cost 1 ms per field)."""
    match = _PLAIN_TYPE.fullmatch(field.typename)
    if match and match["number"] in _CPP_TYPES:
        return [(field.name, (field.name,), np.dtype(_CPP_TYPES[match["number"]]), match["list"] is not None)]
    form = field.to_akform()[0]
    return columns_of_form(field.name, form.content(field.name))


def _column_of_field(records: Sequence[Any], field_id: int) -> str:
    """Return the name of the column that an RNTuple's field, or a field inside it, belongs to."""
    path = [records[field_id].field_name]
    while records[field_id].parent_field_id != field_id:
        field_id = records[field_id].parent_field_id
        path.insert(0, records[field_id].field_name)
    return "_".join([step for step in path if step != "_0"][:2]).replace(".", "_")


def _codec(settings: int) -> str:
    """Name the codec of ROOT's compression settings, 100 * algorithm + level; old files have a level alone (zlib)."""
    algorithm, level = divmod(settings, 100)
    return f"{_CODECS.get(algorithm, algorithm)}({level})" if settings > 0 and level else "none"


def _interpretation(branch: Any) -> Any:
    """Say how the values of a branch are stored.

    uproot takes the first bracket of ``Jet_x[nJet]/d[0,256,16]`` for the range of a Double32_t or Float16_t.
    """
    leaf = branch.member("fLeaves")[0] if len(branch.member("fLeaves")) == 1 else None
    if leaf is None or leaf.classname not in ("TLeafD32", "TLeafF16"):
        return branch.interpretation
    title = str(leaf.member("fTitle"))
    bracket = _RANGE.search(title)
    dims = tuple(int(size) for size in _SIZE.findall(title))
    low, high, *bits = (float(number) for number in bracket[1].split(",")) if bracket else (0.0, 0.0)
    numbers = uproot.interpretation.numerical
    if leaf.classname == "TLeafF16":
        content = numbers.AsFloat16(low, high, int(bits[0]) if bits else 32 if bracket else 12, dims)
    elif bracket:
        content = numbers.AsDouble32(low, high, int(bits[0]) if bits else 32, dims)
    else:
        content = uproot.AsDtype(np.dtype((">f4", dims)), np.dtype(("f8", dims)))
    return uproot.AsJagged(content) if _counter(branch) is not None else content


def _counter(branch: Any) -> Any | None:
    """Return the branch that counts the elements of another one; uproot's own property takes 0.1 ms."""
    leaf = branch.count_leaf
    return leaf.parent if leaf is not None and isinstance(leaf.parent, uproot.TBranch) else None


def _is_plain(interpretation: Any, branch: Any) -> bool:
    """Whether the bytes of the baskets are the values: numbers, or C arrays of numbers with a counter branch."""
    if isinstance(interpretation, uproot.AsJagged):
        return _counter(branch) is not None and interpretation.header_bytes == 0 and _is_number(interpretation.content)
    return _is_number(interpretation)


def _is_number(interpretation: Any) -> bool:
    return type(interpretation) is uproot.AsDtype and interpretation.from_dtype.shape == ()


def _dtype(interpretation: Any, branch: Any) -> tuple[np.dtype | None, bool]:
    """Return the type of the numbers of a branch (None: it holds something else), and whether it has lists of them."""
    jagged = isinstance(interpretation, uproot.AsJagged)
    content = interpretation.content if jagged else interpretation
    if not isinstance(content, uproot.interpretation.numerical.Numerical) or content.to_dtype.names is not None:
        return None, jagged
    stored = np.dtype(content.from_dtype if _is_plain(interpretation, branch) else content.to_dtype)
    base, shape = stored.subdtype or (stored, ())
    if len(shape) > (0 if jagged else 1):
        return None, True
    return base.newbyteorder("="), jagged or shape != ()


def _stored_branch(branch: Any) -> StoredBranch | None:
    """Return where the values of a branch of uproot are; None unless its baskets are those values."""
    interpretation, counter = _interpretation(branch), _counter(branch)
    if not _is_plain(interpretation, branch):
        return None
    return StoredBranch(
        branch.name,
        branch.title,
        np.dtype(getattr(interpretation, "content", interpretation).from_dtype),
        counter.name if counter is not None else None,
        int(branch.num_entries),
        int(branch.compressed_bytes),
        int(branch.uncompressed_bytes),
        int(branch.member("fCompress")),
        list(zip(*(branch.member(name).tolist() for name in ("fBasketSeek", "fBasketBytes")))),
        [int(edge) for edge in branch.entry_offsets],
    )


def _describe_stored(name: str, branch: StoredBranch, entries: int, compression: int) -> Branch:
    """Describe a branch of a tree with so many entries, in a file with this compression."""
    dtype, jagged = branch.dtype.newbyteorder("="), branch.counter is not None
    return Branch(
        name,
        dtype if branch.entries >= entries else None,
        jagged,
        branch.counter,
        branch.title,
        _TYPE_NAMES[dtype] + "[]" * jagged,
        branch.compressed,
        branch.uncompressed,
        _stored_codec(branch.compression, branch.compressed, branch.uncompressed, compression),
        _lack(branch.entries, entries),
    )


def _lack(held: int, entries: int) -> str:
    return f"holds {held:,} of {entries:,} entries" if held < entries else ""


def _stored_codec(of_branch: int, compressed: int, uncompressed: int, of_file: int) -> str:
    """Name the codec of a branch: uproot writes 0 there in any file; then the settings of the file were in force."""
    return _codec(of_branch or (of_file if compressed < uncompressed else 0))


def _describe_branch(name: str, branch: Any) -> Branch:
    """Describe a branch; one that nobody can interpret, or that holds nothing, does no harm until it is used."""
    counter = _counter(branch)
    try:
        interpretation = _interpretation(branch)
        dtype, jagged = _dtype(interpretation, branch)
    except Exception:  # uproot's, of every kind
        dtype, jagged = None, counter is not None
    problem = _lack(branch.num_entries, branch.tree.num_entries)
    compressed, uncompressed = int(branch.compressed_bytes), int(branch.uncompressed_bytes)
    return Branch(
        name,
        None if problem else dtype,
        jagged,
        counter.name if counter is not None else None,
        branch.title,
        _type_name(branch),
        compressed,
        uncompressed,
        _stored_codec(branch.member("fCompress"), compressed, uncompressed, branch.file.fCompress),
        problem,
    )


def _type_name(branch: Any) -> str:
    """Name the type of a branch, by the class of its leaf where uproot cannot."""
    try:
        return str(branch.typename)
    except Exception:  # uproot's, of every kind
        leaves = branch.member("fLeaves")
        name = leaves[0].classname if len(leaves) else branch.classname
        return {"TLeafD32": "Double32_t", "TLeafF16": "Float16_t"}.get(name, str(name))
