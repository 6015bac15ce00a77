"""Events that occur more than once, counted exactly, within samples and between them.

While rows are made, 16 bytes are kept on disk of every event that has any: a hash of its identity, and one of its
identity and features. Hashes are dealt by their leading bits into buckets of some millions, each of which is sorted:
the memory does not grow with the number of events, and nothing is estimated.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from ..compiled import jit
from ..errors import DataError
from ..events.hashing import event_hash, mix
from ..provenance import FileRecord
from ..provenance.manifest import write_atomically
from .inputs import ChosenRows, split_input
from .shards import ShardRecord, put_in_place, temporary_path

BUCKET = 1 << 23
"""So many hashes are sorted at a time."""
_BLOCK = 1 << 20
_EXAMPLES = 1 << 20
_CONSTITUENTS, _FEATURES, _TELLING = 2, 16, 3
_IDENTITY, _CONTENT = 0, 1


@dataclass(frozen=True)
class EventHashes:
    """The hashes of one input file's events: ``count`` pairs in a file, from the pair ``start`` on."""

    sample: str
    source: str
    path: Path
    start: int
    count: int

    def read(self, column: int) -> Iterator[np.ndarray]:
        """Read the first or the second of every pair, (n,) u8 at a time."""
        for first in range(0, self.count, _BLOCK):
            rows = min(_BLOCK, self.count - first)
            pairs = np.fromfile(self.path, "<u8", 2 * rows, offset=16 * (self.start + first))
            if len(pairs) < 2 * rows:
                raise DataError(f"{self.path}: is shorter than what was written: remove it, and start again")
            yield pairs[column::2]


def events_path(path: Path) -> Path:
    """Say where the hashes of the events of a shard or file are kept."""
    return path.with_suffix(".events")


def is_whole(path: Path, events: int) -> bool:
    """Whether the hashes of so many events are there."""
    return path.exists() and path.stat().st_size == 16 * events


def event_hashes(record: ShardRecord, path: Path, start: int = 0) -> EventHashes:
    """Say where the hashes of the events of an input file are."""
    return EventHashes(str(record.source.sample), record.source.path, path, start, record.hashed)


class EventLog:
    """Keeps the hashes of events in the file of a path; a context manager, which leaves nothing that is unfinished."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = temporary_path(path).open("wb")

    def append(self, hashes: np.ndarray) -> None:
        """Append pairs (n, 2) u8."""
        self._file.write(hashes.astype("<u8", copy=False).tobytes())

    def finish(self) -> FileRecord:
        """Bring the file to the disk."""
        self._file.close()
        return put_in_place(self._path)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        temporary_path(self._path).unlink(missing_ok=True)


@dataclass(frozen=True)
class Repeats:
    """How many events occur more than once.

    Attributes
    ----------
    events
        All that have rows.
    identities
        Those that have the identity of one before.
    copies
        Those that have its features, too.
    between
        Those of the copies that are in two samples.
    sources
        Two files, or one twice, that hold most of some copies; empty without copies.
    """

    events: int = 0
    identities: int = 0
    copies: int = 0
    between: int = 0
    sources: tuple[str, ...] = ()

    def write(self, path: Path, key: str) -> None:
        """Write the counts as JSON, atomically, with what they were made from."""
        write_atomically(path, json.dumps({"key": key, "repeats": asdict(self)}))

    @classmethod
    def read(cls, path: Path, key: str) -> Repeats | None:
        """Read counts; None when there are none that were made from this."""
        try:
            content = json.loads(path.read_text())
            return cls(**content["repeats"]) if content["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def count_repeats(parts: Sequence[EventHashes], folder: Path) -> Repeats:
    """Count the events that occur more than once; ``folder`` has room for eight bytes per event."""
    events = sum(part.count for part in parts)
    identities, _, _ = _count(parts, _IDENTITY, folder)
    if not identities:
        return Repeats(events)
    copies, between, some = _count(parts, _CONTENT, folder)
    return Repeats(events, identities, copies, between, _sources(parts, some) if copies else ())


def _count(parts: Sequence[EventHashes], column: int, folder: Path) -> tuple[int, int, np.ndarray]:
    """Count hashes that occurred before, those of them that are in two samples, and return some of them, sorted."""
    again = between = 0
    some = [np.empty(0, np.uint64)]
    for samples in _buckets(parts, column, folder):
        distinct = []
        for values in samples:
            values.sort()
            different, twice = _unique(values)
            distinct.append(different)
            again += len(twice)
            some.append(twice[:_EXAMPLES])
        if len(distinct) > 1:
            _, twice = _unique(np.sort(np.concatenate(distinct), kind="stable"))
            again, between = again + len(twice), between + len(twice)
            some.append(twice[:_EXAMPLES])
        some = [np.unique(np.concatenate(some))[:_EXAMPLES]]
    return again, between, some[0]


def _unique(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split sorted values into the first of each, and those that repeat one."""
    first = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return (values, values[:0]) if first.all() else (values[first], values[~first])


