"""The block ``training.loss``: ours, those of installed packages, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from ..registry import Registry
from .base import by_type
from .loss_options import LossOptions
from .typed import Typed


def name_or_class(block: Any) -> Any:
    """Read ``loss: focal``, and ``type: module:Class`` as what it is short for."""
    block = by_type(block)
    if isinstance(block, Mapping) and ":" in str(block.get("type")):
        return {**block, "type": "custom", "loss": block["type"]}
    return block


LOSSES: Registry[LossOptions] = Registry("loss", LossOptions, f"{__package__.rpartition('.')[0]}.models.losses")  # type: ignore[type-abstract]
LOSS = Typed(LOSSES, name_or_class, "training.loss")
Loss = Annotated[LossOptions, LOSS]


def parse_loss(task: str, block: Any) -> LossOptions:
    """Return the options that ``training.loss`` describes, by default the usual ones of the task; not yet imported."""
    return LOSS.parse(block or {"type": "cross_entropy" if task == "classification" else "mse"})


def losses_of(task: str) -> str:
    """Name the losses of a task, for messages."""
    *names, last = [name for name, loss in LOSSES.all() if loss.task == task]
    return f"{', '.join(names)} or {last}"
