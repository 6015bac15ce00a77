"""Formats of datasets: ours, a file in the folder, and a user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import many
import nanoforge.dataset.formats
import pytest
from nanoforge.config import Analysis
from nanoforge.dataset.format import DatasetFormat
from nanoforge.dataset.formats import FORMATS
from nanoforge.dataset.open import open_dataset

OWN = '''
"""Datasets in NumPy's files, joined when they are read."""

import json

import numpy as np
import torch
from nanoforge.dataset.batch import Batch
from nanoforge.dataset.format import DatasetFormat, StoredRows
from nanoforge.dataset.info import SPLITS
from nanoforge.dataset.shards import ShardWriter, temporary_path
from nanoforge.dataset.slabs import Slab
from nanoforge.dataset.source import StoredData
from nanoforge.dataset.statistics import Truth
from contextlib import contextmanager


class NumpyFormat(DatasetFormat):
    """Features, labels and weights in one .npz for every split."""

    def lay_out(self, block):
        rows = {"x": block.inputs["event"], "label": block.label, "weight": block.weight, "fold": block.fold,
                "sample": block.identity["sample"]}
        return {split: {n: v[start:stop].copy() for n, v in rows.items()} for split, start, stop in block.spans()}

    def files(self, stem):
        return [stem.with_suffix(".npz")]

    def _writer(self, stem):
        return _Writer(self.files(stem)[0])

    def stored(self, stem):
        return _Stored(self.files(stem)[0])

    def assemble(self, directory, shards, scale, normalisation):
        files = {}
        for split in SPLITS:
            parts = [np.load(self.files(shard.stem)[0]) for shard in shards]
            names = ("x", "label", "weight", "sample")
            rows = {n: np.concatenate([part[f"{split}/{n}"] for part in parts]) for n in names}
            rows["weight"] = rows["weight"] * scale[rows["sample"]]
            np.savez(directory / f"{split}.npz", **rows)
            files[f"{split}.npz"] = len(rows["x"])
        plain = {k: v.tolist() for k, v in normalisation["event"].items() if k in ("center", "scale")}
        (directory / "normalisation.json").write_text(json.dumps(plain))
        return {**files, "normalisation.json": None}, {}

    @classmethod
    def open(cls, directory, manifest, in_memory, workers):
        return _Data(directory, manifest, in_memory, workers)


class _Writer(ShardWriter):
    def __init__(self, path):
        super().__init__()
        self._target, self._rows = path, {}

    def _append(self, rows):
        for split, arrays in rows.items():
            for name, values in arrays.items():
                self._rows.setdefault(f"{split}/{name}", []).append(values)

    def _finish(self):
        with temporary_path(self._target).open("wb") as file:
            np.savez(file, **{name: np.concatenate(values) for name, values in self._rows.items()})

    def _abandon(self):
        self._rows.clear()

    def _files(self):
        return [self._target]

    @staticmethod
    def _types(rows):
        return {name: values.dtype for name, values in rows.items()}


class _Stored(StoredRows):
    def __init__(self, path):
        self._file = np.load(path)

    def read(self, split, start, stop):
        prefix = f"{split}/"
        return {n.removeprefix(prefix): self._file[n][start:stop] for n in self._file.files if n.startswith(prefix)}

    def close(self):
        self._file.close()


class _Data(StoredData):
    def __init__(self, directory, manifest, in_memory, workers):
        super().__init__(directory, manifest, in_memory, workers)
        self._rows = {split: dict(np.load(directory / f"{split}.npz")) for split in SPLITS}
        self._normalisation = json.loads((directory / "normalisation.json").read_text())

    def normalisation(self, fold):
        return {"event": tuple(np.array(self._normalisation[k], "f4") for k in ("center", "scale"))}

    def _slabs(self):
        sizes = [len(self._rows[split]["x"]) for split in SPLITS]
        return [Slab(0, 0, np.eye(3, dtype=int)[i][:, None] * n, SPLITS[i]) for i, n in enumerate(sizes)]

    def _truth(self):
        truth, rows = Truth.zero(1, len(self.info.classes), 0), self._rows["train"]
        truth.book(rows["label"], None, rows["weight"], np.zeros(len(rows["x"]), "u1"))
        return truth

    @contextmanager
    def _reading(self):
        def read(slab, chosen):
            rows = {n: torch.from_numpy(v) for n, v in self._rows[slab.location].items() if n != "sample"}
            return Batch({"event": rows["x"]}, rows["label"], None, rows["weight"])

        yield read
