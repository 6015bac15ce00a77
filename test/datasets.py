"""Small finished datasets in the layout of ``nanoforge convert``, written without it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from nanoforge.config import Analysis
from nanoforge.dataset.info import DatasetInfo, InputInfo
from nanoforge.provenance import Manifest, fingerprint

LENGTH = 4
INPUTS = {"event": InputInfo(("number", "a")), "jets": InputInfo(("pt", "eta", "mass"), LENGTH)}


def make_analysis(folds=1, regression=False, **changes):
    """An analysis whose dataset :func:`write_dataset` writes."""
    target = {"regression": {"z": "z"}} if regression else {"classes": {"low": "z < 0", "high": "z >= 0"}}
    split = {"train": 0.8, "val": 0.2, "test": 0, "folds": folds}
    content = {
        "name": "toy",
        "samples": {"one": {"files": ["one.root"]}},
        "inputs": {
            "event": {"features": ["number", "a"]},
            "jets": {"collection": "Jet", "length": LENGTH, "features": ["pt", "eta", "mass"]},
        },
        "target": target,
        "split": split,
    }
    return Analysis.model_validate(content | changes)


def make_columns(rows, first, folds, rng):
    """Toy rows: event/number is unique, and z = a + mean jet eta is what the target follows."""
    event = np.stack([np.arange(first, first + rows), rng.normal(3, 2, rows)], axis=1).astype("f4")
    jets = rng.normal((50, 0, 10), (20, 1, 5), (rows, LENGTH, 3)).astype("f4")
    valid = np.arange(LENGTH) < rng.integers(0, LENGTH + 1, (rows, 1))
    jets[~valid] = 0
    z = (event[:, 1] - 3) / 2 + jets[..., 1].sum(axis=1) / np.maximum(valid.sum(axis=1), 1)
    return {
        "event/features": event,
        "jets/features": jets,
        "jets/valid": valid,
        "target/z": z.astype("f4"),
        "weight": rng.uniform(0.5, 2, rows).astype("f4"),
        "fold": rng.integers(0, folds, rows).astype("u1"),
    }


def normalisation(train, folds):
    """Center and scale of all and of each fold's training rows, as the converter stores them."""
    found = {}
    for name in INPUTS:
        x, keep = train[f"{name}/features"], train.get(f"{name}/valid", np.ones(len(train["fold"]), bool))
        fold = np.broadcast_to(train["fold"].reshape(-1, *[1] * (keep.ndim - 1)), keep.shape)
        parts = [x[keep]] + [x[keep & (fold != i)] for i in range(folds) if folds > 1]
        center, scale = np.array([p.mean(axis=0) for p in parts]), np.array([p.std(axis=0) for p in parts])
        found |= {f"normalisation/{name}/center": center[0], f"normalisation/{name}/scale": scale[0]}
        if folds > 1:
            found |= {f"normalisation/{name}/fold_center": center[1:], f"normalisation/{name}/fold_scale": scale[1:]}
    return found


def write_split(directory, split, columns, rows):
    """Write the rows of a split to the shard and, over it, a file of virtual datasets."""
    (directory / "shards").mkdir(parents=True, exist_ok=True)
    shard = directory / "shards" / "00.h5"
    with h5py.File(directory / f"{split}.h5", "w") as file, h5py.File(shard, "a") as source:
        for name, values in columns.items():
            if name.startswith("normalisation"):
                file[name] = values
                continue
            source[f"{split}/{name}"] = values
            if rows == 0 or name == "weight":
                file[name] = values
            else:
                layout = h5py.VirtualLayout(values.shape, values.dtype)
                layout[:] = h5py.VirtualSource("shards/00.h5", f"{split}/{name}", values.shape)
                file.create_virtual_dataset(name, layout)
    return {f"{split}.h5": rows}


def write_dataset(directory: Path, analysis: Analysis, rows=(1000, 200, 100), edges=(0.0,), change=None, seed=0):
    """Write a dataset as ``nanoforge convert`` would; ``change(split, columns)`` may spoil it."""
    rng, first, files = np.random.default_rng(seed), 0, {}
    folds, regression = analysis.split.folds, tuple(analysis.regression)
    for split, count in zip(("train", "val", "test"), rows):
        columns = make_columns(count, first, folds, rng)
        first += count
        if not regression:
            columns["target/label"] = np.digitize(columns.pop("target/z"), edges).astype("i8")
        if split == "train" and count:
            columns |= normalisation(columns, folds)
        if change is not None:
            change(split, columns)
        files |= write_split(directory, split, columns, count)
    info = DatasetInfo("event", INPUTS, tuple(analysis.classes), regression, folds)
    config = analysis.model_dump(mode="json")
    counts = dict(zip(("train", "val", "test"), rows))
    details = {"dataset": info.as_dict(), "key": fingerprint(analysis.dataset_part())}
    details |= {"shards": {"shards/00.h5": counts}, "samples": {name: counts for name in analysis.samples}}
    Manifest("convert", config, [], details=details).write(directory, {**files, "shards/00.h5": sum(rows)})
    return directory
