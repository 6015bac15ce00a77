"""Flat content of all events of a block: offsets, event numbers, angles, jagged arrays."""

from __future__ import annotations

from collections.abc import Mapping

import awkward as ak
import numpy as np

from ..compiled import jit


def offsets_of(counts: np.ndarray) -> np.ndarray:
    """Where each event's entries start, and where the last one ends: (n + 1,) i8 from the (n,) counts."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def count(event: np.ndarray, size: int) -> np.ndarray:
    """Return the number of entries of each of ``size`` events, from the entries' event numbers."""
    return np.bincount(event, minlength=size).astype(np.int64)


def sum_by(group: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Return the sum of ``values`` in each of ``size`` groups, (size,) f8; negative groups count nowhere."""
    if len(group) and group.min() < 0:
        keep = group >= 0
        group, values = group[keep], values[keep]
    return np.bincount(group, weights=values, minlength=size)


def jagged(offsets: np.ndarray, content: np.ndarray) -> ak.Array:
    """Return the flat ``content`` as one list per event."""
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), ak.contents.NumpyArray(content)))


def records(offsets: np.ndarray, columns: Mapping[str, np.ndarray], name: str | None = None) -> ak.Array:
    """Flat columns as one list of records per event; ``name`` is the awkward record name."""
    contents = [ak.contents.NumpyArray(np.ascontiguousarray(column)) for column in columns.values()]
    parameters = {"__record__": name} if name else None
    record = ak.contents.RecordArray(contents, list(columns), length=int(offsets[-1]), parameters=parameters)
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), record))


def flat(array: ak.Array, field: str) -> np.ndarray:
    """One field of a jagged array of records, all events after one another."""
    layout = array.layout.to_ListOffsetArray64(start_at_zero=True)
    return ak.to_numpy(layout.content[field])[: layout.offsets[-1]]


def counts(array: ak.Array) -> np.ndarray:
    """Return the number of entries of each event, (n,) i8."""
    return np.asarray(ak.num(array, axis=1)).astype(np.int64)


def wrap(phi: np.ndarray) -> np.ndarray:
    """Return an angle in [-pi, pi)."""
    return (phi + np.pi) % (2 * np.pi) - np.pi


@jit
def delta_r2(eta1: float, phi1: float, eta2: float, phi2: float) -> float:
    """Return the squared distance of two directions in eta and phi; both angles in [-pi, pi)."""
    dphi = abs(phi1 - phi2)
    if dphi > np.pi:
        dphi = 2 * np.pi - dphi
    return (eta1 - eta2) ** 2 + dphi * dphi


@jit
def descending(offsets: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Return the order that sorts every event's entries by falling ``key``; ties keep their order."""
    order = np.empty(len(key), np.int64)
    for i in range(len(offsets) - 1):
        first, last = offsets[i], offsets[i + 1]
        order[first:last] = first + np.argsort(-key[first:last], kind="mergesort")
    return order
