"""Hits and long inputs without padding: the same rows in each step as with it, whatever the shards, folds and parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hits as detector
import numpy as np
import pytest
import torch
import yaml
from nanoforge.config import load
from nanoforge.config.schema import Analysis
from nanoforge.dataset import info, tensors
from nanoforge.dataset.formats import hdf5
from nanoforge.dataset.info import ImageInfo
from nanoforge.dataset.open import open_dataset
from nanoforge.dataset.sparse import pack, rows_between, unpack
from nanoforge.errors import DataError
from nanoforge.stages.convert import convert


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hits")
    detector.write(folder, 60)
    return folder


CRYSTALS = {"collection": "EcalHit", "index": "photonIdx", "features": ["eta", "energy"], "length": 12}


def analysis(folder: Path, **dataset: Any) -> Analysis:
    content = {
        **detector.PHOTONS,
        "inputs": {**detector.PHOTONS["inputs"], "crystals": CRYSTALS},
        "name": "shape",
        "samples": {n: {"files": str(folder / f"{n}.root"), "label": n} for n in ("narrow", "wide")},
        "split": {"train": 0.6, "val": 0.4, "test": 0, "folds": 2},
        "dataset": dataset,
        "model": {"type": "deepsets"},
        "training": {"batch_size": 16},
    }
    (folder / "analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return load(folder / "analysis.yaml")


@pytest.fixture(scope="module")
def padded(folder: Path) -> Path:
    """The same with padding everywhere, as earlier versions wrote it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5, "parts_of", lambda _: ())
        convert(analysis(folder), folder / "padded")
    return folder / "padded"


@pytest.fixture(params=["none", "zstd"])
def sparse(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch, padded: Path) -> Path:
    """All inputs with constituents are longer than this."""
    monkeypatch.setattr(info, "LONGEST_PADDED", 4)
    monkeypatch.setattr(tensors, "SLAB_ROWS", 7)
    if not (folder / request.param).exists():
        convert(analysis(folder, compression=request.param), folder / request.param)
    return folder / request.param


