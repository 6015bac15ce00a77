"""The target ``dask``: the same plan as tasks, on workers of this machine."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from directories import make
from nanoforge.batch.events import JobState
from nanoforge.batch.jobdir import JobDir
from nanoforge.batch.status import JobSurvey
from nanoforge.batch.targets import dask as module
from nanoforge.batch.targets.local import release
from nanoforge.errors import DataError, UserError
from test_local import SCRIPT, behave

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")
TARGET = module.DaskTarget("dask")


@pytest.fixture(scope="module")
def scheduler():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def directory(tmp_path, scheduler):
    directory = make(tmp_path / "jobs", target="dask")
    (directory.path / "job.sh").write_text(SCRIPT)
    (directory.path / "batch.yaml").write_text(f"site: generic\ndask: {{scheduler: '{scheduler}'}}\n")
    return directory


def run(directory: JobDir, numbers=range(4), workers: int = 1) -> None:
    TARGET.run(directory, TARGET.submit(directory, list(numbers), directory.plan.resources), workers)


def states(directory: JobDir) -> list[JobState]:
    return [status.state for status in JobSurvey(directory).look()]


def test_jobs_retries_and_what_is_left(directory):
    behave(directory, 0, "once")
    behave(directory, 1, "never")
    behave(directory, 2, "mistake")
    run(directory)
    assert states(directory) == [JobState.DONE, JobState.FAILED, JobState.FAILED, JobState.DONE]
    runs = Counter(line.split()[0] for line in (directory.path / "runs").read_text().splitlines())
    assert runs == {"part-00000": 2, "part-00001": 3, "part-00002": 1, "part-00003": 1}
    behave(directory, 1, "")
    run(directory, [1])
    assert states(directory) == [JobState.DONE, JobState.DONE, JobState.FAILED, JobState.DONE]


def test_whoever_waits_may_stop_the_jobs(directory):
    """As the process that waits does when it is interrupted."""
    behave(directory, 0, "sleep")
    submission = TARGET.submit(directory, [0], directory.plan.resources)
    begun = time.monotonic()
    job = threading.Thread(target=module.work, args=(0, str(directory.path), submission.attempt))
    job.start()
    while not (directory.path / "runs").exists():
        assert time.monotonic() < begun + 120
        time.sleep(0.05)
    assert states(directory)[0] is JobState.RUNNING
    directory.event_log(submission.attempt).with_name("stop").touch()
    job.join(120)
    assert not job.is_alive() and time.monotonic() < begun + 240
    with release(directory, submission):
        pass
    assert states(directory)[0] is JobState.REMOVED


def test_workers_of_this_machine(tmp_path):
    directory = make(tmp_path / "jobs", target="dask", count=2)
    (directory.path / "job.sh").write_text(SCRIPT)
    (directory.path / "batch.yaml").write_text("site: generic\n")
    run(directory, range(2))
    assert states(directory) == [JobState.DONE] * 2


def test_no_scheduler_and_no_package(directory, monkeypatch):
    (directory.path / "batch.yaml").write_text("dask: {scheduler: 'tcp://127.0.0.1:9'}\n")
    directory = JobDir.open(directory.path)
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), pytest.raises(DataError, match="answers"):
        run(directory)
    monkeypatch.setattr(module, "_CLUSTERS", {"slurm": ("dask-jobqueue", "no_such_module", "SLURMCluster")})
    with pytest.raises(UserError, match="pip install dask-jobqueue"):
        module._cluster("slurm", directory.plan.resources)


@pytest.mark.filterwarnings("ignore:Port")
@pytest.mark.parametrize(
    "name, expected", [("slurm", "--mem=2G"), ("htcondor", "RequestMemory"), ("lxplus", "MaxRuntime = 7200")]
)
def test_clusters_of_jobqueue_ask_for_what_a_job_needs(directory, name, expected):
    pytest.importorskip("dask_lxplus" if name == "lxplus" else "dask_jobqueue")
    with module._cluster(name, directory.plan.resources) as cluster:
        assert expected in cluster.job_script() and "--nthreads 1" in cluster.job_script()
