"""Gradient-boosted trees of any library, with the inputs, outputs and files of the other models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .base import Model, ModelSpec
from .rows import Rows, category_columns, column_names, flatten, of_target
from .tasks import in_order
from .trees import TreeLibrary

if TYPE_CHECKING:
    import onnx


class BoostedTrees(Model):
    """Gradient-boosted decision trees, called and saved like a :class:`Model`.

    Constituents are flattened, padding is missing. There is one booster for all classes, or one for each output of a
    regression.

    Parameters
    ----------
    spec
        What it is made from.
    boosters
        The library's own text of each booster.
    """

    def __init__(self, spec: ModelSpec, boosters: list[str]) -> None:
        super().__init__()
        options = cast(TreeLibrary, spec.options)
        self.spec = spec
        self.texts = boosters
        self.boosters = [options.read(text) for text in boosters]

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the final scores, (N, C): probabilities of the classes, or targets in their own units."""
        inputs = {name: tensor.cpu().numpy() for name, tensor in zip(self.spec.graph_inputs, tensors)}
        table = flatten(self.spec, inputs)
        if not len(table):
            return torch.zeros(0, len(self.spec.outputs))
        raw = np.column_stack([booster.sums(table, torch.get_num_threads()) for booster in self.boosters])
        return scores(self.spec, torch.from_numpy(raw)).to(torch.float32)

    @property
    def parameter_count(self) -> int:
        """Number of thresholds and leaves."""
        return sum(len(tree.feature) for booster in self.boosters for tree in booster.trees())

    def typical(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return centre and spread, (F,), of the thresholds of an input's features."""
        columns = column_names(self.spec)
        thresholds: dict[str, list[float]] = {feature: [] for feature in self.spec.inputs[name].features}
        for tree in (tree for booster in self.boosters for tree in booster.trees()):
            for node, (column, threshold) in enumerate(zip(tree.feature, tree.threshold)):
                owner, feature = columns[column]
                if column >= 0 and node not in tree.members and owner == name and np.isfinite(threshold):
                    thresholds[feature].append(threshold)
        center = [np.mean(values) if values else 0.0 for values in thresholds.values()]
        scale = [np.std(values) or 1.0 if values else 1.0 for values in thresholds.values()]
        return np.asarray(center, np.float32), np.asarray(scale, np.float32)

    def graph(self) -> onnx.ModelProto:
        """See :meth:`.base.Model.graph`."""
        from .tree_graph import tree_graph

        return tree_graph(self.spec, self.boosters)

    def content(self) -> dict[str, Any]:
        """Return the text of every booster."""
        return {"boosters": self.texts}

    @classmethod
    def restore(cls, spec: ModelSpec, content: Mapping[str, Any]) -> BoostedTrees:
        """Make the boosters again."""
        return cls(spec, list(content["boosters"]))


def fit(
    spec: ModelSpec, training: Rows, validation: Rows | None, seed: int, threads: int
) -> tuple[BoostedTrees, dict[str, dict[str, list[float]]]]:
    """Grow the trees that the specification describes; see :meth:`EstimatorOptions.fit`."""
    options = cast(TreeLibrary, spec.options)
    try:
        spec.options.check_loss(spec.loss_options)
    except ValueError as error:
        raise UserError(str(error)) from None
    texts: list[str] = []
    history: dict[str, dict[str, list[float]]] = {}
    tables = [(rows, flatten(spec, rows.inputs)) for rows in (training, validation) if rows is not None]
    classes = len(spec.targets) if spec.task == "classification" else None
    for name, target, level in _outputs(spec):
        train, *val = (of_target(rows, table, target) for rows, table in tables)
        judged_by = val[0] if val and len(val[0][0]) else None
        text, history[name] = options.grow(
            train, judged_by, spec.loss_options.type, classes, level, seed, threads, category_columns(spec)
        )
        texts.append(text)
    return BoostedTrees(spec, texts), history


def scores(spec: ModelSpec, raw: Tensor) -> Tensor:
    """Turn sums over trees, (N, 1) of two classes and else (N, C), into scores (N, C)."""
    if spec.task == "regression":
        return in_order(raw, spec.ranks)
    return torch.cat([-raw, raw], dim=1).sigmoid() if len(spec.targets) == 2 else raw.softmax(dim=1)


def _outputs(spec: ModelSpec) -> Iterator[tuple[str, int | None, float | None]]:
    """List the boosters: name, number of the target (None for the classes), and the quantile where there is one."""
    if spec.task == "classification":
        yield "classes", None, None
        return
    names = iter(spec.outputs)
    for target in range(len(spec.targets)):
        for level in spec.levels or (None,):
            yield next(names), target, level
