"""Trees as an ONNX graph: padding, flattening, the ensemble, and the link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .base import ModelSpec
from .trees import Booster, Tree

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
"""What ONNX Runtime 1.14 (CMSSW 14_0_X) accepts."""


def tree_graph(spec: ModelSpec, boosters: Sequence[Booster]) -> onnx.ModelProto:
    """Return the graph of a model: inputs ``spec.graph_inputs`` and output ``scores``, float32, any number of rows.

    Features are compared and leaves summed up in float64, so that every row falls in the same leaves, and hundreds of
    small steps from a large mean lose nothing.
    """
    inputs, steps, constants = flat_table(spec, np.nan)
    steps += [_ensemble(boosters), *_link(spec)]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(spec.outputs)])
    constants |= {"by_target": np.array([0, len(spec.targets), len(spec.ranks)]), "all": np.array([len(spec.ranks)])}
    constants |= {"ranks": np.array(spec.ranks, np.int64)}
    used = {name for step in steps for name in step.input}
    initial = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items() if name in used]
    return helper.make_model(helper.make_graph(steps, "trees", inputs, [output], initial), opset_imports=OPSETS)


def flat_table(
    spec: ModelSpec, padding: float
) -> tuple[list[onnx.ValueInfoProto], list[onnx.NodeProto], dict[str, Any]]:
    """Return graph inputs, and the steps with their constants that make ``features`` of them, (N, W) f8."""
    inputs, flat, steps = [], [], []
    for name, info in spec.inputs.items():
        shape: list[Any] = ["batch", *([] if info.length is None else [info.length]), len(info.features)]
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        if info.length is None:
            flat.append(name)
            continue
        mask, valid, only, masked, column = (
            f"{name}_{suffix}" for suffix in ("mask", "valid", "only", "masked", "flat")
        )
        inputs.append(helper.make_tensor_value_info(mask, TensorProto.FLOAT, shape[:-1]))
        steps += [
            helper.make_node("Greater", [mask, "half"], [valid]),
            helper.make_node("Unsqueeze", [valid, "last"], [only]),
            helper.make_node("Where", [only, name, "missing"], [masked]),
            helper.make_node("Flatten", [masked], [column], axis=1),
        ]
        flat.append(column)
    steps += [
        helper.make_node("Concat", flat, ["table"], axis=1),
        helper.make_node("Cast", ["table"], ["features"], to=TensorProto.DOUBLE),
    ]
    return inputs, steps, {"half": np.float32(0.5), "missing": np.float32(padding), "last": np.array([-1])}


def _link(spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return the steps from sums over trees to scores, as :func:`~.boosting.scores` has them."""
    if spec.ranks:
        return [
            helper.make_node("Reshape", ["sums", "by_target"], ["unsorted"]),
            helper.make_node("TopK", ["unsorted", "all"], ["rising", "places"], axis=2, largest=0),
            helper.make_node("Gather", ["rising", "ranks"], ["placed"], axis=2),
            helper.make_node("Flatten", ["placed"], ["scores"], axis=1),
        ]
    if spec.task == "regression":
        return [helper.make_node("Identity", ["sums"], ["scores"])]
    if len(spec.targets) > 2:
        return [helper.make_node("Softmax", ["sums"], ["scores"], axis=1)]
    return [
        helper.make_node("Neg", ["sums"], ["opposite"]),
        helper.make_node("Concat", ["opposite", "sums"], ["both"], axis=1),
        helper.make_node("Sigmoid", ["both"], ["scores"]),
    ]


def _ensemble(boosters: Sequence[Booster]) -> onnx.NodeProto:
    """Return the node that sums up the leaves that a row falls in, (N, W) to (N, number of sums)."""
    table: dict[str, Any] = {}
    number = first = 0
    for booster in boosters:
        for tree in booster.trees():
            _add_tree(table, tree, number, first + tree.output)
            number += 1
        first += booster.outputs
    for name in ("nodes_values", "nodes_hitrates", "target_weights"):
        table[f"{name}_as_tensor"] = numpy_helper.from_array(np.array(table.pop(name), np.float64), name)
    attributes: dict[str, Any] = {"domain": "ai.onnx.ml", "n_targets": first, **table}
    return helper.make_node("TreeEnsembleRegressor", ["features"], ["sums"], **attributes)


def _add_tree(table: dict[str, list[Any]], tree: Tree, position: int, output: int) -> None:
    """Append the nodes and leaves of a tree to the columns of the ensemble."""
    for i, feature in enumerate(tree.feature):
        leaf = feature < 0
        row = {
            "treeids": position,
            "nodeids": i,
            "modes": "LEAF" if leaf else tree.mode,
            "featureids": 0 if leaf else feature,
            "values": 0.0 if leaf else tree.threshold[i],
            "truenodeids": 0 if leaf else tree.left[i],
            "falsenodeids": 0 if leaf else tree.right[i],
            "missing_value_tracks_true": 0 if leaf else int(tree.missing_left[i]),
            "hitrates": 1.0,
        }
        for name, value in row.items():
            table.setdefault(f"nodes_{name}", []).append(value)
        if leaf:
            target = {"treeids": position, "nodeids": i, "ids": output, "weights": tree.leaf[i]}
            for name, value in target.items():
                table.setdefault(f"target_{name}", []).append(value)
