"""The processes of a training: one, which needs none of what several do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Value = TypeVar("Value")


class Processes:
    """One process and its device.

    Attributes
    ----------
    device
        Where this process computes.
    rank
        The number of this process.
    count
        How many there are.
    """

    rank, count = 0, 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def network(self, model: nn.Module) -> Any:
        """Bring a model to the device, and return what has its method ``logits`` for the steps of a training."""
        return model.to(self.device)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients, which are averaged over the processes."""
        loss.backward()

    def apart(self, network: Any) -> AbstractContextManager[None]:
        """Leave gradients as each process has them, until those of a later part are computed."""
        del network
        return nullcontext()

    def sum(self, value: Tensor) -> Tensor:
        """Sum a value up over the processes."""
        return value

    def broadcast(self, value: Value) -> Value:
        """Return what the first process gives."""
        return value

    def barrier(self) -> None:
        """Wait for the others."""

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Let the first process do something, and then the others."""
        yield
