"""Images of jets, 13 planes of 125 x 125 pixels: hits that are drawn in the model beside dense images on disk.

What circulates draws every jet in a Python loop and writes it as nested lists of doubles to Parquet, a row group each,
which training reads one by one. Dense images in HDF5, compressed by zstd, are the best that can be done with dense
ones. Jets have 1,000 hits: crystals, towers of 5 x 5 crystals, tracks with three properties, hits of eight layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import uproot
from measure import LIMIT, OURS, Comparison, Method, Settings, at_least, at_most, compare

PIXEL, SIZE, COARSE = 2 * math.pi / 360, 125, 5
LAYERS = 8
PLANES = 13
HITS = {"EcalHit": 400, "HcalHit": 60, "Track": 60, "TrkHit": 500}
BATCH = 64
Columns = dict[str, Any]


def run(settings: Settings) -> Iterator[Comparison]:
    many, few = max(256, settings.events // 10), 128
    paths = {count: _jets(settings.folder / f"jets-{count}.root", count) for count in (many, few, 32)}

    def method(name: str, function: str, count: int, kind: str = "peer", **options: Any) -> Method:
        warm = {"source": str(paths[32])}
        return Method(name, f"images.{function}", {"source": str(paths[count]), **options}, warm, count, kind)

    converted = compare(
        "Images: ROOT to training data, a jet",
        [
            method("nanoforge, hits", "convert", many, OURS),
            method("nanoforge, hits, zstd", "convert", many, OURS, compression="zstd"),
            method("loop over jets, Parquet", "loop", few),
        ],
        settings,
    )
    ours, theirs = ((row.runs[0]["value"] or {}).get("bytes", math.nan) for row in converted.rows[1:])
    converted.targets = [
        at_least("CPU of the loop over ours", converted.times("loop over jets, Parquet", "nanoforge, hits"), 100),
        at_most("bytes of ours (zstd) over those of Parquet", ours / theirs, 0.5),
    ]
    yield converted
    read = compare(
        "Images: a training's rows, read and drawn",
        [
            method("nanoforge, hits", "read_hits", many, OURS),
            method("Parquet, a row group a jet", "read_parquet", few),
            method("HDF5, dense, zstd", "read_dense", few),
        ],
        settings,
    )
    read.targets = [
        at_least("CPU of Parquet over ours", read.times("Parquet, a row group a jet", "nanoforge, hits"), 100),
        at_least("CPU of dense zstd over ours", read.times("HDF5, dense, zstd", "nanoforge, hits"), 3),
    ]
    yield read
    step = compare(
        "Images: a step of resnet 16-32-64, stem 7 x 7, stride 4",
        [method("whole step", "step", few, OURS), method("drawing alone", "draw", few, LIMIT)],
        settings,
    )
    step.targets = [at_most("drawing of a step", step.times("drawing alone", "whole step"), 0.05)]
    yield step


# -- jets -------------------------------------------------------------------------------------------------------------


def _jets(path: Path, count: int) -> Path:
    """Write events of one jet, whose hits are around it, on whole cells."""
    if path.exists():
        return path
    rng = np.random.default_rng(count)
    eta, phi = (rng.integers(-60, 60, count) + 0.5) * PIXEL, (rng.integers(-180, 180, count) + 0.5) * PIXEL
    ones = np.ones(count, np.int64)
    events: Columns = {n: np.arange(count) if n == "event" else ones for n in ("run", "luminosityBlock", "event")}
    lists = {"Jet": ak.unflatten(ak.zip({"eta": eta.astype("f4"), "phi": phi.astype("f4")}), ones)}
    for name, mean in HITS.items():
        numbers = rng.poisson(mean, count)
        owner = np.repeat(np.arange(count), numbers)
        cell = PIXEL * (COARSE if name == "HcalHit" else 1)
        away = np.rint(np.clip(rng.normal(0, 18 * PIXEL, (2, len(owner))), -1, 1) / cell) * cell
        fields = {"eta": eta[owner] + away[0], "phi": (phi[owner] + away[1] + math.pi) % (2 * math.pi) - math.pi}
        fields["energy"] = rng.lognormal(-1, 1.2, len(owner))
        if name == "Track":
            fields |= {"d0": rng.normal(0, 1, len(owner)), "dz": rng.normal(0, 1, len(owner))}
        columns = {field: values.astype("f4") for field, values in fields.items()}
        columns["layer"] = rng.integers(0, LAYERS, len(owner)).astype("i4")
        columns["jetIdx"] = np.zeros(len(owner), "i4")
        lists[name] = ak.unflatten(ak.zip(columns), numbers)
    temporary = path.with_suffix(".part")
    with uproot.recreate(temporary, compression=uproot.ZSTD(5)) as file:
        types = {n: v.dtype for n, v in events.items()} | {n: ak.type(v).content for n, v in lists.items()}
        tree = file.mktree(
            "Events", types, counter_name=lambda n: f"n{n}", field_name=lambda o, f: f"{o}_{f}" if f else o
        )
        tree.extend({**events, **lists})
    temporary.rename(path)
    return path


def _analysis(source: str, compression: str = "none") -> Any:
    from nanoforge.config import Analysis

    grid = {"around": "row", "size": [SIZE, SIZE], "pixel": PIXEL}
    onto = {"onto": "ecal"}

    def hits(collection: str, length: int, image: Columns, **block: Any) -> Columns:
        image = {"hits": collection, "channels": {"energy": "energy"}, **image}
        return {
            "image": image,
            "index": "jetIdx",
            "length": length,
            "scale": dict.fromkeys(image["channels"], "none"),
        } | block

    inputs = {
        "ecal": hits("EcalHit", 600, grid),
        "hcal": hits("HcalHit", 100, {**onto, "pixel": COARSE * PIXEL}),
        "tracks": hits("Track", 100, {**onto, "channels": {"pt": "energy", "d0": "d0", "dz": "dz"}}),
        **{f"layer{i}": hits("TrkHit", 120, onto, where=f"layer == {i}") for i in range(LAYERS)},
    }
    content = {
        "name": "jets", "samples": {"jets": {"files": [source]}}, "row": "Jet", "inputs": inputs,
        "target": {"regression": {"mass": "eta"}}, "split": {"train": 1, "val": 0, "test": 0},
        "dataset": {"compression": compression},
        "model": {"type": "resnet", "widths": [16, 32, 64], "stem": {"kernel": 7, "stride": 4}},
    }  # fmt: skip
    return Analysis.model_validate(content)


def _bytes_each(paths: Iterator[Path], count: int) -> Columns:
    size = sum(path.stat().st_size for path in paths) / count
    return {"bytes": size, "remark": f"{size / 1e3:.1f} kB a jet"}


# -- ours -------------------------------------------------------------------------------------------------------------


def convert(scratch: Path, source: str, compression: str = "none") -> Callable[[], Columns]:
    from nanoforge.stages.convert import convert as stage

    analysis = _analysis(source, compression)

    def work() -> Columns:
        stage(analysis, scratch / "dataset")
        with h5py.File(scratch / "dataset" / "train.h5") as file:
            count = len(file["weight"])
        return _bytes_each((scratch / "dataset" / "shards").glob("*.h5"), count)

    return work


def read_hits(scratch: Path, source: str) -> Callable[[], None]:
    from nanoforge.dataset.open import open_dataset
    from nanoforge.dataset.resources import keep_memory
    from nanoforge.models.raster import Images

    convert(scratch, source)()
    data = open_dataset(scratch / "dataset", in_memory="never", workers=1)
    images = Images(data.info.inputs)
    keep_memory()  # as a training does

    def work() -> None:
        for batch in data.batches("train", 0, BATCH, shuffle=True):
            images(batch.inputs, {name: batch.inputs[f"{name}_mask"] for name in data.info.inputs})

    return work


def _rows(scratch: Path, source: str) -> tuple[Any, Any]:
    """Return inputs of all jets as tensors, and what the model is to know of them."""
    from nanoforge.dataset.open import open_dataset

    convert(scratch, source)()
    data = open_dataset(scratch / "dataset")
    return data.info, data.arrays("train", 0)


def draw(scratch: Path, source: str) -> Callable[[], None]:
    import torch
    from nanoforge.dataset.resources import keep_memory
    from nanoforge.models.raster import Images

    info, rows = _rows(scratch, source)
    images = Images(info.inputs)
    keep_memory()

    def work() -> None:
        with torch.inference_mode():
            for start in range(0, len(rows), BATCH):
                batch = rows.take(start, start + BATCH).inputs
                images(batch, {name: batch[f"{name}_mask"] for name in info.inputs})

    work()  # the pages of its memory are there from the second batch of a training on
    return work


def step(scratch: Path, source: str) -> Callable[[], None]:
    import torch
    from nanoforge.dataset.resources import keep_memory
    from nanoforge.models.base import ModelSpec
    from nanoforge.models.network import NetworkModel

    info, rows = _rows(scratch, source)
    network = _analysis(source).model.model_dump(mode="json")
    model = NetworkModel(ModelSpec(info.inputs, info.regression, "regression", network)).train()
    optimizer = torch.optim.AdamW(model.parameters())
    keep_memory()

    def work() -> None:
        for start in range(0, len(rows), BATCH):
            batch = rows.take(start, start + BATCH)
            optimizer.zero_grad()
            outputs = model.logits(*(batch.inputs[name] for name in model.spec.graph_inputs))
            (outputs - batch.targets).square().mean().backward()
            optimizer.step()

    work()
    return work


# -- dense images -----------------------------------------------------------------------------------------------------


def _dense(source: str) -> Iterator[np.ndarray]:
    """Draw jet by jet, (13, 125, 125) f8 each, as the converters that circulate do."""
    names = [f"{c}_{f}" for c in ("Jet", *HITS) for f in ("eta", "phi")]
    names += [*(f"{c}_energy" for c in HITS), "Track_d0", "Track_dz", "TrkHit_layer"]
    with uproot.open(source) as file:
        events = file["Events"].arrays(names)
    for event in events:
        for jet in range(len(event["Jet_eta"])):
            image = np.zeros((PLANES, SIZE, SIZE))
            image[0] = _plane(event, jet, "EcalHit", "energy")
            coarse = _plane(event, jet, "HcalHit", "energy", cell=COARSE)
            image[1] = np.kron(coarse, np.ones((COARSE, COARSE))) / COARSE**2
            for k, field in enumerate(("energy", "d0", "dz")):
                image[2 + k] = _plane(event, jet, "Track", field)
            layers = np.asarray(event["TrkHit_layer"])
            for layer in range(LAYERS):
                image[5 + layer] = _plane(event, jet, "TrkHit", "energy", layers == layer)
            yield image


def _plane(event: Any, jet: int, collection: str, field: str, chosen: Any = slice(None), cell: int = 1) -> np.ndarray:
    eta, phi, values = (np.asarray(event[f"{collection}_{f}"])[chosen] for f in ("eta", "phi", field))
    phi = (phi - event["Jet_phi"][jet] + math.pi) % (2 * math.pi) - math.pi
    edges = (np.arange(0, SIZE + 1, cell) - SIZE / 2) * PIXEL
    return np.histogram2d(eta - event["Jet_eta"][jet], phi, bins=[edges, edges], weights=values)[0]


def loop(scratch: Path, source: str) -> Callable[[], Columns]:
    def work() -> Columns:
        count = _write_parquet(scratch / "jets.parquet", source)
        return _bytes_each(iter([scratch / "jets.parquet"]), count)

    return work


def _write_parquet(path: Path, source: str) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer, count = None, 0
    for image in _dense(source):
        table = pa.table({"y": pa.array([0.0]), "X_jet": pa.array([image.tolist()])})
        writer = writer or pq.ParquetWriter(path, table.schema, compression="snappy")
        writer.write_table(table)
        count += 1
    if writer is not None:
        writer.close()
    return count


def read_parquet(scratch: Path, source: str) -> Callable[[], None]:
    import pyarrow.parquet as pq
    import torch

    path = scratch / "jets.parquet"
    count = _write_parquet(path, source)

    def work() -> None:
        file = pq.ParquetFile(path)
        for row in np.random.default_rng(1).permutation(count):
            torch.tensor(np.float32(file.read_row_group(int(row), columns=["X_jet", "y"]).to_pydict()["X_jet"][0]))

    return work


def read_dense(scratch: Path, source: str) -> Callable[[], None]:
    import hdf5plugin
    import torch

    path = scratch / "jets.h5"
    images = np.stack(list(_dense(source))).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=images, chunks=(1, *images.shape[1:]), compression=hdf5plugin.Zstd(3))

    def work() -> None:
        with h5py.File(path) as file:
            for row in np.random.default_rng(1).permutation(len(images)):
                torch.from_numpy(file["x"][int(row)])

    return work
