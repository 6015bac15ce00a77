"""Deep Sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..dataset.info import InputInfo
from .layers import dense


class DeepSets(nn.Module):
    """Deep Sets (Zaheer et al., arXiv:1703.06114; in HEP: Komiske et al., arXiv:1810.05165).

    Each input of constituents has its own network phi; what it says of the constituents is pooled and, beside the
    features of the row, given to the network rho. Any number of constituents will do, also none.
    """

    def __init__(
        self,
        inputs: Mapping[str, InputInfo],
        outputs: int,
        constituent: Sequence[int],
        hidden: Sequence[int],
        dropout: float,
        pool: Sequence[str] = ("mean", "sum"),
    ) -> None:
        super().__init__()
        self.lengths = {name: info.length for name, info in inputs.items() if info.length is not None}
        widths = {name: info.width for name, info in inputs.items()}
        self.phi = nn.ModuleDict({name: dense(widths[name], constituent, dropout) for name in self.lengths})
        self.pool = pool
        width = sum(len(pool) * constituent[-1] if name in self.lengths else widths[name] for name in widths)
        self.rho = dense(width, hidden, dropout)
        self.head = nn.Linear(hidden[-1], outputs)

    def forward(self, features: dict[str, Tensor], masks: dict[str, Tensor]) -> Tensor:
        """Return raw outputs, (N, C)."""
        columns = [self._pool(name, x, masks[name]) if name in masks else x for name, x in features.items()]
        out: Tensor = self.head(self.rho(torch.cat(columns, dim=1)))
        return out

    def _pool(self, name: str, constituents: Tensor, mask: Tensor) -> Tensor:
        """Pool (N, L, F) to (N, P) for each way to pool; zeros for an empty row."""
        valid = mask.unsqueeze(-1)
        outputs = torch.where(valid, self.phi[name](constituents), 0.0)
        total = outputs.sum(dim=1)
        pooled = []
        for way in self.pool:
            if way == "max":  # of numbers that are not negative: zeros for padding, and one more for no constituents
                pooled.append(functional.pad(outputs, (0, 0, 0, 1)).amax(dim=1))
            elif way == "sum":  # in units of the longest row: of order one, and the same however much padding there is
                pooled.append(total / self.lengths[name])
            else:
                pooled.append(total / valid.sum(dim=1).clamp(min=1))
        return torch.cat(pooled, dim=1)
