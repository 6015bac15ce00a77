"""A model: raw features in, final scores out; normalisation, masks and output activation are inside."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..dataset.info import InputInfo
from .base import Model, ModelSpec
from .builder import NetworkBuilder
from .preparation import Preparation
from .raster import Images, scaled
from .tasks import Objective

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class NetworkColumns:
    """What a network is given, before principal components; zeros are padding.

    Attributes
    ----------
    features, masks
        Prepared features, (N, W) or (N, L, W), and which constituents are valid, (N, L).
    raw, images
        What the network takes besides; else empty.
    """

    features: dict[str, Tensor]
    masks: dict[str, Tensor]
    raw: dict[str, Tensor]
    images: dict[str, Tensor]


class NetworkModel(Model):
    """A network with everything around it that deployment would otherwise have to repeat.

    It takes the tensors of ``spec.graph_inputs`` by position: raw features, (N, F) or (N, L, F) f4, and masks, (N, L)
    bool or f4 (1 is valid: CMSSW feeds floats only). What stands in padded places has no effect, whatever it is.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.options = cast(NetworkBuilder, spec.options)
        self.objective = cast(Objective, spec.loss_options.objective(spec.targets))
        self.network = self.options.build(spec.inputs, len(spec.outputs))
        self._takes = set(inspect.signature(self.network.forward).parameters) & {"raw", "images"}
        self.images = Images(spec.inputs)
        prepared = {name: info.preparation for name, info in spec.inputs.items() if info.preparation is not None}
        self.preparations = nn.ModuleDict({name: Preparation(info) for name, info in prepared.items()})
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
        for statistic, values in (("center", center), ("scale", scale)):
            self.get_buffer(f"{name}_{statistic}").copy_(torch.from_numpy(np.asarray(values, np.float32)))

    def typical(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return centre and spread, (F,), of the raw features of an input, as the normalisation knows them."""
        center, scale = (self.get_buffer(f"{name}_{statistic}").cpu().numpy() for statistic in ("center", "scale"))
        return center, scale

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the final scores, (N, C): probabilities of the classes, or outputs in the units of the targets."""
        return self.scores(self.columns(*tensors))

    def logits(self, *tensors: Tensor) -> Tensor:
        """Return what the loss takes, (N, C): logits of the classes, or standardised targets."""
        return self.outputs(self.columns(*tensors))

    def columns(self, *tensors: Tensor) -> NetworkColumns:
        """Prepare raw features and masks, draw the images, but for principal components."""
        inputs = dict(zip(self.spec.graph_inputs, tensors))
        features: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        raw: dict[str, Tensor] = {}
        for name, info in self.spec.inputs.items():
            raw[name] = inputs[name]
            features[name] = self._prepare(name, info, inputs[name])
            if info.length is not None:
                masks[name] = inputs[f"{name}_mask"] > 0.5
                valid = masks[name].unsqueeze(-1)
                raw[name] = torch.where(valid, raw[name], 0.0)
                features[name] = torch.where(valid, features[name], 0.0)
        images: dict[str, Tensor] = {}
        if "images" in self._takes:
            images = self.images({name: self._in_units(name, raw[name]) for name in self.images.rasters}, masks)
        return NetworkColumns(features, masks, raw if "raw" in self._takes else {}, images)

    def outputs(self, columns: NetworkColumns) -> Tensor:
        """Let the network see what :meth:`columns` gave; (N, C) as :meth:`logits`."""
        features = dict(columns.features)
        for name, preparation in self.preparations.items():
            features[name] = preparation.project(features[name])  # type: ignore[operator]
            if name in columns.masks and self.spec.inputs[name].components:
                features[name] = torch.where(columns.masks[name].unsqueeze(-1), features[name], 0.0)
        more = {key: getattr(columns, key) for key in sorted(self._takes)}
        out: Tensor = self.network(features, columns.masks, **more)
        return out

    def scores(self, columns: NetworkColumns) -> Tensor:
        """Return the final scores of what :meth:`columns` gave, (N, C)."""
        raw = self.outputs(columns)
        return self.objective.scores(raw, self.get_buffer("target_center"), self.get_buffer("target_scale"))

    def column_indices(self, name: str) -> list[list[int]]:
        """Return where each feature of an input is among :meth:`columns`."""
        if name not in self.preparations:
            return [[i] for i in range(len(self.spec.inputs[name].features))]
        indices: list[list[int]] = self.preparations[name].column_indices()  # type: ignore[operator]
        return indices

    def standardise_targets(self, targets: Tensor) -> Tensor:
        """Bring regression targets, (N, T), to the scale of :meth:`logits`; NaN stays NaN."""
        return self._standardise("target", targets)

    def graph(self) -> onnx.ModelProto:
        """See :meth:`.base.Model.graph`; the number of constituents is free where the network allows it."""
        from .tracing import trace

        return trace(self, self.logits, self.options.free_lengths)

    def content(self) -> dict[str, Any]:
        """Return the weights and the normalisation."""
        return {"state": {name: tensor.cpu() for name, tensor in self.state_dict().items()}}

    @classmethod
    def restore(cls, spec: ModelSpec, content: Mapping[str, Any]) -> NetworkModel:
        """Make the network again."""
        model = cls(spec)
        model.load_state_dict(content["state"])
        return model

    def _prepare(self, name: str, info: InputInfo, values: Tensor) -> Tensor:
        """Make of features what the network sees: standardise those that nothing else is said of."""
        if name in self.preparations:
            prepared: Tensor = self.preparations[name].columns(values)  # type: ignore[operator]
            return prepared
        standard = self._standardise(name, values)
        if info.image is None or not any(info.image.scale):
            return standard
        scales = (None, None, *info.image.scale)
        columns = [standard[..., i] if s is None else scaled(values[..., i], s) for i, s in enumerate(scales)]
        return torch.stack(columns, dim=-1)

    def _in_units(self, name: str, hits: Tensor) -> Tensor:
        """Divide the channels that have no scale by their root mean square in the training."""
        image = self.spec.inputs[name].image
        assert image is not None  # noqa: S101 - it is drawn
        center, scale = self.get_buffer(f"{name}_center"), self.get_buffer(f"{name}_scale")
        typical = (center.square() + scale.square()).sqrt()
        units = [typical[i] if s is None else torch.ones_like(typical[i]) for i, s in enumerate(image.scale, start=2)]
        return torch.cat([hits[..., :2], hits[..., 2:] / torch.stack(units)], dim=-1)

    def _standardise(self, name: str, values: Tensor) -> Tensor:
        return (values - self.get_buffer(f"{name}_center")) / self.get_buffer(f"{name}_scale")
