"""What an analysis file may say: typed, frozen, and closed (an unknown key is an error)."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Optional, Union

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""A name that becomes part of a branch, dataset or graph input."""


def _number_as_text(value: Any) -> Any:
    """Accept ``weight: 1`` for ``weight: "1"``: a number is an expression too."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _one_as_list(value: Any) -> Any:
    """Accept a single value where a list is meant."""
    return value if value is None or isinstance(value, (list, tuple)) else [value]


Expr = Annotated[str, BeforeValidator(_number_as_text), Field(min_length=1)]
"""The text of an expression (see ``events.expressions``)."""
Cuts = dict[Identifier, Expr]
Feature = Union[Annotated[str, Field(min_length=1)], Annotated[dict[Identifier, Expr], Field(min_length=1)]]
"""A column, or names of features with their expressions."""


class Strict(BaseModel):
    """The base of every block: frozen, and without room for unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _ascending(low_high: tuple[float, float]) -> tuple[float, float]:
    if low_high[0] > low_high[1]:
        raise ValueError(f"[{low_high[0]:g}, {low_high[1]:g}] is empty: write [from, to]")
    return low_high


Interval = Annotated[tuple[float, float], AfterValidator(_ascending)]
"""A closed interval, written ``[from, to]``; both ends may be equal."""
Positive = Annotated[float, Field(gt=0)]


class GunParticle(Strict):
    """A particle that is shot into every event, flat in the given ranges (GeV, radian).

    Without ``mass`` it has Pythia's mass. ``antiparticle`` adds its antiparticle (for a gluon another one) with
    opposite momentum; a quark or a gluon needs it, since colour does not leave alone. Such a pair radiates as the
    products of a resonance at rest do.
    """

    pdgId: Annotated[int, Field(ge=-(10**9), le=10**9)]  # noqa: N815 - NanoAOD's name
    pt: Interval
    eta: Interval = (-2.5, 2.5)
    phi: Interval = (-math.pi, math.pi)
    mass: Optional[Interval] = None
    antiparticle: bool = False

    @model_validator(mode="after")
    def _possible(self) -> GunParticle:
        if self.pt[0] < 0 or (self.mass is not None and self.mass[0] < 0):
            raise ValueError("pt and mass cannot be negative")
        if abs(self.pdgId) in (1, 2, 3, 4, 5, 6, 21) and not self.antiparticle:
            raise ValueError("a quark or a gluon needs 'antiparticle: true': colour does not leave alone")
        return self


class Flatten(Strict):
    """Bins of mass and pt of a gun's first particle in which the accepted events are flat.

    By ``pilot`` events, with a seed of their own, the acceptance of each bin is estimated.
    """

    mass: int = Field(default=20, gt=0, le=1000)
    pt: int = Field(default=16, gt=0, le=1000)
    pilot: int = Field(default=20_000, gt=0)


class GenFilter(Strict):
    """A condition on generated particles; an event passes when at least ``count`` decays (or particles) meet it.

    ``daughters`` are PDG ids of the legs, in any order; the sign of an id does not matter here. With a ``mother``, its
    daughters of these kinds must be just those (others may be there), each within ``pt`` (at least, GeV) and ``eta``
    (absolute value, at most), each pair within ``delta_r``, and all together within ``mass`` (GeV). Without one, single
    particles of these kinds are counted. Mother and legs are looked at as they are after radiation.
    """

    daughters: Annotated[list[int], Field(min_length=1), BeforeValidator(_one_as_list)]
    mother: Optional[int] = None
    pt: float = Field(default=0.0, ge=0)
    eta: Optional[Positive] = None
    delta_r: Optional[Interval] = None
    mass: Optional[Interval] = None
    count: int = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _legs(self) -> GenFilter:
        for name in ("delta_r", "mass"):
            if getattr(self, name) is not None and (self.mother is None or len(self.daughters) < 2):
                raise ValueError(f"{name!r} needs a 'mother' and at least two 'daughters'")
        return self


