"""Models of one or more folds as one graph, which takes columns of the event or the features of rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from ..config.schema import Analysis
from ..events.reader import EventFile
from ..models.base import ModelSpec
from ..provenance import fingerprint
from ..version import __version__
from .graph import FLOAT, INT, Graph
from .preprocessing import STAGE, Preprocessing

KEY = "nanoforge"
"""The key of the ONNX metadata that holds :attr:`Exported.description` as JSON."""
FORMAT = 1
FOLD = "fold"

AVERAGE, BY_EVENT = "average", "by-event"


@dataclass(frozen=True)
class Exported:
    """A graph and what has to be known about it.

    Attributes
    ----------
    model
        The graph; its metadata hold the description under the key ``nanoforge``.
    description
        As :func:`describe` returns it.
    """

    model: onnx.ModelProto
    description: dict[str, Any]


def export_columns(
    analysis: Analysis, spec: ModelSpec, models: Sequence[onnx.ModelProto], rule: str, file: EventFile
) -> Exported:
    """Make the graph that takes the columns of one event.

    Parameters
    ----------
    analysis
        The analysis, all expressions of which go into the graph.
    spec
        The model.
    models
        Its graphs: all folds, or the one that is used.
    rule
        :data:`AVERAGE`, :data:`BY_EVENT`, or the number of the fold.
    file
        A file with the columns that the graph will get.

    Raises
    ------
    UserError
        For an expression that has no counterpart in the graph.
    """
    graph = Graph()
    before = Preprocessing(graph, analysis, file)
    scores = before.scores(_combined(graph, spec, models, before.inputs, rule, [1]))
    rows = 1 if analysis.row == "event" else f"n{analysis.row}"
    graph.output(scores, "scores", [rows, len(spec.outputs)])
    graph.output(before.selected, "selected", [rows])
    columns = sorted(before.columns.values(), key=lambda c: c.name)
    inputs = [
        {"name": c.name, "kind": "object" if c.collection else "event", "collection": c.collection, "type": c.type}
        for c in columns
    ]
    return _described(graph, analysis, spec, rule, "columns", inputs)


def export_features(analysis: Analysis, spec: ModelSpec, models: Sequence[onnx.ModelProto], rule: str) -> Exported:
    """Make the graph that takes the features of rows, as ``spec.graph_inputs`` names them."""
    graph = Graph()
    fixed = {i.name: i.type.tensor_type.shape.dim for i in models[0].graph.input}
    tensors, inputs = {}, []
    for name, info in spec.inputs.items():
        block = analysis.inputs[name]
        expressions = block.feature_expressions
        features = [{"name": n, "expression": expressions[n]} for n in info.features]
        inside = {"features", "pca", *(["scale"] if block.image is None else [])}  # what the model does itself
        options = block.model_dump(mode="json", exclude=inside, exclude_defaults=True)
        inputs.append({"name": name, "kind": "features", "type": "float", "features": features, **options})
        length = [] if info.length is None else [fixed[name][1].dim_value or f"n_{name}"]
        tensors[name] = graph.input(name, ["rows", *length, len(info.features)])
        if length:
            tensors[f"{name}_mask"] = graph.input(f"{name}_mask", ["rows", *length])
            inputs.append({"name": f"{name}_mask", "kind": "mask", "type": "boolean"})
    graph.output(_combined(graph, spec, models, tensors, rule, ["rows"]), "scores", ["rows", len(spec.outputs)])
    return _described(graph, analysis, spec, rule, "features", inputs)


def describe(
    analysis: Analysis, spec: ModelSpec, rule: str, level: str, inputs: list[dict[str, Any]]
) -> dict[str, Any]:
    """Say all that a caller of the graph has to know, as plain JSON types.

    The same is in ``model.json`` beside the graph, for ``cms::Ort::ONNXRuntime`` does not give metadata out. All inputs
    and outputs are float32. Keys::

        format          1
        nanoforge_version, name, config_sha256      of the program, and of the analysis file
        level           "columns": one event a run, its columns as they are in the file;
                        "features": any number of rows a run, the caller does what ``define`` and ``inputs`` say
        row             "event", or the collection whose objects are the rows
        task            "classification" or "regression"; targets: names of the classes or of the targets
        inputs          in the order of the graph, for each
            name        of the graph's input; with "columns" also of the column
            kind        "event": one value, shape (1,); "object": one per object of ``collection``, shape (1, n),
                        n may be 0; "features": (rows, F), or with a ``collection`` (rows, L, F); "mask": (rows, L),
                        1 is there and 0 is padding; "fold": (1,) or (rows,), see ``fold``
            type        "float", "integer" or "boolean": of what the numbers are; integers beyond 2**24 do not fit
            features    of the kind "features": ``name`` and ``expression`` of each; besides the options of the input
                        (``collection``, ``where``, ``sort``, ``length``, ``index``, ``match``, ``missing``, ``nan``)
        outputs
            scores      (rows, C): the names of the C scores as in friend trees, ``<name>_<class>``. With "columns" a
                        row is NaN where predict would stop: a feature is NaN or infinite and ``nan`` is "error"
            selected    with "columns" only, (rows,): 1 where the cuts of predict take the row, else 0;
                        predict gives a rejected row the score ``fill``
        fill            -1
        fold            rule: "single" (index: which), "average" (events of the training are then scored also by models
                        that saw them), or "by-event": the input "fold" chooses, and ``hash`` says how it is computed
        define, select  with "features" only: expressions that the caller computes, in order
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "nanoforge_version": __version__,
        "name": analysis.name,
        "config_sha256": fingerprint(analysis.model_dump(mode="json")),
        "level": level,
        "row": analysis.row,
        "task": spec.task,
        "targets": list(spec.targets),
        "inputs": inputs,
        "outputs": {"scores": [f"{analysis.name}_{output}" for output in spec.outputs]},
        "fill": -1,
        "fold": _fold(analysis, rule),
    }
    if level == "columns":
        content["outputs"]["selected"] = ["selected"]
    else:
        content |= {"define": analysis.define, "select": analysis.cuts(STAGE)}
    return content


