"""What images need is said before a training begins, and refused where it is too much; scoring takes no more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models.test_resnet import ECAL, INPUTS, make_model
from nanoforge.config.training import Training
from nanoforge.dataset.info import InputInfo
from nanoforge.errors import UserError
from nanoforge.models import base
from nanoforge.models.raster import image_bytes, random_positions
from nanoforge.training import memory

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def usual_memory(monkeypatch):
    """Leave the allocator of this process as it is."""
    monkeypatch.setattr(memory, "keep_memory", lambda: None)


ROW = 4 * (3 * 8 * 9 + 6 * 16)


def test_the_images_of_a_batch_are_said(capsys):
    assert image_bytes(INPUTS) == ROW
    memory.prepare_image_memory(INPUTS, Training(batch_size=1000, accumulation=2), CPU)
    assert "images: ecal 3 x 8 x 9, whole 1 x 6 x 16; 500 rows at once need 624 kB" in capsys.readouterr().err
    memory.prepare_image_memory({"event": InputInfo(("met",))}, Training(batch_size=1000), CPU)
    assert not capsys.readouterr().err


def test_more_than_half_of_the_memory_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 2 * 300 * ROW)
    memory.prepare_image_memory(INPUTS, Training(batch_size=300), CPU)
    with pytest.raises(UserError, match=r"training\.batch_size: .* set training\.accumulation to 4, which") as error:
        memory.prepare_image_memory(INPUTS, Training(batch_size=1000), CPU)
    assert "\n" not in str(error.value)
    memory.prepare_image_memory(INPUTS, Training(batch_size=1000, accumulation=4), CPU)


def test_scoring_draws_few_images_at_once(monkeypatch):
    inputs, rng = {"ecal": ECAL}, np.random.default_rng(1)
    model, rows = make_model(inputs), []
    positions = random_positions(ECAL.image, (50, 12), rng)
    hits = np.concatenate([positions, rng.exponential(1, (50, 12, 2)).astype("f4")], axis=2)
    feed = {"ecal": hits, "ecal_mask": np.ones((50, 12), bool)}
    expected = base.score(model, feed)
    model.register_forward_pre_hook(lambda _, tensors: rows.append(len(tensors[0])))
    monkeypatch.setattr(base, "_MOST_BYTES", 21 * image_bytes(inputs))
    assert base.score(model, feed) == pytest.approx(expected, abs=1e-6)
    assert rows == [21, 21, 8]
