"""Files in folders, here or at an address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ..console import progress
from ..events.files import expand, from_root, is_remote, size_of
from ..events.open import open_events
from ..provenance import manifest
from .entry import CatalogueEntry, digest

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
    adler32 = _checksums(names, pattern)
    counts = _each(lambda name: _count(name, tree), names, f"events of {pattern}")
    weights = [sumw for _, sumw in counts]
    return CatalogueEntry(
        source=pattern,
        category=pattern,
        files=len(names),
        events=sum(events for events, _ in counts),
        size=sum(size_of(name) for name in names),
        sumw=None if None in weights else sum(weight or 0.0 for weight in weights),
        checksums=digest(adler32),
        adler32=adler32,
    )


def _count(name: str, tree: str) -> tuple[int, float | None]:
    """Return the events of a file, and the sum of its weights where ``Runs`` tells it."""
    with open_events(name, tree) as file:
        return int(file.entries or 0), file.gen_sum_of_weights()


def _checksums(names: Sequence[str], pattern: str) -> dict[str, str]:
    """Return the checksums of files, for which these are read whole; remote ones have none."""
    if any(is_remote(name) for name in names):
        return dict.fromkeys(names, "")
    sums = _each(lambda name: manifest.adler32(Path(name)), names, f"checksums of {pattern}")
    return {from_root(name): value for name, value in zip(names, sums)}


def _each(function: Callable[[str], Result], names: Sequence[str], description: str) -> list[Result]:
    """Return what a function gives for each file, several at a time; a bar shows how far it is."""
    with progress(description, len(names)) as bar, ThreadPoolExecutor(_CONNECTIONS) as pool:
        results = []
        for result in pool.map(function, names):
            results.append(result)
            bar.advance(1)
        return results
