"""A file as an analysis sees it: with the collections that it groups, and with defaults for columns that are absent."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..config.schema import Analysis
from ..console import say
from ..errors import FileError, UserError, nearest
from . import syntax
from .columns import Branch, Chunk, Column, collection_name
from .hashing import HashedFile
from .reader import EventFile, FileView

_said: set[str] = set()
"""The defaults that were mentioned: once is enough for thousands of files."""


def view(file: EventFile, analysis: Analysis) -> EventFile:
    """Return a file as an analysis sees it.

    Raises
    ------
    FileError
        When a branch of a collection that the analysis groups is missing, or has not one list per event.
    UserError
        When one column has two defaults, or ``flat`` needs columns of the identity that the analysis defines.
    """
    flat = any(_calls_flat(text) for text, _ in _expressions(analysis))
    seen = _renamed_and_filled(file, analysis)
    return HashedFile(seen, _identity_in(seen, analysis)) if flat else seen


def _renamed_and_filled(file: EventFile, analysis: Analysis) -> EventFile:
    grouped = _all_grouped(file, analysis.collections)
    defaults = {} if not _mentions_default(analysis) else _absent(analysis, {*file.branches, *grouped})
    if not grouped and not defaults:
        return file
    return _View(file, grouped, defaults)


def _identity_in(file: EventFile, analysis: Analysis) -> tuple[str, ...]:
    """Return the columns of the identity, which have to be the file's where the analysis names them."""
    defined = next((n for n in analysis.identity_columns if n in analysis.define and n not in file.branches), None)
    if defined is not None:
        raise UserError(f"flat(...) goes by the identity, but {defined} is no column of {file.path}: it is defined")
    return analysis.identity_columns


def _calls_flat(text: str) -> bool:
    """Whether an expression calls it; what is wrong with it is reported where it is parsed."""
    if "flat" not in text:
        return False
    try:
        return syntax.calls(syntax.postorder(syntax.parse_tree(text)), "flat")
    except syntax.ExpressionError:
        return False


def with_collections(file: EventFile, collections: Mapping[str, Mapping[str, str]]) -> EventFile:
    """Return a file with lists grouped into collections, as ``collections`` of the analysis file says."""
    return _View(file, _all_grouped(file, collections), {}) if collections else file


class _View(FileView):
    """A file with columns under other names, and with columns that are absent."""

    def __init__(self, file: EventFile, grouped: Mapping[str, tuple[str, Branch]], filled: Mapping[str, Any]) -> None:
        super().__init__(file)
        self.filled = filled
        self._sources = {name: source for name, (source, _) in grouped.items()}
        renamed = {name: branch for name, (_, branch) in grouped.items()}
        self._counted = {str(b.counter): n for n, b in reversed(renamed.items()) if b.counter not in file.branches}
        counters = {n: Branch(n, np.dtype("i4"), type_name="counter") for n in self._counted}
        self.branches = ChainMap({**counters, **renamed}, file.branches)  # type: ignore[arg-type]
        self._like = {name: _list_beside(name, self.branches) for name in filled}
        absent = {name: self._absent(name, value) for name, value in filled.items()}
        self.branches = ChainMap({**counters, **renamed, **absent}, file.branches)  # type: ignore[arg-type]

    def _absent(self, name: str, value: Any) -> Branch:
        like = self._like[name]
        counter = self.branches[like].counter if like is not None else None
        return Branch(name, _type_of(value), like is not None, counter, type_name="absent")

    def chunks(self, names: Sequence[str], *arguments: Any, **options: Any) -> Iterator[Chunk]:
        """Read columns; see :meth:`EventFile.chunks`."""
        needed = [self._counted.get(n, n) for n in names if n not in self.filled]
        needed += [like for n in names if (like := self._like.get(n)) is not None]
        stored = list(dict.fromkeys(self._sources.get(n, n) for n in needed)) or self._any_column()
        for chunk in self._file.chunks(stored, *arguments, **options):
            yield Chunk(chunk.start, chunk.size, self._columns(names, chunk))

    def _columns(self, names: Sequence[str], chunk: Chunk) -> dict[str, Column]:
        columns = {n: chunk.columns[self._sources.get(n, n)] for n in names if self._sources.get(n, n) in chunk.columns}
        self._check_lengths(columns, chunk.start)
        for name in names:
            if name in self._counted:
                offsets = chunk.columns[self._sources[self._counted[name]]].offsets
                columns[name] = Column([np.diff(np.asarray(offsets)).astype("i4")])
            elif name in self.filled:
                columns[name] = self._fill(name, chunk)
        return columns

    def _fill(self, name: str, chunk: Chunk) -> Column:
        like = self._like[name]
        offsets = None if like is None else chunk.columns[self._sources.get(like, like)].offsets
        size = chunk.size if offsets is None else int(offsets[-1])
        return Column([np.full(size, self.filled[name], _type_of(self.filled[name]))], offsets)

    def _check_lengths(self, columns: Mapping[str, Column], start: int) -> None:
        """Raise a :class:`FileError` where lists that the analysis groups are not of one length in some event."""
        first: dict[str | None, tuple[str, np.ndarray]] = {}
        for name in (n for n in columns if n in self._sources):
            offsets = np.asarray(columns[name].offsets)
            other, expected = first.setdefault(self.branches[name].counter, (name, offsets))
            if offsets is not expected and not np.array_equal(offsets, expected):
                entry = start + int(np.flatnonzero(np.diff(offsets) != np.diff(expected))[0])
                raise FileError(
                    self.path,
                    f"entry {entry}: {self._sources[name]} and {self._sources[other]} have lists of different lengths, "
                    f"so they are no collection: correct 'collections'",
                    mistake=True,
                )


