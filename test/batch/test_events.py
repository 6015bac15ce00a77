# ruff: noqa: E101, E501 - HTCondor writes so
"""Event logs: what a real pool (HTCondor 23.9.6) wrote, shortened, and what may befall a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from nanoforge.batch.events import JobLog, JobState, read_log
from nanoforge.errors import DataError

SUBMIT = """000 (007.000.000) 2026-11-22 02:09:05 Job submitted from host: <127.0.0.1:45021?addrs=127.0.0.1-45021&alias=vm>
    NanoForge job 11
...
"""
EXECUTE = """001 (007.000.000) 2026-11-22 02:09:06 Job executing on host: <127.0.0.1:36385?addrs=127.0.0.1-36385&alias=vm>
	SlotName: slot1_2@vm
	CondorScratchDir = "/tmp/execute/dir_14718"
	Cpus = 1
...
006 (007.000.000) 2026-11-22 02:09:07 Image size of job updated: 24232
	512  -  MemoryUsage of job (MB)
	4604  -  ResidentSetSize of job (KB)
...
"""
REQUEUED = """004 (007.000.000) 2026-11-22 02:09:08 Job was evicted.
	(0) Job terminated and was requeued
		Usr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
	0  -  Run Bytes Sent By Job
	(1) Normal termination (return value 1)
	The job attribute OnExitRemove expression 'NumJobCompletions > JobMaxRetries' evaluated to FALSE
...
"""
EVICTED = """004 (007.000.000) 2026-11-22 02:09:13 Job was evicted.
	(0) CPU times
		Usr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
	0  -  Run Bytes Sent By Job
	Partitionable Resources :    Usage  Request Allocated
	   Cpus                 :        0        1         1
...
"""
TRANSFER_FAILED = """004 (007.000.000) 2026-11-22 02:09:13 Job was evicted.
	(0) CPU times
		Usr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
	Transfer output files failure at execution point slot1_6@vm: (errno 2) No such file or directory
	Partitionable Resources :    Usage  Request Allocated
...
012 (007.000.000) 2026-11-22 02:09:13 Job was held.
	Transfer output files failure at execution point slot1_6@vm: (errno 2) No such file or directory
	Code 12 Subcode 2
...
"""
REMOVED = """009 (007.000.000) 2026-11-22 02:09:10 Job was aborted.
	Job removed by SYSTEM_PERIODIC_REMOVE due to wall time exceeded allowed max.

	Job terminated by <127.0.0.1:40909> at 2026-11-22T02:09:10Z (using method 1: DEACTIVATE_CLAIM).
...
"""
BY_HAND = """009 (007.000.000) 2026-11-22 02:09:26 Job was aborted.
	via condor_rm (by user daemon)
...
"""
TOO_LONG = """012 (007.000.000) 2026-11-22 02:10:52 Job was held.
	The job exceeded allowed execute duration of 00:02
	Code 47 Subcode 0
...
"""
RELEASED = """013 (007.000.000) 2026-11-22 02:12:52 Job was released.
	via condor_release (by user daemon)
...
"""


def terminated(ending: str) -> str:
    return f"""005 (007.000.000) 2026-11-22 02:19:06 Job terminated.
	{ending}
		Usr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
	0  -  Run Bytes Sent By Job
	Partitionable Resources :    Usage  Request Allocated
	   Cpus                 :        0        1         1
	   Memory (MB)          :      900     1000      1024

	Job terminated of its own accord at 2026-11-22T02:09:06Z with exit-code 0.
