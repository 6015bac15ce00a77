"""What is known of all training rows: mean and spread of inputs and targets, rows and weights of the classes.

Moments are (..., 3, F): counts, means, and sums of squared deviations. They accumulate part by part and merge exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from . import kernels


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


def normalisation(inputs: Iterable[str], parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    """Return center and scale (F,) of every input from the moments (K, 3, F) of all parts.

    With K > 1 folds also ``fold_center`` and ``fold_scale``, (K, F), from all rows but those of the fold.
    """
    result = {}
    for name in inputs:
        folds = merge([part[name] for part in parts])
        center, scale = center_and_scale(merge(list(folds)))
        result[name] = {"center": center, "scale": scale}
        if len(folds) > 1:
            without = [center_and_scale(m) for m in leave_one_out(folds)]
            result[name] |= {"fold_center": np.stack([c for c, _ in without])}
            result[name] |= {"fold_scale": np.stack([s for _, s in without])}
    return result


@dataclass
class Truth:
    """What the training rows teach, fold by fold.

    Attributes
    ----------
    weights
        Rows, Σw and Σw² per class, of weights that are not negative and of negative ones, (K, 3, 2, C); without classes
        all rows count as one.
    moments
        Of the T regression targets, where they are known, (K, 3, T).
    """

    weights: np.ndarray
    moments: np.ndarray

    @classmethod
    def zero(cls, folds: int, classes: int, targets: int) -> Truth:
        """Begin with no rows."""
        return cls(np.zeros((folds, 3, 2, max(classes, 1))), np.zeros((folds, 3, targets)))

    def book(self, label: np.ndarray | None, targets: np.ndarray | None, weight: np.ndarray, fold: np.ndarray) -> None:
        """Add rows: labels (N,), or targets (N, T) f4, NaN where not known, with weights (N,) and folds (N,) u1."""
        folds, _, signs, classes = self.weights.shape
        cell = (fold.astype(np.int64) * signs + (weight < 0)) * classes + (0 if label is None else label)
        size = folds * signs * classes
        for power in range(3):
            sums = np.bincount(cell, weight.astype(np.float64) ** power, size)
            self.weights[:, power] += sums.reshape(folds, signs, classes)
        if targets is not None:
            valid = np.ones((len(targets), 1), dtype=bool)
            moments = kernels.moments(np.ascontiguousarray(targets)[:, np.newaxis], valid, fold, folds)
            self.moments = merge([self.moments, moments])

    def class_weights(self, fold: int) -> np.ndarray:
        """Return :attr:`weights` of the rows that model ``fold`` trains on, (3, 2, C)."""
        return np.asarray(self.weights[self._used(fold)].sum(axis=0))

    def target_moments(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the targets, each (T,), over the rows that model ``fold`` trains on."""
        count, mean, squares = merge(list(self.moments[self._used(fold)]))
        return mean, np.sqrt(squares / np.maximum(count, 1))

    def known_targets(self, fold: int) -> np.ndarray:
        """Return the number of rows that model ``fold`` trains on in which each target is known, (T,)."""
        return np.asarray(self.moments[self._used(fold), 0].sum(axis=0, dtype=np.int64))

    def _used(self, fold: int) -> np.ndarray:
        folds = len(self.weights)
        return np.arange(folds) != fold if folds > 1 else np.array([True])
