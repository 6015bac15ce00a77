"""The squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ..loss_options import RegressionLossOptions

if TYPE_CHECKING:
    from torch import Tensor


class SquaredOptions(RegressionLossOptions):
    """The squared error; its least is at the mean."""

    type: Literal["mse"]
    power: ClassVar[int] = 2

    def each(self, raw: Tensor, target: Tensor) -> Tensor:
        """See :meth:`..loss_options.RegressionLossOptions.each`."""
        return (raw[..., 0] - target).square()
