"""Where a training runs: one process or, started by ``torchrun``, several; and what can go wrong there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..config.training import Training
from ..errors import TrainingError, UserError
from .processes import Processes


def join_processes(training: Training) -> Processes:
    """Join the other processes, if there are any, and choose the device.

    Raises
    ------
    UserError
        When the device is not there, or lacks the precision.
    """
    cuda = torch.cuda.is_available()
    if training.accelerator == "gpu" and not cuda:
        raise UserError("training.accelerator is 'gpu', but torch finds no CUDA device here: use 'auto' or 'cpu'")
    accelerator = "cuda" if cuda and training.accelerator != "cpu" else "cpu"
    if training.precision == "fp16" and accelerator == "cpu":
        raise UserError("training.precision: 'fp16' needs a GPU; on a CPU use 'bf16' or 'fp32'")
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if world == 1:
        return Processes(
            torch.device("cuda", torch.cuda.current_device()) if accelerator == "cuda" else torch.device("cpu")
        )
    from .several import join

    return join(accelerator, world, local)


@contextmanager
def explained(training: Training, device: torch.device) -> Iterator[None]:
    """Turn failures of the machine into a message that names the remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
            raise TrainingError(
                f"out of memory on {device}: set training.accumulation to {2 * training.accumulation}, which gives the "
                f"same result with less memory, or lower training.batch_size ({training.batch_size})"
                + (", or set training.in_memory to 'never'" if device.type == "cpu" else "")
            ) from error
        if training.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"training.compile: this model cannot be compiled here ({reason}): set it to false"
            ) from error
        raise
