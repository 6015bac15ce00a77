"""Networks as ONNX graphs, written by torch."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir
import torch
from torch import Tensor

from ..errors import DataError
from .base import Model
from .padding import depends_on_padding
from .raster import random_positions

OPSET = 18
"""The newest that ONNX Runtime 1.14 (CMSSW 14_0_X) accepts."""
_PROGRAMS: dict[str, torch.onnx.ONNXProgram] = {}
_MOST_PROGRAMS = 4


def trace(model: Model, logits: Callable[..., Tensor], free: bool | None) -> onnx.ModelProto:
    """Return the graph of a network.

    Parameters
    ----------
    model
        The model, on the CPU.
    logits
        What it gives before it becomes scores.
    free
        Whether the number of constituents is free; None: where that works, and changes no scores.

    Raises
    ------
    DataError
        When torch cannot write it.
    """
    if free is not None:
        return _trace(model, free=free)
    if not takes_one_length(model, logits):
        with contextlib.suppress(Exception):  # the exporter fails in many ways
            return _trace(model, free=True)
    try:
        return _trace(model, free=False)
    except Exception as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise DataError(
            f"torch cannot write {model.spec.options.code or model.spec.options.type} as ONNX ({reason}): its forward "
            "must do without branches on values, and with operators that ONNX has"
        ) from error


def takes_one_length(model: Model, logits: Callable[..., Tensor]) -> bool:
    """Whether other scores would follow from more padded places: a file that takes them would be wrong in silence."""
    lengths = {name: info.length for name, info in model.spec.inputs.items() if info.length is not None}
    columns = random_inputs(model, 3, lengths, np.random.default_rng(0))
    tensors = {name: torch.from_numpy(values) for name, values in columns.items()}
    with torch.no_grad():
        return depends_on_padding(model.spec, logits, tensors, logits(*tensors.values()))


def _trace(model: Model, free: bool) -> onnx.ModelProto:
    with _silence():
        program = _program(model, free)
        program.apply_weights({**dict(model.named_parameters()), **dict(model.named_buffers())})
        simplified = copy.copy(program)
        simplified.model = onnx_ir.from_proto(program.model_proto)
        simplified.optimize()
    lists = [name for name, info in model.spec.inputs.items() if info.length is not None]
    return _never_empty(simplified.model_proto, lists) if free else simplified.model_proto


def _program(model: Model, free: bool) -> torch.onnx.ONNXProgram:
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
    example = random_inputs(model, 3, lengths, np.random.default_rng(0))
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
    if spec.options.code is None:  # whose code may have changed
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
            node.input[:] = [f"{name}_padded" if source == name else source for source in node.input]
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


def random_inputs(
    model: Model, rows: int, lengths: Mapping[str, int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw raw inputs as large as the training's were, by name; the first row has no constituents."""
    drawn: dict[str, np.ndarray] = {}
    for name, info in model.spec.inputs.items():
        shape = (rows,) if info.length is None else (rows, lengths[name])
        center, scale = model.typical(name)
        drawn[name] = rng.standard_normal((*shape, len(info.features)), np.float32) * scale + center
        for column, categories in info.categories.items():
            values = np.array([*categories, max(categories) + 1], np.float32)
            drawn[name][..., column] = rng.choice(values, shape)
        if info.image is not None:
            drawn[name][..., :2] = random_positions(info.image, shape, rng)
        if info.length is not None:
            drawn[f"{name}_mask"] = rng.integers(2, size=shape).astype(np.float32)
            drawn[f"{name}_mask"][:1] = 0
    return drawn


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
