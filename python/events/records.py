"""The stored bytes of baskets and pages, by their place in a file: local by plain reads, remote with few requests."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterable
from typing import Any, Union


class LocalRecords:
    """The stored bytes of a local file, by seek position and size."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def __enter__(self) -> LocalRecords:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        os.close(self._descriptor)

    def prefetch(self, intervals: Iterable[tuple[int, int]]) -> None:
        """Do nothing: the system reads ahead."""

    def __getitem__(self, interval: tuple[int, int]) -> bytes:
        seek, size = interval
        return os.pread(self._descriptor, size, seek)


class RemoteRecords:
    """The same for a remote file; those of a step come in one request, since a far server answers in 0.1 s."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._records: dict[tuple[int, int], bytes] = {}

    def __enter__(self) -> RemoteRecords:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._records.clear()

    def prefetch(self, intervals: Iterable[tuple[int, int]]) -> None:
        """Get these, and forget all others."""
        ranges = sorted((seek, seek + size) for seek, size in set(intervals))
        chunks = self._source.chunks(ranges, queue.Queue())
        self._records = {(c.start, c.stop - c.start): c.raw_data.tobytes() for c in chunks}

    def __getitem__(self, interval: tuple[int, int]) -> bytes:
        return self._records[interval]


Records = Union[LocalRecords, RemoteRecords]