def batches(directory: Path, in_memory: str, **how: Any) -> list[torch.Tensor]:
    found = list(open_dataset(directory, in_memory=in_memory).batches("train", 1, 16, **how))
    return [tensor for batch in found for tensor in batch.tensors()]


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_every_step_gets_what_padded_rows_give(
    sparse: Path, padded: Path, in_memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [batches(sparse, in_memory), batches(sparse, in_memory, shuffle=True, seed=3)]
    monkeypatch.setattr(info, "LONGEST_PADDED", 512)
    expected = [batches(padded, in_memory), batches(padded, in_memory, shuffle=True, seed=3)]
    for some, others in zip(found, expected):
        assert len(some) == len(others) > 7, "several batches"
        assert all(torch.equal(one, other) for one, other in zip(some, others))


def test_plain_h5py_reads_a_row_by_its_offsets(sparse: Path, padded: Path) -> None:
    with h5py.File(sparse / "val.h5") as file, h5py.File(padded / "val.h5") as whole:
        offsets, contents = file["crystals/offsets"][:], file["crystals/contents"]
        assert list(contents.attrs["names"]) == ["eta", "energy"] and "crystals/features" not in file
        assert offsets[0] == 0 and offsets[-1] == len(contents) and len(offsets) == len(file["weight"]) + 1
        for row in (0, 5, len(offsets) - 2):
            valid = whole["crystals/valid"][row]
            assert np.array_equal(contents[offsets[row] : offsets[row + 1]], whole["crystals/features"][row][valid])


def test_hits_are_stored_by_the_cells_that_they_fill(sparse: Path, padded: Path) -> None:
    with h5py.File(sparse / "val.h5") as file, h5py.File(padded / "val.h5") as whole:
        assert "ecal/features" not in file and file["ecal/cells"].dtype == np.uint8
        assert list(file["ecal/cells"].attrs["names"]) == ["eta", "phi"]
        assert list(file["ecal/channels"].attrs["names"]) == ["energy"]
        features = whole["ecal/features"][:][whole["ecal/valid"][:]]
        positions = (file["ecal/cells"][:] + 0.5 - 4) * detector.CELL
        assert np.array_equal(positions.astype("f4"), features[:, :2])
        assert np.array_equal(file["ecal/channels"][:], features[:, 2:])
        assert file["towers/cells"][:].max() <= 8 + 3 - 2 and file["towers/cells"][:].min() >= 0


def test_hits_of_earlier_versions_are_read(
    folder: Path, padded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those longer than 512 had contents, with positions as numbers."""
    monkeypatch.setattr(hdf5, "parts_of", lambda described: ("contents",) if described.length else ())
    monkeypatch.setattr(hdf5, "pack", lambda features, valid, _: pack(features, valid))
    convert(analysis(folder), tmp_path / "before")
    for one, other in zip(batches(tmp_path / "before", "never"), batches(padded, "never")):
        assert torch.equal(one, other)


def test_parts_make_the_same_dataset(sparse: Path, folder: Path, tmp_path: Path) -> None:
    if sparse.name != "none":
        pytest.skip("once is enough")
    parts = analysis(folder)
    for number, sample in enumerate(parts.samples):
        convert(parts, tmp_path / "parts" / str(number), part=f"{sample}:0-0")
    convert(parts, tmp_path / "merged", parts=tmp_path / "parts")
    for one, other in zip(batches(tmp_path / "merged", "never"), batches(sparse, "never")):
        assert torch.equal(one, other)


def test_offsets_that_do_not_fit_are_an_error(sparse: Path, tmp_path: Path) -> None:
    data = open_dataset(sparse, in_memory="never")
    table = data._tables["train"]
    table._offsets["ecal"] = table._offsets["ecal"][:]
    table._offsets["ecal"][3] = 9
    with pytest.raises(DataError, match=r"train\.h5: ecal: the offsets do not fit the contents: run 'nanoforge conv"):
        list(data.batches("train", 1, 16))


def test_a_part_of_an_earlier_version_has_to_be_made_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(hdf5, "parts_of", lambda _: ())
        for sample in ("narrow", "wide"):
            convert(analysis(folder), tmp_path / "parts" / sample, part=f"{sample}:0-0")
    with pytest.raises(DataError, match=r"no dataset 'crystals/|no dataset 'ecal/cells': make this part again"):
        convert(analysis(folder), tmp_path / "merged", parts=tmp_path / "parts")


def test_rows_are_cut_and_packed() -> None:
    rng = np.random.default_rng(1)
    valid = np.arange(6) < rng.integers(0, 7, 20)[:, None]
    features = np.where(valid[..., None], rng.normal(0, 1, (20, 6, 2)), 0).astype("f4")
    arrays = {f"a/{name}": values for name, values in pack(features, valid).items()} | {"weight": np.arange(20)}
    for start, stop in ((0, 20), (0, 0), (3, 3), (4, 11), (20, 20)):
        rows = rows_between(arrays, {"a": ["contents"]}, start, stop)
        again = unpack({"contents": rows["a/contents"]}, np.concatenate([[0], rows["a/stops"]]), 6)
        assert np.array_equal(again[0], features[start:stop]) and np.array_equal(again[1], valid[start:stop])
        assert rows["weight"].tolist() == list(range(start, stop))


@pytest.mark.parametrize(
    ("size", "cell", "dtype"), [((5, 8), (1, 1), "u1"), ((512, 360), (5, 2), "u2"), ((250, 3), (3, 3), "u1")]
)
def test_positions_of_hits_are_the_same_numbers(size: Any, cell: Any, dtype: str) -> None:
    image = ImageInfo("a", size, (detector.CELL, 0.0174533), ("sum",), (None,), cell=cell)
    first = np.stack([np.arange(1 - cell[d], size[d]).repeat(600)[::7][:400] for d in range(2)], axis=1)
    positions = ((first + (np.array(cell) - size) / 2) * image.pixel).astype("f4")  # as images.place_hits does
    hits = np.concatenate([positions, np.arange(len(first))[:, None]], axis=1).astype("f4").reshape(10, -1, 3)
    packed = pack(hits, np.ones(hits.shape[:2], bool), image)
    assert packed["cells"].dtype == dtype
    again, valid = unpack(packed, np.concatenate([[0], packed["stops"]]), hits.shape[1], image)
    assert np.array_equal(again, hits) and valid.all()
