"""Files in folders, here or at an address."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..events.files import expand, is_remote, size_of
from ..events.open import open_events
from ..provenance.manifest import adler32, fingerprint
from .entry import CatalogueEntry

_CONNECTIONS = 16


def entry(pattern: str, tree: str) -> CatalogueEntry:
    """Count the files of a folder (``folder``, ``folder/*.root``, ``root://...``), their events and weights.

    Raises
    ------
    UserError
        When there are none.
    FileError
        When one cannot be read.
    """
    pattern = f"{pattern.rstrip('/')}/*.root" if not is_remote(pattern) and Path(pattern).is_dir() else pattern
    names = expand([pattern], pattern)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        counts = list(pool.map(lambda name: _count(name, tree), names))
    weights = [sumw for _, sumw in counts]
    return CatalogueEntry(
        source=pattern,
        category=pattern,
        files=len(names),
        events=sum(events for events, _ in counts),
        size=sum(size_of(name) for name in names),
        sumw=None if None in weights else sum(weight or 0.0 for weight in weights),
        checksums=_checksums(names),
    )


def _count(name: str, tree: str) -> tuple[int, float | None]:
    """Return the events of a file, and the sum of its weights where ``Runs`` tells it."""
    with open_events(name, tree) as file:
        return int(file.entries or 0), file.gen_sum_of_weights()


def _checksums(names: Sequence[str]) -> str:
    if any(is_remote(name) for name in names):
        return ""
    return fingerprint({name: adler32(Path(name)) for name in names})[:16]
