"""Images inside the model: hits drawn on a grid, so that whoever feeds hits gets the picture of the training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config.images import parse_scale
from ..dataset.info import ImageInfo, InputInfo
from .drawing import can_draw, draw


class Images(nn.Module):
    """Draws all images of a model: planes on one grid are one image, named by the input whose grid it is."""

    def __init__(self, inputs: Mapping[str, InputInfo]) -> None:
        super().__init__()
        self._inputs = {name: info.image for name, info in inputs.items() if info.image is not None}
        self.rasters = nn.ModuleDict({name: Raster(image) for name, image in self._inputs.items()})

    def forward(self, hits: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Draw hits, (N, L, 2 + C) per input, of which some are valid, (N, L) bool; (N, planes, H, W) per grid."""
        grids: dict[str, list[str]] = {}
        for name, image in self._inputs.items():
            grids.setdefault(image.grid, []).append(name)
        return {grid: self._drawn(names, hits, masks) for grid, names in grids.items()}

    def _drawn(self, names: Sequence[str], hits: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """Draw the planes of a grid; where all are sums, at once: to put planes together costs as much as to draw."""
        rasters: list[Raster] = [self.rasters[name] for name in names]  # type: ignore[misc]
        if not all(raster.scatters for raster in rasters):
            return _joined([raster(hits[name], masks[name]) for name, raster in zip(names, rasters)])
        scales = [scale for raster in rasters for scale in raster.image.scale]
        if all(can_draw(hits[name]) for name in names):
            images = [raster.image for raster in rasters]
            return all_scaled(drawn(images, [hits[name] for name in names], [masks[name] for name in names]), scales)
        first, indices, weights = 0, [], []
        for name, raster in zip(names, rasters):
            index, weight = raster.summands(hits[name], masks[name])
            indices.append(index + first * raster.pixels)
            weights.append(weight)
            first += len(raster.image.combine)
        canvas = _scattered(torch.cat(indices, 1), torch.cat(weights, 1), first, rasters[0].image.size)
        return all_scaled(canvas, scales)


def image_shapes(inputs: Mapping[str, InputInfo]) -> dict[str, tuple[int, int, int]]:
    """Return the shape of each image that :class:`Images` draws of a row: planes, pixels in eta, pixels in phi."""
    shapes: dict[str, tuple[int, int, int]] = {}
    for image in (info.image for info in inputs.values() if info.image is not None):
        planes = shapes.get(image.grid, (0,))[0] + len(image.combine)
        shapes[image.grid] = planes, *image.size
    return shapes


def image_bytes(inputs: Mapping[str, InputInfo]) -> int:
    """Return the bytes of all images that :class:`Images` draws of a row."""
    return sum(4 * math.prod(shape) for shape in image_shapes(inputs).values())


def random_positions(image: ImageInfo, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw positions of hits as a dataset has them, in the middle of cells on the image and just outside, (…, 2)."""
    first = [rng.integers(-cell, size + 1, shape) for size, cell in zip(image.size, image.cell)]
    middles = [(f + (cell - size) / 2) * p for f, cell, size, p in zip(first, image.cell, image.size, image.pixel)]
    return np.stack(middles, axis=-1).astype(np.float32)


class Raster(nn.Module):
    """Draws the hits of rows on a grid.

    A hit at (eta, phi) from the middle fills pixel ``floor(eta / pixel + H / 2)``, and in phi likewise. One that covers
    k pixels in a direction begins at pixel ``floor(eta / pixel + (H - k + 1) / 2)``; its value is spread evenly over
    them, and the sum is kept. What lies outside is dropped. Nothing is learnt, and no gradients are needed.

    Sums are scattered. On a GPU their order, and so the last bit, is another one in each run; ``image.deterministic``
    multiplies one-hot matrices instead, which costs memory of L · (H + W) numbers a row.
    """

    def __init__(self, image: ImageInfo) -> None:
        super().__init__()
        self.image = image
        (height, width), (tall, wide) = image.size, image.cell
        self._canvas = height + tall - 1, width if image.circular else width + wide - 1  # of where cells begin
        self._summed = [c for c, how in enumerate(image.combine) if how in ("sum", "count")]
        self.pixels = height * width
        self.scatters = len(self._summed) == len(image.combine) and not image.deterministic
        """Whether all planes are sums that are scattered."""

    def forward(self, hits: Tensor, valid: Tensor) -> Tensor:
        """Draw hits, (N, L, 2 + C), of which some are ``valid``, (N, L) bool: an image (N, C, H, W) for each row."""
        summed = None
        if self.scatters and can_draw(hits):
            return all_scaled(drawn([self.image], [hits], [valid]), self.image.scale)
        if self._summed and not self.image.deterministic:
            summed = _scattered(*self.summands(hits, valid), len(self._summed), self.image.size)
        if summed is None or not self.scatters:
            summed = self._other_planes(hits, valid, summed)
        return all_scaled(summed, self.image.scale)

    def summands(self, hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Say what hits add to which pixels of the S planes that are sums: numbers of pixels (N, K) i8, and values.

        ``K`` is S · L, and as many times more as a hit covers pixels.
        """
        (height, width), (tall, wide) = self.image.size, self.image.cell
        row, column = self._first_pixels(hits)
        if (tall, wide) != (1, 1):
            steps = torch.arange(tall * wide, device=hits.device)
            row = (row.unsqueeze(2) + torch.div(steps, wide, rounding_mode="floor")).flatten(1)
            column = (column.unsqueeze(2) + steps % wide).flatten(1)
            valid = valid.unsqueeze(2).expand(-1, -1, tall * wide).flatten(1)
        if self.image.circular:
            column = column - width * torch.floor(column / width)
        inside = valid & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = torch.where(inside, row * width + column, 0.0).long()
        planes = []
        for c in self._summed:
            value = torch.ones_like(hits[:, :, 0]) if self.image.combine[c] == "count" else hits[:, :, 2 + c]
            if (tall, wide) != (1, 1):
                value = (value / (tall * wide)).unsqueeze(2).expand(-1, -1, tall * wide).flatten(1)
            planes.append(torch.where(inside, value, 0.0))
        indices = [index + number * self.pixels for number in range(len(planes))]
        return (index, planes[0]) if len(planes) == 1 else (torch.cat(indices, 1), torch.cat(planes, 1))

    def _first_pixels(self, hits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the row and the column of the first pixel that a hit covers, two times (N, L) f4."""
        (height, width), (tall, wide), (eta, phi) = self.image.size, self.image.cell, self.image.pixel
        row = torch.floor(hits[:, :, 0] / eta + (height - tall + 1) / 2)
        return row, torch.floor(hits[:, :, 1] / phi + (width - wide + 1) / 2)

    def _cells(self, hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return where on the canvas hits begin, two times (N, L) i8, and which of them are on it."""
        width, (tall, wide) = self.image.size[1], self.image.cell
        row, column = self._first_pixels(hits)
        row = row + (tall - 1)
        column = column - width * torch.floor(column / width) if self.image.circular else column + (wide - 1)
        rows, columns = self._canvas
        inside = valid & (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        return torch.where(inside, row, 0.0).long(), torch.where(inside, column, 0.0).long(), inside

    def _other_planes(self, hits: Tensor, valid: Tensor, summed: Tensor | None) -> Tensor:
        """Combine hits that fill the same pixels, plane by plane, (N, C, H, W), but for sums that are there."""
        row, column, inside = self._cells(hits, valid)
        channels = torch.where(inside.unsqueeze(-1), hits[:, :, 2:], 0.0).transpose(1, 2)
        index = (row * self._canvas[1] + column).unsqueeze(1)
        if self._summed and summed is None:
            summed = self._spread_sums(self._products(row, column, inside, channels))
        planes = []
        for c, how in enumerate(self.image.combine):
            if c in self._summed and summed is not None:
                planes.append(summed[:, self._summed.index(c)].unsqueeze(1))
            else:
                chosen = inside if how == "max" else self._hardest(index, inside, channels)
                planes.append(self._spread_largest(self._largest(index, chosen, channels[:, c])))
        return _joined(planes)

    def _products(self, row: Tensor, column: Tensor, inside: Tensor, channels: Tensor) -> Tensor:
        """Sum up the hits that begin at the same place by products of matrices, (N, S, canvas)."""
        ones = inside.to(channels.dtype)
        weights = torch.stack([ones if self.image.combine[c] == "count" else channels[:, c] for c in self._summed], 1)
        rows, columns = self._canvas
        one_hot = (column.unsqueeze(2) == torch.arange(columns, device=column.device)).to(weights.dtype)
        at_row = (row.unsqueeze(1) == torch.arange(rows, device=row.device).unsqueeze(1)).to(weights.dtype)
        return (at_row.unsqueeze(1) * weights.unsqueeze(2)) @ one_hot.unsqueeze(1)

    def _largest(self, index: Tensor, chosen: Tensor, values: Tensor) -> Tensor:
        """Take the largest of the chosen hits that begin at the same place, (N, 1, canvas); -inf where none does."""
        rows, columns = self._canvas
        values = torch.where(chosen, values, -math.inf).unsqueeze(1)
        canvas = values.new_full((values.shape[0], 1, rows * columns), -math.inf)
        return canvas.scatter_reduce(2, index, values, "amax").unflatten(2, (rows, columns))

    def _hardest(self, index: Tensor, inside: Tensor, channels: Tensor) -> Tensor:
        """Say which hits have the largest first channel of their pixel, (N, L)."""
        first = channels[:, 0]
        largest = self._largest(index, inside, first).flatten(2).gather(2, index).squeeze(1)
        return inside & (first == largest)

    def _spread_sums(self, canvas: Tensor) -> Tensor:
        if self.image.cell == (1, 1):
            return canvas
        tall, wide = self.image.cell
        return _windowed(_windowed(self._around(canvas), 2, tall), 3, wide) / (tall * wide)

    def _spread_largest(self, canvas: Tensor) -> Tensor:
        if self.image.cell != (1, 1):
            canvas = functional.max_pool2d(self._around(canvas), self.image.cell, stride=1)
        return torch.where(torch.isinf(canvas), 0.0, canvas)

    def _around(self, canvas: Tensor) -> Tensor:
        """Let cells that cross the end of the circle begin before its first column."""
        wide = self.image.cell[1]
        if not self.image.circular or wide == 1:
            return canvas
        return torch.cat([canvas[:, :, :, -(wide - 1) :], canvas], dim=3)


def _windowed(values: Tensor, dim: int, size: int) -> Tensor:
    """Sum up so many neighbours in a direction; several times as fast as ``avg_pool2d`` on a CPU."""
    length = values.shape[dim] - size + 1
    total = values.narrow(dim, 0, length)
    for start in range(1, size):
        total = total + values.narrow(dim, start, length)
    return total


def drawn(images: Sequence[ImageInfo], hits: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Draw sums of hits in memory, (N, L, 2 + C) per image, as planes of one grid, (N, planes, H, W)."""
    planes = [len(image.combine) for image in images]
    canvas = hits[0].new_empty((len(hits[0]), sum(planes), *images[0].size))
    for number, (image, of_image, valid) in enumerate(zip(images, hits, masks)):
        draw(image, of_image, valid, canvas, sum(planes[:number]))
    return canvas


def _scattered(index: Tensor, weights: Tensor, planes: int, size: tuple[int, int]) -> Tensor:
    """Add up values, (N, K), at the pixels of so many planes, (N, planes, H, W)."""
    height, width = size
    canvas = weights.new_zeros((weights.shape[0], planes * height * width))
    return canvas.scatter_add_(1, index, weights).unflatten(1, (planes, height, width))


def all_scaled(planes: Tensor, scales: Sequence[str | None]) -> Tensor:
    """Scale planes, (N, C, H, W), as ``ImageInfo.scale`` says; without a copy where all are alike."""
    if len(set(scales)) == 1:
        return scaled(planes, scales[0])
    return torch.cat([scaled(p, s) for p, s in zip(planes.split(1, dim=1), scales)], dim=1)


def _joined(planes: list[Tensor]) -> Tensor:
    return planes[0] if len(planes) == 1 else torch.cat(planes, dim=1)


def scaled(values: Tensor, scale: str | None) -> Tensor:
    """Bring a channel to the order of one, as ``ImageInfo.scale`` says; zero stays zero, and signs stay."""
    if scale is None:
        return values
    kind, number = parse_scale(scale)
    if kind == "linear":
        return values / number
    if kind == "log1p":
        return values.sign() * torch.log1p(values.abs() / number)
    return values.sign() * values.abs().sqrt() if kind == "sqrt" else values
