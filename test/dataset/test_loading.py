"""Reading a dataset: every row once per epoch, in memory as from disk, fold by fold."""

from __future__ import annotations

import itertools
import threading
import time

import h5py
import numpy as np
import pytest
import torch
import toys
from datasets import LENGTH, make_analysis, write_dataset
from nanoforge.config import Analysis
from nanoforge.dataset import source, tensors
from nanoforge.dataset.batch import on_device
from nanoforge.dataset.open import open_dataset
from nanoforge.errors import DataError, UserError
from nanoforge.stages.convert import convert


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch):
    monkeypatch.setattr(tensors, "SLAB_ROWS", 32)
    monkeypatch.setattr(source, "POOL_ROWS", 128)


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
    data = open_dataset(plain, in_memory=in_memory)
    batches = list(data.batches("train", 0, batch_size, shuffle=True, seed=7))
    assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert 0 < len(batches[-1]) <= batch_size
    assert sorted(numbers(batches)) == list(range(1000))


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_folds_follow_the_contract(folded, in_memory):
    data = open_dataset(folded, in_memory=in_memory)
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
    whole = open_dataset(plain).arrays("train", 0)
    for in_memory in ("always", "never"):
        for batch in open_dataset(plain, in_memory=in_memory).batches("train", 0, 100, shuffle=True, seed=1):
            index = batch.inputs["event"][:, 0].long()
            for read, expected in zip(batch.tensors(), whole.tensors()):
                assert torch.equal(read, expected[index])


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_order_follows_from_seed_and_epoch(plain, in_memory):
    data = open_dataset(plain, in_memory=in_memory)

    def order(**key):
        return tuple(numbers(data.batches("train", 0, 100, shuffle=True, **key)))

    assert order(seed=1, epoch=2) == order(seed=1, epoch=2)
    assert len({order(seed=s, epoch=e) for s, e in itertools.product((1, 2), (0, 1))}) == 4
    assert tuple(numbers(data.batches("train", 0, 100))) == tuple(range(1000))


@pytest.mark.parametrize("in_memory", ["always", "never"])
def test_rows_know_where_they_are_stored(folded, in_memory):
    data = open_dataset(folded, in_memory=in_memory)
    assert next(data.batches("train", 1, 100)).numbers is None, "nobody asked"
    data.number_rows()
    whole = data.arrays("train", 1)
    assert whole.numbers.tolist() == list(range(len(whole)))
    batches = list(data.batches("train", 1, 64, shuffle=True, seed=3))
    for batch in batches:
        assert torch.equal(whole.inputs["event"][batch.numbers], batch.inputs["event"])
    assert sorted(torch.cat([b.numbers for b in batches]).tolist()) == whole.numbers.tolist()


def test_streaming_reads_no_further_than_its_pool(plain, monkeypatch):
    read = []
    original = tensors.SplitTable.read
    monkeypatch.setattr(tensors.SplitTable, "read", lambda *a: read.append(a[2] - a[1]) or original(*a))
    pool, slab = 100, 32  # 128 rows hold two batches
    data = open_dataset(plain, in_memory="never", workers=1)
    used = 0
    for batch in data.batches("train", 0, 50, shuffle=True):
        # the pool, the slab that the next one begins with, and the one that is read meanwhile
        assert sum(read) - used <= pool + 2 * slab
        used += len(batch)
    assert sum(read) == 1000


def test_batches_have_the_promised_types(plain):
    data = open_dataset(plain)
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
        data = open_dataset(empty, in_memory=in_memory)
        assert data.rows("val", 0) == 0
        assert list(data.batches("val", 0, 4)) == []
        assert data.arrays("val", 0).inputs["jets"].shape == (0, LENGTH, 3)


def test_class_weights_are_those_of_the_training_rows(tmp_path):
    def turn(split, columns):
        columns["weight"][::5] *= -1

    directory = write_dataset(tmp_path / "data", make_analysis(folds=3), (1000, 200, 0), change=turn)
    data = open_dataset(directory, in_memory="never")
    for fold in range(3):
        rows = data.arrays("train", fold)
        found, label, weight = data.class_weights(fold), rows.label.numpy(), rows.weight.double().numpy()
        for sign, own in enumerate((weight >= 0, weight < 0)):
            for power in range(3):
                assert found[power, sign] == pytest.approx(np.bincount(label[own], weight[own] ** power))


