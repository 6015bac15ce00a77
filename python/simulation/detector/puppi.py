"""Weights against pileup: charged candidates by their vertex, neutral ones by their charged neighbours."""

from __future__ import annotations

import numpy as np

from ...compiled import jit
from ..flat import delta_r2

CONE = 0.4


@jit
def neutral_weights(
    offsets: np.ndarray, pt: np.ndarray, eta: np.ndarray, phi: np.ndarray, charge: np.ndarray, weight: np.ndarray
) -> None:
    """Set the weight of every neutral candidate to the share of pt that comes from the primary vertex around it.

    That share is taken from the charged candidates within ``CONE``, whose ``weight`` is 1 or 0 already; with none of
    them around, the candidate counts as pileup. Much simpler than PUPPI (JHEP 10 (2014) 059), whose weights it stands
    for.
    """
    for i in range(len(offsets) - 1):
        for a in range(offsets[i], offsets[i + 1]):
            if charge[a] != 0:
                continue
            hard, total = 0.0, 0.0
            for b in range(offsets[i], offsets[i + 1]):
                if charge[b] != 0 and delta_r2(eta[a], phi[a], eta[b], phi[b]) < CONE**2:
                    total += pt[b] ** 2
                    hard += weight[b] * pt[b] ** 2
            weight[a] = hard / total if total > 0 else 0.0
