"""Gradient-boosted trees by XGBoost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ...config.base import Positive
from ...registry import import_extra
from ..options import BoosterOptions
from ..trees import Tree

if TYPE_CHECKING:
    import numpy as np

    from ..rows import Columns


class XGBoostOptions(BoosterOptions):
    """Gradient-boosted trees (Chen, Guestrin, XGBoost, arXiv:1603.02754); the names of the options are XGBoost's.

    Constituents are flattened, padding is missing. Categories are XGBoost's own. ``n_estimators`` is the most;
    the number that is best in the validation part is kept. Weights may be negative, as for all models. Needs
    ``pip install 'nanoforge[xgboost]'``.
    """

    type: Literal["xgboost"]
    n_estimators: int = Field(default=1000, gt=0)
    """The most trees that are grown, for each class where there are more than two."""
    learning_rate: Positive = 0.05
    """What each tree counts."""
    max_depth: int = Field(default=6, ge=1, le=30)
    """The deepest that a tree may be."""
    min_child_weight: float = Field(default=1.0, ge=0)
    """Least sum of second derivatives of the loss in a leaf."""
    gamma: float = Field(default=0.0, ge=0)
    """Least gain of a split."""
    subsample: float = Field(default=1.0, gt=0, le=1)
    """Share of the rows that each tree sees."""
    colsample_bytree: float = Field(default=1.0, gt=0, le=1)
    """Share of the features that each tree sees."""
    reg_alpha: float = Field(default=0.0, ge=0)
    """L1 regularisation."""
    reg_lambda: float = Field(default=1.0, ge=0)
    """L2 regularisation."""
    early_stopping_rounds: int = Field(default=50, gt=0)
    """The fit ends after so many trees without improvement in the validation part."""
    fitted_losses: ClassVar[tuple[str, ...]] = ("mse", "mae", "quantile")

    def grow(
        self,
        training: Columns,
        validation: Columns | None,
        loss: str,
        classes: int | None,
        level: float | None,
        seed: int,
        threads: int,
        categories: Mapping[int, int],
    ) -> tuple[str, dict[str, list[float]]]:
        """See :meth:`..options.BoosterOptions.grow`.

        XGBoost refuses negative weights: the loss, with its derivatives, is ours, and of targets of unit spread.
        """
        xgboost = import_extra("xgboost", "xgboost", "model.type: xgboost")
        objective = _Objective(loss, classes, level, training)
        parts = {"train": training} if validation is None else {"train": training, "val": validation}
        matrices = {name: _matrix(part[0], threads, categories) for name, part in parts.items()}
        booster = xgboost.Booster(self._parameters(seed, threads, classes), list(matrices.values()))
        losses: dict[str, list[float]] = {name: [] for name in parts}
        best = 0
        for number in range(self.n_estimators):
            sums = booster.predict(matrices["train"], output_margin=True, training=True)
            first, second = objective.derivatives(sums, training)
            booster.boost(matrices["train"], number, grad=first, hess=second)
            for name, part in parts.items():
                losses[name].append(objective.loss(booster.predict(matrices[name], output_margin=True), part))
            decisive = losses["val" if "val" in losses else "train"]
            best = number if not decisive[number] >= decisive[best] else best
            if validation is not None and number - best >= self.early_stopping_rounds:
                break
        kept = booster[: (best if validation is not None else number) + 1]
        model = json.loads(bytes(kept.save_raw("json")))
        text = {"center": objective.center, "scale": objective.scale, "model": model}
        text |= {"categories": list(categories.items())} if categories else {}
        return json.dumps(text), losses

    def read(self, text: str) -> _XGBooster:
        """See :meth:`..options.BoosterOptions.read`."""
        return _XGBooster(text)

    def _parameters(self, seed: int, threads: int, classes: int | None) -> dict[str, Any]:
        options = self.model_dump(mode="json", exclude={"type", "n_estimators", "early_stopping_rounds"})
        sums = {"objective": "reg:squarederror"}  # of which nothing is used but that the sums stay as they are
        if classes is not None and classes > 2:
            sums = {"objective": "multi:softprob", "num_class": str(classes)}
        fixed = {"seed": seed, "nthread": threads, "tree_method": "hist", "base_score": 0.0, "verbosity": 0}
        return {**options, **sums, **fixed, "disable_default_eval_metric": True}


class _Objective:
    """A loss of raw sums, with its derivatives.

    Parameters
    ----------
    loss, classes, level
        As :meth:`XGBoostOptions.grow` has them.
    training
        The rows by which targets are brought to unit spread.
    """

    def __init__(self, loss: str, classes: int | None, level: float | None, training: Columns) -> None:
        import numpy as np

        self._classes, self._loss = classes, loss
        self._level = 0.5 if level is None else level
        self.center, self.scale = 0.0, 1.0
        if classes is None and len(training[1]):
            truth = np.asarray(training[1], np.float64)
            self.center = float(truth.mean() if loss == "mse" else np.quantile(truth, self._level))
            self.scale = float(truth.std()) or 1.0

    def derivatives(self, sums: np.ndarray, rows: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Return the first two derivatives of the weighted loss of each row, as the sums are: (N,) or (N, C)."""
        import numpy as np

        _, truth, weight = rows
        if self._classes is None:
            error = sums - self._standardised(truth)
            first = error if self._loss == "mse" else np.where(error > 0, 1 - self._level, -self._level)
            return weight * first, weight * np.ones_like(first)
        chances = _chances(sums)
        target = truth if sums.ndim == 1 else np.eye(self._classes)[truth]
        columns = weight if sums.ndim == 1 else weight[:, np.newaxis]
        return columns * (chances - target), columns * np.maximum(chances * (1 - chances), 1e-16)

    def loss(self, sums: np.ndarray, rows: Columns) -> float:
        """Return Σw·loss/Σw, in the units of the target."""
        import numpy as np

        _, truth, weight = rows
        weight = weight.astype(np.float64)
        if self._classes is None:
            error = self.scale * (self._standardised(truth) - sums)
            each = error**2 if self._loss == "mse" else np.maximum(self._level * error, (self._level - 1) * error)
            each *= 2 if self._loss == "mae" else 1
        else:
            chances = _chances(sums)
            of_class = (
                np.where(truth > 0, chances, 1 - chances) if sums.ndim == 1 else chances[range(len(truth)), truth]
            )
            each = -np.log(np.maximum(of_class, 1e-15))
        return float((weight * each).sum() / weight.sum())

    def _standardised(self, truth: np.ndarray) -> np.ndarray:
        return (truth.astype("f8") - self.center) / self.scale


