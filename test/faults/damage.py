"""Ways in which a file is damaged: by disks, by copies that stopped, by people."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random


def flip(path: Path, rng: Random) -> None:
    """Flip one bit."""
    _change(path, rng, lambda byte: byte ^ 1 << rng.randrange(8))


def byte(path: Path, rng: Random) -> None:
    """Put another byte in the place of one."""
    _change(path, rng, lambda old: (old + rng.randrange(1, 256)) % 256)


def zeros(path: Path, rng: Random) -> None:
    """Lose a piece to zeros, as a disk or a sparse copy does."""
    content = bytearray(path.read_bytes())
    if content:
        start = rng.randrange(len(content))
        stop = min(len(content), start + rng.choice((16, 512, 4096)))
        content[start:stop] = bytes(stop - start)
    _overwrite(path, bytes(content))


def truncate(path: Path, rng: Random) -> None:
    """Lose the end, in place."""
    size = path.stat().st_size
    os.truncate(path, rng.choice((rng.randrange(size), size - 1)) if size else 0)


def empty(path: Path, rng: Random) -> None:
    """Lose everything but the name, in place."""
    os.truncate(path, 0)


def extend(path: Path, rng: Random) -> None:
    """Get bytes at the end that do not belong there."""
    with path.open("ab") as file:
        file.write(rng.randbytes(rng.choice((1, 100, 5000))))


def delete(path: Path, rng: Random) -> None:
    """Lose the file."""
    path.unlink()


def replace(path: Path, rng: Random) -> None:
    """Get other content of the same length under the same name, as a new file."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(rng.randbytes(path.stat().st_size))
    new.replace(path)


Damage = Callable[[Path, Random], None]
KINDS: dict[str, Damage] = {d.__name__: d for d in (flip, byte, zeros, truncate, empty, extend, delete, replace)}
SUBTLE = ("flip", "byte", "zeros")
"""Those that leave the length as it is, and may hit what only a checksum protects."""
SAME_SIZE = (*SUBTLE, "replace")


def _change(path: Path, rng: Random, new: Callable[[int], int]) -> None:
    content = bytearray(path.read_bytes())
    if content:
        place = rng.randrange(len(content))
        content[place] = new(content[place])
    _overwrite(path, bytes(content))


def _overwrite(path: Path, content: bytes) -> None:
    """Write into the same file, whose length never changes meanwhile."""
    with path.open("r+b") as file:
        file.write(content)
