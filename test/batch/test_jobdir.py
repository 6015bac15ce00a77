from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toys
import yaml
from nanoforge.batch.jobdir import JobDir, as_yaml, create
from nanoforge.batch.make import make
from nanoforge.batch.targets import find_target
from nanoforge.config import load
from nanoforge.config.generator import Generator
from nanoforge.config.schema import Analysis
from nanoforge.errors import DataError, UserError
from nanoforge.events.files import listed


def write(folder: Path, **changes: object) -> Path:
    content = {
        "name": "toy",
        "samples": {"tt": {"files": "tt*.root", "label": "signal"}, "dy": {"files": "list.txt", "label": "background"}},
        "inputs": {"event": {"features": ["MET_pt"]}},
        "batch": {"site": "generic", "split": 1},
    }
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return path


@pytest.fixture
def toy(tmp_path: Path) -> Analysis:
    for name in ("tt0", "tt1", "dy0"):
        toys.write(tmp_path / f"{name}.root", toys.nano_events(50, name != "dy0"))
    (tmp_path / "list.txt").write_text("dy0.root  # the only one\n")
    return load(write(tmp_path))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_frozen_analysis_lists_its_files_and_means_the_same(toy: Analysis, tmp_path: Path):
    frozen = listed(toy)
    assert frozen.samples["tt"].files == [str(tmp_path / "tt0.root"), str(tmp_path / "tt1.root")]
    assert frozen.samples["dy"].files == [str(tmp_path / "dy0.root")]
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "analysis.yaml"
    path.write_text(as_yaml(frozen))
    again = load(path)
    assert again.dataset_part() == frozen.dataset_part()
    assert again.model_fields_set == frozen.model_fields_set - {"batch"}


def test_text_that_looks_like_an_interpolation_stays_as_it_is(toy: Analysis, tmp_path: Path):
    changed = toy.model_copy(update={"define": {"x": "${y}"}})
    (tmp_path / "frozen.yaml").write_text(as_yaml(changed))
    assert load(tmp_path / "frozen.yaml").define == {"x": "${y}"}


def test_the_directory_is_complete_and_kept_once_something_was_submitted(toy: Analysis, tmp_path: Path):
    place = tmp_path / "jobs"
    made = make(find_target("condor"), listed(toy), "convert", place)
    assert {"analysis.yaml", "batch.yaml", "plan.json", "job.sh", "environment.sh"} <= set(files(place))
    assert os.access(place / "job.sh", os.X_OK)
    assert [job.units for job in made.plan.jobs] == ["tt:0-0", "tt:1-1", "dy:0-0"]
    more = toy.model_copy(update={"batch": toy.batch.model_copy(update={"memory": 3000})})
    made = make(find_target("condor"), listed(more), "convert", place)
    assert made.plan.resources.memory == 3000
    made.intend([0, 1, 2], made.plan.resources)
    before = files(place)
    again = make(find_target("condor"), listed(more), "convert", place)
    assert again.plan.run_id == made.plan.run_id
    assert files(place) == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".jobs")]


def test_other_work_does_not_get_into_the_directory(toy: Analysis, tmp_path: Path):
    directory = make(find_target("condor"), listed(toy), "convert", tmp_path / "jobs")
    directory.intend([0, 1, 2], directory.plan.resources)
    with pytest.raises(UserError, match="stage differs"):
        make(find_target("condor"), listed(toy), "skim", tmp_path / "jobs")
    with pytest.raises(UserError, match="jobs differs"):
        make(find_target("condor"), listed(toy), "convert", tmp_path / "jobs", split=2)
    with pytest.raises(UserError, match="analysis_sha256 differs"):
        make(find_target("condor"), listed(toy.model_copy(update={"tree": "Other"})), "convert", tmp_path / "jobs")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UserError, match="did not make"):
        make(find_target("condor"), listed(toy), "convert", tmp_path / "mine")


def test_jobs_see_their_files_or_submission_is_refused(toy: Analysis, tmp_path: Path):
    far = toy.model_copy(update={"batch": toy.batch.model_copy(update={"shared": ["/afs"]})})
    with pytest.raises(UserError, match="do not see"):
        make(find_target("condor"), listed(far), "convert", tmp_path / "jobs")
    assert not (tmp_path / "jobs").exists()


def test_the_journal_survives_a_torn_line(toy: Analysis, tmp_path: Path):
    directory = make(find_target("condor"), listed(toy), "convert", tmp_path / "jobs")
    first = directory.intend([0, 1, 2], directory.plan.resources)
    assert (first.attempt, first.state, first.jobs) == (0, "intent", (0, 1, 2))
    with (directory.path / "submissions.jsonl").open("a") as file:
        file.write('{"attempt": 0, "state": "sub')  # killed while writing
    assert [s.state for s in directory.submissions()] == ["intent"]
    done = directory.conclude(first, "submitted", 17, "schedd")
    second = directory.intend([2], directory.plan.resources, ["training.epochs=3"])
    assert (done.cluster, done.jobs) == (17, (0, 1, 2))
    assert [(s.attempt, s.state, s.cluster) for s in JobDir.open(directory.path).submissions()] == [
        (0, "submitted", 17),
        (1, "intent", None),
    ]
    assert second.overrides == ("training.epochs=3",)


