"""Optimisers, and the learning rate at every step.

A schedule is a function of how far the training has come and of its losses so far, and has no state of its own: a
training that goes on after an interruption cannot but have the same learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..config.training import ConstantSchedule, OneCycleSchedule, PlateauSchedule, Schedule, Training


def make_optimizer(training: Training, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """Make the optimiser of the parameters that are trained; the schedule sets its learning rate before each step.

    AdamW (Loshchilov, Hutter, arXiv:1711.05101), RAdam (Liu et al., arXiv:1908.03265) with AdamW's weight decay, or
    stochastic gradient descent with Nesterov's momentum of 0.9.
    """
    trained = [p for p in parameters if p.requires_grad]
    # With fp16 the gradients are unscaled before the step, so that they can be clipped: a fused step would do it again.
    fused = training.precision != "fp16"
    if training.optimizer == "radam":
        return torch.optim.RAdam(trained, weight_decay=training.weight_decay, decoupled_weight_decay=True)
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            trained, lr=0.0, momentum=0.9, nesterov=True, weight_decay=training.weight_decay, fused=fused
        )
    return torch.optim.AdamW(trained, weight_decay=training.weight_decay, fused=fused)


def factor(schedule: Schedule, progress: float, losses: Sequence[float]) -> float:
    """Return what the learning rate is multiplied by.

    Parameters
    ----------
    schedule
        The block ``training.schedule``.
    progress
        The part of all steps that is done, between 0 and 1.
    losses
        The loss of every finished epoch, of validation where there is any.
    """
    if progress < schedule.warmup:
        rise = progress / schedule.warmup
        return _cosine(schedule.start, 1.0, rise) if isinstance(schedule, OneCycleSchedule) else rise
    if isinstance(schedule, PlateauSchedule):
        return schedule.factor ** plateaus(losses, schedule.patience)
    if isinstance(schedule, ConstantSchedule):
        return 1.0
    return _cosine(1.0, schedule.final, (progress - schedule.warmup) / (1 - schedule.warmup))


def plateaus(losses: Sequence[float], patience: int) -> int:
    """Count how often the loss was no better than the best before for more than ``patience`` epochs."""
    least, waited, count = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < least else waited + 1
        least = min(least, loss)
        if waited > patience:
            count, waited = count + 1, 0
    return count


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
