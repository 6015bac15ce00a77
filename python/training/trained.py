"""The models of a run, to score events with in this process or in others; torch is imported where that is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.schema import Analysis
from ..errors import UserError
from ..provenance import Manifest
from ..provenance.trust import require
from ..serving.scorer import Scorer

if TYPE_CHECKING:
    from ..models.base import Model


@dataclass(frozen=True)
class TrainedModel:
    """The models of a run, for this process to score with; on so many threads, 0 for what the machine has."""

    run: Path
    analysis: Analysis
    folds: int
    threads: int

    def scorer(self) -> Scorer:
        """Read the models."""
        import torch

        from .runs import load_scorer

        if self.threads:
            torch.set_num_threads(self.threads)
        return load_scorer(self.run, self.analysis, self.folds)

    def models(self) -> list[Model]:
        """Read the model of each fold."""
        from .runs import load_models

        return load_models(self.run, self.analysis, range(self.folds))


def open_run(run: Path, threads: int, *, trust: bool) -> tuple[TrainedModel, Manifest]:
    """Return the models of a run and its manifest, after a look whether they are whole and may be used.

    Raises
    ------
    UserError, DataError
        When the run is unfinished or damaged, names code that is not trusted, or functions that have changed since.
    """
    from ..models.load import own_code
    from .runs import settings_of

    trained = Manifest.read(run, "train")
    trained.verify(run)
    analysis = settings_of(trained, run)
    _check_same_functions(run, trained, analysis)
    require(run, trained, own_code(trained, run), trust=trust)
    return TrainedModel(run, analysis, trained.details["dataset"]["info"]["folds"], threads), trained


def _check_same_functions(run: Path, trained: Manifest, analysis: Analysis) -> None:
    """Refuse to score with other functions than those that the model was trained with."""
    before = {Path(name).name: digest for name, digest in trained.details["sha256"].items()}
    for name, digest in analysis.digests().items():
        if name != analysis.golden_json and digest != before.get(Path(name).name):
            raise UserError(f"{name}: changed since {run} was trained with it: restore it, or convert and train again")