'''
ANALYSIS = """
name: own
samples: {all: {files: 'many-*.root'}}
target: {classes: {odd: "event % 2 == 1", even: "event % 2 == 0"}}
inputs: {event: {features: [x, n]}}
weight: "1 + n"
model: {type: mlp, hidden: [4]}
training: {epochs: 1, batch_size: 64}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    many.write_many(tmp_path, 3, 60)
    return tmp_path


def rows(dataset: Path) -> list[bytes]:
    batch = open_dataset(dataset).arrays("train", 0)
    return [tensor.numpy().tobytes() for tensor in batch.tensors()]


def test_a_users_own_format_is_written_merged_read_and_trained_on(folder: Path, nanoforge: Callable[..., Any]) -> None:
    (folder / "mine.py").write_text(OWN)
    (folder / "own.yaml").write_text(ANALYSIS + "dataset: {format: 'mine:NumpyFormat'}\n")
    (folder / "hdf5.yaml").write_text(ANALYSIS)
    for arguments in (
        ["convert", "own.yaml", "-o", "own"],
        ["convert", "hdf5.yaml", "-o", "hdf5"],
        ["convert", "own.yaml", "-o", "parts/0", "--part", "all:0"],
        ["convert", "own.yaml", "-o", "parts/1", "--part", "all:1-2"],
        ["convert", "own.yaml", "-o", "merged", "--from-parts", "parts"],
        ["train", "own.yaml", "--data", "own", "-o", "run"],
    ):
        answer = nanoforge(*arguments)
        assert answer.returncode == 0, answer.stderr
    assert sorted(path.name for path in (folder / "own").glob("*.npz")) == ["test.npz", "train.npz", "val.npz"]
    assert rows(folder / "own") == rows(folder / "merged") == rows(folder / "hdf5")
    assert open_dataset(folder / "own").normalisation(0).keys() == {"event"}


@pytest.fixture
def more(tmp_path: Path) -> Iterator[Path]:
    """A folder beside that of our own formats."""
    (tmp_path / "folder").mkdir()
    folders = nanoforge.dataset.formats.__path__
    folders.append(str(tmp_path / "folder"))
    yield tmp_path / "folder"
    folders.remove(str(tmp_path / "folder"))


def test_a_file_in_the_folder_is_enough(folder: Path, more: Path, nanoforge: Callable[..., Any]) -> None:
    (more / "numpy_files.py").write_text(OWN)
    (folder / "own.yaml").write_text(ANALYSIS + "dataset: {format: numpy_files}\n")
    answer = nanoforge("convert", "own.yaml", "-o", "own")
    assert answer.returncode == 0, answer.stderr
    assert len(open_dataset(folder / "own").arrays("train", 0)) > 90


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("hdf4", "there is no format 'hdf4': use hdf5, parquet, salt or module:Class; did you mean 'hdf5'"),
        ("mine:Nothing", "dataset.format: '"),
    ],
)
def test_a_wrong_format_is_one_line(folder: Path, nanoforge: Callable[..., Any], format: str, message: str) -> None:
    (folder / "mine.py").write_text("")
    (folder / "own.yaml").write_text(ANALYSIS + f"dataset: {{format: '{format}'}}\n")
    answer = nanoforge("convert", "own.yaml", "-o", "own")
    errors = [line for line in answer.stderr.splitlines() if "error:" in line]
    assert answer.returncode == 2 and len(errors) == 1 and message in answer.stderr


def test_salt_is_a_layout_of_hdf5() -> None:
    content = {
        "name": "a", "samples": {"a": {"files": "a.root", "label": "x"}, "b": {"files": "b.root", "label": "y"}},
        "inputs": {"event": {"features": ["x"]}},
    }  # fmt: skip
    first, second = (
        Analysis.model_validate(content | {"dataset": options}) for options in ({"format": "salt"}, {"layout": "salt"})
    )
    assert first.dataset == second.dataset


def test_all_formats_are_described() -> None:
    for name, kind in FORMATS.all():
        assert issubclass(kind, DatasetFormat) and kind.__doc__, name
