"""What the training rows of a fold teach about scales, quantiles and principal components of the inputs.

The normalisation that the dataset has is enough for standardised features. Everything else takes a pass over the rows,
for ``robust``, ``minmax`` and ``quantile``, and another one for ``log`` and ``pca``, whatever fits in memory: extremes
and moments are exact, and quantiles those of a uniform sample of ``SAMPLE`` rows or constituents, which are all where
there are no more. As in the normalisation, each counts once, whatever its weight.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..dataset.source import TrainingData
from ..models.network import NetworkModel
from ..models.preparation import INTERVALS, Preparation

SAMPLE = 1 << 17
"""A share of the sample differs from that of all rows by 0.14 % (one standard deviation, at the median)."""
_SEED = 1
_NEEDED = ("robust", "minmax", "quantile")


def fit_preparations(model: NetworkModel, dataset: TrainingData, fold: int, processes: int = 1) -> None:
    """Fill the buffers of a model's preparations, by the rows that model ``fold`` trains on.

    Parameters
    ----------
    model
        Knows the normalisation of its inputs already.
    dataset, fold
        The rows.
    processes
        How many processes keep rows in memory.
    """
    prepared: dict[str, Preparation] = dict(model.preparations.items())  # type: ignore[arg-type]
    for name, preparation in prepared.items():
        _standardise(preparation, *model.typical(name))
    ranges = {name: _Ranges(p.info.numbers) for name, p in prepared.items() if set(_NEEDED) & set(p.info.scales)}
    if ranges:
        for name, entries in _entries(model, list(ranges), dataset, fold, processes):
            ranges[name].add(entries[:, prepared[name].info.numbers])
    for name, observed in ranges.items():
        observed.fill(prepared[name])
    moments = {n: _Moments() for n, p in prepared.items() if "log" in p.info.scales or p.info.components is not None}
    if moments:
        for name, entries in _entries(model, list(moments), dataset, fold, processes):
            moments[name].add(prepared[name].scaled(torch.from_numpy(entries)).numpy())
    for name, scaled in moments.items():
        scaled.fill(prepared[name])


def _standardise(preparation: Preparation, center: np.ndarray, scale: np.ndarray) -> None:
    """Take over the normalisation, (F,) each, of the features that are standardised; leave the others as they are."""
    info = preparation.info
    standard = [info.scales[i] == "standard" for i in info.numbers]
    _set(preparation, "center", np.where(standard, center[info.numbers], 0.0))
    _set(preparation, "scale", np.where(standard, scale[info.numbers], 1.0))


def _entries(
    model: NetworkModel, names: list[str], dataset: TrainingData, fold: int, processes: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Pass once over the training rows: of each input and slab the rows, or valid constituents, (M, F) f4."""
    for batch in dataset.by_slab("train", fold, processes):
        for name in names:
            values: Tensor = batch.inputs[name]
            if model.spec.inputs[name].length is not None:
                values = values[batch.inputs[f"{name}_mask"]]
            yield name, values.numpy()


class _Ranges:
    """Smallest and largest finite value, mean square deviation, and a uniform sample of F numbers."""

    def __init__(self, numbers: list[int]) -> None:
        self._low = np.full(len(numbers), np.inf)
        self._high = np.full(len(numbers), -np.inf)
        self._sample = np.zeros((0, len(numbers)), np.float32)
        self._priority = np.zeros(0)
        self._rng = np.random.default_rng(_SEED)

    def add(self, values: np.ndarray) -> None:
        """Add entries (M, F)."""
        finite = np.isfinite(values)
        self._low = np.minimum(self._low, values.min(axis=0, initial=np.inf, where=finite))
        self._high = np.maximum(self._high, values.max(axis=0, initial=-np.inf, where=finite))
        priority = self._rng.random(len(values))
        if len(self._priority) == SAMPLE:  # whoever is above the last one of a full sample has no chance
            chosen = priority < self._priority.max()
            values, priority = values[chosen], priority[chosen]
        self._sample = np.concatenate([self._sample, values])
        self._priority = np.concatenate([self._priority, priority])
        if len(self._priority) > SAMPLE:
            kept = np.sort(np.argpartition(self._priority, SAMPLE - 1)[:SAMPLE])
            self._sample, self._priority = self._sample[kept], self._priority[kept]

    def fill(self, preparation: Preparation) -> None:
        """Set what a preparation needs of it."""
        info = preparation.info
        center, scale = (preparation.get_buffer(key).numpy() for key in ("center", "scale"))  # which they share
        ranked = 0
        for k, i in enumerate(info.numbers):
            column = self._sample[:, k]
            values = column[np.isfinite(column)].astype(np.float64)
            if info.scales[i] == "minmax" and self._low[k] <= self._high[k]:
                center[k], scale[k] = self._low[k], (self._high[k] - self._low[k]) or 1.0
            elif info.scales[i] == "robust" and len(values):
                low, center[k], high = np.quantile(values, [0.25, 0.5, 0.75])
                scale[k] = high - low or values.std() or 1.0  # where half of the values are equal, what there is
            elif info.scales[i] == "quantile":
                _rank(preparation, ranked, values)
                ranked += 1


