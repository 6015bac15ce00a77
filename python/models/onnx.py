"""Models as ONNX files that CMSSW's ONNX Runtime reads, checked against the model that they came from."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from .. import __version__
from ..errors import DataError
from .model import Model, ModelSpec

# The newest that ONNX Runtime 1.14 (CMSSW 14_0_X) accepts; torch writes IR version 10.
OPSET = 18
IR_VERSION = 8
TOLERANCE = 1e-5


def export_onnx(model: Model, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a model as ONNX: inputs ``spec.graph_inputs``, output ``scores``, any number of rows.

    The number of constituents is free where the network allows it (not for "mlp"). All inputs are float32, the masks
    too (1 is valid, 0 is padding), because ``cms::Ort::ONNXRuntime::run`` takes nothing else.

    Parameters
    ----------
    model
        The model, on the CPU.
    path
        The file to write.
    metadata
        Further metadata beside what the specification says: features, outputs, lengths, version.

    Raises
    ------
    DataError
        When the file would not run in CMSSW, or disagrees with the model by more than 1e-5.
    """
    model.eval()
    graph = _trace(model)
    newest = max(o.version for o in graph.opset_import if o.domain in ("", "ai.onnx"))
    if newest > OPSET:
        raise DataError(f"{path}: torch wrote ONNX opset {newest}, and CMSSW reads at most {OPSET}")
    graph.ir_version = IR_VERSION
    onnx.helper.set_model_props(graph, _metadata(model.spec) | dict(metadata))
    onnx.checker.check_model(graph)
    _check_parity(model, graph.SerializeToString(), path)
    onnx.save(graph, path)


def _dynamic_length(spec: ModelSpec) -> bool:
    return bool(spec.network["type"] != "mlp")


def _trace(model: Model) -> onnx.ModelProto:
    spec = model.spec
    batch = torch.export.Dim("batch")
    shapes: list[dict[int, Any]] = []
    for name, info in spec.inputs.items():
        if info.length is None:
            shapes.append({0: batch})
        else:
            length = {1: torch.export.Dim(f"{name}_length")} if _dynamic_length(spec) else {}
            shapes += [{0: batch} | length] * 2
    # Sizes of 0 and 1 would be frozen into the graph.
    example = _random_inputs(model, 3, 3, np.random.default_rng(0))
    with _silence():
        program = torch.onnx.export(
            model,
            tuple(example),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(spec.graph_inputs),
            output_names=["scores"],
            dynamic_shapes=(tuple(shapes),),
            external_data=False,
            verbose=False,
        )
    assert program is not None  # noqa: S101 — only the exporter that is not dynamo returns None
    return program.model_proto


def _metadata(spec: ModelSpec) -> dict[str, str]:
    return {
        "nanoforge_version": __version__,
        "task": spec.task,
        "features": json.dumps({name: info.features for name, info in spec.inputs.items()}),
        "lengths": json.dumps({name: info.length for name, info in spec.inputs.items() if info.length is not None}),
        "outputs": json.dumps(spec.outputs),
    }


def _random_inputs(model: Model, rows: int, length: int, rng: np.random.Generator) -> list[Tensor]:
    """Draw raw inputs as large as the training's were; the first row has no constituents."""
    tensors: list[Tensor] = []
    for name, info in model.spec.inputs.items():
        size = length if info.length is not None and _dynamic_length(model.spec) else info.length
        shape = (rows,) if size is None else (rows, size)
        normal = torch.from_numpy(rng.standard_normal((*shape, len(info.features)), np.float32))
        tensors.append(normal * model.get_buffer(f"{name}_scale") + model.get_buffer(f"{name}_center"))
        if size is not None:
            mask = torch.from_numpy(rng.integers(2, size=(rows, size)).astype(np.float32))
            mask[0] = 0
            tensors.append(mask)
    return tensors


def _check_parity(model: Model, graph: bytes, path: Path) -> None:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    longest = max((info.length or 1 for info in model.spec.inputs.values()), default=1)
    for rows, length in ((1, longest), (2, 1), (33, longest + 3)):
        tensors = _random_inputs(model, rows, length, rng)
        with torch.inference_mode():
            expected = model(*tensors).numpy()
        feed = {name: t.numpy() for name, t in zip(model.spec.graph_inputs, tensors)}
        found = np.asarray(session.run(["scores"], feed)[0])
        worst = float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected))))
        if not worst <= TOLERANCE:
            raise DataError(
                f"{path}: ONNX Runtime differs from the model by {worst:.1e} for {rows} row(s); please report this"
            )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep back what the exporter says of packages that are not needed and of its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
