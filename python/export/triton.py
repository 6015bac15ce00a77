"""A Triton model repository, as SONIC serves it: ``<name>/config.pbtxt`` beside ``<name>/1/model.onnx``."""

from __future__ import annotations

import json
from collections.abc import Iterable

import onnx


def config(name: str, model: onnx.ModelProto) -> str:
    """Write the configuration of a model for Triton.

    It batches nothing itself (``max_batch_size: 0``), so that shapes are those of the graph, -1 where they are free.

    Parameters
    ----------
    name
        Of the model, and of its folder.
    model
        The graph; all its inputs and outputs are float32.

    Returns
    -------
    str
        The protocol buffer ``inference.ModelConfig`` in its text form
        (https://docs.nvidia.com/deeplearning/triton-inference-server).
    """
    blocks = [_block("input", model.graph.input), _block("output", model.graph.output)]
    return f'name: {json.dumps(name)}\nplatform: "onnxruntime_onnx"\nmax_batch_size: 0\n{"".join(blocks)}'


def _block(kind: str, tensors: Iterable[onnx.ValueInfoProto]) -> str:
    lines = []
    for tensor in tensors:
        sizes = [str(d.dim_value) if d.HasField("dim_value") else "-1" for d in tensor.type.tensor_type.shape.dim]
        lines.append(
            f"{kind} {{ name: {json.dumps(tensor.name)}, data_type: TYPE_FP32, dims: [ {', '.join(sizes)} ] }}\n"
        )
    return "".join(lines)
