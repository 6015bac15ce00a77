"""Rows in memory, as estimators are fitted on them: all features side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .base import ModelSpec

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Features (N, W) f4, truth (N,) and weights (N,)."""


@dataclass(frozen=True)
class Rows:
    """Rows to fit: raw inputs and masks by the names of ``spec.graph_inputs``, truth as for losses, weights (N,)."""

    inputs: Mapping[str, np.ndarray]
    truth: np.ndarray
    weight: np.ndarray


def flatten(spec: ModelSpec, inputs: Mapping[str, np.ndarray], padding: float = np.nan) -> np.ndarray:
    """Return all features of the rows side by side, (N, W) f4, with ``padding`` in padded places."""
    columns = []
    for name, info in spec.inputs.items():
        values = np.asarray(inputs[name], np.float32)
        if info.length is not None:
            valid = np.asarray(inputs[f"{name}_mask"])[..., np.newaxis] > 0.5
            values = np.where(valid, values, np.float32(padding))
        columns.append(values.reshape(len(values), -1))
    return np.concatenate(columns, axis=1)


def column_names(spec: ModelSpec) -> list[tuple[str, str]]:
    """Return (input, feature) of each column of :func:`flatten`."""
    return [(name, feature) for name, i in spec.inputs.items() for _ in range(i.length or 1) for feature in i.features]


def of_target(rows: Rows, table: np.ndarray, target: int | None) -> Columns:
    """Return features, truth and weights of the rows whose target is known; None are the classes."""
    if target is None:
        return table, rows.truth, rows.weight
    truth = rows.truth[:, target]
    has_truth = ~np.isnan(truth)
    return table[has_truth], truth[has_truth], rows.weight[has_truth]
