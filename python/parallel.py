"""Work on many files by processes or on a Dask cluster, under one progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, NoReturn, TypeVar

from .console import progress
from .errors import DataError, UserError, machine_failure

_INTERRUPTED = 130
_ENDING = {signal.SIGINT, signal.SIGTERM}
_GRACE = 0.2
"""Seconds between the death of a worker and that of this process, where both were interrupted."""
_PATIENCE = "10s"
_AHEAD = 2
_LONGEST = 1000

Job = TypeVar("Job")
Result = TypeVar("Result")
Report = Callable[[float], None]
"""Called by a job with the share of it that was done since the last call."""


def run_jobs(
    function: Callable[[Job, Report], Result], plan: Sequence[Job], processes: int, description: str
) -> list[Result]:
    """Call a function on every job and return the results in the order of the plan.

    Parameters
    ----------
    function
        A function of a module (workers import it), called with a job and a :data:`Report`.
    plan
        The jobs.
    processes
        How many at a time; with 1 everything happens in this process.
    description
        Shown beside the progress bar.

    Raises
    ------
    DataError
        When a worker process dies; what a job raises is raised here, and the jobs not yet begun are dropped.
    """
    with progress(description, len(plan)) as bar:
        if processes == 1 or len(plan) <= 1:
            return [function(job, bar.advance) for job in plan]
        with _workers(min(processes, len(plan)), function, bar.advance) as pool:
            return _collect(pool, function, plan)


def stream_jobs(
    function: Callable[[Job, Report], Result], plan: Sequence[Job], processes: int, description: str
) -> Generator[Result, None, None]:
    """Do what :func:`run_jobs` does, but yield the results in the order of the plan while the work goes on.

    Only a few jobs more than there are processes are under way or wait to be taken: the memory does not grow with the
    plan.
    """
    with progress(description, len(plan)) as bar:
        if processes == 1 or len(plan) <= 1:
            for job in plan:
                yield function(job, bar.advance)
            return
        with _workers(min(processes, len(plan)), function, bar.advance) as pool:
            waiting = iter(plan)
            futures = deque(_submit(pool, function, job) for job in islice(waiting, processes + _AHEAD))
            while futures:
                result = futures.popleft().result()
                futures.extend(_submit(pool, function, job) for job in islice(waiting, 1))
                yield result


@contextmanager
def _workers(processes: int, function: Callable[..., object], advance: Report) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of processes whose reports move the progress bar.

    When this process is interrupted it interrupts the workers, too, and a worker that misses it ends.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.warm", function.__module__])
    reader, writer = context.Pipe(duplex=False)  # short messages need no lock, which a killed worker would keep
    under_way: dict[int, str] = {}
    listener = threading.Thread(target=_listen, args=(reader, advance, under_way), daemon=True)
    listener.start()
    try:
        with _pool(processes, context, writer) as pool:
            try:
                yield pool
            except BrokenProcessPool:
                time.sleep(_GRACE)  # an interruption of all processes may reach this one last
                raise DataError(_died(under_way)) from None
            except (KeyboardInterrupt, GeneratorExit):
                _interrupt_workers()
                raise
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        writer.close()
        listener.join(_GRACE)


def _pool(processes: int, context: Any, writer: Any) -> ProcessPoolExecutor:
    try:
        return ProcessPoolExecutor(processes, context, _start_worker, (writer,))
    except OSError as error:
        raise _unstartable(error) from error


def _unstartable(error: OSError) -> DataError:
    """Name what worker processes lack; their semaphores lie in /dev/shm."""
    lack = (
        machine_failure(error) or f"{error.strerror or error}: is /dev/shm full, or not to be written? -j 1 needs none"
    )
    return DataError(f"no worker processes can be started: {lack}")


def _interrupt_workers() -> None:
    for worker in multiprocessing.active_children():
        with suppress(ProcessLookupError):
            if worker.pid is not None:
                os.kill(worker.pid, signal.SIGINT)


def _died(under_way: dict[int, str]) -> str:
    files = sorted(filter(None, under_way.values()))
    at = f" at {' or '.join(files)}" if files else ""
    return (
        f"a worker process died{at} (killed, out of memory, or by a broken file): use fewer -j; the same command goes "
        "on where it was"
    )


def _collect(pool: ProcessPoolExecutor, function: Callable[[Job, Report], Result], plan: Sequence[Job]) -> list[Result]:
    futures = {_submit(pool, function, job): i for i, job in enumerate(plan)}
    results: dict[int, Result] = {}
    for future in as_completed(futures):
        results[futures[future]] = future.result()
    return [results[i] for i in range(len(plan))]


def _submit(pool: ProcessPoolExecutor, function: Callable[[Job, Report], Result], job: Job) -> Future[Result]:
    """Hand a job to the pool; the worker that this may start inherits blocked signals until it can answer them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        return pool.submit(_work, function, job)
    except OSError as error:
        raise _unstartable(error) from error
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


_writer: Any = None


def _start_worker(writer: Any) -> None:
    global _writer
    _writer = writer
    threading.Thread(target=_watch_parent, daemon=True).start()
    _answer_with(_leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def _watch_parent() -> None:
    """End with the process that started this one, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _leave()


def _work(function: Callable[[Job, Report], Result], job: Job) -> Result:
    """Do a job in a worker; interrupted, it cleans up, and the worker leaves without a traceback of its own."""
    _answer_with(_interrupt)
    try:
        _report(str(getattr(job, "path", ""))[:_LONGEST])
        result = function(job, _report)
        _report(None)
        return result
    except KeyboardInterrupt:
        _leave()
    finally:
        _answer_with(_leave)


def _report(progress: float | str | None) -> None:
    """Send a share of the job, the file that it is about, or None at its end."""
    with suppress(BrokenPipeError):
        _writer.send((os.getpid(), progress))


def _answer_with(handler: Callable[..., object]) -> None:
    for number in _ENDING:
        signal.signal(number, handler)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _leave(*_: object) -> NoReturn:
    os._exit(_INTERRUPTED)


def _listen(reader: Any, advance: Report, under_way: dict[int, str]) -> None:
    """Take the reports of the workers, and note which file each is at."""
    with suppress(EOFError, OSError):
        while True:
            worker, progress = reader.recv()
            if isinstance(progress, (int, float)):
                advance(progress)
            else:
                under_way[worker] = progress or ""


def run_on_dask(
    function: Callable[[Job, Report], Result], plan: Sequence[Job], address: str, description: str
) -> list[Result]:
    """Do what :func:`run_jobs` does on a running Dask cluster; its workers need NanoForge and the same file system.

    Raises
    ------
    UserError
        When no scheduler answers at the address.
    DataError
        When a job kills its workers; what a job raises is raised here, and the jobs not yet begun are dropped.
    """
    from distributed import Client, KilledWorker, as_completed

    try:
        client = Client(address, timeout=_PATIENCE)
    except (OSError, ValueError) as error:
        raise UserError(f"--scheduler {address}: no Dask scheduler answers ({error})") from None
    with client, progress(description, len(plan)) as bar:
        futures = {client.submit(_work_silently, function, job, pure=False): i for i, job in enumerate(plan)}
        results: dict[int, Result] = {}
        try:
            for future in as_completed(futures):
                results[futures[future]] = future.result()
                bar.advance(1)
        except KilledWorker:
            raise DataError(
                "Dask workers died (killed, or out of memory): give them more; the same command goes on where it was"
            ) from None
        finally:
            client.cancel(list(futures))
    return [results[i] for i in range(len(plan))]


def _work_silently(function: Callable[[Job, Report], Result], job: Job) -> Result:
    return function(job, lambda share: None)