def test_target_moments_survive_a_large_mean(tmp_path):
    def shift(split, columns):
        columns["target/z"] += np.float32(1e5)

    data = open_dataset(write_dataset(tmp_path / "data", make_analysis(regression=True), change=shift))
    values = data.arrays("train", 0).targets.double().numpy()
    mean, deviation = data.target_moments(0)
    assert mean == pytest.approx(values.mean(axis=0), rel=1e-12)
    assert deviation == pytest.approx(values.std(axis=0), rel=1e-6)


def test_targets_that_are_not_known_do_not_count(tmp_path, capsys):
    def forget(split, columns):
        columns["target/y"] = np.where(columns["event/features"][:, 0] % 4 == 1, columns["target/z"], np.nan)

    analysis = make_analysis(2, regression=True, target={"regression": {"z": "z", "y": "y"}})
    data = open_dataset(write_dataset(tmp_path / "data", analysis, (1000, 200, 0), change=forget))
    for fold in range(2):
        values = data.arrays("train", fold).targets.double().numpy()
        unknown = np.isnan(values[:, 1]).sum()
        assert unknown > 0.7 * len(values)
        mean, deviation = data.target_moments(fold)
        assert mean == pytest.approx(np.nanmean(values, axis=0)) and deviation == pytest.approx(
            np.nanstd(values, axis=0)
        )
        note = f"note: target 'y' is NaN in {unknown:,} of {len(values):,} training rows"
        assert capsys.readouterr().err.startswith(note)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "regression.z: is NaN in all"), (np.inf, "'z' holds infinite")]
)
def test_targets_that_cannot_be_learnt_are_refused(tmp_path, value, message):
    def spoil(split, columns):
        columns["target/z"][:] = value

    data = open_dataset(write_dataset(tmp_path / "data", make_analysis(regression=True), change=spoil))
    with pytest.raises((DataError, UserError), match=message):
        data.target_moments(0)


def test_normalisation_is_that_of_the_fold(folded, plain):
    with h5py.File(folded / "train.h5") as file:
        stored_centers = file["normalisation/jets/fold_center"][:]
    for fold in range(3):
        center, scale = open_dataset(folded).normalisation(fold)["jets"]
        assert center.tolist() == stored_centers[fold].tolist() and scale.shape == (3,)
    center, _ = open_dataset(plain).normalisation(0)["event"]
    assert center == pytest.approx([499.5, 3], rel=0.1)


def test_another_layout_is_refused_with_the_remedy(tmp_path):
    directory = write_dataset(tmp_path / "data", make_analysis(dataset={"layout": "salt"}))
    with pytest.raises(UserError, match=r"dataset\.layout.*run 'nanoforge convert' again"):
        open_dataset(directory)


def test_unfinished_changed_and_incomplete_datasets_are_refused(tmp_path):
    with pytest.raises(UserError, match="nanoforge convert"):
        open_dataset(tmp_path)
    directory = write_dataset(tmp_path / "data", make_analysis())
    with h5py.File(directory / "shards" / "00.h5", "a") as file:
        file["val/weight"][0] = 9
    with pytest.raises(DataError, match=r"shards/00\.h5.*changed"):
        open_dataset(directory)
    lacking = write_dataset(tmp_path / "lacking", make_analysis(), change=lambda _, c: c.pop("jets/valid"))
    with pytest.raises(DataError, match="jets/valid"):
        open_dataset(lacking)


def test_a_label_without_a_class_is_an_error(tmp_path):
    directory = write_dataset(tmp_path / "data", make_analysis(), edges=(-1.0, 1.0))
    with pytest.raises(DataError, match="label"):
        open_dataset(directory).class_weights(0)


