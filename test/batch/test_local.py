"""The target ``local``: the same plan, logs, retries and parts from processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
import toys
from directories import ANALYSIS, make
from nanoforge.batch.causes import Cause
from nanoforge.batch.events import JobState
from nanoforge.batch.jobdir import JobDir
from nanoforge.batch.status import JobSurvey
from nanoforge.batch.targets.local import LocalTarget
from pool import EXPECTED

SCRIPT = """#!/bin/bash
# stands for job.sh: notes each run, and does what a file named after the part says
result=$1
echo "$@" >> ../../runs
behaviour=$(cat ../../$result 2>/dev/null || true)
case "$behaviour" in
  once) echo > ../../$result; echo "error: broken pipe" >&2; exit 1;;
  never) echo "error: no luck" >&2; exit 1;;
  mistake) echo "error: unknown key" >&2; exit 2;;
  sleep) sleep 60;;
  slow) sleep 2;;
esac
mkdir -p $result/shards
printf events > $result/shards/x.h5
number=$((10#${result#part-}))
cat > $result/manifest.json <<END
{"stage": "convert part", "details": {"part": {"sample": "tt", "first": $number, "last": $number}},
 "outputs": [{"path": "shards/x.h5", "size": 6, "adler32": "08eb0296"}],
 "accounting": {"events": {"read": 100}, "lost": []}}
END
"""
TARGET = LocalTarget("local")
BATCH = "batch: {site: generic, retries: 0}\n"
START = "import sys; from nanoforge.cli import main; main()"


@pytest.fixture
def directory(tmp_path):
    directory = make(tmp_path / "jobs", target="local")
    (directory.path / "job.sh").write_text(SCRIPT)
    return directory


def behave(directory: JobDir, number: int, how: str) -> None:
    (directory.path / f"part-{number:05}").write_text(how)


def run(directory: JobDir, processes: int = 2) -> None:
    jobs = range(len(directory.plan.jobs))
    TARGET.run(directory, TARGET.submit(directory, jobs, directory.plan.resources), processes)


def states(directory: JobDir) -> list[JobState]:
    return [status.state for status in JobSurvey(directory).look()]


def runs(directory: JobDir) -> Counter[str]:
    lines = (directory.path / "runs").read_text().splitlines()
    return Counter(line.split()[0] for line in lines)


def test_all_jobs_are_done(directory):
    run(directory)
    assert states(directory) == [JobState.DONE] * 4
    assert set((directory.path / "runs").read_text().splitlines()) == {
        f"part-0000{i} convert analysis.yaml --part tt:{i}-{i} -o part-0000{i}" for i in range(4)
    }
    assert not any((directory.path / "scratch").iterdir())


def test_retries_are_those_of_the_queue(directory):
    behave(directory, 0, "once")
    behave(directory, 1, "never")
    behave(directory, 2, "mistake")
    run(directory)
    assert states(directory) == [JobState.DONE, JobState.FAILED, JobState.FAILED, JobState.DONE]
    assert runs(directory) == {"part-00000": 2, "part-00001": 3, "part-00002": 1, "part-00003": 1}
    reasons = [status.reason for status in JobSurvey(directory).look()]
    assert reasons[1:3] == [
        "exit code 1: error: no luck",
        "permanent: exit code 2: error: unknown key",
    ]


def test_a_second_result_replaces_the_first(directory):
    (directory.parts / "part-00000").mkdir()
    (directory.parts / "part-00000" / "half").touch()
    run(directory)
    assert states(directory)[0] is JobState.DONE
    assert not (directory.parts / "part-00000" / "half").exists()


def test_settling_what_never_began(directory):
    submission = directory.intend(range(4), directory.plan.resources)
    assert TARGET.reconcile(directory, submission).state == "void"
    assert states(directory) == [JobState.NEW] * 4


def command(directory: JobDir, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", START, *words], cwd=directory.path.parent, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell's "&" had it ignored
    )  # fmt: skip


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def begin(directory: JobDir, number: int) -> subprocess.Popen:
    """``nanoforge resubmit`` at work: some jobs are done, one is asleep."""
    child = command(directory, "resubmit", str(directory.path), "-j", "1")
    wait_for(lambda: (directory.path / "runs").exists() and f"part-{number:05}" in runs(directory))
    return child


def test_ctrl_c_leaves_a_directory_to_go_on_with(directory):
    behave(directory, 1, "sleep")
    child = begin(directory, 1)
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=120)
    assert child.returncode == 130, output
    assert states(directory) == [JobState.DONE] + [JobState.REMOVED] * 3
    behave(directory, 1, "")
    again = command(directory, "resubmit", str(directory.path), "-j", "2")
    assert again.wait(240) == 0
    again.stdout.close()
    assert states(directory) == [JobState.DONE] * 4
    assert runs(directory) == {"part-00000": 1, "part-00001": 2, "part-00002": 1, "part-00003": 1}


def test_killed_pool_leaves_its_jobs_alone_until_they_end(directory):
    behave(directory, 1, "slow")
    child = begin(directory, 1)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=120)
    assert states(directory)[:2] == [JobState.DONE, JobState.RUNNING]
    wait_for(lambda: states(directory)[1] is not JobState.RUNNING)
    assert states(directory) == [JobState.DONE] + [JobState.REMOVED] * 3
    again = command(directory, "resubmit", str(directory.path))
    assert again.wait(240) == 0
    again.stdout.close()
    assert states(directory) == [JobState.DONE] * 4


ON_A_SMALL_DISK = """#!/bin/bash
# does the work of job.sh on a disk of 1 MB, as often as the file full is there
rm ../../full || exec bash ../../real.sh "$@"
exec unshare --user --map-root-user --mount bash -c '
  mkdir disk && mount -t tmpfs -o size=1012k none disk && cp -L analysis.yaml environment.sh disk && cd disk &&
  exec bash "$@"' - "$(realpath ../../real.sh)" "$@"
"""


@pytest.fixture
def can_mount():
    """Skip where a user may not mount a disk of their own; with the pool, that too is expected."""
    mount = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    if subprocess.run(mount, check=False).returncode:
        (pytest.fail if os.environ.get(EXPECTED) else pytest.skip)("users may not mount a tmpfs here")


def test_disk_that_is_full_is_named_and_the_job_done_elsewhere(tmp_path, nanoforge, can_mount):
    toys.write(tmp_path / "tt0.root", toys.nano_events(3000))
    config = tmp_path / "analysis.yaml"
    config.write_text(ANALYSIS.replace("tt0.root, tt1.root, tt2.root, tt3.root", "tt0.root") + BATCH)
    assert nanoforge("submit", "local", config, "--stage", "convert", "-o", "jobs", "--dry-run").returncode == 0
    directory = JobDir.open(tmp_path / "jobs")
    (directory.path / "job.sh").rename(directory.path / "real.sh")
    (directory.path / "job.sh").write_text(ON_A_SMALL_DISK)
    (directory.path / "full").touch()
    run(directory)
    found = JobSurvey(directory).look()[0]
    assert (found.state, found.cause) == (JobState.FAILED, Cause.DISK)
    assert "no space left on the disk" in nanoforge("status", directory.path).stdout
    (directory.path / "real.sh").replace(directory.path / "job.sh")  # a script that changed is refused
    assert nanoforge("resubmit", directory.path).returncode == 0
    assert states(directory) == [JobState.DONE]
    first, second = (submission.resources.disk for submission in directory.submissions())
    assert second == 2 * first


def test_the_real_script_does_a_real_job(tmp_path, nanoforge):
    for i in range(2):
        toys.write(tmp_path / f"tt{i}.root", toys.nano_events(40, first=40 * i))
    config = tmp_path / "analysis.yaml"
    config.write_text(ANALYSIS.replace("tt0.root, tt1.root, tt2.root, tt3.root", "tt*.root") + BATCH)
    answer = nanoforge("submit", "local", config, "--stage", "convert", "--split", 2, "-o", "jobs", "-j", 2)
    assert answer.returncode == 0, answer.stderr
    assert states(JobDir.open(tmp_path / "jobs")) == [JobState.DONE]
    assert list((tmp_path / "jobs" / "parts" / "part-00000" / "shards").glob("*.h5"))
    answer = nanoforge("submit", "local", config, "--stage", "convert", "--split", 2, "-o", "jobs")
    assert answer.returncode == 0
    assert "submitted already" in answer.stderr
    assert len(JobDir.open(tmp_path / "jobs").submissions()) == 1
