"""Models that come over the network: looked at in a process of their own, with limits, before anything is kept."""

from __future__ import annotations

import json
import math
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .repository import DESCRIPTION, GRAPH
from .request_error import RequestError

if TYPE_CHECKING:
    import onnx

MEMORY = 2 << 30
SECONDS = 30
MAX_OPSET, MAX_IR = 18, 8
"""The newest that CMSSW's ONNX Runtime 1.14 reads, and all that ``nanoforge export`` writes."""
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_upload(name: str, content: bytes) -> tuple[dict[str, bytes], str]:
    """Look whether a file is a graph of ``nanoforge export`` that can be served.

    Returns
    -------
    tuple
        The files of its version, and its ``config.pbtxt``.

    Raises
    ------
    RequestError
        400 for a name that is none, 422 for a file that is something else, with the reason.
    """
    if not _NAME.fullmatch(name):
        raise RequestError(400, f"{name!r}: names of models have letters, digits, '_' and '-', at most 64")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / GRAPH
        path.write_bytes(content)
        try:
            done = subprocess.run(  # noqa: S603 - our own module, and a path of ours
                [sys.executable, "-m", f"{__package__}.upload", str(path), name],
                capture_output=True,
                timeout=SECONDS,
                check=False,
                preexec_fn=_limit,
            )
        except subprocess.TimeoutExpired:
            raise RequestError(422, f"the model cannot be loaded within {SECONDS} s") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise RequestError(
            422, "the model cannot be loaded: it needs too much memory, or breaks ONNX Runtime"
        ) from None
    if "error" in answer:
        raise RequestError(422, answer["error"])
    description = json.dumps(answer["description"], indent=1) + "\n"
    return {GRAPH: content, DESCRIPTION: description.encode()}, answer["config"]


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(SECONDS), math.ceil(SECONDS)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def examine(path: Path, name: str) -> dict[str, object]:
    """Check a graph; runs in the process that has limits."""
    import onnx

    from ..errors import DataError
    from .repository import ModelVersion
    from .served_model import ServedModel
    from .triton import config

    try:
        model = onnx.load_from_string(path.read_bytes())
        reason = _refusal(model)
        if reason is not None:
            return {"error": reason}
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and onnx have errors of their own
        return {"error": f"the file is no ONNX model ({str(error).partition(chr(10))[0][:200]})"}
    try:
        served = ServedModel(ModelVersion(name, 1), path)
    except DataError as error:
        return {"error": str(error).removeprefix(f"{path}: ")}
    return {"description": served.description, "config": config(name, model)}


def _refusal(model: onnx.ModelProto) -> str | None:
    """Say what a graph has that is not taken; None where there is nothing."""
    from onnx import FunctionProto, NodeProto, TensorProto

    parts = list(_parts(model))
    if any(isinstance(p, TensorProto) and p.data_location == TensorProto.EXTERNAL for p in parts):
        return "weights outside of the file are not taken"
    domains = {opset.domain for opset in model.opset_import}
    domains |= {part.domain for part in parts if isinstance(part, (NodeProto, FunctionProto))}
    foreign = sorted(domains - set(_DOMAINS))
    if foreign:
        return f"operators and functions of {', '.join(foreign)[:200]} are not taken"
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset > MAX_OPSET or model.ir_version > MAX_IR:
        return f"opset {opset} and IR {model.ir_version}, and {MAX_OPSET} and {MAX_IR} are the newest that are taken"
    return None


def _parts(message: Any) -> Iterator[Any]:
    """Yield a message of protobuf and all inside it: graphs are in nodes, functions, and training too."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _parts(part)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(examine(Path(sys.argv[1]), sys.argv[2])))
