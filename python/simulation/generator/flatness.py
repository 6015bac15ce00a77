"""How flat a gun's spectra of mass and pt are, as generated and as the filters kept them."""

from __future__ import annotations

import numpy as np

from .gun import Occupancy

STAGES = ("tried", "passed")
PLANES = {"mass": (1,), "pt": (0,), "map": ()}
"""What is looked at, and the axes of the bins of mass and pt that are summed up for it."""


def flatness(spectra: Occupancy) -> dict[str, dict[str, float | None]]:
    """Return chi2/ndf to a flat distribution over the bins that are aimed at, of each plane of what was tried and kept.

    Counts are Poissonian about an expectation that is normalised to them; None where there is one bin only.
    """
    return {stage: {plane: chi2_per_ndf(spectra, stage, plane) for plane in PLANES} for stage in STAGES}


def projection(spectra: Occupancy, stage: str, plane: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts in a plane, and what a flat distribution would have there."""
    shape = len(spectra.mass) - 1, len(spectra.pt) - 1
    counts = getattr(spectra, stage)
    flat = spectra.aimed * counts[spectra.aimed].sum() / max(spectra.aimed.sum(), 1)
    counted, expected = (values.reshape(shape).sum(axis=PLANES[plane]) for values in (counts, flat))
    return counted, expected


def chi2_per_ndf(spectra: Occupancy, stage: str, plane: str) -> float | None:
    """Return chi2/ndf of one plane to a flat distribution; None where there is one bin only."""
    counted, expected = projection(spectra, stage, plane)
    aimed = expected > 0
    if aimed.sum() < 2:
        return None
    return float(((counted - expected)[aimed] ** 2 / expected[aimed]).sum() / (aimed.sum() - 1))
