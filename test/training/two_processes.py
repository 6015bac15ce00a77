"""What each of several processes does that torchrun starts."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from fitting import PLAIN, options
from nanoforge.dataset import source
from nanoforge.stages import train as stage

ROWS = 200
"""In the training part."""


def analysis(processes: int):
    """Every epoch is one step on all rows that are drawn, so that it is the same for any number of processes."""
    training = {"epochs": 4, "batch_size": ROWS // processes, "schedule": "cosine", "gradient_clip": 0.5}
    balance = {"shape": {"variables": {"z": [-9, 1, 9]}, "by": "resample"}}
    return options(PLAIN, regression=True, accumulation=3, balance=balance, **training)


def train(data: Path, output: Path, processes: int) -> None:
    stage.export_onnx = lambda model, path, metadata: path.write_text("graph")
    stage.log_training = lambda *_: {}
    stage.train(analysis(processes), data, output)


def main(data: str, output: str) -> None:
    """Train, and note which rows this process sees."""
    torch.set_num_threads(1)
    original, seen = source.TrainingData.batches, []

    def batches(self, part, *arguments, **options):
        for batch in original(self, part, *arguments, **options):
            if part == "train":
                seen.append(batch.inputs["event"][:, 0].tolist())
            yield batch

    source.TrainingData.batches = batches
    train(Path(data), Path(output), int(os.environ["WORLD_SIZE"]))
    Path(f"{output}.rows{os.environ['RANK']}").write_text(repr(seen))