def _fold(analysis: Analysis, rule: str) -> dict[str, Any]:
    folds = analysis.split.folds
    if rule == AVERAGE:
        return {"rule": AVERAGE, "folds": folds}
    if rule != BY_EVENT:
        return {"rule": "single", "folds": folds, "index": int(rule)}
    recipe = (
        "all in unsigned 64 bits: h = mix(seed); for each column in order: h = mix(h ^ value); "
        "fold = mix(h ^ 0x464F4C44) % folds; mix(x): x += 0x9E3779B97F4A7C15; x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9; "
        "x = (x ^ x >> 27) * 0x94D049BB133111EB; x ^ x >> 31"
    )
    return {
        "rule": BY_EVENT,
        "folds": folds,
        "hash": {"columns": list(analysis.identity_columns), "seed": analysis.split.seed, "recipe": recipe},
    }


def _described(
    graph: Graph, analysis: Analysis, spec: ModelSpec, rule: str, level: str, inputs: list[dict[str, Any]]
) -> Exported:
    """Finish a graph: its inputs in the order of their names, the description among its metadata."""
    if rule == BY_EVENT:
        inputs = [*inputs, {"name": FOLD, "kind": "fold", "type": "integer"}]
    model = graph.model()
    order = [i.name for i in model.graph.input]
    description = describe(analysis, spec, rule, level, sorted(inputs, key=lambda i: order.index(i["name"])))
    onnx.helper.set_model_props(model, {KEY: json.dumps(description)})
    onnx.checker.check_model(model)
    return Exported(model, description)


def _combined(
    graph: Graph,
    spec: ModelSpec,
    models: Sequence[onnx.ModelProto],
    inputs: dict[str, str],
    rule: str,
    fold_shape: list[int | str],
) -> str:
    """Put models into the graph and combine their scores as the rule says."""
    features = {name: inputs[name] for name in spec.graph_inputs}
    scores = [graph.include(model, f"fold{i}/", features) for i, model in enumerate(models)]
    if rule != BY_EVENT:
        return graph.op("Mean", *scores) if len(scores) > 1 else scores[0]
    fold = graph.unsqueeze(graph.cast(graph.input(FOLD, fold_shape), INT), 1)
    chosen = graph.constant(np.nan, FLOAT)
    for i, values in enumerate(scores):
        chosen = graph.op("Where", graph.op("Equal", fold, graph.constant(i, INT)), values, chosen)
    return chosen