...
"""


OK, MISTAKE, KILLED = (
    terminated(f"({form})")
    for form in (
        "1) Normal termination (return value 0",
        "1) Normal termination (return value 2",
        "0) Abnormal termination (signal 9",
    )
)


def read(tmp_path: Path, text: str, numbers=(11,)):
    path = tmp_path / "events.log"
    path.write_text(text)
    return read_log(path, numbers)


@pytest.mark.parametrize(
    ("text", "state", "reason", "exit_code", "hold_code"),
    [
        ("", JobState.IDLE, "", None, None),
        (EXECUTE, JobState.RUNNING, "", None, None),
        (EXECUTE + OK, JobState.DONE, "", 0, None),
        (EXECUTE + MISTAKE, JobState.FAILED, "", 2, None),
        (EXECUTE + KILLED, JobState.FAILED, "", -9, None),
        (EXECUTE + REQUEUED, JobState.IDLE, "OnExitRemove", 1, None),
        (EXECUTE + REQUEUED + EXECUTE, JobState.RUNNING, "", 1, None),
        (EXECUTE + EVICTED, JobState.EVICTED, "", None, None),
        (EXECUTE + EVICTED + BY_HAND, JobState.REMOVED, "via condor_rm (by user daemon)", None, None),
        (EXECUTE + REMOVED, JobState.REMOVED, "wall time exceeded", None, None),
        (EXECUTE + TRANSFER_FAILED, JobState.HELD, "Transfer output files failure", None, 12),
        (EXECUTE + TOO_LONG, JobState.HELD, "exceeded allowed execute duration", None, 47),
        (EXECUTE + TOO_LONG + RELEASED, JobState.IDLE, "", None, None),
        (EXECUTE + TOO_LONG + BY_HAND, JobState.REMOVED, "exceeded allowed execute duration", None, 47),
    ],
)  # fmt: skip
def test_last_event_says_where_a_job_is(tmp_path, text, state, reason, exit_code, hold_code):
    job = read(tmp_path, SUBMIT + text)[11]
    assert (job.state, job.exit_code, job.hold_code) == (state, exit_code, hold_code)
    assert reason in job.reason if reason else job.reason == ""


def test_a_run_has_a_length_and_a_count(tmp_path):
    job = read(tmp_path, SUBMIT + EXECUTE + REQUEUED + EXECUTE + OK)[11]
    assert (job.runs, job.seconds) == (2, 600)


def test_clock_that_goes_backwards_changes_no_state(tmp_path):
    job = read(tmp_path, SUBMIT + EXECUTE + OK.replace("02:19:06", "01:00:00"))[11]
    assert job.state is JobState.DONE
    assert job.seconds is None


@pytest.mark.parametrize("stamp", ["11/22 02:09:06", "2026-11-22 02:09:06.123", "2026-11-22 02:09:06Z"])
def test_other_forms_of_time(tmp_path, stamp):
    job = read(tmp_path, SUBMIT + EXECUTE.replace("2026-11-22 02:09:06", stamp))[11]
    assert job.state is JobState.RUNNING
    assert job.started is not None


def test_log_that_is_being_written(tmp_path):
    text = SUBMIT + EXECUTE + OK
    states = {read(tmp_path, text[:end])[11].state for end in range(len(SUBMIT), len(text) - 1, 11)}
    assert states == {JobState.IDLE, JobState.RUNNING}
    assert read(tmp_path, text)[11].state is JobState.DONE
    assert read(tmp_path, text[:-1])[11].state is JobState.DONE


def test_event_torn_by_a_full_disk_spoils_only_itself(tmp_path):
    torn = EXECUTE[: len(EXECUTE) // 3] + "\n"
    assert read(tmp_path, SUBMIT + torn + EXECUTE + OK)[11].state is JobState.DONE


def test_rotated_logs_are_read_in_order(tmp_path):
    (tmp_path / "events.log.2").write_text(SUBMIT)
    (tmp_path / "events.log.1").write_text(EXECUTE)
    assert read(tmp_path, OK)[11].state is JobState.DONE


@pytest.mark.parametrize(
    "name", ["events.log~", "events.log.1~", "events.log.1.bak", "events.log.20261122", "events.log.x"]
)
def test_copies_of_a_log_are_not_part_of_it(tmp_path, name):
    (tmp_path / name).write_text(SUBMIT + EXECUTE + OK)
    assert read(tmp_path, SUBMIT + EXECUTE)[11].state is JobState.RUNNING


def test_logs_that_were_put_together_or_cut(tmp_path):
    (tmp_path / "events.log.old").write_text(SUBMIT + EXECUTE)
    whole = SUBMIT + EXECUTE + OK
    assert read(tmp_path, whole + whole)[11].state is JobState.DONE
    for start in range(1, len(SUBMIT), 7):  # its begin is lost
        assert read(tmp_path, whole[start:])[11].state is JobState.DONE


def test_bytes_of_no_text_are_no_obstacle(tmp_path):
    path = tmp_path / "events.log"
    path.write_bytes(SUBMIT.encode() + TOO_LONG.replace("duration", "d\N{DEGREE SIGN}").encode("latin-1") + b"\x00\x00")
    assert read_log(path, (11,))[11].state is JobState.HELD


def test_log_of_another_format_is_refused(tmp_path):
    with pytest.raises(DataError, match="XML or JSON"):
        read(tmp_path, '<c>\n<a n="MyType"><s>SubmitEvent</s></a>\n</c>\n')


def test_empty_log_knows_nothing(tmp_path):
    assert read(tmp_path, "") == {}


def test_without_a_note_the_process_is_the_place_in_the_list(tmp_path):
    text = SUBMIT.replace("    NanoForge job 11\n", "")
    assert set(read(tmp_path, text, numbers=(40, 41))) == {40}


def test_node_of_a_dag_that_was_tried_again_is_a_new_cluster(tmp_path):
    again = SUBMIT + EXECUTE
    jobs = read(tmp_path, SUBMIT + EXECUTE + KILLED + again.replace("(007.", "(009."), numbers=(10, 11))
    assert set(jobs) == {11}
    assert jobs[11].state is JobState.RUNNING


LATE = """035 (009.-01.000) 2026-11-22 02:09:05 Cluster submitted from host: <127.0.0.1:45021?alias=vm>
    NanoForge job 11
