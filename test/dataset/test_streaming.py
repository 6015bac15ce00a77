"""Training from the input files: the rows of a conversion, each once per epoch, in an order of seed and epoch alone."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch
import toys
from nanoforge.config import Analysis
from nanoforge.dataset import source, streaming
from nanoforge.dataset.batch import Batch
from nanoforge.dataset.open import open_dataset
from nanoforge.errors import DataError, FileError, UserError
from nanoforge.events import reader
from nanoforge.stages.convert import convert

SIZES = {"tt1": (1500, True, 0), "tt2": (700, True, 1500), "dy": (1100, False, 0)}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Many slabs and pools of few rows."""
    monkeypatch.setattr(reader.EventFile.chunks, "__defaults__", (100, None))
    monkeypatch.setattr(source, "POOL_ROWS", 200)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, (count, signal, first) in SIZES.items():
        toys.write(folder / f"{name}.root", toys.nano_events(count, signal, first), sumw=2.0 * count, basket=100)
    return folder


def make(folder, **changes):
    content = {
        "name": "toy",
        "samples": {
            "tt": {"files": str(folder / "tt*.root"), "label": "signal", "xsec": 832},
            "dy": {"files": str(folder / "dy.root"), "label": "background", "xsec": 6000},
        },
        "weight": "genWeight",
        "define": {"ht": "sum(Jet_pt)"},
        "select": {"jets": "num(Jet_pt > 30) >= 2"},
        "inputs": {
            "event": {"features": ["MET_pt", "ht", "event"]},
            "jets": {"collection": "Jet", "where": "pt > 25", "sort": "-pt", "length": 4, "features": ["pt", "eta"]},
        },
    }
    return Analysis.model_validate(content | changes)


REGRESSION = {"target": {"regression": {"met": "MET_pt", "phi": "MET_phi"}}}
UNKNOWN = {"target": {"regression": {"met": "MET_pt", "third": "Jet_pt[2]"}}, "dataset": {"format": "parquet"}}
FOLDS = {"split": {"train": 0.8, "val": 0.2, "test": 0, "folds": 3}}
PER_JET = {
    "row": "Jet",
    "select": {"pt": "Jet_pt > 40"},
    "inputs": {
        "event": {"features": ["pt", "MET_pt", "event"]},
        "muons": {"collection": "Muon", "index": "jetIdx", "length": 2, "features": ["pt", "eta"]},
    },
}


def stream(analysis, folder, in_memory="never", **options):
    folder.mkdir(exist_ok=True)
    data = open_dataset(analysis, in_memory=in_memory, **options)
    data.prepare(folder)
    return data


def ordered(rows):
    """Columns of a batch, (N, everything) f8, in an order of their own."""
    table = torch.cat([t.double().reshape(len(rows), -1) for t in rows.tensors()], dim=1).numpy()
    return table[np.lexsort(table.T)]


def events(batches):
    return [number for batch in batches for number in batch.inputs["event"][:, -1].tolist()]


@pytest.mark.parametrize(
    "changes",
    [{}, FOLDS, REGRESSION, UNKNOWN, PER_JET],
    ids=["plain", "folds", "regression", "unknown targets", "per jet"],
)
def test_rows_and_totals_are_those_of_a_conversion(files, tmp_path, changes):
    analysis = make(files, **changes)
    manifest = convert(analysis, tmp_path / "dataset")
    converted, streamed = open_dataset(tmp_path / "dataset"), stream(analysis, tmp_path / "run", workers=2)
    assert streamed.accounting.as_dict() == manifest.accounting.as_dict()
    assert [s.path for s in streamed.sources] == [s.path for s in manifest.inputs]
    assert (streamed.key, streamed.info) == (converted.key, converted.info)
    for fold in range(analysis.split.folds):
        for part in ("train", "val", "test"):
            assert streamed.rows(part, fold) == converted.rows(part, fold)
            np.testing.assert_array_equal(ordered(streamed.arrays(part, fold)), ordered(converted.arrays(part, fold)))
        for name, (center, scale) in converted.normalisation(fold).items():
            found = streamed.normalisation(fold)[name]
            assert (found[0].tolist(), found[1].tolist()) == (center.tolist(), scale.tolist())
        if analysis.regression:
            for found, expected in zip(streamed.target_moments(fold), converted.target_moments(fold)):
                assert found == pytest.approx(expected, rel=1e-12)
        found, expected = streamed.class_weights(fold), converted.class_weights(fold)
        assert found[0].tolist() == expected[0].tolist()
        # stored weights are float32 after the normalisation, the survey's before
        assert found == pytest.approx(expected, rel=4e-7)


