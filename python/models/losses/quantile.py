"""Quantiles of the targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from ..loss_options import RegressionLossOptions

if TYPE_CHECKING:
    from torch import Tensor


class QuantileOptions(RegressionLossOptions):
    """Quantiles of the target (Koenker, Bassett, Econometrica 46 (1978) 33); the median is the prediction.

    They are learnt one by one, so that in some rows a lower one may lie above a higher one. With ``sort`` the model
    puts the values of each row in order, which is never worse (Chernozhukov, Fernandez-Val, Galichon, Econometrica 78
    (2010) 1093).
    """

    type: Literal["quantile"]
    quantiles: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)] = [0.16, 0.5, 0.84]
    """Ascending, and 0.5 among them."""
    sort: bool = False
    """Put the values of a row in order, so that they never cross."""

    @model_validator(mode="after")
    def _median(self) -> QuantileOptions:
        if 0.5 not in self.quantiles:
            raise ValueError("the quantiles lack 0.5, the median: it is what is predicted, the others say how well")
        if sorted(set(self.quantiles)) != self.quantiles:
            raise ValueError("write each quantile once, in ascending order")
        return self

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles, the median first."""
        return (0.5, *(q for q in self.quantiles if q != 0.5))

    @property
    def ranks(self) -> tuple[int, ...]:
        """Where each level, in the order of the outputs, stands among them; empty where nothing is sorted."""
        return tuple(self.quantiles.index(level) for level in self.levels) if self.sort else ()

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The median, and the others as ``<target>_q16``, or ``<target>_q2p5`` for 0.025."""
        return ("", *(f"_q{100 * level:.6g}".replace(".", "p") for level in self.levels[1:]))

    def each(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the quantile loss, (N, T), summed over K predicted quantiles, (N, T, K)."""
        import torch

        error = target.unsqueeze(2) - raw
        return sum(
            (torch.maximum(level * e, (level - 1) * e) for level, e in zip(self.levels, error.unbind(dim=2))),
            start=torch.zeros_like(target),
        )

    def objective(self, targets: Sequence[str]) -> Any:
        """See :meth:`..loss_options.LossOptions.objective`."""
        from ..tasks import QuantileRegression

        return QuantileRegression(self.each, self.shares(targets), len(self.levels), self.ranks)
