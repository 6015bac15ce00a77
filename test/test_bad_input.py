"""What a user gets for a mistake or a broken file: one ``error:`` line that names the place, and an exit code."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest
import toys
import uproot
import yaml

Run = Callable[..., subprocess.CompletedProcess]
MISTAKE, FAILURE = 2, 1


def analysis(**changes: Any) -> dict[str, Any]:
    content = {
        "name": "test",
        "samples": {
            "tt": {"files": ["tt1.root", "tt2.root"], "label": "signal"},
            "dy": {"files": "dy.root", "label": "background"},
        },
        "inputs": {
            "event": {"features": ["MET_pt", "nJet"]},
            "jets": {"collection": "Jet", "length": 4, "features": ["pt", "eta"]},
        },
    }
    return {**content, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    toys.write(tmp_path / "tt1.root", toys.nano_events(300, True), sumw=1.0)
    toys.write(tmp_path / "tt2.root", toys.nano_events(300, True, first=300), sumw=1.0)
    toys.write(tmp_path / "dy.root", toys.nano_events(300, False), sumw=1.0)
    write(tmp_path)
    return tmp_path


def write(folder: Path, **changes: Any) -> None:
    (folder / "analysis.yaml").write_text(yaml.safe_dump(analysis(**changes), sort_keys=False))


def check(answer: subprocess.CompletedProcess, code: int, *words: str) -> None:
    lines = answer.stderr.strip().splitlines()
    assert answer.returncode == code, answer.stderr
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and lines[-1] == errors[0], answer.stderr
    assert "Traceback" not in answer.stderr
    for word in words:
        assert word in errors[0], errors[0]


def jets(**changes: Any) -> dict[str, Any]:
    inputs = analysis()["inputs"]
    inputs["jets"].update(changes)
    return {"inputs": inputs}


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"trainning": {}}, MISTAKE, ["analysis.yaml: trainning", "unknown key", "'training'"]),
        (jets(lenght=3), MISTAKE, ["inputs.jets.lenght", "unknown key", "'length'"]),
        (jets(features=["pt", "etaa"]), MISTAKE, ["inputs.jets", "no column 'Jet_etaa'", "'eta'"]),
        ({"select": {"a": "METpt > 3"}}, MISTAKE, ["select.a", "no column 'METpt'", "'MET_pt'"]),
        ({"select": {"a": "Jet_pt > 30"}}, MISTAKE, ["select.a", "one value per Jet", "any()"]),
        ({"select": {"a": "MET_pt"}}, MISTAKE, ["select.a", "not a condition"]),
        ({"select": {"a": "Jet_pt + SV_pt > 3"}}, MISTAKE, ["select.a", "Jet_pt + SV_pt"]),
        ({"select": {"a": "MET_pt >"}}, MISTAKE, ["select.a", "MET_pt >"]),
        ({"select": {"a": "__import__('os').system('x')"}}, MISTAKE, ["select.a"]),
        ({"define": {"x": "Jet_pt"}, "inputs": {"e": {"features": ["x"]}}}, MISTAKE, ["inputs.e", "reduce it"]),
        (jets(collection="Jets"), MISTAKE, ["no collection 'Jets'", "'Jet'"]),
        ({"tree": "Event"}, MISTAKE, ["tt1.root", "no tree 'Event'", "it has Events, Runs"]),
        ({"samples": {"tt": {"files": "none*.root"}}}, MISTAKE, ["samples.tt.files", "no file matches"]),
        (
            {"samples": {"tt": {"files": "list.txt"}}, "target": {"regression": {"m": "MET_pt"}}},
            MISTAKE,
            ["missing.root"],
        ),
        ({"samples": {"tt": {"files": ["tt1.root", "./tt1.root"]}}}, MISTAKE, ["tt1.root", "listed twice"]),
        ({"inputs": {"e": {"features": [{"x": "log(MET_pt - 1e9)"}]}}}, FAILURE, ["inputs.e", "'x' is NaN", "fill"]),
        (
            {"target": {"classes": {"a": "MET_pt < 1e9", "b": "MET_pt > 1e9"}}},
            MISTAKE,
            ["target.classes.b", "no training row"],
        ),
        ({"target": {"classes": {"a": "MET_pt < 20", "b": "MET_pt > 40"}}}, MISTAKE, ["entry", "in no class (a, b)"]),
        ({"target": {"classes": {"a": "MET_pt < 40", "b": "MET_pt > 20"}}}, MISTAKE, ["entry", "classes a and b"]),
        ({"select": {"a": "nJet > 999"}}, FAILURE, ["none of the 900 events passes", "select.a"]),
    ],
)
def test_mistakes_in_the_analysis_file(folder: Path, nanoforge: Run, changes: Any, code: int, words: list[str]) -> None:
    (folder / "list.txt").write_text("tt1.root\nmissing.root\n")
    write(folder, **changes)
    check(nanoforge("convert", "analysis.yaml", "-o", "dataset"), code, *words)
    assert not (folder / "dataset").exists()


def test_mistakes_on_the_command_line(folder: Path, nanoforge: Run) -> None:
    check(nanoforge("convert", "analysys.yaml"), MISTAKE, "analysys.yaml", "no such file")
    check(nanoforge("convert", "analysis.yaml", "inputs.jets.length"), MISTAKE, "key=value")
    check(nanoforge("convert", "analysis.yaml", "inputs.jets.length=many"), MISTAKE, "inputs.jets.length", "integer")
    check(nanoforge("convert", "analysis.yaml", "-o", "tt1.root"), MISTAKE, "tt1.root", "is a file")
    check(nanoforge("convert", "analysis.yaml", "-o", "."), MISTAKE, "did not make")
    check(nanoforge("train", "analysis.yaml", "--data", "nowhere"), MISTAKE, "nowhere", "nanoforge convert")
    check(nanoforge("evaluate", "nowhere"), MISTAKE, "nowhere", "nanoforge train")
    check(nanoforge("predict", "nowhere", "tt1.root"), MISTAKE, "nowhere", "nanoforge train")


def corrupt(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "header":
        path.write_bytes(content[:50])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("this is not a ROOT file\n" * 100)
    elif how == "missing":
        path.unlink()
    elif how == "basket":
        with uproot.open(path) as file:
            key = file["Events"]["Jet_pt"].basket_key(0)
        middle = key.fSeekKey + key.fNbytes // 2
        path.write_bytes(content[:middle] + bytes(40) + content[middle + 40 :])


@pytest.mark.parametrize("how", ["half", "header", "empty", "text", "missing", "basket"])
def test_broken_files(folder: Path, nanoforge: Run, how: str) -> None:
    corrupt(folder / "tt2.root", how)
    answer = nanoforge("convert", "analysis.yaml", "-o", "dataset")
    check(answer, MISTAKE if how == "missing" else FAILURE, "tt2.root")
    assert not (folder / "dataset").exists()
    answer = nanoforge("convert", "analysis.yaml", "-o", "dataset", "--skip-bad-files")
    assert answer.returncode == 0, answer.stderr
    assert "tt2.root" in answer.stdout and "lost" in answer.stdout
    check(nanoforge("convert", "analysis.yaml", "-o", "dataset"), MISTAKE, "--force")
    check(nanoforge("convert", "analysis.yaml", "-o", "other", "-j", "2"), MISTAKE if how == "missing" else FAILURE)


def test_empty_trees(folder: Path, nanoforge: Run) -> None:
    toys.write(folder / "tt2.root", toys.nano_events(0, True))
    answer = nanoforge("convert", "analysis.yaml", "-o", "dataset")
    assert answer.returncode == 0 and "tt2.root holds no events" in answer.stderr
    toys.write(folder / "dy.root", toys.nano_events(0, True))
    check(nanoforge("convert", "analysis.yaml", "-o", "other"), FAILURE, "samples.dy", "hold no events")


def test_copies_of_a_file_are_not_counted_twice(folder: Path, nanoforge: Run) -> None:
    (folder / "tt2.root").write_bytes((folder / "tt1.root").read_bytes())
    check(nanoforge("convert", "analysis.yaml"), MISTAKE, "samples.tt", "tt1.root and", "copies of one file")


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_conversion_leaves_no_half_result(folder: Path, nanoforge: Run, how: int, jobs: int) -> None:
    """A conversion that is stopped in the middle leaves nothing that training accepts, and a rerun completes it."""
    toys.write(folder / "dy.root", toys.nano_events(3000, False), basket=50)
    write(folder, functions=["slow:slow"], define={"x": "slow(MET_pt)"}, select={"x": "x > -1"})
    pause = "import os, time\ndef slow(x):\n    time.sleep(float(os.environ.get('PAUSE', 0)))\n    return x\n"
    (folder / "slow.py").write_text(pause)
    command = [sys.executable, "-m", "nanoforge", "convert", "analysis.yaml", "-o", "dataset", "-j", str(jobs)]
    environment = {**os.environ, "PAUSE": "1.5"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell's "&" had it ignored
    )
    shards = folder / ".dataset.unfinished" / "shards"
    limit = time.monotonic() + 240
    while not list(shards.glob("*.json")) and time.monotonic() < limit:
        time.sleep(0.05)
    assert list(shards.glob("*.json")), "no shard was finished in four minutes"
    os.killpg(process.pid, how)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    # one that comes during a callback of the garbage collector, Python itself reports and forgets
    assert "Traceback" not in re.sub(r"Exception ignored in.*?\nKeyboardInterrupt: *\n", "", errors, flags=re.DOTALL)
    assert not (folder / "dataset").exists()
    check(nanoforge("train", "analysis.yaml", "--data", "dataset"), MISTAKE, "nanoforge convert")
    check(nanoforge("train", "analysis.yaml", "--data", ".dataset.unfinished"), MISTAKE, "nanoforge convert")
    answer = nanoforge("convert", "analysis.yaml", "-o", "dataset", "-j", jobs)
    assert answer.returncode == 0, answer.stderr
    assert "3,600" in answer.stdout


def test_full_disk(folder: Path, nanoforge: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 does not survive a full disk, so that it is noticed before: 16 MB are left free."""
    full = os.statvfs_result((4096, 4096, 10**6, 3000, 3000, 10**6, 10**6, 10**6, 0, 255))
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", lambda path: full)
        check(nanoforge("convert", "analysis.yaml"), FAILURE, "shards/00.h5.part: no space left on the disk")
    assert not (folder / "dataset").exists()
    assert nanoforge("convert", "analysis.yaml").returncode == 0


@pytest.mark.parametrize("layout", ["dataset.format=hdf5", "dataset.layout=salt", "dataset.format=parquet"])
def test_output_that_cannot_be_written(folder: Path, nanoforge: Run, layout: str) -> None:
    """The operating system refuses to let any file grow beyond 10 kB, as a full disk or a quota would."""
    (folder / "dataset").mkdir()
    command = [sys.executable, "-m", "nanoforge", "convert", "analysis.yaml", layout, "-o", "dataset"]
    answer = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    errors = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    # HDF5 may complain in lines of its own when it is unloaded
    assert answer.returncode == FAILURE and len(errors) == 1
    assert "dataset: " in errors[0] and "File too large" in errors[0]
    assert not list((folder / "dataset").iterdir())
    assert nanoforge("convert", "analysis.yaml", layout, "-o", "dataset").returncode == 0
