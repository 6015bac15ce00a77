"""Ways from ROOT to padded arrays in HDF5: NanoForge's, those of peers, and the limits of the machine.

All write the same arrays, uncompressed: ``event/features`` (N, F) f4, ``<collection>/features`` (N, L, F) f4 and
``<collection>/valid`` (N, L) bool. What is cut, sorted and computed is said by a :class:`Case`.
"""

from __future__ import annotations

import mmap
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import uproot
import yaml
from data import BASKET, NANO, NARROW, Shape

Arrays = dict[str, np.ndarray]
Work = Callable[[], dict[str, Any]]
IDENTITY = ("run", "luminosityBlock", "event")
BLOCK = 1 << 18
SMALL = 1 << 22
RUNNER_CHUNK = 100_000


@dataclass(frozen=True)
class Case:
    """What is converted; with ``cuts`` two columns are defined, events selected, and jets selected and sorted."""

    shape: Shape
    cuts: bool = False

    @property
    def scalars(self) -> list[str]:
        return [name for name in self.shape.scalars if name not in IDENTITY]


CASES = {"plain": Case(NANO), "cuts": Case(NANO, cuts=True), "narrow": Case(NARROW)}
DEFINED = {"ht": "sum(Jet_pt[Jet_pt > 30])", "met_over_ht": "PuppiMET_pt / (ht + 1)"}
SELECTED = {"two_jets": "num(Jet_pt > 30) >= 2"}
JETS = {"where": "pt > 20 & abs(eta) < 2.5", "sort": "-pt"}


# -- NanoForge --------------------------------------------------------------------------------------------------------


def analysis(case: Case, sources: list[str]) -> dict[str, Any]:
    """Write the case as an analysis file says it."""
    inputs: dict[str, Any] = {"event": {"features": [*case.scalars, *(DEFINED if case.cuts else ())]}}
    for name, collection in case.shape.collections.items():
        inputs[name] = {"collection": name, "length": collection.length, "features": list(collection.fields)}
    if case.cuts:
        inputs["Jet"] |= JETS
    return {
        "name": "bench",
        "samples": {"all": {"files": sources}},
        "define": DEFINED if case.cuts else {},
        "select": SELECTED if case.cuts else {},
        "inputs": inputs,
        "target": {"regression": {"weight_of_event": "genWeight"}},
        "split": {"train": 1.0, "val": 0.0, "test": 0.0},
    }


def nanoforge(scratch: Path, sources: list[str], case: str, jobs: int = 1, output: str = "") -> Work:
    """Convert with ``nanoforge.stages.convert``; what it writes beside the arrays is part of its cost."""
    from nanoforge.config import load
    from nanoforge.stages.convert import convert

    config = scratch / "analysis.yaml"
    config.write_text(yaml.safe_dump(analysis(CASES[case], sources)))
    folder = Path(output or scratch / "dataset")
    shutil.rmtree(folder, ignore_errors=True)

    def work() -> dict[str, Any]:
        convert(load(config), folder, jobs=jobs)
        written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return {"bytes": written, **_summary(folder / "train.h5", sources)}

    return work


# -- peers ------------------------------------------------------------------------------------------------------------


def awkward(scratch: Path, sources: list[str], case: str, step: int | str) -> Work:
    """The idiom of most analyses: ``uproot.iterate``, masks, ``pad_none``, ``fill_none``."""
    chosen = CASES[case]

    def steps() -> Iterator[Arrays]:
        files = [f"{source}:Events" for source in sources]
        for array in uproot.iterate(files, chosen.shape.branches, step_size=step):
            yield _columnar(chosen, lambda name, array=array: array[name])

    return lambda: _write(scratch / "out.h5", steps(), sources)


def coffea(scratch: Path, sources: list[str], case: str) -> Work:
    """The same on NanoEvents with ``NanoAODSchema``, in chunks as coffea's Runner has them."""
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    chosen = CASES[case]
    NanoAODSchema.warn_missing_crossrefs = False

    def steps() -> Iterator[Arrays]:
        for source in sources:
            with uproot.open(source) as file:
                entries = file["Events"].num_entries
            for start in range(0, entries, RUNNER_CHUNK):
                step = {"entry_start": start, "entry_stop": min(start + RUNNER_CHUNK, entries)}
                events = NanoEventsFactory.from_root({source: "Events"}, schemaclass=NanoAODSchema, **step).events()
                yield _columnar(chosen, lambda name, events=events: _nano_column(events, name))

    return lambda: _write(scratch / "out.h5", steps(), sources)


