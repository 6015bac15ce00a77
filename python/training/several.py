"""Several processes, which ``torchrun`` started, joined by Lightning Fabric.

Its import takes as long as all of torch, so that one process does without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from lightning.fabric import Fabric
from torch import Tensor, nn

from .processes import Processes, Value


def join(accelerator: str, count: int, local: int) -> Processes:
    """Join the other processes of a distributed training.

    Parameters
    ----------
    accelerator
        "cpu" or "cuda".
    count, local
        Number of all processes, and of those of this machine.
    """
    return _Several(accelerator, count, local)


class _Several(Processes):
    def __init__(self, accelerator: str, count: int, local: int) -> None:
        self._fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=count // local, strategy="ddp")
        self._fabric.launch()
        super().__init__(self._fabric.device)
        self.rank, self.count = self._fabric.global_rank, self._fabric.world_size

    def network(self, model: nn.Module) -> Any:
        network = self._fabric.setup_module(model)
        network.mark_forward_method("logits")
        return network

    def backward(self, loss: Tensor) -> None:
        self._fabric.backward(loss)

    def apart(self, network: Any) -> AbstractContextManager[None]:
        return self._fabric.no_backward_sync(network)

    def sum(self, value: Tensor) -> Tensor:
        return self._fabric.all_reduce(value, reduce_op="sum")  # type: ignore[return-value]

    def broadcast(self, value: Value) -> Value:
        return self._fabric.broadcast(value)

    def barrier(self) -> None:
        self._fabric.barrier()

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        with self._fabric.rank_zero_first():
            yield
