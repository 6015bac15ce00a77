"""Jobs for worker processes, as a script: ``python sleeping.py FOLDER`` has two that say who they are, and sleep."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from nanoforge.parallel import Report, run_jobs
from nanoforge.terminal import interruptible


@dataclass(frozen=True)
class Nap:
    """A job that writes its process number into ``path`` and goes to sleep; it removes it when it is interrupted."""

    path: str


def sleep(job: Nap, report: Report) -> None:
    Path(job.path).write_text(str(os.getpid()))
    report(0.5)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        Path(job.path).write_text("cleaned up")
        raise


if __name__ == "__main__":
    import sleeping

    with interruptible():
        run_jobs(sleeping.sleep, [sleeping.Nap(f"{sys.argv[1]}/{name}") for name in "ab"], 2, "sleeping")
