"""That the networks learn: what they are told by heart, and what only a network of sets can."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nanoforge.dataset.info import InputInfo
from nanoforge.models.base import ModelSpec
from nanoforge.models.network import NetworkModel
from specimens import NETWORKS, SET_NETWORKS

JETS = {"jets": InputInfo(("pt", "eta", "phi", "mass"), 8)}
WIDER = {
    "mlp": {"hidden": [64, 64]},
    "deepsets": {"constituent": [64, 64], "hidden": [64, 64]},
    "particlenet": {"embedding": 16, "convolutions": [[16, 16], [16]]},
    "particletransformer": {},
}


def make_jets(rows, seed):
    """Whether the mean of cos 3η over a jet's constituents is positive: easy for sets, hard for a list of numbers."""
    rng = np.random.default_rng(seed)
    pt, eta, phi = rng.exponential(30, (rows, 8)) + 5, rng.normal(0, 1, (rows, 8)), rng.uniform(-3.1, 3.1, (rows, 8))
    mask = rng.random((rows, 8)) < 0.8
    label = (np.cos(3 * eta) * mask).sum(axis=1) > 0
    features = np.stack([pt, eta, phi, 0.1 * pt], axis=-1).astype("f4")
    return torch.from_numpy(features), torch.from_numpy(mask), torch.from_numpy(label.astype("i8"))


def make_model(network):
    torch.manual_seed(1)
    block = NETWORKS[network] | WIDER[network] | {"dropout": 0.0}
    model = NetworkModel(ModelSpec(JETS, ("a", "b"), "classification", block))
    model.set_normalisation("jets", np.array([35, 0, 0, 3.5]), np.array([30, 1, 1.8, 3]))
    return model


def steps(model, batches):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for features, mask, label in batches:
        numerator, denominator = model.objective.loss(model.logits(features, mask), label, torch.ones(len(label)))
        optimizer.zero_grad()
        (numerator / denominator).backward()
        optimizer.step()
        yield


def accuracy(model, features, mask, label):
    with torch.inference_mode():
        return (model(features, mask).argmax(dim=1) == label).float().mean().item()


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_two_hundred_jets_are_learnt_by_heart(network):
    features, mask, _ = make_jets(200, seed=1)
    label = torch.from_numpy(np.random.default_rng(2).integers(2, size=200))
    model = make_model(network)
    assert accuracy(model, features, mask, label) < 0.65
    for number, _ in enumerate(steps(model, ((features, mask, label) for _ in range(1000)))):
        if number % 20 == 0 and accuracy(model, features, mask, label) > 0.97:
            return
    pytest.fail("not learnt")


def learnt(network):
    train, model = make_jets(1000, seed=3), make_model(network)
    generator = torch.Generator().manual_seed(1)
    parts = (part for _ in range(12) for part in torch.randperm(1000, generator=generator).split(50))
    for _ in steps(model, ([t[part] for t in train] for part in parts)):
        pass
    return accuracy(model, *make_jets(2000, seed=4))


def test_networks_of_sets_are_better_at_sets():
    mlp = learnt("mlp")
    assert mlp < 0.65
    for network in SET_NETWORKS:
        assert learnt(network) > mlp + 0.1
