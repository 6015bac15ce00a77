"""Ask for trust where somebody can answer: before jobs are submitted; and keep it when their results come back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ..batch.jobdir import JobDir
from ..config import load
from ..config.schema import Analysis
from ..errors import NanoForgeError
from ..models.load import named_code, own_code
from ..provenance import Manifest
from ..provenance.trust import remember, require


def check_runs(analysis: Analysis, run: Path | None, *, trust: bool) -> None:
    """Refuse the Python code that runs of somebody else name, and the analysis file does not: the jobs would run it."""
    init = analysis.training.init
    runs = [run, None if init is None else Path(init.run)]
    for folder in (folder for folder in runs if folder is not None):
        trained = Manifest.read(folder, "train")
        code = own_code(trained, folder) - named_code(analysis.model_dump(mode="json"))
        require(folder, trained, code, trust=trust)


def vouch(directory: Path, run: Path) -> None:
    """Note that this user had a run trained by a job, with the code that the analysis file of the job names."""
    with suppress(NanoForgeError):  # then the first use of the run asks
        jobs = JobDir.open(directory)
        if jobs.plan.stage == "train":
            trained = Manifest.read(run, "train")
            if own_code(trained, run) <= named_code(load(jobs.analysis).model_dump(mode="json")):
                remember(trained, own_code(trained, run))
