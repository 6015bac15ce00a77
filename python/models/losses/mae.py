"""The absolute error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..loss_options import RegressionLossOptions

if TYPE_CHECKING:
    from torch import Tensor


class AbsoluteOptions(RegressionLossOptions):
    """The absolute error; its least is at the median."""

    type: Literal["mae"]

    def each(self, raw: Tensor, target: Tensor) -> Tensor:
        """See :meth:`..loss_options.RegressionLossOptions.each`."""
        return (raw[..., 0] - target).abs()
