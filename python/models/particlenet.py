"""ParticleNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..dataset.info import InputInfo
from .kinematics import Momenta, separation_squared
from .layers import JoinedSet, beside_row, constituents, dense, masked_mean, row_width


class ParticleNet(nn.Module):
    """Edge convolutions on a graph of nearest neighbours (Qu, Gouskos, arXiv:1902.08570).

    All inputs of constituents are embedded to one width and make one cloud, as in CMS's ParticleNet for particles and
    secondary vertices: a jet may be the neighbour of a muon. The first graph is that of the nearest in (η, φ), every
    further one that of the nearest in the features which the convolution before has found. The mean over the cloud goes
    to the head, beside the features of the row. Normalisation is by layer and not by batch as in the paper, so that
    neither padding nor the other rows of a batch play in.

    Parameters
    ----------
    inputs, outputs
        As for every network, see :func:`~.networks.build`.
    embedding
        Width of the cloud before the first convolution.
    convolutions
        Widths of the layers of each edge convolution.
    neighbours
        How many neighbours each constituent has, where there are so many.
    hidden, dropout
        The head.
    kinematics
        Names of the features that are η and φ, see :class:`~.kinematics.Momenta`.
    """

    def __init__(
        self,
        inputs: Mapping[str, InputInfo],
        outputs: int,
        embedding: int,
        convolutions: Sequence[Sequence[int]],
        neighbours: int,
        hidden: Sequence[int],
        dropout: float,
        kinematics: Mapping[str, Any],
    ) -> None:
        super().__init__()
        clouds = constituents(inputs)
        self.momenta = Momenta(clouds, kinematics, ("eta", "phi"))
        self.cloud = JoinedSet(clouds, lambda features: _layer(features, embedding))
        widths = [embedding, *(layers[-1] for layers in convolutions)]
        self.convolutions = nn.ModuleList(
            EdgeConvolution(width, layers, neighbours) for width, layers in zip(widths, convolutions)
        )
        self.body = dense(widths[-1] + row_width(inputs), hidden, dropout)
        self.head = nn.Linear(hidden[-1], outputs)

    def forward(self, features: dict[str, Tensor], masks: dict[str, Tensor], raw: dict[str, Tensor]) -> Tensor:
        """Return raw outputs, (N, C)."""
        cloud, mask = self.cloud(features, masks)
        distance = separation_squared(*self.momenta.angles(raw))
        for number, convolution in enumerate(self.convolutions):
            cloud = convolution(cloud, _distance_squared(cloud) if number else distance, mask)
        out: Tensor = self.head(self.body(beside_row(masked_mean(cloud, mask, dim=1), features, masks)))
        return out


class EdgeConvolution(nn.Module):
    """One edge convolution: the mean over the neighbours j of a network of (x_i, x_j - x_i), and a shortcut.

    The network's first layer is linear in both, so it is applied to the constituents and not to the edges.
    """

    def __init__(self, width: int, layers: Sequence[int], neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.centre = nn.Linear(width, layers[0])
        self.neighbour = nn.Linear(width, layers[0], bias=False)
        self.activation = nn.Sequential(nn.LayerNorm(layers[0]), nn.ReLU())
        self.layers = nn.Sequential(*(_layer(a, b) for a, b in zip(layers, layers[1:])))
        self.shortcut = nn.Sequential(nn.Linear(width, layers[-1], bias=False), nn.LayerNorm(layers[-1]))

    def forward(self, x: Tensor, distance: Tensor, mask: Tensor) -> Tensor:
        """Bring constituents (N, L, W) with squared distances (N, L, L) and validity (N, L) to their new features."""
        index, valid = nearest(distance, mask, self.neighbours)
        edges = self.centre(x).unsqueeze(2) + gather(self.neighbour(x), index)
        message = masked_mean(self.layers(self.activation(edges)), valid, dim=2)
        return torch.relu(message + self.shortcut(x))


def nearest(distance: Tensor, mask: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Find the nearest valid others of each constituent.

    Parameters
    ----------
    distance
        (N, L, L), between constituents.
    mask
        Which are valid, (N, L) bool.
    most
        How many are wanted.

    Returns
    -------
    tuple of Tensor
        Their positions, (N, L, K) i8, the first of those equally near first, and which of them are neighbours,
        (N, L, K) bool. K is the smaller of ``most`` and L.
    """
    position = torch.arange(distance.shape[1], device=distance.device)
    other = mask.unsqueeze(1) & (position.unsqueeze(1) != position)
    table = torch.where(other, distance, torch.inf).flatten(0, 1)
    # Not topk: it resolves ties one way here, another way in ONNX Runtime; sort is stable on the CPU. The row more is
    # for ONNX Runtime 1.14, which divides by the number of rows.
    ranked = functional.pad(table, (0, 0, 0, 1)).sort(dim=1)
    ordered, index = (values[:-1].unflatten(0, distance.shape[:2]) for values in ranked)
    return index[:, :, :most], ordered[:, :, :most] < torch.inf


def gather(x: Tensor, index: Tensor) -> Tensor:
    """Take x, (N, L, W), at positions (N, L, K): (N, L, K, W)."""
    flat = index.flatten(1).unsqueeze(2).expand(-1, -1, x.shape[2])
    return x.gather(1, flat).unflatten(1, index.shape[1:])


def _distance_squared(x: Tensor) -> Tensor:
    """Return |x_i - x_j|², (N, L, W) to (N, L, L), without keeping the differences."""
    square = x.square().sum(dim=2)
    return square.unsqueeze(1) + square.unsqueeze(2) - 2 * x @ x.transpose(1, 2)


def _layer(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, out, bias=False), nn.LayerNorm(out), nn.ReLU())
