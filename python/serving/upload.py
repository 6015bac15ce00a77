"""Models that come over the network: looked at in a process of their own, with limits, before anything is kept."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

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
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _look_at(path: Path, name: str) -> dict[str, object]:
    """Check a graph; runs in the process that has limits."""
    import onnx

    from ..errors import DataError
    from .repository import ModelVersion
    from .served_model import ServedModel
    from .triton import config

    try:
        model = onnx.load_from_string(path.read_bytes())
        if any(t.data_location == onnx.TensorProto.EXTERNAL for t in _tensors(model.graph)):
            return {"error": "weights outside of the file are not taken"}
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and onnx have errors of their own
        return {"error": f"the file is no ONNX model ({str(error).partition(chr(10))[0][:200]})"}
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    foreign = sorted(set(opsets) - set(_DOMAINS))
    if foreign:
        return {"error": f"operators of {', '.join(foreign)} are not taken"}
    if max((opsets.get("", 0), opsets.get("ai.onnx", 0))) > MAX_OPSET or model.ir_version > MAX_IR:
        return {"error": f"opset and IR are newer than {MAX_OPSET} and {MAX_IR}"}
    try:
        served = ServedModel(ModelVersion(name, 1), path)
    except DataError as error:
        return {"error": str(error).removeprefix(f"{path}: ")}
    return {"description": served.description, "config": config(name, model)}


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """List the stored tensors of a graph and of the graphs inside it."""
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                tensors += _tensors(inner)
    return tensors


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_look_at(Path(sys.argv[1]), sys.argv[2])))
