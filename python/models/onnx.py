"""Models as ONNX files that CMSSW's ONNX Runtime reads, checked against the model that they came from."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import torch

from ..errors import DataError
from ..version import __version__
from .base import Model, ModelSpec, score
from .network import NetworkModel
from .padding import depends_on_padding

if TYPE_CHECKING:
    from .trees import TreeModel

# The newest that ONNX Runtime 1.14 (CMSSW 14_0_X) accepts; torch writes IR version 10.
OPSET = 18
IR_VERSION = 8
TOLERANCE = 1e-5
_PROGRAMS: dict[str, torch.onnx.ONNXProgram] = {}
_MOST_PROGRAMS = 4


def export_onnx(
    model: Model, path: Path, metadata: Mapping[str, str], events: Mapping[str, np.ndarray] | None = None
) -> float:
    """Write a model as ONNX: inputs ``spec.graph_inputs``, output ``scores``, any number of rows.

    The number of constituents is free where the model allows it (not for "mlp", "lightgbm", and a network of the
    user's own that needs it fixed). All inputs are float32, the masks too (1 is valid, 0 is padding), because
    ``cms::Ort::ONNXRuntime::run`` takes nothing else.

    Parameters
    ----------
    model
        The model, on the CPU.
    path
        The file to write.
    metadata
        Further metadata beside what the specification says: features, outputs, lengths, version.
    events
        Real rows to check the file on, as ``spec.graph_inputs`` names them, beside random ones of many sizes.

    Returns
    -------
    float
        The largest difference between file and model, relative to the score where that is above 1; also in the
        metadata, as ``parity``.

    Raises
    ------
    DataError
        When the file cannot be made, would not run in CMSSW, or disagrees with the model by more than 1e-5.
    """
    model.eval()
    graph = _graph(model, path)
    newest = max(o.version for o in graph.opset_import if o.domain in ("", "ai.onnx"))
    if newest > OPSET:
        raise DataError(f"{path}: torch wrote ONNX opset {newest}, and CMSSW reads at most {OPSET}")
    graph.ir_version = IR_VERSION
    try:
        onnx.checker.check_model(graph)
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX and its runtime have errors of their own
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{path}: ONNX Runtime cannot run what torch has written ({reason})") from error
    worst = _check_parity(model, graph, session, events, path)
    onnx.helper.set_model_props(graph, _metadata(model.spec) | {"parity": f"{worst:.1e}"} | dict(metadata))
    onnx.save(graph, path)
    return worst


def _graph(model: Model, path: Path) -> onnx.ModelProto:
    """Return the graph of a model, with free lengths where it can have them."""
    if not isinstance(model, NetworkModel):
        from .tree_graph import tree_graph

        return tree_graph(cast("TreeModel", model))
    kind = model.spec.network["type"]
    if kind != "custom":
        return _trace(model, free=kind != "mlp")
    if not _takes_one_length(model):
        with contextlib.suppress(Exception):  # the exporter fails in many ways
            return _trace(model, free=True)
    try:
        return _trace(model, free=False)
    except Exception as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise DataError(
            f"{path}: torch cannot write {model.spec.network['network']} as ONNX ({reason}): its forward must do "
            "without branches on values, and with operators that ONNX has"
        ) from error


def _takes_one_length(model: NetworkModel) -> bool:
    """Whether other scores would follow from more padded places: a file that takes them would be wrong in silence."""
    lengths = {name: info.length for name, info in model.spec.inputs.items() if info.length is not None}
    columns = _random_inputs(model, 3, lengths, np.random.default_rng(0))
    given = {name: torch.from_numpy(values) for name, values in columns.items()}
    with torch.no_grad():
        return depends_on_padding(model, given, model.logits(*given.values()))


def _trace(model: NetworkModel, free: bool) -> onnx.ModelProto:
    with _silence():
        program = _program(model, free)
        program.apply_weights({**dict(model.named_parameters()), **dict(model.named_buffers())})
        simplified = copy.copy(program)
        simplified.model = onnx_ir.from_proto(program.model_proto)
        simplified.optimize()
    lists = [name for name, info in model.spec.inputs.items() if info.length is not None]
    return _never_empty(simplified.model_proto, lists) if free else simplified.model_proto


def _program(model: NetworkModel, free: bool) -> torch.onnx.ONNXProgram:
    """Trace a model, which takes seconds: once for all of ours that differ in nothing but their values, as folds do."""
    spec = model.spec
    key = json.dumps([free, spec.as_dict()])
    if key in _PROGRAMS:
        return _PROGRAMS[key]
    batch = torch.export.Dim("batch")
    shapes: list[dict[int, Any]] = []
    for name, info in spec.inputs.items():
        if info.length is None:
            shapes.append({0: batch})
        else:
            length = {1: torch.export.Dim(f"{name}_length")} if free else {}
            shapes += [{0: batch} | length] * 2
    # Sizes of 0 and 1 would be frozen into the graph.
    lengths = {name: 3 if free else info.length for name, info in spec.inputs.items() if info.length is not None}
    example = _random_inputs(model, 3, lengths, np.random.default_rng(0))
    program = torch.onnx.export(
        model,
        tuple(torch.from_numpy(values) for values in example.values()),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(spec.graph_inputs),
        output_names=["scores"],
        dynamic_shapes=(tuple(shapes),),
        external_data=False,
        verbose=False,
        optimize=False,  # which would fold the values into constants
    )
    assert program is not None  # noqa: S101 — only the exporter that is not dynamo returns None
    if spec.network["type"] != "custom":  # whose code may have changed
        if len(_PROGRAMS) == _MOST_PROGRAMS:
            _PROGRAMS.pop(next(iter(_PROGRAMS)))
        _PROGRAMS[key] = program
    return program


def _never_empty(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Give an input without any constituents a padded one: ONNX Runtime 1.14 cannot sum over an axis of length 0."""
    graph, make = model.graph, onnx.helper.make_node
    for name, value in (("never_empty_0", 0), ("never_empty_1", 1)):
        graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [1], [value]))
    nodes = []
    for name, axes in [(n, 3) for n in names] + [(f"{n}_mask", 2) for n in names]:
        for node in graph.node:
            node.input[:] = [f"{name}_padded" if given == name else given for given in node.input]
        pads = ["never_empty_0"] * (2 * axes)
        pads[axes + 1] = f"{name}_lack"
        nodes += [
            make("Shape", [name], [f"{name}_length"], start=1, end=2),
            make("Sub", ["never_empty_1", f"{name}_length"], [f"{name}_less"]),
            make("Max", [f"{name}_less", "never_empty_0"], [f"{name}_lack"]),
            make("Concat", pads, [f"{name}_pads"], axis=0),
            make("Pad", [name, f"{name}_pads"], [f"{name}_padded"]),
        ]
    nodes += graph.node
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model


