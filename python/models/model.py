"""A model: raw features in, final scores out; normalisation, masks and output activation are inside."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..dataset.info import InputInfo
from ..errors import DataError
from .networks import build


@dataclass(frozen=True)
class ModelSpec:
    """What a model is made from.

    Attributes
    ----------
    inputs
        The inputs and their features, in order.
    outputs
        Names of the C classes or regression targets.
    task
        "classification" or "regression".
    network
        The ``model`` block of the analysis file.
    """

    inputs: dict[str, InputInfo]
    outputs: tuple[str, ...]
    task: str
    network: dict[str, Any]

    @property
    def graph_inputs(self) -> tuple[str, ...]:
        """Names of the tensors that the model takes, in order, e.g. ``("event", "jets", "jets_mask")``."""
        names: list[str] = []
        for name, info in self.inputs.items():
            names += [name] if info.length is None else [name, f"{name}_mask"]
        return tuple(names)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        content = asdict(self) | {"outputs": list(self.outputs)}
        for info in content["inputs"].values():
            info["features"] = list(info["features"])
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ModelSpec:
        """Rebuild what :meth:`as_dict` wrote."""
        inputs = {k: InputInfo(tuple(v["features"]), v["length"]) for k, v in content["inputs"].items()}
        return cls(inputs, tuple(content["outputs"]), content["task"], dict(content["network"]))


class Model(nn.Module):
    """A network with everything around it that deployment would otherwise have to repeat.

    It takes the tensors of ``spec.graph_inputs`` by position: raw features, (N, F) or (N, L, F) f4, and masks, (N, L)
    bool or f4 (1 is valid: CMSSW feeds floats only). What stands in padded places has no effect, whatever it is.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.network = build(spec.network, spec.inputs, len(spec.outputs))
        widths = {name: len(info.features) for name, info in spec.inputs.items()}
        for name, width in (widths | {"target": len(spec.outputs)}).items():
            self.register_buffer(f"{name}_center", torch.zeros(width))
            self.register_buffer(f"{name}_scale", torch.ones(width))

    def set_normalisation(self, name: str, center: np.ndarray, scale: np.ndarray) -> None:
        """Set center and scale, (F,), of an input, or of the regression targets ("target").

        A feature without spread gets the scale 1.
        """
        scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
        for what, values in (("center", center), ("scale", scale)):
            self.get_buffer(f"{name}_{what}").copy_(torch.from_numpy(np.asarray(values, np.float32)))

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the final scores, (N, C): probabilities of the classes, or targets in their own units."""
        raw = self.logits(*tensors)
        if self.spec.task == "classification":
            return raw.softmax(dim=1)
        return raw * self.get_buffer("target_scale") + self.get_buffer("target_center")

    def logits(self, *tensors: Tensor) -> Tensor:
        """Return what the loss takes, (N, C): logits of the classes, or standardised targets."""
        given = dict(zip(self.spec.graph_inputs, tensors))
        features: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        for name, info in self.spec.inputs.items():
            features[name] = self._standardise(name, given[name])
            if info.length is not None:
                masks[name] = given[f"{name}_mask"] > 0.5
                features[name] = torch.where(masks[name].unsqueeze(-1), features[name], 0.0)
        out: Tensor = self.network(features, masks)
        return out

    def standardise_targets(self, targets: Tensor) -> Tensor:
        """Bring regression targets, (N, T), to the scale of :meth:`logits`."""
        return self._standardise("target", targets)

    def save(self, path: Path) -> None:
        """Write the model to a file."""
        state = {name: tensor.cpu() for name, tensor in self.state_dict().items()}
        write_tensors({"spec": self.spec.as_dict(), "state": state}, path)

    @classmethod
    def load(cls, path: Path) -> Model:
        """Read a model that :meth:`save` wrote, ready to score.

        Raises
        ------
        DataError
            When the file is missing, broken, or something else.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            model = cls(ModelSpec.from_dict(content["spec"]))
            model.load_state_dict(content["state"])
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
        except (
            pickle.UnpicklingError,
            RuntimeError,
            EOFError,
            KeyError,
            TypeError,
            AttributeError,
            ValueError,
        ) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{path}: not a model of this version of NanoForge ({reason})") from None
        return model.eval()

    def _standardise(self, name: str, values: Tensor) -> Tensor:
        return (values - self.get_buffer(f"{name}_center")) / self.get_buffer(f"{name}_scale")


def write_tensors(content: Any, path: Path) -> None:
    """Write what ``torch.load(weights_only=True)`` reads, atomically; a full disk is an OSError."""
    buffer = io.BytesIO()  # torch.save to a file raises a RuntimeError of its own on a full disk
    torch.save(content, buffer)
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(buffer.getbuffer())
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
        Rows that are evaluated at once.

    Returns
    -------
    np.ndarray
        Scores, (N, C) f4.
    """
    columns = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in model.spec.graph_inputs]
    rows, device = len(columns[0]), next(model.parameters()).device
    scores = np.empty((rows, len(model.spec.outputs)), np.float32)
    model.eval()
    with torch.inference_mode():
        for start in range(0, rows, batch_size):
            batch = [column[start : start + batch_size].to(device) for column in columns]
            scores[start : start + batch_size] = model(*batch).cpu().numpy()
    return scores
