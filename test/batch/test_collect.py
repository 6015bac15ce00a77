"""Merging: at full coverage only, of parts that verify, and never of half a truth."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import toys
from compare import assert_same_files
from directories import log, make, submit, write_part
from nanoforge.batch import collect as module
from nanoforge.batch.events import JobState
from nanoforge.batch.jobdir import DAG, JobDir
from nanoforge.batch.outputs import store
from nanoforge.batch.status import JobSurvey
from nanoforge.errors import DataError, UserError

CONFIG = """
name: toy
samples: {tt: {files: [%s], label: signal}}
inputs: {event: {features: [MET_pt]}}
target: {regression: {ht: MET_pt}}
"""


GIVE = {"give": lambda words: None}


def collect(*arguments, **keywords):
    module.collect(*arguments, **keywords, **GIVE)


@pytest.fixture
def merged(monkeypatch):
    """The parts that the stage's command is given, and whether it is to go on without others."""
    calls: list[tuple[list[str], bool]] = []

    def give(words):
        work = Path(words[words.index("--from-parts") + 1])
        parts = sorted(p.name for p in work.iterdir() if (p / "manifest.json").exists())
        calls.append((parts, "--skip-bad-files" in words))

    monkeypatch.setitem(GIVE, "give", give)
    monkeypatch.setattr(module, "_WAITS", ())
    return calls


@pytest.fixture
def directory(tmp_path):
    directory = make(tmp_path / "jobs")
    submit(directory)
    for number in range(4):
        write_part(directory, number)
    return directory


def lose(directory: JobDir, number: int) -> None:
    (Path(directory.part(number)) / "manifest.json").unlink()
    log(directory).executing(number)
    log(directory).ended(number, 1, again=False)


def test_whole_coverage_is_merged(directory, merged, tmp_path):
    collect(directory.path, tmp_path / "out")
    assert merged == [([f"part-0000{i}" for i in range(4)], False)]
    assert not (directory.path / ".collect").exists()


def test_outputs_are_merged_though_their_log_is_lost(directory, merged, tmp_path):
    directory.event_log(0).unlink()
    assert all(s.state is JobState.DONE and s.process is None for s in JobSurvey(directory).look())
    collect(directory.path, tmp_path / "out")
    assert merged == [([f"part-0000{i}" for i in range(4)], False)]


def test_missing_jobs_are_refused_and_counted(directory, merged, tmp_path):
    lose(directory, 1)
    with pytest.raises(DataError, match=r"1 of 4 jobs are not done \(1 failed\): job 1; .*--skip-bad-files"):
        collect(directory.path, tmp_path / "out")
    assert merged == []


def test_skip_bad_filesnames_what_is_left_out(directory, merged, tmp_path, capsys):
    lose(directory, 1)
    collect(directory.path, tmp_path / "out", skip_bad_files=True)
    assert merged == [(["part-00000", "part-00002", "part-00003"], True)]
    assert "job 1 (tt:1-1), 100 events: failed exit code 1" in capsys.readouterr().err


def test_nothing_done_is_no_result(tmp_path, merged):
    directory = make(tmp_path / "jobs")
    with pytest.raises(DataError, match="4 of 4"):
        collect(directory.path, tmp_path / "out", skip_bad_files=True)
    assert merged == []


def test_part_that_may_be_written_again_is_not_read(directory, merged, tmp_path):
    submit(directory, [2])
    log(directory, 1).submitted(0, 2)
    log(directory, 1).executing(0)
    with pytest.raises(DataError, match="job 2: the output is whole, but another try is in the queue"):
        collect(directory.path, tmp_path / "out")


def test_part_that_just_arrives_is_not_taken(directory, merged, tmp_path):
    (Path(directory.part(3)) / "shards" / "tt-00003.h5").write_bytes(b"ev")
    collect(directory.path, tmp_path / "out", skip_bad_files=True)
    assert merged == [(["part-00000", "part-00001", "part-00002"], True)]


def test_two_do_not_merge_the_same_parts_at_once(directory, merged, tmp_path):
    with module._working_folder(directory), pytest.raises(DataError, match="another 'nanoforge collect'"):
        collect(directory.path, tmp_path / "out")
    collect(directory.path, tmp_path / "out")
    assert len(merged) == 1


def test_analysis_that_was_changed_after_its_jobs_is_not_merged_with(directory, merged, tmp_path):
    directory.analysis.write_text(directory.analysis.read_text().replace("MET_pt", "MET_qt"))
    with pytest.raises(DataError, match=r"analysis.yaml: changed since it was submitted"):
        collect(directory.path, tmp_path / "out")
    assert merged == []


def test_trust_that_was_given_to_submit_holds_for_the_merge(tmp_path, monkeypatch):
    words = []
    monkeypatch.setitem(GIVE, "give", words.extend)
    directory = make(tmp_path / "jobs", 1, stage="predict", command=("predict", "/run", "files.txt", "--trust"))
    write_part(directory, 0)
    collect(directory.path, tmp_path / "friends")
    assert words[:5] == ["predict", "/run", "files.txt", "--trust", "--from-parts"]


def test_pipeline_is_no_stage(directory, tmp_path):
    (directory.path / DAG).touch()
    with pytest.raises(UserError, match="merges its stages itself"):
        collect(directory.path, tmp_path / "out")


