"""A classifier of the training's rows against others: what no single variable shows, correlations, it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dataset.info import InputInfo
from ..distributions.drift import ALARM, FEW, OK, WARNING
from ..distributions.variable import RowValues
from ..errors import UserError
from ..evaluation.statistics import Estimate, auc

ROWS = 100_000
"""At most so many rows of each side."""
AUC_WARNING, AUC_ALARM = 0.58, 0.64
"""Of two normal distributions that differ by 0.3 and 0.5 standard deviations, as 0.1 and 0.25 are of the index."""
_CONSTITUENTS = 3
_LEAST = 500
_SIGMAS = 3.0
_SHOWN = 10
_PARAMETERS = {
    "objective": "binary",
    "num_leaves": 15,
    "learning_rate": 0.1,
    "min_data_in_leaf": 50,
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}
_TREES = 60


@dataclass(frozen=True)
class TwoSampleTest:
    """How well a classifier tells the training's rows from others.

    Attributes
    ----------
    auc
        On rows that it did not see, with their weights; 0.5 where nothing tells them apart.
    rows
        Of the training and of the others.
    importance
        Shares of what the features contributed, the largest first.
    """

    auc: Estimate
    rows: tuple[int, int]
    importance: dict[str, float]

    @property
    def state(self) -> str:
        """Judge the size of the difference."""
        if not np.isfinite(self.auc.error):
            return FEW
        if self.auc.value < AUC_WARNING or self.auc.value - 0.5 < _SIGMAS * self.auc.error:
            return OK
        return ALARM if self.auc.value >= AUC_ALARM else WARNING

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        error = self.auc.error if np.isfinite(self.auc.error) else None
        numbers = {"auc": self.auc.value, "error": error, "state": self.state}
        return {**numbers, "rows": list(self.rows), "importance": self.importance}


def two_sample_test(reference: RowValues, others: RowValues, inputs: Mapping[str, InputInfo]) -> TwoSampleTest:
    """Train trees on half of the rows, and look how well they tell the other half apart.

    Negative weights count by their size in the training of the trees, and as they are in the AUC.

    Raises
    ------
    UserError
        When there are too few rows.
    """
    import lightgbm

    if min(len(reference), len(others)) < _LEAST:
        raise UserError(
            f"--classifier: needs {_LEAST} rows of each side, and there are {len(reference):,} of the training and "
            f"{len(others):,} others"
        )
    names, _ = columns(reference, inputs)
    values = np.concatenate([columns(rows, inputs)[1] for rows in (reference, others)])
    weight = np.concatenate([rows.weight / np.abs(rows.weight).mean() for rows in (reference, others)])
    new = np.arange(len(values)) >= len(reference)
    seen = np.random.default_rng(1).random(len(values)) < 0.5
    data = lightgbm.Dataset(values[seen], new[seen], weight=np.abs(weight[seen]), params=_PARAMETERS)
    trees = lightgbm.train(_PARAMETERS, data, _TREES)
    score = np.asarray(trees.predict(values[~seen], num_threads=1))
    gains = trees.feature_importance("gain")
    total = float(gains.sum()) or 1.0
    order = np.argsort(-gains, kind="stable")[:_SHOWN]
    importance = {names[k]: float(gains[k] / total) for k in order if gains[k] > 0}
    return TwoSampleTest(auc(score, new[~seen], weight[~seen]), (len(reference), len(others)), importance)


def columns(rows: RowValues, inputs: Mapping[str, InputInfo]) -> tuple[list[str], np.ndarray]:
    """Return names and values, (N, K), of the features of rows and of their first constituents, NaN where none is."""
    names: list[str] = []
    values: list[np.ndarray] = []
    for name, info in inputs.items():
        features = rows.tensors[name]
        if info.length is None:
            names += [f"{name}.{feature}" for feature in info.features]
            values.append(features)
            continue
        mask = rows.tensors[f"{name}_mask"] > 0
        names.append(f"num({name})")
        values.append(mask.sum(axis=1, keepdims=True))
        for number in range(min(info.length, _CONSTITUENTS)):
            names += [f"{name}.{feature}[{number}]" for feature in info.features]
            values.append(np.where(mask[:, number, np.newaxis], features[:, number], np.nan))
    return names, np.concatenate(values, axis=1, dtype=np.float32)
