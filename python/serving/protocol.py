"""The Open Inference Protocol v2 over HTTP: tensors as JSON, or binary after the JSON.

https://github.com/kserve/open-inference-protocol; binary tensors as Triton's extension
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from ..errors import nearest, shorten
from .headers import JSON_SIZE
from .repository import ModelVersion
from .request_error import RequestError
from .served_model import ServedModel, Tensors

_FLOAT, _BYTES = "FP32", 4
_DIGITS = 18
_MOST_DIMENSIONS, _MOST_VALUES = 8, 1 << 31


@dataclass(frozen=True)
class InferenceRequest:
    """What a client asks for.

    Attributes
    ----------
    tensors
        The inputs by name, f4.
    outputs
        The names of the outputs it wants, and whether each is to be binary; None for all that there are.
    identifier
        Comes back in the answer; None where the client gave none.
    binary
        Whether outputs that are not named are to be binary.
    """

    tensors: Tensors
    outputs: dict[str, bool] | None
    identifier: str | None
    binary: bool


def parse(body: bytes, json_size: str | None) -> InferenceRequest:
    """Read the body of a request.

    Parameters
    ----------
    body
        All of it.
    json_size
        The value of the header :data:`JSON_SIZE`, None where there is none.

    Raises
    ------
    RequestError
        400, with what is wrong.
    """
    size = len(body)
    if json_size is not None:
        is_number = json_size.isascii() and json_size.isdecimal() and len(json_size) <= _DIGITS
        if not is_number or int(json_size) > len(body):
            raise RequestError(400, f"{JSON_SIZE} is {json_size[:40]!r}, and the body has {len(body)} bytes")
        size = int(json_size)
    try:
        content = orjson.loads(body[:size])
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"the body is no JSON ({error})") from None
    inputs = _list(content, "inputs")
    binary = memoryview(body)[size:]
    tensors: Tensors = {}
    for item in inputs:
        name = _text(item, "name")
        if name in tensors:
            raise RequestError(400, f"input {name!r} is given twice")
        tensors[name], binary = _tensor(name, item, binary)
    if len(binary):
        raise RequestError(400, f"{len(binary)} bytes follow the last binary tensor")
    binary_by_default = _flag(content, "binary_data_output")
    outputs = None
    if content.get("outputs"):
        outputs = {_text(o, "name"): _flag(o, "binary_data", binary_by_default) for o in _list(content, "outputs")}
    identifier = content.get("id")
    return InferenceRequest(tensors, outputs, None if identifier is None else str(identifier), binary_by_default)


def encode(
    request: InferenceRequest, version: ModelVersion, results: Mapping[str, np.ndarray]
) -> tuple[bytes, int | None]:
    """Write the body of the answer; also returns how many bytes of it are JSON, None for all."""
    chosen = dict.fromkeys(results, request.binary) if request.outputs is None else request.outputs
    outputs, tail = [], []
    for name, binary in chosen.items():
        if name not in results:
            raise RequestError(400, f"output {name!r}: {version.name} has none of this name{nearest(name, results)}")
        values = np.ascontiguousarray(results[name], np.float32)
        output: dict[str, Any] = {"name": name, "datatype": _FLOAT, "shape": list(values.shape)}
        if binary:
            tail.append(values.tobytes())
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = values.ravel()
        outputs.append(output)
    content: dict[str, Any] = {"model_name": version.name, "model_version": str(version.number), "outputs": outputs}
    if request.identifier is not None:
        content["id"] = request.identifier
    head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return (head + b"".join(tail), len(head)) if tail else (head, None)


def metadata(model: ServedModel, versions: list[int]) -> dict[str, Any]:
    """Describe a model as the protocol has it; ``parameters`` has what NanoForge knows besides."""
    tensors = [
        [{"name": t.name, "datatype": _FLOAT, "shape": list(t.sizes)} for t in group.values()]
        for group in (model.inputs, model.outputs)
    ]
    return {
        "name": model.version.name,
        "versions": list(map(str, versions)),
        "platform": "onnxruntime_onnx",
        "inputs": tensors[0],
        "outputs": tensors[1],
        "parameters": model.description,
    }


def _tensor(name: str, item: Mapping[str, Any], binary: memoryview) -> tuple[np.ndarray, memoryview]:
    """Read one input; also returns the bytes that follow it."""
    if _text(item, "datatype") != _FLOAT:
        raise RequestError(400, f"input {name!r}: datatype {item['datatype']}, and all inputs are {_FLOAT}")
    shape = _list(item, "shape")
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape):
        raise RequestError(400, f"input {name!r}: the shape {shorten(str(shape))} is not a list of sizes")
    if len(shape) > _MOST_DIMENSIONS or max(shape, default=0) > _MOST_VALUES:
        raise RequestError(400, f"input {name!r}: no model takes {len(shape)} dimensions of up to {max(shape)}")
    count = math.prod(shape)
    parameters = item.get("parameters") or {}
    if isinstance(parameters, dict) and "binary_data_size" in parameters:
        size = parameters["binary_data_size"]
        if type(size) is not int or size != count * _BYTES or size > len(binary):
            raise RequestError(
                400,
                f"input {name!r}: {size} bytes of {len(binary)} that are there, and shape {shape} has {count * _BYTES}",
            )
        return np.frombuffer(binary[:size], "<f4").reshape(shape), binary[size:]
    return _numbers(name, _list(item, "data"), count).reshape(shape), binary


def _numbers(name: str, data: list[Any], count: int) -> np.ndarray:
    """Read numbers, as a flat list or nested as the shape is."""
    try:
        values = np.asarray(data)
        if values.dtype.kind not in "iufb" and values.size:
            raise ValueError("something is no number")
    except ValueError:
        raise RequestError(400, f"input {name!r}: the data are not numbers in lists of equal lengths") from None
    if values.size != count:
        raise RequestError(400, f"input {name!r}: {values.size} numbers, and the shape has {count}")
    return values.astype(np.float32).ravel()


def _list(content: Any, key: str) -> list[Any]:
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise RequestError(400, f"{key!r} is no list")
    items: list[Any] = content[key]
    return items


def _text(content: Any, key: str) -> str:
    if not isinstance(content, dict) or not isinstance(content.get(key), str):
        raise RequestError(400, f"{key!r} of an input or output is no text")
    text: str = content[key]
    return text


def _flag(content: Mapping[str, Any], key: str, default: bool = False) -> bool:
    parameters = content.get("parameters")
    value = parameters.get(key, default) if isinstance(parameters, dict) else default
    if not isinstance(value, bool):
        raise RequestError(400, f"parameter {key!r} is neither true nor false")
    return value
