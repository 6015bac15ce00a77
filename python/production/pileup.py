"""Premixed events: the files of them that lie on disk, and the share of a job."""

from __future__ import annotations

import functools
import hashlib
import os
import random
from collections.abc import Sequence
from pathlib import Path

from ..cmssw.eras import ERAS
from ..errors import UserError
from ..events.files import addresses, das_files, expand, is_logical
from .plan import Production

LIST = "pileup.txt"
SITES = (
    "T2_CH_CERN", "T1_US_FNAL_Disk", "T1_DE_KIT_Disk", "T1_FR_CCIN2P3_Disk", "T1_IT_CNAF_Disk", "T1_UK_RAL_Disk",
    "T1_ES_PIC_Disk",
)  # fmt: skip
"""Where premixed libraries are kept on disk, in the order of looking."""
_FILES_PER_JOB = 50


def is_mixed(production: Production) -> bool:
    """Whether premixed events are mixed into those of a production."""
    return production.produce.pileup.mix and "digi" in production.steps


def files(production: Production) -> list[str]:
    """List the premixed files of a production that are on disk.

    Raises
    ------
    UserError
        When there are none.
    """
    chosen = production.produce.pileup
    if not is_mixed(production):
        return []
    if chosen.files is not None:
        return expand([chosen.files], "cmssw.produce.pileup.files")
    return _on_disk(chosen.dataset or ERAS[production.era].pileup.partition(":")[2])


@functools.cache
def _on_disk(dataset: str) -> list[str]:
    for site in SITES:
        names = das_files(dataset, site)
        if names:
            return [str(name) for name in names]
    raise UserError(
        f"cmssw.produce.pileup: {dataset} is on disk at none of {', '.join(SITES)}: name other premixed events "
        "(pileup: {dataset: ...} or {files: list.txt}), or pileup: none for a test"
    )


def sha256(names: Sequence[str]) -> str:
    """Return the checksum of a list of files."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def share(names: Sequence[str], seed: int, lumi: int, subset: int) -> list[str]:
    """Choose the files of a job, the same each time; another ``subset`` is for when they could not be read."""
    generator = random.Random(f"{seed} {lumi} {subset}")  # noqa: S311 - seeded with a text: by its SHA-512
    return generator.sample(list(names), min(_FILES_PER_JOB, len(names)))


def readable(names: Sequence[str], redirectors: Sequence[str], subset: int) -> list[str]:
    """Return names as cmsRun opens them: by the catalogue of the site at first, where there is one, then by others."""
    local = Path(os.environ.get("SITECONFIG_PATH", "/cvmfs/cms.cern.ch/SITECONF/local")).exists()
    if subset == 0 and local:
        return list(names)
    return [_address(name, redirectors, subset) for name in names]


def _address(name: str, redirectors: Sequence[str], subset: int) -> str:
    if not is_logical(name):
        return name if "://" in name else f"file:{name}"
    candidates = addresses(name, redirectors)
    return candidates[subset % len(candidates)]
