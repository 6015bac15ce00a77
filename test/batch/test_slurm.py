"""The target ``slurm``: the same plan as job arrays, on a cluster of this one machine where it is here."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections import Counter
from dataclasses import replace

import pytest
import toys
from directories import ANALYSIS, make
from nanoforge.batch import condor_description
from nanoforge.batch.causes import Cause
from nanoforge.batch.events import ACTIVE, JobState
from nanoforge.batch.jobdir import JobDir
from nanoforge.batch.plan import BatchJob
from nanoforge.batch.resubmit import resubmit
from nanoforge.batch.status import JobSurvey
from nanoforge.batch.targets import slurm
from nanoforge.errors import UserError
from slurm_cluster import cluster
from test_local import SCRIPT, behave

__all__ = ["cluster"]
TARGET = slurm.SlurmTarget("slurm")


@pytest.fixture
def directory(tmp_path):
    directory = make(tmp_path / "jobs", target="slurm", run_id=f"toy-{uuid.uuid4().hex}")
    script = SCRIPT.replace("../../", f"{directory.path}/")
    (directory.path / "job.sh").write_text(script)
    return directory


@pytest.fixture
def here(cluster, monkeypatch):
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    return cluster


def submit(directory: JobDir, jobs=None, **changes):
    resources = replace(directory.plan.resources, memory=100, **changes)
    return TARGET.submit(directory, list(jobs or range(len(directory.plan.jobs))), resources)


def wait(directory: JobDir, until=lambda states: not any(s.state in ACTIVE for s in states), seconds: float = 30):
    end = time.monotonic() + seconds
    while not until(states := JobSurvey(directory).look()):
        assert time.monotonic() < end, [(s.state, s.reason) for s in states]
        time.sleep(0.3)
    return states


def test_the_script_is_plain_bash(directory):
    script = TARGET.prepare(directory, [0, 2], directory.plan.resources, ["redirectors=[root://b/, root://a/]"], 0)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert "export 'NANOFORGE_REDIRECTORS=root://b/ root://a/'" in script.read_text()
    assert (directory.path / "items-0.txt").read_text().splitlines() == [
        f"{i} part-0000{i} convert analysis.yaml --part tt:{i}-{i} -o part-0000{i}" for i in (0, 2)
    ]


def test_a_line_break_in_a_path_runs_nothing(tmp_path):
    """It would end a comment of the script, and what follows would be a command."""
    directory = make(tmp_path / "jobs\ntouch stolen\n#", target="slurm")
    with pytest.raises(UserError, match="the path of the jobs cannot have line breaks"):
        TARGET.prepare(directory, [0], directory.plan.resources, (), 0)
    with pytest.raises(UserError, match="cannot have line breaks"):
        condor_description.describe(directory, directory.plan.resources, (), 0, 1, "4")


def test_without_slurm(directory, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="sbatch is not here"):
        submit(directory)


def test_the_plan_runs_with_retries(directory, here):
    behave(directory, 0, "once")
    behave(directory, 1, "never")
    behave(directory, 2, "mistake")
    submission = submit(directory)
    found = wait(directory)
    assert [s.state for s in found] == [JobState.DONE, JobState.FAILED, JobState.FAILED, JobState.DONE]
    assert [s.cause for s in found][2] is Cause.MISTAKE and "no luck" in found[1].reason
    runs = Counter(line.split()[0] for line in (directory.path / "runs").read_text().splitlines())
    assert runs == {"part-00000": 2, "part-00001": 3, "part-00002": 1, "part-00003": 1}
    assert TARGET.reconcile(directory, submission).state == "submitted"
    behave(directory, 1, "")
    submit(directory, [1])
    assert [s.state for s in wait(directory)] == [JobState.DONE, JobState.DONE, JobState.FAILED, JobState.DONE]


def test_what_the_time_limit_and_scancel_leave(directory, here):
    for number in range(4):
        behave(directory, number, "sleep")
    submission = submit(directory)
    begun = directory.path / "runs"
    wait(directory, lambda _: begun.exists() and len(begun.read_text().splitlines()) == 4)
    here.run("scancel", "--batch", "--signal=USR1", f"{submission.cluster}_0")  # as Slurm does before the limit
    here.run("scancel", f"{submission.cluster}_1")
    here.run("scancel", "--signal=KILL", "--full", f"{submission.cluster}_2")
    states = wait(directory, lambda states: sum(s.state is JobState.REMOVED for s in states) == 3)
    assert [s.state for s in states] == [JobState.REMOVED] * 3 + [JobState.RUNNING]
    assert states[0].cause is Cause.TIME
    here.run("scancel", f"{submission.cluster}_3")
    wait(directory)


def test_an_interrupted_submission_is_found_in_the_queue(directory, here):
    submission = directory.intend([0, 1], directory.plan.resources)
    assert TARGET.reconcile(directory, submission).state == "void"
    submitted = submit(directory, [0, 1])
    directory.record({"attempt": submitted.attempt, "state": "intent"})
    assert TARGET.reconcile(directory, directory.submissions()[1]).state == "submitted"
    wait(directory, lambda states: [s.state for s in states[:2]] == [JobState.DONE] * 2)


STATES = {
    JobState.IDLE: ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "RESV_DEL_HOLD", "STOPPED", "SUSPENDED"),
    JobState.RUNNING: ("RUNNING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT"),
    JobState.HELD: ("REQUEUE_HOLD", "SPECIAL_EXIT"),
    JobState.REMOVED: ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL",
                    "OUT_OF_MEMORY", "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"),
}  # fmt: skip


@pytest.fixture
def queue(directory, monkeypatch):
    """A submission whose rows are in the states that are put into the list; ``scancel`` is noted in ``calls``."""
    states, calls = [], []

    def answer(*command, lock=None):
        calls.append(command)
        name = slurm._name(directory, directory.submissions()[0], 0) if command[0] == "squeue" else ""
        rows = [f"{name} {row} {state} 9{row}" for row, state in enumerate(states)]
        return subprocess.CompletedProcess(command, 0, "17\n" if command[0] == "sbatch" else "\n".join(rows), "")

    monkeypatch.setattr(slurm, "_call", answer)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: name)
    submit(directory)
    return states, calls


def test_every_state_of_slurm_says_where_a_job_is(directory, queue):
    states, _ = queue
    for state, names in STATES.items():
        for name in names:
            states[:] = [name] * 4
            assert {s.state for s in JobSurvey(directory).look()} == {state}, name
    states[:] = ["TIMEOUT", "OUT_OF_MEMORY", "PREEMPTED", "NODE_FAIL"]
    assert [s.cause for s in JobSurvey(directory).look()] == [Cause.TIME, Cause.MEMORY, Cause.OTHER, Cause.OTHER]


def test_the_queue_knows_better_than_a_job_that_was_told_to_end(directory, queue, capsys):
    states, calls = queue
    for number in range(4):
        directory.stdout(0, number).with_suffix(".log").write_text(
            "001 (000.000.000) 2026-11-22 02:09:05 Job executing on host: <x>\n...\n"
            "009 (000.000.000) 2026-11-22 02:09:06 Job was aborted.\n\tit was cancelled\n...\n"
        )
    states[:] = ["PENDING", "RUNNING", "SPECIAL_EXIT", "PREEMPTED"]
    found = JobSurvey(directory).look()
    assert [s.state for s in found] == [JobState.IDLE, JobState.RUNNING, JobState.HELD, JobState.REMOVED]
    assert "make room" in found[3].reason
    resubmit(directory.path)
    assert ("scancel", "92") in calls  # else it would do, once released, what another does by then
    assert directory.submissions()[-1].jobs == (2, 3)
    assert "#SBATCH --no-requeue" in (directory.path / "convert-0.sh").read_text()


def test_more_jobs_than_an_array_takes(tmp_path, monkeypatch):
    jobs = tuple(BatchJob(i, "tt", i, i) for i in range(slurm.ARRAY + 1))
    directory = make(tmp_path / "jobs", target="slurm", jobs=jobs)
    calls = []

    def answer(*command, lock=None):
        calls.append(command)
        return subprocess.CompletedProcess(command, 0, "17\n" if command[0] == "sbatch" else "", "")

    monkeypatch.setattr(slurm, "_call", answer)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: name)
    submit(directory)
    assert [c[3:5] for c in calls] == [
        ("--array=0-999", "--export=ALL,NANOFORGE_FIRST=0"),
        ("--array=0-0", "--export=ALL,NANOFORGE_FIRST=1000"),
    ]


def test_the_real_script_does_a_real_job(tmp_path, here, nanoforge):
    for i in range(2):
        toys.write(tmp_path / f"tt{i}.root", toys.nano_events(40, first=40 * i))
    files = "tt0.root, tt1.root, tt2.root, tt3.root"
    (tmp_path / "analysis.yaml").write_text(ANALYSIS.replace(files, "tt*.root") + "batch: {memory: 1 GB}\n")
    submit = ("submit", "slurm", "analysis.yaml", "--stage", "convert", "--split", 1, "-o", "jobs")
    answer = nanoforge(*submit)
    assert answer.returncode == 0, answer.stderr
    assert "submitted already" in nanoforge(*submit).stderr
    wait(JobDir.open(tmp_path / "jobs"), seconds=120)
    assert nanoforge("status", "jobs").returncode == 0
    answer = nanoforge("collect", "jobs", "-o", "dataset")
    assert answer.returncode == 0, answer.stderr
    assert json.loads((tmp_path / "dataset" / "manifest.json").read_text())["accounting"]["events"]["read"] == 80
