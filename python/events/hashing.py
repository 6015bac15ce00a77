"""Numbers that belong to an event wherever it is read: a hash of its identity, never of where it lies."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .columns import Branch, Chunk, Column
from .expressions import UNIFORM
from .identity import lacking
from .reader import EventFile, FileView

_FLAT = 0x464C_4154


def event_hash(identity: dict[str, np.ndarray], uuid: str, entries: np.ndarray, seed: int) -> np.ndarray:
    """Hash events, (N,) u8.

    Parameters
    ----------
    identity
        The columns (N,) that identify an event, in the order of the analysis, where the file has them; else empty, then
        the file's identity and the entry stand for them. The sample is left out: an event that is in two samples stays
        on one side.
    uuid
        Identity of the file, 32 hexadecimal digits.
    entries
        (N,) entry of each event in its file.
    seed
        Another seed is another split.
    """
    if identity:
        parts = list(identity.values())
    else:
        parts = [np.array(int(half, 16), dtype=np.uint64) for half in (uuid[:16], uuid[16:])] + [entries]
    state = mix(np.full(len(entries), seed, dtype=np.uint64))
    for part in parts:
        state = mix(state ^ np.asarray(part).astype(np.uint64))
    return state


def mix(state: np.ndarray) -> np.ndarray:
    """Scramble 64 bits: the SplitMix64 finaliser (Steele, Lea, Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        state = state + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))


class HashedFile(FileView):
    """A file with one more column, :data:`UNIFORM`: (n,) f8 in [0, 1), from the hashes of its events.

    They have a salt of their own, so that they tell nothing of split and fold, and do not depend on any seed.

    Parameters
    ----------
    file
        The file.
    identity
        The columns that identify an event; where one is absent, the file's identity and the entry stand for them.
    """

    def __init__(self, file: EventFile, identity: Sequence[str]) -> None:
        super().__init__(file)
        self._identity = [] if lacking(identity, file.branches) else list(identity)
        column = {UNIFORM: Branch(UNIFORM, np.dtype("f8"), type_name="hash")}
        self.branches = ChainMap(column, file.branches)  # type: ignore[arg-type]

    def chunks(self, names: Sequence[str], *arguments: Any, **options: Any) -> Iterator[Chunk]:
        """Read columns; see :meth:`EventFile.chunks`."""
        if UNIFORM not in names:
            yield from self._file.chunks(names, *arguments, **options)
            return
        stored = list(dict.fromkeys([*(n for n in names if n != UNIFORM), *self._identity])) or self._any_column()
        for chunk in self._file.chunks(stored, *arguments, **options):
            yield Chunk(chunk.start, chunk.size, {**chunk.columns, UNIFORM: Column([self._uniform(chunk)])})

    def _uniform(self, chunk: Chunk) -> np.ndarray:
        identity = {name: chunk.columns[name].content for name in self._identity}
        entries = chunk.start + np.arange(chunk.size)
        return uniform(event_hash(identity, self.uuid, entries, 0), _FLAT)


def uniform(hashes: np.ndarray, salt: int) -> np.ndarray:
    """Return (N,) f8 in [0, 1) from hashes; another salt gives independent numbers."""
    return (mix(hashes ^ np.uint64(salt)) >> np.uint64(11)) * 2.0**-53
