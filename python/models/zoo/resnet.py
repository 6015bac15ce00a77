"""The residual network of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Optional

from pydantic import Field, field_validator

from ...config.base import Strict
from ...config.inputs import Input
from ..options import Dropout, NetworkOptions, Widths

if TYPE_CHECKING:
    from torch import nn

    from ...dataset.info import InputInfo

Pool = Literal["mean", "max"]


class Stem(Strict):
    """The first convolution of a residual network."""

    kernel: int = Field(default=3, ge=1, le=15)
    """Pixels in each direction; an odd number."""
    stride: int = Field(default=1, ge=1, le=8)
    """2 makes all that follows four times as fast, at half the resolution."""

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("should be odd, so that there is a pixel in the middle")
        return kernel


class ResNetOptions(NetworkOptions):
    """A residual network (He et al., arXiv:1512.03385) of images, with features of the row beside what is pooled."""

    type: Literal["resnet"]
    stem: Stem = Stem()
    """The first convolution, of each grid."""
    widths: Widths = [16, 32, 64]
    """Channels of the stages; each but the first begins at half the resolution of the one before."""
    blocks: int = Field(default=1, ge=1, le=64)
    """Residual blocks of a stage, beside the one that halves the resolution."""
    pool: Annotated[list[Pool], Field(min_length=1)] = ["mean", "max"]
    """What is taken of each channel at the end: its ``mean`` over the image, its ``max``, or both."""
    hidden: Widths = [64]
    """Widths of the layers after that."""
    dropout: Dropout = 0.0
    """Share of the units of these layers that are left out in each step."""
    free_lengths: ClassVar[Optional[bool]] = True

    def check(self, inputs: Mapping[str, Input]) -> None:
        """Refuse inputs without an image, and sets that are none."""
        if all(block.image is None for block in inputs.values()):
            raise ValueError("model.type: resnet needs an input with an 'image': add one, or use 'deepsets' or 'mlp'")
        for name, block in inputs.items():
            if block.collection is not None and block.image is None:
                raise ValueError(f"inputs.{name}: resnet takes images and features of the row: draw it by an 'image'")
        super().check(inputs)

    def build(self, inputs: Mapping[str, InputInfo], outputs: int) -> nn.Module:
        """See :meth:`..options.NetworkOptions.build`."""
        from ..resnet import ResNet

        return ResNet(inputs, outputs, **self.model_dump(mode="json", exclude={"type"}))
