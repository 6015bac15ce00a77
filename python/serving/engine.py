"""All models of a repository, kept as the repository is: new versions are loaded beside the old ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

from ..errors import DataError, nearest
from .batcher import Batcher
from .metrics import Metrics
from .repository import GRAPH, ModelVersion, Repository
from .request_error import RequestError
from .served_model import ServedModel

QUEUE = 1024
"""So many requests of a model wait at most."""
_Stamp = tuple[int, int, int]


class InferenceEngine:
    """Serves the models of a repository. All methods are called from one event loop.

    Parameters
    ----------
    repository
        The models.
    metrics
        Is told of batches and loads.
    threads
        So many models score at a time.
    """

    def __init__(self, repository: Repository, metrics: Metrics, threads: int = 1) -> None:
        self.repository = repository
        self.metrics = metrics
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="score")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._served: dict[ModelVersion, tuple[_Stamp, Batcher]] = {}
        self._failed: dict[ModelVersion, tuple[_Stamp, str]] = {}
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Look at the folder: load what is new, let go what left. What fails keeps nothing else from being served."""
        async with self._lock:
            loop = asyncio.get_running_loop()
            present = await loop.run_in_executor(self._loader, self._present)
            for version, stamp in present.items():
                before = self._served.get(version) or self._failed.get(version)
                if before is None or before[0] != stamp:
                    await self._load(version, stamp)
            for removed in [v for v in (*self._served, *self._failed) if v not in present]:
                self._served.pop(removed, None)
                self._failed.pop(removed, None)

    def _present(self) -> dict[ModelVersion, _Stamp]:
        """Find what ought to be served, and what tells whether a file is another one."""
        present = {}
        for version in self.repository.versions():
            if not self.repository.is_unloaded(version.name):
                try:
                    stat = (self.repository.path(version) / GRAPH).stat()
                except FileNotFoundError:
                    continue
                present[version] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        return present

    async def _load(self, version: ModelVersion, stamp: _Stamp) -> None:
        start = perf_counter()
        path = self.repository.path(version) / GRAPH
        try:
            model = await asyncio.get_running_loop().run_in_executor(self._loader, ServedModel, version, path)
        except DataError as error:
            self._failed[version] = stamp, str(error)
            return
        self._failed.pop(version, None)
        batcher = Batcher(model, self.executor, QUEUE, self.metrics.batches(version.name))
        self._served[version] = stamp, batcher
        self.metrics.loaded(version, perf_counter() - start)

    def numbers(self, name: str) -> list[int]:
        """List the numbers of the versions of a model that are served."""
        return sorted(version.number for version in self._served if version.name == name)

    def model(self, name: str, number: str | None = None) -> Batcher:
        """Return a version of a model, by default the newest.

        Raises
        ------
        RequestError
            404 where it is not served.
        """
        numbers = self.numbers(name)
        if not numbers:
            raise RequestError(404, f"model {name!r} is not served{nearest(name, {v.name for v in self._served})}")
        if number is None:
            return self._served[ModelVersion(name, numbers[-1])][1]
        if not (number.isascii() and number.isdecimal() and int(number) in numbers):
            raise RequestError(
                404, f"model {name!r} has no version {number!r}; there are {', '.join(map(str, numbers))}"
            )
        return self._served[ModelVersion(name, int(number))][1]

    def index(self) -> Iterator[dict[str, Any]]:
        """Yield the state of every version in the repository, as the protocol's extension has it."""
        for version in self.repository.versions():
            item = {"name": version.name, "version": str(version.number), "state": "READY", "reason": ""}
            if version not in self._served:
                failed = self._failed.get(version)
                reason = failed[1] if failed else "unloaded" if self.repository.is_unloaded(version.name) else "loading"
                item |= {"state": "UNAVAILABLE", "reason": reason}
            yield item

    @property
    def ready(self) -> bool:
        """Whether all versions in the repository are served, but for those that were unloaded."""
        return all(item["state"] == "READY" or item["reason"] == "unloaded" for item in self.index())

    def waiting(self) -> dict[str, int]:
        """Count the requests that wait, by model."""
        counts: dict[str, int] = {}
        for version, (_, batcher) in self._served.items():
            counts[version.name] = counts.get(version.name, 0) + batcher.waiting
        return counts

    async def watch(self, seconds: float) -> None:
        """Look at the folder every so often, for ever."""
        while True:
            await asyncio.sleep(seconds)
            await self.refresh()

    def close(self) -> None:
        """Let the threads end."""
        self.executor.shutdown(wait=False, cancel_futures=True)
        self._loader.shutdown(wait=False, cancel_futures=True)


def check_folder(folder: Path) -> list[tuple[ModelVersion, ServedModel | str]]:
    """Load every version of a repository once; gives the model, or the reason why it cannot be used."""
    repository = Repository(folder)
    results: list[tuple[ModelVersion, ServedModel | str]] = []
    for version in repository.versions():
        try:
            results.append((version, ServedModel(version, repository.path(version) / GRAPH)))
        except DataError as error:
            results.append((version, str(error)))
    return results
