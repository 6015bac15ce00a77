"""What the images of the test rows look like: the average of each class, and single rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..dataset.batch import Batch
from ..dataset.info import DatasetInfo
from ..models.raster import Raster
from .statistics import Array

MOST_ROWS = 512
"""Of so many rows images are drawn."""


@dataclass(frozen=True)
class ImageAverages:
    """The first channel of an input with an image.

    Attributes
    ----------
    name, channel
        The input, and what is drawn.
    reach
        How far the image goes from its middle in eta and in phi.
    groups
        The G classes that have rows, or "all rows".
    average, single
        The average image of each group, and that of its first row, (G, H, W).
    """

    name: str
    channel: str
    reach: tuple[float, float]
    groups: Sequence[str]
    average: Array
    single: Array


def pictures(rows: Batch, info: DatasetInfo) -> list[ImageAverages]:
    """Draw the images of some rows, without what becomes of them before the network."""
    rows = rows.take(0, min(len(rows), MOST_ROWS))
    label = np.zeros(len(rows), np.int64) if rows.label is None else rows.label.numpy()
    names = info.classes or ("all rows",)
    present = [k for k in range(len(names)) if (label == k).any()]
    found = []
    for name, shape in info.inputs.items():
        image = shape.image
        if image is None or not present:
            continue
        first = Raster(replace(image, combine=image.combine[:1], scale=("none",)))
        with torch.inference_mode():
            drawn = first(rows.inputs[name][:, :, :3], rows.inputs[f"{name}_mask"])[:, 0].numpy()
        average = np.stack([drawn[label == k].mean(axis=0) for k in present])
        single = np.stack([drawn[int(np.argmax(label == k))] for k in present])
        eta, phi = (size * pixel / 2 for size, pixel in zip(image.size, image.pixel))
        found.append(ImageAverages(name, shape.features[2], (eta, phi), [names[k] for k in present], average, single))
    return found
