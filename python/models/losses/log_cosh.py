"""ln cosh of the error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..loss_options import RegressionLossOptions

if TYPE_CHECKING:
    from torch import Tensor


class LogCoshOptions(RegressionLossOptions):
    """ln cosh of the error: its square where it is small, its absolute value where it is large."""

    type: Literal["log_cosh"]

    def each(self, raw: Tensor, target: Tensor) -> Tensor:
        """See :meth:`..loss_options.RegressionLossOptions.each`."""
        import math

        from torch.nn import functional

        size = (raw[..., 0] - target).abs()
        return size + functional.softplus(-2 * size) - math.log(2)  # cosh itself overflows