...
""" + SUBMIT.replace("(007.", "(009.")
CLUSTER_GONE = """036 (009.-01.000) 2026-11-22 02:09:18 Cluster removed
	Materialized 1 jobs from -1 items.	Incomplete
...
"""
PAUSED = """037 (009.-01.000) 2026-11-22 02:10:14 Job Materialization Paused
	failed to create ClassAd for Job 9.1
	PauseCode 1
...
"""
RESUMED = """038 (009.-01.000) 2026-11-22 02:11:14 Job Materialization Resumed
...
"""


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (LATE, JobState.IDLE),
        (LATE + PAUSED, JobState.HELD),
        (LATE + PAUSED + RESUMED, JobState.IDLE),
        (LATE + CLUSTER_GONE, JobState.REMOVED),
    ],
)
def test_jobs_that_are_still_to_be_made(tmp_path, text, state):
    jobs = read(tmp_path, text, numbers=(11, 12, 13))
    assert {number: job.state for number, job in jobs.items()} == {11: JobState.IDLE, 12: state, 13: state}


def test_own_log_reads_like_htcondors(tmp_path):
    log = JobLog(tmp_path / "events.log")
    for process, number in enumerate((5, 6, 7, 8)):
        log.submitted(process, number)
    for process in (0, 1, 2):
        log.executing(process)
    log.ended(0, 0, again=False)
    log.ended(1, 1, again=True)
    log.ended(2, -9, again=False)
    jobs = read_log(log.path, (5, 6, 7, 8))
    assert [jobs[i].state for i in (5, 6, 7, 8)] == [JobState.DONE, JobState.IDLE, JobState.FAILED, JobState.IDLE]
    assert [jobs[i].exit_code for i in (5, 6, 7, 8)] == [0, 1, -9, None]
