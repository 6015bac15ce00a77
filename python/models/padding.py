"""Whether the number of padded constituents changes what a network gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .base import ModelSpec

_MORE = 3  # padded places


def depends_on_padding(
    spec: ModelSpec, logits: Callable[..., Tensor], tensors: Mapping[str, Tensor], scores: Tensor
) -> bool:
    """Whether more padded places change what the network gives; one that takes no other length is no such case."""
    longer = dict(tensors)
    for name, info in spec.inputs.items():
        if info.length is not None:
            for key in (name, f"{name}_mask"):
                tensor = tensors[key]
                padding = tensor.new_zeros((tensor.shape[0], _MORE, *tensor.shape[2:]))
                longer[key] = torch.cat([tensor, padding], dim=1)
    try:
        padded_logits = logits(*(longer[name] for name in spec.graph_inputs))
    except Exception:  # the user's code may fail in any way
        return False
    return not equal(padded_logits, scores)


def equal(first: Tensor, second: Tensor) -> bool:
    """Whether two sets of scores agree to the precision of single floats."""
    return torch.allclose(first, second, rtol=1e-3, atol=1e-4)
