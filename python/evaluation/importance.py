"""Permutation importance: how much worse a model gets when a feature is shuffled among the rows.

Correlated features share their importance: each one alone can look dispensable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .statistics import Array

Inputs = dict[str, Array]


@dataclass(frozen=True)
class Importance:
    """Decrease of a metric for each of F features in each of R permutations: ``decrease`` is (F, R)."""

    names: tuple[str, ...]
    decrease: Array

    @property
    def mean(self) -> Array:
        """Mean decrease over the permutations, (F,)."""
        return np.asarray(self.decrease.mean(axis=1))

    @property
    def spread(self) -> Array:
        """Sample standard deviation over the permutations, (F,)."""
        return np.asarray(self.decrease.std(axis=1, ddof=1))

    @classmethod
    def pool(cls, parts: Sequence[Importance]) -> Importance:
        """Join the permutations made with several models on the same features."""
        return cls(parts[0].names, np.concatenate([part.decrease for part in parts], axis=1))


def permutation_importance(
    metric: Callable[[Inputs], float],
    inputs: Inputs,
    features: Mapping[str, Sequence[str]],
    seed: int = 0,
    repeats: int = 3,
    done: Callable[[], None] = lambda: None,
) -> Importance:
    """Measure the decrease of a metric when one feature at a time is permuted (Breiman, Mach. Learn. 45 (2001) 5).

    A feature of constituents is permuted among all valid constituents of all rows: multiplicities stay as they are.

    Parameters
    ----------
    metric
        Of the inputs; higher is better.
    inputs
        ``{name: (N, F)}`` or ``{name: (N, L, F), name_mask: (N, L) bool}``; left unchanged.
    features
        Names of the F features of each input, without the masks.
    seed, repeats
        Of the permutations; at least 2 of them.
    done
        Called after each permutation, for a progress bar.

    Returns
    -------
    Importance
        Features are named ``input.feature``, in the given order.
    """
    rng = np.random.default_rng(seed)
    best = metric(inputs)

    def decrease(name: str, column: int) -> float:
        worse = metric({**inputs, name: _permuted(inputs, name, column, rng)})
        done()
        return best - worse

    columns = [(name, column) for name in features for column in range(len(features[name]))]
    names = tuple(f"{name}.{features[name][column]}" for name, column in columns)
    return Importance(names, np.array([[decrease(*column) for _ in range(repeats)] for column in columns]))


def _permuted(inputs: Inputs, name: str, column: int, rng: np.random.Generator) -> Array:
    values = inputs[name].copy()
    mask = inputs.get(f"{name}_mask", np.ones(len(values), bool))
    values[mask, column] = rng.permutation(values[mask, column])
    return values
