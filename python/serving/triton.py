"""A Triton model repository, as SONIC serves it: ``<name>/config.pbtxt`` beside ``<name>/1/model.onnx``."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx

from ..errors import DataError, UserError

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


def check_config(path: Path) -> None:
    """Compare a configuration with the schema of Triton that ``tritonclient`` brings.

    Raises
    ------
    UserError
        When tritonclient is not installed.
    DataError
        When Triton would not take the configuration, or the graph beside it has other inputs or outputs.
    """
    from google.protobuf import text_format

    schema = _schema()
    try:
        parsed = text_format.Parse(path.read_text(), schema.ModelConfig())
    except (OSError, text_format.ParseError) as error:
        raise DataError(f"{path}: Triton would not take it ({error})") from None
    if parsed.name != path.parent.name:
        raise DataError(f"{path}: names {parsed.name!r}, and Triton wants the name of the folder")
    for graph in sorted(path.parent.glob("*/model.onnx")):
        model = onnx.load(graph)
        for tensors, described in ((model.graph.input, parsed.input), (model.graph.output, parsed.output)):
            if {t.name for t in tensors} != {t.name for t in described}:
                raise DataError(f"{path}: describes other inputs or outputs than {graph} has")


def _schema() -> Any:
    """Return the module of ``model_config.proto``, without the packages for gRPC that the one around it imports."""
    package = importlib.util.find_spec("tritonclient")
    if package is None or not package.submodule_search_locations:
        raise UserError("--check-triton: needs Triton's schema: pip install --no-deps tritonclient")
    path = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("tritonclient_model_config_pb2", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UserError(f"--check-triton: {path}: no such file: this tritonclient is too old or too new")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
