"""An analysis with other values: what a search tries, and what it writes back."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ..errors import UserError
from .load import validated
from .schema import Analysis


def as_written(analysis: Analysis) -> dict[str, Any]:
    """Return, as plain types, what the analysis file says, without defaults; its file names are absolute."""
    content = analysis.model_dump(mode="json", exclude_unset=True)
    content.setdefault("model", {})["type"] = analysis.model.type
    return content


def change(analysis: Analysis, values: Mapping[str, Any], place: str) -> Analysis:
    """Return an analysis with other values.

    Parameters
    ----------
    analysis
        The analysis; it stays as it is.
    values
        New values by key path, e.g. ``{"training.learning_rate": 0.01}``.
    place
        Where a mistake comes from, for messages.

    Raises
    ------
    UserError
        When there is no such key, or the value does not fit.
    """
    content = as_written(analysis)
    for path, value in values.items():
        *parents, key = path.split(".")
        block = content
        for parent in parents:
            block = block.setdefault(parent, {})
            if not isinstance(block, dict):
                raise UserError(f"{place}: {parent!r} has no keys of its own")
        block[key] = copy.deepcopy(value)
    return validated(content, place)
