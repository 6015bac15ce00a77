"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Optional

from ..options import Dropout, NetworkOptions, Widths

if TYPE_CHECKING:
    from torch import nn

    from ...dataset.info import InputInfo


class MLPOptions(NetworkOptions):
    """A multilayer perceptron; constituents are flattened, padding included."""

    type: Literal["mlp"]
    hidden: Widths = [128, 128, 128]
    """Widths of the hidden layers."""
    dropout: Dropout = 0.0
    """Share of the units that are left out in each step."""
    free_lengths: ClassVar[Optional[bool]] = False

    def build(self, inputs: Mapping[str, InputInfo], outputs: int) -> nn.Module:
        """See :meth:`..options.NetworkOptions.build`."""
        from ..mlp import MLP

        return MLP(inputs, outputs, self.hidden, self.dropout)
