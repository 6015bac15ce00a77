"""Trees as an ONNX graph: padding, flattening, the ensemble, and the link."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .trees import TreeModel, nodes, threshold

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
"""What ONNX Runtime 1.14 (CMSSW 14_0_X) accepts."""


def tree_graph(model: TreeModel) -> onnx.ModelProto:
    """Return the graph of a model: inputs ``spec.graph_inputs`` and output ``scores``, float32, any number of rows.

    Features are compared and leaves summed up in float64, as LightGBM does it: every row falls in the same leaves, and
    hundreds of small steps from a large mean lose nothing.
    """
    inputs, flat, steps = [], [], []
    for name, info in model.spec.inputs.items():
        shape: list[Any] = ["batch", *([] if info.length is None else [info.length]), len(info.features)]
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        if info.length is None:
            flat.append(name)
            continue
        mask, valid, only, masked, column = (f"{name}_{what}" for what in ("mask", "valid", "only", "masked", "flat"))
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
        _ensemble(model),
        *_link(model),
    ]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(model.spec.outputs)])
    spec = model.spec
    constants = {"half": np.float32(0.5), "missing": np.float32(np.nan), "last": np.array([-1])}
    constants |= {"by_target": np.array([0, len(spec.targets), len(spec.ranks)]), "all": np.array([len(spec.ranks)])}
    constants |= {"ranks": np.array(spec.ranks, np.int64)}
    used = {name for step in steps for name in step.input}
    initial = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items() if name in used]
    return helper.make_model(helper.make_graph(steps, "trees", inputs, [output], initial), opset_imports=OPSETS)


def _link(model: TreeModel) -> list[onnx.NodeProto]:
    """Return the steps from sums over trees to scores, as :func:`~.trees.scores` has them."""
    if model.spec.ranks:
        return [
            helper.make_node("Reshape", ["sums", "by_target"], ["unsorted"]),
            helper.make_node("TopK", ["unsorted", "all"], ["rising", "places"], axis=2, largest=0),
            helper.make_node("Gather", ["rising", "ranks"], ["placed"], axis=2),
            helper.make_node("Flatten", ["placed"], ["scores"], axis=1),
        ]
    if model.spec.task == "regression":
        return [helper.make_node("Identity", ["sums"], ["scores"])]
    if len(model.spec.targets) > 2:
        return [helper.make_node("Softmax", ["sums"], ["scores"], axis=1)]
    return [
        helper.make_node("Neg", ["sums"], ["opposite"]),
        helper.make_node("Concat", ["opposite", "sums"], ["both"], axis=1),
        helper.make_node("Sigmoid", ["both"], ["scores"]),
    ]


def _ensemble(model: TreeModel) -> onnx.NodeProto:
    """Return the node that sums up the leaves that a row falls in, (N, W) to (N, number of sums)."""
    table: dict[str, Any] = {}
    number = first = 0
    for booster in model.boosters:
        content = booster.dump_model()
        per_round = content["num_tree_per_iteration"]
        for tree in content["tree_info"]:
            _add_tree(table, tree, number, first + tree["tree_index"] % per_round)
            number += 1
        first += per_round
    for name in ("nodes_values", "nodes_hitrates", "target_weights"):
        table[f"{name}_as_tensor"] = numpy_helper.from_array(np.array(table.pop(name), np.float64), name)
    attributes: dict[str, Any] = {"domain": "ai.onnx.ml", "n_targets": first, **table}
    return helper.make_node("TreeEnsembleRegressor", ["features"], ["sums"], **attributes)


def _add_tree(table: dict[str, list[Any]], tree: dict[str, Any], position: int, output: int) -> None:
    """Append the nodes and leaves of a tree to the columns of the ensemble."""
    listed = list(nodes(tree))
    number = {id(node): i for i, node in enumerate(listed)}
    for i, node in enumerate(listed):
        leaf = "split_feature" not in node
        row = {
            "treeids": position,
            "nodeids": i,
            "modes": "LEAF" if leaf else "BRANCH_LEQ",
            "featureids": 0 if leaf else node["split_feature"],
            "values": 0.0 if leaf else threshold(node),
            "truenodeids": 0 if leaf else number[id(node["left_child"])],
            "falsenodeids": 0 if leaf else number[id(node["right_child"])],
            "missing_value_tracks_true": 0 if leaf else int(_missing_goes_left(node)),
            "hitrates": 1.0,
        }
        for name, value in row.items():
            table.setdefault(f"nodes_{name}", []).append(value)
        if leaf:
            target = {"treeids": position, "nodeids": i, "ids": output, "weights": float(node["leaf_value"])}
            for name, value in target.items():
                table.setdefault(f"target_{name}", []).append(value)


def _missing_goes_left(node: dict[str, Any]) -> bool:
    """Whether LightGBM sends NaN left; where the training had none, it takes NaN for 0."""
    return bool(node["default_left"]) if node["missing_type"] == "NaN" else node["threshold"] >= 0.0
