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
    """Widths of the hidden layers."""
    dropout: Dropout = 0.0
    """Share of the units that are left out in each step."""


class DeepSetsModel(Strict):
    """Deep Sets (Zaheer et al., arXiv:1703.06114; in HEP: Komiske et al., arXiv:1810.05165)."""

    type: Literal["deepsets"]
    constituent: Widths = [128, 128]
    """Widths of the layers that every constituent passes on its own."""
    hidden: Widths = [128, 128]
    """Widths of the layers after the sum over constituents."""
    dropout: Dropout = 0.0
    """Share of the units that are left out in each step."""


class Kinematics(Strict):
    """Which features of an input are the momenta of its constituents: GeV, radian, raw.

    By default they are called ``pt``, ``eta``, ``phi`` and ``mass``; where there is no ``mass``, ``energy`` will do.
    """

    pt: str = "pt"
    """The feature that is the transverse momentum."""
    eta: str = "eta"
    """The feature that is the pseudorapidity."""
    phi: str = "phi"
    """The feature that is the azimuth."""
    mass: Optional[str] = None
    """The feature that is the mass."""
    energy: Optional[str] = None
    """The feature that is the energy, in place of a mass."""

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
    """For an input, which of its features are the momenta, where they are not called so: ``{jets: {pt: jet_pt}}``."""
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
    """Width to which the features of a constituent are brought first."""
    convolutions: Annotated[list[Widths], Field(min_length=1)] = [[64, 64, 64], [128, 128, 128], [256, 256, 256]]
    """Widths of the layers of each edge convolution."""
    neighbours: int = Field(default=16, gt=0)
    """How many nearest constituents are neighbours of one."""
    hidden: Widths = [256]
    """Widths of the layers after the mean over constituents."""
    dropout: Dropout = 0.1
    """Share of the units that are left out in each step."""
    momenta: ClassVar[tuple[str, ...]] = ("eta", "phi")


class ParticleTransformerModel(MomentumModel):
    """Particle Transformer: attention with a bias from pairs (Qu, Li, Qian, arXiv:2202.03772)."""

    type: Literal["particletransformer"]
    width: int = Field(default=128, gt=0)
    """Width of the representation of a constituent; a multiple of ``heads``."""
    heads: int = Field(default=8, gt=0)
    """Heads of each attention."""
    blocks: int = Field(default=8, gt=0)
    """Attention blocks between constituents."""
    class_blocks: int = Field(default=2, gt=0)
    """Attention blocks that gather the constituents into one vector."""
    pairs: Widths = [64, 64, 64]
    """Widths of the layers that make a bias of each pair of constituents."""
    dropout: Dropout = 0.1
    """Share of the units that are left out in each step."""
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
    """The most trees that are grown."""
    learning_rate: Positive = 0.05
    """What each tree counts."""
    num_leaves: int = Field(default=31, gt=1)
    """The most leaves of a tree."""
    max_depth: int = Field(default=-1, ge=-1)
    """The deepest that a tree may be; -1: as deep as it likes."""
    min_data_in_leaf: int = Field(default=20, ge=0)
    """Fewest rows in a leaf."""
    feature_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the features that each tree sees."""
    bagging_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the rows that each tree sees."""
    lambda_l1: float = Field(default=0.0, ge=0)
    """L1 regularisation."""
    lambda_l2: float = Field(default=0.0, ge=0)
    """L2 regularisation."""
    early_stopping_round: int = Field(default=50, gt=0)
    """The fit ends after so many trees without improvement in the validation part."""


class CustomModel(Strict):
    """A network of the user's own, written ``type: my_package.my_module:MyNet``."""

    type: Literal["custom"]
    network: Annotated[str, of_form(r"[^:]+:[A-Za-z]\w*", "module:Class")]
    """The class, as ``module:Class``; written as ``type``."""
    options: dict[str, Any] = {}
    """What its constructor gets beside inputs and outputs."""


def module_and_class(block: Any) -> Any:
    """Read ``type: module:class`` as what it is short for."""
    if isinstance(block, dict) and ":" in str(block.get("type")):
        return {**block, "type": "custom", "network": block["type"]}
    return block


Model = Annotated[
    Annotated[
        Union[MLPModel, DeepSetsModel, ParticleNetModel, ParticleTransformerModel, LightGBMModel, CustomModel],
        Field(discriminator="type"),
    ],
    BeforeValidator(module_and_class),
]