def _metadata(spec: ModelSpec) -> dict[str, str]:
    return {
        "nanoforge_version": __version__,
        "task": spec.task,
        "features": json.dumps({name: info.features for name, info in spec.inputs.items()}),
        "lengths": json.dumps({name: info.length for name, info in spec.inputs.items() if info.length is not None}),
        "outputs": json.dumps(spec.outputs),
    }


def _random_inputs(
    model: Model, rows: int, lengths: Mapping[str, int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw raw inputs as large as the training's were, by name; the first row has no constituents."""
    drawn: dict[str, np.ndarray] = {}
    for name, info in model.spec.inputs.items():
        shape = (rows,) if info.length is None else (rows, lengths[name])
        center, scale = model.typical(name)
        drawn[name] = rng.standard_normal((*shape, len(info.features)), np.float32) * scale + center
        if info.length is not None:
            drawn[f"{name}_mask"] = rng.integers(2, size=shape).astype(np.float32)
            drawn[f"{name}_mask"][:1] = 0
    return drawn


def _check_parity(
    model: Model,
    graph: onnx.ModelProto,
    session: onnxruntime.InferenceSession,
    events: Mapping[str, np.ndarray] | None,
    path: Path,
) -> float:
    """Compare file and model: random rows of one constituent, as many as in the training, and more; real rows."""
    rng = np.random.default_rng(1)
    caps = {name: info.length for name, info in model.spec.inputs.items() if info.length is not None}
    free = {i.name for i in graph.graph.input if i.name in caps and i.type.tensor_type.shape.dim[1].dim_param}
    samples = [] if events is None else [dict(events)]
    for rows, more in ((1, 0), (2, None), (33, 3)):
        lengths = {n: cap if n not in free else 1 if more is None else cap + more for n, cap in caps.items()}
        samples.append(_random_inputs(model, rows, lengths, rng))
    worst = 0.0
    for sample in samples:
        feed = {name: np.asarray(sample[name], np.float32) for name in model.spec.graph_inputs}
        expected = score(model, feed)
        found = np.asarray(session.run(["scores"], feed)[0])
        difference = np.abs(found - expected) / np.maximum(1, np.abs(expected))
        largest = float(np.max(difference, initial=0, where=~(np.isnan(found) & np.isnan(expected))))
        worst = max(worst, largest)
        if not largest <= TOLERANCE:  # NaN is a difference too
            custom = model.spec.network["type"] == "custom"
            remedy = "its forward must take all sizes from its inputs, as tensors" if custom else "please report it"
            raise DataError(
                f"{path}: ONNX Runtime differs from the model by {largest:.1e} in {len(found)} row(s): {remedy}"
            )
    return worst


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep back what the exporter says: of packages not needed, and pages about a network that it cannot trace."""
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
