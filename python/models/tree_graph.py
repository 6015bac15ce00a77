"""Trees as an ONNX graph: padding, flattening, the ensemble, and the link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..dataset.info import InputInfo
from .base import ModelSpec
from .rows import column_names, padding_of
from .trees import Booster, Tree

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
"""What ONNX Runtime 1.14 (CMSSW 14_0_X) accepts."""


def tree_graph(spec: ModelSpec, boosters: Sequence[Booster]) -> onnx.ModelProto:
    """Return the graph of a model: inputs ``spec.graph_inputs`` and output ``scores``, float32, any number of rows.

    Features are compared and leaves summed up in float64, so that every row falls in the same leaves, and hundreds of
    small steps from a large mean lose nothing.
    """
    inputs, steps, constants = flat_table(spec, np.nan)
    trees = [(tree, first) for first, booster in zip(_first_sums(boosters), boosters) for tree in booster.trees()]
    sets = {(tree.feature[node], codes) for tree, _ in trees for node, codes in tree.members.items()}
    columns = {key: len(column_names(spec)) + i for i, key in enumerate(sorted(sets))}
    source = "features"
    if columns:
        source = "features_and_sets"
        more, values = set_columns(list(columns))
        steps += [*more, helper.make_node("Concat", ["features", "sets"], [source], axis=1)]
        constants |= values
    steps += [_ensemble(trees, source, sum(booster.outputs for booster in boosters), columns), *_link(spec)]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(spec.outputs)])
    constants |= {"by_target": np.array([0, len(spec.targets), len(spec.ranks)]), "all": np.array([len(spec.ranks)])}
    constants |= {"ranks": np.array(spec.ranks, np.int64)}
    used = {name for step in steps for name in step.input}
    initial = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items() if name in used]
    return helper.make_model(helper.make_graph(steps, "trees", inputs, [output], initial), opset_imports=OPSETS)


def flat_table(
    spec: ModelSpec, padding: float
) -> tuple[list[onnx.ValueInfoProto], list[onnx.NodeProto], dict[str, Any]]:
    """Return graph inputs, and the steps with their constants that make ``features`` of them, (N, W) f8.

    They are those of :func:`~.rows.flatten`.
    """
    inputs, flat, steps = [], [], []
    constants: dict[str, Any] = {"half": np.float32(0.5), "last": np.array([-1])}
    for name, info in spec.inputs.items():
        source, coding, values = _coding(name, info)
        steps += coding
        constants |= values
        shape: list[Any] = ["batch", *([] if info.length is None else [info.length]), len(info.features)]
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        if info.length is None:
            flat.append(source)
            continue
        mask, valid, only, masked, column = (
            f"{name}_{suffix}" for suffix in ("mask", "valid", "only", "masked", "flat")
        )
        inputs.append(helper.make_tensor_value_info(mask, TensorProto.FLOAT, shape[:-1]))
        steps += [
            helper.make_node("Greater", [mask, "half"], [valid]),
            helper.make_node("Unsqueeze", [valid, "last"], [only]),
            helper.make_node("Where", [only, source, f"{name}_missing"], [masked]),
            helper.make_node("Flatten", [masked], [column], axis=1),
        ]
        constants[f"{name}_missing"] = padding_of(info, padding)
        flat.append(column)
    steps += [
        helper.make_node("Concat", flat, ["table"], axis=1),
        helper.make_node("Cast", ["table"], ["features"], to=TensorProto.DOUBLE),
    ]
    return inputs, steps, constants


def _coding(name: str, info: InputInfo) -> tuple[str, list[onnx.NodeProto], dict[str, Any]]:
    """Put numbers of categories in place of them: the tensor with them, steps, and their constants."""
    if not info.categories:
        return name, [], {}
    numbers = [i for i in range(len(info.features)) if i not in info.categories]
    constants: dict[str, Any] = {}
    steps, pieces = [], []
    if numbers:
        constants[f"{name}_numbers"] = np.array(numbers)
        pieces.append(f"{name}_plain")
        steps.append(helper.make_node("Gather", [name, f"{name}_numbers"], pieces[:], axis=-1))
    for column, categories in info.categories.items():
        label = f"{name}_{column}"
        count = len(categories)
        constants[f"{label}_at"] = np.array([column])
        constants[f"{label}_categories"] = np.array(categories, np.float32)
        constants[f"{label}_shifts"] = np.arange(-count, 0, dtype=np.float32)[:, np.newaxis]
        constants[f"{label}_others"] = np.float32(count)
        steps += [
            helper.make_node("Gather", [name, f"{label}_at"], [f"{label}_value"], axis=-1),
            helper.make_node("Equal", [f"{label}_value", f"{label}_categories"], [f"{label}_equal"]),
            helper.make_node("Cast", [f"{label}_equal"], [f"{label}_match"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", [f"{label}_match", f"{label}_shifts"], [f"{label}_shift"]),
            helper.make_node("Add", [f"{label}_shift", f"{label}_others"], [f"{label}_code"]),
        ]
        pieces.append(f"{label}_code")
    constants[f"{name}_order"] = np.argsort([*numbers, *info.categories])
    steps += [
        helper.make_node("Concat", pieces, [f"{name}_pieces"], axis=-1),
        helper.make_node("Gather", [f"{name}_pieces", f"{name}_order"], [f"{name}_coded"], axis=-1),
    ]
    return f"{name}_coded", steps, constants


def set_columns(sets: Sequence[tuple[int, tuple[int, ...]]]) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """Return what makes ``sets``, (N, S) f8, with its constants: 1 where a column of ``features`` is in the codes."""
    pairs = sorted({(column, code) for column, codes in sets for code in codes})
    membership = np.array([[column == c and code in codes for c, codes in sets] for column, code in pairs], np.float64)
    constants = {
        "pair_columns": np.array([column for column, _ in pairs], np.int64),
        "pair_codes": np.array([code for _, code in pairs], np.float64),
        "membership": membership,
    }
    steps = [
        helper.make_node("Gather", ["features", "pair_columns"], ["pair_values"], axis=1),
        helper.make_node("Equal", ["pair_values", "pair_codes"], ["pair_equal"]),
        helper.make_node("Cast", ["pair_equal"], ["pair_match"], to=TensorProto.DOUBLE),
        helper.make_node("MatMul", ["pair_match", "membership"], ["sets"]),
    ]
    return steps, constants


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


def _first_sums(boosters: Sequence[Booster]) -> list[int]:
    """Return the position of each booster's first sum among those of all."""
    return [sum(booster.outputs for booster in boosters[:number]) for number in range(len(boosters))]


