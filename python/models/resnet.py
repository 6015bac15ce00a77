"""A residual network of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..dataset.info import InputInfo
from .layers import beside_row, dense, row_width
from .raster import image_shapes


class ResNet(nn.Module):
    """Residual blocks over each image, pooled, and layers over that and the features of the row.

    There is no batch normalisation: images are mostly zero, and its averages would be those of the empty pixels.
    """

    def __init__(
        self,
        inputs: Mapping[str, InputInfo],
        outputs: int,
        stem: Mapping[str, int],
        widths: Sequence[int],
        blocks: int,
        pool: Sequence[str],
        hidden: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        shapes = image_shapes(inputs)
        circular = {info.image.grid: info.image.circular for info in inputs.values() if info.image is not None}
        self.branches = nn.ModuleDict(
            {grid: _branch(planes, stem, widths, blocks, circular[grid]) for grid, (planes, _, _) in shapes.items()}
        )
        self._pools = list(pool)
        self.dense = dense(len(shapes) * len(pool) * widths[-1] + row_width(inputs), hidden, dropout)
        self.head = nn.Linear(hidden[-1], outputs)

    def forward(self, features: dict[str, Tensor], masks: dict[str, Tensor], images: dict[str, Tensor]) -> Tensor:
        """Return raw outputs, (N, C)."""
        ends = [branch(images[grid]) for grid, branch in self.branches.items()]
        pooled = torch.cat([_pooled(end, pool) for end in ends for pool in self._pools], dim=1)
        out: Tensor = self.head(self.dense(beside_row(pooled, features, masks)))
        return out


class Convolution(nn.Module):
    """A convolution that keeps the size of an image, or divides it by the stride; its columns may be a circle."""

    def __init__(self, planes: int, width: int, kernel: int, stride: int, *, circular: bool) -> None:
        super().__init__()
        self._margin = kernel // 2 if circular else 0
        self.layer = nn.Conv2d(planes, width, kernel, stride, (kernel // 2, kernel // 2 - self._margin))

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, width, H / stride, W / stride)."""
        if self._margin:
            image = torch.cat([image[..., -self._margin :], image, image[..., : self._margin]], dim=3)
        out: Tensor = self.layer(image)
        return out


class ResidualBlock(nn.Module):
    """Two convolutions beside what they change; the first may halve the resolution."""

    def __init__(self, planes: int, width: int, stride: int, *, circular: bool) -> None:
        super().__init__()
        self.first = Convolution(planes, width, 3, stride, circular=circular)
        self.second = Convolution(width, width, 3, 1, circular=circular)
        same = planes == width and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(planes, width, 1, stride)

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, width, H / stride, W / stride)."""
        out: Tensor = self.second(self.first(image).relu()) + self.shortcut(image)
        return out.relu()


def _pooled(image: Tensor, pool: str) -> Tensor:
    return image.mean(dim=(2, 3)) if pool == "mean" else image.amax(dim=(2, 3))


def _branch(planes: int, stem: Mapping[str, int], widths: Sequence[int], blocks: int, circular: bool) -> nn.Sequential:
    """Make what an image passes before it is pooled."""
    layers: list[nn.Module] = [Convolution(planes, widths[0], stem["kernel"], stem["stride"], circular=circular)]
    layers.append(nn.ReLU())
    for before, width in zip([widths[0], *widths], widths):
        if len(layers) > 2:
            layers.append(ResidualBlock(before, width, 2, circular=circular))
        layers += [ResidualBlock(width, width, 1, circular=circular) for _ in range(blocks)]
    return nn.Sequential(*layers)