def _chances(sums: np.ndarray) -> np.ndarray:
    """Return the probabilities of the classes, (N, C), or of the second of two, (N,)."""
    import numpy as np

    sums = sums.astype(np.float64)
    if sums.ndim == 1:
        return 0.5 * (1 + np.tanh(sums / 2))
    powers = np.exp(sums - sums.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _finite(table: np.ndarray) -> np.ndarray:
    """Bring infinities, which XGBoost refuses, to the largest numbers, which fall in the same leaves."""
    import numpy as np

    limit = np.finfo(np.float32).max
    return np.clip(table, -limit, limit)


def _matrix(table: np.ndarray, threads: int, categories: Mapping[int, int]) -> Any:
    """Hand XGBoost rows (N, W) f4, of which some columns hold numbers of categories."""
    xgboost = import_extra("xgboost", "xgboost", "model.type: xgboost")
    kinds = ["c" if i in categories else "q" for i in range(table.shape[1])] if categories else None
    return xgboost.DMatrix(
        _finite(table), nthread=threads or None, feature_types=kinds, enable_categorical=kinds is not None
    )


class _XGBooster:
    """Trees that were read: sums are made of the leaves in float64, as in ONNX."""

    def __init__(self, text: str) -> None:
        import numpy as np

        xgboost = import_extra("xgboost", "xgboost", "model.type: xgboost")
        content = json.loads(text)
        self._booster = xgboost.Booster()
        self._booster.load_model(bytearray(json.dumps(content["model"]).encode()))
        learner = content["model"]["learner"]
        self._center, self._scale = float(content["center"]), float(content["scale"])
        self._categories = {int(column): int(count) for column, count in content.get("categories", [])}
        self.outputs = max(1, int(learner["learner_model_param"]["num_class"]))
        model = learner["gradient_booster"]["model"]
        self._trees, self._groups = model["trees"], model["tree_info"]
        for tree in self._trees:  # in JSON there are decimals of what is compared as float32
            tree["split_conditions"] = np.array(tree["split_conditions"], np.float32).astype(np.float64)
        self._leaves = [tree["split_conditions"] for tree in self._trees]

    def sums(self, table: np.ndarray, threads: int) -> np.ndarray:
        import numpy as np

        matrix = _matrix(table, threads, self._categories)
        reached = self._booster.predict(matrix, pred_leaf=True, strict_shape=True).reshape(len(table), -1).astype("i8")
        sums = np.zeros((len(table), self.outputs))
        for number, (leaves, group) in enumerate(zip(self._leaves, self._groups)):
            sums[:, group] += leaves[reached[:, number]]
        return self._center + self._scale * sums

    def trees(self) -> list[Tree]:
        start = Tree(0, [-1], [0.0], [False], [0], [0], [self._center])
        grown = [_tree(tree, group, self._scale, self._categories) for tree, group in zip(self._trees, self._groups)]
        return [start, *grown] if self._center else grown


def _tree(tree: dict[str, Any], output: int, scale: float, categories: Mapping[int, int]) -> Tree:
    """Write a tree of XGBoost's JSON as lists, each node before its children, without those that were pruned."""
    left, right = list(tree["left_children"]), list(tree["right_children"])
    members = _members(tree, categories)
    for node in members:
        if tree["default_left"][node]:  # to where our lists send what is missing is the right
            left[node], right[node] = right[node], left[node]
    nodes: list[int] = []
    waiting = [0]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += [] if left[node] < 0 else [right[node], left[node]]
    position = {node: i for i, node in enumerate(nodes)}
    values = [float(tree["split_conditions"][node]) for node in nodes]
    return Tree(
        output,
        feature=[-1 if left[node] < 0 else int(tree["split_indices"][node]) for node in nodes],
        threshold=values,
        missing_left=[bool(tree["default_left"][node]) for node in nodes],
        left=[position.get(left[node], 0) for node in nodes],
        right=[position.get(right[node], 0) for node in nodes],
        leaf=[scale * value for value in values],
        mode="BRANCH_LT",
        members={position[node]: codes for node, codes in members.items() if node in position},
    )


def _members(tree: dict[str, Any], categories: Mapping[int, int]) -> dict[int, tuple[int, ...]]:
    """Return, for nodes that look at categories, the numbers of those that do not go where what is missing goes.

    XGBoost sends those that it lists to the right.
    """
    members = {}
    segments = zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"])
    for node, first, size in segments:
        listed = set(tree["categories"][first : first + size])
        others = set(range(categories[tree["split_indices"][node]])) - listed
        members[node] = tuple(sorted(listed if tree["default_left"][node] else others))
    return members
