"""How many values of features with categories are none of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..config.inputs import Input
from .extremes import ROWS


def categories_of(inputs: Mapping[str, Input]) -> dict[str, dict[int, list[int]]]:
    """Return the categories of all inputs, by name and position of the feature."""
    options = {name: list(block.feature_options.values()) for name, block in inputs.items()}
    listed = {n: {i: o.categories for i, o in enumerate(of) if o.categories} for n, of in options.items()}
    return {name: features for name, features in listed.items() if features}


def count_unlisted(values: np.ndarray, valid: np.ndarray, categories: Mapping[int, Sequence[int]]) -> np.ndarray:
    """Count valid entries of some rows, and those in no category: (2, F) of values (N, L, F), of which (N, L) count."""
    step = max(1, len(values) // ROWS)
    values, valid = values[::step], valid[::step]
    counts = np.zeros((2, values.shape[2]))
    for column, listed in categories.items():
        entries = values[..., column][valid]
        counts[:, column] = len(entries), (~np.isin(entries, np.array(listed, np.float32))).sum()
    return counts
