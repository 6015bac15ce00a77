"""Missing transverse momentum from candidates."""

from __future__ import annotations

import numpy as np

from ..detector.candidates import Candidates
from ..flat import sum_by
from .jets import Clusters, correction

# Resolution of each component, sigma^2 = constant^2 + stochastic^2 sumEt (GeV, sqrt(GeV)); the form is that
# of CMS, arXiv:1903.06078, the numbers are this simulation's
CONSTANT, STOCHASTIC = 2.0, 0.60


def missing(
    candidates: Candidates, p: dict[str, np.ndarray], weight: np.ndarray, jets: Clusters | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Missing momentum in x and y and the scalar sum, (n,) each in GeV.

    That of candidates (momenta ``p``) times their weight; ``jets`` add their energy correction (type 1).
    """
    size, event = len(candidates.offsets) - 1, candidates.event
    x, y, total = (sum_by(event, value * weight, size) for value in (-p["px"], -p["py"], candidates.pt))
    if jets is not None:
        extra = correction(jets.pt, jets.eta) - 1
        x -= sum_by(jets.event, extra * jets.px, size)
        y -= sum_by(jets.event, extra * jets.py, size)
        total += sum_by(jets.event, extra * jets.pt, size)
    return x, y, total


def table(candidates: Candidates, p: dict[str, np.ndarray], jets: Clusters) -> dict[str, np.ndarray]:
    """All missing-momentum branches of NanoAOD that are made here."""
    ones = np.ones(len(candidates.pt))
    kinds = {
        "MET": (ones, jets), "RawMET": (ones, None), "PuppiMET": (candidates.puppiWeight, jets),
        "RawPuppiMET": (candidates.puppiWeight, None),
    }  # fmt: skip
    out: dict[str, np.ndarray] = {}
    for name, (weight, corrected) in kinds.items():
        x, y, total = missing(candidates, p, weight, corrected)
        out |= {f"{name}_pt": np.hypot(x, y), f"{name}_phi": np.arctan2(y, x), f"{name}_sumEt": total}
    for name in ("MET", "PuppiMET"):
        variance = CONSTANT**2 + STOCHASTIC**2 * out[f"{name}_sumEt"]
        out |= {f"{name}_covXX": variance, f"{name}_covYY": variance, f"{name}_covXY": np.zeros(len(variance))}
        out[f"{name}_significance"] = out[f"{name}_pt"] ** 2 / variance
    return {name: column.astype(np.float32) for name, column in out.items()}
