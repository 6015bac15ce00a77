"""Work on many files by processes or on a Dask cluster, under one progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any, NoReturn, TypeVar

from .console import progress
from .errors import DataError, UserError

_INTERRUPTED = 130
_PATIENCE = "10s"
_AHEAD = 2
_DIED = "a worker process died (killed, or out of memory): use fewer -j; the same command goes on where it was"

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
            try:
                while futures:
                    result = futures.popleft().result()
                    futures.extend(_submit(pool, function, job) for job in islice(waiting, 1))
                    yield result
            except BrokenProcessPool:
                raise DataError(_DIED) from None
            finally:
                pool.shutdown(cancel_futures=True)


@contextmanager
def _workers(processes: int, function: Callable[..., object], advance: Report) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of processes whose reports move the progress bar."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.warm", function.__module__])
    shares = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(shares, advance), daemon=True)
    listener.start()
    try:
        with ProcessPoolExecutor(processes, context, _start_worker, (shares,)) as pool:
            yield pool
    finally:
        shares.put(None)
        listener.join()


def _collect(pool: ProcessPoolExecutor, function: Callable[[Job, Report], Result], plan: Sequence[Job]) -> list[Result]:
    futures = {_submit(pool, function, job): i for i, job in enumerate(plan)}
    results: dict[int, Result] = {}
    try:
        for future in as_completed(futures):
            results[futures[future]] = future.result()
    except BrokenProcessPool:
        raise DataError(_DIED) from None
    finally:
        pool.shutdown(cancel_futures=True)
    return [results[i] for i in range(len(plan))]


def _submit(pool: ProcessPoolExecutor, function: Callable[[Job, Report], Result], job: Job) -> Future[Result]:
    """Hand a job to the pool; the worker that this may start inherits a blocked Ctrl-C until it can answer one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_work, function, job)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


_shares: Any = None


def _start_worker(shares: Any) -> None:
    global _shares
    _shares = shares
    signal.signal(signal.SIGINT, _leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _work(function: Callable[[Job, Report], Result], job: Job) -> Result:
    """Do a job in a worker; on Ctrl-C the job cleans up, and the worker leaves without a traceback of its own."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return function(job, _shares.put)
    except KeyboardInterrupt:
        _leave()
    finally:
        signal.signal(signal.SIGINT, _leave)


def _leave(*_: object) -> NoReturn:
    os._exit(_INTERRUPTED)


def _listen(shares: Any, advance: Report) -> None:
    while (share := shares.get()) is not None:
        advance(share)


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
