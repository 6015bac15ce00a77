"""The state of jobs from logs and outputs together, and what a user is told of them."""

from __future__ import annotations

import fcntl
import json
import time
from datetime import datetime

import pytest
from directories import event, log, make, submit, tell, write_part
from nanoforge.batch.causes import Cause
from nanoforge.batch.events import JobLog, JobState, Process
from nanoforge.batch.jobdir import DAG
from nanoforge.batch.status import JobStatus, JobSurvey, Summary, last_error, surveys
from nanoforge.batch.targets import condor


def look(directory):
    return JobSurvey(directory).look()


def states(directory):
    return [status.state for status in look(directory)]


def run(directory, process, code=0, attempt=0):
    journal = log(directory, attempt)
    journal.submitted(process, directory.submissions()[attempt].jobs[process])
    journal.executing(process)
    if code is not None:
        journal.ended(process, code, again=False)


@pytest.fixture
def directory(tmp_path):
    return make(tmp_path / "jobs")


def old(directory, monkeypatch):
    """Let a submission be so old that its log must know its jobs."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000)


def test_output_counts_whatever_the_log_says(directory):
    submit(directory)
    run(directory, 0, code=1)
    run(directory, 1, code=None)
    for number in (0, 1, 2):
        write_part(directory, number)
    directory.event_log(0).rename(directory.path / "gone")
    assert states(directory)[:3] == [JobState.DONE] * 3
    (directory.path / "gone").rename(directory.event_log(0))
    assert states(directory)[:3] == [JobState.DONE] * 3


def test_exit_code_0_without_an_output_is_a_failure(directory):
    submit(directory)
    run(directory, 0)
    run(directory, 1)
    (write_part(directory, 1) / "shards" / "tt-00001.h5").write_bytes(b"half")
    found = look(directory)
    assert [s.state for s in found[:2]] == [JobState.FAILED] * 2
    assert found[0].reason == "ended well, but: no output"
    assert found[1].reason == "ended well, but: shards/tt-00001.h5 has 4 bytes of 6"


def test_a_folder_that_was_moved_while_jobs_wait_is_told(directory):
    submit(directory)
    run(directory, 0, code=None)
    run(directory, 1, code=1)
    moved = directory.path.rename(directory.path.with_name("moved"))
    found = look(directory.open(moved))
    assert found[0].state is JobState.RUNNING
    assert (
        found[0].reason.startswith(f"was submitted when this folder was {directory.path}")
        and "folder" not in found[1].reason
    )


def test_search_workers_need_no_output(tmp_path):
    directory = make(tmp_path / "jobs", count=2, stage="tune")
    submit(directory)
    run(directory, 0)
    assert states(directory) == [JobState.DONE, JobState.IDLE]


def test_failure_shows_code_and_last_error(directory):
    submit(directory)
    run(directory, 0, code=1)
    text = "warning\nerror: root://one//store/tt0.root: not a ROOT file\nmore\njob.sh: exit code 1 on vm, 5 MB\n"
    directory.stderr(0, 0).write_text(text)
    run(directory, 1, code=-9)
    directory.stderr(0, 1).write_bytes(b"x" * 100_000 + b"\nTerminated \xff\n\n")
    found = look(directory)
    assert found[0].reason == "could not read an input: exit code 1: error: root://one//store/tt0.root: not a ROOT file"
    assert found[1].reason == "needed more memory: killed by signal 9: Terminated \N{REPLACEMENT CHARACTER}"
    assert last_error(directory.stderr(0, 3)) == ""


def test_jobs_that_nobody_knows(directory, monkeypatch):
    assert states(directory) == [JobState.NEW] * 4
    directory.intend([0], directory.plan.resources)
    submit(directory, [1, 2])
    tell(directory, 1, event(0, 1, "Job submitted from host: <h>\n    NanoForge job 2"))
    assert states(directory) == [JobState.LOST, JobState.IDLE, JobState.IDLE, JobState.NEW]
    old(directory, monkeypatch)
    found = look(directory)
    assert [s.state for s in found] == [JobState.LOST, JobState.LOST, JobState.IDLE, JobState.NEW]
    assert found[0].reason == "its submission was interrupted"
    assert found[1].reason == "not in events.log of attempt 1"
    directory.event_log(1).unlink()
    assert look(directory)[2].reason.endswith("events.log is missing")


def test_last_submission_counts_unless_an_earlier_one_still_runs(directory):
    submit(directory)
    run(directory, 0, code=1)
    run(directory, 1, code=None)
    submit(directory, [0, 1])
    run(directory, 0, code=None, attempt=1)
    run(directory, 1, code=1, attempt=1)
    found = look(directory)
    assert [s.state for s in found[:2]] == [JobState.RUNNING] * 2
    assert [s.submission.attempt for s in found[:2]] == [1, 0]


def test_void_submission_does_not_count(directory):
    submit(directory)
    run(directory, 0, code=1)
    directory.conclude(directory.intend([0], directory.plan.resources), "void", None, None)
    assert look(directory)[0].submission.attempt == 0


def test_local_jobs_end_with_their_pool(tmp_path):
    directory = make(tmp_path / "jobs", target="local")
    submit(directory)
    run(directory, 0, code=1)
    run(directory, 1, code=None)
    with directory.event_log(0).with_suffix(".lock").open("w") as pool:
        fcntl.flock(pool, fcntl.LOCK_EX)
        assert states(directory) == [JobState.FAILED, JobState.RUNNING, JobState.IDLE, JobState.IDLE]
    found = look(directory)
    assert found[1].state is JobState.REMOVED
    assert "pool" in found[1].reason


def test_spooled_jobs_are_asked_of_the_queue_until_they_are_fetched(tmp_path, monkeypatch):
    directory = make(tmp_path / "jobs", count=4)
    (directory.path / "batch.yaml").write_text("mode: spool\n")
    submit(directory)
    directory.event_log(0).unlink()
    ads = [
        {"NanoForgeJob": 0, "JobStatus": 4, "ExitCode": 1, "ExitBySignal": False},
        {"NanoForgeJob": 1, "JobStatus": 2, "JobCurrentStartDate": 1000},
        {"NanoForgeJob": 2, "JobStatus": 5, "HoldReason": "too long", "HoldReasonCode": 47},
        {"NanoForgeJob": 3, "JobStatus": 1},
    ]

    def fetch(found, submission):
        assert (found, submission.attempt) == (directory, 0)
        journal = JobLog(directory.stdout(0, 0).with_suffix(".log"))
        journal.submitted(0, 0)
        journal.ended(0, 2, again=False)

    monkeypatch.setattr(condor, "queued", lambda directory, submission: ads, raising=False)
    monkeypatch.setattr(condor, "fetch", fetch, raising=False)
    found = look(directory)
    assert [s.state for s in found] == [JobState.FAILED, JobState.RUNNING, JobState.HELD, JobState.IDLE]
    assert found[0].process.exit_code == 2
    assert (found[2].cause, found[2].process.hold_code) == (Cause.TIME, 47)


def test_stages_of_a_pipeline_wait_while_its_dagman_is_there(tmp_path):
    pipeline = tmp_path / "all"
    pipeline.mkdir()
    make(pipeline / "convert", count=2)
    make(pipeline / "train", count=1, stage="train")
    (pipeline / DAG).touch()
    assert [s.state for survey in surveys(pipeline) for s in survey.look()] == [JobState.NEW] * 3
    write_part(surveys(pipeline)[0].directory, 0)
    manager = pipeline / f"{DAG}.dagman.log"
    manager.write_text(
        event(0, 0, "Job submitted from host: <h>") + "\n...\n" + event(1, 0, "Job executing") + "\n...\n"
    )
    assert [s.state for survey in surveys(pipeline) for s in survey.look()] == [
        JobState.DONE,
        JobState.IDLE,
        JobState.IDLE,
    ]


# -- the summary ------------------------------------------------------------------------------------------------------


def test_like_reasons_are_one(directory):
    submit(directory)
    for number in (0, 1, 2):
        run(directory, number, code=1)
        place = f"/pool/dir_{number * 137}"
        directory.stderr(0, number).write_text(f"error: root://one//store/tt{number}.root: lost on {place}\n")
    run(directory, 3, code=2)
    reasons = Summary("convert", look(directory), time.time()).reasons
    assert [(r.state, r.jobs) for r in reasons] == [(JobState.FAILED, [0, 1, 2]), (JobState.FAILED, [3])]
    assert (
        reasons[0].text
        == "could not read an input: exit code 1: error: root://one//store/tt0.root: lost on /pool/dir_0"
    )


def test_events_are_those_that_were_read_and_those_to_come(directory):
    write_part(directory, 0, read=90)
    write_part(directory, 1, read=100, accounting={"events": {"read": 100}, "lost": [{"entries": 7}]})
    summary = Summary("convert", look(directory), time.time())
    assert (summary.read, summary.events, summary.lost) == (190, 390, 7)


def jobs_like(directory, *processes):
    every = zip(directory.plan.jobs, processes)
    return [JobStatus(job, process.state, process=process) for job, process in every]


def test_expected_finish(directory):
    done, now = Process(JobState.DONE, started=0.0, ended=100.0), 130.0
    running, waiting = Process(JobState.RUNNING, started=70.0), Process(JobState.IDLE)
    finish = Summary("convert", jobs_like(directory, done, running, waiting, waiting), now).finish
    assert finish == pytest.approx(now + 40 + 2 * 100)
    finish = Summary("convert", jobs_like(directory, done, running, running, waiting), now).finish
    assert finish == pytest.approx(now + (40 + 40 + 100) / 2)
    late = Process(JobState.RUNNING, started=-900.0)
    assert Summary("convert", jobs_like(directory, done, late), now).finish == now
    ahead = Process(JobState.RUNNING, started=500.0)  # of a machine whose clock is ahead
    assert Summary("convert", jobs_like(directory, done, ahead), now).finish == now + 100
    assert Summary("convert", jobs_like(directory, done, waiting), now).finish is None
    assert Summary("convert", jobs_like(directory, running, waiting), now).finish is None


def test_clocks_that_jump_by_hours_change_neither_states_nor_the_expected_finish(tmp_path):
    directory = make(tmp_path / "jobs", count=7)
    submit(directory)
    ended = ["10:10:00", "10:10:00", "10:10:00", "13:10:00", "07:10:00"]  # the last two: ahead, and back
    for process in range(6):
        tell(directory, 0, event(0, process, "Job submitted from host: <h>", "12:00:00"))
        start = "10:00:00" if process < 5 else "15:00:00"
        tell(directory, 0, event(1, process, "Job executing on host: <h>", start))
    for process, clock in enumerate(ended):
        tell(directory, 0, event(5, process, "Job terminated.\n\t(1) Normal termination (return value 0)", clock))
        write_part(directory, process)
    tell(directory, 0, event(0, 6, "Job submitted from host: <h>", "02:00:00"))
    found, now = look(directory), datetime(2026, 11, 22, 10, 20).timestamp()
    assert [s.state for s in found] == [JobState.DONE] * 5 + [JobState.RUNNING, JobState.IDLE]
    assert Summary("convert", found, now).finish == pytest.approx(now + 600 + 600)


def test_status_prints_a_table_and_json(directory, nanoforge):
    submit(directory)
    write_part(directory, 0)
    run(directory, 1, code=2)
    directory.stderr(0, 1).write_text("error: samples.tt: no such key\n")
    shown = nanoforge("status", directory.path).stdout
    assert "convert     4     1     2       1  100 of 400" in shown
    assert "1 failed permanent: exit code 2: error: samples.tt: no such key (job 1)" in " ".join(shown.split())
    found = json.loads(nanoforge("status", directory.path, "--json").stdout)
    assert found[0]["states"] == dict.fromkeys(map(str, JobState), 0) | {"done": 1, "idle": 2, "failed": 1}
    assert found[0]["events"] == {"read": 100, "lost": 0, "all": 400}
    assert found[0]["reasons"][0]["jobs"] == [1]


def test_watch_ends_with_the_jobs(directory, nanoforge):
    submit(directory)
    for number in range(4):
        write_part(directory, number)
    assert "400 of 400" in nanoforge("status", directory.path, "--watch").stdout


def test_no_job_directory_is_a_mistake(tmp_path, nanoforge):
    answer = nanoforge("status", tmp_path)
    assert answer.returncode == 2
    assert "no job directory" in answer.stderr
