"""The models, and which features are momenta."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Optional, Union

from pydantic import BeforeValidator, Field, model_validator

from .base import Identifier, Positive, Strict, of_form
from .inputs import Input

Widths = Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class MLPModel(Strict):
    """A multilayer perceptron; constituents are flattened, padding included."""

    type: Literal["mlp"]
    hidden: Widths = [128, 128, 128]
    dropout: Dropout = 0.0


class DeepSetsModel(Strict):
    """Deep Sets (Zaheer et al., arXiv:1703.06114; in HEP: Komiske et al., arXiv:1810.05165)."""

    type: Literal["deepsets"]
    constituent: Widths = [128, 128]
    hidden: Widths = [128, 128]
    dropout: Dropout = 0.0


class Kinematics(Strict):
    """Which features of an input are the momenta of its constituents: GeV, radian, raw.

    By default they are called ``pt``, ``eta``, ``phi`` and ``mass``; where there is no ``mass``, ``energy`` will do.
    """

    pt: str = "pt"
    eta: str = "eta"
    phi: str = "phi"
    mass: Optional[str] = None
    energy: Optional[str] = None

    def find(self, name: str, features: Sequence[str], wanted: Iterable[str]) -> dict[str, str]:
        """Return the feature that is each quantity.

        Parameters
        ----------
        name
            The input, for messages.
        features
            Its features.
        wanted
            Some of "pt", "eta", "phi" and "mass". Where "energy" is there instead of "mass", the result has that.

        Raises
        ------
        ValueError
            When one is not there; the message names the remedy.
        """
        found = {quantity: getattr(self, quantity) or quantity for quantity in wanted}
        if found.get("mass") not in features and self.mass is None and (self.energy or "energy") in features:
            found = {"energy" if q == "mass" else q: f for q, f in found.items()} | {"energy": self.energy or "energy"}
        for quantity, feature in found.items():
            if feature not in features:
                raise ValueError(
                    f"inputs.{name}: the model needs {quantity!r} of its constituents and there is no feature "
                    f"{feature!r}: add it to inputs.{name}.features, e.g. '- {quantity}: <expression>', or say with "
                    f"model.kinematics.{name}.{quantity} which feature it is"
                )
        return found


class MomentumModel(Strict):
    """A model that needs ``momenta`` of the constituents; ``kinematics`` says of an input which features they are."""

    kinematics: dict[Identifier, Kinematics] = {}
    momenta: ClassVar[tuple[str, ...]]

    def check(self, inputs: Mapping[str, Input]) -> None:
        """Raise a ValueError when an input lacks them, or none has constituents."""
        sets = {name: block.feature_names for name, block in inputs.items() if block.collection is not None}
        if not sets:
            raise ValueError("model.type: this model needs an input with a 'collection': add one, or use 'mlp'")
        for name in self.kinematics:
            if name not in sets:
                raise ValueError(f"model.kinematics.{name}: no input with a 'collection' is called so")
        for name, features in sets.items():
            self.kinematics.get(name, Kinematics()).find(name, features, self.momenta)


class ParticleNetModel(MomentumModel):
    """ParticleNet: edge convolutions on a graph of neighbours (Qu, Gouskos, arXiv:1902.08570)."""

    type: Literal["particlenet"]
    embedding: int = Field(default=32, gt=0)
    convolutions: Annotated[list[Widths], Field(min_length=1)] = [[64, 64, 64], [128, 128, 128], [256, 256, 256]]
    neighbours: int = Field(default=16, gt=0)
    hidden: Widths = [256]
    dropout: Dropout = 0.1
    momenta: ClassVar[tuple[str, ...]] = ("eta", "phi")


class ParticleTransformerModel(MomentumModel):
    """Particle Transformer: attention with a bias from pairs (Qu, Li, Qian, arXiv:2202.03772)."""

    type: Literal["particletransformer"]
    width: int = Field(default=128, gt=0)
    heads: int = Field(default=8, gt=0)
    blocks: int = Field(default=8, gt=0)
    class_blocks: int = Field(default=2, gt=0)
    pairs: Widths = [64, 64, 64]
    dropout: Dropout = 0.1
    momenta: ClassVar[tuple[str, ...]] = ("pt", "eta", "phi", "mass")

    @model_validator(mode="after")
    def _heads(self) -> ParticleTransformerModel:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided into {self.heads} heads: choose a multiple")
        return self


class LightGBMModel(Strict):
    """Gradient-boosted trees (Ke et al., LightGBM, NeurIPS 2017); the names of the options are LightGBM's.

    Constituents are flattened, padding is missing. ``num_iterations`` is the most; the number that is best in the
    validation part is kept.
    """

    type: Literal["lightgbm"]
    num_iterations: int = Field(default=1000, gt=0)
    learning_rate: Positive = 0.05
    num_leaves: int = Field(default=31, gt=1)
    max_depth: int = Field(default=-1, ge=-1)
    min_data_in_leaf: int = Field(default=20, ge=0)
    feature_fraction: float = Field(default=1.0, gt=0, le=1)
    bagging_fraction: float = Field(default=1.0, gt=0, le=1)
    lambda_l1: float = Field(default=0.0, ge=0)
    lambda_l2: float = Field(default=0.0, ge=0)
    early_stopping_round: int = Field(default=50, gt=0)


class CustomModel(Strict):
    """A network of the user's own, written ``type: my_package.my_module:MyNet`` (see ``models.networks``)."""

    type: Literal["custom"]
    network: Annotated[str, of_form(r"[^:]+:[A-Za-z]\w*", "module:Class")]
    options: dict[str, Any] = {}


def _own_network(block: Any) -> Any:
    """Read ``type: module:class`` as what it is short for."""
    if isinstance(block, dict) and ":" in str(block.get("type")):
        return {**block, "type": "custom", "network": block["type"]}
    return block


Model = Annotated[
    Annotated[
        Union[MLPModel, DeepSetsModel, ParticleNetModel, ParticleTransformerModel, LightGBMModel, CustomModel],
        Field(discriminator="type"),
    ],
    BeforeValidator(_own_network),
]
