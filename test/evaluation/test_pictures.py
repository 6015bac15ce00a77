"""Images in the report: the averages of classes are those of numpy, and a figure shows them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models.test_resnet import ECAL, PIXEL
from nanoforge.dataset.batch import Batch
from nanoforge.dataset.info import DatasetInfo, InputInfo
from nanoforge.evaluation.figures.images import images
from nanoforge.evaluation.pictures import pictures
from nanoforge.models.raster import random_positions


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    hits = np.concatenate([random_positions(ECAL.image, (30, 12), rng), rng.exponential(1, (30, 12, 2))], axis=2)
    inputs = {"ecal": torch.from_numpy(hits.astype("f4")), "ecal_mask": torch.from_numpy(rng.random((30, 12)) < 0.7)}
    label = torch.from_numpy(rng.integers(0, 2, 30) * 2)
    return Batch(inputs | {"row": torch.ones(30, 1)}, label, None, torch.ones(30))


@pytest.mark.parametrize("classes", [("a", "none", "b"), ()])
def test_the_average_of_a_class_and_one_of_its_rows(rows, classes):
    if not classes:
        rows = Batch(rows.inputs, None, torch.ones(30, 1), rows.weight)
    info = DatasetInfo("event", {"ecal": ECAL, "row": InputInfo(("pt",))}, classes, () if classes else ("y",), 1)
    (picture,) = pictures(rows, info)
    assert list(picture.groups) == (["a", "b"] if classes else ["all rows"])
    assert (picture.name, picture.channel) == ("ecal", "energy") and picture.reach == (4 * PIXEL, 4.5 * PIXEL)
    edges = (np.arange(9) - 4) * PIXEL, (np.arange(10) - 4.5) * PIXEL
    for group, average, single in zip(picture.groups, picture.average, picture.single):
        chosen = np.ones(30, bool) if not classes else rows.label.numpy() == classes.index(group)
        expected = []
        for hits, valid in zip(rows.inputs["ecal"][chosen].numpy(), rows.inputs["ecal_mask"][chosen].numpy()):
            eta, phi, energy, _ = hits[valid].T.astype("f8")
            expected.append(np.histogram2d(eta, phi, bins=edges, weights=energy)[0])
        assert average == pytest.approx(np.mean(expected, axis=0), abs=1e-5)
        assert single == pytest.approx(expected[0], abs=1e-5)
    figure = images(picture)
    assert len(figure.axes) == 2 * len(picture.groups) + 2, "images, and a colour bar for each line"
