"""Trees of several inputs in one output: what some inputs lack is filled, and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import FileError
from .columns import Branch, Column, offsets_of
from .writer import NanoFile, TreeWriter


class BranchesDifferError(Exception):
    """Inputs of one output have different branches: its trees have to be begun with those of all."""


@dataclass
class BranchUnion:
    """The branches of all inputs of an output, by tree; the first input that has a branch describes it."""

    trees: dict[str, dict[str, tuple[str, Branch]]] = field(default_factory=dict)

    def add(self, path: str, tree: str, branches: Sequence[Branch]) -> None:
        """Take the branches of one input.

        Raises
        ------
        FileError
            When one has another type than in an earlier input, or when only some inputs have the tree.
        """
        previous = self.trees.get(tree)
        if previous is not None and bool(previous) != bool(branches):
            raise FileError(path, f"cannot be merged with the others: not all of them have a tree {tree}", mistake=True)
        previous = self.trees.setdefault(tree, {})
        for branch in branches:
            first, described = previous.setdefault(branch.name, (path, branch))
            if _shape(branch) != _shape(described):
                raise FileError(
                    path,
                    f"cannot be merged with {first}: {branch.name} of {tree} is {_words(branch)}, there "
                    f"{_words(described)}; drop it (skim.keep), or give every input its own output (no "
                    "skim.target_size)",
                    mistake=True,
                )

    def branches(self, tree: str) -> list[Branch]:
        """Return the branches of the output, counters before their lists."""
        branches = [branch for _, branch in self.trees[tree].values()]
        counters = {b.counter for b in branches if b.jagged}
        return sorted(branches, key=lambda branch: branch.name not in counters)


class MergedTrees:
    """The trees of an output.

    Parameters
    ----------
    out
        The output.
    union
        The branches of all inputs, if these differ; None as long as that is not known.

    Attributes
    ----------
    filled
        The branches that inputs lack: in how many, and the value in their place.
    """

    def __init__(self, out: NanoFile, union: BranchUnion | None) -> None:
        self._out = out
        self._known = union is not None
        self._union = union or BranchUnion()
        self._writers: dict[str, TreeWriter] = {}
        self.filled: dict[str, tuple[int, str]] = {}

    def get(
        self, path: str, name: str, branches: Sequence[Branch], defaults: Mapping[str, Any] | None = None
    ) -> TreeWriter | FilledTree:
        """Return where the entries of an input go; ``defaults`` are values for branches that it lacks.

        Raises
        ------
        BranchesDifferError
            When the output was begun without branches that this input has, or the other way round.
        """
        first = name not in self._union.trees
        before = set(self._union.trees.get(name, ()))
        self._union.add(path, name, branches)
        present = {b.name for b in branches}
        if not self._known and not first and present != before:
            raise BranchesDifferError
        if name not in self._writers:
            ordered = self._union.branches(name) if self._known else list(branches)
            self._writers[name] = self._out.tree(name, ordered)
        missing = [b for b in self._union.branches(name) if b.name not in present]
        if not missing:
            return self._writers[name]
        tree = FilledTree(self._writers[name], branches, missing, defaults or {})
        for branch in missing:
            count = self.filled.get(branch.name, (0, ""))[0]
            self.filled[branch.name] = (count + 1, tree.shown(branch))
        return tree

    def without(self, path: str, name: str) -> None:
        """Note that an input has no such tree: then none may have it."""
        self._union.add(path, name, ())


class FilledTree:
    """Adds the branches that an input lacks to its entries."""

    def __init__(
        self, tree: TreeWriter, stored: Sequence[Branch], missing: Sequence[Branch], defaults: Mapping[str, Any]
    ) -> None:
        self._tree = tree
        self._lists = {str(b.counter): b.name for b in stored if b.jagged}
        counters = {b.counter for b in (*stored, *missing) if b.jagged}
        self._missing = [b for b in missing if b.name not in counters]
        self._defaults = defaults

    def append(self, size: int, columns: Mapping[str, Column]) -> None:
        """Add entries; see :meth:`TreeWriter.append`."""
        filled = {branch.name: self._fill(branch, size, columns) for branch in self._missing}
        self._tree.append(size, {**columns, **filled})

    def shown(self, branch: Branch) -> str:
        """Say what stands for a branch that is missing."""
        alone = branch.jagged and branch.counter not in self._lists
        return "no objects" if alone else str(self._value(branch)).lower()

    def _fill(self, branch: Branch, size: int, columns: Mapping[str, Column]) -> Column:
        if not branch.jagged:
            return Column([np.full(size, self._value(branch), branch.dtype)])
        counter = str(branch.counter)
        if counter in self._lists:
            offsets = np.asarray(columns[self._lists[counter]].offsets)
        elif counter in columns:
            offsets = offsets_of(columns[counter].content)
        else:
            offsets = np.zeros(size + 1, np.int64)
        return Column([np.full(int(offsets[-1]), self._value(branch), branch.dtype)], offsets)

    def _value(self, branch: Branch) -> Any:
        absent = {"b": False, "f": float("nan")}.get(np.dtype(branch.dtype).kind, 0)
        return self._defaults.get(branch.name, absent)


def _shape(branch: Branch) -> tuple[Any, ...]:
    return branch.dtype, branch.jagged, branch.counter if branch.jagged else None


def _words(branch: Branch) -> str:
    return f"{branch.dtype}[{branch.counter}]" if branch.jagged else str(branch.dtype)
