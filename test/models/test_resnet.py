"""The residual network: shapes, several grids, the circle, gradients, ONNX, and that it learns what is on an image."""

from __future__ import annotations

import math

import numpy as np
import old_runtime
import onnxruntime
import pytest
import torch
from nanoforge.config.inputs import Input
from nanoforge.config.models import parse_model
from nanoforge.dataset.info import ImageInfo, InputInfo
from nanoforge.models.base import ModelSpec, score
from nanoforge.models.network import NetworkModel
from nanoforge.models.onnx import export_onnx
from nanoforge.models.raster import random_positions

PIXEL = 0.0174533
ECAL = InputInfo(
    ("eta", "phi", "energy", "time"),
    12,
    ImageInfo("ecal", (8, 9), (PIXEL, PIXEL), ("sum", "hardest"), ("log1p(0.1)", None)),
)
TOWERS = InputInfo(("eta", "phi", "energy"), 5, ImageInfo("ecal", (8, 9), (PIXEL, PIXEL), ("max",), (None,), (2, 3)))
WHOLE = InputInfo(
    ("eta", "phi", "pt"), 20, ImageInfo("whole", (6, 16), (0.5, 2 * math.pi / 16), ("sum",), ("sqrt",), circular=True)
)
INPUTS = {"event": InputInfo(("met", "ht")), "ecal": ECAL, "towers": TOWERS, "whole": WHOLE}
SMALL = {"type": "resnet", "widths": [4, 6], "hidden": [8], "stem": {"kernel": 5, "stride": 2}}


def make_model(inputs=INPUTS, task="classification", targets=("a", "b"), **options):
    torch.manual_seed(1)
    network = parse_model(SMALL | options).model_dump(mode="json")
    model = NetworkModel(ModelSpec(inputs, targets, task, network)).eval()
    for name, info in inputs.items():
        model.set_normalisation(name, np.full(len(info.features), 0.5), np.full(len(info.features), 2.0))
    return model


def make_rows(rows, inputs=INPUTS, seed=3, lengths=None):
    rng, columns = np.random.default_rng(seed), {}
    for name, info in inputs.items():
        shape = (rows,) if info.length is None else (rows, (lengths or {}).get(name, info.length))
        columns[name] = rng.exponential(1, (*shape, len(info.features))).astype("f4")
        if info.image is not None:
            columns[name][..., :2] = random_positions(info.image, shape, rng)
            columns[f"{name}_mask"] = (rng.random(shape) < 0.7).astype("f4")
            columns[f"{name}_mask"][:1] = 0
    return columns


def tensors(model, columns):
    return [torch.from_numpy(columns[name]) for name in model.spec.graph_inputs]


@pytest.mark.parametrize("options", [{}, {"pool": ["max"], "blocks": 2, "stem": {"kernel": 1}}, {"widths": [3]}])
def test_scores_of_images_of_several_grids(options):
    scores = score(make_model(**options), make_rows(5))
    assert scores.shape == (5, 2) and scores.sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_neither_the_order_of_hits_nor_padding_changes_the_scores():
    model, rows = make_model(), make_rows(6)
    expected = score(model, rows)
    shuffled = dict(rows)
    for name in ("ecal", "towers", "whole"):
        order = np.random.default_rng(1).permutation(rows[name].shape[1])
        padding = np.full((6, 2, rows[name].shape[2]), np.nan, "f4")
        shuffled[name] = np.concatenate([rows[name][:, order], padding], axis=1)
        shuffled[f"{name}_mask"] = np.concatenate([rows[f"{name}_mask"][:, order], np.zeros((6, 2), "f4")], axis=1)
    assert score(model, shuffled) == pytest.approx(expected, abs=1e-6)


def test_turning_the_whole_detector_changes_nothing_without_stride():
    inputs = {"whole": WHOLE}
    model = make_model(inputs, widths=[4], stem={"kernel": 5, "stride": 1})
    rows = make_rows(4, inputs)
    turned = rows | {"whole": rows["whole"] + np.array([0, 3 * 2 * math.pi / 16, 0], "f4")}
    assert score(model, turned) == pytest.approx(score(model, rows), abs=1e-6)


def test_gradients_are_those_of_the_loss():
    model = make_model({"ecal": ECAL, "event": INPUTS["event"]}).double()
    columns = [tensor.double() for tensor in tensors(model, make_rows(3, model.spec.inputs))]
    weight = model.network.branches["ecal"][0].layer.weight
    model.logits(*columns).square().sum().backward()
    for index in [(0, 0, 2, 2), (1, 1, 1, 3), (3, 0, 4, 4)]:
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                weight[index] += step
                values.append(model.logits(*columns).square().sum().item())
                weight[index] -= step
        assert weight.grad[index].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-7)


def test_onnx_agrees_with_any_number_of_hits(tmp_path):
    model, path = make_model(), tmp_path / "model.onnx"
    assert export_onnx(model, path, {}) <= 1e-5
    feeds = [
        make_rows(rows, seed=rows, lengths={"ecal": ecal, "towers": towers, "whole": 7})
        for rows, ecal, towers in [(1, 1, 1), (2, 12, 0), (33, 30, 5)]
    ]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for feed in feeds:
        assert session.run(["scores"], feed)[0] == pytest.approx(score(model, feed), abs=1e-5)
    for feed, (found,) in zip(feeds, old_runtime.run(path, feeds)):
        assert found == pytest.approx(score(model, feed), abs=1e-5)


def test_it_learns_a_function_of_two_pixels():
    """As a mass is one of the distance and the energies of two showers."""
    rng = np.random.default_rng(1)
    image = ImageInfo("ecal", (8, 8), (PIXEL, PIXEL), ("sum",), ("none",))
    inputs = {"ecal": InputInfo(("eta", "phi", "energy"), 2, image)}
    cells = np.stack([rng.integers(0, 8, (600, 2)), rng.integers(0, 8, (600, 2))], axis=-1)
    energy = rng.uniform(0.5, 1.5, (600, 2))
    distance = np.hypot(*(cells[:, 0] - cells[:, 1]).T)
    truth = torch.from_numpy((distance * np.sqrt(energy.prod(axis=1)) / 3 - 1).astype("f4")[:, None])
    hits = np.concatenate([(cells - 3.5) * PIXEL, energy[..., None]], axis=2).astype("f4")
    model = make_model(inputs, "regression", ("mass",), widths=[8, 16, 16], hidden=[32], stem={"kernel": 3}).train()
    batch = [torch.from_numpy(hits), torch.ones(600, 2)]
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (model.logits(*batch) - truth).abs().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * (truth - truth.median()).abs().mean().item()


IMAGE = {"hits": "EcalHit", "channels": {"energy": "energy"}, "around": "seed", "size": [8, 8], "pixel": PIXEL}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"event": {"features": ["met"]}}, "resnet needs an input with an 'image'"),
        (
            {
                "ecal": {"image": IMAGE, "length": 5},
                "jets": {"collection": "Jet", "length": 3, "features": ["pt"]},
            },
            "inputs.jets: resnet takes images and features of the row",
        ),
    ],
)
def test_inputs_that_do_not_suit_it(inputs, message):
    blocks = {name: Input.model_validate(block) for name, block in inputs.items()}
    with pytest.raises(ValueError, match=message):
        parse_model({"type": "resnet"}).check(blocks)


def test_a_kernel_has_a_middle():
    with pytest.raises(ValueError, match="should be odd"):
        parse_model({"type": "resnet", "stem": {"kernel": 4}})
