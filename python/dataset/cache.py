"""Parts of a dataset that are kept in memory."""

from __future__ import annotations

from collections.abc import Callable

from .batch import Batch
from .resources import available_memory

MEMORY_SHARE = 0.4


class PartCache:
    """Keeps parts of one fold in memory, which those of another one replace.

    Parameters
    ----------
    in_memory
        "always", "never", or "auto": keep a part if it needs less than 40 % of what is available.
    """

    def __init__(self, in_memory: str) -> None:
        self._in_memory = in_memory
        self._available = available_memory()
        self._parts: dict[tuple[str, int], Batch] = {}

    def clear(self) -> None:
        """Forget all parts."""
        self._parts.clear()

    def fits(self, part: str, fold: int, size: int, row_bytes: int, world: int) -> bool:
        """Whether a part of ``size`` bytes is, or may be, held in memory by every one of ``world`` processes."""
        if self._in_memory != "auto" or (part, fold) in self._parts:
            return self._in_memory != "never"
        kept = sum(len(batch) for key, batch in self._parts.items() if key[1] == fold) * row_bytes
        return (kept + size) * world < MEMORY_SHARE * self._available

    def part(self, part: str, fold: int, read: Callable[[str, int], Batch]) -> Batch:
        """Return a part, which is read where it is not there."""
        if (part, fold) not in self._parts:
            self._parts = {key: kept for key, kept in self._parts.items() if key[1] == fold}
            self._parts[part, fold] = read(part, fold)
        return self._parts[part, fold]