def _nano_column(events: Any, name: str) -> ak.Array:
    outer, _, inner = name.partition("_")
    return ak.materialize(events[outer][inner] if inner else events[outer])


def _columnar(case: Case, column: Callable[[str], ak.Array]) -> Arrays:
    """Select, sort and pad one step with awkward."""
    scalars = {name: column(name) for name in case.shape.scalars}
    lists = {
        name: {field: column(f"{name}_{field}") for field in collection.fields}
        for name, collection in case.shape.collections.items()
    }
    if case.cuts:
        scalars, lists = _cut(scalars, lists)
    features = [name for name in scalars if name not in IDENTITY]
    out = {f"id/{name}": ak.to_numpy(scalars[name]) for name in IDENTITY}
    out["event/features"] = np.stack([ak.to_numpy(scalars[name]).astype("f4") for name in features], axis=-1)
    for name, fields in lists.items():
        length = case.shape.collections[name].length
        padded = [ak.fill_none(ak.pad_none(values, length, clip=True), 0) for values in fields.values()]
        out[f"{name}/features"] = np.stack([ak.to_numpy(values).astype("f4") for values in padded], axis=-1)
        out[f"{name}/valid"] = np.arange(length) < ak.to_numpy(ak.num(next(iter(fields.values()))))[:, np.newaxis]
    return out


def _cut(scalars: dict[str, ak.Array], lists: dict[str, dict[str, ak.Array]]) -> tuple[dict, dict]:
    pt = lists["Jet"]["pt"]
    scalars["ht"] = ak.sum(pt[pt > 30], axis=1)
    scalars["met_over_ht"] = scalars["PuppiMET_pt"] / (scalars["ht"] + 1)
    passing = ak.sum(pt > 30, axis=1) >= 2
    scalars = {name: values[passing] for name, values in scalars.items()}
    lists = {name: {f: values[passing] for f, values in fields.items()} for name, fields in lists.items()}
    jets = lists["Jet"]
    kept = (jets["pt"] > 20) & (abs(jets["eta"]) < 2.5)
    jets = {field: values[kept] for field, values in jets.items()}
    order = ak.argsort(jets["pt"], axis=1, ascending=False, stable=True)
    lists["Jet"] = {field: values[order] for field, values in jets.items()}
    return scalars, lists


def per_event(scratch: Path, sources: list[str], case: str, events: int) -> Work:
    """One event at a time, with the steps of MLaaS4HEP's ``RootDataReader.next``; all ranges are [0, 1]."""
    chosen = CASES[case]
    lengths = dict.fromkeys(chosen.scalars, 0)
    lengths |= {f"{name}_{f}": c.length for name, c in chosen.shape.collections.items() for f in c.fields}

    def steps() -> Iterator[Arrays]:
        tree = uproot.open(sources[0])["Events"]
        for start in range(0, events, BASKET):
            stop = min(start + BASKET, events)
            columns = tree.arrays(chosen.shape.branches, entry_start=start, entry_stop=stop, library="np")
            records = [_record(columns, lengths, i) for i in range(stop - start)]
            yield _from_records(chosen, columns, *map(np.array, zip(*records)))

    return lambda: _write(scratch / "out.h5", steps(), sources)


def _record(columns: Arrays, lengths: dict[str, int], i: int) -> tuple[np.ndarray, np.ndarray]:
    """Normalise and pad the branches of one event, flatten them, and say where there is no object."""
    low, high = 0.0, 1.0
    record = []
    for name, length in lengths.items():
        values = (columns[name][i] - low) / (high - low)
        if not length:
            record.append(values)
        elif len(values) >= length:
            record.extend(values[:length].tolist())
        else:
            padded = np.empty(length) * np.nan
            padded[: len(values)] = values
            record.extend(padded.tolist())
    return np.array(record), np.array(list(np.isnan(record) * 1))


