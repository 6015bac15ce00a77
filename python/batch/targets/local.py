"""The target ``local``: the same jobs by processes of this machine, with the same plan, logs, retries and parts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import IO

from ...console import progress, say
from ..events import ACTIVE, JobLog, JobState, Process
from ..jobdir import JOB_SCRIPT, JobDir, Submission
from ..outputs import store
from ..plan import BatchJob, Resources
from ..target import Target

_SCRATCH = "scratch"
_MISTAKE = 2
_ENDED = "the process pool was ended before"
_pools: dict[Path, IO[str]] = {}
"""Locks of the logs that this process writes; its jobs inherit them, so that one is free when all of them ended."""


class LocalTarget(Target):
    """Processes of this machine, while the command waits."""

    def submit(
        self, directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str] = ()
    ) -> Submission:
        """Record jobs that :meth:`run` will do."""
        submission = directory.intend(jobs, resources, overrides)
        directory.make_logs(submission.attempt, jobs)
        path = directory.event_log(submission.attempt)
        _pools[path] = _lock(path).open("w")
        fcntl.flock(_pools[path], fcntl.LOCK_EX)
        log = JobLog(path)
        for process, number in enumerate(jobs):
            log.submitted(process, number)
        return directory.conclude(submission, "submitted", None, socket.gethostname())

    def reconcile(self, directory: JobDir, submission: Submission) -> Submission:
        """Find out what became of an interrupted submission: without its process, nothing of it will run."""
        if is_running(directory.event_log(submission.attempt)):
            return directory.conclude(submission, "submitted", None, socket.gethostname())
        return directory.conclude(submission, "void", None, None)

    def withdraw(self, directory: JobDir, submission: Submission, jobs: Sequence[int]) -> None:
        """Do nothing: jobs are never held here."""

    def run(self, directory: JobDir, submission: Submission, processes: int) -> None:
        """Do the jobs of a submission, so many at a time, and wait for them.

        What another process submitted is left to that process. After Ctrl-C (KeyboardInterrupt) the running jobs are
        interrupted as well; ``nanoforge resubmit`` does the rest.
        """
        if not is_mine(directory, submission):
            return
        pool = Pool(directory, submission)
        with (
            release(directory, submission),
            progress("running jobs", len(submission.jobs)) as bar,
            ThreadPoolExecutor(processes) as threads,
        ):
            try:
                futures = [threads.submit(pool.work, process) for process in range(len(submission.jobs))]
                for future in futures:
                    future.add_done_callback(lambda _: bar.advance(1))
                wait(futures, return_when=FIRST_EXCEPTION)
                failed = sum(future.result() != 0 for future in futures if future.done())
            finally:
                pool.interrupt()
                threads.shutdown(cancel_futures=True)
        say(f"{len(futures) - failed} jobs are done" + (f", {failed} failed" if failed else ""))

    def processes(self, directory: JobDir, submission: Submission) -> dict[int, Process]:
        """Read the logs; what can no longer run, since its pool is gone, is removed."""
        processes = self.logged(directory, submission)
        if is_running(directory.event_log(submission.attempt)):
            return processes
        for process in processes.values():
            if process.state in ACTIVE:
                process.state, process.reason = JobState.REMOVED, _ENDED
        return processes

    def logged(self, directory: JobDir, submission: Submission) -> dict[int, Process]:
        """Return what the jobs' logs say."""
        return super().processes(directory, submission)

    def needs_log(self, directory: JobDir) -> bool:
        """Whether nothing else knows: but without its process, nothing of a submission runs."""
        return False


class Pool:
    """The jobs of one submission at work; ``log`` is where they tell of it, if not in that of the submission."""

    def __init__(self, directory: JobDir, submission: Submission, log: JobLog | None = None) -> None:
        self.directory, self.submission = directory, submission
        self.log = log or JobLog(directory.event_log(submission.attempt))
        self._stop = threading.Event()
        self._running: set[subprocess.Popen[bytes]] = set()

    def work(self, process: int) -> int:
        """Do one job, and again if that may help; returns its exit code."""
        job = self.directory.plan.jobs[self.submission.jobs[process]]
        for tries_left in range(self.submission.resources.retries, -1, -1):
            self.log.executing(process)
            code = self._execute(job)
            if self._stop.is_set():
                break
            if code == 0:
                _bring_back(self.directory, job)
            again = code not in (0, _MISTAKE) and tries_left > 0
            self.log.ended(process, code, again)
            if not again:
                break
        return code

    def interrupt(self) -> None:
        """Let running jobs clean up and end, and begin no others."""
        self._stop.set()
        for child in tuple(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)  # SIGINT may be ignored, as behind a shell's "&"

    def _execute(self, job: BatchJob) -> int:
        """Run the job's script in a folder of its own; it goes on with what an earlier try left there."""
        folder, attempt = _scratch(self.directory, job), self.submission.attempt
        folder.mkdir(parents=True, exist_ok=True)
        for source in self.directory.transferred():
            link = folder / source.name
            link.unlink(missing_ok=True)
            link.symlink_to(source)
        argv = ["bash", str(self.directory.path / JOB_SCRIPT), *self.directory.words(job, self.submission.overrides)]
        resources = replace(self.submission.resources, checkpoint=0)  # needed only where jobs are evicted
        environment = os.environ | self.directory.environment(resources, self.submission.overrides)
        lock = (_pools[self.log.path].fileno(),) if self.log.path in _pools else ()
        out, err = self.directory.stdout(attempt, job.number), self.directory.stderr(attempt, job.number)
        with (
            out.open("wb") as stdout,
            err.open("wb") as stderr,
            subprocess.Popen(  # noqa: S603 - our own script
                argv,
                cwd=folder,
                env=environment,
                stdout=stdout,
                stderr=stderr,
                pass_fds=lock,
                start_new_session=True,
            ) as child,
        ):
            self._running.add(child)
            if self._stop.is_set():
                self.interrupt()
            code = child.wait()
            self._running.discard(child)
        return code


def _bring_back(directory: JobDir, job: BatchJob) -> None:
    folder = _scratch(directory, job)
    if (folder / job.part).is_dir():
        store(directory.plan, directory.parts).receive(folder / job.part)
    shutil.rmtree(folder, ignore_errors=True)


def _scratch(directory: JobDir, job: BatchJob) -> Path:
    return directory.path / _SCRATCH / str(job.number)


# -- whether anybody still works --------------------------------------------------------------------------------------


def is_mine(directory: JobDir, submission: Submission) -> bool:
    """Whether this process submitted the jobs, and has yet to run them."""
    return directory.event_log(submission.attempt) in _pools


@contextlib.contextmanager
def release(directory: JobDir, submission: Submission) -> Iterator[None]:
    """Let nobody take the jobs for running any longer when the block ends."""
    try:
        yield
    finally:
        _pools.pop(directory.event_log(submission.attempt)).close()


def is_running(log: Path) -> bool:
    """Whether the process that writes this log, or one of its jobs, is still there."""
    try:
        with _lock(log).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def _lock(log: Path) -> Path:
    return log.with_suffix(".lock")
