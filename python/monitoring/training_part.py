"""The events that a run was trained on, where more is needed of them than the bins of ``reference.json``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..dataset.open import open_dataset
from ..dataset.source import TrainingData
from ..distributions.variable import RowValues
from ..errors import UserError
from ..provenance import Manifest
from ..training.reference import ROWS, training_rows
from ..training.runs import dataset_of
from ..training.trained import TrainedModel


def training_part(model: TrainedModel, trained: Manifest, option: str) -> Iterator[RowValues]:
    """Yield training rows of all folds, each scored by the model that was trained on it, as ``reference.json`` was.

    Parameters
    ----------
    model, trained
        The run and its manifest.
    option
        What needs the rows, for messages.

    Raises
    ------
    UserError
        When the dataset is gone, or another one.
    """
    dataset = _dataset(model, trained, option)
    for fold, one in enumerate(model.models()):
        yield from training_rows(one, dataset, fold, ROWS // model.folds)


def _dataset(model: TrainedModel, trained: Manifest, option: str) -> TrainingData:
    source = dataset_of(trained, model.run) or model.analysis
    if isinstance(source, Path) and not source.exists():
        raise UserError(f"{option}: needs the events of the training, and there is no {source} any more: leave it out")
    dataset = open_dataset(source, in_memory="never", skip_bad_files=trained.lost_files)
    if dataset.identity != trained.details["dataset"]["identity"]:
        raise UserError(
            f"{option}: needs the events of the training, and {dataset.name} was made anew since: leave it out, or run "
            "'nanoforge train' again"
        )
    dataset.prepare(model.run)
    return dataset