def test_class_weights_without_a_cross_section_are_exact(files, tmp_path):
    samples = {n: {"files": str(files / f"{f}.root"), "label": n} for n, f in (("a", "tt*"), ("b", "dy"))}
    analysis = make(files, samples=samples)
    convert(analysis, tmp_path / "dataset")
    found, expected = stream(analysis, tmp_path / "run"), open_dataset(tmp_path / "dataset")
    assert found.class_weights(0) == pytest.approx(expected.class_weights(0), rel=1e-12)


def test_batches_do_not_depend_on_the_number_of_workers(files, tmp_path):
    def batches(workers):
        data = stream(make(files), tmp_path / "run", workers=workers)
        return [b.tensors() for b in data.batches("train", 0, 64, shuffle=True, seed=3, epoch=2)]

    reference = batches(1)
    for workers in (2, 3):
        found = batches(workers)
        assert len(found) == len(reference)
        assert all(torch.equal(a, b) for x, y in zip(reference, found) for a, b in zip(x, y))


def test_an_epoch_passes_every_row_once_in_an_order_of_its_own(files, tmp_path):
    data = stream(make(files), tmp_path / "run")
    everything = ordered(data.arrays("train", 0))
    orders = []
    for seed, epoch in ((1, 1), (1, 2), (2, 1)):
        batches = list(data.batches("train", 0, 64, shuffle=True, seed=seed, epoch=epoch))
        assert [len(b) for b in batches[:-1]] == [64] * (len(batches) - 1)
        np.testing.assert_array_equal(ordered(Batch.join(batches)), everything)
        orders.append(events(batches))
    assert orders[0] != orders[1] != orders[2] != orders[0]
    again = events(data.batches("train", 0, 64, shuffle=True, seed=1, epoch=1))
    assert again == orders[0]


