"""Reading a dataset: every row once per epoch, in memory as from disk, fold by fold."""

from __future__ import annotations

import itertools

import h5py
import numpy as np
import pytest
import torch
from datasets import LENGTH, make_analysis, write_dataset
from nanoforge.dataset import loading
from nanoforge.dataset.loading import TrainingData, available_memory
from nanoforge.errors import DataError, UserError


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch):
    monkeypatch.setattr(loading, "SLAB_ROWS", 32)
    monkeypatch.setattr(loading, "OPEN_SLABS", 4)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("plain") / "data", make_analysis())


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("folded") / "data", make_analysis(folds=3), rows=(1000, 200, 0))


def numbers(batches):
    return torch.cat([batch.inputs["event"][:, 0] for batch in batches]).numpy()


def stored(directory, split):
    with h5py.File(directory / f"{split}.h5") as file:
        return file["event/features"][:, 0], file["fold"][:]


@pytest.mark.parametrize("in_memory", ["always", "never"])
@pytest.mark.parametrize("batch_size", [1, 48, 333, 5000])
def test_an_epoch_is_one_pass_with_full_batches(plain, in_memory, batch_size):
    data = TrainingData.open(plain, in_memory)
    batches = list(data.batches("train", 0, batch_size, shuffle=True, seed=7))
    assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert 0 < len(batches[-1]) <= batch_size
    assert sorted(numbers(batches)) == list(range(1000))


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_folds_follow_the_contract(folded, in_memory):
    data = TrainingData.open(folded, in_memory)
    (train, train_fold), (val, val_fold) = stored(folded, "train"), stored(folded, "val")
    for fold in range(3):
        expected = {
            "train": train[train_fold != fold],
            "val": val[val_fold != fold],
            "test": np.concatenate([train[train_fold == fold], val[val_fold == fold]]),
        }
        for part, rows in expected.items():
            batches = list(data.batches(part, fold, 64, shuffle=part == "train"))
            assert sorted(numbers(batches)) == sorted(rows)
            assert data.rows(part, fold) == len(rows) == len(data.arrays(part, fold))
            assert all(len(b) == 64 for b in batches[:-1])


def test_rows_stay_together_whatever_their_way(plain):
    whole = TrainingData.open(plain).arrays("train", 0)
    for in_memory in ("always", "never"):
        for batch in TrainingData.open(plain, in_memory).batches("train", 0, 100, shuffle=True, seed=1):
            index = batch.inputs["event"][:, 0].long()
            for found, source in zip(batch.tensors(), whole.tensors()):
                assert torch.equal(found, source[index])


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_order_follows_from_seed_and_epoch(plain, in_memory):
    data = TrainingData.open(plain, in_memory)

    def order(**key):
        return tuple(numbers(data.batches("train", 0, 100, shuffle=True, **key)))

    assert order(seed=1, epoch=2) == order(seed=1, epoch=2)
    assert len({order(seed=s, epoch=e) for s, e in itertools.product((1, 2), (0, 1))}) == 4
    assert tuple(numbers(data.batches("train", 0, 100))) == tuple(range(1000))


def test_streaming_reads_no_further_than_its_pool(plain, monkeypatch):
    read = []
    original = loading._Table.read
    monkeypatch.setattr(loading._Table, "read", lambda *a: read.append(a[2] - a[1]) or original(*a))
    pool = 32 * loading.POOL_SLABS
    used = 0
    for batch in TrainingData.open(plain, "never").batches("train", 0, 50, shuffle=True):
        assert sum(read) - used <= pool + 50
        used += len(batch)
    assert sum(read) == 1000


def test_batches_have_the_promised_types(plain):
    data = TrainingData.open(plain)
    batch = next(data.batches("val", 0, 8))
    assert {k: (tuple(t.shape), t.dtype) for k, t in batch.inputs.items()} == {
        "event": ((8, 2), torch.float32),
        "jets": ((8, LENGTH, 3), torch.float32),
        "jets_mask": ((8, LENGTH), torch.bool),
    }
    assert batch.label.dtype == torch.int64 and batch.targets is None
    assert batch.weight.dtype == torch.float32


def test_an_empty_part_has_no_batches(folded, tmp_path):
    empty = write_dataset(tmp_path / "data", make_analysis(), rows=(10, 0, 0))
    for in_memory in ("always", "never"):
        data = TrainingData.open(empty, in_memory)
        assert data.rows("val", 0) == 0
        assert list(data.batches("val", 0, 4)) == []
        assert data.arrays("val", 0).inputs["jets"].shape == (0, LENGTH, 3)


def test_class_totals_are_those_of_the_training_rows(folded):
    data = TrainingData.open(folded, "never")
    for fold in range(3):
        rows = data.arrays("train", fold)
        counts, sums = data.class_totals(fold)
        assert counts.tolist() == np.bincount(rows.label).tolist()
        assert sums == pytest.approx(np.bincount(rows.label, weights=rows.weight.double()))


def test_target_moments_survive_a_large_mean(tmp_path):
    def shift(split, columns):
        columns["target/z"] += np.float32(1e5)

    data = TrainingData.open(write_dataset(tmp_path / "data", make_analysis(regression=True), change=shift))
    values = data.arrays("train", 0).targets.double().numpy()
    mean, deviation = data.target_moments(0)
    assert mean == pytest.approx(values.mean(axis=0), rel=1e-12)
    assert deviation == pytest.approx(values.std(axis=0), rel=1e-6)


def test_normalisation_is_that_of_the_fold(folded, plain):
    with h5py.File(folded / "train.h5") as file:
        stored_centers = file["normalisation/jets/fold_center"][:]
    for fold in range(3):
        center, scale = TrainingData.open(folded).normalisation(fold)["jets"]
        assert center.tolist() == stored_centers[fold].tolist() and scale.shape == (3,)
    center, _ = TrainingData.open(plain).normalisation(0)["event"]
    assert center == pytest.approx([499.5, 3], rel=0.1)


@pytest.mark.parametrize("options", [{"format": "parquet"}, {"layout": "salt"}])
def test_other_layouts_are_refused_with_the_remedy(tmp_path, options):
    directory = write_dataset(tmp_path / "data", make_analysis(dataset=options))
    (key,) = options
    with pytest.raises(UserError, match=rf"dataset\.{key}.*run 'nanoforge convert' again"):
        TrainingData.open(directory)


def test_unfinished_changed_and_incomplete_datasets_are_refused(tmp_path):
    with pytest.raises(UserError, match="nanoforge convert"):
        TrainingData.open(tmp_path)
    directory = write_dataset(tmp_path / "data", make_analysis())
    with h5py.File(directory / "shards" / "val.h5", "a") as file:
        file["weight"][0] = 9
    with pytest.raises(DataError, match=r"shards/val\.h5.*changed"):
        TrainingData.open(directory)
    lacking = write_dataset(tmp_path / "lacking", make_analysis(), change=lambda _, c: c.pop("jets/valid"))
    with pytest.raises(DataError, match="jets/valid"):
        TrainingData.open(lacking)


def test_a_label_without_a_class_is_an_error(tmp_path):
    directory = write_dataset(tmp_path / "data", make_analysis(), edges=(-1.0, 1.0))
    with pytest.raises(DataError, match="label"):
        TrainingData.open(directory).class_totals(0)


def test_available_memory_is_plausible():
    assert 1 << 20 < available_memory() < 1 << 50