@pytest.mark.parametrize(
    "old, new", [("", "[1]\n"), ('"cluster": 17', '"cluster": 13'), ("intent", "intens"), ("}", "")]
)
def test_a_damaged_journal_is_named_with_what_helps(toy: Analysis, tmp_path: Path, old: str, new: str):
    directory = make(find_target("condor"), listed(toy), "convert", tmp_path / "jobs")
    directory.conclude(directory.intend([0, 1, 2], directory.plan.resources), "submitted", 17, "schedd")
    journal = directory.path / "submissions.jsonl"
    journal.write_text(journal.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=r"jsonl: is damaged .* remove \S+jsonl, and 'nanoforge resubmit' submits"):
        directory.submissions()
    journal.unlink()
    assert directory.submissions() == []
    (directory.path / "parts" / "part-00000").mkdir()
    with pytest.raises(DataError, match=r"holds parts, but no submissions.jsonl: 'nanoforge resubmit"):
        create(directory.path, listed(toy), directory.plan)


def test_other_damage_of_a_job_directory_is_named(toy: Analysis, tmp_path: Path):
    directory = make(find_target("condor"), listed(toy), "convert", tmp_path / "jobs")
    (directory.path / "batch.yaml").write_text("site: [")
    with pytest.raises(DataError, match=r"batch.yaml: cannot be read .*: write the block 'batch'"):
        _ = directory.batch
    directory.check_analysis()
    directory.analysis.write_bytes(directory.analysis.read_bytes() + b"\xff")
    with pytest.raises(DataError, match=r"analysis.yaml: cannot be read .*give 'nanoforge submit' another -o") as error:
        directory.check_analysis()
    command = re.search("'(cp .*?)' puts it right", str(error.value))
    assert command is not None
    subprocess.run(command[1].split(), check=True)
    directory.check_analysis()
    (directory.path / ".job.sh.submitted").write_text("no copy that could help")
    directory.check_script()
    script = directory.path / "job.sh"
    content = script.read_bytes()
    for damaged in (bytes(16) + content[16:], content + b"\xff"):
        script.write_bytes(damaged)
        with pytest.raises(
            DataError, match=r"job.sh: (changed since it was submitted|cannot be read .*): give 'nanoforge submit'"
        ):
            directory.check_script()
    plan = directory.path / "plan.json"
    plan.write_text(plan.read_text().replace('"first":0', '"first":1', 1))
    with pytest.raises(DataError, match=r"plan.json: .* or damaged \(its content and its checksum disagree\)"):
        JobDir.open(directory.path)


def test_the_job_directory_of_somebody_else(toy: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    directory = make(find_target("condor"), listed(toy), "convert", tmp_path / "jobs")

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:  # for root, nothing is forbidden
        patch.setattr(Path, "open", refuse)
        with pytest.raises(UserError, match=r"jobs: you may not write to it \(it belongs to \w+\): .*another -o"):
            directory.lock().__enter__()
        patch.setattr(Path, "exists", refuse)
        with pytest.raises(UserError, match=r"jobs: you may not look into it"):
            JobDir.open(directory.path)


def test_a_file_of_a_generator_must_be_there(toy: Analysis, tmp_path: Path):
    lines = ["SUSY:all = on", f"SLHA:file = {tmp_path / 'none.slha'}"]
    sample = toy.samples["tt"].model_copy(update={"generator": Generator(settings=lines)})
    with pytest.raises(UserError, match=r"none.slha: a generator names this file, and it is not there"):
        make(find_target("condor"), toy.model_copy(update={"samples": {"tt": sample}}), "generate", tmp_path / "jobs")


def test_a_child_holds_the_lock_of_a_parent_that_was_killed(toy: Analysis, tmp_path: Path):
    directory = make(find_target("condor"), listed(toy), "convert", tmp_path / "jobs")
    parent = subprocess.Popen(
        [
            sys.executable, "-c",
            "import subprocess, sys\nfrom pathlib import Path\nfrom nanoforge.batch.jobdir import JobDir, create\n"
            f"directory = JobDir.open(Path({str(directory.path)!r}))\n"
            "with directory.lock() as lock:\n"
            "    child = subprocess.Popen(['sleep', '2'], pass_fds=(lock,), stdout=subprocess.DEVNULL)\n"
            "    print('locked', flush=True)\n    child.wait()\n",
        ],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"locked\n"
    begun = time.monotonic()
    parent.kill()
    parent.wait()
    with directory.lock():
        assert time.monotonic() - begun > 1


def test_overrides_and_redirectors_reach_the_jobs(toy: Analysis, tmp_path: Path):
    directory = make(find_target("condor"), listed(toy), "convert", tmp_path / "jobs")
    words = ["training.epochs=3", "redirectors=[root://b/,root://a/]"]
    job = directory.plan.jobs[2]
    assert directory.words(job, words) == [
        "part-00002", "convert", "analysis.yaml", "training.epochs=3", "--part", "dy:0-0", "-o", "part-00002",
    ]  # fmt: skip
    assert directory.environment(directory.plan.resources, words) == {"NANOFORGE_REDIRECTORS": "root://b/ root://a/"}