def _rank(preparation: Preparation, number: int, values: np.ndarray) -> None:
    """Set quantiles and shares of a feature; of equal quantiles the share is the mean of theirs."""
    shares = np.linspace(0, 1, INTERVALS + 1)
    quantiles = np.quantile(values, shares).astype(np.float32) if len(values) else np.zeros(INTERVALS + 1, np.float32)
    unique, first, counts = np.unique(quantiles, return_index=True, return_counts=True)
    knots = np.full(INTERVALS + 1, np.finfo(np.float32).max, np.float32)
    levels = np.empty(INTERVALS + 1)
    knots[: len(unique)] = unique
    levels[: len(unique)] = shares[first] + shares[first + counts - 1] - 1
    levels[len(unique) :] = levels[len(unique) - 1]
    for key, content in (("knots", knots), ("levels", levels), ("last", unique[-1:])):
        preparation.get_buffer(key)[number] = torch.from_numpy(np.asarray(content, np.float32)).squeeze()


class _Moments:
    """Count, means and products of deviations of F numbers, which merge exactly."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = np.zeros(())
        self._products = np.zeros(())

    def add(self, values: np.ndarray) -> None:
        """Add entries (M, F); one that has something that is not finite does not count."""
        values = values[np.isfinite(values).all(axis=1)].astype(np.float64)
        if not len(values):
            return
        mean = values.mean(axis=0)
        deviations = values - mean
        count, delta = self._count + len(values), mean - self._mean
        share = self._count * len(values) / count
        self._products = self._products + deviations.T @ deviations + share * np.multiply.outer(delta, delta)
        self._mean = self._mean + delta * len(values) / count
        self._count = count

    def fill(self, preparation: Preparation) -> None:
        """Standardise logarithms, and set the principal components of all that is scaled."""
        if not self._count:
            return
        info = preparation.info
        logarithmic = np.array([info.scales[i] == "log" for i in info.numbers])
        covariance = self._products / self._count
        spread = np.sqrt(np.diag(covariance))
        center = np.where(logarithmic, self._mean, 0.0)
        scale = np.where(logarithmic & (spread > 1e-7 * np.abs(self._mean)), spread, 1.0)
        if logarithmic.any():  # of which the preparation had neither: they were 0 and 1
            _set(preparation, "center", np.where(logarithmic, center, preparation.get_buffer("center").numpy()))
            _set(preparation, "scale", np.where(logarithmic, scale, preparation.get_buffer("scale").numpy()))
        if info.components is not None:
            _set(preparation, "mean", (self._mean - center) / scale)
            _set(preparation, "axes", whitening(covariance / np.multiply.outer(scale, scale), info.components))


def whitening(covariance: np.ndarray, components: int) -> np.ndarray:
    """Return the matrix (F, components) to principal components of unit variance; 0 for one without any variance.

    The largest number of each column is positive.
    """
    variances, vectors = np.linalg.eigh(covariance)
    variances, vectors = variances[::-1][:components], vectors[:, ::-1][:, :components]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), range(components)])
    real = variances > 1e-10 * max(np.trace(covariance), np.finfo(np.float64).tiny)
    matrix: np.ndarray = np.where(real, vectors / np.sqrt(np.where(real, variances, 1.0)), 0.0)
    return matrix


def _set(preparation: Preparation, key: str, values: np.ndarray) -> None:
    preparation.get_buffer(key).copy_(torch.from_numpy(np.asarray(values, np.float32)))
