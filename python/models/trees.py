"""Boosted trees of any library: as lists, as it evaluates them, and how it grows them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from .rows import Columns


@dataclass(frozen=True)
class Tree:
    """A tree of M nodes, the first of which is its root, as lists of M entries.

    Attributes
    ----------
    output
        Which of the booster's sums it counts for.
    feature
        The column that a node looks at; -1 is a leaf.
    threshold, missing_left
        A value of at most this (with the ``mode`` BRANCH_LT: below it) goes left, and NaN where this says so.
    left, right
        The nodes that follow.
    leaf
        What a leaf adds to the sum.
    mode
        The comparison, as ONNX names it.
    members
        Of nodes that look at categories: numbers of those that go left; all others, and NaN, go right.
    """

    output: int
    feature: list[int]
    threshold: list[float]
    missing_left: list[bool]
    left: list[int]
    right: list[int]
    leaf: list[float]
    mode: str = "BRANCH_LEQ"
    members: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


class Booster(Protocol):
    """Trees of a library; ``outputs`` is the number of sums K."""

    outputs: int

    def sums(self, table: np.ndarray, threads: int) -> np.ndarray:
        """Return the sums over the trees, (N,) or (N, K), of rows (N, W) f4."""

    def trees(self) -> list[Tree]:
        """Return all trees."""


class TreeLibrary(ABC):
    """What grows trees, and reads those that it has grown."""

    @abstractmethod
    def grow(
        self,
        training: Columns,
        validation: Columns | None,
        loss: str,
        classes: int | None,
        level: float | None,
        seed: int,
        threads: int,
        categories: Mapping[int, int],
    ) -> tuple[str, dict[str, list[float]]]:
        """Grow the trees of one booster.

        Parameters
        ----------
        training, validation
            Features (N, W) f4, truth (N,) and weights (N,).
        loss
            The type of the loss.
        classes
            How many there are; None for a regression.
        level
            The quantile, where the loss has one.
        seed, threads
            As :meth:`fit` has them.
        categories
            The columns that hold numbers of categories, NaN where there is no constituent, and how many there are.

        Returns
        -------
        tuple
            The booster as a text, and its losses as :meth:`fit` returns them.
        """

    @abstractmethod
    def read(self, text: str) -> Booster:
        """Make a booster of its text; where that is something else, any exception."""
