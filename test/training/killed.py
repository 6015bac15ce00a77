"""Trainings in processes that end by SIGKILL."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import torch
from fitting import options, run
from nanoforge.training import fit

MOMENTS = {"within": ("_step", 13, 600.0), "checkpoint": ("_step", 13, -1.0), "between": ("_finish_epoch", 2, 600.0)}
"""After which call of which method of a fit, and seconds between checkpoints within an epoch (of 8 steps)."""


def kill_after(method: str, number: int) -> None:
    original, calls = getattr(fit.Fit, method), itertools.count(1)

    def last(self, *arguments):
        result = original(self, *arguments)
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(fit.Fit, method, last)


def train_and_die(data: Path, folder: Path, schedules: Sequence[str]) -> None:
    """Train once for each schedule and moment, in ``folder / schedule / moment``."""
    for schedule in schedules:
        for moment, (method, number, seconds) in MOMENTS.items():
            child = os.fork()
            if not child:
                torch.set_num_threads(1)
                fit.SAVE_EVERY = seconds
                kill_after(method, number)
                run(options(schedule=schedule), data, folder / schedule / moment)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
