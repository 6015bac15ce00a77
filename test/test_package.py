"""One repository, two homes: pip's ``nanoforge`` and CMSSW's ``PhysicsTools.NanoForge``."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import nanoforge
import pytest
from nanoforge.cli import COMMANDS, app
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "python").rglob("*.py"))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The Python tree of a CMSSW area as scram makes it: packages with ``__init__.py`` and links to the sources."""
    package = tmp_path / "python" / "PhysicsTools"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "NanoForge").symlink_to(ROOT / "python", target_is_directory=True)
    return tmp_path / "python"


def run(release: Path, *arguments: str) -> subprocess.CompletedProcess:
    stubs = ROOT / "test" / "cmssw" / "release"  # of FWCore, which a release has
    environment = {**os.environ, "PYTHONPATH": f"{release}:{stubs}", "COLUMNS": "100"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=release)


def test_everything_imports_as_a_cmssw_package(release: Path) -> None:
    modules = [".".join(p.relative_to(ROOT / "python").with_suffix("").parts) for p in SOURCES]
    modules = [m.removesuffix(".__init__") for m in modules if not m.endswith("__main__")]
    code = (
        "import importlib, sys\n"
        f"for m in {modules!r}:\n"
        "    importlib.import_module('PhysicsTools.NanoForge' + ('' if m == '__init__' else '.' + m))\n"
        "assert not [m for m in sys.modules if m.split('.')[0] == 'nanoforge'], 'an import of our own is absolute'\n"
    )
    answer = run(release, "-c", code)
    assert answer.returncode == 0, answer.stderr


def test_the_command_runs_as_a_cmssw_package(release: Path) -> None:
    answer = run(release, "-m", "PhysicsTools.NanoForge", "--version")
    assert answer.stdout.strip() == f"nanoforge {nanoforge.__version__}", answer.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_sources_are_python_3_9(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 9))


