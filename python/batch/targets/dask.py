"""The target ``dask``: the same jobs as tasks of Dask, while this process waits; for scale-out at short notice.

The workers see the job directory and have this NanoForge. Each job tells in a file of its own what happens to it.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...console import progress, say
from ...errors import DataError, UserError
from ..events import JobLog, Process, read_logs
from ..jobdir import JobDir, Submission
from ..plan import Resources
from .local import LocalTarget, Pool, is_mine, release

_CLUSTERS = {
    "lxplus": ("dask-lxplus", "dask_lxplus", "CernCluster"),
    "htcondor": ("dask-jobqueue", "dask_jobqueue", "HTCondorCluster"),
    "slurm": ("dask-jobqueue", "dask_jobqueue", "SLURMCluster"),
}
_STOP = "stop"
_PATIENCE = 10.0


class DaskTarget(LocalTarget):
    """Tasks of Dask, while the command waits: on a scheduler, or a cluster that is started for them."""

    def run(self, directory: JobDir, submission: Submission, processes: int) -> None:
        """Let the workers do the jobs of a submission, and wait for them.

        Parameters
        ----------
        directory, submission
            What this process submitted; what another did is left to that process.
        processes
            How many workers to start, where the cluster is ours.

        Raises
        ------
        UserError
            When the cluster's package is not installed.
        DataError
            When the scheduler does not answer.
        """
        if not is_mine(directory, submission):
            return
        from distributed import as_completed, wait

        stop = directory.event_log(submission.attempt).with_name(_STOP)
        with release(directory, submission), _client(directory, submission.resources, processes) as client:
            rows = range(len(submission.jobs))
            futures = client.map(
                work, rows, path=str(directory.path), attempt=submission.attempt, key=directory.plan.run_id, pure=False
            )
            try:
                with progress("running jobs", len(futures)) as bar:
                    failed = 0
                    for future in as_completed(futures):
                        failed += future.status != "finished" or future.result() != 0
                        bar.advance(1)
            finally:
                stop.touch()
                running = [future for future in futures if not future.done()]
                with contextlib.suppress(TimeoutError):
                    wait(running, timeout=_PATIENCE)
                client.cancel(running)
        say(f"{len(futures) - failed} jobs are done" + (f", {failed} failed" if failed else ""))

    def logged(self, directory: JobDir, submission: Submission) -> dict[int, Process]:
        """Return what the log of the submission says, and the jobs in logs of their own."""
        logs = read_logs({number: _log(directory, submission, number) for number in submission.jobs})
        return {**super().logged(directory, submission), **logs}


def work(row: int, path: str, attempt: int) -> int:
    """Do one job of a submission on a worker, and again if that may help; returns its exit code.

    It ends early when the process that waits for it says so.
    """
    directory = JobDir.open(Path(path))
    submission = directory.submissions()[attempt]
    number = submission.jobs[row]
    log = JobLog(_log(directory, submission, number))
    log.submitted(row, number)
    pool = Pool(directory, submission, log)
    stop, done = directory.event_log(attempt).with_name(_STOP), threading.Event()

    def watch() -> None:
        while not done.wait(1):
            if stop.exists():
                pool.interrupt()

    threading.Thread(target=watch, daemon=True).start()
    try:
        return pool.work(row)
    finally:
        done.set()


def _log(directory: JobDir, submission: Submission, number: int) -> Path:
    return directory.stdout(submission.attempt, number).with_suffix(".log")


@contextlib.contextmanager
def _client(directory: JobDir, resources: Resources, workers: int) -> Iterator[Any]:
    """Connect to the scheduler, or start a cluster and end it again."""
    from distributed import Client, LocalCluster

    dask = directory.batch.dask
    with contextlib.ExitStack() as stack:
        scheduler: Any = dask.scheduler
        if dask.cluster is not None:
            scheduler = stack.enter_context(_cluster(dask.cluster, resources))
            scheduler.scale(jobs=workers)
        elif scheduler is None:
            scheduler = stack.enter_context(
                LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
            )
        try:
            client = Client(scheduler)
        except OSError as error:
            raise DataError(f"batch.dask: {scheduler}: no scheduler answers ({error})") from None
        yield stack.enter_context(client)


def _cluster(name: str, resources: Resources) -> Any:
    """Make a cluster whose workers are batch jobs with what a job needs, and do one job at a time."""
    package, module, cls = _CLUSTERS[name]
    try:
        make = getattr(importlib.import_module(module), cls)
    except ImportError:
        raise UserError(f"batch.dask.cluster: {name}: pip install {package}") from None
    options: dict[str, Any] = {"disk": f"{resources.disk}MB"}
    if name == "slurm":
        minutes = resources.runtime // 60
        options = {"walltime": f"{minutes // 60:02}:{minutes % 60:02}:00"}
    elif name == "lxplus":  # the workers have the Python that submits, and not that of the image
        options |= {"container_runtime": "none", "job_extra_directives": {"+MaxRuntime": str(resources.runtime)}}
    return make(
        cores=resources.cores,
        memory=f"{resources.memory}MB",
        processes=1,
        worker_extra_args=["--nthreads", "1"],
        **options,
    )
