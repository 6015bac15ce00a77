"""The environment ``local``: the Python that submits."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import ClassVar

from ...config.batch import BatchBlock
from ...config.environment import Environment
from ..sites import absolute, refuse, remedy, visible_to_jobs
from ..templates import fill, template


class LocalEnvironment(Environment):
    """The Python that submits, which jobs see at the same place."""

    brings_nanoforge: ClassVar[bool] = False

    def script(self, folder: Path, batch: BatchBlock) -> str:
        """See :meth:`~...config.environment.Environment.script`."""
        if not visible_to_jobs(sys.prefix, batch):
            refuse(
                f"batch.environment: the jobs of {batch.site} do not see {sys.prefix}, the Python that submits: "
                f"{remedy(batch)}, or let it travel: batch.environment={{venv: {sys.prefix}}}"
            )
        folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        path = os.pathsep.join(str(absolute(folder)) for folder in folders if folder)
        values = {"python": shlex.quote(sys.executable), "pythonpath": shlex.quote(path) if path else None}
        return fill(template("local.sh"), values)
