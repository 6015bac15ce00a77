"""Momenta from raw features, what pairs of them are, and the neighbours that follow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nanoforge.dataset.info import InputInfo
from nanoforge.errors import UserError
from nanoforge.models.kinematics import Momenta, pair_features, separation_squared
from nanoforge.models.particlenet import gather, nearest

ALL = ("pt", "eta", "phi", "mass")
RNG = np.random.default_rng(3)
PT, ETA, PHI = RNG.uniform(1, 200, (4, 6)), RNG.normal(0, 2, (4, 6)), RNG.uniform(-np.pi, np.pi, (4, 6))
MASS = RNG.choice([0.0, 0.14, 5.0], (4, 6))
INPUTS = {"jets": InputInfo(("mass", "pt", "eta", "phi"), 4), "muons": InputInfo(("pt", "eta", "phi", "energy"), 2)}


def vectors():
    """Energy and momentum, (4, N, L) f8."""
    px, py, pz = PT * np.cos(PHI), PT * np.sin(PHI), PT * np.sinh(ETA)
    return np.stack([np.sqrt(px**2 + py**2 + pz**2 + MASS**2), px, py, pz])


def raw():
    energy = vectors()[0]
    jets = np.stack([MASS, PT, ETA, PHI], axis=-1)[:, :4]
    muons = np.stack([PT, ETA, PHI, energy], axis=-1)[:, 4:]
    return {"jets": torch.from_numpy(jets), "muons": torch.from_numpy(muons)}


def pairs(dtype=torch.float64):
    values = {name: tensor.to(dtype) for name, tensor in raw().items()}
    return pair_features(*Momenta(INPUTS, {}, ALL).four(values)).numpy()


def expected():
    """The four features as the paper writes them, for pairs of different constituents."""
    vector = vectors()
    y = np.arctanh(vector[3] / vector[0])
    i, j = (slice(None), slice(None), None), (slice(None), None)
    dphi = np.arctan2(np.sin(PHI[i] - PHI[j]), np.cos(PHI[i] - PHI[j]))
    delta = np.hypot(y[i] - y[j], dphi)
    both = vector[:, :, :, None] + vector[:, :, None]
    softer = np.minimum(PT[i], PT[j])
    square = both[0] ** 2 - (both[1:] ** 2).sum(axis=0)
    return np.log(np.stack([delta, softer * delta, softer / (PT[i] + PT[j]), square], axis=-1))


def test_pair_features_are_those_of_the_paper():
    different = ~np.eye(6, dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        assert pairs()[:, different] == pytest.approx(expected()[:, different], abs=1e-6)


def test_pair_features_lose_nothing_in_single_precision():
    square = MASS**2
    single, double = (
        pair_features(*(torch.from_numpy(v).to(kind) for v in (PT, ETA / 100, PHI / 100, square))).numpy()
        for kind in (torch.float32, torch.float64)
    )
    different = ~np.eye(6, dtype=bool)
    assert single[:, different] == pytest.approx(double[:, different], abs=1e-3)


def test_pair_features_are_finite_for_padding_and_along_the_beam():
    values = raw()
    values["jets"][0] = 0
    values["jets"][1, 0] = torch.tensor([0.0, 0.0, -15000.0, 3.0])
    values["muons"][:, 1] = values["muons"][:, 0]
    values["muons"][2, 0] = torch.tensor([0.0, 15000.0, 1.0, 30.0])
    given = {name: tensor.float().requires_grad_() for name, tensor in values.items()}
    found = pair_features(*Momenta(INPUTS, {}, ALL).four(given))
    assert torch.isfinite(found).all()
    found.sum().backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in given.values())


def test_separations_go_around():
    phi = torch.tensor([[3.1, -3.1, 0.0]])
    found = separation_squared(torch.zeros(1, 3), phi)[0]
    assert found[0, 1] == pytest.approx((2 * np.pi - 6.2) ** 2, rel=1e-4)
    assert found[0, 2] == pytest.approx(3.1**2, rel=1e-5)


def test_features_of_other_names_are_named():
    inputs = {"pf": InputInfo(("deta", "dphi", "logpt"), 3)}
    found = Momenta(inputs, {"pf": {"eta": "deta", "phi": "dphi"}}, ("eta", "phi"))
    eta, phi = found.angles({"pf": torch.arange(9.0).reshape(1, 3, 3)})
    assert eta.tolist() == [[0, 3, 6]] and phi.tolist() == [[1, 4, 7]]


@pytest.mark.parametrize(
    ("features", "missing"), [(("pt", "eta", "phi"), "mass"), (("eta", "phi", "mass"), "pt"), (("pt", "mass"), "eta")]
)
def test_a_missing_momentum_names_the_remedy(features, missing):
    with pytest.raises(UserError, match=rf"inputs\.pf: .*'{missing}'.*inputs\.pf\.features.*model\.kinematics\.pf\."):
        Momenta({"pf": InputInfo(features, 3)}, {}, ALL)


def test_neighbours_are_the_nearest_valid_others():
    distance = torch.from_numpy(RNG.random((5, 7, 7)))
    mask = torch.from_numpy(RNG.random((5, 7)) < 0.6)
    mask[0], mask[1] = False, torch.arange(7) == 3
    index, valid = nearest(distance, mask, 3)
    for row in range(5):
        for centre in range(7):
            others = [j for j in np.argsort(distance[row, centre].numpy()) if mask[row, j] and j != centre]
            assert index[row, centre][valid[row, centre]].tolist() == others[:3]


def test_fewer_constituents_than_neighbours_will_do():
    index, valid = nearest(torch.zeros(1, 2, 2), torch.ones(1, 2, dtype=torch.bool), 16)
    assert index[valid].tolist() == [1, 0]
    x = torch.arange(6.0).reshape(1, 2, 3)
    assert gather(x, index)[0, 0, 0].tolist() == [3, 4, 5]
