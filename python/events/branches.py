"""Which branches of a tree go to a copy of it: keep and drop, counters, and what cannot be written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from .columns import Branch, collection_name
from .reader import EventFile


class KeepList:
    """Lines of NanoAODTools' branch selection; the last one that fits a name decides, a name that none fits is kept.

    Parameters
    ----------
    lines
        ``keep`` or ``drop`` and a wildcard, ``keepmatch`` or ``dropmatch`` and a regular expression for the whole name.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self._rules = [(line, _fits(*line.split())) for line in lines]
        self._answers: dict[str, bool] = {}

    def __call__(self, name: str) -> bool:
        """Whether a branch is kept."""
        if name not in self._answers:
            last = next((line for line, fits in reversed(self._rules) if fits(name)), "keep")
            self._answers[name] = last.startswith("keep")
        return self._answers[name]

    def idle(self, names: Iterable[str]) -> list[str]:
        """Return the lines that fit none of the names."""
        names = list(names)
        return [line for line, fits in self._rules if not any(map(fits, names))]


def _fits(command: str, pattern: str) -> Callable[[str], bool]:
    if command.endswith("match"):
        expression = re.compile(pattern)
        return lambda name: expression.fullmatch(name) is not None
    return lambda name: fnmatchcase(name, pattern)


def layout(file: EventFile, kept: Callable[[str], bool]) -> tuple[list[Branch], dict[str, str]]:
    """Describe the branches of the output, in the order of the input, and those that cannot be written (with type).

    Counters follow their lists: there as long as any of these is, whatever the keep list says of them.
    """
    kept_branches = {name: file.branches[name] for name in file.branches if kept(name)}
    unwritable = {n: b.type_name for n, b in kept_branches.items() if b.dtype is None or b.dtype == np.float16}
    lists = {n: b for n, b in kept_branches.items() if b.jagged and n not in unwritable}
    counters = _counters(file, lists)
    needed = set(counters.values())
    replaced = {b.counter for n, b in lists.items() if b.counter != counters[n]} - needed
    branches = []
    for name in file.branches:
        if name in lists:
            branches.append(replace(lists[name], counter=counters[name]))
        elif name in needed or (name in kept_branches and name not in unwritable and name not in replaced):
            branches.append(file.branches[name])
    return branches, unwritable


def _counters(file: EventFile, lists: Mapping[str, Branch]) -> dict[str, str]:
    """Say which counter each branch of lists has in the output.

    A counter of several branches stays. Files written by uproot can have one for each branch, ``nJet_pt``, and those of
    other programs none at all: the branches of a collection share one, ``nJet``, if their lists always agree in length.
    """
    counters = {name: branch.counter or f"n{name}" for name, branch in lists.items()}
    groups: dict[str, list[str]] = {}
    for name, branch in lists.items():
        shared = f"n{collection_name(branch, file.branches)}"
        if counters[name] == f"n{name}" != shared:
            groups.setdefault(shared, []).append(name)
    for shared in _agreeing(file, groups):
        if len(groups[shared]) > 1 or shared in file.branches:
            counters.update(dict.fromkeys(groups[shared], shared))
    return counters


def _agreeing(file: EventFile, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return those of the counters whose lists all have the same length, in every event."""
    lengths = {
        shared: [*(file.branches[n].counter or n for n in names), *([shared] if shared in file.branches else [])]
        for shared, names in groups.items()
    }
    columns = {name for names in lengths.values() for name in names}
    agreeing = list(groups)
    for chunk in file.chunks([n for n in file.branches if n in columns]) if groups else ():
        counts = {n: c.content if c.offsets is None else np.diff(c.offsets) for n, c in chunk.columns.items()}
        agreeing = [s for s in agreeing if all(np.array_equal(counts[n], counts[lengths[s][0]]) for n in lengths[s])]
    return agreeing


def values(branches: Sequence[Branch]) -> list[str]:
    """Return the branches that are copied; counters are made anew."""
    counters = {b.counter for b in branches if b.jagged}
    return [b.name for b in branches if b.name not in counters]
