"""The environment ``lcg``: a view of the LCG releases on CVMFS."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated, Optional

from ...config.base import of_form
from ...config.batch import BatchBlock, PlainPath, Word
from ...config.environment import Environment
from ...errors import UserError
from ..sites import path_of_jobs
from ..templates import fill, template

_CVMFS = Path("/cvmfs/sft.cern.ch/lcg/views")
_PACKAGES = "packages.tar.xz"
_OLD_VIEWS = 107


class LCG(Environment):
    """A view of the LCG releases, and the packages that it lacks or has too old.

    ``packages`` is a folder of ``pip install --target`` that the jobs see, or an archive (``.tar.xz``, as ``make grid``
    makes it for the Python of the view) that goes along.
    The default of ``platform`` is EL9 with the compiler of the view: gcc 11 up to LCG_107, then gcc 13.
    """

    view: Annotated[str, of_form(r"[\w.-]+", "a view of CVMFS, such as LCG_107")]
    """The view."""
    platform: Optional[Word] = None
    """Its platform, where it is not the usual one."""
    packages: Optional[PlainPath] = None
    """What the view lacks: a folder of ``pip install --target``, or an archive of ``make grid``."""

    @property
    def setup(self) -> str:
        """The script of the view that sets it up."""
        number = re.match(r"LCG_(\d+)", self.view)
        compiler = "gcc11" if number is not None and int(number[1]) <= _OLD_VIEWS else "gcc13"
        platform = self.platform or f"x86_64-el9-{compiler}-opt"
        return f"{_CVMFS}/{self.view}/{platform}/setup.sh"

    def script(self, folder: Path, batch: BatchBlock) -> str:
        """See :meth:`~...config.environment.Environment.script`."""
        if _CVMFS.is_dir() and not Path(self.setup).is_file():
            raise UserError(f"{self.key_path}: there is no {self.setup}: see {_CVMFS} for its views and platforms")
        return fill(template("lcg.sh"), {"setup": self.setup, **self._packages(folder, batch)})

    def _packages(self, folder: Path, batch: BatchBlock) -> dict[str, Path | str | None]:
        """Say where the jobs find the packages beside a view; an archive of them goes along."""
        if self.packages is None:
            return {"archive": None, "packages": None}
        if not self.packages.endswith(".tar.xz"):
            return {"archive": None, "packages": path_of_jobs(self.packages, batch, f"{self.key_path}.packages")}
        archive = Path(self.packages).expanduser()
        if not archive.is_file():
            raise UserError(f"{self.key_path}.packages: there is no {self.packages}: 'make grid' makes one")
        shutil.copyfile(archive, folder / _PACKAGES)
        return {"archive": _PACKAGES, "packages": "$PWD/packages"}