class Generator(Strict):
    """How a sample is generated with Pythia 8: a preset ``process``, Pythia's own ``settings``, or a particle ``gun``.

    ``settings`` beside the other two come after theirs. ``energy`` is that of the pp collision and ``pthat`` the range
    of the hard process's transverse momentum, in GeV; ``pileup`` is the mean number of further collisions per event. A
    filter that lets none of ``max_trials`` events in a row pass stops the generation.
    """

    process: Optional[str] = None
    settings: Annotated[list[str], BeforeValidator(_one_as_list)] = []
    gun: Optional[Annotated[list[GunParticle], Field(min_length=1), BeforeValidator(_one_as_list)]] = None
    flatten: Optional[Flatten] = None
    pthat: Optional[Interval] = None
    tune: Literal["CP5", "Monash"] = "CP5"
    energy: Positive = 13_600.0
    events: int = Field(default=1000, gt=0)
    seed: int = Field(default=1, ge=0, lt=2**63)
    mpi: bool = True
    pileup: float = Field(default=0.0, ge=0)
    filters: dict[Identifier, GenFilter] = {}
    max_trials: int = Field(default=20_000, gt=0)
    format: Literal["ttree", "rntuple"] = "ttree"

    @model_validator(mode="after")
    def _one_kind(self) -> Generator:
        if self.process is not None and self.gun is not None:
            raise ValueError("give 'process' or 'gun', not both")
        if self.process is None and self.gun is None and not self.settings:
            raise ValueError("give a 'process', Pythia 8 'settings' or a 'gun'")
        if self.flatten is not None and (self.gun is None or self.gun[0].mass is None):
            raise ValueError("'flatten' needs a 'gun' whose first particle has a 'mass' range")
        if self.pthat is not None and self.gun is not None:
            raise ValueError("'pthat' belongs to a hard process: a gun has none")
        return self


class Sample(Strict):
    """One sample: its files, its label, and how it is normalised.

    A ``generator`` may stand beside ``files``: these are what ``nanoforge generate`` made and the other stages read.
    ``xsec`` is in pb. ``sumw`` replaces the sum of generator weights that is otherwise taken from the ``Runs`` trees;
    ``sumw: events`` sums the weight over the events read, which is right only for files that nobody skimmed.
    """

    files: Annotated[Optional[Annotated[list[str], Field(min_length=1)]], BeforeValidator(_one_as_list)] = None
    dataset: Optional[str] = Field(default=None, pattern=r"^/[^/]+/[^/]+/[^/]+$")
    generator: Optional[Generator] = None
    label: Optional[Identifier] = None
    xsec: Optional[float] = Field(default=None, gt=0)
    sumw: Union[float, Literal["events"], None] = None
    weight: Optional[Expr] = None
    select: Cuts = {}
    data: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Sample:
        if self.dataset is not None and (self.files is not None or self.generator is not None):
            raise ValueError("give exactly one of 'files', 'dataset' and 'generator' (with which 'files' may stand)")
        if self.files is None and self.dataset is None and self.generator is None:
            raise ValueError("give exactly one of 'files', 'dataset' and 'generator'")
        if self.data and self.xsec is not None:
            raise ValueError("data has no cross section: remove 'xsec' or 'data: true'")
        if self.sumw is not None and self.xsec is None:
            raise ValueError("'sumw' does nothing without 'xsec'")
        return self


class Fill(Strict):
    """Replace NaN and infinities by a constant."""

    fill: float


