"""A builder of ONNX graphs: operators in, names of tensors out.

Only operators and types that ONNX Runtime 1.14 (CMSSW 14_0_X) has on a CPU are used here and in the modules above:
``Where`` chooses no booleans there, nothing reduces an empty tensor, and of the transcendental functions only some
take doubles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper, version_converter

from ..models.onnx import IR_VERSION
from ..models.tracing import OPSET
from ..version import __version__

DType = np.dtype[Any]
BOOL, INT, FLOAT, DOUBLE = (np.dtype(t) for t in (np.bool_, np.int64, np.float32, np.float64))
MAX_INT = 2**63 - 1


class Graph:
    """A graph under construction. A tensor is known by its name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple[Any, ...], str] = {}
        self._initializers: list[onnx.TensorProto] = []
        self._functions: list[onnx.FunctionProto] = []
        self._domains = {"": OPSET}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator with one output."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add an operator with several outputs."""
        names = [f"{kind}_{len(self._nodes)}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names

    def constant(self, value: Any, dtype: DType) -> str:
        """Add a constant, a scalar or an array; equal ones are shared."""
        array = np.asarray(value, dtype)
        key = (array.tobytes(), array.shape, dtype.str)
        if key not in self._constants:
            name = self._constants[key] = f"constant_{len(self._constants)}"
            self._initializers.append(numpy_helper.from_array(array, name))
        return self._constants[key]

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """Declare an input: float32, for ``cms::Ort::ONNXRuntime`` feeds nothing else."""
        self._inputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape)))
        return name

    def output(self, tensor: str, name: str, shape: Sequence[int | str]) -> None:
        """Give a float32 tensor out under a name."""
        self._nodes.append(helper.make_node("Identity", [tensor], [name], name=f"output_{name}"))
        self._outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape)))

    def model(self) -> onnx.ModelProto:
        """Return what was built, with its inputs in the order of their names."""
        inputs = sorted(self._inputs, key=lambda i: i.name)
        used = {name for node in self._nodes for name in node.input}
        idle = set(self._constants.values()) - used  # ONNX Runtime warns of each
        initializers = [i for i in self._initializers if i.name not in idle]
        graph = helper.make_graph(self._nodes, "nanoforge", inputs, self._outputs, initializers)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(*domain) for domain in self._domains.items()],
            functions=self._functions,
            ir_version=IR_VERSION,
            producer_name="nanoforge",
            producer_version=__version__,
        )

    def include(self, model: onnx.ModelProto, prefix: str, inputs: Mapping[str, str]) -> str:
        """Add a whole model, its names behind a prefix, and return its only output."""
        if _opset(model) != OPSET:
            model = version_converter.convert_version(model, OPSET)
        part = compose.add_prefix(model, prefix, rename_functions=bool(model.functions))
        for name, tensor in inputs.items():
            self._nodes.append(helper.make_node("Identity", [tensor], [prefix + name], name=f"{prefix}input_{name}"))
        self._nodes.extend(part.graph.node)
        self._initializers.extend(part.graph.initializer)
        self._functions.extend(part.functions)
        self._domains.update({o.domain: o.version for o in model.opset_import if o.domain not in ("", "ai.onnx")})
        return part.graph.output[0].name

    # --- what is written often ---

    def cast(self, tensor: str, dtype: DType) -> str:
        """Convert to another type."""
        return self.op("Cast", tensor, to=helper.np_dtype_to_tensor_dtype(dtype))

    def shape(self, *sizes: str | int) -> str:
        """Join sizes, constants or (1,) i8 tensors, to a shape."""
        return self.op("Concat", *(s if isinstance(s, str) else self.constant([s], INT) for s in sizes), axis=0)

    def size(self, tensor: str, axis: int = 0) -> str:
        """Return the length of a tensor along an axis, (1,) i8."""
        return self.op("Shape", tensor, start=axis, end=axis + 1)

    def unsqueeze(self, tensor: str, axis: int) -> str:
        """Add an axis of length 1."""
        return self.op("Unsqueeze", tensor, self.constant([axis], INT))

    def reshape(self, tensor: str, *sizes: str | int) -> str:
        """Give another shape; -1 is what is left over, and a length of 0 is one."""
        return self.op("Reshape", tensor, self.shape(*sizes), allowzero=int(-1 not in sizes))

    def filled(self, shape: str, value: Any, dtype: DType) -> str:
        """Make a tensor of one value."""
        return self.op("Expand", self.constant(value, dtype), shape)

    def longer(self, tensor: str, last: Any, dtype: DType) -> str:
        """Append one element to (n,)."""
        return self.op("Concat", tensor, self.constant([last], dtype), axis=0)

    def range(self, size: str) -> str:
        """Count from 0, as far as a (1,) i8 tensor says."""
        return self.op("Range", self.constant(0, INT), self.op("Squeeze", size), self.constant(1, INT))

    def all_of(self, conditions: Sequence[str]) -> str | None:
        """Join conditions by and; None of none."""
        joined: str | None = None
        for condition in conditions:
            joined = condition if joined is None else self.op("And", joined, condition)
        return joined

    def where(self, condition: str, chosen: str, other: str, dtype: DType) -> str:
        """Choose element by element, booleans too."""
        if dtype != BOOL:
            return self.op("Where", condition, chosen, other)
        without = self.op("And", self.op("Not", condition), other)
        return self.op("Or", self.op("And", condition, chosen), without)

    def is_finite(self, tensor: str, dtype: DType) -> str:
        """Say where a number is neither NaN nor infinite."""
        return self.op("Less", self.op("Abs", tensor), self.constant(np.inf, dtype))


def _opset(model: onnx.ModelProto) -> int:
    return max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
