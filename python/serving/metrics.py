"""What a server tells of itself, for Prometheus."""

from __future__ import annotations

import os
from typing import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from .repository import ModelVersion

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which several workers add their numbers."""


class Metrics:
    """Counters of one server process; of all its processes where :data:`MULTIPROCESS` names a folder."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "nanoforge_requests", "Requests that were answered.", ["endpoint", "model", "code"], registry=registry
        )
        self._seconds = Histogram(
            "nanoforge_request_seconds", "From the request to its answer.", ["endpoint", "model"], registry=registry
        )
        self.rows = Counter("nanoforge_rows", "Rows that were scored.", ["model"], registry=registry)
        self._batch_rows = Histogram(
            "nanoforge_batch_rows",
            "Rows that were scored at a time.",
            ["model"],
            buckets=[2**i for i in range(13)],
            registry=registry,
        )
        self._waiting = Gauge(
            "nanoforge_waiting_requests",
            "Requests that wait.",
            ["model"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._load_seconds = Gauge(
            "nanoforge_load_seconds",
            "What loading a version took.",
            ["model", "version"],
            registry=registry,
            multiprocess_mode="livemax",
        )

        self._drift = Gauge(
            "nanoforge_drift",
            "Population stability index of what is scored against the training.",
            ["model", "version", "variable"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._of_answers: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, endpoint: str, name: str, code: int, seconds: float) -> None:
        """Count an answer about a model, or none, and the time that it took."""
        key = endpoint, name, code
        if key not in self._of_answers:
            self._of_answers[key] = self._requests.labels(*key), self._seconds.labels(endpoint, name)
        count, times = self._of_answers[key]
        count.inc()
        times.observe(seconds)

    def batches(self, name: str) -> Callable[[int], None]:
        """Return what takes the number of rows of every batch of a model."""
        rows, sizes = self.rows.labels(name), self._batch_rows.labels(name)

        def count(number: int) -> None:
            rows.inc(number)
            sizes.observe(number)

        return count

    def loaded(self, version: ModelVersion, seconds: float) -> None:
        """Note that a version was loaded."""
        self._load_seconds.labels(version.name, version.number).set(seconds)

    def text(self, waiting: dict[str, int], drifts: dict[ModelVersion, dict[str, float]]) -> bytes:
        """Write all numbers as Prometheus reads them, with what waits and how far variables have drifted."""
        for name, number in waiting.items():
            self._waiting.labels(name).set(number)
        for version, sizes in drifts.items():
            for variable, size in sizes.items():
                self._drift.labels(version.name, version.number, variable).set(size)
        registry = self._registry
        if MULTIPROCESS in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)
