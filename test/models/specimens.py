"""One small model of each kind, and rows for it."""

from __future__ import annotations

import numpy as np
import torch
from nanoforge.dataset.info import InputInfo
from nanoforge.models.base import ModelSpec
from nanoforge.models.network import NetworkModel

MOMENTUM = ("pt", "eta", "phi", "mass")
INPUTS = {"event": InputInfo(("met", "ht")), "jets": InputInfo(MOMENTUM, 5), "muons": InputInfo(MOMENTUM, 2)}
NETWORKS = {
    "mlp": {"type": "mlp", "hidden": [16, 8], "dropout": 0.1},
    "deepsets": {"type": "deepsets", "constituent": [8, 8], "hidden": [16], "dropout": 0.1},
    "particlenet": {
        "type": "particlenet",
        "embedding": 8,
        "convolutions": [[8, 8], [12]],
        "neighbours": 3,
        "hidden": [16],
        "dropout": 0.1,
        "kinematics": {},
    },
    "particletransformer": {
        "type": "particletransformer",
        "width": 16,
        "heads": 2,
        "blocks": 1,
        "class_blocks": 1,
        "pairs": [8],
        "dropout": 0.1,
        "kinematics": {},
    },
}
SET_NETWORKS = sorted(set(NETWORKS) - {"mlp"})
TYPICAL = {"pt": (40.0, 30.0), "eta": (0.0, 1.0), "phi": (0.0, 1.8), "mass": (8.0, 5.0), "met": (50.0, 20.0)}
"""Mean and spread of each feature."""


def make_model(network, task="classification", targets=("a", "b", "c"), inputs=INPUTS, loss=None):
    torch.manual_seed(1)
    model = NetworkModel(ModelSpec(inputs, targets, task, NETWORKS[network], loss)).eval()
    for name, info in inputs.items():
        center, scale = zip(*(TYPICAL.get(feature, TYPICAL["met"]) for feature in info.features))
        model.set_normalisation(name, np.array(center), np.array(scale))
    return model


def draw(feature, shape, rng):
    if feature == "pt":
        return 10 + rng.exponential(30, shape)
    if feature == "phi":
        return rng.uniform(-np.pi, np.pi, shape)
    return rng.normal(*TYPICAL.get(feature, TYPICAL["met"]), shape)


def make_inputs(rows, inputs=INPUTS, seed=5):
    """The first two rows have no constituents."""
    rng = np.random.default_rng(seed)
    columns = {}
    for name, info in inputs.items():
        shape = (rows,) if info.length is None else (rows, info.length)
        columns[name] = np.stack([draw(feature, shape, rng) for feature in info.features], axis=-1).astype("f4")
        if info.length is not None:
            columns[f"{name}_mask"] = rng.random(shape) < 0.6
            columns[f"{name}_mask"][:2] = False
    return columns


def tensors(model, columns):
    return [torch.from_numpy(columns[name]) for name in model.spec.graph_inputs]
