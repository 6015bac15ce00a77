"""Which side of a split and which fold an event is on: a hash of what the event is, never of where it lies."""

from __future__ import annotations

import numpy as np

from ..config.schema import IDENTITY, Split
from .info import SPLITS

_SPLIT, _FOLD = 0x5350_4C49, 0x464F_4C44


def stored_type(column: str) -> str:
    """Return the type of a column of the identity in a dataset, as NanoAOD has it, whatever the input files use."""
    return "u4" if column in IDENTITY[:2] else "u8"


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


def assign(hashes: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return the split (N,) u1, an index into ``SPLITS``, and the fold (N,) u1 of events."""
    uniform = (mix(hashes ^ np.uint64(_SPLIT)) >> np.uint64(11)) * 2.0**-53
    edges = np.cumsum([getattr(split, name) for name in SPLITS[:-1]])
    if not split.test:
        edges[-1] = 1  # fractions as 0.333333 and 0.666666 leave a gap
    return np.searchsorted(edges, uniform, side="right").astype(np.uint8), assign_fold(hashes, split.folds)


def assign_fold(hashes: np.ndarray, folds: int) -> np.ndarray:
    """Return the fold (N,) u1 of events."""
    return (mix(hashes ^ np.uint64(_FOLD)) % np.uint64(folds)).astype(np.uint8)


def mix(state: np.ndarray) -> np.ndarray:
    """Scramble 64 bits: the SplitMix64 finaliser (Steele, Lea, Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        state = state + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))
