"""Look into files: their trees, entries and branches, grouped into collections, and the ranges of the values."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from ..console import out, progress, show_table, size_text
from ..errors import FileError, UserError, nearest
from ..events.columns import Branch, Collection, Column, collections
from ..events.damage import ROOT
from ..events.files import expand, is_remote, require
from ..events.open import format_of, open_events
from ..events.reader import EventFile, broken_file
from ..events.root import RNTupleFile, TTreeFile, open_file, open_root, reader, tree_names

_COMPACT = 20
"""A longer group of flat branches, e.g. the trigger bits, is one line unless it is asked for."""

_SHOWN_DIFFERENCES = 40


@dataclass
class Spread:
    """What the values of one branch span; NaN and infinities are counted apart. ``longest`` is the longest list."""

    values: int = 0
    nan: int = 0
    infinite: int = 0
    minimum: float | None = None
    maximum: float | None = None
    longest: int | None = None
    _sum: float = 0.0

    def add(self, column: Column) -> None:
        """Take the values of one more chunk into account."""
        values = column.content.view(np.uint8) if column.content.dtype == bool else column.content
        self.values += len(values)
        if column.offsets is not None and len(column.offsets) > 1:
            self.longest = max(self.longest or 0, int(np.diff(column.offsets).max()))
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                missing = int(np.isnan(values).sum())
                self.nan += missing
                self.infinite += len(values) - int(finite.sum()) - missing
                values = values[finite]
        if len(values):
            low, high = values.min().item(), values.max().item()
            self.minimum = low if self.minimum is None else min(self.minimum, low)
            self.maximum = high if self.maximum is None else max(self.maximum, high)
            with np.errstate(over="ignore"):
                self._sum += float(values.sum(dtype=np.float64))

    @property
    def mean(self) -> float | None:
        """The mean of the finite values; None without any, or where their sum overflows."""
        finite = self.values - self.nan - self.infinite
        return self._sum / finite if finite and math.isfinite(self._sum) else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types; shares are of all values."""
        counts = {"values": self.values, "longest_list": self.longest}
        shares = {"nan": self.nan / self.values if self.values else 0.0}
        shares["infinite"] = self.infinite / self.values if self.values else 0.0
        return {"min": self.minimum, "max": self.maximum, "mean": self.mean, **shares, **counts}


@dataclass
class Group:
    """Branches that are shown together: a collection, or flat branches with a common prefix (name "": the rest)."""

    name: str
    branches: dict[str, Branch]
    collection: Collection | None = None

    @property
    def bytes(self) -> tuple[int, int] | None:
        """Size on disk and uncompressed; None where the format does not tell."""
        return _total_bytes(self.branches.values())


@dataclass
class TreeSummary:
    """One tree (or table) of a file. ``groups`` are what the filter leaves, ``branches`` are all."""

    name: str | None
    kind: str
    entries: int | None
    branches: dict[str, Branch]
    groups: list[Group]
    spreads: dict[str, Spread] = field(default_factory=dict)

    @property
    def shown(self) -> dict[str, Branch]:
        """The branches of all groups."""
        return {name: branch for group in self.groups for name, branch in group.branches.items()}

    @property
    def types(self) -> dict[str, str]:
        """The type of every branch: what two trees must share to be read alike."""
        return {name: _type(branch) for name, branch in self.branches.items()}


@dataclass
class FileSummary:
    """One file and its trees; ``size`` is None where it is not on a local disk."""

    path: str
    uuid: str
    size: int | None
    trees: list[TreeSummary]


def inspect(files: list[str], tree: str | None, filter: str | None, ranges: bool, as_json: bool) -> None:
    """Print trees, entries and branches of files on standard output.

    Parameters
    ----------
    files
        Files, globs, list files and addresses.
    tree
        Only this TTree or RNTuple; None for all.
    filter
        Only branches that match this glob, upper and lower case being different.
    ranges
        Read the values, for their ranges.
    as_json
        Print JSON, one object per file, instead of tables.

    Raises
    ------
    UserError
        When the filter matches nothing in any file.
    FileError
        For a file that cannot be read, or has no (such) tree.
    """
    paths = expand(files, "FILES")
    for path in paths:
        require(path, format_of(path).kind)
    done: list[FileSummary] = []
    for path in paths:
        summary = summarise(path, tree, filter, ranges)
        if not as_json:
            _show(summary, done, filter, ranges)
        done.append(summary)
    if filter is not None and not any(t.groups for summary in done for t in summary.trees):
        names = {name for summary in done for t in summary.trees for name in t.branches}
        raise UserError(f"--filter {filter!r} matches no branch{nearest(filter.strip('*?'), sorted(names))}")
    if as_json:
        out.print(json.dumps([_as_dict(summary) for summary in done], indent=1, allow_nan=False), markup=False)


