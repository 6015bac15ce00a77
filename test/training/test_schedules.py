"""Learning rates: those of torch's schedulers, and the range test."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from nanoforge.config.training import Training
from nanoforge.errors import UserError
from nanoforge.training.rates import range_test
from nanoforge.training.schedules import factor, make_optimizer, plateaus
from pydantic import ValidationError

STEPS = 50


def rates(make, steps=STEPS, losses=None):
    """The learning rates of a torch scheduler, as shares of the one it was given."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, found = make(optimizer), []
    for number in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*(() if losses is None else (losses[number],)))
    return found


def schedule(**block):
    return Training(schedule=block).schedule


def test_cosine_is_that_of_torch():
    own = [factor(schedule(type="cosine", warmup=0, final=0.1), n / STEPS, []) for n in range(STEPS)]
    expected = rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1))
    assert own == pytest.approx(expected, rel=1e-9)


def test_one_cycle_falls_as_that_of_torch_and_rises_before():
    block = schedule(type="one_cycle")
    expected = rates(lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=STEPS), STEPS - 1)
    own = [factor(block, (n + 1) / STEPS, []) for n in range(STEPS - 1)]
    assert own[14:] == pytest.approx(expected[14:], rel=1e-9)
    assert factor(block, 0, []) == pytest.approx(0.04)
    assert np.all(np.diff(own[:15]) > 0)


def test_plateau_is_that_of_torch():
    losses = np.random.default_rng(0).normal(size=STEPS).tolist()
    expected = rates(
        lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=2, threshold=0, eps=0),
        losses=losses,
    )
    own = [0.5 ** plateaus(losses[:n], 2) for n in range(STEPS)]
    assert own == pytest.approx(expected, rel=1e-9) and min(own) < 0.1
    assert factor(schedule(type="plateau", patience=0), 0.5, [1, 2, 3]) == pytest.approx(0.09)


@pytest.mark.parametrize("kind", ["constant", "cosine", "plateau"])
def test_warm_up_is_linear(kind):
    block = schedule(type=kind, warmup=0.2)
    assert [factor(block, p, []) for p in (0.05, 0.1, 0.2)] == pytest.approx([0.25, 0.5, 1])


@pytest.mark.parametrize("kind", ["adamw", "radam", "sgd"])
def test_optimisers_reach_a_minimum(kind):
    x = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = make_optimizer(Training(optimizer=kind, weight_decay=0), [x])
    optimizer.param_groups[0]["lr"] = 0.03
    for _ in range(600):
        optimizer.zero_grad()
        (x**2).sum().backward()
        optimizer.step()
    assert x.abs().max() < 0.02


def test_the_range_test_stays_below_where_descent_diverges():
    curvature, x = 50.0, 3.0

    def step(rate):
        nonlocal x
        loss, x = curvature * x**2 / 2, x - rate * curvature * x
        return loss

    found = range_test(step)
    assert 1e-3 < found.suggestion * curvature < 2
    assert max(found.rates) < 1 and all(map(math.isfinite, found.losses))


def test_a_loss_that_never_falls_has_no_learning_rate():
    numbers = iter(range(1, 1000))
    with pytest.raises(UserError, match=r"training\.learning_rate: 'auto' finds none"):
        _ = range_test(lambda _: next(numbers)).suggestion


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"schedule": "cosin"}, "cosin"),
        ({"schedule": {"type": "cosine", "gamma": 1}}, "extra"),
        ({"schedule": {"type": "cosine", "warmup": 1}}, "less than 1"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"accumulation": 0}, "greater than 0"),
        ({"init": {"run": "a", "freeze": "("}}, "not a regular expression"),
    ],
)
def test_nonsense_is_refused(block, message):
    with pytest.raises(ValidationError, match=message):
        Training.model_validate(block)
