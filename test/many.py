"""Many small ROOT files, made quickly: copies of one, with the numbers, features and identity of each patched in."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import uproot

PATCHED = {"event": "u8", "x": "f4", "n": "i4"}


def columns(first: int, count: int) -> dict[str, np.ndarray]:
    """Events ``first`` to ``first + count``: of each the same in whatever file it is."""
    event = np.arange(first, first + count)
    rng = np.random.default_rng([7, first])
    return {
        "run": np.ones(count, "u4"),
        "luminosityBlock": np.ones(count, "u4"),
        "event": event.astype("u8"),
        "x": rng.normal(event % 2, 1, count).astype("f4"),
        "n": (event % 7).astype("i4"),
    }


def write_many(folder: Path, files: int, events: int) -> None:
    """Write ``many-<number>.root``, and ``merged.root`` with the same rows in the same order."""
    with uproot.recreate(folder / "template.root", compression=None) as file:
        file.mktree("Events", {name: values.dtype for name, values in columns(0, 1).items()}).extend(columns(0, events))
        identity = file.file.uuid.bytes
    template = (folder / "template.root").read_bytes()
    (folder / "template.root").unlink()
    parts = [columns(number * events, events) for number in range(files)]
    places = {name: template.index(_stored(parts[0], name)) for name in PATCHED}
    for number, part in enumerate(parts):
        content = bytearray(template.replace(identity, uuid.UUID(int=number + 1).bytes))
        for name, place in places.items():
            values = _stored(part, name)
            content[place : place + len(values)] = values
        (folder / f"many-{number:05d}.root").write_bytes(content)
    with uproot.recreate(folder / "merged.root") as file:
        merged = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        file.mktree("Events", {name: values.dtype for name, values in merged.items()}).extend(merged)


def _stored(part: dict[str, np.ndarray], name: str) -> bytes:
    return part[name].astype(np.dtype(PATCHED[name]).newbyteorder(">")).tobytes()
