"""Many input files at a low limit of open files: every stage gives what it gives for one file of the same rows.

Hundreds of files are converted once, and the dataset is trained on and evaluated; other stages, layouts and formats
have as many files as show the same: more than a process can open, and than there are shards. ``NANOFORGE_TEST_FILES``
is another number of files, for all of them: .ci/run has 2,000, which takes minutes.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import many
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from nanoforge.batch.plan import BatchJob
from nanoforge.batch.submit import submit
from nanoforge.batch.targets import local
from nanoforge.config import Analysis, load
from nanoforge.dataset import shards
from nanoforge.dataset.open import open_dataset
from nanoforge.errors import DataError
from nanoforge.evaluation import gallery
from nanoforge.provenance import Manifest
from nanoforge.stages import convert as stage
from nanoforge.stages.convert import convert
from nanoforge.stages.evaluate import evaluate
from nanoforge.stages.predict import predict
from nanoforge.stages.skim import skim
from nanoforge.stages.train import train

CHOSEN = os.environ.get("NANOFORGE_TEST_FILES")
MOST, FILES, EVENTS = int(CHOSEN or 400), int(CHOSEN or 100), 50
SPARE = 48
"""So many files a process can open beside what is open before."""
MEGABYTES = 48
"""So much more memory at most than one file of the same rows takes."""
ORIGIN = {"id/file", "id/entry", "file", "entry"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many")
    many.write_many(path, FILES, EVENTS)
    return path


@pytest.fixture(autouse=True, scope="module")
def few_handles() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + SPARE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def peak_of(work: Callable[[], Any]) -> float:
    """Return by how many MB the memory of this process grew at most during some work."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    start = memory("VmRSS")
    work()
    return memory("VmHWM") - start


def memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def analysis(folder: Path, files: str, **changes: Any) -> Analysis:
    content = {
        "name": "many",
        "samples": {"all": {"files": str(folder / files)}},
        "target": {"classes": {"odd": "event % 2 == 1", "even": "event % 2 == 0"}},
        "inputs": {"event": {"features": ["x", "n"]}},
        "model": {"type": "mlp", "hidden": [8]},
        "training": {"epochs": 1, "batch_size": 256},
    }
    return Analysis.model_validate(content | changes)


def both(folder: Path, **changes: Any) -> tuple[Analysis, Analysis]:
    return analysis(folder, "many-*.root", **changes), analysis(folder, "merged.root", **changes)


def stored(dataset: Path, split: str) -> dict[str, np.ndarray]:
    """What plain h5py, or PyArrow, reads."""
    if (dataset / split).is_dir():
        table = pq.read_table(dataset / split)
        return {name: table[name].to_numpy() for name in table.column_names}
    found: dict[str, np.ndarray] = {}
    with h5py.File(dataset / f"{split}.h5") as file:
        file.visititems(lambda name, d: found.update({name: d[...]} if isinstance(d, h5py.Dataset) else {}))
    if "event" in found:  # SALT's
        return {name: found["event"][name] for name in found["event"].dtype.names}
    return found


@dataclass
class Converted:
    """The datasets of many files and of one, and by how many MB the memory grew while each was made."""

    many: Path
    one: Path
    peaks: tuple[float, float]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    folder = tmp_path_factory.mktemp("most")
    many.write_many(folder, MOST, EVENTS)
    contents = both(folder)
    convert(analysis(folder, "many-00000.root"), folder / "first")  # imports and compilations take memory, too
    one = peak_of(lambda: convert(contents[1], folder / "one"))
    return Converted(folder / "many", folder / "one", (peak_of(lambda: convert(contents[0], folder / "many")), one))


def same_rows(one: Path, other: Path) -> None:
    for split in ("train", "val", "test"):
        found, expected = stored(one, split), stored(other, split)
        assert found.keys() == expected.keys()
        for name in found.keys() - ORIGIN:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, err_msg=name)


def test_hundreds_of_files_make_the_dataset_of_one(converted: Converted) -> None:
    same_rows(converted.many, converted.one)
    with h5py.File(converted.many / "train.h5") as file:
        assert len(file["event/features"].virtual_sources()) == 8
        assert set(file["id/file"][:]) == set(range(MOST))
    assert not list((converted.many / "shards").glob("*.json"))
    assert converted.peaks[0] <= converted.peaks[1] + MEGABYTES


