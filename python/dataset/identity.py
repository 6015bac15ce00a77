"""Which side of a split and which fold an event is on, by the hash of what it is, never by where it lies."""

from __future__ import annotations

import numpy as np

from ..config.schema import IDENTITY, Split
from ..events.hashing import mix, uniform
from .info import SPLITS

_SPLIT, _FOLD = 0x5350_4C49, 0x464F_4C44


def stored_type(column: str) -> str:
    """Return the type of a column of the identity in a dataset, as NanoAOD has it, whatever the input files use."""
    return "u4" if column in IDENTITY[:2] else "u8"


def assign(hashes: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return the split (N,) u1, an index into ``SPLITS``, and the fold (N,) u1 of events."""
    edges = np.cumsum([getattr(split, name) for name in SPLITS[:-1]])
    if not split.test:
        edges[-1] = 1  # fractions as 0.333333 and 0.666666 leave a gap
    return np.searchsorted(edges, uniform(hashes, _SPLIT), side="right").astype(np.uint8), assign_fold(
        hashes, split.folds
    )


def assign_fold(hashes: np.ndarray, folds: int) -> np.ndarray:
    """Return the fold (N,) u1 of events."""
    return (mix(hashes ^ np.uint64(_FOLD)) % np.uint64(folds)).astype(np.uint8)
