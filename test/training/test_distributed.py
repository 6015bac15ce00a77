"""Two processes on one machine make the steps of one with twice the batch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from datasets import write_dataset
from nanoforge.models.load import load_model
from nanoforge.provenance import Manifest
from nanoforge.stages import train as stage
from nanoforge.training.history import read_history
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from two_processes import ROWS, analysis, main, train


def test_two_processes_are_one_with_twice_the_batch(tmp_path, monkeypatch, capfd):
    """They are forks of this one, which has imported all that a process of torchrun takes seconds to import."""
    monkeypatch.setattr(stage, "export_onnx", None)
    monkeypatch.setattr(stage, "log_training", None)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    data = write_dataset(tmp_path / "data", analysis(2), rows=(ROWS, 51, 0))
    torchrun = LaunchConfig(
        1, 1, 2, run_id="two", rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method="fork"
    )
    elastic_launch(torchrun, main)(str(data), str(tmp_path / "two"))
    assert capfd.readouterr().err.count("epoch 4/4") == 1
    train(data, tmp_path / "one", 1)
    one, two = (load_model(tmp_path / name / "fold0" / "model.pt").state_dict() for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-6)
    curves = [read_history(tmp_path / name / "fold0" / "history.csv") for name in ("one", "two")]
    assert [e.val_loss for e in curves[1]] == pytest.approx([e.val_loss for e in curves[0]], rel=1e-4)
    assert [e.train_loss for e in curves[1]] == pytest.approx([e.train_loss for e in curves[0]], rel=1e-4)
    Manifest.read(tmp_path / "two", "train").verify(tmp_path / "two")
    rows = [ast.literal_eval(Path(f"{tmp_path / 'two'}.rows{rank}").read_text()) for rank in (0, 1)]
    assert [len(passes) for passes in rows] == [5, 4]  # the first counts them once more for reference.json
    for first, second in zip(*rows):
        assert len(first) == len(second) == ROWS // 2
        assert ROWS / 2 < len({*first, *second}) < ROWS  # some are drawn twice
