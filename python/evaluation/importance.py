"""Permutation importance: how much worse a model gets when a feature is shuffled among the rows.

Correlated features share their importance: each one alone can look dispensable. So groups of them are shuffled, too, as
one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .statistics import Array

Inputs = dict[str, Array]
CORRELATED = 0.7
"""Features belong to a group whose rank correlations are so large on average."""
_MOST_RANKED = 20_000

Group = tuple[str, list[int]]
"""Columns of an input."""


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

    @property
    def by_name(self) -> dict[str, float]:
        """The mean of each feature, by name."""
        return dict(zip(self.names, self.mean.tolist()))

    @classmethod
    def none(cls) -> Importance:
        """Return that of no features."""
        return cls((), np.zeros((0, 2)))

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
        worse = metric({**inputs, name: _permuted(inputs, name, [column], rng)})
        done()
        return best - worse

    columns = [(name, column) for name in features for column in range(len(features[name]))]
    names = tuple(f"{name}.{features[name][column]}" for name, column in columns)
    return Importance(names, np.array([[decrease(*column) for _ in range(repeats)] for column in columns]))


def correlated_groups(inputs: Inputs, names: Iterable[str]) -> list[Group]:
    """Return the groups of two or more features of the named inputs that are correlated.

    They are clusters by average linkage of the distance 1 - |Spearman's rank correlation|, of constituents over all
    valid ones.
    """
    groups: list[Group] = []
    for name in names:
        clusters: dict[int, list[int]] = {}
        for column, number in enumerate(_clusters(inputs[name][_valid(inputs, name)][:_MOST_RANKED])):
            clusters.setdefault(number, []).append(column)
        groups += [(name, cluster) for cluster in clusters.values() if len(cluster) > 1]
    return groups


def group_importance(
    metric: Callable[[Inputs], float],
    inputs: Inputs,
    features: Mapping[str, Sequence[str]],
    groups: Sequence[Group],
    seed: int = 0,
    repeats: int = 3,
) -> Importance:
    """Measure the decrease of a metric when the features of a group are permuted together.

    They are named ``input: a, b``. For ``groups`` see :func:`correlated_groups`, for the others
    :func:`permutation_importance`.
    """
    if not groups:
        return Importance((), np.zeros((0, repeats)))
    rng = np.random.default_rng(seed)
    best = metric(inputs)
    names, decrease = [], []
    for name, columns in groups:
        worse = [metric({**inputs, name: _permuted(inputs, name, columns, rng)}) for _ in range(repeats)]
        names.append(f"{name}: {', '.join(features[name][column] for column in columns)}")
        decrease.append([best - value for value in worse])
    return Importance(tuple(names), np.array(decrease))


def _clusters(values: Array) -> Array:
    """Return the number of the cluster of each of the F columns of (N, F) values."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    from scipy.stats import rankdata

    number = values.shape[1]
    if number < 2 or len(values) < 3:
        return np.arange(number)
    ranks = rankdata(values, axis=0)
    spread = ranks.std(axis=0)
    ranks = (ranks - ranks.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    distance = np.clip(1 - np.abs(ranks.T @ ranks) / len(ranks), 0, 1)
    np.fill_diagonal(distance, 0)
    return np.asarray(fcluster(linkage(squareform(distance, checks=False), "average"), 1 - CORRELATED, "distance"))


def _valid(inputs: Inputs, name: str) -> Array:
    return np.asarray(inputs.get(f"{name}_mask", np.ones(len(inputs[name]), bool))) > 0


def _permuted(inputs: Inputs, name: str, columns: Sequence[int], rng: np.random.Generator) -> Array:
    """Return an input with the values of some columns in another order, the same for all of them."""
    values = inputs[name].copy()
    mask = _valid(inputs, name)
    order = rng.permutation(np.count_nonzero(mask))
    for column in columns:
        values[mask, column] = values[mask, column][order]
    return values
