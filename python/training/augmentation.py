"""Images in a mirror, so that a network need not learn twice what is the same on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from ..config.training import Augmentation
from ..dataset.batch import Batch
from ..dataset.info import InputInfo


def flipped(batch: Batch, inputs: Mapping[str, InputInfo], options: Augmentation, entropy: tuple[int, ...]) -> Batch:
    """Mirror the images of half of the rows, in each direction that the options name.

    Parameters
    ----------
    batch
        Rows; they are not changed.
    inputs
        The inputs of the model.
    options
        What is mirrored.
    entropy
        What the choice follows from: with the same numbers the same rows are mirrored.
    """
    if not (options.flip_eta or options.flip_phi):
        return batch
    wanted = np.array([options.flip_eta, options.flip_phi])
    draw = np.random.default_rng(entropy).random((len(batch), 2)) < 0.5
    signs = torch.from_numpy(np.where(draw & wanted, -1.0, 1.0).astype(np.float32))
    columns = dict(batch.inputs)
    for name, info in inputs.items():
        if info.image is not None:
            factors = torch.ones(len(batch), len(info.features))
            factors[:, :2] = signs
            for channel in set(options.signed) & set(info.features):
                factors[:, info.features.index(channel)] = signs[:, 1]
            columns[name] = columns[name] * factors.unsqueeze(1)
    return replace(batch, inputs=columns)
