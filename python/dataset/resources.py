"""What loading takes from the machine, within bounds: threads, open files, and memory."""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice, repeat, takewhile
from pathlib import Path
from typing import Any, Generic, TypeVar

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
Item = TypeVar("Item")
Result = TypeVar("Result")


def threaded(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, stop: threading.Event | None = None
) -> Generator[Result, None, None]:
    """Yield the results of a function in the order of the items, from threads that are ahead by one item each.

    ``stop`` is set when no more results are wanted, for functions that look at it.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(workers) as threads:
        futures = deque(threads.submit(function, item) for item in islice(waiting, workers))
        try:
            while futures:
                result = futures.popleft().result()
                futures.extend(threads.submit(function, item) for item in islice(waiting, 1))
                yield result
        finally:
            if stop is not None:
                stop.set()
            threads.shutdown(wait=False, cancel_futures=True)


def ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Yield what an iterator gives, while a thread already asks it for the next one."""
    end: Any = object()
    with closing(threaded(lambda _: next(items, end), repeat(None), 1)) as results:
        yield from takewhile(lambda item: item is not end, results)


class Handles(Generic[Result]):
    """Opened files; each is used by one thread at a time, and the last few that were used stay open.

    Parameters
    ----------
    open_file
        Opens the file of a key.
    close
        Closes what that gave.
    most
        Files that stay open while nobody uses them.
    """

    def __init__(self, open_file: Callable[[Any], Result], close: Callable[[Result], None], most: int) -> None:
        self._open, self._close, self._most = open_file, close, most
        self._idle: deque[tuple[Hashable, Result]] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def use(self, key: Hashable) -> Iterator[Result]:
        """Give the file of a key for a while; one whose use fails is closed."""
        with self._lock:
            idle = next((item for item in self._idle if item[0] == key), None)
            if idle is not None:
                self._idle.remove(idle)
        handle = self._open(key) if idle is None else idle[1]
        try:
            yield handle
        except BaseException:
            self._close(handle)
            raise
        with self._lock:
            self._idle.append((key, handle))
            surplus = [self._idle.popleft()[1]] if len(self._idle) > self._most else []
        for old in surplus:
            self._close(old)

    def close(self) -> None:
        """Close all files that nobody uses."""
        while self._idle:
            self._close(self._idle.popleft()[1])


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def release_memory() -> None:
    """Give back to the system what glibc keeps of the memory that threads have freed: a third of all, before long."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_memory() -> None:
    """Let glibc keep large blocks that are freed, for the next ones: otherwise each one is made of new pages.

    A batch of images and what a network makes of it are such blocks, and their pages a third of the time of a step.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(_MMAP_THRESHOLD, 1 << 30)
        option(_TRIM_THRESHOLD, (1 << 31) - 1)


def available_memory() -> int:
    """Return how many bytes a process can still use: what the machine has free, or less where a cgroup limits it."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    memory, group = Path("/proc/meminfo"), Path("/proc/self/cgroup")
    if memory.is_file():
        lines = memory.read_text().splitlines()
        limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    if group.is_file():
        # A batch slot is often a small share of a big machine, and what exceeds it is killed.
        cgroup = Path("/sys/fs/cgroup", group.read_text().rpartition("::")[2].strip().lstrip("/"))
        bounds = [folder / "memory.max" for folder in (cgroup, *cgroup.parents)]
        texts = [bound.read_text().strip() for bound in bounds if bound.is_file()]
        limits += [int(text) for text in texts if text != "max"]
    return min(limits)
