"""Models as ONNX files that CMSSW's ONNX Runtime reads, checked against the model that they came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from ..errors import DataError
from ..version import __version__
from .base import Model, ModelSpec, score
from .tracing import OPSET, random_inputs

IR_VERSION = 8
"""The newest that ONNX Runtime 1.14 (CMSSW 14_0_X) accepts; torch writes 10."""
TOLERANCE = 1e-5


def export_onnx(
    model: Model, path: Path, metadata: Mapping[str, str], events: Mapping[str, np.ndarray] | None = None
) -> float:
    """Write a model as ONNX: inputs ``spec.graph_inputs``, output ``scores``, any number of rows.

    The number of constituents is free where the model allows it (not for "mlp", trees, and a network of the user's
    own that needs it fixed). All inputs are float32, the masks too (1 is valid, 0 is padding), because
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
    try:
        graph = model.graph()
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
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


def _metadata(spec: ModelSpec) -> dict[str, str]:
    return {
        "nanoforge_version": __version__,
        "task": spec.task,
        "features": json.dumps({name: info.features for name, info in spec.inputs.items()}),
        "lengths": json.dumps({name: info.length for name, info in spec.inputs.items() if info.length is not None}),
        "outputs": json.dumps(spec.outputs),
    }


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
        samples.append(random_inputs(model, rows, lengths, rng))
    worst = 0.0
    for sample in samples:
        feed = {name: np.asarray(sample[name], np.float32) for name in model.spec.graph_inputs}
        expected = score(model, feed)
        scores = np.asarray(session.run(["scores"], feed)[0])
        difference = np.abs(scores - expected) / np.maximum(1, np.abs(expected))
        largest = float(np.max(difference, initial=0, where=~(np.isnan(scores) & np.isnan(expected))))
        worst = max(worst, largest)
        if not largest <= TOLERANCE:  # NaN is a difference too
            custom = model.spec.options.code is not None
            remedy = "its forward must take all sizes from its inputs, as tensors" if custom else "please report it"
            raise DataError(
                f"{path}: ONNX Runtime differs from the model by {largest:.1e} in {len(scores)} row(s): {remedy}"
            )
    return worst
