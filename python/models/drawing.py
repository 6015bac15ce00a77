"""Images drawn on a CPU: zeros and hits row by row, while the row's image is in the cache of the core."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..compiled import jit
from ..dataset.info import ImageInfo


def can_draw(hits: Tensor) -> bool:
    """Whether hits are numbers in memory, and not those of a graph that is traced or differentiated."""
    plain = type(hits) is Tensor and hits.device.type == "cpu" and hits.dtype == torch.float32
    return plain and not torch.compiler.is_compiling() and not hits.requires_grad


def draw(image: ImageInfo, hits: Tensor, valid: Tensor, canvas: Tensor, first: int) -> None:
    """Draw the planes of an image, all of them sums, on a canvas of several.

    Parameters
    ----------
    image
        What to draw.
    hits, valid
        (N, L, 2 + C) f4 and (N, L) bool.
    canvas
        (N, planes, H, W) f4, of any contents: planes ``first`` to ``first + C`` are written.
    first
        Number of the first plane.
    """
    counts = np.array([how == "count" for how in image.combine])
    corner = [(size - cell + 1) / 2 for size, cell in zip(image.size, image.cell)]
    geometry = np.array([image.pixel, corner], np.float32)
    values, there = hits.detach().contiguous().numpy(), valid.contiguous().numpy()
    _draw(values, there, counts, geometry, np.array(image.cell), image.circular, canvas.numpy(), first)


@jit
def _draw(
    hits: np.ndarray,
    valid: np.ndarray,
    counts: np.ndarray,
    geometry: np.ndarray,
    cell: np.ndarray,
    circular: bool,
    canvas: np.ndarray,
    first: int,
) -> None:
    """Do what :func:`draw` says, with the arithmetic of ``raster.Raster.summands``, in float32.

    ``geometry`` (2, 2) f4 has the pixels' sizes, and where in pixels from the first one a cell begins in the middle.
    """
    planes, width = len(counts), np.float32(canvas.shape[3])
    share = np.float32(cell[0] * cell[1])
    for r in range(len(hits)):
        canvas[r, first : first + planes] = 0
        for i in range(hits.shape[1]):
            if not valid[r, i]:
                continue
            top = np.floor(hits[r, i, 0] / geometry[0, 0] + geometry[1, 0])
            left = np.floor(hits[r, i, 1] / geometry[0, 1] + geometry[1, 1])
            for row in range(cell[0]):
                y = top + np.float32(row)
                if not (y >= 0 and y < canvas.shape[2]):  # nor NaN
                    continue
                for column in range(cell[1]):
                    x = left + np.float32(column)
                    if circular:
                        x -= width * np.floor(x / width)
                    if not (x >= 0 and x < width):
                        continue
                    for c in range(planes):
                        value = np.float32(1) if counts[c] else hits[r, i, 2 + c]
                        canvas[r, first + c, np.int64(y), np.int64(x)] += value / share
