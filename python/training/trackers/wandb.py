"""Weights & Biases: offline, to be sent later."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..tracker import RunTracker, Trained, merits


class WandbTracker(RunTracker):
    """Weights & Biases: in the folder ``wandb`` of each run, for ``wandb sync``; or sent by ``WANDB_MODE=online``."""

    package = "wandb"
    extra = "wandb"

    def log_training(self, work: Path, output: Path, trained: Trained) -> dict[str, str]:
        """See :meth:`.RunTracker.log_training`."""
        epochs: dict[int, dict[str, float]] = defaultdict(dict)
        for fold in range(len(trained.histories)):
            for epoch, numbers in trained.curves(fold):
                epochs[epoch] |= {f"fold{fold}/{name}": value for name, value in numbers.items()}
        project = self.options.experiment or trained.config["name"]
        run = self._open(work, project=project, name=output.name, config=trained.parameters)
        for epoch in sorted(epochs):
            run.log(epochs[epoch], step=epoch)
        run.finish()
        return {"project": project, "run_id": run.id}

    def log_evaluation(self, run: Path, link: Mapping[str, str], content: Mapping[str, Any], evaluation: Path) -> None:
        """See :meth:`.RunTracker.log_evaluation`."""
        record = self._open(run, project=link["project"], id=link["run_id"], resume="allow")
        record.summary.update(dict(merits(content)))
        record.finish()

    def _open(self, folder: Path, **options: Any) -> Any:
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        return wandb.init(dir=str(folder), **options)
