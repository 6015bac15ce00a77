"""What is optimised: weighted losses, and what their raw outputs mean."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config.losses import parse_loss

LEAST_SIGMA = 1e-4
"""A predicted uncertainty is at least this part of the spread of its target."""


class Objective(nn.Module):
    """What a model learns: the loss of its raw outputs, and the scores that they become."""

    def weights(self, truth: Tensor, weight: Tensor) -> Tensor:
        """Return what each loss of a row counts: the weight (N,); of T targets (N, T), 0 where one is not known."""
        del truth
        return weight

    @abstractmethod
    def loss(self, raw: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Sum up the weighted loss.

        Parameters
        ----------
        raw
            What the network returns, (N, C).
        truth
            Index of the class, (N,) i8, or standardised targets, (N, T) f4; NaN is a target that is not known.
        weight
            Weights, (N,); negative ones are allowed.

        Returns
        -------
        tuple of Tensor
            Σ w·loss and Σw over all :meth:`weights`, scalars; sums of both over batches give the :func:`mean_loss`.
        """

    @abstractmethod
    def scores(self, raw: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        """Turn raw outputs into scores, (N, C); ``center`` and ``scale``, (T,), are those of the targets."""


def mean_loss(total: float, weight: float) -> float:
    """Return the loss of a part as all models quote it, networks and trees, ``total`` Σ w·loss over ``weight`` Σw.

    That is an unbiased estimate of what the loss of infinitely many events would be, negative weights included; over
    Σ|w| it would be less the more of them there are. With several targets both are sums over them, each with its share
    of ``training.loss.weights`` and of the losses of standardised targets. (A step of the training divides by Σ|w|,
    since batches whose weights nearly cancel would make giant ones.) NaN where Σw is not positive.
    """
    return total / weight if weight > 0 else math.nan


def make_objective(task: str, targets: Sequence[str], config: Mapping[str, Any] | None) -> Objective:
    """Make the objective that ``training.loss`` describes; without it, the usual one of the task.

    Parameters
    ----------
    task
        "classification" or "regression".
    targets
        Names of the classes or of the regression targets.
    config
        The block ``training.loss``.
    """
    return parse_loss(task, config).resolved().objective(targets)


class Classification(Objective):
    """A loss of logits, ``weighted(logits, label, weight)`` (N,); the scores are probabilities."""

    def __init__(self, weighted: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._weighted = weighted

    def loss(self, raw: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Objective.loss`."""
        return self._weighted(raw, truth, weight).sum(), weight.sum()

    def scores(self, raw: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        """Return the probabilities of the classes."""
        return raw.softmax(dim=1)


class Regression(Objective):
    """A loss of T targets with K raw outputs each, T in the outer place; the scores are in the targets' units.

    Parameters
    ----------
    each
        The loss of each target, (N, T), from raw outputs, (N, T, K), and standardised targets, (N, T).
    weights
        Of the T targets among each other.
    outputs
        How many each target has, K.
    """

    def __init__(self, each: Callable[[Tensor, Tensor], Tensor], weights: Sequence[float], outputs: int) -> None:
        super().__init__()
        self._outputs = outputs
        self._each = each
        self.register_buffer("shares", torch.tensor(weights) / sum(weights), persistent=False)

    def loss(self, raw: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Objective.loss`."""
        valid = ~truth.isnan()
        # masked before and after: what is not known has a gradient of 0, and not 0 times NaN
        losses = self._each(self._by_target(raw).to(weight.dtype), torch.where(valid, truth, 0.0))
        weights = self.weights(truth, weight)
        return (weights * torch.where(valid, losses, 0.0)).sum(), weights.sum()

    def weights(self, truth: Tensor, weight: Tensor) -> Tensor:
        """See :meth:`Objective.weights`."""
        return torch.where(truth.isnan(), 0.0, weight.unsqueeze(1) * self.get_buffer("shares"))

    def scores(self, raw: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        """Return the targets in their units."""
        return (self._by_target(raw) * scale.unsqueeze(1) + center.unsqueeze(1)).flatten(1)

    def _by_target(self, raw: Tensor) -> Tensor:
        return raw.unflatten(1, (-1, self._outputs))


class QuantileRegression(Regression):
    """Quantiles of T targets; with ``ranks`` (K,) those of each row are put in order."""

    def __init__(
        self,
        each: Callable[[Tensor, Tensor], Tensor],
        weights: Sequence[float],
        outputs: int,
        ranks: Sequence[int],
    ) -> None:
        super().__init__(each, weights, outputs)
        self._ranks = ranks

    def scores(self, raw: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        """Return the quantiles in the targets' units."""
        return in_order(super().scores(raw, center, scale), self._ranks)


class GaussianRegression(Regression):
    """The same with mean and sigma as outputs."""

    def scores(self, raw: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        """Return mean and sigma of each target in its units."""
        mean, sigma = mean_and_sigma(self._by_target(raw))
        return torch.stack([mean * scale + center, sigma * scale], dim=2).flatten(1)


def in_order(scores: Tensor, ranks: Sequence[int]) -> Tensor:
    """Sort the K values of each target, (N, T * K), and put the one of each rank (K,) in its place."""
    if not ranks:
        return scores
    rising = scores.unflatten(1, (-1, len(ranks))).sort(dim=2).values.unbind(dim=2)
    return torch.stack([rising[rank] for rank in ranks], dim=2).flatten(1)


def mean_and_sigma(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and sigma, positive, (N, T) each, of raw outputs (N, T, 2); standardised."""
    mean, spread = raw.unbind(dim=2)
    return mean, functional.softplus(spread) + LEAST_SIGMA
