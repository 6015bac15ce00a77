"""Long inputs in HDF5: constituents one after the other, without padding, and where those of each row end.

In a shard, and wherever rows are on their way to one, ``<input>/contents`` (M, F) f4 has the constituents of all rows,
and ``<input>/stops`` (N,) i8 the number of those up to the end of each row. The file of a split has
``<input>/offsets`` (N + 1,) i8 instead: row i has the contents ``offsets[i]`` to ``offsets[i + 1]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from . import kernels
from .event_block import Arrays


def pack(features: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the contents (M, F) and stops (N,) of features (N, L, F), of which some are valid, (N, L)."""
    return features[valid], np.cumsum(valid.sum(axis=1), dtype=np.int64)


def unpack(contents: np.ndarray, offsets: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, L, F) f4 and validity (N, L) of contents (M, F) between their offsets (N + 1,).

    Raises
    ------
    ValueError
        When the offsets are not those of the contents.
    """
    counts = np.diff(offsets)
    if counts.sum() != len(contents) or counts.min(initial=0) < 0 or counts.max(initial=0) > length:
        raise ValueError("the offsets do not fit the contents")
    features = np.empty((len(counts), length, contents.shape[1]), np.float32)
    valid = np.empty(features.shape[:2], dtype=bool)
    kernels.pad_rows(contents, np.cumsum(counts) - counts, counts, features, valid)
    return features, valid


def rows_between(arrays: Mapping[str, Any], sparse: Iterable[str], start: int, stop: int) -> Arrays:
    """Take rows ``start`` to ``stop`` of arrays or datasets by name; ``sparse`` names the inputs without padding."""
    rows: Arrays = {}
    for name in sparse:
        stops = arrays[f"{name}/stops"]
        first = int(stops[start - 1]) if start else 0
        rows[f"{name}/stops"] = ends = stops[start:stop] - first
        rows[f"{name}/contents"] = arrays[f"{name}/contents"][first : first + int(ends[-1]) if len(ends) else first]
    return {name: rows[name] if name in rows else values[start:stop] for name, values in arrays.items()}
