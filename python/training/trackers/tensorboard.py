"""TensorBoard: curves as event files in the run directory."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..tracker import RunTracker, Trained, merits

FOLDER = "tensorboard"


class TensorBoardTracker(RunTracker):
    """TensorBoard: curves in the folder ``tensorboard`` of each run, for ``tensorboard --logdir``."""

    package = "tensorboard"
    extra = "tensorboard"

    def log_training(self, work: Path, output: Path, trained: Trained) -> dict[str, str]:
        """See :meth:`.RunTracker.log_training`."""
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(work / FOLDER, ignore_errors=True)
        settings = "\n".join(f"    {key}: {text}" for key, text in trained.parameters.items())
        for fold in range(len(trained.histories)):
            with SummaryWriter(str(work / FOLDER / f"fold{fold}")) as writer:
                writer.add_text("analysis", settings)
                for epoch, numbers in trained.curves(fold):
                    for name, value in numbers.items():
                        writer.add_scalar(name, value, epoch)
        return {"folder": FOLDER}

    def log_evaluation(self, run: Path, link: Mapping[str, str], content: Mapping[str, Any], evaluation: Path) -> None:
        """See :meth:`.RunTracker.log_evaluation`."""
        from torch.utils.tensorboard import SummaryWriter

        folder = run / link["folder"] / "evaluation"
        shutil.rmtree(folder, ignore_errors=True)
        with SummaryWriter(str(folder)) as writer:
            for name, value in merits(content):
                writer.add_scalar(name, value)