@pytest.mark.parametrize("options", [{"layout": "salt"}, {"format": "parquet"}])
def test_other_layouts_are_bounded_and_equal(folder: Path, tmp_path: Path, options: dict[str, str]) -> None:
    for number, content in enumerate(both(folder, dataset=options)):
        convert(content, tmp_path / str(number))
    same_rows(tmp_path / "0", tmp_path / "1")
    assert len(Manifest.read(tmp_path / "0", "convert").outputs) < 3 * 8 + 8
    if "format" in options:
        one, other = (open_dataset(tmp_path / name, in_memory="never").arrays("train", 0) for name in "01")
        assert one.inputs["event"].equal(other.inputs["event"])


def test_many_samples_share_shards(folder: Path, tmp_path: Path) -> None:
    samples = {f"s{i:03d}": {"files": str(folder / f"many-{i:05d}.root")} for i in range(40)}
    dataset, rows = tmp_path / "dataset", 0
    details = convert(analysis(folder, "", samples=samples), dataset).details
    assert len(details["shards"]) == 8
    with h5py.File(dataset / "train.h5") as file:
        sample = file["id/sample"][:]
    for number, counts in enumerate(details["samples"].values()):
        assert (sample[rows : rows + counts["train"]] == number).all()
        rows += counts["train"]
    assert rows == len(sample)


