"""What is optimised: weighted losses, and what their raw outputs mean."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn import functional

from ..config.training import CrossEntropyLoss, FocalLoss, GaussianLoss, Loss, QuantileLoss

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
    block = parse_loss(task, config)
    if isinstance(block, CrossEntropyLoss):
        return Classification(partial(cross_entropy, label_smoothing=block.label_smoothing))
    if isinstance(block, FocalLoss):
        return Classification(partial(focal, gamma=block.gamma))
    weights = [block.weights.get(name, 1.0) for name in targets]
    if isinstance(block, GaussianLoss):
        return GaussianRegression(gaussian, weights, len(block.suffixes))
    if isinstance(block, QuantileLoss):
        return QuantileRegression(block.levels, weights, block.ranks)
    return Regression(_PLAIN[block.type], weights, len(block.suffixes))


def parse_loss(task: str, config: Mapping[str, Any] | None) -> Any:
    """Return the block ``training.loss`` as the schema has it, by default the usual one of the task."""
    default = {"type": "cross_entropy" if task == "classification" else "mse"}
    return TypeAdapter(Loss).validate_python(dict(config or default))


class Classification(Objective):
    """A loss of logits; the scores are probabilities."""

    def __init__(self, function: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self._function = function

    def loss(self, raw: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Objective.loss`."""
        return self._function(raw, truth, weight)

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
        known = ~truth.isnan()
        # masked before and after: what is not known has a gradient of 0, and not 0 times NaN
        losses = self._each(self._by_target(raw).to(weight.dtype), torch.where(known, truth, 0.0))
        weights = self.weights(truth, weight)
        return (weights * torch.where(known, losses, 0.0)).sum(), weights.sum()

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

    def __init__(self, levels: Sequence[float], weights: Sequence[float], ranks: Sequence[int]) -> None:
        super().__init__(partial(pinball, levels=levels), weights, len(levels))
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


def cross_entropy(logits: Tensor, label: Tensor, weight: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Sum up the weighted cross entropy; arguments and result are those of :meth:`Objective.loss`."""
    each = functional.cross_entropy(logits, label, reduction="none", label_smoothing=label_smoothing)
    return (weight * each).sum(), weight.sum()


def focal(logits: Tensor, label: Tensor, weight: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Sum up the focal loss, -(1 - p)^gamma ln p with p of the true class (Lin et al., arXiv:1708.02002)."""
    log_p = -functional.cross_entropy(logits, label, reduction="none")
    wrong = -torch.expm1(log_p)  # 1 - p without cancellation; not 0, where the power has no derivative
    return (weight * -log_p * wrong.clamp(min=1e-12) ** gamma).sum(), weight.sum()


def squares(raw: Tensor, target: Tensor) -> Tensor:
    """Return squared errors, (N, T), of predictions (N, T, 1)."""
    return (raw[..., 0] - target).square()


def absolutes(raw: Tensor, target: Tensor) -> Tensor:
    """Return absolute errors, (N, T), of predictions (N, T, 1)."""
    return (raw[..., 0] - target).abs()


def log_cosh(raw: Tensor, target: Tensor) -> Tensor:
    """Return ln cosh of the errors, (N, T), of predictions (N, T, 1)."""
    size = (raw[..., 0] - target).abs()
    return size + functional.softplus(-2 * size) - math.log(2)  # cosh itself overflows


def pinball(raw: Tensor, target: Tensor, levels: Sequence[float]) -> Tensor:
    """Return the quantile loss, (N, T), summed over K predicted quantiles, (N, T, K), of the given levels."""
    error = target.unsqueeze(2) - raw
    return sum(
        (torch.maximum(level * e, (level - 1) * e) for level, e in zip(levels, error.unbind(dim=2))),
        start=torch.zeros_like(target),
    )


def gaussian(raw: Tensor, target: Tensor) -> Tensor:
    """Return -ln of a Gaussian, (N, T), without ln √2π, of raw mean and sigma, (N, T, 2) (Nix, Weigend 1994)."""
    mean, sigma = mean_and_sigma(raw)
    return sigma.log() + ((target - mean) / sigma).square() / 2


def mean_and_sigma(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and sigma, positive, (N, T) each, of raw outputs (N, T, 2); standardised."""
    mean, spread = raw.unbind(dim=2)
    return mean, functional.softplus(spread) + LEAST_SIGMA


_PLAIN = {"mse": squares, "mae": absolutes, "log_cosh": log_cosh}
