"""CSV, plain or .gz: one table of numbers with a line of names."""

from __future__ import annotations

from collections.abc import Sequence

from ..damage import FileKind
from ..format import InputFormat
from ..reader import EventFile


class CsvFormat(InputFormat):
    """CSV."""

    suffixes = (".csv", ".csv.gz")
    kind = FileKind("CSV", text=True)

    def open(self, path: str, tree: str, redirectors: Sequence[str]) -> EventFile:
        """Open the file; there is no choice of trees."""
        from ..arrow import CsvFile  # which takes a tenth of a second

        return CsvFile(path, redirectors)
