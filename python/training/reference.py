"""What the training part of a fold looks like, for a later look whether other events look alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from math import ceil
from pathlib import Path

import numpy as np
import torch

from ..config.schema import Analysis
from ..dataset.source import TrainingData
from ..distributions.reference import FILE, Reference, count_reference
from ..distributions.variable import RowValues
from ..models.base import Model, score

ROWS = 200_000
"""At most so many training rows are counted: a random subset that depends on ``SEED`` only."""
SEED = 2
_BATCH_ROWS, _BATCH_VALUES = 8192, 4_000_000


def write_reference(
    model: Model, analysis: Analysis, dataset: TrainingData, fold: int, run: Path, device: torch.device | str = "cpu"
) -> None:
    """Write ``fold<i>/reference.json``; all folds have the bins of the first, so that they add up.

    Rows are scored on a ``device``; the model is on the CPU before and afterwards.
    """
    info = dataset.info
    like = Reference.read(run / "fold0" / FILE).distributions if fold else None
    fills = {name: block.replacement for name, block in analysis.inputs.items() if block.replacement is not None}
    with closing(training_rows(model.to(device), dataset, fold)) as batches:  # type: ignore[type-var]
        outputs = model.spec.outputs
        counted = count_reference(batches, info.inputs, outputs, len(info.classes), fills, like)
    model.to("cpu")
    rows, weights, _ = dataset.class_weights(fold).sum(axis=1)
    classes = dict(zip(info.classes or ("all",), zip(rows.astype(int).tolist(), weights.tolist())))
    share = analysis.split.train * (1 - 1 / info.folds if info.folds > 1 else 1)
    Reference(counted, classes, share).write(run / f"fold{fold}" / FILE)


def training_rows(model: Model, dataset: TrainingData, fold: int, most: int = ROWS) -> Iterator[RowValues]:
    """Yield at most so many rows of the training part of a fold in random order, as batches with their scores."""
    info = dataset.info
    width = sum(len(shape.features) * (shape.length or 1) for shape in info.inputs.values())
    size = max(1, min(_BATCH_ROWS, _BATCH_VALUES // max(width, 1), most))
    with closing(dataset.batches("train", fold, size, shuffle=True, seed=SEED)) as batches:  # type: ignore[type-var]
        left = min(most, dataset.rows("train", fold))
        for batch in islice(batches, ceil(left / size)):
            rows = batch.take(0, min(left, len(batch)))
            tensors = {name: tensor.numpy() for name, tensor in rows.inputs.items()}
            label = None if rows.label is None else rows.label.numpy()
            yield RowValues(tensors, score(model, tensors), rows.weight.numpy().astype(np.float64), label)
            left -= len(rows)
