"""Requests of one model: what arrives while it is busy is scored together afterwards."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Callable

import numpy as np

from .request_error import RequestError
from .served_model import ServedModel, Tensors

MAX_ROWS = 4096
"""At most so many rows are scored at a time, unless one request has more."""
QUICK_ROWS = 64
"""So few are scored at once, without a thread: that takes less time than to hand them over."""


@dataclass(frozen=True)
class _Waiting:
    tensors: Tensors
    result: asyncio.Future[Tensors]

    @property
    def rows(self) -> int:
        return len(next(iter(self.tensors.values())))


class Batcher:
    """Scores the requests of a model in turn. An idle model answers at once: nothing waits for a timer.

    Parameters
    ----------
    model
        The model.
    executor
        Its threads score what takes long.
    limit
        So many requests wait at most.
    on_batch
        Is told the number of rows of every run.
    """

    def __init__(self, model: ServedModel, executor: Executor, limit: int, on_batch: Callable[[int], None]) -> None:
        self.model = model
        self._executor = executor
        self._limit = limit
        self._on_batch = on_batch
        self._waiting: deque[_Waiting] = deque()
        self._alone: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting) + len(self._alone)

    async def score(self, tensors: Tensors) -> Tensors:
        """Score a request.

        Raises
        ------
        RequestError
            429 where too many wait, 400 where the inputs do not fit or the model fails on them.
        """
        self.model.check(tensors)
        if len(self._waiting) >= self._limit:
            raise RequestError(
                429, f"{len(self._waiting)} requests wait for {self.model.version.name}: try again later"
            )
        waiting = _Waiting(tensors, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await waiting.result

    async def _work(self) -> None:
        while self._waiting or self._alone:
            batch = self._next()
            rows = sum(w.rows for w in batch)
            try:
                if rows <= QUICK_ROWS:
                    results = self._run(batch)
                    await asyncio.sleep(0)  # lets requests come in
                else:
                    results = await asyncio.get_running_loop().run_in_executor(self._executor, self._run, batch)
            except Exception as error:  # ONNX Runtime has a dozen kinds
                if len(batch) > 1:  # whichever it was, the others get their scores
                    self._alone.extend(batch)
                else:
                    reason = f"{self.model.version.name} fails on these inputs ({str(error).partition(chr(10))[0]})"
                    _refuse(batch[0], RequestError(400, reason))
                continue
            self._on_batch(rows)
            for waiting, result in zip(batch, results):
                if not waiting.result.done():  # the client may have gone
                    waiting.result.set_result(result)
        self._task = None

    def _next(self) -> list[_Waiting]:
        """Take what is scored together."""
        if self._alone:
            return [self._alone.popleft()]
        batch = [self._waiting.popleft()]
        rows = batch[0].rows
        while self.model.many_rows and self._waiting and rows + self._waiting[0].rows <= MAX_ROWS:
            batch.append(self._waiting.popleft())
            rows += batch[-1].rows
        return batch

    def _run(self, batch: Sequence[_Waiting]) -> list[Tensors]:
        if len(batch) == 1:
            return [self.model.run(batch[0].tensors)]
        together = {name: _joined([w.tensors[name] for w in batch]) for name in self.model.inputs}
        results = self.model.run(together)
        ends = np.cumsum([w.rows for w in batch])
        return [{name: values[end - w.rows : end] for name, values in results.items()} for w, end in zip(batch, ends)]


def _refuse(waiting: _Waiting, error: RequestError) -> None:
    if not waiting.result.done():  # the client may have gone
        waiting.result.set_exception(error)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Put rows together; lists are padded with zeros to the longest."""
    shape = np.max([part.shape[1:] for part in parts], axis=0).astype(int)
    if all(part.shape[1:] == tuple(shape) for part in parts):
        return np.concatenate(parts)
    joined = np.zeros((sum(map(len, parts)), *shape), np.float32)
    start = 0
    for part in parts:
        joined[(slice(start, start + len(part)), *map(slice, part.shape[1:]))] = part
        start += len(part)
    return joined