class Input(Strict):
    """One input of the model: features of the row itself, or of a collection of its constituents.

    ``index`` names the branch of the collection that holds the position of the row that a constituent belongs to;
    ``match`` is a condition on a pair of row and constituent (``delta_r``, ``delta_eta``, ``delta_phi`` are known).
    """

    features: Annotated[list[Feature], Field(min_length=1)]
    collection: Optional[Identifier] = None
    where: Optional[Expr] = None
    sort: Optional[Expr] = None
    length: Optional[int] = Field(default=None, gt=0, le=4096)
    index: Optional[str] = None
    match: Optional[Expr] = None
    missing: Annotated[list[float], BeforeValidator(_one_as_list)] = []
    nan: Union[Literal["error"], Fill] = "error"

    @model_validator(mode="after")
    def _shape(self) -> Input:
        if self.collection is None:
            given = [k for k in ("where", "sort", "length", "index", "match") if getattr(self, k) is not None]
            if given:
                raise ValueError(f"{given[0]!r} needs a 'collection'")
        elif self.length is None:
            raise ValueError("'collection' needs a 'length': how many constituents of a row are kept")
        if self.index is not None and self.match is not None:
            raise ValueError("give 'index' or 'match', not both")
        if self.missing and self.nan == "error":
            raise ValueError("'missing' values become NaN: say what they are filled with, 'nan: {fill: 0}'")
        names = self.feature_names
        if len(set(names)) != len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise ValueError(f"feature {twice!r} is listed twice")
        return self

    @property
    def feature_expressions(self) -> dict[str, str]:
        """Map each feature's name to its expression, in order."""
        pairs: dict[str, str] = {}
        for feature in self.features:
            pairs.update({feature: feature} if isinstance(feature, str) else feature)
        return pairs

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in order, duplicates included."""
        return [name for f in self.features for name in ([f] if isinstance(f, str) else f)]


class Target(Strict):
    """What is learnt: classes (one condition each) or regression targets (one expression each)."""

    classes: Optional[Annotated[dict[Identifier, Expr], Field(min_length=2)]] = None
    regression: Optional[Annotated[dict[Identifier, Expr], Field(min_length=1)]] = None

    @model_validator(mode="after")
    def _one_kind(self) -> Target:
        if (self.classes is None) == (self.regression is None):
            raise ValueError("give exactly one of 'classes' and 'regression'")
        return self


class Split(Strict):
    """Fractions of the rows for training, validation and test, by a hash of the event's identity and ``seed``.

    With ``folds: k`` above 1, fold i is the test set of model i and ``test`` must be 0.
    """

    train: float = Field(default=0.7, gt=0, le=1)
    val: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.2, ge=0, lt=1)
    folds: int = Field(default=1, ge=1, le=100)
    seed: int = Field(default=1, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _whole(self) -> Split:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train + val + test is {self.train + self.val + self.test:g}, not 1")
        if self.folds > 1 and self.test > 0:
            raise ValueError("with folds every event is tested by the model that did not see it: set test to 0")
        return self


Compression = Literal["none", "lz4", "zstd"]


class DatasetOptions(Strict):
    """How the training data lie on disk. ``compression`` is for HDF5; readers then have to import hdf5plugin."""

    format: Literal["hdf5", "parquet"] = "hdf5"
    layout: Literal["tensors", "salt"] = "tensors"
    compression: Compression = "none"

    @model_validator(mode="after")
    def _layout(self) -> DatasetOptions:
        if self.format == "parquet" and (self.layout == "salt" or self.compression != "none"):
            raise ValueError("'layout: salt' and 'compression' are for HDF5: set format to hdf5")
        return self


_SIZES = {"kB": 1e3, "MB": 1e6, "GB": 1e9}


class Skim(Strict):
    """What a skim writes.

    ``keep`` has lines as in NanoAODTools: ``keep`` and ``drop`` with a wildcard, ``keepmatch`` and ``dropmatch`` with a
    regular expression for the whole name. The last line that fits a branch, defined ones included, decides; a branch
    that no line fits is kept. Without a ``target_size`` there is one output per input.
    """

    keep: list[Annotated[str, Field(pattern=r"^(keep|drop)(match)? +[^ ]+$")]] = []
    target_size: Optional[Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)? ?(kB|MB|GB)$")]] = None
    compression: Annotated[str, Field(pattern=r"^((zstd|zlib|lz4|lzma) [1-9]|none)$")] = "zstd 5"

    @field_validator("keep")
    @classmethod
    def _expressions(cls, keep: list[str]) -> list[str]:
        for rule in keep:
            command, pattern = rule.split()
            try:
                re.compile(pattern if command.endswith("match") else "")
            except re.error as error:
                raise ValueError(f"{rule!r}: not a regular expression: {error}") from None
        return keep

    @property
    def target_bytes(self) -> float | None:
        """``target_size`` as a number."""
        if self.target_size is None:
            return None
        return float(self.target_size[:-2]) * _SIZES[self.target_size[-2:]]


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


class _MomentumModel(Strict):
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


class ParticleNetModel(_MomentumModel):
    """ParticleNet: edge convolutions on a graph of neighbours (Qu, Gouskos, arXiv:1902.08570)."""

    type: Literal["particlenet"]
    embedding: int = Field(default=32, gt=0)
    convolutions: Annotated[list[Widths], Field(min_length=1)] = [[64, 64, 64], [128, 128, 128], [256, 256, 256]]
    neighbours: int = Field(default=16, gt=0)
    hidden: Widths = [256]
    dropout: Dropout = 0.1
    momenta: ClassVar[tuple[str, ...]] = ("eta", "phi")


class ParticleTransformerModel(_MomentumModel):
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
    network: Annotated[str, Field(pattern=r"^[^:]+:[A-Za-z]\w*$")]
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


class _Loss(Strict):
    """A loss. ``suffixes`` are appended to the name of a class or target for each output, the prediction first."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """By default there is the prediction and nothing else."""
        return ("",)

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles that are predicted, in the order of the outputs; by default none."""
        return ()