ROOMS = [
    "cli",
    "listing",
    "workflow",
    "api",
    "stages",
    "batch",
    "monitoring",
    "histograms",
    "tuning",
    "training",
    "evaluation",
    "balance",
    "export",
    "serving",
    "distributions",
    "models",
    "dataset",
]
ROOMS += [
    "catalogue",
    "production",
    "pipeline",
    "simulation",
    "cmssw",
    "events",
    "parallel",
    "console",
    "provenance",
    "config",
    "registry",
]
ROOMS += ["errors"]
"""What stands before another room may import it, and not the other way round."""


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a module imports, wherever in it, for types too: ``events.open``, say."""
    parts = path.relative_to(ROOT / "python").with_suffix("").parts
    package = parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + tuple(node.module.split(".") if node.module else ())
            for alias in node.names:
                below = (*base, alias.name)
                is_module = (ROOT / "python").joinpath(*below).with_suffix(".py").is_file()
                yield ".".join(below if is_module else base)


def test_rooms_import_one_way() -> None:
    for path in SOURCES:
        room = path.relative_to(ROOT / "python").with_suffix("").parts[0]
        for name in imports(path):
            other = name.split(".")[0]
            if room in ROOMS and other in ROOMS:
                assert ROOMS.index(room) <= ROOMS.index(other), f"{path} imports {name}"
                assert room != "stages" or other != "stages", f"{path}: stages meet in files"


def test_no_modules_import_each_other() -> None:
    edges = {}
    for path in SOURCES:
        parts = path.relative_to(ROOT / "python").with_suffix("").parts
        edges[".".join(parts).removesuffix(".__init__")] = set(imports(path))
    try:
        list(TopologicalSorter(edges).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_help_needs_none_of_the_heavy_packages() -> None:
    heavy = {"torch", "awkward", "uproot", "numpy", "h5py", "pyarrow", "mlflow", "matplotlib", "pydantic", "omegaconf"}
    code = (
        "import sys; sys.argv = ['nanoforge', '--help']\n"
        "import nanoforge.cli\n"
        "try:\n    nanoforge.cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('loaded', sorted({heavy!r} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.splitlines()[-1] == "loaded []", answer.stdout + answer.stderr


def test_help_has_an_example() -> None:
    for command in COMMANDS:
        answer = CliRunner().invoke(app, [command, "--help"])
        assert f"Example: nanoforge {command}" in " ".join(answer.stdout.split()), command


def test_what_is_mistyped_is_told_before_a_stage_is_imported(tmp_path: Path) -> None:
    (tmp_path / "typo.yaml").write_text("name: a\nsampels: {}\n")
    (tmp_path / "good.yaml").write_text(
        "name: a\nsamples: {a: {files: a.root, label: a}}\ninputs: {e: {features: [x]}}\n"
    )
    commands = [[c, "typo.yaml"] for c in ("generate", "skim", "convert", "train", "tune", "run")]
    commands += [["train", "good.yaml", "--data", data] for data in ("gone", "typo.yaml")]
    commands += [["train", "good.yaml", "training.epoch=1"], ["tune", "good.yaml", "--data", "gone"]]
    commands += [["submit", "local", "typo.yaml"], ["cmsrun", "typo.yaml", "--sample", "a", "--step", "sim"]]
    commands += [
        ["evaluate", "gone"],
        ["evaluate", "gone", "--data", "typo.yaml"],
        ["predict", "gone", "a.root"],
        ["export", "gone"],
    ]
    code = (
        "import sys, nanoforge.cli\n"
        f"for command in {commands!r}:\n"
        "    sys.argv = ['nanoforge', *command]\n"
        "    try:\n        nanoforge.cli.main()\n    except SystemExit as end:\n        assert end.code == 2, command\n"
        "heavy = {'torch', 'lightning', 'numpy', 'awkward', 'uproot', 'pyarrow', 'numba', 'optuna', 'mlflow'}\n"
        "print('loaded', sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert answer.stdout.splitlines() == ["loaded []"], answer.stdout + answer.stderr
    assert len(answer.stderr.splitlines()) == len(commands)


def test_the_wheel_holds_all_modules_the_batch_templates_and_the_plugins(tmp_path: Path) -> None:
    for name in ("python", "condor", "crab", "plugins"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    (wheel,) = (tmp_path / "out").glob("nanoforge-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"nanoforge/{p.relative_to(ROOT / 'python')}" for p in SOURCES} <= names
    assert {"nanoforge/condor/README.md", "nanoforge/crab/README.md", "nanoforge/plugins/GenDecayFilter.cc"} <= names


def test_make_names_a_python_that_is_too_old_in_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" != --version ] || echo Python 3.9.18\n')
    old.chmod(0o755)
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    for target in ("demo", "test", "install"):
        command = ["make", "-s", "-f", ROOT / "Makefile", target, f"PYTHON={old}"]
        answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert answer.returncode == 2 and not answer.stdout
        assert "is Python 3.9.18, and NanoForge needs 3.10 or newer" in answer.stderr and "PYTHON=" in answer.stderr
        assert answer.stderr.count("\n") == 1 and not (tmp_path / ".venv").exists()


def test_files_of_tests_have_names_of_their_own() -> None:
    """In two folders without ``__init__.py``, pytest takes one for the other, and collects neither."""
    names = Counter(path.name for path in (ROOT / "test").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_build_files_are_well_formed() -> None:
    for path in ROOT.rglob("BuildFile.xml"):
        # scram's files have no root element
        uses = ET.fromstring(f"<all>{path.read_text()}</all>").iter("use")
        assert all(use.get("name") for use in uses)


def test_versions_agree() -> None:
    answer = subprocess.run([sys.executable, "-m", "nanoforge", "--version"], capture_output=True, text=True)
    assert answer.stdout.strip() == f"nanoforge {nanoforge.__version__}"


def test_no_two_classes_have_one_name() -> None:
    owners: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                owners.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert not {name: paths for name, paths in owners.items() if len(paths) > 1}


def test_names_are_ordinary_words() -> None:
    text = (ROOT / "doc" / "design.md").read_text()
    avoided = set(re.findall(r"\w+", text.partition("<!-- avoid -->")[2].partition("<!-- /avoid -->")[0]))
    assert {"found", "place", "known"} < avoided
    names: list[str] = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.append(node.name)
            elif isinstance(node, ast.arg):
                names.append(node.arg)
            elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
                names.append(node.id if isinstance(node, ast.Name) else node.attr)
    vague = [name for name in names if avoided & set(name.split("_"))]
    assert len(vague) < 0.01 * len(names), sorted(set(vague))
