"""Losses and the balance of classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nanoforge.errors import UserError
from nanoforge.models.tasks import class_factors, cross_entropy, mean_squares

CLASSES = ("signal", "background")
COUNTS, SUMS = np.array([100, 300]), np.array([8.0, 2.0])


def test_balanced_classes_weigh_the_same():
    assert class_factors("none", CLASSES, COUNTS, SUMS).tolist() == [1, 1]
    by_count = COUNTS * class_factors("counts", CLASSES, COUNTS, SUMS)
    assert by_count == pytest.approx([200, 200])
    by_weight = SUMS * class_factors("weights", CLASSES, COUNTS, SUMS)
    assert by_weight == pytest.approx([5, 5])


@pytest.mark.parametrize("balance", ["none", "counts", "weights"])
def test_a_class_without_events_is_named(balance):
    with pytest.raises(UserError, match=r"'background' has no events.*nanoforge convert"):
        class_factors(balance, CLASSES, np.array([5, 0]), np.array([5.0, 0.0]))


def test_a_class_of_negative_weight_cannot_be_balanced_by_weight():
    sums = np.array([-1.0, 2.0])
    with pytest.raises(UserError, match=r"class_balance.*'signal'.*'counts' or 'none'"):
        class_factors("weights", CLASSES, COUNTS, sums)
    assert class_factors("counts", CLASSES, COUNTS, sums) == pytest.approx([2, 2 / 3])


def test_losses_are_weighted_sums_and_their_norm():
    logits, label = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    weight = torch.tensor([3.0, -1.0])
    each = -torch.log_softmax(logits, dim=1)[:, 0]
    numerator, denominator = cross_entropy(logits, label, weight)
    assert numerator.item() == pytest.approx((3 * each[0] - each[1]).item()) and denominator.item() == 4
    numerator, denominator = mean_squares(logits, torch.zeros(2, 2), weight)
    assert numerator.item() == pytest.approx(3 * 2 - 0.5) and denominator.item() == 4


def test_a_batch_of_zero_weights_has_no_loss():
    numerator, denominator = mean_squares(torch.ones(2, 1), torch.zeros(2, 1), torch.zeros(2))
    assert (numerator / denominator).item() == 0
