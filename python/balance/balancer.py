"""What the training rows weigh, as ``training.balance`` says: found in a pass over them, and applied to batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..config.balance import Balance, Shape
from ..console import progress, say
from ..dataset.batch import Batch
from ..dataset.source import TrainingData
from .resampling import Resampling
from .weight_factors import ALL_ROWS, WeightFactors, check_sum, class_factors, shape_factors, sign_factors


class Balancer:
    """Gives rows, on the CPU, the weights that they have in a loss.

    Parameters
    ----------
    factors
        What the weights are multiplied by.
    data
        Where the rows come from.
    """

    def __init__(self, factors: WeightFactors, data: TrainingData) -> None:
        self._factors = factors
        self._cells = Cells(data, factors.edges, len(factors.classes))

    def weighted(self, batch: Batch) -> Batch:
        """Return the rows with all factors."""
        return self._times(batch, self._whole)

    def trained(self, batch: Batch) -> Batch:
        """Return rows of an epoch with the factors that :meth:`resampling` has not taken care of."""
        return self._times(batch, self._signs if len(self._factors.slab_sums) else self._whole)

    def resampling(self, seed: int, epoch: int) -> Resampling | None:
        """Return the rows of an epoch, drawn from the training part, as many as it has; None for each of them once."""
        factors = self._factors
        if not len(factors.slab_sums):
            return None
        return Resampling(factors.slab_sums, self._multiplicities, int(factors.content[0].sum()), seed, epoch)

    def _multiplicities(self, batch: Batch) -> np.ndarray:
        drawn = multiplicities(self._factors.signs, self._factors.shape)
        return drawn.ravel()[self._cells.of(batch).numpy()]

    def _times(self, batch: Batch, factors: Tensor) -> Batch:
        return replace(batch, weight=batch.weight * factors[self._cells.of(batch)])

    @cached_property
    def _whole(self) -> Tensor:
        return torch.from_numpy(self._factors.whole).float().flatten()

    @cached_property
    def _signs(self) -> Tensor:
        signs = torch.from_numpy(self._factors.signs).float()
        return signs.unsqueeze(2).expand(self._cells.shape).flatten()


class Cells:
    """The sign of the weight, the class, and the bin of each variable as one number; see :class:`.WeightFactors`.

    Parameters
    ----------
    data
        Where the rows come from.
    edges
        Of the bins of each variable.
    classes
        Number of the classes.
    """

    def __init__(self, data: TrainingData, edges: dict[str, list[float]], classes: int) -> None:
        self._data = data
        # what is beyond the ends is in the first or the last bin
        self._inner = {name: torch.tensor(axis[1:-1], dtype=torch.float64) for name, axis in edges.items()}
        bins = int(np.prod([len(axis) - 1 for axis in edges.values()]))
        self.shape = (2, classes, bins + 1 if edges else 1)

    def of(self, batch: Batch) -> Tensor:
        """Return the places of rows in an array of :attr:`shape`, flattened, (N,) i8."""
        cell = (batch.weight < 0).long() * self.shape[1]
        if batch.label is not None:
            cell += batch.label
        return cell * self.shape[2] + self._bins(batch) if self._inner else cell

    def _bins(self, batch: Batch) -> Tensor:
        bins = torch.zeros_like(batch.weight, dtype=torch.int64)
        unknown = torch.zeros_like(bins, dtype=torch.bool)
        for name, inner in self._inner.items():
            values = self._data.column(batch, name).double()
            bins = bins * (len(inner) + 1) + torch.bucketize(values, inner, right=True)
            unknown |= values.isnan()
        return torch.where(unknown, self.shape[2] - 1, bins)


def compute_factors(config: Balance, data: TrainingData, fold: int, world: int = 1) -> WeightFactors:
    """Find the factors on the weights of the rows that model ``fold`` trains on.

    Parameters
    ----------
    config
        The block ``training.balance``.
    data
        The rows; with a ``shape``, those of the training part are read once.
    fold
        Number of the model.
    world
        How many processes keep rows in memory.

    Raises
    ------
    UserError
        When a class has no rows, or weights that cannot be balanced.
    """
    classes = data.info.classes or (ALL_ROWS,)
    totals = data.class_weights(fold)
    signs = sign_factors(config.negative, classes, totals[1])
    counts, sums = ((signs != 0) * totals[0]).sum(axis=0), (signs * totals[1]).sum(axis=0)
    if data.info.classes:
        by_class = class_factors(config.classes, config.normalise, classes, counts, sums)
    else:  # regression targets have no classes to tell apart
        check_sum(ALL_ROWS, float(sums[0]))
        by_class = np.ones(1)
    shape = config.shape
    if shape is None:
        return WeightFactors(
            classes, {}, totals[..., np.newaxis], signs * by_class, np.ones((len(classes), 1)), np.empty(0)
        )
    cells = Cells(data, shape.edges, len(classes))
    resample = shape.by == "resample"
    content, slabs = _distributions(data, fold, world, cells, resample)
    sums = (signs[:, :, np.newaxis] * content[1]).sum(axis=0)
    factors = np.ones(sums.shape)
    factors[:, :-1] = shape_factors(shape, classes, sums[:, :-1])
    say(f"fold {fold}: {_remarks(shape, classes, content[0].sum(axis=0), factors)}")
    times = multiplicities(signs, factors).ravel()
    slab_sums = np.array([(times[fold_of_slab] * rows).sum() for fold_of_slab, rows in slabs])
    return WeightFactors(classes, shape.edges, content, signs * by_class, factors, slab_sums)


def multiplicities(signs: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Return how often rows are drawn, (2, C, B), up to a factor: those without a weight are not."""
    return np.asarray((signs != 0)[:, :, np.newaxis] * shape)