def _buckets(parts: Sequence[EventHashes], column: int, folder: Path) -> Iterator[list[np.ndarray]]:
    """Yield the hashes of every sample, (n,) u8 each, bucket by bucket."""
    samples = list(dict.fromkeys(part.sample for part in parts))
    bits = (max(0, sum(part.count for part in parts) - 1) // BUCKET).bit_length()
    if not bits:
        yield [
            np.concatenate([np.empty(0, np.uint64), *(v for p in parts if p.sample == name for v in p.read(column))])
            for name in samples
        ]
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix=".repeats") as scratch:
        for part in parts:
            for values in part.read(column):
                _deal(values, bits, Path(scratch) / part.sample)
        for bucket in range(1 << bits):
            paths = [Path(scratch) / f"{name}-{bucket}" for name in samples]
            yield [np.fromfile(path, np.uint64) for path in paths if path.exists()]


def _deal(values: np.ndarray, bits: int, stem: Path) -> None:
    """Append hashes to the files of their buckets; few are open at a time."""
    bucket = (values >> np.uint64(64 - bits)).astype(np.uint16)
    order = np.argsort(bucket, kind="stable")
    edges = np.searchsorted(bucket[order], np.arange((1 << bits) + 1))
    values = values[order]
    for number in np.flatnonzero(np.diff(edges)):
        with stem.with_name(f"{stem.name}-{number}").open("ab") as file:
            file.write(values[edges[number] : edges[number + 1]].tobytes())


def _sources(parts: Sequence[EventHashes], some: np.ndarray) -> tuple[str, str]:
    """Name the two files, or one twice, that hold most of some hashes."""
    hashes, owners = [], []
    for number, part in enumerate(parts):
        for values in part.read(_CONTENT):
            position = np.minimum(np.searchsorted(some, values), len(some) - 1)
            hits = position[some[position] == values]
            hashes.append(hits)
            owners.append(np.full(len(hits), number))
    all_hashes, owner = np.concatenate(hashes), np.concatenate(owners)
    order = np.argsort(all_hashes, kind="stable")
    all_hashes, owner = all_hashes[order], owner[order]
    same = all_hashes[1:] == all_hashes[:-1]
    pairs, counts = np.unique(owner[:-1][same] * len(parts) + owner[1:][same], return_counts=True)
    one, other = divmod(int(pairs[counts.argmax()]), len(parts))
    return parts[one].source, parts[other].source


# -- hashes -----------------------------------------------------------------------------------------------------------


def content_hashes(
    inputs: dict[str, object], rows: ChosenRows, identity: np.ndarray, uuid: str, entries: np.ndarray
) -> np.ndarray:
    """Hash the events of some rows.

    Parameters
    ----------
    inputs
        Of the rows, see :class:`.table.Table`.
    rows
        The rows; those of an event lie side by side.
    identity
        Hashes of their identities, (N,) u8.
    uuid, entries
        Identity of the file, and entries (N,) of their events.

    Returns
    -------
    numpy.ndarray
        (E, 2) u8: of each event the hash of its identity, and one of identity and features. Where these are too few or
        too round to tell that two events are one, the second is of file and entry, which never repeats.
    """
    first = np.flatnonzero(np.diff(rows.events, prepend=-1))
    state, distinct, used = identity[first], np.zeros(len(first), np.int64), 0
    for values in inputs.values():
        features, valid = split_input(values)
        features, valid = features[:, :_CONSTITUENTS, :_FEATURES], valid[:, :_CONSTITUENTS]
        factors = mix(np.arange(used, used + features.shape[1] * features.shape[2], dtype=np.uint64))
        _digest(features.view(np.uint32), features, valid, first, factors, state, distinct)
        used += len(factors)
    unknown = distinct < min(_TELLING, used)
    state[unknown] = event_hash({}, uuid, entries[first[unknown]], 0)
    return np.stack([identity[first], mix(state)], axis=1)


@jit
def _digest(
    bits: np.ndarray,
    values: np.ndarray,
    valid: np.ndarray,
    first: np.ndarray,
    factors: np.ndarray,
    state: np.ndarray,
    distinct: np.ndarray,
) -> None:
    """Add the bits of an event's first row to its state, each times a factor of its own, and count what is telling.

    That is a number that is no integer, as few are equal by chance. After ``_TELLING`` of them the other inputs, which
    lie elsewhere in the memory, are not read.
    """
    _, length, features = values.shape
    for e in range(len(first)):
        r, count, total = first[e], distinct[e], state[e]
        if count >= _TELLING:
            continue
        for k in range(length):
            if not valid[r, k]:
                break
            for f in range(features):
                total += np.uint64(bits[r, k, f]) * factors[k * features + f]
                value = values[r, k, f]
                count += np.isfinite(value) and value != np.floor(value)
        state[e], distinct[e] = total, count
