"""The environment ``venv``: a virtual environment."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Optional

from ...config.batch import BatchBlock, PlainPath
from ...config.environment import Environment
from ...errors import UserError
from ..sites import absolute, visible_to_jobs
from ..software import pack
from ..templates import fill, template


class VirtualEnvironment(Environment):
    """A virtual environment; where jobs do not see it, it is packed and travels with them."""

    path: PlainPath
    """Its folder; ``venv: FOLDER`` is short for it."""
    single: ClassVar[Optional[str]] = "path"

    def script(self, folder: Path, batch: BatchBlock) -> str:
        """See :meth:`~...config.environment.Environment.script`."""
        venv = Path(self.path).expanduser()
        if not (venv / "bin" / "python").exists():
            raise UserError(f"{self.key_path}: {venv}: no bin/python, so this is no virtual environment")
        if visible_to_jobs(venv, batch):
            return fill(template("venv.sh"), {"venv": absolute(venv)})
        pack(venv, "venv", folder / "venv.tar.gz")
        return template("packed.sh")
