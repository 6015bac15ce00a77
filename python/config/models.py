"""The block ``model``: ours, those of installed packages, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from ..registry import Registry
from .model_options import ModelOptions
from .typed import Typed


def module_and_class(block: Any) -> Any:
    """Read ``type: module:Class`` as what it is short for."""
    if not (isinstance(block, Mapping) and ":" in str(block.get("type"))):
        return block
    name = str(block["type"])
    kind, key = ("sklearn", "estimator") if name.startswith("sklearn.") else ("custom", "network")
    return {**block, "type": kind, key: name}


MODELS: Registry[ModelOptions] = Registry("model", ModelOptions, f"{__package__.rpartition('.')[0]}.models.zoo")  # type: ignore[type-abstract]
MODEL = Typed(MODELS, module_and_class, "model")
Model = Annotated[ModelOptions, MODEL]


def parse_model(block: Any) -> ModelOptions:
    """Return the options that a ``model`` block describes; the user's own are not yet imported."""
    return MODEL.parse(block)