def _distributions(
    data: TrainingData, fold: int, world: int, cells: Cells, by_slab: bool
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Read the training part once.

    Returns
    -------
    tuple
        Rows, Σw and Σw² in all cells, (3, 2, C, B); and ``by_slab`` the places that each fills, with the rows there.
    """
    content = np.zeros((3, int(np.prod(cells.shape))))
    slabs = []
    with progress(f"distributions of fold {fold}", data.rows("train", fold)) as bar:
        for batch in data.by_slab("train", fold, world):
            cell, weight = cells.of(batch).numpy(), batch.weight.numpy().astype(np.float64)
            for power in range(3):
                content[power] += np.bincount(cell, weight**power, content.shape[1])
            if by_slab:
                slabs.append(np.unique(cell, return_counts=True))
            bar.advance(len(batch))
    return content.reshape(3, *cells.shape), slabs


def _remarks(shape: Shape, classes: Sequence[str], rows: np.ndarray, factors: np.ndarray) -> str:
    """Say what a reader of the results must know of a reweighting: its largest factors, and what it leaves out."""
    filled, bins = rows[:, :-1], factors[:, :-1]
    largest = [f"{name} up to {of_class.max():.3g}" for name, of_class in zip(classes, bins)]
    remarks = [f"training.balance.shape has factors of {', '.join(largest)}"]
    lost = (filled * (bins == 0)).sum(axis=1)
    remarks += [
        f"{number:,.0f} rows of {name!r} get 0, in bins of no positive weight"
        + (f" or without {shape.to!r}" if shape.to not in ("flat", name) else "")
        for name, number in zip(classes, lost)
        if number
    ]
    others = filled.sum(axis=0) > 0
    empty = (others & (filled == 0)).sum(axis=1)
    remarks += [
        f"{name!r} has no rows in {number:,} of {others.sum():,} filled bins"
        for name, number in zip(classes, empty)
        if number
    ]
    if rows[:, -1].any():
        remarks.append(f"{rows[:, -1].sum():,.0f} rows have a variable that is NaN and keep their weights")
    return "; ".join(remarks)