def summarise(path: str, tree: str | None = None, filter: str | None = None, ranges: bool = False) -> FileSummary:
    """Describe one file; the parameters are those of :func:`inspect`."""
    trees = []
    uuid = ""
    with broken_file(path, "cannot be opened"):
        opened = list(_open_tables(path, tree))
    for name, kind, file in opened:
        uuid = file.uuid
        with broken_file(path, "cannot be opened"):
            branches = _branches(file)
        summary = TreeSummary(name, kind, file.entries, branches, _groups(branches, filter))
        if ranges:
            _measure(file, summary)
        trees.append(summary)
    opened[0][2].close()
    return FileSummary(path, uuid, None if is_remote(path) else Path(path).stat().st_size, trees)


# -- reading ----------------------------------------------------------------------------------------------------------


def _open_tables(path: str, tree: str | None) -> Iterator[tuple[str | None, str, EventFile]]:
    """Yield name, kind and reader of every tree of a file, or of the one that is asked for."""
    kind = format_of(path).kind
    if kind is not ROOT:
        yield None, kind.name, open_events(path, "")
    elif tree is not None:
        one = open_root(path, tree)
        yield tree, _kind(one), one
    else:
        file = open_file(path)
        names = tree_names(file)
        if not names:
            others = sorted(f"{name} ({kind})" for name, kind in file.classnames(cycle=False).items())
            raise FileError(path, f"has no tree at all; {_some(others) or 'it is empty'}", mistake=True)
        for name in names:
            table = reader(path, file, name)
            assert table is not None  # noqa: S101 - it is one of those
            yield name, _kind(table), table


def _kind(file: EventFile) -> str:
    return "TTree" if isinstance(file, TTreeFile) else "RNTuple"


def _branches(file: EventFile) -> dict[str, Branch]:
    """Describe the columns of a table, with their sizes where the format tells them cheaply."""
    branches = dict(file.branches)
    if isinstance(file, RNTupleFile):
        for name, size in file.page_sizes().items():
            if name in branches:
                branches[name] = replace(branches[name], **size)
    return branches


def _measure(file: EventFile, summary: TreeSummary) -> None:
    """Read all readable branches once, chunk by chunk."""
    names = [name for name, branch in summary.shown.items() if branch.dtype is not None]
    summary.spreads = {name: Spread() for name in names}
    entries = 0
    if names:
        with progress(f"reading {summary.name or file.path}", file.entries) as bar:
            for chunk in file.chunks(names):
                entries += chunk.size
                for name, spread in summary.spreads.items():
                    spread.add(chunk.columns[name])
                bar.advance(chunk.size)
        summary.entries = entries


# -- grouping ---------------------------------------------------------------------------------------------------------


def _groups(branches: Mapping[str, Branch], filter: str | None) -> list[Group]:
    """Group the branches that match: those of the event, then the collections, then flat ones with a common prefix."""
    grouped, flat = collections(branches)
    prefixes = {name: _prefix(name) for name in flat}
    common = Counter(prefixes.values())
    loose: dict[str, dict[str, Branch]] = {"": {}}
    for name, branch in flat.items():
        prefix = prefixes[name] if common[prefixes[name]] > 1 else ""
        loose.setdefault(prefix, {})[name] = branch
    groups = [Group("", loose.pop(""))]
    for name, collection in grouped.items():
        counters = {c: branches[c] for c in collection.counters if not _is_private(c, collection)}
        groups.append(Group(name, {**counters, **collection.branches}, collection))
    groups += [Group(prefix, members) for prefix, members in loose.items()]
    for group in groups:
        group.branches = {n: b for n, b in group.branches.items() if filter is None or fnmatchcase(n, filter)}
    return [group for group in groups if group.branches]


def _prefix(name: str) -> str:
    """Return ``MET`` of ``MET_pt``: by the custom of CMS only capitalised first words are names of things."""
    first, underscore, _ = name.partition("_")
    return first if underscore and first[:1].isupper() else ""


