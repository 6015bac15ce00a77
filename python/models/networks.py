"""From a ``model`` block of an analysis file to its network: ours, or one of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..dataset.info import InputInfo
from ..errors import UserError, code_file, raised_at
from .deepsets import DeepSets
from .mlp import MLP
from .particlenet import ParticleNet
from .transformer import ParticleTransformer

NETWORKS: dict[str, type[nn.Module]] = {
    "mlp": MLP,
    "deepsets": DeepSets,
    "particlenet": ParticleNet,
    "particletransformer": ParticleTransformer,
}


def build(config: Mapping[str, Any], inputs: Mapping[str, InputInfo], outputs: int) -> nn.Module:
    """Make the network that a ``model`` block of an analysis file describes.

    A network of the user's own, ``type: my_package.my_module:MyNet`` with ``options: {...}``, is made and called as
    ours are: ``MyNet(inputs, outputs, **options)``.

    Parameters
    ----------
    config
        The block: ``type`` and the options of that type.
    inputs
        The inputs, in order: by name, the names of the features, and the ``length`` where there are constituents.
    outputs
        Number of outputs C.

    Returns
    -------
    nn.Module
        Called as ``network(features, masks)`` with normalised features per input, (N, F) or (N, L, F), zero where
        they are padding, and masks per input of constituents, (N, L) bool. Returns (N, C): logits of classes, or
        standardised targets. If its ``forward`` has a third parameter ``raw``, that gets the features as they are in
        the file (GeV, radian), zero where they are padding.

    Raises
    ------
    UserError
        When the inputs do not suit the network, or the user's own cannot be made.
    """
    options = dict(config)
    kind = options.pop("type")
    if kind == "custom":
        return _own(inputs, outputs, **options)
    return NETWORKS[kind](inputs, outputs, **options)


def _own(inputs: Mapping[str, InputInfo], outputs: int, network: str, options: Mapping[str, Any]) -> nn.Module:
    """Make a network of the user's own, from ``module:class`` or ``/path/to/module.py:class``."""
    from ..events.expressions import load_functions

    module, _, name = network.rpartition(":")
    if module.endswith(".py") and not Path(module).is_file():  # a model that moved to another machine
        module = Path(module).stem
    kind = load_functions([f"{module}:{name}"], "model.type")[name]
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise UserError(f"model.type: '{network}' is not a class derived from torch.nn.Module")
    try:
        return kind(inputs, outputs, **options)
    except Exception as error:  # the user's code may fail in any way
        problem = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise UserError(
            f"model: {name}(inputs, outputs{''.join(f', {key}={value!r}' for key, value in options.items())}) of "
            f"'{module}' fails{raised_at(error, code_file(kind.__init__))} ({problem}): correct it, or "
            "model.options"
        ) from error
