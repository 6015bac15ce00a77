"""Gradient-boosted trees by LightGBM."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ...config.base import Positive
from ..options import BoosterOptions
from ..trees import Tree

if TYPE_CHECKING:
    import numpy as np

    from ..rows import Columns


class LightGBMOptions(BoosterOptions):
    """Gradient-boosted trees (Ke et al., LightGBM, NeurIPS 2017); the names of the options are LightGBM's.

    Constituents are flattened, padding is missing. Categories are LightGBM's own. ``num_iterations`` is the most;
    the number that is best in the validation part is kept.
    """

    type: Literal["lightgbm"]
    num_iterations: int = Field(default=1000, gt=0)
    """The most trees that are grown."""
    learning_rate: Positive = 0.05
    """What each tree counts."""
    num_leaves: int = Field(default=31, gt=1)
    """The most leaves of a tree."""
    max_depth: int = Field(default=-1, ge=-1)
    """The deepest that a tree may be; -1: as deep as it likes."""
    min_data_in_leaf: int = Field(default=20, ge=0)
    """Fewest rows in a leaf."""
    feature_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the features that each tree sees."""
    bagging_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the rows that each tree sees."""
    lambda_l1: float = Field(default=0.0, ge=0)
    """L1 regularisation."""
    lambda_l2: float = Field(default=0.0, ge=0)
    """L2 regularisation."""
    early_stopping_round: int = Field(default=50, gt=0)
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
        """See :meth:`..options.BoosterOptions.grow`."""
        import lightgbm

        parameters = self._parameters(seed, threads) | _objective(loss, classes, level)
        rounds, patience = parameters.pop("num_iterations"), parameters.pop("early_stopping_round")
        columns: Any = list(categories) or "auto"
        train = lightgbm.Dataset(
            training[0], training[1], weight=training[2], params=parameters, categorical_feature=columns
        )
        sets = {"train": train}
        noted: dict[str, dict[str, list[float]]] = {}
        callbacks = [lightgbm.record_evaluation(noted)]
        if validation is not None:
            sets["val"] = train.create_valid(validation[0], validation[1], weight=validation[2])
            callbacks.append(lightgbm.early_stopping(patience, verbose=False))
        booster = lightgbm.train(parameters, train, rounds, list(sets.values()), list(sets), callbacks=callbacks)
        losses = {name: [float(v) for v in next(iter(metrics.values()))] for name, metrics in noted.items()}
        return str(booster.model_to_string(num_iteration=booster.best_iteration)), losses

    def read(self, text: str) -> _LightGBMBooster:
        """See :meth:`..options.BoosterOptions.read`."""
        return _LightGBMBooster(text)

    def _parameters(self, seed: int, threads: int) -> dict[str, Any]:
        options = self.model_dump(mode="json", exclude={"type"})
        bagging = {"bagging_freq": 1} if self.bagging_fraction < 1 else {}
        fixed = {"seed": seed, "num_threads": threads, "verbosity": -1, "deterministic": True, "force_row_wise": True}
        return options | bagging | fixed


class _LightGBMBooster:
    def __init__(self, text: str) -> None:
        import lightgbm

        self._booster = lightgbm.Booster(model_str=text)
        self.outputs = self._booster.num_model_per_iteration()

    def sums(self, table: np.ndarray, threads: int) -> np.ndarray:
        import numpy as np

        return np.asarray(self._booster.predict(table, raw_score=True, num_threads=threads))

    def trees(self) -> list[Tree]:
        dumped = self._booster.dump_model()["tree_info"]
        return [_tree(tree["tree_structure"], tree["tree_index"] % self.outputs) for tree in dumped]


def _objective(loss: str, classes: int | None, level: float | None) -> dict[str, Any]:
    """Return LightGBM's parameters of a loss."""
    if classes is not None:
        return {"objective": "binary"} if classes == 2 else {"objective": "multiclass", "num_class": classes}
    objectives = {"mse": "regression", "mae": "regression_l1", "quantile": "quantile"}
    return {"objective": objectives[loss]} | ({} if level is None else {"alpha": level})


def _tree(root: dict[str, Any], output: int) -> Tree:
    """Write a tree of LightGBM's ``dump_model`` as lists, each node before its children."""
    nodes: list[dict[str, Any]] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += [node[side] for side in ("right_child", "left_child") if side in node]
    number = {id(node): i for i, node in enumerate(nodes)}
    return Tree(
        output,
        feature=[node.get("split_feature", -1) for node in nodes],
        threshold=[_threshold(node) for node in nodes],
        missing_left=[_missing_goes_left(node) for node in nodes],
        left=[number.get(id(node.get("left_child")), 0) for node in nodes],
        right=[number.get(id(node.get("right_child")), 0) for node in nodes],
        leaf=[float(node.get("leaf_value", 0.0)) for node in nodes],
        members={
            i: tuple(map(int, node["threshold"].split("||")))
            for i, node in enumerate(nodes)
            if node.get("decision_type") == "=="
        },
    )


def _threshold(node: dict[str, Any]) -> float:
    """Return the threshold of a node; between what is there and what is missing it is infinite; 0 for categories."""
    if node.get("decision_type") == "==":
        return 0.0
    value = float(node.get("threshold", 0.0))
    return value if value < 1e300 else math.inf  # the dump writes infinity as 1e300, and the model has "inf"


def _missing_goes_left(node: dict[str, Any]) -> bool:
    """Whether LightGBM sends NaN left; where the training had none, it takes NaN for 0."""
    if node.get("decision_type") != "<=":  # categories that are missing go right
        return False
    return bool(node["default_left"]) if node["missing_type"] == "NaN" else node["threshold"] >= 0.0
