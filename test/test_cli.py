"""The command line itself: what it answers to options that are none, and what it says comes next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import toys
import yaml


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    analysis = {
        "name": "tt",
        "samples": {n: {"files": f"{n} events.root", "label": n} for n in ("signal", "background")},
        "inputs": {"event": {"features": ["MET_pt"]}},
    }
    for name in analysis["samples"]:
        toys.write(tmp_path / f"{name} events.root", toys.nano_events(60, name == "signal"))
    (tmp_path / "an analysis.yaml").write_text(yaml.safe_dump(analysis))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (
            "train a.yaml --epochs 5",
            "there is no option --epochs; it is a key of the analysis file: write training.epochs=5",
        ),
        ("train --batch-size=64 a.yaml", "write training.batch_size=64"),
        ("run a.yaml --lr 0.1", "write training.learning_rate=0.1"),
        ("tune a.yaml --seed", "write training.seed=..."),
        (
            "collect jobs -o a --partial",
            "collect: there is no option --partial any more: it is called --skip-bad-files",
        ),
        ("convert a.yaml --parts x", "convert: there is no option --parts any more: it is called --from-parts"),
        ("train a.yaml --parts x", "train: there is no option --parts; there are"),
        ("convert a.yaml --outptu x", "convert: there is no option --outptu; there are --output"),
        ("predict run a.root --epochs 5", "predict: there is no option --epochs; there are --force, --format,"),
    ],
)
def test_an_option_that_is_none_is_answered_with_the_key(nanoforge: Any, words: str, answer: str) -> None:
    found = nanoforge(*words.split())
    assert found.returncode == 2 and found.stderr.startswith("error: ") and answer in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_presets_are_listed_without_an_analysis(nanoforge: Any) -> None:
    found = nanoforge("generate", "--list")
    assert found.returncode == 0 and "ttbar" in found.stdout and "(needs pthat)" in found.stdout


def test_a_misspelt_target_names_the_nearest(folder: Path, nanoforge: Any) -> None:
    for more in ((), ("--stage", "convert")):
        found = nanoforge("submit", "slrum", "an analysis.yaml", *more)
        assert found.returncode == 2 and "submit: there is no target 'slrum'" in found.stderr
        assert "did you mean 'slurm'" in found.stderr
    assert "did you mean 'convert'" in nanoforge("submit", "local", "an analysis.yaml", "--stage", "covnert").stderr


def test_the_next_command_can_be_pasted(folder: Path, nanoforge: Any) -> None:
    def following(*words: str) -> list[str]:
        found = nanoforge(*words)
        assert found.returncode == 0, found.stderr
        line = found.stderr.splitlines()[-1]
        assert line.startswith("next: nanoforge ")
        return shlex.split(line)[2:]

    found = following("convert", "an analysis.yaml", "select.met=MET_pt > 1", "-o", "a dataset")
    assert found == ["train", "an analysis.yaml", "select.met=MET_pt > 1", "--data", "a dataset", "-o", "run"]
    found = following("submit", "local", "an analysis.yaml", "--stage", "convert", "-o", "jobs", "--dry-run")
    assert found == ["submit", "local", "an analysis.yaml", "--stage", "convert", "-o", "jobs"]
