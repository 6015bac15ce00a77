"""Rows in memory, as estimators are fitted on them: all features side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..dataset.info import InputInfo
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
    """Return all features of the rows side by side, (N, W) f4, with ``padding`` in padded places.

    A category is its number in the list, or that of categories where it is none of them, and NaN in padded places.
    """
    columns = []
    for name, info in spec.inputs.items():
        values = _coded(info, np.asarray(inputs[name], np.float32))
        if info.length is not None:
            valid = np.asarray(inputs[f"{name}_mask"])[..., np.newaxis] > 0.5
            values = np.where(valid, values, padding_of(info, padding))
        columns.append(values.reshape(len(values), -1))
    return np.concatenate(columns, axis=1)


def padding_of(info: InputInfo, padding: float) -> np.ndarray:
    """Return what stands in padded places of each feature, (F,) f4: NaN of categories, which then are none."""
    places = range(len(info.features))
    return np.array([np.nan if i in info.categories else padding for i in places], np.float32)


def _coded(info: InputInfo, values: np.ndarray) -> np.ndarray:
    """Put the numbers of categories in place of them, (…, F)."""
    if not info.categories:
        return values
    coded = values.copy()
    for column, categories in info.categories.items():
        coded[..., column] = len(categories)
        for code, category in enumerate(categories):
            coded[..., column][values[..., column] == category] = code
    return coded


def category_columns(spec: ModelSpec) -> dict[int, int]:
    """Return the columns of :func:`flatten` with categories, and how many there are with that of all other values."""
    counts = [
        count
        for info in spec.inputs.values()
        for _ in range(info.length or 1)
        for count in (len(info.categories.get(i, ())) for i in range(len(info.features)))
    ]
    return {column: count + 1 for column, count in enumerate(counts) if count}


def indicator_columns(spec: ModelSpec) -> list[tuple[int, int]]:
    """List the columns of 0 and 1 that may stand for categories: (column of :func:`flatten`, number of category)."""
    return [(column, code) for column, count in category_columns(spec).items() for code in range(count)]


def with_indicators(spec: ModelSpec, inputs: Mapping[str, np.ndarray], padding: float) -> np.ndarray:
    """Return :func:`flatten` without categories, and behind it a column of 0 and 1 for each, 0 in padded places."""
    table, pairs = flatten(spec, inputs, padding), indicator_columns(spec)
    if not pairs:
        return table
    columns, codes = np.array(pairs).T
    numbers = np.delete(table, np.unique(columns), axis=1)
    return np.concatenate([numbers, (table[:, columns] == codes).astype(np.float32)], axis=1)


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
