"""What makes a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Optional

if TYPE_CHECKING:
    from torch import nn

    from ..dataset.info import InputInfo


class NetworkBuilder(ABC):
    """What makes a network of PyTorch."""

    free_lengths: ClassVar[Optional[bool]] = None
    """Whether it takes any number of constituents; None: it has to be tried."""

    @abstractmethod
    def build(self, inputs: Mapping[str, InputInfo], outputs: int) -> nn.Module:
        """Make the network, with weights from torch's random generator.

        Parameters
        ----------
        inputs
            The inputs, in order: by name, how many features there are (``width``), and the ``length`` where there are
            constituents. ``features`` names those of the file; categories and components are other ones.
        outputs
            Number of outputs C.

        Returns
        -------
        nn.Module
            Called as ``network(features, masks)`` with prepared features per input, (N, F) or (N, L, F), zero where
            they are padding, and masks per input of constituents, (N, L) bool. Returns (N, C): logits of classes, or
            standardised targets. If its ``forward`` has a parameter ``raw``, that gets the features as they are in the
            file (GeV, radian), zero where they are padding; a parameter ``images`` gets what is drawn of the hits,
            (N, planes, H, W) for each grid, of the shapes that ``models.raster.image_shapes(inputs)`` tells.

        Raises
        ------
        UserError
            When the inputs do not suit the network.
        """
