"""A model: raw features in, final scores out; normalisation, masks and output activation are inside."""

from __future__ import annotations

import inspect
import io
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..config.moved import moved
from ..dataset.info import InputInfo
from ..errors import DataError
from ..provenance import Manifest
from .networks import build
from .tasks import make_objective, parse_loss

if TYPE_CHECKING:
    from .trees import TreeModel


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
    def outputs(self) -> tuple[str, ...]:
        """Names of the C scores: the classes, or for each target its outputs, the prediction first."""
        suffixes = parse_loss(self.task, self.loss).suffixes
        return tuple(target + suffix for target in self.targets for suffix in suffixes)

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles that are predicted of each target, in the order of the outputs; empty for other losses."""
        levels: tuple[float, ...] = parse_loss(self.task, self.loss).levels
        return levels

    @property
    def ranks(self) -> tuple[int, ...]:
        """Where each quantile stands among those of its target when they are sorted; empty where they are not."""
        ranks: tuple[int, ...] = parse_loss(self.task, self.loss).ranks
        return ranks

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

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        content = asdict(self) | {"targets": list(self.targets)}
        for info in content["inputs"].values():
            info["features"] = list(info["features"])
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ModelSpec:
        """Rebuild what :meth:`as_dict` wrote."""
        inputs = {k: InputInfo(tuple(v["features"]), v["length"]) for k, v in content["inputs"].items()}
        return cls(inputs, tuple(content["targets"]), content["task"], dict(content["network"]), content["loss"])


class Model(nn.Module):
    """A network with everything around it that deployment would otherwise have to repeat.

    It takes the tensors of ``spec.graph_inputs`` by position: raw features, (N, F) or (N, L, F) f4, and masks, (N, L)
    bool or f4 (1 is valid: CMSSW feeds floats only). What stands in padded places has no effect, whatever it is.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.objective = make_objective(spec.task, spec.targets, spec.loss)
        self.network = build(spec.network, spec.inputs, len(spec.outputs))
        self._takes_raw = "raw" in inspect.signature(self.network.forward).parameters
        widths = {name: len(info.features) for name, info in spec.inputs.items()}
        for name, width in (widths | {"target": len(spec.targets)}).items():
            self.register_buffer(f"{name}_center", torch.zeros(width))
            self.register_buffer(f"{name}_scale", torch.ones(width))

    @property
    def parameter_count(self) -> int:
        """Number of parameters, those that are not trained included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def set_normalisation(self, name: str, center: np.ndarray, scale: np.ndarray) -> None:
        """Set center and scale, (F,), of an input, or of the regression targets ("target").

        A feature without spread gets the scale 1.
        """
        scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
        for what, values in (("center", center), ("scale", scale)):
            self.get_buffer(f"{name}_{what}").copy_(torch.from_numpy(np.asarray(values, np.float32)))

    def typical(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return centre and spread, (F,), of the raw features of an input, as the normalisation knows them."""
        center, scale = (self.get_buffer(f"{name}_{what}").cpu().numpy() for what in ("center", "scale"))
        return center, scale

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the final scores, (N, C): probabilities of the classes, or outputs in the units of the targets."""
        raw = self.logits(*tensors)
        return self.objective.scores(raw, self.get_buffer("target_center"), self.get_buffer("target_scale"))

    def logits(self, *tensors: Tensor) -> Tensor:
        """Return what the loss takes, (N, C): logits of the classes, or standardised targets."""
        given = dict(zip(self.spec.graph_inputs, tensors))
        features: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        raw: dict[str, Tensor] = {}
        for name, info in self.spec.inputs.items():
            raw[name] = given[name]
            features[name] = self._standardise(name, given[name])
            if info.length is not None:
                masks[name] = given[f"{name}_mask"] > 0.5
                valid = masks[name].unsqueeze(-1)
                raw[name] = torch.where(valid, raw[name], 0.0)
                features[name] = torch.where(valid, features[name], 0.0)
        out: Tensor = self.network(features, masks, raw) if self._takes_raw else self.network(features, masks)
        return out

    def standardise_targets(self, targets: Tensor) -> Tensor:
        """Bring regression targets, (N, T), to the scale of :meth:`logits`; NaN stays NaN."""
        return self._standardise("target", targets)

    def save(self, path: Path) -> None:
        """Write the model to a file."""
        state = {name: tensor.cpu() for name, tensor in self.state_dict().items()}
        write_tensors({"spec": self.spec.as_dict(), "state": state}, path)

    @classmethod
    def load(cls, path: Path, network: str | None = None) -> Model:
        """Read a model that :meth:`save` wrote, ready to score; see :func:`load_model`.

        Raises
        ------
        DataError
            When the file is missing, broken, or something else.
        """
        try:
            content = read_tensors(path)
            spec = ModelSpec.from_dict(content["spec"])
            if network is not None:
                spec.network["network"] = network
            model = cls(spec)
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


def load_model(path: Path, network: str | None = None) -> Model | TreeModel:
    """Read a model of either kind, ready to score; ``network`` says where the user's own is, if it has moved.

    Raises
    ------
    DataError
        When the file is missing, broken, or something else.
    UserError
        When the user's own network cannot be imported.
    """
    try:
        with path.open("rb") as file:
            is_trees = file.read(1) == b"{"
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not is_trees:
        return Model.load(path, network)
    from .trees import TreeModel

    return TreeModel.load(path)


def own_code(trained: Manifest, run: Path) -> set[str]:
    """Name the files or modules of Python that a run imports: its functions, and networks that are not ours."""
    names = named_code(trained.config)
    for path in sorted(run.glob("fold*/model.pt")):
        with path.open("rb") as file:
            is_trees = file.read(1) == b"{"  # which have no code
        if not is_trees:
            names |= named_code({"model": read_tensors(path)["spec"]["network"]})
    before = Path(trained.details.get("directory", run))
    return {moved(name, before, run.resolve()) if name.endswith(".py") else name for name in names}


def named_code(config: Mapping[str, Any]) -> set[str]:
    """Name the files or modules of Python in an analysis."""
    model = config.get("model", {})
    specs = [*config.get("functions", []), *([model["network"]] if model.get("type") == "custom" else [])]
    return {str(spec).rpartition(":")[0] for spec in specs}


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


def score(model: Model | TreeModel, inputs: Mapping[str, np.ndarray], batch_size: int = 8192) -> np.ndarray:
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
    rows, device = len(columns[0]), next((p.device for p in model.parameters()), torch.device("cpu"))
    scores = np.empty((rows, len(model.spec.outputs)), np.float32)
    model.eval()
    with torch.inference_mode():
        for start in range(0, rows, batch_size):
            batch = [column[start : start + batch_size].to(device) for column in columns]
            scores[start : start + batch_size] = model(*batch).cpu().numpy()
    return scores
