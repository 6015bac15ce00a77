"""The likelihood of a Gaussian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..loss_options import RegressionLossOptions

if TYPE_CHECKING:
    from torch import Tensor


class GaussianOptions(RegressionLossOptions):
    """Minus the log likelihood of a Gaussian whose mean and sigma are predicted (Nix, Weigend, ICNN 1994)."""

    type: Literal["gaussian"]
    positive: ClassVar[bool] = False

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The mean, and ``<target>_sigma``."""
        return ("", "_sigma")

    def each(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return -ln of a Gaussian, (N, T), without ln √2π, of raw mean and sigma, (N, T, 2)."""
        from ..tasks import mean_and_sigma

        mean, sigma = mean_and_sigma(raw)
        return sigma.log() + ((target - mean) / sigma).square() / 2

    def objective(self, targets: Sequence[str]) -> Any:
        """See :meth:`..loss_options.LossOptions.objective`."""
        from ..tasks import GaussianRegression

        return GaussianRegression(self.each, self.shares(targets), len(self.suffixes))