class CrossEntropyLoss(_Loss):
    """The cross entropy, with labels smoothed by a share of ``label_smoothing`` (Szegedy et al., arXiv:1512.00567)."""

    type: Literal["cross_entropy"]
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class FocalLoss(_Loss):
    """The focal loss, which cares less for what is easy (Lin et al., arXiv:1708.02002)."""

    type: Literal["focal"]
    gamma: float = Field(default=2.0, ge=0)


class RegressionLoss(_Loss):
    """A loss of regression targets. ``weights`` are those of the targets among each other, 1 where none is given."""

    weights: dict[Identifier, Positive] = {}


class SquaredLoss(RegressionLoss):
    """The squared error; its least is at the mean."""

    type: Literal["mse"]


class AbsoluteLoss(RegressionLoss):
    """The absolute error; its least is at the median."""

    type: Literal["mae"]


class LogCoshLoss(RegressionLoss):
    """ln cosh of the error: its square where it is small, its absolute value where it is large."""

    type: Literal["log_cosh"]


class GaussianLoss(RegressionLoss):
    """Minus the log likelihood of a Gaussian whose mean and sigma are predicted (Nix, Weigend, ICNN 1994)."""

    type: Literal["gaussian"]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The mean, and ``<target>_sigma``."""
        return ("", "_sigma")


class QuantileLoss(RegressionLoss):
    """Quantiles of the target (Koenker, Bassett, Econometrica 46 (1978) 33); the median is the prediction."""

    type: Literal["quantile"]
    quantiles: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)] = [0.16, 0.5, 0.84]

    @model_validator(mode="after")
    def _median(self) -> QuantileLoss:
        if 0.5 not in self.quantiles:
            raise ValueError("the quantiles lack 0.5, the median: it is what is predicted, the others say how well")
        if sorted(set(self.quantiles)) != self.quantiles:
            raise ValueError("write each quantile once, in ascending order")
        return self

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles, the median first."""
        return (0.5, *(q for q in self.quantiles if q != 0.5))

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The median, and the others as ``<target>_q16``, or ``<target>_q2p5`` for 0.025."""
        return ("", *(f"_q{100 * level:.6g}".replace(".", "p") for level in self.levels[1:]))


def _by_type(block: Any) -> Any:
    """Accept ``loss: focal`` for ``loss: {type: focal}``, and the like."""
    return {"type": block} if isinstance(block, str) else block


Loss = Annotated[
    Annotated[
        Union[CrossEntropyLoss, FocalLoss, SquaredLoss, AbsoluteLoss, LogCoshLoss, GaussianLoss, QuantileLoss],
        Field(discriminator="type"),
    ],
    BeforeValidator(_by_type),
]


class _Schedule(Strict):
    """How the learning rate changes. It rises for a share ``warmup`` of all steps (Goyal et al., arXiv:1706.02677)."""

    warmup: float = Field(default=0.0, ge=0, lt=1)


class ConstantSchedule(_Schedule):
    """The same learning rate throughout."""

    type: Literal["constant"]


class CosineSchedule(_Schedule):
    """Down along a cosine (Loshchilov, Hutter, arXiv:1608.03983) to a share ``final`` of the learning rate."""

    type: Literal["cosine"]
    warmup: float = Field(default=0.05, ge=0, lt=1)
    final: float = Field(default=0.0, ge=0, le=1)


class OneCycleSchedule(_Schedule):
    """Up from a share ``start`` of the learning rate and down to ``final`` (Smith, Topin, arXiv:1708.07120)."""

    type: Literal["one_cycle"]
    warmup: float = Field(default=0.3, ge=0, lt=1)
    start: float = Field(default=0.04, ge=0, le=1)
    final: float = Field(default=4e-6, ge=0, le=1)


class PlateauSchedule(_Schedule):
    """Times ``factor`` whenever the validation loss has not improved for more than ``patience`` epochs."""

    type: Literal["plateau"]
    factor: float = Field(default=0.3, gt=0, lt=1)
    patience: int = Field(default=2, ge=0)


Schedule = Annotated[
    Annotated[Union[ConstantSchedule, CosineSchedule, OneCycleSchedule, PlateauSchedule], Field(discriminator="type")],
    BeforeValidator(_by_type),
]


def _regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r}: not a regular expression: {error}") from None
    return pattern


def _rate_or_auto(value: Any) -> Any:
    """Say all that a learning rate may be, where a union would name one alternative."""
    try:
        known = value == "auto" or float(value) > 0
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ValueError("should be a number greater than 0, or 'auto'")
    return value


class Init(Strict):
    """Begin with the weights of another ``run``, as far as name and shape agree, and do not train some of them.

    A parameter whose whole name a regular expression of ``freeze`` matches stays as it is.
    """

    run: str
    freeze: Annotated[list[Annotated[str, AfterValidator(_regular_expression)]], BeforeValidator(_one_as_list)] = []


class Training(Strict):
    """How the model is fitted.

    ``learning_rate: auto`` looks for a good one first; ``schedule`` says how it changes. ``batch_size`` is that of each
    process; every batch is worked through in ``accumulation`` parts, which needs less memory and gives the same step.
    ``gradient_clip`` is the largest norm of the gradient. ``precision`` below fp32 is mixed precision.
    ``workers`` is the number of threads that read rows ahead; by default one per two cores, at most 4.
    ``loss`` is the cross entropy of classes, or the squared error of a regression, unless it says otherwise.
    """

    epochs: int = Field(default=20, gt=0)
    batch_size: int = Field(default=1024, gt=0)
    accumulation: int = Field(default=1, gt=0)
    learning_rate: Annotated[Union[Literal["auto"], float], BeforeValidator(_rate_or_auto)] = 1e-3
    schedule: Schedule = ConstantSchedule(type="constant")
    optimizer: Literal["adamw", "radam", "sgd"] = "adamw"
    weight_decay: float = Field(default=1e-2, ge=0)
    gradient_clip: Optional[Positive] = None
    patience: int = Field(default=5, gt=0)
    class_balance: Literal["none", "counts", "weights"] = "weights"
    seed: int = Field(default=1, ge=0, lt=2**32)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    in_memory: Literal["auto", "always", "never"] = "auto"
    workers: Optional[int] = Field(default=None, ge=1, le=64)
    loss: Optional[Loss] = None
    init: Optional[Init] = None


class Analysis(Strict):
    """The whole analysis file. ``lumi`` is in 1/pb, ``xsec`` of a sample in pb."""

    name: Identifier
    tree: str = "Events"
    samples: Annotated[dict[Identifier, Sample], Field(min_length=1)]
    functions: list[Annotated[str, Field(pattern=r"^[^:]+:\w+$")]] = []
    define: dict[Identifier, Expr] = {}
    select: Cuts = {}
    select_for: dict[Literal["skim", "convert", "predict"], Cuts] = {}
    golden_json: Optional[str] = None
    skim: Skim = Skim()
    row: Identifier = "event"
    inputs: Annotated[dict[Identifier, Input], Field(min_length=1)]
    target: Optional[Target] = None
    weight: Expr = "1"
    lumi: float = Field(default=1.0, gt=0)
    keep: list[str] = []
    split: Split = Split()
    dataset: DatasetOptions = DatasetOptions()
    model: Model = MLPModel(type="mlp")
    training: Training = Training()

    @field_validator("inputs")
    @classmethod
    def _reserved(cls, inputs: dict[str, Input]) -> dict[str, Input]:
        reserved = {"target", "weight", "fold", "id", "keep", "normalisation", "split"}
        for name in inputs:
            if name in reserved or name.endswith("_mask"):
                raise ValueError(f"{name!r} is a name of the dataset itself: call the input something else")
        return inputs

    @model_validator(mode="after")
    def _consistent(self) -> Analysis:
        if self.golden_json and not any(s.data for s in self.samples.values()):
            raise ValueError("'golden_json' masks data only, and no sample says 'data: true'")
        for name, sample in self.samples.items():
            twice = set(sample.select) & {*self.select, *(cut for cuts in self.select_for.values() for cut in cuts)}
            if twice:
                raise ValueError(f"samples.{name}.select.{twice.pop()}: a cut of the analysis has this name")
        simulated = {n: s.xsec for n, s in self.samples.items() if not s.data}
        without = [n for n, xsec in simulated.items() if xsec is None]
        if without and len(without) < len(simulated):
            raise ValueError(f"samples.{without[0]}: has no 'xsec' while others have: their weights would not compare")
        self._check_names()
        self._check_loss()
        if isinstance(self.model, _MomentumModel):
            self.model.check(self.inputs)
        if self.row == "event":
            for name, block in self.inputs.items():
                if block.index or block.match:
                    raise ValueError(f"inputs.{name}: 'index' and 'match' attach constituents to 'row: <collection>'")
        return self

    def _check_names(self) -> None:
        """Refuse columns that would take the place of the dataset's own where a layout has but one level of names."""
        identity = {"run", "luminosityBlock", "event"}
        for name in identity & set(self.define):
            raise ValueError(f"define.{name}: {name} identifies the event: give the new column another name")
        for name in {"entry", "object"} & set(self.keep):
            raise ValueError(f"keep.{name}: predictions have a column of this name: define another name for it")
        if self.dataset.format == "hdf5" and self.dataset.layout == "tensors":
            return
        own = {"label", "weight", "fold", "entry", "sample", "file"}
        rows = [n for i in self.inputs.values() if i.collection is None for n in i.feature_names]
        features = rows if self.dataset.layout == "salt" else []
        for key, names, refused in (
            ("keep", self.keep, own),
            ("target.regression", self.regression, own | identity),
            ("inputs", features, own),
        ):
            for name in refused & set(names):
                raise ValueError(f"{key}: {name!r} is a column of the dataset itself: give yours another name")

    def _check_loss(self) -> None:
        """Refuse a loss of another task, and names that two outputs would share."""
        loss, targets = self.training.loss, self.regression
        if loss is None:
            return
        if isinstance(loss, RegressionLoss) != bool(targets):
            known = "mse, mae, log_cosh, gaussian or quantile" if targets else "cross_entropy or focal"
            task = "a regression" if targets else "a classification"
            raise ValueError(f"training.loss: {loss.type!r} does not fit {task}: use {known}")
        unknown = (FocalLoss, LogCoshLoss, GaussianLoss)
        smoothed = isinstance(loss, CrossEntropyLoss) and loss.label_smoothing > 0
        if isinstance(self.model, LightGBMModel) and (isinstance(loss, unknown) or smoothed):
            what = "label smoothing" if smoothed else repr(loss.type)
            raise ValueError(f"training.loss: lightgbm has no {what}: use mse, mae, quantile or cross_entropy")
        if isinstance(loss, RegressionLoss):
            for name in loss.weights:
                if name not in targets:
                    raise ValueError(f"training.loss.weights.{name}: no such target; known: {', '.join(targets)}")
            outputs = [target + suffix for target in targets for suffix in loss.suffixes]
            twice = next((name for name in outputs if outputs.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"training.loss: two outputs would be called {twice!r}: rename a target")

    @property
    def classes(self) -> dict[str, str]:
        """Class names and conditions; without a ``target``, one class per sample label. Empty for a regression."""
        if self.target is not None:
            return self.target.classes or {}
        labels = dict.fromkeys(s.label for s in self.samples.values() if s.label is not None)
        return {str(label): f"label == '{label}'" for label in labels}

    @property
    def regression(self) -> dict[str, str]:
        """Regression targets and their expressions; empty for a classification."""
        return (self.target.regression or {}) if self.target is not None else {}

    def cuts(self, stage: str) -> dict[str, str]:
        """Return the named cuts of a stage ("skim", "convert" or "predict"), in order."""
        return dict(self.select_for.get(stage, self.select))  # type: ignore[call-overload]

    def dataset_part(self) -> dict[str, Any]:
        """Return, as plain JSON types, all that a dataset depends on.

        That is everything but name, generators, skim, model and training. Of the files that the analysis names beside
        the samples, the lumi mask and the user's functions, the content counts too.
        """
        others = dict.fromkeys(("name", "skim", "model", "training", "select_for"), True)
        content = self.model_dump(mode="json", exclude={**others, "samples": {"__all__": {"generator"}}})
        return content | {"select": self.cuts("convert"), "sha256": self._digests_of_columns()}

    def skim_part(self) -> dict[str, Any]:
        """Return all that a skim depends on, in the same way."""
        keys = {"tree", "functions", "define", "golden_json", "row", "skim"}
        samples = {"__all__": {"files", "dataset", "label", "select", "data"}}
        content = self.model_dump(mode="json", include={**dict.fromkeys(keys, True), "samples": samples})
        return content | {"select": self.cuts("skim"), "sha256": self._digests_of_columns()}

    def digests(self) -> dict[str, str | None]:
        """Return the SHA-256 of the files of the user's functions, lumi mask and network, by name."""
        own = [self.model.network.rpartition(":")[0]] if isinstance(self.model, CustomModel) else []
        return self._digests_of_columns() | {name: _sha256(name) for name in own}

    def _digests_of_columns(self) -> dict[str, str | None]:
        """Return those that a dataset depends on."""
        others = [f.partition(":")[0] for f in self.functions] + ([self.golden_json] if self.golden_json else [])
        return {name: _sha256(name) for name in others}


def _sha256(path: str) -> str | None:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:  # a module on PYTHONPATH, or a file whose absence is reported where it is used
        return None
