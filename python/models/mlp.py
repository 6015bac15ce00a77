"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..dataset.info import InputInfo
from .layers import dense


class MLP(nn.Module):
    """A multilayer perceptron over all inputs, with constituents flattened and their masks as further features.

    The masks tell a missing constituent from an average one: after normalisation both are zero. Back-propagation:
    Rumelhart, Hinton and Williams, Nature 323 (1986) 533.
    """

    def __init__(self, inputs: Mapping[str, InputInfo], outputs: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        width = sum(i.width if i.length is None else i.length * (i.width + 1) for i in inputs.values())
        self.body = dense(width, hidden, dropout)
        self.head = nn.Linear(hidden[-1], outputs)

    def forward(self, features: dict[str, Tensor], masks: dict[str, Tensor]) -> Tensor:
        """Return raw outputs, (N, C)."""
        flat = [x.flatten(1) for x in features.values()] + [m.to(torch.float32) for m in masks.values()]
        out: Tensor = self.head(self.body(torch.cat(flat, dim=1)))
        return out
