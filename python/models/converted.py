"""Estimators of scikit-learn as ONNX graphs, with the inputs, outputs and files of the other models."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, compose, helper, numpy_helper
from torch import Tensor

from ..console import say
from ..errors import DataError, UserError, first_line
from ..registry import import_extra
from .base import Model, ModelSpec
from .rows import Rows, column_names, flatten, indicator_columns, of_target, with_indicators
from .tree_graph import OPSETS, flat_table, set_columns

CHECKED = 10_000
"""Of so many rows the scores of estimator and graph are compared."""
TOLERANCE = 1e-5


class ConvertedEstimator(Model):
    """Estimators that were fitted: one for all classes, or one for each target of a regression.

    Parameters
    ----------
    spec
        What it is made from.
    graphs
        The ONNX graph of each: from rows of features, (N, W) f4, to scores, (N, C) or (N, 1).
    padding
        What stands in padded places.
    center, scale
        Mean and standard deviation of each column, (W,).
    """

    def __init__(
        self, spec: ModelSpec, graphs: Sequence[bytes], padding: float, center: np.ndarray, scale: np.ndarray
    ) -> None:
        super().__init__()
        self.spec = spec
        self.padding = padding
        self.center, self.scale = center, scale
        self.graphs = [onnx.load_from_string(graph) for graph in graphs]
        self._sessions = list(map(_session, graphs))

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the final scores, (N, C): probabilities of the classes, or targets in their own units."""
        inputs = {name: tensor.cpu().numpy() for name, tensor in zip(self.spec.graph_inputs, tensors)}
        table = with_indicators(self.spec, inputs, self.padding)
        if not len(table):
            return torch.zeros(0, len(self.spec.outputs))
        scores = [np.asarray(session.run(None, {"features": table})[0], np.float32) for session in self._sessions]
        return torch.from_numpy(np.concatenate(scores, axis=1))

    @property
    def parameter_count(self) -> int:
        """Number of values in the graphs."""
        return sum(
            sum(int(np.prod(initial.dims)) for initial in graph.graph.initializer)
            + sum(len(attribute.floats) for node in graph.graph.node for attribute in node.attribute)
            for graph in self.graphs
        )

    def typical(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return centre and spread, (F,), of the features of an input in the training."""
        features = self.spec.inputs[name].features
        columns = column_names(self.spec)
        of_feature = [[i for i, column in enumerate(columns) if column == (name, feature)] for feature in features]
        center, scale = (
            np.array([values[columns].mean() for columns in of_feature], np.float32)
            for values in (self.center, self.scale)
        )
        return center, scale

    def graph(self) -> onnx.ModelProto:
        """See :meth:`.base.Model.graph`."""
        inputs, steps, constants = flat_table(self.spec, self.padding)
        source, pairs = "features", indicator_columns(self.spec)
        if pairs:
            source = "numbers_and_indicators"
            more, values = set_columns([(column, (code,)) for column, code in pairs])
            columns = {column for column, _ in pairs}
            constants |= values
            constants["numbers"] = np.setdiff1d(np.arange(len(column_names(self.spec))), sorted(columns))
            gather = helper.make_node("Gather", ["features", "numbers"], ["plain"], axis=1)
            steps += [gather, *more, helper.make_node("Concat", ["plain", "sets"], [source], axis=1)]
        steps.append(helper.make_node("Cast", [source], ["narrow"], to=TensorProto.FLOAT))
        initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
        names = []
        for number, graph in enumerate(self.graphs):
            part = compose.add_prefix(graph, f"estimator{number}_").graph
            steps += [helper.make_node("Identity", ["narrow"], [part.input[0].name]), *part.node]
            initial += part.initializer
            names.append(part.output[0].name)
        steps.append(helper.make_node("Concat", names, ["scores"], axis=1))
        output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(self.spec.outputs)])
        used = {name for step in steps for name in step.input}
        kept = [tensor for tensor in initial if tensor.name in used]
        return helper.make_model(helper.make_graph(steps, "estimators", inputs, [output], kept), opset_imports=OPSETS)

    def content(self) -> dict[str, Any]:
        """Return the graphs."""
        graphs = [torch.tensor(np.frombuffer(graph.SerializeToString(), np.uint8)) for graph in self.graphs]
        moments = {"center": torch.from_numpy(self.center), "scale": torch.from_numpy(self.scale)}
        return {"graphs": graphs, "padding": self.padding, **moments}

    @classmethod
    def restore(cls, spec: ModelSpec, content: Mapping[str, Any]) -> ConvertedEstimator:
        """Read the graphs again."""
        graphs = [bytes(graph.numpy()) for graph in content["graphs"]]
        return cls(spec, graphs, content["padding"], content["center"].numpy(), content["scale"].numpy())


def fit(
    make: Callable[[], Any], name: str, spec: ModelSpec, training: Rows, validation: Rows | None
) -> tuple[ConvertedEstimator, dict[str, dict[str, list[float]]]]:
    """Fit what ``make`` returns to the classes, or to each target, and convert it; see :meth:`EstimatorOptions.fit`.

    Raises
    ------
    UserError
        When the estimator refuses the rows, or does not become ONNX.
    """
    sparse = flatten(spec, training.inputs)
    padding = np.nan if _takes_nan(make()) else 0.0
    parts = {"train": training} if validation is None else {"train": training, "val": validation}
    tables = {part: with_indicators(spec, rows.inputs, padding) for part, rows in parts.items()}
    if padding == 0.0 and np.isnan(tables["train"]).any():
        raise UserError(f"model.type: {name} takes no NaN: say what it becomes (inputs.<name>.nan: {{fill: 0}})")
    targets = [None] if spec.task == "classification" else list(range(len(spec.targets)))
    graphs: list[bytes] = []
    losses: dict[str, dict[str, list[float]]] = {}
    for target in targets:
        columns, truth, weight = of_target(training, tables["train"], target)
        if target is None and len(np.unique(truth)) < len(spec.targets):
            raise UserError("the training has no rows of a class: scikit-learn needs some of each")
        estimator = _fitted(make(), name, columns, truth, weight)
        graphs.append(_converted(estimator, columns, name))
        output = "classes" if target is None else spec.outputs[target]
        losses[output] = {
            part: [_loss(estimator, *of_target(rows, tables[part], target))] for part, rows in parts.items()
        }
    center, scale = _moments(sparse)
    return ConvertedEstimator(spec, graphs, padding, center, scale), losses


def _fitted(estimator: Any, name: str, columns: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> Any:
    """Fit an estimator, and say in a line each what it warns of."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator.fit(columns, truth, sample_weight=weight.astype(np.float64))
    except Exception as error:  # scikit-learn checks its parameters and rows in many ways
        remedy = ": does it take negative weights? else set training.balance.negative" if (weight < 0).any() else ""
        raise UserError(f"model.type: {name} cannot be fitted: {first_line(error)}{remedy}") from error
    for text in dict.fromkeys(str(warning.message).partition("\n")[0] for warning in caught):
        say(f"warning: {name}: {text}")
    return estimator


def _takes_nan(estimator: Any) -> bool:
    from sklearn.utils import get_tags

    return bool(get_tags(estimator).input_tags.allow_nan)


def _loss(estimator: Any, columns: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    """Return Σw·loss/Σw: the cross entropy of classes, the squared error of a target."""
    weight = weight.astype(np.float64)
    if hasattr(estimator, "predict_proba"):
        each = -np.log(np.maximum(estimator.predict_proba(columns)[np.arange(len(truth)), truth], 1e-15))
    else:
        each = (estimator.predict(columns) - truth) ** 2
    return float((weight * each).sum() / weight.sum())


def _moments(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column without what is missing; 0 and 1 of nothing."""
    finite = np.isfinite(table)
    number = np.maximum(finite.sum(axis=0), 1)
    values = np.where(finite, table, 0).astype(np.float64)
    center = values.sum(axis=0) / number
    scale = np.sqrt((np.where(finite, values - center, 0) ** 2).sum(axis=0) / number)
    return center, np.where(scale > 0, scale, 1.0)


def _converted(estimator: Any, columns: np.ndarray, name: str) -> bytes:
    """Return the ONNX graph of an estimator, with one output, the scores, which agree with those of the estimator."""
    skl2onnx = import_extra("skl2onnx", "sklearn", f"model.type: {name}")
    kind = import_extra("skl2onnx.common.data_types", "sklearn", f"model.type: {name}").FloatTensorType
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
    opsets = {opset.domain: opset.version for opset in OPSETS}
    try:
        types = [("features", kind([None, columns.shape[1]]))]
        with mock.patch("skl2onnx.common._container.make_node", _make_node):
            model = skl2onnx.convert_sklearn(estimator, initial_types=types, target_opset=opsets, options=options)
    except Exception as error:  # it has many reasons not to know an estimator
        raise UserError(f"model.type: skl2onnx cannot write {name} as ONNX ({first_line(error)})") from error
    scores = model.graph.output[-1]
    del model.graph.output[:-1]
    graph: bytes = model.SerializeToString()
    sample = np.ascontiguousarray(columns[:CHECKED])
    converted = _session(graph).run([scores.name], {"features": sample})[0]
    expected = estimator.predict_proba(sample) if options else estimator.predict(sample).reshape(-1, 1)
    worst = float(np.max(np.abs(converted - expected) / np.maximum(1, np.abs(expected)), initial=0))
    if not worst <= TOLERANCE:
        raise DataError(f"model.type: {name} as ONNX differs from scikit-learn by {worst:.1e}: use another estimator")
    return graph


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _make_node(*words: Any, **attributes: Any) -> onnx.NodeProto:
    """Make a node of plain numbers: ONNX refuses the booleans and scalars of NumPy that skl2onnx gives it."""
    return helper.make_node(*words, **{key: _plain(value) for key, value in attributes.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    return value.item() if isinstance(value, np.generic) else value
