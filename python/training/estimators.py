"""What is fitted on all rows at once in place of a network; the history has a line for every tree."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch

from ..balance.balancer import Balancer
from ..config.training import Training
from ..console import say
from ..dataset.batch import Batch
from ..dataset.source import TrainingData
from ..errors import TrainingError, UserError
from ..models.base import Model, ModelSpec
from ..models.options import EstimatorOptions
from ..models.rows import Rows
from ..models.tasks import mean_loss
from .history import Epoch, best, check_validation_weight

DIVERGED = 100.0
"""Trees whose loss is so many times that of the first one, of either sign, have diverged."""


def fit_estimator(
    training: Training,
    dataset: TrainingData,
    spec: ModelSpec,
    fold: int,
    seed: int,
    processes: int,
    balancer: Balancer,
) -> tuple[Model, list[Epoch]]:
    """Fit the estimator of a fold on all its rows in memory; of trees, as many as are best in the validation part.

    Parameters
    ----------
    training
        Of the block, only ``loss``, ``balance`` and what loads the rows mean something to estimators.
    dataset, spec, fold
        Rows and model.
    seed
        Of what is random.
    processes
        How many take part in the training: one.
    balancer
        What the rows weigh; none is drawn.

    Returns
    -------
    tuple
        The model and its history, with the losses of :func:`~..models.tasks.mean_loss`.

    Raises
    ------
    UserError
        When it cannot be trained so.
    TrainingError
        When trees diverge.
    """
    options = cast(EstimatorOptions, spec.options)
    if processes > 1:
        raise UserError(
            f"model.type: {options.type} trains in one process, which uses all cores: start it without torchrun"
        )
    if training.init is not None:
        raise UserError(f"training.init: {options.type} cannot begin with the model of another run: remove 'init'")
    if dataset.info.regression:
        dataset.target_moments(fold)  # refuses a target that no row knows
    start = time.perf_counter()
    rows = {part: _rows(balancer.weighted(dataset.arrays(part, fold))) for part in ("train", "val")}
    validation = rows["val"] if len(rows["val"].weight) else None
    if validation is not None:
        check_validation_weight(dataset.name, fold, float(_counted(spec, validation).sum()))
    # OMP_NUM_THREADS counts: a batch job has fewer cores than it sees, and threads that wait for each other burn them
    model, losses = options.fit(spec, rows["train"], validation, seed, torch.get_num_threads())
    for name, curves in losses.items():
        _check_growth(name, curves)
    parts = [part for part in rows if all(part in curves for curves in losses.values())]
    scale = dataset.target_moments(fold)[1] if dataset.info.regression else np.ones(1)
    curves = {part: _curve(spec, rows[part], _aligned(list(losses.values()), part), scale) for part in parts}
    number = len(curves["train"])
    seconds = (time.perf_counter() - start) / number
    validated = curves.get("val", [None] * number)
    history = [Epoch(i + 1, curves["train"][i], validated[i], options.rate, seconds) for i in range(number)]
    if number > 1:
        say(f"fold {fold}: {number} trees, the best loss at tree {best(history).epoch}")
    return model, history


def _check_growth(name: str, losses: Mapping[str, Sequence[float]]) -> None:
    """Refuse trees that diverged: they look for leaves in which weights of both signs cancel, and divide by them.

    Raises
    ------
    TrainingError
        With the output and the remedy.
    """
    kept = _best(losses)
    for part, values in losses.items():
        if not abs(values[kept]) <= DIVERGED * abs(values[0]):
            raise TrainingError(
                f"the trees of {name!r} diverge: their {part} loss goes from {values[0]:.3g} to {values[kept]:.3g}, as "
                "where negative weights cancel the others in a leaf: set training.balance.negative to rescale, "
                "absolute or drop, or raise model.min_data_in_leaf"
            )


def _best(losses: Mapping[str, Sequence[float]]) -> int:
    """Return the number of the tree with the least loss."""
    return int(np.argmin(losses.get("val", losses["train"])))


def _counted(spec: ModelSpec, rows: Rows) -> np.ndarray:
    """Return what each target counts in the loss of the rows, (T,); classes are one."""
    objective = spec.loss_options.objective(spec.targets)
    weights = objective.weights(torch.from_numpy(rows.truth), torch.from_numpy(rows.weight).double())
    return weights.reshape(len(rows.weight), -1).sum(dim=0).numpy()


def _curve(spec: ModelSpec, rows: Rows, losses: Sequence[Sequence[float]], scale: np.ndarray) -> list[float]:
    """Put the losses of each output, Σw·loss/Σw in the units of its target, together to that of all models."""
    counted = _counted(spec, rows)
    units = np.where(scale > 0, scale, 1.0) ** getattr(spec.loss_options, "power", 1)
    of_target = np.array(losses).reshape(len(counted), -1, len(losses[0])).sum(axis=1)  # over the quantiles
    if spec.task == "regression":
        of_target /= units[:, np.newaxis]
    return [mean_loss(float(total), float(counted.sum())) for total in counted @ of_target]


def _aligned(losses: Sequence[Mapping[str, Sequence[float]]], part: str) -> list[list[float]]:
    """Bring the losses of all outputs to one length: one that stopped early stays as good as it was at its best."""
    number = max(len(by_part[part]) for by_part in losses)
    bests = list(map(_best, losses))
    return [[*by_part[part], *[by_part[part][b]] * (number - len(by_part[part]))] for by_part, b in zip(losses, bests)]


def _rows(batch: Batch) -> Rows:
    inputs = {name: tensor.numpy() for name, tensor in batch.inputs.items()}
    truth = batch.targets if batch.label is None else batch.label
    assert truth is not None  # noqa: S101 — a dataset has labels or targets
    return Rows(inputs, truth.numpy(), batch.weight.numpy())
