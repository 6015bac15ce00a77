"""Targets: what is a file of ours, an entry point, or a user's own; and what they have in common."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest
import toys
from directories import ANALYSIS, make
from nanoforge.batch import targets
from nanoforge.batch.events import JobState
from nanoforge.batch.jobdir import JobDir
from nanoforge.batch.status import JobSurvey
from nanoforge.batch.targets import TARGETS, find_target
from nanoforge.errors import UserError
from nanoforge.pipeline.graph import STAGES
from pages import DOC, blocks

DUMMY = '''
"""A target of somebody else's."""

from nanoforge.batch.target import Target


class Dummy(Target):
    """Does each job on the spot, without a log."""

    def submit(self, directory, jobs, resources, overrides=()):
        submission = directory.intend(jobs, resources, overrides)
        for job in (directory.plan.jobs[number] for number in jobs):
            (directory.path / "done").open("a").write(f"{job.part}\\n")
        return directory.conclude(submission, "submitted", 4, None)

    def reconcile(self, directory, submission):
        return directory.conclude(submission, "void", None, None)

    def withdraw(self, directory, submission, jobs):
        """There is no queue."""

    def takes(self, stage):
        return stage.name == "convert"
'''


@pytest.fixture
def project(tmp_path):
    """An analysis file of two toy files, with the module ``mine`` beside it."""
    for i in range(2):
        toys.write(tmp_path / f"tt{i}.root", toys.nano_events(10, first=10 * i))
    text = ANALYSIS.replace("tt0.root, tt1.root, tt2.root, tt3.root", "tt*.root")
    (tmp_path / "analysis.yaml").write_text(text)
    (tmp_path / "mine.py").write_text(DUMMY)
    return tmp_path


def test_our_own_are_the_files_of_the_folder():
    assert TARGETS.names()[:5] == ["condor", "crab", "dask", "local", "slurm"]
    for name in TARGETS.names():
        target = find_target(name)
        assert target.name == name and (type(target).__doc__ or "").strip()
        assert target.takes(STAGES["convert"])


@pytest.fixture
def in_the_folder(tmp_path):
    """A file in the folder of targets, as if it were ours."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "dummy.py").write_text(DUMMY)
    targets.__path__.append(str(folder))
    yield
    targets.__path__.remove(str(folder))
    sys.modules.pop(f"{targets.__name__}.dummy", None)


def check_submission(directory: JobDir, nanoforge, *, name: str) -> None:
    assert (directory.path / "done").read_text().splitlines() == ["part-00000", "part-00001"]
    assert directory.plan.target == name
    answer = nanoforge("status", "jobs")
    assert answer.returncode == 0 and "convert" in answer.stdout, answer.stderr


def test_a_file_in_the_folder_is_a_target(project, in_the_folder, nanoforge):
    assert "dummy" in TARGETS.names()
    answer = nanoforge("submit", "dummy", "analysis.yaml", "--stage", "convert", "--split", 1, "-o", "jobs")
    assert answer.returncode == 0, answer.stderr
    check_submission(JobDir.open(project / "jobs"), nanoforge, name="dummy")
    assert "did you mean 'dummy'" in nanoforge("submit", "dumy", "analysis.yaml").stderr
    assert "dummy" in nanoforge("submit", "--help").stdout


def test_a_class_beside_the_analysis_file_is_a_target(project, nanoforge):
    words = ("submit", "mine:Dummy", "analysis.yaml", "--stage", "convert", "--split", 1, "-o", "jobs")
    answer = nanoforge(*words)
    assert answer.returncode == 0, answer.stderr
    assert "as cluster 4" in answer.stderr
    directory = JobDir.open(project / "jobs")
    check_submission(directory, nanoforge, name=f"{project / 'mine.py'}:Dummy")
    assert "was submitted already" in nanoforge(*words).stderr
    for stage in ("train", "all"):
        answer = nanoforge("submit", "mine:Dummy", "analysis.yaml", "--stage", stage, "--data", "x", "-o", "other")
        assert answer.returncode == 2 and "Traceback" not in answer.stderr, answer.stderr


def test_the_recipe_of_the_page_runs_jobs(project, nanoforge):
    code = next(text for text in blocks(DOC / "extending.md", "python") if "Target" in text)
    (project / "mine.py").write_text(code)
    words = ("--stage", "convert", "--split", 2, "-o", "jobs")
    answer = nanoforge("submit", "mine:AtOnce", "analysis.yaml", *words)
    assert answer.returncode == 0, answer.stderr
    assert [status.state for status in JobSurvey(JobDir.open(project / "jobs")).look()] == [JobState.DONE]


def test_an_installed_package_adds_a_target(project, monkeypatch, nanoforge):
    point = EntryPoint("elsewhere", "mine:Dummy", "nanoforge.targets")
    monkeypatch.setattr("nanoforge.registry.installed_entry_points", lambda: EntryPoints([point]))
    monkeypatch.syspath_prepend(project)
    try:
        assert "elsewhere" in TARGETS.names()
        assert find_target("elsewhere").takes(STAGES["convert"])
    finally:
        sys.modules.pop("mine", None)


def test_what_is_no_target_is_said_in_one_line(project, nanoforge):
    (project / "mine.py").write_text("class NoTarget: pass\n")
    for spec, words in {
        "mine:NoTarget": "derived from",
        "mine:Gone": "has no 'Gone'",
        "gone:X": "cannot import",
    }.items():
        answer = nanoforge("submit", spec, "analysis.yaml", "--stage", "convert")
        assert answer.returncode == 2 and words in answer.stderr and "Traceback" not in answer.stderr, answer.stderr


def test_a_stage_that_a_target_does_not_take_is_refused(project, nanoforge):
    answer = nanoforge("submit", "crab", "analysis.yaml", "--stage", "train", "--data", "ds")
    assert answer.returncode == 2
    assert "submit crab --stage train: jobs there do generate, produce, skim, convert" in answer.stderr


def test_own_code_of_another_is_not_run_unasked(project, nanoforge):
    """A job directory may come from somebody else, and with it the name of a file with code."""
    (project / "theirs.py").write_text(DUMMY + "\nopen('stolen', 'w').close()\n")
    make(project / "jobs", target=f"{project}/theirs.py:Dummy")
    for command in (("status", "jobs"), ("resubmit", "jobs"), ("collect", "jobs", "-o", "out")):
        answer = nanoforge(*command)
        assert answer.returncode == 2 and "--trust" in answer.stderr, answer.stderr
        assert "theirs.py" in answer.stderr
    assert not (project / "stolen").exists()
    answer = nanoforge("collect", "jobs", "-o", "out", "--trust")
    assert answer.returncode == 1 and "4 of 4 jobs are not done" in answer.stderr, answer.stderr
    assert (project / "stolen").exists()
    assert nanoforge("status", "jobs").returncode == 0
    shutil.rmtree(project / "jobs")


def test_targets_without_a_log_of_their_own_say_so(tmp_path):
    directory = make(tmp_path / "jobs")
    without = {name for name in TARGETS.names() if not find_target(name).needs_log(directory)}
    assert without == {"crab", "dask", "local", "slurm"}
    (directory.path / "batch.yaml").write_text("mode: spool\n")
    assert not find_target("condor").needs_log(JobDir.open(directory.path))


def test_only_htcondor_has_dags(project):
    for name in ("crab", "dask", "local", "slurm"):
        with pytest.raises(UserError, match=f"submit {name} --stage all: DAGs are HTCondor's"):
            find_target(name).submit_pipeline(None, project, dry_run=True)
