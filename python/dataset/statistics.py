"""Mean and spread of the inputs, from moments that shards accumulate and that merge exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def merge(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Merge moments (..., 3, F): counts, means, and sums of squared deviations.

    After Chan, Golub, LeVeque, "Algorithms for computing the sample variance", Am. Stat. 37 (1983) 242.
    """
    total = np.zeros_like(parts[0])
    for part in parts:
        count = total[..., 0, :] + part[..., 0, :]
        delta = part[..., 1, :] - total[..., 1, :]
        share = np.divide(part[..., 0, :], count, out=np.zeros_like(count), where=count > 0)
        total[..., 2, :] += part[..., 2, :] + delta**2 * total[..., 0, :] * share
        total[..., 1, :] += delta * share
        total[..., 0, :] = count
    return total


def leave_one_out(folds: np.ndarray) -> list[np.ndarray]:
    """Return for every fold the merged moments (3, F) of all the others."""
    return [merge([m for i, m in enumerate(folds) if i != fold]) for fold in range(len(folds))]


def center_and_scale(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (F,) f4; a feature without entries or spread gets scale 1."""
    count, mean, squares = moments
    scale = np.sqrt(np.divide(squares, count, out=np.zeros_like(count), where=count > 0))
    # below the resolution of the stored f4 values a spread is rounding, not information
    scale[scale <= 1e-7 * np.abs(mean)] = 1
    return mean.astype(np.float32), np.where(scale > 0, scale, 1).astype(np.float32)
