"""Environments of jobs: a file of ours, an entry point, or a user's own; and how the analysis file names them."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest
import toys
import yaml
from directories import ANALYSIS
from nanoforge.batch import environments
from nanoforge.batch.jobdir import JobDir
from nanoforge.config.batch import BatchBlock
from nanoforge.config.environments import ENVIRONMENTS
from nanoforge.config.json_schema import block_schema
from nanoforge.config.load import load
from pages import DOC, blocks
from pydantic import ValidationError

RECIPE = next(text for text in blocks(DOC / "extending.md", "python") if "(Environment)" in text)


@pytest.fixture
def project(tmp_path):
    """An analysis file of a toy file, with the recipe of the page as module ``mine`` beside it, and a Python."""
    toys.write(tmp_path / "tt0.root", toys.nano_events(10))
    (tmp_path / "mine.py").write_text(RECIPE)
    (tmp_path / "conda" / "bin").mkdir(parents=True)
    (tmp_path / "conda" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "conda" / "bin" / "python").chmod(0o755)
    return tmp_path


def write_analysis(project, name, **options):
    content = yaml.safe_load(ANALYSIS.replace("tt0.root, tt1.root, tt2.root, tt3.root", "tt0.root"))
    options = {"prefix": str(project / "conda"), **options}
    content["batch"] = {"site": "generic", "environment": {name: options}}
    (project / "analysis.yaml").write_text(yaml.safe_dump(content))


def check_jobs(project, nanoforge, name):
    """A job runs by the Python of the environment, with the NanoForge that submitted it."""
    answer = nanoforge("submit", "condor", "analysis.yaml", "--stage", "convert", "-o", "jobs", "--dry-run")
    assert answer.returncode == 0, answer.stderr
    directory = JobDir.open(project / "jobs")
    assert directory.batch.environment.key_path == f"batch.environment.{name}"
    scratch = project / "scratch"
    scratch.mkdir()
    for path in directory.transferred():
        (scratch / path.name).symlink_to(path)
    script = 'source ./environment.sh; "${python[@]}" -c "import nanoforge; print(nanoforge.__file__)"'
    done = subprocess.run(["bash", "-euc", script], cwd=scratch, capture_output=True, text=True)
    assert done.stdout.strip() == str(scratch / "software" / "nanoforge" / "__init__.py"), done.stderr


def test_our_own_are_the_files_of_the_folder():
    assert ENVIRONMENTS.names()[:4] == ["apptainer", "lcg", "local", "venv"]


@pytest.fixture
def in_the_folder(tmp_path):
    """The recipe as a file in the folder of environments, as if it were ours."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "conda.py").write_text(RECIPE)
    environments.__path__.append(str(folder))
    yield
    environments.__path__.remove(str(folder))
    sys.modules.pop(f"{environments.__name__}.conda", None)


def test_a_file_in_the_folder_is_an_environment(project, in_the_folder, nanoforge):
    write_analysis(project, "conda")
    check_jobs(project, nanoforge, "conda")
    assert "prefix: text [required]" in nanoforge("list", "environments").stdout
    with pytest.raises(ValidationError, match="did you mean 'conda'"):
        BatchBlock.model_validate({"environment": {"konda": {}}})
    (block,) = [one for one in block_schema(BatchBlock)["properties"]["environment"]["anyOf"] if "properties" in one]
    assert {"apptainer", "conda", "lcg", "venv"} == set(block["properties"])


def test_a_class_beside_the_analysis_file_is_an_environment(project, nanoforge):
    write_analysis(project, "mine:Conda")
    check_jobs(project, nanoforge, f"{project / 'mine.py'}:Conda")
    listed = nanoforge("list", "environments", "analysis.yaml").stdout
    assert "mine.py:Conda  A conda environment" in listed and "prefix: text [required]" in listed


def test_an_installed_package_adds_an_environment(project, monkeypatch, nanoforge):
    point = EntryPoint("conda", "mine:Conda", "nanoforge.environments")
    monkeypatch.setattr("nanoforge.registry.installed_entry_points", lambda: EntryPoints([point]))
    monkeypatch.syspath_prepend(project)
    write_analysis(project, "conda")
    try:
        check_jobs(project, nanoforge, "conda")
    finally:
        sys.modules.pop("mine", None)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mine:Conda", {"prefixx": 1}, "batch.environment.*mine.py:Conda.prefixx: unknown key; did you mean 'prefix'"),
        ("mine:Conda", {"prefix": "/gone"}, "batch.environment.*mine.py:Conda.prefix: there is no /gone/bin/python"),
        ("mine:Path", {}, "is not a class derived from nanoforge.config.environment.Environment"),
        ("mine:Gone", {}, "has no 'Gone'"),
        ("gone:Conda", {}, "cannot import 'gone'"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(project, nanoforge, name, options, words):
    write_analysis(project, name, **options)
    answer = nanoforge("submit", "condor", "analysis.yaml", "--stage", "convert", "-o", "jobs")
    assert answer.returncode == 2 and answer.stderr.count("\n") == 1
    assert re.search(words, answer.stderr), answer.stderr
    assert not (project / "jobs").exists()


def test_nothing_of_the_users_own_runs_before_jobs_are_made(project):
    (project / "mine.py").write_text("raise SystemExit('imported')")
    write_analysis(project, "mine:Conda")
    assert load(project / "analysis.yaml").batch.environment.key_path.endswith("mine.py:Conda")


def test_archives_that_a_script_puts_into_the_folder_go_along(project, nanoforge):
    code = RECIPE.replace('        return f"""', '        (folder / "more.tar.gz").touch()\n        return f"""')
    (project / "mine.py").write_text(code)
    write_analysis(project, "mine:Conda")
    answer = nanoforge("submit", "condor", "analysis.yaml", "--stage", "convert", "-o", "jobs", "--dry-run")
    assert answer.returncode == 0, answer.stderr
    names = [path.name for path in JobDir.open(project / "jobs").transferred()]
    assert names[-3:] == ["environment.sh", "more.tar.gz", "nanoforge.tar.gz"]


@pytest.mark.parametrize(
    ("written", "name", "options"),
    [
        ("local", "local", {}),
        ({}, "local", {}),
        ({"lcg": None, "apptainer": None, "venv": None}, "local", {}),  # as manifests have had it
        ({"venv": "/a", "lcg": None}, "venv", {"path": "/a"}),
        ({"lcg": {"view": "LCG_107"}}, "lcg", {"view": "LCG_107"}),
        ("mine:Conda", "mine:Conda", {}),
        ({"mine:Conda": {"prefix": 5}}, "mine:Conda", {"prefix": 5}),
    ],
)
def test_it_is_written_under_its_name(written, name, options):
    block = BatchBlock.model_validate({"environment": written})
    assert block.model_dump(exclude_unset=True) == {"environment": {name: options}}
    assert BatchBlock.model_validate(block.model_dump(mode="json")) == block


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("conda", "there is no environment 'conda': use apptainer, lcg, local, venv or module:Class"),
        ({"venv": "/a", "lcg": {"view": "LCG_107"}}, "give one of apptainer, lcg, local, venv"),
        (5, "give one of"),
        ({"mine:Conda": 5}, "mine:Conda takes a block of its options"),
        ({"lcg": {"view": "LCG_107", "packages": "a b"}}, r"environment\.lcg\.packages"),
        ({"venv": 5}, r"environment\.venv\.path"),
    ],
)
def test_a_mistake_in_the_key_is_refused(written, words):
    with pytest.raises(ValidationError, match=words):
        BatchBlock.model_validate({"environment": written})
