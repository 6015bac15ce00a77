"""ParticleNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Optional

from pydantic import Field

from ...config.inputs import Input
from ...config.kinematics import MomentumOptions
from ..options import Dropout, NetworkOptions, Widths

if TYPE_CHECKING:
    from torch import nn

    from ...dataset.info import InputInfo


class ParticleNetOptions(NetworkOptions, MomentumOptions):
    """ParticleNet: edge convolutions on a graph of neighbours (Qu, Gouskos, arXiv:1902.08570)."""

    type: Literal["particlenet"]
    embedding: int = Field(default=32, gt=0)
    """Width to which the features of a constituent are brought first."""
    convolutions: Annotated[list[Widths], Field(min_length=1)] = [[64, 64, 64], [128, 128, 128], [256, 256, 256]]
    """Widths of the layers of each edge convolution."""
    neighbours: int = Field(default=16, gt=0)
    """How many nearest constituents are neighbours of one."""
    hidden: Widths = [256]
    """Widths of the layers after the mean over constituents."""
    dropout: Dropout = 0.1
    """Share of the units that are left out in each step."""
    free_lengths: ClassVar[Optional[bool]] = True
    momenta: ClassVar[tuple[str, ...]] = ("eta", "phi")

    def check(self, inputs: Mapping[str, Input]) -> None:
        """Refuse inputs without momenta."""
        self.check_momenta(inputs)
        super().check(inputs)

    def build(self, inputs: Mapping[str, InputInfo], outputs: int) -> nn.Module:
        """See :meth:`..options.NetworkOptions.build`."""
        from ..particlenet import ParticleNet

        return ParticleNet(inputs, outputs, **self.model_dump(mode="json", exclude={"type"}))
