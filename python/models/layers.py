"""What the networks share: dense layers, and several inputs of constituents as one set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..dataset.info import InputInfo


def dense(width: int, widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Stack linear layers of the given widths, each followed by ReLU and, where it is not 0, dropout."""
    layers: list[nn.Module] = []
    for out in widths:
        layers += [nn.Linear(width, out), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = out
    return nn.Sequential(*layers)


def constituents(inputs: Mapping[str, InputInfo]) -> dict[str, InputInfo]:
    """Return the inputs that have constituents."""
    return {name: info for name, info in inputs.items() if info.length is not None}


def row_width(inputs: Mapping[str, InputInfo]) -> int:
    """Return how many features the row itself has."""
    return sum(info.width for info in inputs.values() if info.length is None)


def beside_row(pooled: Tensor, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
    """Put the features of the row beside what was pooled from its constituents, (N, P) to (N, P + R)."""
    return torch.cat([pooled, *(x for name, x in features.items() if name not in masks)], dim=1)


class JoinedSet(nn.Module):
    """Several inputs of constituents as one set, each embedded to a common width by a network of its own.

    Parameters
    ----------
    inputs
        The inputs with constituents.
    embedding
        Makes the network that embeds an input of the given number of features.
    """

    def __init__(self, inputs: Mapping[str, InputInfo], embedding: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({name: embedding(info.width) for name, info in inputs.items()})

    def forward(self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the set, (N, ΣL, W), and which of its members are valid, (N, ΣL) bool."""
        embedded = [embedding(features[name]) for name, embedding in self.embeddings.items()]
        return torch.cat(embedded, dim=1), torch.cat([masks[name] for name in self.embeddings], dim=1)


def masked_mean(values: Tensor, valid: Tensor, dim: int) -> Tensor:
    """Average (…, D, …, W) over a dimension, where ``valid`` (the same without W) says so; zeros where nothing is."""
    chosen = valid.unsqueeze(-1)
    return torch.where(chosen, values, 0.0).sum(dim=dim) / chosen.sum(dim=dim).clamp(min=1)
