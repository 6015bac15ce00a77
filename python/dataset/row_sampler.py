"""Which rows an epoch has, where they are not simply all."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from .batch import Batch


class RowSampler(ABC):
    """Chooses rows of every slab, some of them more than once."""

    @property
    @abstractmethod
    def counts(self) -> np.ndarray:
        """Number of rows that are chosen from every slab, (S,)."""

    @abstractmethod
    def rows(self, slab: int, batch: Batch) -> np.ndarray:
        """Return which rows of a slab are chosen, in random order, (n,) i8; ``batch`` holds all of them."""