def test_every_pool_holds_all_samples_in_proportion(files, tmp_path):
    data = stream(make(files), tmp_path / "run")
    counts = data.class_weights(0)[0].sum(axis=0)
    share = counts[0] / counts.sum()
    pool = 192  # three batches of 64 in 200 rows
    labels = torch.cat([b.label for b in data.batches("train", 0, 64, shuffle=True, seed=1)])
    for start in range(0, len(labels), pool):
        part = labels[start : start + pool]
        assert abs(int((part == 0).sum()) - share * len(part)) <= 1


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_an_epoch(files, tmp_path, world):
    data = stream(make(files), tmp_path / "run")
    total = data.rows("train", 0)

    def parts(part="train", **options):
        return [Batch.join(list(data.batches(part, 0, 50, rank=r, world=world, **options))) for r in range(world)]

    training = parts(shuffle=True, seed=1, epoch=1)
    assert [len(p) for p in training] == [total // world] * world
    table = ordered(Batch.join(training))
    assert len(np.unique(table, axis=0)) == len(table)
    counts = data.class_weights(0)[0].sum(axis=0)
    for part in training:
        assert abs(int((part.label == 0).sum()) - counts[0] / counts.sum() * len(part)) <= 2
    np.testing.assert_array_equal(ordered(Batch.join(parts("val"))), ordered(data.arrays("val", 0)))


def test_in_memory_the_files_are_read_once(files, tmp_path, monkeypatch):
    data = stream(make(files), tmp_path / "run", "always")
    first = events(data.batches("train", 0, 64, shuffle=True, epoch=1))
    monkeypatch.setattr(streaming, "open_for", None)
    second = events(data.batches("train", 0, 64, shuffle=True, epoch=2))
    assert sorted(first) == sorted(second) and first != second


def test_little_is_read_ahead(files, tmp_path, monkeypatch):
    read, used = [0], 0
    original = streaming._batch
    monkeypatch.setattr(streaming, "_batch", lambda b, *a: read.append(read[-1] + int(b.bounds[-1])) or original(b, *a))
    data = stream(make(files), tmp_path / "run", workers=2)
    slab = 150  # events, at most, in a chunk that aims at 100
    for batch in data.batches("train", 0, 50, shuffle=True):
        # the pool, the open slab of each sample, and one of each thread; most are training rows
        assert 0.6 * read[-1] - used <= 200 + slab * (2 + 2)
        used += len(batch)


def test_the_survey_is_kept_beside_the_run(files, tmp_path, monkeypatch):
    first = stream(make(files), tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run" / "data").iterdir()) == [
        "dy-00002.json", "repeats.json", "tt-00000.json", "tt-00001.json",
    ]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(streaming, "reading", None)
        again = stream(make(files), tmp_path / "run")
    assert again.accounting.as_dict() == first.accounting.as_dict() and again.notices == first.notices
    assert again.class_weights(0).tolist() == first.class_weights(0).tolist()
    toys.flip_bit(tmp_path / "run" / "data" / "tt-00000.json")
    (tmp_path / "run" / "data" / "tt-00001.json").unlink()
    (tmp_path / "run" / "data" / "tt-00001.json").mkdir()
    again = stream(make(files), tmp_path / "run")
    assert again.class_weights(0).tolist() == first.class_weights(0).tolist()


def test_an_interrupted_survey_goes_on_with_the_files_that_are_left(files, tmp_path, monkeypatch):
    surveyed = []
    original = streaming._survey

    def interrupt(job, *rest):
        if surveyed:
            raise KeyboardInterrupt
        surveyed.append(job.sample)
        original(job, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(streaming, "_survey", interrupt)
        with pytest.raises(KeyboardInterrupt):
            stream(make(files), tmp_path / "run", workers=1)
    monkeypatch.setattr(streaming, "_survey", lambda job, *rest: surveyed.append(job.sample) or original(job, *rest))
    data = stream(make(files), tmp_path / "run", workers=1)
    assert surveyed == ["tt", "tt", "dy"]
    assert data.accounting.events.read == 3300


def test_another_analysis_is_surveyed_anew(files, tmp_path):
    first = stream(make(files), tmp_path / "run")
    other = stream(make(files, select={"met": "MET_pt > 40"}), tmp_path / "run")
    assert other.rows("train", 0) != first.rows("train", 0)
    assert other.identity != first.identity


def copies(files, folder):
    folder.mkdir()
    for path in files.iterdir():
        shutil.copy(path, folder)
    return folder


def test_a_file_that_changes_between_epochs_is_named(files, tmp_path):
    folder = copies(files, tmp_path / "mine")
    data = stream(make(folder), tmp_path / "run")
    assert len(list(data.batches("train", 0, 64, shuffle=True, epoch=1)))
    toys.write(folder / "tt2.root", toys.nano_events(700, True, 9000), sumw=1400)
    with pytest.raises(DataError, match=r"tt2\.root: changed since its rows were counted"):
        list(data.batches("train", 0, 64, shuffle=True, epoch=2))


def test_another_file_with_the_time_of_the_old_one_is_noticed(files, tmp_path):
    folder = copies(files, tmp_path / "mine")
    data = stream(make(folder), tmp_path / "run")
    path = folder / "dy.root"
    before = path.stat()
    content = path.read_bytes()
    toys.write(path, toys.nano_events(1100, False, 0, seed=2), sumw=2200, basket=100)
    padded = path.read_bytes()
    path.write_bytes(padded + bytes(max(0, len(content) - len(padded))))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match=r"dy\.root: changed"):
        list(data.batches("train", 0, 64, shuffle=True))


def test_a_bad_file_stops_or_is_counted_as_lost(files, tmp_path):
    folder = copies(files, tmp_path / "mine")
    whole = (folder / "tt2.root").read_bytes()
    (folder / "tt2.root").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"tt2\.root: truncated"):
        stream(make(folder), tmp_path / "run")
    data = stream(make(folder), tmp_path / "run", skip_bad_files=True)
    assert [lost.file for lost in data.accounting.lost] == [str(folder / "tt2.root")]
    data.accounting.check()
    assert 0 < data.rows("train", 0) == sum(map(len, data.batches("train", 0, 64)))
    with pytest.raises(FileError, match=r"tt2\.root"):  # what was skipped is not good for who does not skip
        stream(make(folder), tmp_path / "run")
    (folder / "tt2.root").write_bytes(whole)
    assert not stream(make(folder), tmp_path / "run", skip_bad_files=True).accounting.lost


def test_mistakes_are_found_before_the_first_epoch(files, tmp_path):
    with pytest.raises(FileError, match=r"tt1\.root: inputs\.event: no column 'MET_Pt'; did you mean 'MET_pt'"):
        stream(make(files, inputs={"event": {"features": ["MET_Pt"]}}), tmp_path / "run")
    with pytest.raises(UserError, match="'xsec' is divided by the sum of genWeight"):
        stream(make(files, weight="1"), tmp_path / "run")
    with pytest.raises(DataError, match="none of the 3300 events passes the cuts"):
        stream(make(files, select={"none": "MET_pt < 0"}), tmp_path / "run")
    with pytest.raises(FileError, match="no such file"):
        samples = make(files).model_dump()["samples"] | {
            "dy": {"files": str(files / "gone.root"), "label": "b", "xsec": 1}
        }
        stream(make(files, samples=samples), tmp_path / "run")


def test_a_text_file_is_read_whole(tmp_path):
    lines = [json.dumps({"x": i, "y": i % 2}) for i in range(1000)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    analysis = Analysis.model_validate(
        {
            "name": "toy",
            "samples": {"all": {"files": str(tmp_path / "rows.jsonl")}},
            "inputs": {"event": {"features": ["x"]}},
            "target": {"classes": {"odd": "y == 1", "even": "y == 0"}},
        }
    )
    data = stream(analysis, tmp_path / "run")
    found = [x for part in ("train", "val", "test") for x in events(data.batches(part, 0, 64, shuffle=True))]
    assert sorted(found) == list(range(1000))
