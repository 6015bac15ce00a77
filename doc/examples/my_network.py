"""What own_network.yaml uses: a function for expressions, and a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def transverse_mass(pt: Any, phi: Any, met: Any, met_phi: Any) -> Any:
    """Return the transverse mass of a lepton and the missing momentum; arrays of any shape, GeV."""
    return np.sqrt(2 * pt * met * (1 - np.cos(phi - met_phi)))


class Net(torch.nn.Module):
    """A sum over jets. ``inputs["jets"]`` has ``width`` (F), ``features`` (names) and ``length``."""

    def __init__(self, inputs: dict[str, Any], outputs: int, width: int) -> None:
        super().__init__()
        self.each = torch.nn.Linear(inputs["jets"].width, width)
        self.last = torch.nn.Linear(width + inputs["event"].width, outputs)

    def forward(self, features: dict[str, torch.Tensor], masks: dict[str, torch.Tensor]) -> torch.Tensor:
        """Take prepared features, ``event`` (N, F) and ``jets`` (N, L, F), and masks (N, L); return logits."""
        jets = self.each(features["jets"]).relu() * masks["jets"].unsqueeze(2)
        return self.last(torch.cat([jets.sum(dim=1), features["event"]], dim=1))
