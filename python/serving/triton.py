"""A Triton model repository, as SONIC serves it: ``<name>/config.pbtxt`` beside ``<name>/1/model.onnx``."""

from __future__ import annotations

import json
from collections.abc import Iterable

import onnx

MAX_BATCH = 4096
"""At most so many rows are scored at a time."""


def config(name: str, model: onnx.ModelProto, *, many_rows: bool = False) -> str:
    """Write the configuration of a model for Triton.

    Parameters
    ----------
    name
        Of the model, and of its folder.
    model
        The graph; all its inputs and outputs are float32. Shapes are those of the graph, -1 where they are free.
    many_rows
        Whether the first dimension counts rows, so that Triton may put requests together.

    Returns
    -------
    str
        The protocol buffer ``inference.ModelConfig`` in its text form
        (https://docs.nvidia.com/deeplearning/triton-inference-server).
    """
    skipped = 1 if many_rows else 0
    blocks = [_block("input", model.graph.input, skipped), _block("output", model.graph.output, skipped)]
    batches = (
        f"max_batch_size: {MAX_BATCH}\ndynamic_batching {{ max_queue_delay_microseconds: 500 }}\n"
        if many_rows
        else "max_batch_size: 0\n"
    )
    versions = "version_policy: { all {} }\n"
    return f'name: {json.dumps(name)}\nplatform: "onnxruntime_onnx"\n{batches}{versions}{"".join(blocks)}'


def _block(kind: str, tensors: Iterable[onnx.ValueInfoProto], skipped: int) -> str:
    lines = []
    for tensor in tensors:
        dimensions = list(tensor.type.tensor_type.shape.dim)[skipped:]
        sizes = [str(d.dim_value) if d.HasField("dim_value") else "-1" for d in dimensions]
        lines.append(
            f"{kind} {{ name: {json.dumps(tensor.name)}, data_type: TYPE_FP32, dims: [ {', '.join(sizes)} ] }}\n"
        )
    return "".join(lines)
