"""Blocks that come in several types, each with options of its own: model, loss and schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from .losses import LOSS
from .mistakes import alternatives, type_of
from .models import MODEL
from .training import Schedule


def _schedule(type: str) -> Any:
    return next((model for model in alternatives(Schedule) if type_of(model) == type), None)


_BLOCKS: dict[str, Callable[[str], Any]] = {
    "model": MODEL.options,
    "training.loss": LOSS.options,
    "training.schedule": _schedule,
}
"""For each block, what makes its class of a type, or None where there is no such type."""


def drop_other_options(config: DictConfig, overrides: Iterable[str], note: Callable[[str], None]) -> None:
    """Where an override chooses another type of a block, take out what the file says for the old type only.

    Parameters
    ----------
    config
        The analysis file as it is written, before all overrides: what they say themselves stays, and is checked.
    overrides
        ``key=value`` pairs, e.g. ``model.type=lightgbm``.
    note
        Is told what was taken out.
    """
    for override in overrides:
        key, _, new = override.partition("=")
        name = key.removesuffix(".type")
        block = OmegaConf.select(config, name) if name != key and name in _BLOCKS else None
        options = _BLOCKS[name](new.strip()) if name in _BLOCKS else None
        if options is None or not isinstance(block, DictConfig):
            continue
        others = [option for option in map(str, block) if option not in options.model_fields]
        for option in others:
            del block[option]
        if others:
            note(f"note: {override} leaves out what the file says for another type: {', '.join(others)}")
