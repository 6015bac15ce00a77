"""Losses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from nanoforge.config.schema import Analysis
from nanoforge.dataset.info import InputInfo
from nanoforge.models.base import ModelSpec
from nanoforge.models.tasks import make_objective, mean_loss
from pydantic import ValidationError
from torch.nn import functional

REGRESSIONS = ["mse", "mae", "log_cosh", "gaussian", "quantile"]
CLASSES = ("signal", "background")
RNG = np.random.default_rng(2)
TARGETS = torch.from_numpy(RNG.normal(size=(50, 2)))
WEIGHT = torch.from_numpy(RNG.uniform(0.5, 2, 50))


def test_losses_are_weighted_sums_and_their_norm():
    logits, label = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    weight = torch.tensor([3.0, -1.0])
    each = -torch.log_softmax(logits, dim=1)[:, 0]
    numerator, denominator = make_objective("classification", "ab", None).loss(logits, label, weight)
    assert numerator.item() == pytest.approx((3 * each[0] - each[1]).item()) and denominator.item() == 2
    numerator, denominator = objective("mse").loss(logits, torch.zeros(2, 2), weight)
    assert numerator.item() == pytest.approx(3 * 2 - 0.5) and denominator.item() == 2


def test_a_batch_of_zero_weights_has_no_loss():
    numerator, denominator = objective("mse", ("mass",)).loss(torch.ones(2, 1), torch.zeros(2, 1), torch.zeros(2))
    assert (numerator.item(), denominator.item()) == (0, 0)
    assert math.isnan(mean_loss(0.0, 0.0)) and math.isnan(mean_loss(1.0, -2.0)) and mean_loss(1.0, 2.0) == 0.5


def objective(kind, targets=("mass", "pt"), **options):
    return make_objective("regression", targets, {"type": kind, **options})


def loss(kind, raw, targets=TARGETS, weight=WEIGHT, **options):
    numerator, denominator = objective(kind, **options).loss(raw, targets, weight)
    return (numerator / denominator).item()


def raw_outputs(kind):
    outputs = {"gaussian": 2, "quantile": 3}.get(kind, 1)
    return torch.from_numpy(RNG.normal(size=(50, 2 * outputs)))


def test_label_smoothing_shares_the_truth():
    logits, label, weight = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([1]), torch.ones(1)
    truth = torch.tensor([[0.1, 0.8, 0.1]])
    numerator, _ = make_objective("classification", "abc", {"type": "cross_entropy", "label_smoothing": 0.3}).loss(
        logits, label, weight
    )
    assert numerator.item() == pytest.approx(-(truth * logits.log_softmax(dim=1)).sum().item(), rel=1e-6)


def test_the_focal_loss_cares_less_for_what_is_easy():
    logits, label = torch.tensor([[3.0, 0.0], [0.0, 1.0], [60.0, -60.0]]), torch.tensor([0, 0, 0])
    weight = torch.tensor([1.0, 2.0, 1.0])
    p = logits.double().softmax(dim=1)[:, 0]
    expected = -(weight * (1 - p) ** 2 * p.log()).sum()
    focal = make_objective("classification", "ab", {"type": "focal", "gamma": 2.0})
    numerator, denominator = focal.loss(logits, label, weight)
    assert numerator.item() == pytest.approx(expected.item(), rel=1e-5) and denominator.item() == 4
    plain = make_objective("classification", "ab", {"type": "focal", "gamma": 0.0})
    assert plain.loss(logits, label, weight)[0].item() == pytest.approx(
        make_objective("classification", "ab", None).loss(logits, label, weight)[0].item()
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_has_a_gradient_where_all_is_right(gamma):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    focal = make_objective("classification", "ab", {"type": "focal", "gamma": gamma})
    focal.loss(logits, torch.tensor([0, 0]), torch.ones(2))[0].backward()
    assert torch.isfinite(logits.grad).all()


def test_plain_losses_are_their_formulas():
    raw = raw_outputs("mse")
    error = (raw - TARGETS).numpy()
    for kind, each in {"mse": error**2, "mae": np.abs(error), "log_cosh": np.log(np.cosh(error))}.items():
        assert loss(kind, raw) == pytest.approx(np.average(each.mean(axis=1), weights=WEIGHT))


def test_log_cosh_survives_large_errors():
    assert loss("log_cosh", TARGETS + 1e4) == pytest.approx(1e4 - np.log(2))


def test_the_gaussian_is_the_likelihood():
    raw = raw_outputs("gaussian")
    mean, sigma = raw[:, ::2], functional.softplus(raw[:, 1::2]) + 1e-4
    each = -torch.distributions.Normal(mean, sigma).log_prob(TARGETS) - np.log(2 * np.pi) / 2
    assert loss("gaussian", raw) == pytest.approx(np.average(each.mean(dim=1), weights=WEIGHT))


def test_quantiles_are_where_the_loss_is_least():
    sample = torch.from_numpy(RNG.gamma(2, size=(500, 1)))
    levels = [0.16, 0.5, 0.84]
    raw = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([raw], max_iter=100, line_search_fn="strong_wolfe")
    weight = torch.ones(500, dtype=torch.float64)

    def closure():
        optimizer.zero_grad()
        made = objective("quantile", ("x",), quantiles=levels)
        value = made.loss(raw.expand(500, 3), sample, weight)[0] / 500
        value.backward()
        return value

    optimizer.step(closure)
    assert raw.tolist() == pytest.approx(np.quantile(sample, [0.5, 0.16, 0.84]), abs=0.1)


@pytest.mark.parametrize("kind", REGRESSIONS)
def test_unknown_targets_contribute_nothing(kind):
    raw = raw_outputs(kind).requires_grad_()
    unknown = TARGETS.clone()
    unknown[:30, 0] = torch.nan
    numerator, denominator = objective(kind).loss(raw, unknown, WEIGHT)
    numerator.backward()
    outputs = raw.shape[1] // 2
    assert (raw.grad[:30, :outputs] == 0).all() and torch.isfinite(raw.grad).all()
    assert (raw.grad[30:, :outputs] != 0).any(dim=1).all()
    first, second = (
        make_objective("regression", ("x",), {"type": kind}).loss(
            raw[rows, part], TARGETS[rows, t : t + 1], WEIGHT[rows]
        )
        for t, rows, part in ((0, slice(30, 50), slice(0, outputs)), (1, slice(0, 50), slice(outputs, None)))
    )
    assert numerator.item() == pytest.approx((first[0] + second[0]).item() / 2)
    assert denominator.item() == pytest.approx((first[1] + second[1]).item() / 2)
    nothing = objective(kind).loss(raw, torch.full_like(TARGETS, torch.nan), WEIGHT)
    assert (nothing[0].item(), nothing[1].item()) == (0, 0)


@pytest.mark.parametrize("kind", REGRESSIONS)
def test_gradients_are_those_of_the_loss(kind):
    raw = raw_outputs(kind)[:5].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: objective(kind).loss(x, TARGETS[:5], WEIGHT[:5])[0], raw)


def test_targets_have_weights_among_each_other():
    raw, shifted = TARGETS.clone(), TARGETS.clone()
    shifted[:, 0] += 1
    shifted[:, 1] += 2
    assert loss("mse", shifted) == pytest.approx((1 + 4) / 2)
    assert loss("mse", shifted, weights={"mass": 3.0}) == pytest.approx((3 * 1 + 4) / 4)
    assert loss("mse", raw) == 0


def test_scores_are_in_the_units_of_the_targets():
    raw, center, scale = torch.tensor([[1.0, 0.5, -1.0, 2.0]]), torch.tensor([91.0, 10.0]), torch.tensor([2.0, 5.0])
    sigma = functional.softplus(torch.tensor([0.5, 2.0])) + 1e-4
    found = objective("gaussian").scores(raw, center, scale)[0].tolist()
    assert found == pytest.approx([93, 2 * sigma[0].item(), 5, 5 * sigma[1].item()], rel=1e-6)
    found = objective("quantile", quantiles=[0.5, 0.9]).scores(raw, center, scale)[0].tolist()
    assert found == pytest.approx([93, 92, 5, 20])


def test_outputs_have_names():
    def spec(loss, targets=("mass", "pt")):
        return ModelSpec({"event": InputInfo(("met",))}, targets, "regression", {"type": "mlp"}, loss)

    assert spec(None).outputs == ("mass", "pt")
    assert spec({"type": "gaussian"}).outputs == ("mass", "mass_sigma", "pt", "pt_sigma")
    quantiles = spec({"type": "quantile", "quantiles": [0.025, 0.16, 0.5, 0.84]})
    assert quantiles.outputs[:4] == ("mass", "mass_q2p5", "mass_q16", "mass_q84")
    assert quantiles.predictions == [0, 4] and quantiles.levels == (0.5, 0.025, 0.16, 0.84)


@pytest.mark.parametrize(
    ("target", "loss", "message"),
    [
        (
            {"regression": {"m": "x"}},
            "focal",
            "'focal' does not fit a regression: use gaussian, log_cosh, mae, mse or quantile",
        ),
        (None, {"type": "mae"}, "'mae' does not fit a classification: use cross_entropy or focal"),
        ({"regression": {"m": "x"}}, {"type": "mse", "weights": {"n": 1}}, r"weights\.n: no such target; known: m"),
        ({"regression": {"m": "x", "m_sigma": "y"}}, "gaussian", "two outputs would be called 'm_sigma'"),
        ({"regression": {"m": "x"}}, {"type": "quantile", "quantiles": [0.1, 0.9]}, "lack 0.5"),
        ({"regression": {"m": "x"}}, {"type": "quantile", "quantiles": [0.5, 0.1]}, "ascending"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(target, loss, message):
    content = {"name": "t", "inputs": {"event": {"features": ["met"]}}, "training": {"loss": loss}, "target": target}
    content["samples"] = {name: {"files": "x.root", "label": name} for name in "ab"}
    with pytest.raises(ValidationError, match=message):
        Analysis.model_validate(content)


def test_a_loss_may_be_just_its_name():
    content = {"name": "t", "inputs": {"event": {"features": ["met"]}}, "training": {"loss": "focal"}}
    content["samples"] = {name: {"files": "x.root", "label": name} for name in "ab"}
    assert Analysis.model_validate(content).training.loss.gamma == 2


def test_quantiles_are_put_in_order_on_demand():
    raw = torch.tensor([[0.0, 1.0, -1.0, 3.0, 2.0, 5.0]])  # of two targets the median, then 16 % and 84 %
    center, scale = torch.tensor([10.0, 0.0]), torch.tensor([2.0, 1.0])
    plain, ordered = (objective("quantile", sort=sort) for sort in (False, True))
    assert plain.scores(raw, center, scale).tolist() == [[10, 12, 8, 3, 2, 5]]
    assert ordered.scores(raw, center, scale).tolist() == [[10, 8, 12, 3, 2, 5]]
    targets, weight = torch.zeros(1, 2), torch.ones(1)
    assert torch.equal(plain.loss(raw, targets, weight)[0], ordered.loss(raw, targets, weight)[0])