def _from_records(case: Case, columns: Arrays, records: np.ndarray, empty: np.ndarray) -> Arrays:
    """Take flat records apart into the arrays that all others write."""
    records, empty = records.astype("f4"), empty.astype(bool)
    out = {f"id/{name}": columns[name] for name in IDENTITY}
    out["event/features"], place = records[:, : len(case.scalars)], len(case.scalars)
    records[empty] = 0
    for name, collection in case.shape.collections.items():
        stop = place + collection.length * len(collection.fields)
        shape = (len(records), len(collection.fields), collection.length)
        out[f"{name}/features"] = records[:, place:stop].reshape(shape).swapaxes(1, 2)
        out[f"{name}/valid"] = ~empty[:, place : place + collection.length]
        place = stop
    return out


def _write(path: Path, steps: Iterator[Arrays], sources: list[str]) -> dict[str, Any]:
    """Write steps into growing, uncompressed datasets."""
    with h5py.File(path, "w") as file:
        for arrays in steps:
            for name, values in arrays.items():
                if name not in file:
                    shape = values.shape[1:]
                    file.create_dataset(name, (0, *shape), values.dtype, maxshape=(None, *shape), chunks=(1024, *shape))
                file[name].resize(len(file[name]) + len(values), axis=0)
                file[name][-len(values) :] = values
    return _summary(path, sources)


def _summary(path: Path, sources: list[str]) -> dict[str, Any]:
    """Weigh the values of the output by their place; only of small ones, where time does not count."""
    if sum(Path(source).stat().st_size for source in sources) > SMALL:
        return {}
    with h5py.File(path) as file:
        names = [f"{group}/{kind}" for group in file for kind in ("features", "valid") if f"{group}/{kind}" in file]
        return {"checksums": {name: weighted_sum(file[name][:]) for name in names if name.count("/") == 1}}


def weighted_sum(values: np.ndarray) -> float:
    """Sum values weighted by their place, so that another order gives another sum."""
    return float((values.ravel().astype("f8") * (1 + np.arange(values.size) % 97)).sum())


# -- limits -----------------------------------------------------------------------------------------------------------


def decompression(scratch: Path, sources: list[str], shape: str) -> Work:
    """Give the bytes of just the needed baskets to their codecs, and throw away what comes out."""
    from data import SHAPES

    wanted = [*SHAPES[shape].branches, *SHAPES[shape].counters]
    uproot.ZLIB.library = "isal"  # the fastest inflate there is

    def work() -> dict[str, Any]:
        sizes = [_decompress(source, wanted) for source in sources]
        return {"bytes": sum(sizes)}

    return work


def _decompress(source: str, wanted: list[str]) -> int:
    tree = uproot.open(source, handler=uproot.source.file.MemmapSource)["Events"]
    with Path(source).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return sum(
            _inflate(content, seek, size)
            for name in wanted
            for seek, size in zip(tree[name].member("fBasketSeek"), tree[name].member("fBasketBytes"))
            if size
        )


def _inflate(content: mmap.mmap, seek: int, size: int) -> int:
    """Decompress a basket block by block: a key, then headers of 9 bytes with algorithm and sizes, and the blocks."""
    place, stop, total = seek + int.from_bytes(content[seek + 14 : seek + 16], "big"), seek + size, 0
    while place < stop:
        head = content[place : place + 9]
        codec = _CODECS.get(head[:2])
        if codec is None:  # not compressed
            return total + stop - place
        compressed, full = int.from_bytes(head[3:6], "little"), int.from_bytes(head[6:9], "little")
        checksum = 8 if head[:2] == b"L4" else 0
        codec.decompress(content[place + 9 + checksum : place + 9 + compressed], full)
        place, total = place + 9 + compressed, total + full
    return total


_CODECS = {b"ZL": uproot.ZLIB(1), b"ZS": uproot.ZSTD(1), b"L4": uproot.LZ4(1), b"XZ": uproot.LZMA(1)}


def raw_write(scratch: Path, size: int) -> Work:
    """Write so many bytes."""
    block = np.random.default_rng(0).bytes(BLOCK)

    def work() -> None:
        with (scratch / "raw").open("wb", buffering=0) as file:
            for start in range(0, size, BLOCK):
                file.write(memoryview(block)[: size - start])

    return work
