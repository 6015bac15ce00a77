"""ROOT: TTrees and RNTuples. Files that are of no other format are taken for it."""

from __future__ import annotations

from collections.abc import Sequence

from ..damage import ROOT
from ..format import InputFormat
from ..reader import EventFile


class RootFormat(InputFormat):
    """TTrees and RNTuples in ROOT files."""

    suffixes = (".root",)
    kind = ROOT

    def open(self, path: str, tree: str, redirectors: Sequence[str]) -> EventFile:
        """Open a tree; ``dir/tree`` works."""
        from ..root import open_root

        return open_root(path, tree, redirectors)