@pytest.mark.parametrize("in_memory", ["always", "never"])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_an_epoch(plain, in_memory, world):
    """1,000 rows: three processes leave one out, another one in every epoch; when evaluating they leave out none."""
    data = open_dataset(plain, in_memory=in_memory)

    def parts(**options):
        return [numbers(data.batches("train", 0, 64, rank=r, world=world, **options)) for r in range(world)]

    left_out = set()
    for epoch in (1, 2, 3, 4):
        training = parts(shuffle=True, seed=5, epoch=epoch)
        assert [len(p) for p in training] == [1000 // world] * world
        seen = np.concatenate(training)
        assert len(set(seen)) == len(seen)
        left_out |= {*range(1000)} - {*seen.astype(int)}
    assert len(left_out) > 1 if 1000 % world else not left_out
    assert np.concatenate(parts()).tolist() == list(range(1000))


def test_pools_draw_from_all_samples_in_proportion(tmp_path):
    toys.write(tmp_path / "a.root", toys.nano_events(900, True))
    toys.write(tmp_path / "b.root", toys.nano_events(300, False))
    samples = {name: {"files": str(tmp_path / f"{name}.root"), "label": name} for name in "ab"}
    inputs = {"event": {"features": ["MET_pt", "event"]}}
    split = {"train": 1, "val": 0, "test": 0}
    analysis = Analysis.model_validate({"name": "toy", "samples": samples, "inputs": inputs, "split": split})
    convert(analysis, tmp_path / "data")
    data = open_dataset(tmp_path / "data", in_memory="never")
    for epoch in (1, 2):
        pools = list(data.batches("train", 0, 128, shuffle=True, epoch=epoch))
        assert [len(p) for p in pools] == [128] * 9 + [48]
        assert all(abs(int((p.label == 0).sum()) - 0.75 * len(p)) <= 1 for p in pools)


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("regression", [False, True])
def test_parquet_holds_what_hdf5_holds(tmp_path, monkeypatch, folds, regression):
    toys.write(tmp_path / "a.root", toys.nano_events(400, True), sumw=800)
    toys.write(tmp_path / "b.root", toys.nano_events(300, False), sumw=600)
    content = {
        "name": "toy",
        "samples": {
            name: {"files": str(tmp_path / f"{name}.root"), "label": name, "xsec": xsec}
            for name, xsec in (("a", 3), ("b", 5))
        },
        "weight": "genWeight",
        "inputs": {
            "event": {"features": ["MET_pt", "event"]},
            "jets": {"collection": "Jet", "where": "pt > 30", "length": 3, "features": ["pt", "eta"]},
        },
        "split": {"train": 0.8, "val": 0.2, "test": 0, "folds": folds},
    }
    if regression:
        content["target"] = {"regression": {"met": "MET_pt", "phi": "MET_phi"}}
    found = []
    for format in ("hdf5", "parquet"):
        analysis = Analysis.model_validate(content | {"dataset": {"format": format}})
        convert(analysis, tmp_path / format)
        found.append(open_dataset(tmp_path / format, in_memory="never", workers=2))
    hdf5, parquet = found
    fold = folds - 1
    for part in ("train", "val", "test"):
        left, right = hdf5.arrays(part, fold), parquet.arrays(part, fold)
        assert hdf5.rows(part, fold) == parquet.rows(part, fold) == len(right)
        assert all(torch.equal(a, b) for a, b in zip(left.tensors(), right.tensors(), strict=True))
        events = torch.cat(
            [b.inputs["event"][:, 1] for b in parquet.batches(part, fold, 50, shuffle=True)] or [left.weight]
        )
        assert sorted(events.tolist()) == sorted(left.inputs["event"][:, 1].tolist())
    for name in hdf5.info.inputs:
        for a, b in zip(hdf5.normalisation(fold)[name], parquet.normalisation(fold)[name]):
            assert a.tolist() == b.tolist()
    if regression:
        assert hdf5.target_moments(fold)[0] == pytest.approx(parquet.target_moments(fold)[0], rel=1e-12)
    for a, b in zip(hdf5.class_weights(fold), parquet.class_weights(fold)):
        assert a == pytest.approx(b, rel=1e-12)


def test_an_error_of_a_reading_thread_reaches_the_caller(plain, monkeypatch):
    def fail(*_):
        raise DataError("the disk is gone")

    data = open_dataset(plain, in_memory="never")
    monkeypatch.setattr(tensors.SplitTable, "read", fail)
    with pytest.raises(DataError, match="the disk is gone"):
        list(data.batches("train", 0, 64, shuffle=True))


def test_a_pass_that_is_given_up_leaves_no_thread(plain):
    before = threading.active_count()
    batches = open_dataset(plain, in_memory="never").batches("train", 0, 10, shuffle=True)
    next(batches)
    batches.close()
    assert wait_for(lambda: threading.active_count() == before)


def wait_for(condition):
    return any(condition() or time.sleep(0.05) for _ in range(200))


def test_on_a_cpu_batches_go_through_as_they_are(plain):
    batches = list(open_dataset(plain).batches("val", 0, 64))
    assert all(a is b for a, b in zip(on_device(batches, torch.device("cpu")), batches, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_batches_arrive_whole(plain):
    batches = list(open_dataset(plain, in_memory="never").batches("val", 0, 64))
    for there, here in zip(on_device(batches, torch.device("cuda")), batches, strict=True):
        assert all(a.is_cuda and torch.equal(a.cpu(), b) for a, b in zip(there.tensors(), here.tensors(), strict=True))
