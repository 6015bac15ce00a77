"""The Particle Transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..dataset.info import InputInfo
from .kinematics import Momenta, pair_features
from .layers import JoinedSet, beside_row, constituents, row_width

FORBIDDEN = -3e4
"""Bias of what must not be attended to: finite, so that a row without constituents has no NaN, in float16 too."""


class ParticleTransformer(nn.Module):
    """Attention among constituents, biased by what their pairs are (Qu, Li, Qian, arXiv:2202.03772).

    ln Δ, ln kT, ln z and ln m² of each pair become one bias per head, the same in all blocks. A class token then
    gathers from the constituents, and goes to the head beside the features of the row. All inputs of constituents are
    embedded to one width and make one set; pairs are formed across inputs too. Unlike the paper's, the inputs and the
    pairs are not normalised by batch, so that neither padding nor the other rows of a batch play in.

    Parameters
    ----------
    inputs, outputs
        As for every network, see :func:`~.networks.build`.
    width, heads
        Width of a constituent, and into how many heads attention divides it.
    blocks, class_blocks
        How many blocks of attention among constituents, and by the class token.
    pairs
        Widths of the hidden layers from pair features to biases.
    dropout
        In the blocks among constituents, as in the paper.
    kinematics
        Names of the features that are momenta, see :class:`~.kinematics.Momenta`.
    """

    def __init__(
        self,
        inputs: Mapping[str, InputInfo],
        outputs: int,
        width: int,
        heads: int,
        blocks: int,
        class_blocks: int,
        pairs: Sequence[int],
        dropout: float,
        kinematics: Mapping[str, Any],
    ) -> None:
        super().__init__()
        sets = constituents(inputs)
        self.momenta = Momenta(sets, kinematics, ("pt", "eta", "phi", "mass"))
        self.set = JoinedSet(sets, lambda features: _embedding(features, width))
        self.pairs = PairBias(pairs, heads)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(blocks))
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.class_blocks = nn.ModuleList(Block(width, heads, 0.0) for _ in range(class_blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width + row_width(inputs), outputs)

    def forward(self, features: dict[str, Tensor], masks: dict[str, Tensor], raw: dict[str, Tensor]) -> Tensor:
        """Return raw outputs, (N, C)."""
        x, mask = self.set(features, masks)
        bias = self.pairs(pair_features(*self.momenta.four(raw)))
        bias = torch.where(mask[:, None, None, :], bias, FORBIDDEN)
        for block in self.blocks:
            x = block(x, x, bias)
        token = self.token.expand(x.shape[0], -1, -1)
        bias = torch.where(functional.pad(mask, (1, 0), value=True), 0.0, FORBIDDEN)[:, None, None, :]
        for block in self.class_blocks:
            token = block(token, torch.cat([token, x], dim=1), bias)
        out: Tensor = self.head(beside_row(self.norm(token).squeeze(1), features, masks))
        return out


class PairBias(nn.Module):
    """From pair features to the biases of attention, one per head."""

    def __init__(self, hidden: Sequence[int], heads: int) -> None:
        super().__init__()
        # about mean and spread of ln Δ, ln kT, ln z, ln m² (GeV) in jets as well as in events
        self.register_buffer("center", torch.tensor([-1.0, 0.0, -2.0, 2.0]), persistent=False)
        self.register_buffer("scale", torch.tensor([1.5, 3.0, 1.5, 4.0]), persistent=False)
        layers: list[nn.Module] = []
        for width, out in zip([4, *hidden], hidden):
            layers += [nn.Linear(width, out), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden[-1], heads))

    def forward(self, pairs: Tensor) -> Tensor:
        """Return biases, (N, H, L, L), of pair features (N, L, L, 4)."""
        bias: Tensor = self.layers((pairs - self.get_buffer("center")) / self.get_buffer("scale"))
        return bias.permute(0, 3, 1, 2).contiguous()  # as the fused kernels want it


class Block(nn.Module):
    """Attention and a feed-forward network, normalised before and within each (NormFormer, arXiv:2110.09456)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.after_attention = nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout))
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.LayerNorm(4 * width),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, context: Tensor, bias: Tensor) -> Tensor:
        """Update x, (N, Q, W), by what it finds in the context, (N, K, W); the bias broadcasts to (N, H, Q, K)."""
        attended = self.attention(self.before_attention(x), self.before_attention(context), bias)
        x = x + self.after_attention(attended)
        return x + self.feed_forward(x)


class Attention(nn.Module):
    """Multi-head attention with a bias (Vaswani et al., arXiv:1706.03762), by torch's fused kernels if they serve."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor, bias: Tensor) -> Tensor:
        """Return what the queries x, (N, Q, W), find in the context, (N, K, W)."""
        key, value = self.key_value(context).chunk(2, dim=2)
        query, key, value = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in (self.query(x), key, value))
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, bias.to(query.dtype), dropout)
        out: Tensor = self.out(torch.cat(attended.unbind(dim=1), dim=2))
        return out


def _embedding(features: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in ((features, width), (width, 4 * width), (4 * width, width)):
        layers += [nn.Linear(before, after), nn.GELU(), nn.LayerNorm(after)]
    return nn.Sequential(*layers)
