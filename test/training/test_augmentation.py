"""Images in a mirror: all those of a row alike, half of the rows, and the same ones in every repetition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nanoforge.config.grids import check_augmentation
from nanoforge.config.inputs import Input
from nanoforge.config.training import Augmentation
from nanoforge.dataset.batch import Batch
from nanoforge.dataset.info import ImageInfo, InputInfo
from nanoforge.models.raster import Images
from nanoforge.training.augmentation import flipped

PIXEL = 0.1
INPUTS = {
    "row": InputInfo(("eta",)),
    "ecal": InputInfo(("eta", "phi", "energy"), 5, ImageInfo("ecal", (6, 7), (PIXEL, PIXEL), ("sum",), ("none",))),
    "tracks": InputInfo(("eta", "phi", "qpt"), 5, ImageInfo("ecal", (6, 7), (PIXEL, PIXEL), ("sum",), ("none",))),
}


@pytest.fixture
def batch():
    rng = np.random.default_rng(1)
    columns = {"row": torch.ones(400, 1)}
    for name in ("ecal", "tracks"):
        cells = np.stack([rng.integers(0, 6, (400, 5)) - 2.5, rng.integers(0, 7, (400, 5)) - 3], axis=-1) * PIXEL
        columns[name] = torch.from_numpy(np.concatenate([cells, rng.normal(1, 2, (400, 5, 1))], axis=2).astype("f4"))
        columns[f"{name}_mask"] = torch.ones(400, 5, dtype=torch.bool)
    return Batch(columns, torch.zeros(400, dtype=torch.int64), None, torch.ones(400), None, torch.arange(400))


def draw(batch):
    masks = {name: batch.inputs[f"{name}_mask"] for name in ("ecal", "tracks")}
    return Images(INPUTS)(batch.inputs, masks)["ecal"]


def test_half_of_the_pictures_are_mirrored_in_each_direction(batch):
    before = {name: values.clone() for name, values in batch.inputs.items()}
    options = Augmentation(flip_eta=True, flip_phi=True, signed=["qpt"])
    picture, after = draw(batch), draw(flipped(batch, INPUTS, options, seed=1, epoch=2))
    charged = torch.tensor([1.0, -1.0]).reshape(2, 1, 1)
    kinds = torch.stack([picture, picture.flip(2), picture.flip(3) * charged, picture.flip(2, 3) * charged])
    same = (kinds - after).abs().flatten(2).amax(dim=2) < 1e-5
    assert same.any(dim=0).all(), "both planes of a row alike"
    assert all(60 < number < 140 for number in same.sum(dim=1).tolist())
    assert all(torch.equal(batch.inputs[name], values) for name, values in before.items()), "what is in memory stays"


def test_it_follows_from_seed_epoch_and_row(batch):
    options = Augmentation(flip_eta=True)
    first = flipped(batch, INPUTS, options, seed=1, epoch=1).inputs["ecal"]
    for seed, epoch in ((1, 2), (2, 1)):
        assert not torch.equal(flipped(batch, INPUTS, options, seed=seed, epoch=epoch).inputs["ecal"], first)
    assert torch.equal(first[..., 1:], batch.inputs["ecal"][..., 1:]), "phi stays"
    assert flipped(batch, INPUTS, Augmentation(), seed=1, epoch=1) is batch
    order = torch.from_numpy(np.random.default_rng(2).permutation(400))
    for rows in (order[:150], order[150:]):  # whatever batch a row is in
        assert torch.equal(flipped(batch.select(rows), INPUTS, options, seed=1, epoch=1).inputs["ecal"], first[rows])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip_eta": True}, "training.augment.flip_eta: mirrors images, and no input has one"),
        ({"flip_phi": True, "signed": ["q"]}, "training.augment.flip_phi"),
        ({"signed": ["q"]}, "training.augment.signed: no image has a channel 'q'"),
    ],
)
def test_nothing_to_mirror(options, message):
    with pytest.raises(ValueError, match=message):
        check_augmentation({"event": Input.model_validate({"features": ["met"]})}, Augmentation(**options))
