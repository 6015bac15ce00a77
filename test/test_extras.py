"""What a stage needs of the packages that are installed: no more than its requirements say."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from toys import nano_events, write

ROOT = Path(__file__).resolve().parents[1]
HIDING = """
import importlib.abc, json, sys
hidden = set(json.loads(sys.argv[1]))
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in hidden else find(name, package)
from nanoforge.__main__ import main
for command in json.loads(sys.argv[2]):
    sys.argv = ["nanoforge", *command]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
ANALYSIS = """
name: toy
samples:
  a: {files: a.root, label: a}
  b: {files: b.root, label: b}
inputs: {event: {features: [MET_pt]}}
skim: {keep: ["keep *"]}
model: {type: mlp, hidden: [4]}
training: {epochs: 1}
"""


def installed_with(requirements: list[str]) -> set[str]:
    """The distributions that these requirements bring, by their normal names."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        one = waiting.pop()
        key = re.sub(r"[-_.]+", "-", one.name).lower(), frozenset(one.extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            more = importlib.metadata.requires(one.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for text in more:
            needed = Requirement(text)
            extras = [{"extra": extra} for extra in one.extras] or [{"extra": ""}]
            if needed.marker is None or any(needed.marker.evaluate(extra) for extra in extras):
                waiting.append(needed)
    return {name for name, _ in seen}


def hidden_without(requirements: list[str]) -> list[str]:
    """The importable names of everything that is installed here beside these requirements."""
    kept = installed_with(requirements) | {"nanoforge"}
    names = importlib.metadata.packages_distributions()
    brought = {n for n, owners in names.items() if {re.sub(r"[-_.]+", "-", o).lower() for o in owners} & kept}
    return sorted(set(names) - brought - set(sys.stdlib_module_names))


def lines(path: str) -> list[str]:
    return [line for line in (ROOT / path).read_text().splitlines() if line and not line.startswith("#")]


def run(folder: Path, requirements: list[str], *commands: str | list[str]) -> None:
    hidden = hidden_without(requirements)
    assert {"pytest", "coffea"} <= set(hidden)
    words = [json.dumps(hidden), json.dumps([c.split() if isinstance(c, str) else c for c in commands])]
    done = subprocess.run([sys.executable, "-c", HIDING, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for number, name in enumerate("ab"):
        write(tmp_path / f"{name}.root", nano_events(300, name == "a", first=1000 * number))
    (tmp_path / "analysis.yaml").write_text(ANALYSIS)
    return tmp_path


def test_jobs_on_the_grid_need_what_their_archive_brings(project: Path) -> None:
    """Each does a part; it is where the parts are put together that a gun's spectra are drawn."""
    brought = lines("crab/requirements.txt")
    assert {"torch", "pyarrow", "matplotlib", "scipy"} <= set(hidden_without(brought))
    process = "samples.a={label: a, generator: {process: dy_ll, events: 3, mpi: false}}"
    gun = "samples.b={label: b, generator: {gun: {pdgId: 13, pt: [10, 20]}, events: 3}}"
    generate = ["generate", "analysis.yaml", "--part"]
    run(
        project, brought, [*generate, "a:0-0", "-o", "made-a", process], [*generate, "b:0-0", "-o", "made-b", gun],
        "skim analysis.yaml -o skimmed --part a:0-0", "convert analysis.yaml -o dataset --part a:0-0",
    )  # fmt: skip


def test_the_core_converts_trains_evaluates_predicts_and_exports(project: Path) -> None:
    core = lines("requirements.txt")
    assert {"mlflow", "optuna", "pythia8mc", "distributed"} <= set(hidden_without(core))
    run(
        project, core, "convert analysis.yaml -o dataset", "train analysis.yaml --data dataset -o run", "evaluate run",
        "predict run a.root -o friends", "export run -o export",
    )  # fmt: skip


def test_nothing_is_required_that_nobody_imports() -> None:
    names = importlib.metadata.packages_distributions()
    imports = "\n".join(path.read_text() for path in (ROOT / "python").rglob("*.py"))
    unseen = {"fsspec-xrootd", "xrootd", "aiohttp", "onnxscript"}  # loaded by what is imported
    for line in lines("requirements.txt"):
        name = re.sub(r"[-_.]+", "-", Requirement(line).name).lower()
        modules = [m for m, owners in names.items() if name in {re.sub(r"[-_.]+", "-", o).lower() for o in owners}]
        used = any(re.search(rf"^\s*(import|from) {re.escape(module)}\b", imports, re.MULTILINE) for module in modules)
        assert used or name in unseen, f"{name} is imported nowhere"
