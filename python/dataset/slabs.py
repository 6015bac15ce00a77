"""Slabs: rows of a dataset that are read together, and which of them make a part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .batch import Batch
from .info import SPLITS


@dataclass(frozen=True, eq=False)
class Slab:
    """Rows that are read together.

    Attributes
    ----------
    sample
        Number of their sample.
    file
        Number of the file that has to be open to read them.
    counts
        Number of rows per split and fold, (3, K).
    location
        Where in the file they lie, as its reader wants it: first row and the one after the last, say.
    """

    sample: int
    file: int
    counts: np.ndarray
    location: Any


Read = Callable[[Slab, np.ndarray], Batch]
"""Reads the rows of a slab of the chosen splits and folds, (3, K) bool, in the order in which they are stored."""


class SlabTable:
    """All slabs of a dataset, and their rows in every part of every fold.

    Parameters
    ----------
    slabs
        In the order in which rows are counted where nothing is shuffled.
    folds
        Number of folds.
    """

    def __init__(self, slabs: Sequence[Slab], folds: int) -> None:
        self.slabs = slabs
        self._folds = folds
        self._counts = np.array([slab.counts for slab in slabs], np.int64).reshape(len(slabs), len(SPLITS), folds)

    def rows(self, part: str, fold: int) -> np.ndarray:
        """Count the rows of a part ("train", "val" or "test") of model ``fold`` in every slab, (S,)."""
        return (self._counts * self.chosen(part, fold)).sum(axis=(1, 2))

    def chosen(self, part: str, fold: int) -> np.ndarray:
        """Say which splits and folds make a part, (3, K) bool; see :mod:`.info` for what it is with folds."""
        chosen = np.zeros((len(SPLITS), self._folds), dtype=bool)
        split = SPLITS.index(part)
        if self._folds == 1:
            chosen[split] = True
        elif part == "test":
            chosen[:split, fold] = True
        else:
            chosen[split] = np.arange(self._folds) != fold
        return chosen
