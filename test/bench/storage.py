"""HDF5 compression of a dataset: its size, and the CPU time to write it and to read it in slabs as the loader does.

The arrays are those of a conversion with 47 columns, in chunks of 256 kB as NanoForge's. lzf and gzip open with plain
h5py everywhere; the others need the package hdf5plugin on the reader's side, too. One conversion and ten epochs decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import data
import h5py
import numpy as np
from measure import OURS, Comparison, Method, Options, Settings, compare, measure

PLAIN: dict[str, Options] = {
    "none": {},
    "lzf": {"compression": "lzf"},
    "shuffle + lzf": {"compression": "lzf", "shuffle": True},
    "gzip 1": {"compression": "gzip", "compression_opts": 1},
    "shuffle + gzip 1": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
}
PLUGIN: dict[str, Options] = {
    "shuffle + blosc lz4": {"plugin": "Blosc", "cname": "lz4", "clevel": 5, "shuffle": 1},
    "bitshuffle + blosc lz4": {"plugin": "Blosc", "cname": "lz4", "clevel": 5, "shuffle": 2},
    "shuffle + blosc zstd 1": {"plugin": "Blosc", "cname": "zstd", "clevel": 1, "shuffle": 1},
    "bitshuffle lz4": {"plugin": "Bitshuffle", "cname": "lz4"},
    "bitshuffle zstd 1": {"plugin": "Bitshuffle", "cname": "zstd", "clevel": 1},
}
CHUNK = 1 << 18
SLAB = 8192
EPOCHS = 10


def run(settings: Settings) -> Iterator[Comparison]:
    large, small = (settings.folder / f"storage-{size}" for size in ("large", "small"))
    options = [
        {"sources": [str(data.make(settings.folder, "nano", n))], "case": "plain", "output": str(output)}
        for n, output in ((settings.events, large), (settings.few, small))
    ]
    measure(Method("dataset", "converters.nanoforge", *options, settings.events), settings.folder)
    tables = []
    for step in ("write", "read"):
        methods = [
            Method(
                name,
                f"storage.{step}",
                {"dataset": str(large), "options": filters},
                {"dataset": str(small)},
                settings.events,
                OURS if name in PLAIN else "peer",
                environment="hdf5plugin" if name in PLUGIN else "",
            )
            for name, filters in {**PLAIN, **PLUGIN}.items()
        ]
        tables.append(compare(f"HDF5, {step}", methods, settings))
    tables[1].conclusions = _conclude(*tables)
    yield from tables


def write(scratch: Path, dataset: str, options: Options) -> Callable[[], dict[str, Any]]:
    arrays, filters = _arrays(dataset), _filters(options)

    def work() -> dict[str, Any]:
        path = _write(scratch / "out.h5", arrays, filters)
        rows = len(next(iter(arrays.values())))
        return {"remark": f"{path.stat().st_size / rows:,.0f} bytes per event"}

    return work


def read(scratch: Path, dataset: str, options: Options) -> Callable[[], None]:
    path = _write(scratch / "out.h5", _arrays(dataset), _filters(options))

    def work() -> None:
        with h5py.File(path) as file:
            columns = _columns(file)
            rows = len(columns["weight"])
            for start in np.random.default_rng(1).permutation(np.arange(0, rows, SLAB)):
                for column in columns.values():
                    column[start : start + SLAB]

    return work


def _arrays(dataset: str) -> dict[str, np.ndarray]:
    with h5py.File(Path(dataset) / "train.h5") as file:
        return {name: column[:] for name, column in _columns(file).items()}


def _columns(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Find all that has a value for every event."""
    names: list[str] = []
    file.visit(names.append)
    rows = len(file["weight"])
    return {name: file[name] for name in names if isinstance(file[name], h5py.Dataset) and len(file[name]) == rows}


def _filters(options: Options) -> Options:
    if "plugin" not in options:
        return options
    import hdf5plugin

    return {"compression": getattr(hdf5plugin, options["plugin"])(**{k: options[k] for k in options if k != "plugin"})}


def _write(path: Path, arrays: dict[str, np.ndarray], filters: Options) -> Path:
    """Write slab by slab, as the chunks of a conversion come."""
    with h5py.File(path, "w", libver="latest") as file:
        for name, values in arrays.items():
            chunk = max(1, min(len(values), CHUNK // values[:1].nbytes))
            shape = (chunk, *values.shape[1:])
            stored = file.create_dataset(name, values.shape, values.dtype, chunks=shape, **filters)
            for start in range(0, len(values), data.BASKET):
                stored[start : start + data.BASKET] = values[start : start + data.BASKET]
    return path


def _conclude(written: Comparison, read_back: Comparison) -> list[str]:
    """Say what one conversion and ten epochs cost with every format, and which is best with and without the plugin."""
    costs = {row.name: 1e6 * (row.cost + EPOCHS * read_back[row.name].cost) for row in written.rows if not row.failure}
    lines = [f"one write and {EPOCHS} reads of a million events, CPU seconds:"]
    lines += [f"  {name:24s} {cost:8.1f}" for name, cost in sorted(costs.items(), key=lambda item: item[1])]
    for group, names in (("plain h5py", PLAIN), ("hdf5plugin", PLUGIN)):
        measured = [name for name in names if name in costs]
        if measured:
            lines.append(f"fastest with {group}: {min(measured, key=costs.__getitem__)}")
    return lines
