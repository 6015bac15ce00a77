"""Gradient-boosted trees in place of a network; their history has a line for every tree."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from ..config.training import Training
from ..console import say
from ..dataset.loading import Batch, TrainingData
from ..dataset.resources import cores
from ..errors import UserError
from ..models.model import ModelSpec
from ..models.trees import Rows, TreeModel, fit
from .balance import Balancer
from .history import Epoch, best


def fit_trees(
    training: Training,
    dataset: TrainingData,
    spec: ModelSpec,
    fold: int,
    seed: int,
    processes: int,
    balancer: Balancer,
) -> tuple[TreeModel, list[Epoch]]:
    """Grow the trees of a fold on all its rows in memory, as many as are best in the validation part.

    Parameters
    ----------
    training
        Of the block, only ``loss``, ``balance`` and what loads the rows mean something to trees.
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
        The model and its history; with several outputs, the mean of their losses.

    Raises
    ------
    UserError
        When trees cannot be trained so.
    """
    if processes > 1:
        raise UserError("model.type: lightgbm trains in one process, which uses all cores: start it without torchrun")
    if training.init is not None:
        raise UserError("training.init: lightgbm cannot begin with the model of another run: remove 'init'")
    if dataset.info.regression:
        dataset.target_moments(fold)  # refuses a target that no row knows
    start = time.perf_counter()
    rows = {part: _rows(balancer.weighted(dataset.arrays(part, fold))) for part in ("train", "val")}
    validation = rows["val"] if len(rows["val"].weight) else None
    model, losses = fit(spec, rows["train"], validation, seed, cores())
    parts = [part for part in rows if all(part in found for found in losses.values())]
    curves = {part: np.mean(_aligned(list(losses.values()), part), axis=0).tolist() for part in parts}
    number = len(curves["train"])
    seconds = (time.perf_counter() - start) / number
    rate = float(spec.network["learning_rate"])
    validated = curves.get("val", [None] * number)
    history = [Epoch(i + 1, curves["train"][i], validated[i], rate, seconds) for i in range(number)]
    say(f"fold {fold}: {number} trees, the best loss at tree {best(history).epoch}")
    return model, history


def _aligned(losses: Sequence[Mapping[str, Sequence[float]]], part: str) -> list[list[float]]:
    """Bring the losses of all outputs to one length: one that stopped early stays as good as it was at its best."""
    number = max(len(found[part]) for found in losses)
    bests = [int(np.argmin(found.get("val", found["train"]))) for found in losses]
    return [[*found[part], *[found[part][b]] * (number - len(found[part]))] for found, b in zip(losses, bests)]


def _rows(batch: Batch) -> Rows:
    inputs = {name: tensor.numpy() for name, tensor in batch.inputs.items()}
    truth = batch.targets if batch.label is None else batch.label
    assert truth is not None  # noqa: S101 — a dataset has labels or targets
    return Rows(inputs, truth.numpy(), batch.weight.numpy())
