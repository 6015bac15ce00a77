"""What a trial is measured by: the validation loss of a training with its values."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from statistics import fmean

import optuna
from optuna.trial import Trial

from ..config.change import change
from ..config.schema import Analysis
from ..dataset.source import TrainingData
from ..errors import TrainingError
from ..training.devices import join_processes
from ..training.folds import fit_fold, model_spec
from ..training.history import Epoch, best
from .study import values


def validation_loss(trial: Trial, analysis: Analysis, dataset: TrainingData) -> float:
    """Train with the values of a trial, and return the mean over the folds of the least validation loss.

    Only the first fold is pruned: its epochs compare between trials, and a trial that survives is worth the others.
    """
    candidate = change(analysis, values(trial), f"trial {trial.number}")
    spec = model_spec(candidate, dataset.info)
    losses: list[float] = []

    def report(epoch: Epoch) -> None:
        trial.report(_measured(epoch), epoch.epoch)
        if epoch.epoch < candidate.training.epochs and trial.should_prune():
            raise optuna.TrialPruned

    for fold in range(dataset.info.folds):
        with tempfile.TemporaryDirectory() as checkpoints:
            processes = join_processes(candidate.training)
            folder = Path(checkpoints)
            fitted = fit_fold(processes, candidate, dataset, spec, fold, folder, None if fold else report)
        losses.append(_measured(best(fitted.history)))
    if not all(map(math.isfinite, losses)):
        raise TrainingError("the validation loss is not finite")
    return fmean(losses)


def _measured(epoch: Epoch) -> float:
    assert epoch.val_loss is not None  # noqa: S101 — there are rows to validate on
    return epoch.val_loss
