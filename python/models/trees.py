"""Gradient-boosted trees by LightGBM, with the inputs, outputs and files of the other models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .base import Model, ModelSpec
from .tasks import in_order

_OBJECTIVES = {"mse": "regression", "mae": "regression_l1", "quantile": "quantile"}


@dataclass(frozen=True)
class Rows:
    """Rows to fit: raw inputs and masks by the names of ``spec.graph_inputs``, truth as for losses, weights (N,)."""

    inputs: Mapping[str, np.ndarray]
    truth: np.ndarray
    weight: np.ndarray


class TreeModel(Model):
    """Gradient-boosted decision trees (Ke et al., LightGBM, NeurIPS 2017), called and saved like a :class:`Model`.

    Constituents are flattened, padding is missing. There is one booster for all classes, or one for each output of a
    regression.

    Parameters
    ----------
    spec
        What it is made from.
    boosters
        LightGBM's own text of each booster.
    """

    def __init__(self, spec: ModelSpec, boosters: list[str]) -> None:
        super().__init__()
        self.spec = spec
        self.texts = boosters
        self.boosters = [lightgbm.Booster(model_str=text) for text in boosters]

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the final scores, (N, C): probabilities of the classes, or targets in their own units."""
        given = {name: tensor.cpu().numpy() for name, tensor in zip(self.spec.graph_inputs, tensors)}
        table = flatten(self.spec, given)
        if not len(table):
            return torch.zeros(0, len(self.spec.outputs))
        threads = torch.get_num_threads()
        raw = np.column_stack(
            [booster.predict(table, raw_score=True, num_threads=threads) for booster in self.boosters]
        )
        return scores(self.spec, torch.from_numpy(raw)).to(torch.float32)

    @property
    def parameter_count(self) -> int:
        """Number of thresholds and leaves."""
        leaves = [tree["num_leaves"] for booster in self.boosters for tree in booster.dump_model()["tree_info"]]
        return 2 * sum(leaves) - len(leaves)

    def typical(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return centre and spread, (F,), of the thresholds of an input's features."""
        columns = column_names(self.spec)
        found: dict[str, list[float]] = {feature: [] for feature in self.spec.inputs[name].features}
        for node in (n for b in self.boosters for tree in b.dump_model()["tree_info"] for n in nodes(tree)):
            owner, feature = columns[node.get("split_feature", 0)]
            if owner == name and "threshold" in node and np.isfinite(threshold(node)):
                found[feature].append(threshold(node))
        center = [np.mean(values) if values else 0.0 for values in found.values()]
        scale = [np.std(values) or 1.0 if values else 1.0 for values in found.values()]
        return np.asarray(center, np.float32), np.asarray(scale, np.float32)

    def content(self) -> dict[str, Any]:
        """Return LightGBM's text of every booster."""
        return {"boosters": self.texts}

    @classmethod
    def restore(cls, spec: ModelSpec, content: Mapping[str, Any]) -> TreeModel:
        """Make the boosters again."""
        return cls(spec, list(content["boosters"]))


def fit(
    spec: ModelSpec, training: Rows, validation: Rows | None, seed: int, threads: int = 0
) -> tuple[TreeModel, dict[str, dict[str, list[float]]]]:
    """Fit the trees that ``spec.network`` and ``spec.loss`` describe.

    Parameters
    ----------
    spec
        The model.
    training, validation
        The rows; without any for validation, all trees are kept.
    seed
        Of bagging and of the choice of features.
    threads
        How many; 0 for all cores. The result does not depend on it.

    Returns
    -------
    tuple
        The model, and by output the loss after each tree of "train" and "val".

    Raises
    ------
    UserError
        When the loss is none that LightGBM has.
    """
    texts: list[str] = []
    history: dict[str, dict[str, list[float]]] = {}
    tables = [None if rows is None else flatten(spec, rows.inputs) for rows in (training, validation)]
    for name, target, objective in _tasks(spec):
        data = [
            _dataset(table, rows, target)
            for table, rows in zip(tables, (training, validation))
            if table is not None and rows is not None
        ]
        history[name] = {}
        texts.append(_boost({**_parameters(spec, seed, threads), **objective}, data, history[name]))
    return TreeModel(spec, texts), history


def flatten(spec: ModelSpec, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return all features of the rows side by side, (N, W) f4, with NaN in padded places."""
    columns = []
    for name, info in spec.inputs.items():
        values = np.asarray(inputs[name], np.float32)
        if info.length is not None:
            values = np.where(np.asarray(inputs[f"{name}_mask"])[..., np.newaxis] > 0.5, values, np.float32(np.nan))
        columns.append(values.reshape(len(values), -1))
    return np.concatenate(columns, axis=1)


def column_names(spec: ModelSpec) -> list[tuple[str, str]]:
    """Return (input, feature) of each column of :func:`flatten`."""
    return [(name, feature) for name, i in spec.inputs.items() for _ in range(i.length or 1) for feature in i.features]


def scores(spec: ModelSpec, raw: Tensor) -> Tensor:
    """Turn sums over trees, (N, 1) of two classes and else (N, C), into scores (N, C)."""
    if spec.task == "regression":
        return in_order(raw, spec.ranks)
    return torch.cat([-raw, raw], dim=1).sigmoid() if len(spec.targets) == 2 else raw.softmax(dim=1)


def nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Pass over the nodes of a tree of LightGBM's ``dump_model``, each before its children."""
    waiting = [tree["tree_structure"]]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [node[side] for side in ("right_child", "left_child") if side in node]


def threshold(node: dict[str, Any]) -> float:
    """Return the threshold of a node; between what is there and what is missing it is infinite."""
    value = float(node["threshold"])
    return value if value < 1e300 else np.inf  # the dump writes infinity as 1e300, and the model has "inf"


def _tasks(spec: ModelSpec) -> Iterator[tuple[str, int | None, dict[str, Any]]]:
    """List the boosters: name, number of the target (None for classes), and LightGBM's parameters of the loss."""
    if spec.task == "classification":
        count = len(spec.targets)
        yield (
            "classes",
            None,
            {"objective": "binary"} if count == 2 else {"objective": "multiclass", "num_class": count},
        )
        return
    loss = spec.loss or {"type": "mse"}
    if loss["type"] not in _OBJECTIVES:
        raise UserError(f"training.loss: lightgbm has no {loss['type']!r}: use {', '.join(_OBJECTIVES)}")
    names = iter(spec.outputs)
    for target in range(len(spec.targets)):
        for level in spec.levels or (None,):
            yield next(names), target, {"objective": _OBJECTIVES[loss["type"]]} | ({"alpha": level} if level else {})


def _parameters(spec: ModelSpec, seed: int, threads: int) -> dict[str, Any]:
    options = {name: value for name, value in spec.network.items() if name != "type"}
    bagging = {"bagging_freq": 1} if options["bagging_fraction"] < 1 else {}
    fixed = {"seed": seed, "num_threads": threads, "verbosity": -1, "deterministic": True, "force_row_wise": True}
    return options | bagging | fixed


def _dataset(table: np.ndarray, rows: Rows, target: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, truth and weights of the rows whose target is known."""
    if target is None:
        return table, rows.truth, rows.weight
    truth = rows.truth[:, target]
    known = ~np.isnan(truth)
    return table[known], truth[known], rows.weight[known]


def _boost(
    parameters: dict[str, Any], data: list[tuple[np.ndarray, np.ndarray, np.ndarray]], history: dict[str, list[float]]
) -> str:
    """Grow the trees of one booster, note its loss after each, and return its text."""
    rounds, patience = parameters.pop("num_iterations"), parameters.pop("early_stopping_round")
    train = lightgbm.Dataset(data[0][0], data[0][1], weight=data[0][2], params=parameters)
    sets = {"train": train}
    noted: dict[str, dict[str, list[float]]] = {}
    callbacks = [lightgbm.record_evaluation(noted)]
    if len(data) > 1 and len(data[1][0]):
        sets["val"] = train.create_valid(data[1][0], data[1][1], weight=data[1][2])
        callbacks.append(lightgbm.early_stopping(patience, verbose=False))
    booster = lightgbm.train(parameters, train, rounds, list(sets.values()), list(sets), callbacks=callbacks)
    history.update({name: [float(v) for v in next(iter(metrics.values()))] for name, metrics in noted.items()})
    return str(booster.model_to_string(num_iteration=booster.best_iteration))