def _all_grouped(file: EventFile, collections: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, Branch]]:
    grouped: dict[str, tuple[str, Branch]] = {}
    for name, members in collections.items():
        grouped |= _grouped(file, name, members)
    return grouped


def _grouped(file: EventFile, collection: str, members: Mapping[str, str]) -> dict[str, tuple[str, Branch]]:
    """Return the branches of a collection by their new names, with their names in the file."""
    grouped = {}
    for attribute, source in members.items():
        where = f"collections.{collection}.{attribute}"
        branch = file.branches.get(source)
        if branch is None:
            lists = [name for name in file.branches if file.branches[name].jagged]
            raise FileError(file.path, f"{where}: no column {source!r}{nearest(source, lists)}", mistake=True)
        if not branch.jagged or branch.dtype is None:
            raise FileError(file.path, f"{where}: {source} has no list of numbers per event", mistake=True)
        name = f"{collection}_{attribute}"
        if name in file.branches:
            raise FileError(file.path, f"{where}: the file has a column {name} already", mistake=True)
        grouped[name] = (source, Branch(name, branch.dtype, True, f"n{collection}", branch.title, branch.type_name))
    return grouped


def _mentions_default(analysis: Analysis) -> bool:
    return any("default" in text for text, _ in _expressions(analysis))


def _absent(analysis: Analysis, names: set[str]) -> dict[str, Any]:
    """Return the columns with defaults that a file lacks, and what stands for them."""
    defaults: dict[str, Any] = {}
    for text, prefixes in _expressions(analysis):
        for name, value in _defaults(text):
            candidates = [*(f"{prefix}_{name}" for prefix in prefixes), name]
            if names.union(analysis.define).isdisjoint(candidates):
                column = candidates[0]
                if defaults.setdefault(column, value) != value:
                    raise UserError(f"default({name}, ...) stands for {defaults[column]} and for {value}: give it one")
    for column in set(defaults) - _said:
        default_text = str(defaults[column]).lower()
        say(f"note: {column} is not in every file: its default, {default_text}, counts where it is absent")
        _said.add(column)
    return defaults


def _expressions(analysis: Analysis) -> Iterator[tuple[str, list[str]]]:
    """Yield all expressions of an analysis, with the collections whose attributes they may name without prefix."""
    row = [analysis.row] if analysis.row != "event" else []
    blocks: list[Mapping[str, str]] = [analysis.define, analysis.select, *analysis.select_for.values()]
    blocks += [sample.select for sample in analysis.samples.values()]
    blocks += [analysis.classes, analysis.regression, {"weight": analysis.weight}]
    blocks += [{"weight": sample.weight} for sample in analysis.samples.values() if sample.weight]
    for block in blocks:
        yield from ((text, row) for text in block.values())
    for input_block in analysis.inputs.values():
        collections = [input_block.collection] if input_block.collection else row
        texts = [input_block.where, input_block.sort, input_block.match, *input_block.feature_expressions.values()]
        yield from ((text, collections) for text in texts if text)
        if input_block.image is not None:
            yield from ((text, row) for text in input_block.image.center_expressions)


def _defaults(text: str) -> Iterable[tuple[str, Any]]:
    """Return the columns of an expression that have defaults; what is wrong with it is reported where it is parsed."""
    if "default" not in text:
        return []
    try:
        values = [syntax.default_of(node) for node in syntax.postorder(syntax.parse_tree(text))]
    except syntax.ExpressionError:
        return []
    return [default for default in values if default is not None]


def _list_beside(name: str, branches: Mapping[str, Branch]) -> str | None:
    """Return a column of the collection that a name belongs to; None where the file has none."""
    parts = name.split("_")
    for prefix in ("_".join(parts[:i]) for i in range(len(parts) - 1, 0, -1)):
        for other in (n for n in branches if n.startswith(f"{prefix}_")):
            branch = branches[other]
            if branch.jagged and branch.dtype is not None and collection_name(branch, branches) == prefix:
                return other
    return None


def _type_of(value: Any) -> np.dtype:
    """Return the type that NanoAOD has for a value, or a wider one where that cannot hold it."""
    if isinstance(value, bool):
        return np.dtype("?")
    if isinstance(value, int):
        return np.dtype("i4" if -(2**31) <= value < 2**31 else "i8")
    with np.errstate(all="ignore"):
        single = float(np.float32(value))
    return np.dtype("f4" if np.isclose(single, value, rtol=1e-6, atol=0, equal_nan=True) else "f8")
