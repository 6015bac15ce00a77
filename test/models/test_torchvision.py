"""The network of torchvision that doc/images.md shows, without its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from models.test_resnet import ECAL
from nanoforge.config.models import parse_model
from nanoforge.models.base import ModelSpec, score
from nanoforge.models.network import NetworkModel
from nanoforge.models.onnx import export_onnx
from nanoforge.models.raster import random_positions

try:
    import torchvision  # noqa: F401 - the page imports it
except (ImportError, RuntimeError) as error:  # the latter where its build is not that of torch
    pytest.skip(f"torchvision, of the same build as torch, is not there ({error})", allow_module_level=True)
PAGE = Path(__file__).parents[2] / "doc" / "images.md"


def test_the_network_of_the_page_learns_and_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [part.split("```")[0] for part in PAGE.read_text().split("```python")[1:] if "torchvision" in part[:60]]
    (tmp_path / "of_torchvision.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    network = parse_model({"type": "of_torchvision:Pretrained", "options": {"pretrained": False}}).model_dump(
        mode="json"
    )
    torch.manual_seed(1)
    model = NetworkModel(ModelSpec({"ecal": ECAL}, ("a", "b"), "classification", network))
    positions = random_positions(ECAL.image, (6, 12), np.random.default_rng(1))
    hits = np.concatenate([positions, np.ones((6, 12, 2), "f4")], axis=2)
    rows = {"ecal": hits, "ecal_mask": np.ones((6, 12), bool)}
    model.logits(*map(torch.from_numpy, rows.values())).sum().backward()
    assert model.network.trunk.conv1.weight.shape[1] == 2
    assert all(p.grad is not None for p in model.network.parameters())
    export_onnx(model.eval(), tmp_path / "model.onnx", {})
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (scores,) = session.run(["scores"], {name: values.astype("f4") for name, values in rows.items()})
    assert scores == pytest.approx(score(model, rows), abs=1e-5)
