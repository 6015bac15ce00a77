"""All models of a repository, kept as the repository is: new versions are loaded beside the old ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from ..distributions.reference import FILE as REFERENCE
from ..errors import DataError, nearest, shorten
from .batcher import Batcher
from .event_scorer import EventScorer
from .metrics import MULTIPROCESS, Metrics
from .repository import ANALYSIS, FEATURES_SUFFIX, GRAPH, ModelVersion, Repository
from .request_error import RequestError
from .served_model import ServedModel
from .watch import RowWatch

QUEUE = 1024
"""So many requests of a model wait at most."""
EVENT_REQUESTS = 16
"""So many requests with events are in the server at most: each may take many times its size in memory."""
_UNLOADED = "unloaded"
_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class _Served:
    stamp: _Stamp
    batcher: Batcher
    events: EventScorer | None


@dataclass(frozen=True)
class _Failed:
    stamp: _Stamp
    reason: str


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
        self._served: dict[ModelVersion, _Served] = {}
        self._failed: dict[ModelVersion, _Failed] = {}
        self._event_requests = 0
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Look at the folder: load what is new, let go what left. What fails keeps nothing else from being served."""
        async with self._lock:
            loop = asyncio.get_running_loop()
            present = await loop.run_in_executor(self._loader, self._present)
            for version, stamp in present.items():
                before = self._served.get(version) or self._failed.get(version)
                if before is None or before.stamp != stamp:
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
        folder = self.repository.path(version)
        try:
            model, events = await asyncio.get_running_loop().run_in_executor(self._loader, _loaded, version, folder)
        except DataError as error:
            self._failed[version] = _Failed(stamp, str(error))
            return
        self._failed.pop(version, None)
        if model.watch is not None and MULTIPROCESS in os.environ:
            model.watch.share(Path(os.environ[MULTIPROCESS]), model.description["sha256"])
        batcher = Batcher(model, self.executor, QUEUE, self.metrics.batches(version.name))
        self._served[version] = _Served(stamp, batcher, events)
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
        return self._version(name, number).batcher

    def _version(self, name: str, number: str | None) -> _Served:
        numbers = self.numbers(name)
        if not numbers:
            near = nearest(name, {v.name for v in self._served})
            raise RequestError(404, f"model {shorten(name)!r} is not served{near}")
        if number is None:
            return self._served[ModelVersion(name, numbers[-1])]
        if number not in map(str, numbers):
            raise RequestError(
                404, f"model {name!r} has no version {shorten(number)!r}; there are {', '.join(map(str, numbers))}"
            )
        return self._served[ModelVersion(name, int(number))]

    def watch(self, name: str, number: str | None = None) -> tuple[ModelVersion, RowWatch]:
        """Return what counts the rows of a version of a model, be it called by its own name or that of its columns.

        Raises
        ------
        RequestError
            404 where no such model is served, or none that came with the distributions of its training.
        """
        model = self._version(name.removesuffix(FEATURES_SUFFIX) + FEATURES_SUFFIX, number).batcher.model
        if model.watch is None:
            raise RequestError(404, f"model {name!r} came without {REFERENCE}, so nothing is known of its training")
        return model.version, model.watch

    @contextmanager
    def event_scorer(self, name: str, number: str | None = None) -> Iterator[EventScorer]:
        """Give what scores raw events by a version of a model; for the time of one request.

        Raises
        ------
        RequestError
            404 where no such model is served or none that takes events, 429 where too many are at it.
        """
        features = self._version(name.removesuffix(FEATURES_SUFFIX) + FEATURES_SUFFIX, number)
        if features.events is None:
            raise RequestError(404, f"model {name!r} came without its analysis, so it takes features and no events")
        if self._event_requests >= EVENT_REQUESTS:
            raise RequestError(429, f"{EVENT_REQUESTS} requests with events are at work: try again later")
        self._event_requests += 1
        try:
            yield features.events
        finally:
            self._event_requests -= 1

    def index(self) -> Iterator[dict[str, Any]]:
        """Yield the state of every version in the repository, as the protocol's extension has it."""
        for version in self.repository.versions():
            state, reason = "READY", ""
            if version not in self._served:
                state, reason = "UNAVAILABLE", self._why_not(version)
            yield {"name": version.name, "version": str(version.number), "state": state, "reason": reason}

    def _why_not(self, version: ModelVersion) -> str:
        if version in self._failed:
            return self._failed[version].reason
        return _UNLOADED if self.repository.is_unloaded(version.name) else "loading"

    @property
    def ready(self) -> bool:
        """Whether all versions in the repository are served, but for those that were unloaded."""
        return all(item["state"] == "READY" or item["reason"] == _UNLOADED for item in self.index())

    def waiting(self) -> dict[str, int]:
        """Count the requests that wait, by model."""
        counts: dict[str, int] = {}
        for version, served in self._served.items():
            counts[version.name] = counts.get(version.name, 0) + served.batcher.waiting
        return counts

    def drifts(self) -> dict[ModelVersion, dict[str, float]]:
        """Return the stability index of each variable of every version, where there is enough to tell."""
        return {version: watch.sizes() for version, watch in self._watches().items()}

    def _watches(self) -> dict[ModelVersion, RowWatch]:
        models = [served.batcher.model for served in list(self._served.values())]
        return {model.version: model.watch for model in models if model.watch is not None}

    async def watch_folder(self, seconds: float) -> None:
        """Look at the folder every so often, for ever."""
        while True:
            await asyncio.sleep(seconds)
            await self.refresh()
            await asyncio.get_running_loop().run_in_executor(self._loader, self._publish)

    def _publish(self) -> None:
        """Let the other workers know what this one has counted."""
        for watch in self._watches().values():
            with contextlib.suppress(OSError):  # a full disk: the next time has all
                watch.publish()

    def close(self) -> None:
        """Let the threads end."""
        self._publish()
        self.executor.shutdown(wait=False, cancel_futures=True)
        self._loader.shutdown(wait=False, cancel_futures=True)


def _loaded(version: ModelVersion, folder: Path) -> tuple[ServedModel, EventScorer | None]:
    """Load a version, and what scores events by it where its analysis is beside it."""
    model = ServedModel(version, folder / GRAPH)
    analysis = folder / ANALYSIS
    return model, EventScorer(model, analysis) if model.many_rows and analysis.exists() else None


def check_folder(folder: Path) -> list[tuple[ModelVersion, ServedModel | str]]:
    """Load every version of a repository once; gives the model, or the reason why it cannot be used."""
    repository = Repository(folder)
    results: list[tuple[ModelVersion, ServedModel | str]] = []
    for version in repository.versions():
        try:
            results.append((version, _loaded(version, repository.path(version))[0]))
        except DataError as error:
            results.append((version, str(error)))
    return results
