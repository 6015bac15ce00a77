"""JSON lines, plain or .gz: a record a line, with numbers, lists, or records of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..damage import FileKind
from ..format import InputFormat
from ..reader import EventFile


class JsonFormat(InputFormat):
    """JSON lines."""

    suffixes = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
    kind = FileKind("JSON lines", text=True)

    def open(self, path: str, tree: str, redirectors: Sequence[str]) -> EventFile:
        """Open the file; there is no choice of trees."""
        from ..arrow import JsonFile  # which takes a tenth of a second

        return JsonFile(path, redirectors)
