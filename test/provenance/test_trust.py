"""The code that a run of somebody else names is not run unasked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Callable

import pytest
import toys
import yaml
from nanoforge.batch.jobdir import JobDir
from nanoforge.config import load
from nanoforge.errors import UserError
from nanoforge.provenance import Manifest
from nanoforge.provenance.trust import remember, require
from nanoforge.stages.trust import check_runs

PLAIN = {"inputs": {"event": {"features": ["MET_pt"]}}, "batch": {"site": "generic"}}
FUNCTIONS = "import pathlib\npathlib.Path(__file__).with_name('imported').touch()\ndef twice(x):\n    return 2 * x\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody's run: a manifest, and a module that it names."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("nanoforge.provenance.trust._in_this_process", set())
    (tmp_path / "run").mkdir()
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    Manifest("train", {"functions": [f"{tmp_path}/mine.py:twice"]}, []).write(tmp_path / "run", {})
    return tmp_path / "run"


def test_what_was_trained_here_needs_no_word(run: Path, tmp_path: Path) -> None:
    trained, modules = Manifest.read(run, "train"), [str(tmp_path / "mine.py")]
    with pytest.raises(UserError, match=r"run: was not trained by you.*mine\.py: read it, then give --trust"):
        require(run, trained, modules, trust=False)
    require(run, trained, [], trust=False)
    remember(trained, modules)
    require(run, trained, modules, trust=False)
    (tmp_path / "mine.py").write_text(FUNCTIONS + "\n")
    with pytest.raises(UserError, match="--trust"):  # changed since, by whomever
        require(run, trained, modules, trust=False)
    require(run, trained, modules, trust=True)
    require(run, trained, modules, trust=False)
    other = Manifest("train", {**trained.config, "name": "other"}, [])
    with pytest.raises(UserError, match="--trust"):
        require(run, other, modules, trust=False)


def test_jobs_ask_for_what_the_analysis_file_does_not_name(run: Path, tmp_path: Path) -> None:
    text = "{name: x, samples: {a: {files: a.root, label: a}}, inputs: {event: {features: [MET_pt]}}}"
    (tmp_path / "other.yaml").write_text(text)
    analysis = load(tmp_path / "other.yaml")
    with pytest.raises(UserError, match=r"mine\.py: read it, then give --trust"):
        check_runs(analysis, run, trust=False)
    check_runs(analysis, run, trust=True)
    check_runs(analysis, run, trust=False)


def test_modules_are_found_without_importing_them(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=rf"mine \({tmp_path}/mine\.py\), nowhere\.at\.all: read"):
        require(run, Manifest.read(run, "train"), ["nowhere.at.all", "mine"], trust=False)
    assert not (tmp_path / "imported").exists()


def test_a_home_that_cannot_be_written_is_no_failure(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").write_text("no folder")
    remember(Manifest.read(run, "train"), ["mine"])
    require(run, Manifest.read(run, "train"), ["mine"], trust=False)


def test_commands_ask_once(tmp_path: Path, nanoforge: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was trained in another home is somebody else's."""
    for name in ("a", "b"):
        toys.write(tmp_path / f"{name}.root", toys.nano_events(200, name == "a"))
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    content = {
        "name": "x",
        "samples": {n: {"files": f"{n}.root", "label": n} for n in ("a", "b")},
        "functions": ["mine:twice"],
        "inputs": {"event": {"features": [{"double": "twice(MET_pt)"}]}},
        "model": {"type": "mlp", "hidden": [4]},
        "training": {"epochs": 1},
    }
    (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "theirs"))
    assert nanoforge("train", "analysis.yaml", "--data", "analysis.yaml").returncode == 0
    assert nanoforge("predict", "run", "a.root", "-o", "own").returncode == 0
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "mine"))
    monkeypatch.setattr("nanoforge.provenance.trust._in_this_process", set())
    (tmp_path / "imported").unlink()
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    for command in (("predict", "copy", "a.root"), ("evaluate", "copy"), ("export", "copy")):
        answer = nanoforge(*command)
        assert answer.returncode == 2 and "mine.py: read it, then give --trust" in answer.stderr, answer.stderr
    assert not (tmp_path / "imported").exists()
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({key: content[key] for key in ("name", "samples")} | PLAIN))
    submit = ("submit", "condor", "other.yaml", "--stage", "evaluate", "--run", "copy", "--dry-run", "-o", "jobs")
    answer = nanoforge(*submit)
    assert answer.returncode == 2 and "mine.py: read it, then give --trust" in answer.stderr, answer.stderr
    assert nanoforge(*submit, "--trust").returncode == 0
    assert "--trust" in JobDir.open(tmp_path / "jobs").plan.command  # of the jobs, which nobody can ask
    assert nanoforge("predict", "copy", "b.root", "-o", "once").returncode == 0