SetColumns = Mapping[tuple[int, tuple[int, ...]], int]
"""The column of 0 and 1 that says whether a column of categories is one of some codes."""


def _ensemble(trees: Sequence[tuple[Tree, int]], source: str, sums: int, columns: SetColumns) -> onnx.NodeProto:
    """Return the node that sums up the leaves that a row falls in, (N, W) to (N, number of sums)."""
    table: dict[str, Any] = {}
    for number, (tree, first) in enumerate(trees):
        _add_tree(table, tree, number, first + tree.output, columns)
    for name in ("nodes_values", "nodes_hitrates", "target_weights"):
        table[f"{name}_as_tensor"] = numpy_helper.from_array(np.array(table.pop(name), np.float64), name)
    attributes: dict[str, Any] = {"domain": "ai.onnx.ml", "n_targets": sums, **table}
    return helper.make_node("TreeEnsembleRegressor", [source], ["sums"], **attributes)


def _add_tree(table: dict[str, list[Any]], tree: Tree, position: int, output: int, columns: SetColumns) -> None:
    """Append the nodes and leaves of a tree to the columns of the ensemble."""
    for i, feature in enumerate(tree.feature):
        leaf = feature < 0
        follows = tree.left[i], tree.right[i]
        value = tree.threshold[i]
        if i in tree.members:  # a 1 of the set, which goes left, is above the threshold
            feature, value, follows = columns[feature, tree.members[i]], 0.5, follows[::-1]
        row = {
            "treeids": position,
            "nodeids": i,
            "modes": "LEAF" if leaf else tree.mode,
            "featureids": 0 if leaf else feature,
            "values": 0.0 if leaf else value,
            "truenodeids": 0 if leaf else follows[0],
            "falsenodeids": 0 if leaf else follows[1],
            "missing_value_tracks_true": 0 if leaf else int(tree.missing_left[i]),
            "hitrates": 1.0,
        }
        for name, entry in row.items():
            table.setdefault(f"nodes_{name}", []).append(entry)
        if leaf:
            target = {"treeids": position, "nodeids": i, "ids": output, "weights": tree.leaf[i]}
            for name, entry in target.items():
                table.setdefault(f"target_{name}", []).append(entry)
