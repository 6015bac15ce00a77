"""The environment ``apptainer``: a container."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ...config.batch import BatchBlock, PlainPath
from ...config.environment import Environment
from ..sites import path_of_jobs, shared_folders
from ..templates import fill, template


class Apptainer(Environment):
    """An image with Python and NanoForge's requirements: a file, a folder of CVMFS, or ``docker://...``."""

    image: PlainPath
    """An image file, a folder of CVMFS, or ``docker://...``."""
    is_container: ClassVar[bool] = True

    def script(self, folder: Path, batch: BatchBlock) -> str:
        """See :meth:`~...config.environment.Environment.script`."""
        image = self.image
        if "://" not in image:
            image = str(path_of_jobs(image, batch, f"{self.key_path}.image"))
        gpu = "--nv" if batch.train.gpu or batch.gpu or batch.tune.gpu else ""
        return fill(template("apptainer.sh"), {"image": image, "nv": gpu, "binds": " ".join(shared_folders(batch))})
