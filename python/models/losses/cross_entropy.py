"""The cross entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..loss_options import ClassificationLossOptions

if TYPE_CHECKING:
    from torch import Tensor


class CrossEntropyOptions(ClassificationLossOptions):
    """The cross entropy, with labels smoothed by a share of ``label_smoothing`` (Szegedy et al., arXiv:1512.00567)."""

    type: Literal["cross_entropy"]
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """The share of a label that is spread over all classes."""

    def weighted(self, logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        """See :meth:`..loss_options.ClassificationLossOptions.weighted`."""
        from torch.nn import functional

        smoothing = self.label_smoothing
        return weight * functional.cross_entropy(logits, label, reduction="none", label_smoothing=smoothing)
