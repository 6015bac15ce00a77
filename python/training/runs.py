"""What a finished run was made with, also where it has moved since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..config.moved import moved, relocated
from ..config.schema import Analysis
from ..console import say
from ..models.base import Model, score
from ..models.load import load_model
from ..provenance import Manifest
from ..serving.scorer import Scorer


def settings_of(trained: Manifest, run: Path) -> Analysis:
    """Return the analysis that a run was trained with, with its files where they are now, and say if it has moved."""
    before = Path(trained.details.get("directory", run.resolve()))
    if before != run.resolve():
        say(f"note: {run.resolve()} was made as {before}: files that are not where they were are looked for beside it")
    return Analysis.model_validate(relocated(trained.config, before, run.resolve()))


def dataset_of(trained: Manifest, run: Path) -> Path | None:
    """Return where the dataset of a run is now; None where it was trained on the files of its samples."""
    path = trained.details["dataset"]["path"]
    return None if path is None else Path(moved(path, Path(trained.details.get("directory", run)), run.resolve()))


def load_models(run: Path, analysis: Analysis, folds: Iterable[int]) -> list[Model]:
    """Read the models of some folds, with the user's own network and loss from where they are now."""
    network, loss = analysis.model.code, None if analysis.training.loss is None else analysis.training.loss.code
    return [load_model(run / f"fold{fold}" / "model.pt", network, loss) for fold in folds]


def load_scorer(run: Path, analysis: Analysis, folds: int) -> Scorer:
    """Read the models of all folds, to score events by them."""
    models = load_models(run, analysis, range(folds))
    return Scorer(analysis, models[0].spec.outputs, folds, partial(_scores_by_fold, models))


def _scores_by_fold(models: Sequence[Model], tensors: dict[str, np.ndarray], fold: np.ndarray) -> np.ndarray:
    """Return (N, C) scores, every row by the model of its fold."""
    scores = np.empty((len(fold), len(models[0].spec.outputs)), dtype=np.float32)
    for number, model in enumerate(models):
        of_fold = fold == number
        scores[of_fold] = score(model, {name: values[of_fold] for name, values in tensors.items()})
    return scores
