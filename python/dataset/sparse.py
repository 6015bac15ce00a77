"""Hits, and long inputs, in HDF5: constituents one after the other, without padding, and where those of each row end.

In a shard, and wherever rows are on their way to one, ``<input>/contents`` (M, F) f4 has the constituents of all rows,
and ``<input>/stops`` (N,) i8 the number of those up to the end of each row. The file of a split has
``<input>/offsets`` (N + 1,) i8 instead: row i has the contents ``offsets[i]`` to ``offsets[i + 1]``.

Of hits on images there are, in place of contents, ``<input>/cells`` (M, 2) u1 or u2, the numbers of the first pixel
that a hit covers, in eta and in phi, plus the pixels that it covers less one, and ``<input>/channels`` (M, C) f4. The
positions are those of the middles of the cells, so that they are the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..compiled import jit
from . import kernels
from .event_block import Arrays
from .info import ImageInfo, InputInfo

CONTENTS, HITS = ("contents",), ("cells", "channels")


def parts_of(info: InputInfo) -> tuple[str, ...]:
    """Name the datasets of an input that have the constituents of all rows without padding; none where it is padded."""
    if info.image is not None:
        return HITS
    return CONTENTS if info.sparse else ()


def pack(features: np.ndarray, valid: np.ndarray, image: ImageInfo | None = None) -> Arrays:
    """Return the datasets of features (N, L, F), of which some are valid, (N, L), by name, and stops (N,)."""
    stops = np.cumsum(valid.sum(axis=1), dtype=np.int64)
    if image is None:
        return {"contents": features[valid], "stops": stops}
    highest = max(size + 2 * cell for size, cell in zip(image.size, image.cell))
    total = int(stops[-1]) if len(stops) else 0
    cells = np.empty((total, 2), np.uint8 if highest <= 1 << 8 else np.uint16)
    channels = np.empty((total, features.shape[2] - 2), np.float32)
    _pack_hits(features, valid, np.array(image.pixel), np.array(image.size), np.array(image.cell), cells, channels)
    return {"cells": cells, "channels": channels, "stops": stops}


def unpack(
    arrays: Mapping[str, np.ndarray], offsets: np.ndarray, length: int, image: ImageInfo | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, L, F) f4 and validity (N, L) of datasets by name, as :func:`pack` makes them.

    ``offsets`` (N + 1,) tell where rows begin.

    Raises
    ------
    ValueError
        When the offsets are not those of the contents.
    """
    counts = np.diff(offsets)
    hits = "cells" in arrays
    contents = arrays["channels" if hits else "contents"]
    fits = counts.sum() == len(contents) and counts.min(initial=0) >= 0 and counts.max(initial=0) <= length
    if not fits or (hits and len(arrays["cells"]) != len(contents)):
        raise ValueError("the offsets do not fit the contents")
    features = np.empty((len(counts), length, contents.shape[1] + 2 * hits), np.float32)
    valid = np.empty(features.shape[:2], dtype=bool)
    starts = np.cumsum(counts) - counts
    if image is not None and hits:
        geometry = np.array(image.pixel), np.array(image.size), np.array(image.cell)
        _unpack_hits(arrays["cells"], contents, starts, counts, *geometry, features, valid)
    else:
        kernels.pad_rows(contents, starts, counts, features, valid)
    return features, valid


def rows_between(arrays: Mapping[str, Any], sparse: Mapping[str, Iterable[str]], start: int, stop: int) -> Arrays:
    """Take rows ``start`` to ``stop`` of arrays or datasets by name.

    ``sparse`` names the inputs without padding, and their datasets as :func:`parts_of` does.
    """
    rows: Arrays = {}
    for name, parts in sparse.items():
        stops = arrays[f"{name}/stops"]
        first = int(stops[start - 1]) if start else 0
        rows[f"{name}/stops"] = ends = stops[start:stop] - first
        last = first + int(ends[-1]) if len(ends) else first
        rows.update({f"{name}/{part}": arrays[f"{name}/{part}"][first:last] for part in parts})
    return {name: rows[name] if name in rows else values[start:stop] for name, values in arrays.items()}


@jit
def _pack_hits(
    features: np.ndarray,
    valid: np.ndarray,
    pixel: np.ndarray,
    size: np.ndarray,
    cell: np.ndarray,
    cells: np.ndarray,
    channels: np.ndarray,
) -> None:
    """Undo what ``images.place_hits`` does to find the middles of cells, which are valid first in every row."""
    hit = 0
    for r in range(len(features)):
        for i in range(features.shape[1]):
            if not valid[r, i]:
                break
            for d in range(2):
                first = features[r, i, d] / pixel[d] - (cell[d] - size[d]) / 2
                cells[hit, d] = np.int64(np.rint(first)) + cell[d] - 1
            for c in range(channels.shape[1]):
                channels[hit, c] = features[r, i, 2 + c]
            hit += 1


@jit
def _unpack_hits(
    cells: np.ndarray,
    channels: np.ndarray,
    starts: np.ndarray,
    counts: np.ndarray,
    pixel: np.ndarray,
    size: np.ndarray,
    cell: np.ndarray,
    features: np.ndarray,
    valid: np.ndarray,
) -> None:
    """Fill padded rows, with the arithmetic of ``images.place_hits``."""
    for r in range(len(features)):
        valid[r, : counts[r]] = True
        valid[r, counts[r] :] = False
        for i in range(counts[r]):
            hit = starts[r] + i
            for d in range(2):
                first = np.float64(cells[hit, d]) - (cell[d] - 1)
                features[r, i, d] = (first + (cell[d] - size[d]) / 2) * pixel[d]
            for c in range(channels.shape[1]):
                features[r, i, 2 + c] = channels[hit, c]
        features[r, counts[r] :] = 0
