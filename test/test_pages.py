"""The pages for users: their analysis files are right, and their commands exist and do what can be done anywhere."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml

LXPLUS = Path(__file__).resolve().parents[1] / "doc" / "lxplus.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", LXPLUS.read_text(), re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture
def page(tmp_path: Path) -> dict[str, Any]:
    """The analysis file of the page, with files that are there."""
    for name in ("tt1", "tt2", "dy1"):
        (tmp_path / f"{name}.root").touch()
    analysis, grid = (yaml.safe_load(block) for block in blocks("yaml"))
    analysis["samples"]["ttbar"]["files"] = str(tmp_path / "tt*.root")
    analysis["samples"]["dy"]["files"] = str(tmp_path / "dy*.root")
    analysis["batch"]["environment"] = "local"
    return {"condor": analysis, "crab": {**analysis, "batch": {**grid["batch"], "environment": "local"}}}


def test_blocks_of_commands_are_sound_for_a_shell() -> None:
    for block in blocks("bash"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_dry_runs_of_the_page_work_on_any_machine(
    page: dict[str, Any], nanoforge: Callable[..., Any], tmp_path: Path
) -> None:
    dry = [words for words in commands() if words[:2] == ["nanoforge", "submit"] and "--dry-run" in words]
    assert [words[2] for words in dry] == ["condor", "crab"]
    for words in dry:
        (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(page[words[2]], sort_keys=False))
        answer = nanoforge(*words[1:])
        assert answer.returncode == 0, answer.stderr
        folder = words[words.index("-o") + 1]
        assert "not submitted" in nanoforge("status", folder).stdout


def test_every_other_command_of_ours_is_understood(nanoforge: Callable[..., Any]) -> None:
    for words in commands():
        if words[0] == "nanoforge" and "--dry-run" not in words and words[1] != "--version":
            answer = nanoforge(words[1], "--help")
            assert answer.returncode == 0
            options = [word for word in words[2:] if word.startswith("--")]
            assert all(option in answer.stdout for option in options), words


def test_the_targets_of_make_exist() -> None:
    makefile = (LXPLUS.parents[1] / "Makefile").read_text()
    for words in commands():
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words
