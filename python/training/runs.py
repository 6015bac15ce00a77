"""What a finished run was made with, also where it has moved since."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..config.moved import moved, relocated
from ..config.schema import Analysis
from ..console import say
from ..models.base import Model
from ..models.load import load_model
from ..provenance import Manifest


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
