"""What an analysis file may say: typed, frozen, and closed (an unknown key is an error)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

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


class Sample(Strict):
    """One sample: its files, its label, and how it is normalised.

    ``xsec`` is in pb. ``sumw`` replaces the sum of generator weights that is otherwise taken from the ``Runs`` trees;
    ``sumw: events`` sums the weight over the events read, which is right only for files that nobody skimmed.
    """

    files: Annotated[Optional[Annotated[list[str], Field(min_length=1)]], BeforeValidator(_one_as_list)] = None
    dataset: Optional[str] = Field(default=None, pattern=r"^/[^/]+/[^/]+/[^/]+$")
    label: Optional[str] = Field(default=None, pattern=r"^[^'\"\\\n]+$")
    xsec: Optional[float] = Field(default=None, gt=0)
    sumw: Union[float, Literal["events"], None] = None
    weight: Optional[Expr] = None
    select: Cuts = {}
    data: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Sample:
        if (self.files is None) == (self.dataset is None):
            raise ValueError("give exactly one of 'files' and 'dataset'")
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


class DatasetOptions(Strict):
    """How the training data lie on disk."""

    format: Literal["hdf5", "parquet"] = "hdf5"
    layout: Literal["tensors", "salt"] = "tensors"

    @model_validator(mode="after")
    def _layout(self) -> DatasetOptions:
        if self.format == "parquet" and self.layout == "salt":
            raise ValueError("layout 'salt' is an HDF5 layout: set format to hdf5")
        return self


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


Model = Annotated[Union[MLPModel, DeepSetsModel], Field(discriminator="type")]


class Training(Strict):
    """How the model is fitted."""

    epochs: int = Field(default=20, gt=0)
    batch_size: int = Field(default=1024, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    patience: int = Field(default=5, gt=0)
    class_balance: Literal["none", "counts", "weights"] = "weights"
    seed: int = Field(default=1, ge=0, lt=2**32)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    in_memory: Literal["auto", "always", "never"] = "auto"


class Analysis(Strict):
    """The whole analysis file. ``lumi`` is in 1/pb, ``xsec`` of a sample in pb."""

    name: Identifier
    tree: str = "Events"
    samples: Annotated[dict[Identifier, Sample], Field(min_length=1)]
    functions: list[Annotated[str, Field(pattern=r"^[^:]+:\w+$")]] = []
    define: dict[Identifier, Expr] = {}
    select: Cuts = {}
    select_for: dict[Literal["convert", "predict"], Cuts] = {}
    golden_json: Optional[str] = None
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
        simulated = {n: s.xsec for n, s in self.samples.items() if not s.data}
        without = [n for n, xsec in simulated.items() if xsec is None]
        if without and len(without) < len(simulated):
            raise ValueError(f"samples.{without[0]}: has no 'xsec' while others have: their weights would not compare")
        if self.row == "event":
            for name, block in self.inputs.items():
                if block.index or block.match:
                    raise ValueError(f"inputs.{name}: 'index' and 'match' attach constituents to 'row: <collection>'")
        return self

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
        """Return the named cuts of a stage ("convert" or "predict"), in order."""
        return dict(self.select_for.get(stage, self.select))  # type: ignore[call-overload]

    def dataset_part(self) -> dict[str, Any]:
        """Return, as plain JSON types, all that a dataset depends on: everything but name, model and training.

        Of the files that the analysis names beside the samples, the lumi mask and the user's functions, the content
        counts too.
        """
        content = self.model_dump(mode="json", exclude={"name", "model", "training", "select_for"})
        others = [f.partition(":")[0] for f in self.functions] + ([self.golden_json] if self.golden_json else [])
        return content | {"select": self.cuts("convert"), "sha256": {name: _sha256(name) for name in others}}


def _sha256(path: str) -> str | None:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:  # a module on PYTHONPATH, or a file whose absence is reported where it is used
        return None
