"""What all models are: raw features in, final scores out; and how they are kept in files."""

from __future__ import annotations

import io
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..config.loss_options import LossOptions
from ..config.losses import parse_loss
from ..config.model_options import ModelOptions
from ..config.models import parse_model
from ..dataset.info import InputInfo
from ..dataset.resources import keep_memory
from .raster import image_bytes

if TYPE_CHECKING:
    import onnx

_MOST_BYTES = 1 << 27  # of images that are scored at once: what a network makes of them is several times as large


@dataclass(frozen=True)
class ModelSpec:
    """What a model is made from.

    Attributes
    ----------
    inputs
        The inputs and their features, in order.
    targets
        Names of the classes or regression targets.
    task
        "classification" or "regression".
    network
        The ``model`` block of the analysis file.
    loss
        Its ``training.loss``; None for the usual one of the task.
    """

    inputs: dict[str, InputInfo]
    targets: tuple[str, ...]
    task: str
    network: dict[str, Any]
    loss: dict[str, Any] | None = None

    @cached_property
    def options(self) -> ModelOptions:
        """What ``network`` describes; a class of the user's own is imported."""
        return parse_model(self.network).resolved()

    @cached_property
    def loss_options(self) -> LossOptions:
        """What ``loss`` describes, in the same way."""
        return parse_loss(self.task, self.loss).resolved()

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of the C scores: the classes, or for each target its outputs, the prediction first."""
        return tuple(target + suffix for target in self.targets for suffix in self.loss_options.suffixes)

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles that are predicted of each target, in the order of the outputs; empty for other losses."""
        return self.loss_options.levels

    @property
    def ranks(self) -> tuple[int, ...]:
        """Where each quantile stands among those of its target when they are sorted; empty where they are not."""
        return self.loss_options.ranks

    @property
    def predictions(self) -> list[int]:
        """Where among the scores the prediction of each class or target is."""
        return [self.outputs.index(target) for target in self.targets]

    @property
    def graph_inputs(self) -> tuple[str, ...]:
        """Names of the tensors that the model takes, in order, e.g. ``("event", "jets", "jets_mask")``."""
        names: list[str] = []
        for name, info in self.inputs.items():
            names += [name] if info.length is None else [name, f"{name}_mask"]
        return tuple(names)

    def with_code(self, network: str | None, loss: str | None) -> ModelSpec:
        """Return the same where the user's own network and loss are elsewhere; None is where they were."""
        changes: dict[str, Any] = {}
        if network is not None:
            changes["network"] = parse_model(self.network).with_code(lambda _: network).model_dump(mode="json")
        if loss is not None:
            changes["loss"] = parse_loss(self.task, self.loss).with_code(lambda _: loss).model_dump(mode="json")
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        inputs = {name: info.as_dict() for name, info in self.inputs.items()}
        return asdict(self) | {"inputs": inputs, "targets": list(self.targets)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ModelSpec:
        """Rebuild what :meth:`as_dict` wrote."""
        inputs = {name: InputInfo.from_dict(info) for name, info in content["inputs"].items()}
        return cls(inputs, tuple(content["targets"]), content["task"], dict(content["network"]), content["loss"])


class Model(nn.Module, ABC):
    """Raw features in, final scores out; normalisation, masks and output activation are inside.

    It takes the tensors of ``spec.graph_inputs`` by position: raw features, (N, F) or (N, L, F) f4, and masks, (N, L)
    bool or f4 (1 is valid: CMSSW feeds floats only). What stands in padded places has no effect, whatever it is.
    """

    spec: ModelSpec

    @abstractmethod
    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the final scores, (N, C): probabilities of the classes, or outputs in the units of the targets."""

    @property
    @abstractmethod
    def parameter_count(self) -> int:
        """Number of parameters."""

    @abstractmethod
    def typical(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return centre and spread, (F,), of the raw features of an input."""

    @abstractmethod
    def graph(self) -> onnx.ModelProto:
        """Return the model as ONNX: float32 inputs ``spec.graph_inputs``, output ``scores``, any number of rows.

        Raises
        ------
        DataError
            When it cannot become one.
        """

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return what was learnt, as tensors and plain types."""

    @classmethod
    @abstractmethod
    def restore(cls, spec: ModelSpec, content: Mapping[str, Any]) -> Model:
        """Make a model of what :meth:`content` gave; where that is something else, any exception."""

    def save(self, path: Path) -> None:
        """Write the model to a file."""
        write_tensors({"spec": self.spec.as_dict(), **self.content()}, path)


def write_tensors(content: Any, path: Path) -> None:
    """Write what ``torch.load(weights_only=True)`` reads, atomically; a full disk is an OSError."""
    buffer = io.BytesIO()  # torch.save to a file raises a RuntimeError of its own on a full disk
    torch.save(content, buffer)
    write_file(buffer.getbuffer(), path)


def read_tensors(path: Path, device: torch.device | str = "cpu") -> Any:
    """Read what :func:`write_tensors` wrote; a ValueError where a byte of it changed, which torch does not look for."""
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            broken = archive.testzip()
    except Exception as error:  # zipfile has a dozen kinds for what a damaged archive can be
        raise ValueError(f"it is damaged: {error}") from None
    if broken is not None:
        raise ValueError(f"it is damaged: wrong checksum of {broken}")
    return torch.load(io.BytesIO(content), map_location=device, weights_only=True)


def write_file(content: bytes | memoryview, path: Path) -> None:
    """Write a file atomically, and wait until it is on the disk."""
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def score(model: Model, inputs: Mapping[str, np.ndarray], batch_size: int = 8192) -> np.ndarray:
    """Evaluate a model.

    Parameters
    ----------
    model
        The model, on any device.
    inputs
        Raw features and masks, as ``model.spec.graph_inputs`` names them; N rows each.
    batch_size
        Rows that are evaluated at once, but for images of more than 128 MB.

    Returns
    -------
    np.ndarray
        Scores, (N, C) f4.
    """
    columns = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in model.spec.graph_inputs]
    if drawn := image_bytes(model.spec.inputs):
        keep_memory()
        batch_size = min(batch_size, max(1, _MOST_BYTES // drawn))
    rows, device = len(columns[0]), next((p.device for p in model.parameters()), torch.device("cpu"))
    scores = np.empty((rows, len(model.spec.outputs)), np.float32)
    model.eval()
    with torch.inference_mode():
        for start in range(0, rows, batch_size):
            batch = [column[start : start + batch_size].to(device) for column in columns]
            scores[start : start + batch_size] = model(*batch).cpu().numpy()
    return scores
