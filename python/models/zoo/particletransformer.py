"""The Particle Transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Optional

from pydantic import Field, model_validator

from ...config.inputs import Input
from ...config.kinematics import MomentumOptions
from ..options import Dropout, NetworkOptions, Widths

if TYPE_CHECKING:
    from torch import nn

    from ...dataset.info import InputInfo


class ParticleTransformerOptions(NetworkOptions, MomentumOptions):
    """Particle Transformer: attention with a bias from pairs (Qu, Li, Qian, arXiv:2202.03772)."""

    type: Literal["particletransformer"]
    width: int = Field(default=128, gt=0)
    """Width of the representation of a constituent; a multiple of ``heads``."""
    heads: int = Field(default=8, gt=0)
    """Heads of each attention."""
    blocks: int = Field(default=8, gt=0)
    """Attention blocks between constituents."""
    class_blocks: int = Field(default=2, gt=0)
    """Attention blocks that gather the constituents into one vector."""
    pairs: Widths = [64, 64, 64]
    """Widths of the layers that make a bias of each pair of constituents."""
    dropout: Dropout = 0.1
    """Share of the units that are left out in each step."""
    free_lengths: ClassVar[Optional[bool]] = True
    momenta: ClassVar[tuple[str, ...]] = ("pt", "eta", "phi", "mass")

    @model_validator(mode="after")
    def _heads(self) -> ParticleTransformerOptions:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided into {self.heads} heads: choose a multiple")
        return self

    def check(self, inputs: Mapping[str, Input]) -> None:
        """Refuse inputs without momenta."""
        self.check_momenta(inputs)
        super().check(inputs)

    def build(self, inputs: Mapping[str, InputInfo], outputs: int) -> nn.Module:
        """See :meth:`..options.NetworkOptions.build`."""
        from ..transformer import ParticleTransformer

        return ParticleTransformer(inputs, outputs, **self.model_dump(mode="json", exclude={"type"}))
