"""Parquet: one table, its columns numbers, lists, or records of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..damage import FileKind
from ..format import InputFormat
from ..reader import EventFile


class ParquetInput(InputFormat):
    """Parquet."""

    suffixes = (".parquet", ".pq")
    kind = FileKind("Parquet", start=b"PAR1", end=b"PAR1")

    def open(self, path: str, tree: str, redirectors: Sequence[str]) -> EventFile:
        """Open the file; there is no choice of trees."""
        from ..arrow import ParquetFile  # which takes a tenth of a second

        return ParquetFile(path, redirectors)
