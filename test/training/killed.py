"""Trains as its arguments say, in processes that end by SIGKILL: usage: killed.py DATASET FOLDER SCHEDULE..."""

from __future__ import annotations

import itertools
import os
import signal
import sys
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


def main(data: str, folder: str, *schedules: str) -> None:
    torch.set_num_threads(1)
    for schedule in schedules:
        for moment, (method, number, seconds) in MOMENTS.items():
            child = os.fork()
            if not child:
                fit.SAVE_EVERY = seconds
                kill_after(method, number)
                run(options(schedule=schedule), Path(data), Path(folder, schedule, moment))
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


if __name__ == "__main__":
    main(*sys.argv[1:])
