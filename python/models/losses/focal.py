"""The focal loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..loss_options import ClassificationLossOptions

if TYPE_CHECKING:
    from torch import Tensor


class FocalOptions(ClassificationLossOptions):
    """The focal loss, which cares less for what is easy (Lin et al., arXiv:1708.02002).

    It is -(1 - p)^gamma ln p with p of the true class.
    """

    type: Literal["focal"]
    gamma: float = Field(default=2.0, ge=0)
    """How little counts what is easy; 0 is the cross entropy."""

    def weighted(self, logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        """See :meth:`..loss_options.ClassificationLossOptions.weighted`."""
        import torch
        from torch.nn import functional

        log_p = -functional.cross_entropy(logits, label, reduction="none")
        wrong = -torch.expm1(log_p)  # 1 - p without cancellation; not 0, where the power has no derivative
        return weight * -log_p * wrong.clamp(min=1e-12) ** self.gamma
