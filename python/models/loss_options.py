"""What a loss is derived from: one of classes, or one of regression targets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Optional

from ..config.base import Identifier, Positive, Strict
from ..config.loss_options import LossOptions
from ..errors import nearest

if TYPE_CHECKING:
    from torch import Tensor


class ClassificationLossOptions(LossOptions):
    """A loss of classes."""

    task: ClassVar[Optional[str]] = "classification"

    @abstractmethod
    def weighted(self, logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        """Return weight times loss of each row, (N,).

        Parameters
        ----------
        logits
            What the network returns, (N, C); its softmax are the probabilities of the classes.
        label
            Index of the class, (N,) i8.
        weight
            Weights, (N,); negative ones are allowed.
        """

    def objective(self, targets: Sequence[str]) -> Any:
        """See :meth:`LossOptions.objective`."""
        from .tasks import Classification

        del targets
        return Classification(self.weighted)


class _TargetWeights(Strict):
    """Apart, so that the key is the first of a block, as in files that were written before."""

    weights: dict[Identifier, Positive] = {}
    """What the targets count among each other, 1 where none is given."""


class RegressionLossOptions(LossOptions, _TargetWeights):
    """A loss of regression targets. ``weights`` are those of the targets among each other, 1 where none is given."""

    task: ClassVar[Optional[str]] = "regression"
    power: ClassVar[int] = 1
    """The loss grows by this power of the unit of its target."""

    def check(self, targets: Collection[str]) -> None:
        """Refuse weights of targets that are not there, and names that two outputs would share."""
        for name in self.weights:
            if name not in targets:
                choices = f"{nearest(name, targets)}; known: {', '.join(targets)}"
                raise ValueError(f"training.loss.weights.{name}: no such target{choices}")
        outputs = [target + suffix for target in targets for suffix in self.suffixes]
        twice = next((name for name in outputs if outputs.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"training.loss: two outputs would be called {twice!r}: rename a target")

    @abstractmethod
    def each(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each target, (N, T), without weights.

        Parameters
        ----------
        raw
            What the network returns for each target, (N, T, K) with K the number of ``suffixes``; the prediction first.
        target
            Standardised targets, (N, T).
        """

    def shares(self, targets: Sequence[str]) -> list[float]:
        """Return the weights of the targets among each other."""
        return [self.weights.get(name, 1.0) for name in targets]

    def objective(self, targets: Sequence[str]) -> Any:
        """See :meth:`LossOptions.objective`."""
        from .tasks import Regression

        return Regression(self.each, self.shares(targets), len(self.suffixes))
