"""Images in a mirror, so that a network need not learn twice what is the same on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from ..config.training import Augmentation
from ..dataset.batch import Batch
from ..dataset.info import InputInfo
from ..events.hashing import mix

_FLIP = 0x464C_4950  # tells these random numbers from others of the same seed


def mirrors(options: Augmentation) -> bool:
    """Whether anything is mirrored, for which rows have to be numbered."""
    return options.flip_eta or options.flip_phi


def flipped(batch: Batch, inputs: Mapping[str, InputInfo], options: Augmentation, *, seed: int, epoch: int) -> Batch:
    """Mirror the images of half of the rows, in each direction that the options name.

    Which ones follows from the seed, the epoch and the number of the row, whatever batch it is in.

    Parameters
    ----------
    batch
        Rows, with their numbers; they are not changed.
    inputs
        The inputs of the model.
    options
        What is mirrored.
    seed, epoch
        Of the training.
    """
    if not mirrors(options):
        return batch
    assert batch.numbers is not None  # noqa: S101 - they were asked for
    start = mix(mix(np.array([seed ^ _FLIP], np.uint64)) ^ np.uint64(epoch))
    hashes = mix(start ^ batch.numbers.numpy().astype(np.uint64))
    mirrored = np.stack([hashes >> np.uint64(63), hashes >> np.uint64(62)], axis=1) & np.uint64(1) == 1
    mirrored &= np.array([options.flip_eta, options.flip_phi])
    signs = torch.from_numpy(np.where(mirrored, -1.0, 1.0).astype(np.float32))
    columns = dict(batch.inputs)
    for name, info in inputs.items():
        if info.image is not None:
            factors = torch.ones(len(batch), len(info.features))
            factors[:, :2] = signs
            for channel in set(options.signed) & set(info.features):
                factors[:, info.features.index(channel)] = signs[:, 1]
            columns[name] = columns[name] * factors.unsqueeze(1)
    return replace(batch, inputs=columns)
