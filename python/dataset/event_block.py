"""Finished rows of some events of a file, as they come to be written or trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .info import SPLITS

Arrays = dict[str, np.ndarray]


@dataclass
class EventBlock:
    """Finished rows, sorted by split: split i has rows ``bounds[i]`` to ``bounds[i + 1]``.

    Inputs are as in :class:`.table.Table`, the rest are (N,) arrays; ``weight`` is not yet normalised.
    """

    inputs: dict[str, Any]
    weight: np.ndarray
    fold: np.ndarray
    bounds: np.ndarray
    label: np.ndarray | None = None
    targets: Arrays = field(default_factory=dict)
    identity: Arrays = field(default_factory=dict)
    keep: Arrays = field(default_factory=dict)

    def columns(self) -> Arrays:
        """Return everything but the inputs as (N,) columns."""
        columns: Arrays = {} if self.label is None else {"label": self.label}
        return {**columns, **self.targets, "weight": self.weight, "fold": self.fold, **self.identity, **self.keep}

    def spans(self) -> Iterator[tuple[str, int, int]]:
        """Yield every split with its first row and the one after the last."""
        return zip(SPLITS, self.bounds[:-1].tolist(), self.bounds[1:].tolist())