def test_killed_collect_leaves_nothing_in_the_way(directory, merged, tmp_path):
    (directory.path / ".collect").mkdir()
    (directory.path / ".collect" / "part-00009").symlink_to(directory.parts / "part-00001")
    collect(directory.path, tmp_path / "out")
    assert merged == [([f"part-0000{i}" for i in range(4)], False)]


def test_damaged_parts_are_set_aside_when_a_merge_fails(directory, monkeypatch, tmp_path):
    (Path(directory.part(2)) / "shards" / "tt-00002.h5").write_bytes(b"Events")

    def give(words):
        raise DataError("a checksum differs")

    monkeypatch.setitem(GIVE, "give", give)
    with pytest.raises(DataError, match="job 2: its part was damaged and set aside: run 'nanoforge resubmit"):
        collect(directory.path, tmp_path / "out")
    with pytest.raises(DataError, match="1 of 4 jobs are not done"):
        collect(directory.path, tmp_path / "out")


def test_parts_at_an_address_are_fetched_once(tmp_path, merged, monkeypatch):
    here = make(tmp_path / "here", count=2)
    for number in (0, 1):
        write_part(here, number)
    address = f"file://{here.parts}"  # stands for a server
    directory = make(tmp_path / "jobs", count=2, parts=address)
    collect(directory.path, tmp_path / "out")
    fetched = directory.path / "fetched" / "part-00001" / "shards" / "tt-00001.h5"
    assert fetched.read_bytes() == b"events"
    time = fetched.stat().st_mtime_ns
    collect(directory.path, tmp_path / "out")
    assert fetched.stat().st_mtime_ns == time
    assert merged == [(["part-00000", "part-00001"], False)] * 2


def test_part_that_arrives_damaged_is_not_taken(tmp_path, merged):
    here = make(tmp_path / "here", count=2)
    for number in (0, 1):
        write_part(here, number)
    (here.parts / "part-00001" / "shards" / "tt-00001.h5").write_bytes(b"Events")
    directory = make(tmp_path / "jobs", count=2, parts=f"file://{here.parts}")
    with pytest.raises(DataError, match="job 1: its part was damaged and set aside"):
        collect(directory.path, tmp_path / "out")
    with pytest.raises(DataError, match="1 of 2 jobs are not done"):
        collect(directory.path, tmp_path / "out")
    assert merged == []


@pytest.mark.parametrize("name", ["../../stolen", "/tmp/stolen", "a/../../stolen", "", "a\0b"])
def test_part_that_names_files_outside_of_itself_is_damaged(tmp_path, merged, name):
    here = make(tmp_path / "here", count=2)
    record = {"path": name, "size": 6, "adler32": "00000001"}
    write_part(here, 0)
    write_part(here, 1, outputs=[record])
    directory = make(tmp_path / "jobs", count=2, parts=f"file://{here.parts}")
    with pytest.raises(DataError, match="1 of 2 jobs are not done"):
        collect(directory.path, tmp_path / "out")
    with pytest.raises(DataError, match="outside of its directory"):  # also where it was replaced in between
        module._fetch_one(store(directory.plan, None), tmp_path, "part-00001")
    assert not (tmp_path / "stolen").exists() and merged == []


def test_result_of_a_whole_stage_is_copied(tmp_path):
    directory = make(tmp_path / "jobs", count=1, stage="train")
    with pytest.raises(DataError, match="1 of 1"):
        collect(directory.path, tmp_path / "run")
    write_part(directory, 0)
    for _ in range(2):  # the second finds it up to date
        collect(directory.path, tmp_path / "run")
        assert (tmp_path / "run" / "shards" / "tt-00000.h5").read_bytes() == b"events"
    (tmp_path / "run" / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="something else"):
        collect(directory.path, tmp_path / "run")


def test_real_parts_become_what_one_process_makes(tmp_path, nanoforge):
    """Byte for byte; one job has a file without events."""
    counts = (40, 0, 40)
    files = [str(toys.write(tmp_path / f"tt{i}.root", toys.nano_events(n, first=40 * i))) for i, n in enumerate(counts)]
    directory = make(tmp_path / "jobs", count=3, analysis=CONFIG % ", ".join(files))
    for number in range(3):
        command = ["convert", directory.analysis, "--part", f"tt:{number}", "-o", directory.part(number)]
        assert nanoforge(*command).returncode == 0
    found = JobSurvey(directory).look()
    assert [(s.state, s.read) for s in found] == [(JobState.DONE, count) for count in counts]
    assert nanoforge("convert", directory.analysis, "-o", "alone").returncode == 0
    assert nanoforge("collect", directory.path, "-o", "dataset").returncode == 0
    assert_same_files(tmp_path / "dataset", tmp_path / "alone")


def test_merge_that_fails_or_is_interrupted_says_so_once(tmp_path, nanoforge, monkeypatch):
    file = toys.write(tmp_path / "tt.root", toys.nano_events(40))
    directory = make(tmp_path / "jobs", count=1, analysis=CONFIG % file)
    assert nanoforge("convert", directory.analysis, "--part", "tt:0", "-o", directory.part(0)).returncode == 0
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "notes.txt").touch()
    answer = nanoforge("collect", directory.path, "-o", "dataset")
    assert answer.returncode == 2 and answer.stderr.count("error:") == 1, answer.stderr
    assert "dataset: holds files" in answer.stderr and Path.cwd() == tmp_path

    def interrupt(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("nanoforge.stages.convert.convert", interrupt)
    answer = nanoforge("collect", directory.path, "-o", "other")
    assert answer.returncode == 130 and answer.stderr.strip().splitlines()[0].startswith("interrupted:")
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