def test_parts_of_single_files_make_the_same_dataset(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_SHARDS", 4)
    content = analysis(folder, "many-0000*.root")
    convert(content, tmp_path / "whole")
    for first, last in [(0, 0), (1, 1), (2, 7), (8, 9)]:
        convert(content, tmp_path / "parts" / str(first), part=f"all:{first}-{last}")
    convert(content, tmp_path / "merged", parts=tmp_path / "parts")
    one, other = (Manifest.read(tmp_path / name, "convert") for name in ("whole", "merged"))
    assert one.outputs == other.outputs and one.details == other.details
    assert len(one.details["shards"]) == 4


def test_jobs_and_collect_make_the_same_dataset(
    folder: Path, tmp_path: Path, nanoforge: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs are done in this process, without the script that starts one."""

    def execute(pool: local.Pool, job: BatchJob) -> int:
        scratch = pool.directory.path / "scratch" / str(job.number)
        scratch.mkdir(parents=True)
        convert(load(pool.directory.analysis), scratch / job.part, part=f"{job.sample}:{job.first}-{job.last}")
        return 0

    monkeypatch.setattr(local.Pool, "_execute", execute)
    contents = both(folder, batch={"site": "generic"})
    directory = submit("local", contents[0], "convert", tmp_path / "jobs", split=FILES // 4)
    assert len(directory.plan.jobs) == 4
    answer = nanoforge("collect", "jobs", "-o", "collected")
    assert answer.returncode == 0, answer.stderr
    convert(contents[1], tmp_path / "one")
    same_rows(tmp_path / "collected", tmp_path / "one")


@pytest.mark.skipif(not CHOSEN, reason="half a minute; the test of hundreds of files is its twin")
def test_case_3_of_inputs_that_went_wrong(shared: Callable[[str], Path], tmp_path: Path) -> None:
    """1,300 files: plain h5py reads what was in them, though it can open few."""
    specification = importlib.util.spec_from_file_location("make_cases", shared("../cases/make.py"))
    assert specification is not None and specification.loader is not None
    cases = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(cases)
    inputs = [cases.events(5, 100_000 + 5 * number, 5.0) for number in range(1300)]
    for number, content in enumerate(inputs):
        cases.write(tmp_path / f"many-{number:05d}.root", *content)
    content = analysis(tmp_path, "many-*.root", inputs={"event": {"features": ["x"]}})
    convert(content, tmp_path / "dataset")
    expected = np.concatenate([columns["x"] for _, columns in inputs])
    seen = 0
    for split in ("train", "val", "test"):
        rows = stored(tmp_path / "dataset", split)
        np.testing.assert_array_equal(rows["event/features"][:, 0], expected[rows["id/event"] - 100_000])
        seen += len(rows["id/event"])
    assert seen == 6500


@pytest.fixture(scope="module")
def runs(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What is trained on the datasets of many files and of one."""
    found = []
    contents = both(converted.many.parent, training={"epochs": 1, "batch_size": 4096})
    for content, dataset in zip(contents, (converted.many, converted.one)):
        found.append(tmp_path_factory.mktemp("runs") / "run")
        train(content, dataset, found[-1])
    return found


def test_training_and_evaluation_are_the_same(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "plots", lambda *_: [])  # which take longest, and are tested elsewhere
    many_files, one_file = (list(numbers(evaluate(run)["test"])) for run in runs)
    assert many_files and many_files == pytest.approx(one_file, rel=1e-4)


def numbers(content: Any) -> Iterator[float]:
    """Yield all numbers of plain JSON content."""
    if isinstance(content, (dict, list)):
        for value in content.values() if isinstance(content, dict) else content:
            yield from numbers(value)
    elif isinstance(content, (int, float)):
        yield content


def test_friends_hold_the_same_scores(folder: Path, runs: list[Path], tmp_path: Path) -> None:
    found = []
    for name in ("many-*", "merged"):
        predict(runs[0], [str(folder / f"{name}.root")], tmp_path / name)
        trees = [uproot.open(path)["Events"].arrays(library="np") for path in sorted((tmp_path / name).glob("*.root"))]
        found.append({column: np.concatenate([tree[column] for tree in trees]) for column in trees[0]})
    for column, values in found[0].items():
        np.testing.assert_allclose(values, found[1][column], rtol=1e-4, err_msg=column)


def test_training_from_the_files_sees_the_same_rows(folder: Path, tmp_path: Path) -> None:
    rows = []
    for number, content in enumerate(both(folder)):
        data = open_dataset(content, in_memory="never")
        (tmp_path / str(number)).mkdir()
        data.prepare(tmp_path / str(number))
        batches = list(data.batches("train", 0, 256, shuffle=True))
        x = np.concatenate([batch.inputs["event"].numpy() for batch in batches])
        rows.append(x[np.lexsort(x.T)])
    np.testing.assert_array_equal(*rows)


def test_a_skim_keeps_the_same_events(folder: Path, tmp_path: Path) -> None:
    events = []
    for number, content in enumerate(both(folder, select={"some": "n > 3"})):
        skim(content, tmp_path / str(number))
        paths = sorted((tmp_path / str(number)).rglob("*.root"))
        events.append(np.concatenate([uproot.open(path)["Events"]["event"].array(library="np") for path in paths]))
    np.testing.assert_array_equal(*events)


def test_of_a_file_that_breaks_amid_its_rows_none_stay(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_SHARDS", 1)
    good = [str(folder / f"many-{number:05d}.root") for number in (0, 1)]
    bad = tmp_path / "bad.root"
    write_broken(bad)
    content = analysis(folder, "", samples={"all": {"files": [good[0], str(bad), good[1]]}})
    with pytest.raises(DataError, match=r"bad.root: cannot be read after entry 16384"):
        convert(content, tmp_path / "stops")
    accounting = convert(content, tmp_path / "with", skip_bad_files=True).accounting
    convert(analysis(folder, "", samples={"all": {"files": good}}), tmp_path / "without")
    same_rows(tmp_path / "with", tmp_path / "without")
    assert accounting is not None and [lost.entries for lost in accounting.lost] == [20_384]
    assert (accounting.events.used, accounting.events.read) == (2 * EVENTS, 2 * EVENTS + 20_384)


def write_broken(path: Path) -> None:
    """Write a file of two chunks, and flip bytes of the last basket of x."""
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", {name: values.dtype for name, values in many.columns(0, 1).items()})
        tree.extend(many.columns(10**6, 16_384))
        tree.extend(many.columns(2 * 10**6, 4_000))
    with uproot.open(path) as file:
        branch = file["Events"]["x"]
        middle = int(branch.member("fBasketSeek")[1] + branch.member("fBasketBytes")[1] // 2)
    content = bytearray(path.read_bytes())
    content[middle : middle + 8] = bytes(255 - byte for byte in content[middle : middle + 8])
    path.write_bytes(content)


MOMENTS = [
    (stage, "_convert_file", 3),
    (stage, "_convert_file", 4),
    (shards, "output_record", 1),
    (shards, "write_atomically", 1),
    (stage, "assemble", 1),
]
"""A function after whose so manieth call the conversion is killed; each time, some more of it is done before."""


def test_a_conversion_killed_again_and_again_gives_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_SHARDS", 4)
    content, output = analysis(folder, "many-0000*.root"), tmp_path / "killed"
    for module, name, call in MOMENTS:
        child = multiprocessing.get_context("fork").Process(
            target=convert_until, args=(content, output, module, name, call)
        )
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL and not output.exists()
    assert convert(content, output).outputs == convert(content, tmp_path / "whole").outputs


def convert_until(content: Analysis, output: Path, module: Any, name: str, call: int) -> None:
    """Convert, and die without a last word after a call of a function."""
    real, calls = getattr(module, name), []

    def last(*arguments: Any, **options: Any) -> Any:
        result = real(*arguments, **options)
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, name, last)
    convert(content, output)
