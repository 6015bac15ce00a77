"""Pieces of an unfinished result: each has a record, and only what still is as its record says is taken again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .manifest import FileRecord, adler32, output_record, remove, sealed, unsealed, write_atomically


@dataclass(frozen=True)
class Piece:
    """A finished piece: a shard, a friend, an output of a skim.

    Attributes
    ----------
    key
        Fingerprint of what it is made from, but for the inputs.
    inputs
        The files that it is made from, as they were when they were opened.
    outputs
        Its own files, relative to the folder of the record, with size and checksum.
    payload
        What else is to be remembered of it, as plain JSON types.
    """

    key: str
    inputs: list[FileRecord] = field(default_factory=list)
    outputs: list[FileRecord] = field(default_factory=list)
    payload: Any = None

    @classmethod
    def write(
        cls, path: Path, key: str, outputs: Iterable[Path], payload: Any, inputs: Iterable[FileRecord] = ()
    ) -> Piece:
        """Record a finished piece in ``path``, atomically, once its files are safe on the disk."""
        records = [output_record(output, os.path.relpath(output, path.parent)) for output in outputs]
        piece = cls(key, list(inputs), records, payload)
        write_atomically(path, sealed(asdict(piece)))
        return piece

    @classmethod
    def read(cls, path: Path, key: str) -> Piece | None:
        """Return the piece that ``path`` records; None unless it is whole, made for ``key``, and as it was written.

        Whatever is wrong with the record or with a file has this answer: the piece is made again.
        """
        try:
            content = unsealed(path.read_text())
            inputs, outputs = ([FileRecord(**r) for r in content[name]] for name in ("inputs", "outputs"))
            piece = cls(content["key"], inputs, outputs, content["payload"])
            valid = piece.key == key and all(r.unchanged() for r in inputs) and piece._verified(path.parent)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return piece if valid else None

    def _verified(self, folder: Path) -> bool:
        files = [(folder / record.path, record) for record in self.outputs]
        return all(path.stat().st_size == r.size and adler32(path) == r.adler32 for path, r in files)


def make_room(*paths: Path) -> None:
    """Remove whatever stands where a piece is to be written, and make the folders that it is written to."""
    for path in paths:
        if not path.parent.is_dir():
            remove(path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
        remove(path)
