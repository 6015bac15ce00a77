"""Rows of a step of training, as tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from .resources import ahead


@dataclass(frozen=True)
class Batch:
    """N rows as tensors.

    Attributes
    ----------
    inputs
        Per input its raw features, (N, F) f4 or (N, L, F) f4; for constituents ``<input>_mask``, (N, L) bool, too.
    label
        Index of the class, (N,) i8; None for a regression.
    targets
        Regression targets in the order of ``DatasetInfo.regression``, (N, T) f4, NaN where not known; None for a
        classification.
    weight
        Physics weight, (N,) f4.
    kept
        Columns of ``keep`` that were asked for, (N, V) f4; None without any.
    numbers
        Where the rows stand among those of their part as it is stored, (N,) i8; None unless they were asked for.
    """

    inputs: dict[str, Tensor]
    label: Tensor | None
    targets: Tensor | None
    weight: Tensor
    kept: Tensor | None = None
    numbers: Tensor | None = None

    def __len__(self) -> int:
        return len(self.weight)

    def tensors(self) -> list[Tensor]:
        """Return all tensors, in a fixed order."""
        others = self.label, self.targets, self.weight, self.kept, self.numbers
        return [t for t in (*self.inputs.values(), *others) if t is not None]

    def row_bytes(self) -> int:
        """Return the bytes of a row."""
        return sum(t.element_size() * math.prod(t.shape[1:]) for t in self.tensors())

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Apply a function to every tensor."""
        inputs = {name: change(t) for name, t in self.inputs.items()}
        label, targets = (None if t is None else change(t) for t in (self.label, self.targets))
        weight = change(self.weight)
        kept, numbers = (None if t is None else change(t) for t in (self.kept, self.numbers))
        return Batch(inputs, label, targets, weight, kept, numbers)

    def take(self, start: int, stop: int) -> Batch:
        """Return rows ``start`` to ``stop``, without a copy."""
        return self.each(lambda t: t[start:stop])

    def parts(self, count: int) -> list[Batch]:
        """Divide the rows into so many equal parts, the last of which may be smaller, without a copy."""
        size = math.ceil(len(self) / count)
        return [self.take(start, min(start + size, len(self))) for start in range(0, len(self), max(1, size))]

    def select(self, rows: Tensor) -> Batch:
        """Return chosen rows, (n,) i8."""
        return self.each(lambda t: t.index_select(0, rows))

    @staticmethod
    def join(parts: Sequence[Batch]) -> Batch:
        """Put the rows of several batches one after the other."""
        if len(parts) == 1:
            return parts[0]
        columns = iter([torch.cat(column) for column in zip(*(p.tensors() for p in parts))])
        return parts[0].each(lambda _: next(columns))


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Move batches to a device; for a GPU a thread pins the next one, and the copy does not hold up the host."""
    if device.type != "cuda":
        yield from batches
        return
    with closing(ahead(batch.each(Tensor.pin_memory) for batch in batches)) as pinned:
        for batch in pinned:
            yield batch.each(lambda t: t.to(device, non_blocking=True))
