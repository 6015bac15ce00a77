"""Deep Sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Optional

from pydantic import Field

from ..options import Dropout, NetworkOptions, Widths

if TYPE_CHECKING:
    from torch import nn

    from ...dataset.info import InputInfo


class DeepSetsOptions(NetworkOptions):
    """Deep Sets (Zaheer et al., arXiv:1703.06114; in HEP: Komiske et al., arXiv:1810.05165)."""

    type: Literal["deepsets"]
    constituent: Widths = [128, 128]
    """Widths of the layers that every constituent passes on its own."""
    pool: Annotated[list[Literal["mean", "sum", "max"]], Field(min_length=1)] = ["mean", "sum"]
    """What is taken of the constituents: ``mean``, ``sum`` (in units of the input's length), ``max``, or several."""
    hidden: Widths = [128, 128]
    """Widths of the layers after the sum over constituents."""
    dropout: Dropout = 0.0
    """Share of the units that are left out in each step."""
    free_lengths: ClassVar[Optional[bool]] = True

    def build(self, inputs: Mapping[str, InputInfo], outputs: int) -> nn.Module:
        """See :meth:`..options.NetworkOptions.build`."""
        from ..deepsets import DeepSets

        return DeepSets(inputs, outputs, self.constituent, self.hidden, self.dropout, self.pool)