def _is_private(counter: str, collection: Collection) -> bool:
    """Whether a counter belongs to a single branch, as uproot writes it: ``nJet_pt`` beside ``Jet_pt``."""
    return counter != f"n{collection.name}" and counter[1:] in collection.branches


def _total_bytes(branches: Iterable[Branch]) -> tuple[int, int] | None:
    sizes = [(b.compressed, b.uncompressed or 0) for b in branches if b.compressed is not None]
    return (sum(c for c, _ in sizes), sum(u for _, u in sizes)) if sizes else None


# -- JSON -------------------------------------------------------------------------------------------------------------


def _as_dict(summary: FileSummary) -> dict[str, Any]:
    content = [_tree_as_dict(t) for t in summary.trees]
    return {"file": summary.path, "bytes": summary.size, "uuid": summary.uuid, "trees": content}


def _tree_as_dict(tree: TreeSummary) -> dict[str, Any]:
    size = _total_bytes(tree.branches.values()) or (None, None)
    return {
        "name": tree.name,
        "kind": tree.kind,
        "entries": tree.entries,
        "compressed_bytes": size[0],
        "uncompressed_bytes": size[1],
        "collections": [_collection_as_dict(tree, g) for g in tree.groups if g.collection is not None],
        "branches": [_branch_as_dict(tree, group, b) for group in tree.groups for b in group.branches.values()],
    }


def _collection_as_dict(tree: TreeSummary, group: Group) -> dict[str, Any]:
    assert group.collection is not None  # noqa: S101
    return {
        "name": group.name,
        "counters": group.collection.counters,
        "branches": [name for name, branch in group.branches.items() if branch.jagged],
        "longest_list": _longest(tree, group),
    }


def _branch_as_dict(tree: TreeSummary, group: Group, branch: Branch) -> dict[str, Any]:
    spread = tree.spreads.get(branch.name)
    return {
        "name": branch.name,
        "type": branch.type_name,
        "dtype": str(branch.dtype) if branch.dtype is not None else None,
        "list": branch.jagged,
        "collection": group.name if group.collection is not None else None,
        "counter": branch.counter,
        "title": branch.title,
        "compressed_bytes": branch.compressed,
        "uncompressed_bytes": branch.uncompressed,
        "codec": branch.codec,
        "ratio": branch.uncompressed / branch.compressed if branch.uncompressed and branch.compressed else None,
        "range": spread.as_dict() if spread is not None else None,
    }


def _longest(tree: TreeSummary, group: Group) -> int | None:
    lengths = [s.longest for n in group.branches if (s := tree.spreads.get(n)) is not None and s.longest is not None]
    return max(lengths, default=None)


# -- tables -----------------------------------------------------------------------------------------------------------


def _show(summary: FileSummary, earlier: list[FileSummary], filter: str | None, ranges: bool) -> None:
    if earlier:
        out.print()
    size = f"  {size_text(summary.size)}" if summary.size is not None else ""
    out.print(Text(summary.path, style="bold") + Text(size, style="not bold"))
    for tree in summary.trees:
        out.print(Text(f"  {_headline(tree)}"))
        previous = [(s.path, t) for s in earlier for t in s.trees if (t.name, t.kind) == (tree.name, tree.kind)]
        if filter is not None and not tree.groups:
            out.print(Text(f"  no branch matches {filter!r}"))
        elif not _show_as_known(tree, previous) or ranges:
            show_table(_table(tree, filter, ranges))


def _headline(tree: TreeSummary) -> str:
    entries = "entries not counted (--ranges reads them)" if tree.entries is None else f"{tree.entries:,} entries"
    texts = [tree.name or "", tree.kind, entries, f"{len(tree.branches):,} branches"]
    size = _total_bytes(tree.branches.values())
    if size is not None:
        texts.append(f"{size_text(size[0])}, {_codec(tree)} {_ratio(*size)}")
    return "  ".join(text for text in texts if text)


def _show_as_known(tree: TreeSummary, previous: list[tuple[str, TreeSummary]]) -> bool:
    """Say how a tree differs from one that was shown; False where there is none, or they have little in common."""
    types = tree.types
    same = next((path for path, other in previous if other.types == types), None)
    if same is not None:
        out.print(Text(f"  same branches as {same}"))
        return True
    if not previous or len(previous[0][1].types.keys() & types) < len(types) / 2:
        return False
    path, other = previous[0][0], previous[0][1].types
    out.print(Text(f"  branches as {path}, but"))
    changed = [f"{n} ({types[n]}, there {other[n]})" for n in types if n in other and types[n] != other[n]]
    differences = {
        "only here": [n for n in types if n not in other],
        "only there": [n for n in other if n not in types],
        "of another type": changed,
    }
    for difference, names in differences.items():
        if names:
            out.print(Text(f"    {difference}: {_some(names)}"))
    return True


