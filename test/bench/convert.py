"""Conversion of one file into padded HDF5: NanoForge beside the awkward idiom and the cost of decompression alone.

Run by ``make bench``. All methods read the same file in one run, several times and interleaved. CPU seconds count: they
depend less than wall time on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import uproot
import yaml

sys.path.insert(0, str(Path(__file__).parent))
import data

BRANCHES = [*data.SCALARS, *(f"{c}_{v}" for c, (_, _, e) in data.COLLECTIONS.items() for v in (*data.KINEMATICS, *e))]


def analysis(path: Path) -> dict:
    inputs = {"event": {"features": [s for s in data.SCALARS if s not in ("run", "luminosityBlock", "event")]}}
    for name, (_, length, extra) in data.COLLECTIONS.items():
        inputs[name] = {"collection": name, "length": length, "features": [*data.KINEMATICS, *extra]}
    return {
        "name": "bench",
        "samples": {"all": {"files": str(path)}},
        "inputs": inputs,
        "target": {"regression": {"ht": "LHE_HT"}},
        "split": {"train": 1.0, "val": 0.0, "test": 0.0},
    }


def nanoforge(path: Path, folder: Path) -> None:
    from nanoforge.config import load
    from nanoforge.stages.convert import convert

    config = folder / "analysis.yaml"
    config.write_text(yaml.safe_dump(analysis(path)))
    convert(load(config), folder / "dataset")


def awkward(path: Path, folder: Path) -> None:
    """The idiom of most analyses: read into awkward arrays, pad, fill, write; the same padded output."""
    tree = uproot.open(path)["Events"]
    with h5py.File(folder / "out.h5", "w") as file:
        for start in range(0, tree.num_entries, 100_000):
            array = tree.arrays(BRANCHES, entry_start=start, entry_stop=start + 100_000)
            out = {s: ak.to_numpy(array[s]) for s in data.SCALARS}
            for name, (_, length, extra) in data.COLLECTIONS.items():
                fields = [*data.KINEMATICS, *extra]
                padded = [ak.fill_none(ak.pad_none(array[f"{name}_{f}"], length, clip=True), 0) for f in fields]
                out[name] = np.stack([ak.to_numpy(p).astype("f4") for p in padded], axis=-1)
                out[f"{name}_valid"] = np.arange(length) < ak.to_numpy(ak.num(array[f"{name}_pt"]))[:, np.newaxis]
            for key, values in out.items():
                if key not in file:
                    shape = values.shape[1:]
                    file.create_dataset(key, (0, *shape), values.dtype, maxshape=(None, *shape), chunks=(1024, *shape))
                file[key].resize(len(file[key]) + len(values), axis=0)
                file[key][-len(values) :] = values


def decompression(path: Path, folder: Path) -> None:
    """The limit: every basket that is needed is decompressed, nothing else."""
    tree = uproot.open(path, handler=uproot.source.file.MemmapSource)["Events"]
    for name in [*BRANCHES, *(f"n{c}" for c in data.COLLECTIONS)]:
        for i in range(tree[name].num_baskets):
            tree[name].basket(i)


METHODS = {"nanoforge convert": nanoforge, "awkward pad_none": awkward, "decompression only": decompression}


def measure(method: str, path: Path) -> dict[str, float]:
    """Run one method in this process, after a warm-up on a small file that compiles and imports all."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        warm = data.write(path.parent / "warm.root", 2_000, uproot.ZSTD(5))
        METHODS[method](warm, Path(folder))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        METHODS[method](path, Path(folder))
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": cpu, "wall": time.perf_counter() - wall, "peak_mb": after.ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "nanoforge-bench")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], Path(options.one[1]))))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    for codec, compression in (("zstd", uproot.ZSTD(5)), ("zlib", uproot.ZLIB(1))):
        path = data.write(options.folder / f"{codec}-{options.events}.root", options.events, compression)
        results: dict[str, list[dict[str, float]]] = {m: [] for m in METHODS}
        for _ in range(options.repeat):
            for method in METHODS:
                command = [sys.executable, __file__, "--one", method, str(path)]
                answer = subprocess.run(command, capture_output=True, text=True, check=True)
                results[method].append(json.loads(answer.stdout.splitlines()[-1]))
        show(codec, options.events, results)


def show(codec: str, events: int, results: dict[str, list[dict[str, float]]]) -> None:
    cpu = {m: statistics.median(r["cpu"] for r in rows) for m, rows in results.items()}
    print(f"\n{codec}, {events:,} events, 47 columns, 4 collections (median of {len(results['awkward pad_none'])})")
    print(f"{'method':22s} {'events/CPU-s':>14s} {'x awkward':>10s} {'x limit':>8s} {'wall s':>7s} {'peak MB':>8s}")
    for method, rows in results.items():
        wall, peak = (statistics.median(r[k] for r in rows) for k in ("wall", "peak_mb"))
        speedup, limit = cpu["awkward pad_none"] / cpu[method], cpu[method] / cpu["decompression only"]
        print(f"{method:22s} {events / cpu[method]:14,.0f} {speedup:10.2f} {limit:8.2f} {wall:7.2f} {peak:8.0f}")


if __name__ == "__main__":
    main()
