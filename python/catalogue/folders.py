"""Files in folders, here or at an address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ..console import progress
from ..events.files import expand, is_remote, size_of
from ..events.open import open_events
from ..provenance.manifest import adler32, fingerprint
from .entry import CatalogueEntry

_CONNECTIONS = 16
Result = TypeVar("Result")


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
    counts = _each(lambda name: _count(name, tree), names, f"events of {pattern}")
    weights = [sumw for _, sumw in counts]
    return CatalogueEntry(
        source=pattern,
        category=pattern,
        files=len(names),
        events=sum(events for events, _ in counts),
        size=sum(size_of(name) for name in names),
        sumw=None if None in weights else sum(weight or 0.0 for weight in weights),
        checksums=_checksums(names, pattern),
    )


def _count(name: str, tree: str) -> tuple[int, float | None]:
    """Return the events of a file, and the sum of its weights where ``Runs`` tells it."""
    with open_events(name, tree) as file:
        return int(file.entries or 0), file.gen_sum_of_weights()


def _checksums(names: Sequence[str], pattern: str) -> str:
    """Return what changes with the checksum of any file, for which all are read whole; nothing of remote ones."""
    if any(is_remote(name) for name in names):
        return ""
    sums = _each(lambda name: adler32(Path(name)), names, f"checksums of {pattern}")
    return fingerprint(dict(zip(names, sums)))[:16]


def _each(function: Callable[[str], Result], names: Sequence[str], description: str) -> list[Result]:
    """Return what a function gives for each file, several at a time; a bar shows how far it is."""
    with progress(description, len(names)) as bar, ThreadPoolExecutor(_CONNECTIONS) as pool:
        results = []
        for result in pool.map(function, names):
            results.append(result)
            bar.advance(1)
        return results