def _table(tree: TreeSummary, filter: str | None, ranges: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    numbers = ("Min", "Mean", "Max") if ranges else ("Size", "Ratio")
    table.add_column("  Branch", no_wrap=True, overflow="fold")
    table.add_column("Type", no_wrap=True, overflow="fold")
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True, overflow="fold")
    table.add_column("Not finite" if ranges else "Title", overflow="fold", min_width=24)
    usual = _codec(tree)
    for group in tree.groups:
        long = group.collection is None and group.name and len(group.branches) > _COMPACT
        compact = bool(long) and filter is None and not ranges
        table.add_row(*_group_row(tree, group, compact, ranges), style="bold")
        for branch in () if compact else group.branches.values():
            cells = _range_cells(branch, tree.spreads.get(branch.name)) if ranges else _size_cells(branch, usual)
            table.add_row(Text(f"    {branch.name}"), Text(_type(branch)), *cells)
    return table


def _group_row(tree: TreeSummary, group: Group, compact: bool, ranges: bool) -> list[Text]:
    lists = sum(branch.jagged for branch in group.branches.values())
    if group.collection is not None:
        name, content = group.name, f"{lists} list{'s' if lists != 1 else ''}"
    else:
        name, content = f"{group.name}_*" if group.name else "(event)", f"{len(group.branches)} values"
    notes = [_counter_note(group.collection)] if group.collection is not None else []
    if compact:
        notes = [f"--filter {f'{group.name}_*'!r} lists them"]
    longest = _longest(tree, group)
    notes += [f"longest list {longest}"] if longest is not None else []
    size = group.bytes
    numbers = ["", "", ""] if ranges else [size_text(size[0]), _ratio(*size)] if size else ["", ""]
    return [Text(cell) for cell in (f"  {name}", content, *numbers, "; ".join(note for note in notes if note))]


def _counter_note(collection: Collection) -> str:
    shared = [c for c in collection.counters if not _is_private(c, collection)]
    if shared:
        return f"counter {', '.join(shared)}"
    return "a counter for each branch" if collection.counters else ""


def _size_cells(branch: Branch, usual: str) -> list[Text]:
    # ROOT's default title only repeats name, counter and type: "Jet_pt[nJet]/F"
    title = "" if branch.title.split("/")[0].split("[")[0] == branch.name else branch.title
    notes = [title, "" if branch.dtype is not None else _not_read(branch)]
    if branch.codec not in (None, usual):
        notes.append(f"({branch.codec})")
    size = (
        [size_text(branch.compressed), _ratio(branch.compressed, branch.uncompressed or 0)] if branch.compressed else []
    )
    return [Text(cell) for cell in (*(size or ("", "")), " ".join(note for note in notes if note))]


def _range_cells(branch: Branch, spread: Spread | None) -> list[Text]:
    if spread is None:
        return [*(Text("-") for _ in range(3)), Text(_not_read(branch))]
    shares = {"NaN": spread.nan, "inf": spread.infinite}
    notes = [f"{name} {count / spread.values:.2%}" for name, count in shares.items() if count]
    numbers = (spread.minimum, spread.mean, spread.maximum)
    return [Text(_number(number)) for number in numbers] + [Text(", ".join(notes))]


def _not_read(branch: Branch) -> str:
    return f"(not read: {branch.problem})" if branch.problem else "(not read)"


def _type(branch: Branch) -> str:
    return branch.type_name if branch.dtype is None else f"{branch.dtype}{'[]' if branch.jagged else ''}"


def _codec(tree: TreeSummary) -> str:
    """Return the codec that most branches have."""
    codecs = Counter(branch.codec for branch in tree.branches.values() if branch.codec)
    return str(codecs.most_common(1)[0][0]) if codecs else ""


def _ratio(compressed: int, uncompressed: int) -> str:
    return f"{uncompressed / compressed:.1f}x" if compressed else ""


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN_DIFFERENCES
    return ", ".join(names[:_SHOWN_DIFFERENCES]) + (f" and {more} more" if more > 0 else "")
