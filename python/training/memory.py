"""What the images of a batch need, said before a training begins."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from ..config.training import Training
from ..console import say, size_text
from ..dataset.info import InputInfo
from ..dataset.resources import available_memory, keep_memory
from ..errors import UserError
from ..models.raster import image_bytes, image_shapes

_SHARE = 0.5  # the first layer's outputs, and its gradients, are as large as the images or larger


def prepare_image_memory(inputs: Mapping[str, InputInfo], training: Training, device: torch.device) -> None:
    """Say what the images that are drawn at once need, and have their memory kept from step to step.

    Raises
    ------
    UserError
        When that is more than half of the memory.
    """
    row = image_bytes(inputs)
    if not row:
        return
    memory = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    rows = math.ceil(training.batch_size / training.accumulation)
    shapes = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in image_shapes(inputs).items())
    if rows * row > _SHARE * memory:
        most = max(1, int(_SHARE * memory / row))
        parts = math.ceil(training.batch_size / most)
        raise UserError(
            f"training.batch_size: the images of {rows:,} rows ({shapes}) need {size_text(rows * row)}, more than half "
            f"of the {size_text(memory)} of memory: set training.accumulation to {parts}, "
            "which gives the same result, or lower training.batch_size"
        )
    keep_memory()
    say(f"images: {shapes}; {rows:,} rows at once need {size_text(rows * row)}")
