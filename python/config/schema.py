"""The analysis file as a whole: typed, frozen, and closed (an unknown key is an error)."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from ..errors import nearest
from ..registry import names_of
from .base import Cuts, Expr, FileName, Identifier, Strict, of_form, one_as_list
from .batch import BatchBlock
from .cmssw import CmsRun
from .evaluation import Evaluation
from .features import as_columns
from .generator import Generator
from .grids import check_augmentation, check_images
from .inputs import Input
from .loss_options import LossOptions
from .model_options import ModelOptions
from .models import Model
from .search import Search
from .tracking import Tracking
from .training import Training

REDIRECTORS = ("root://cms-xrd-global.cern.ch/",)
"""Where files with logical names (``/store/...``) are read from, in the order of trying."""
IDENTITY = ("run", "luminosityBlock", "event")
"""The columns that identify an event, unless the analysis names others."""
Redirector = Annotated[str, of_form(r"x?roots?://[\w.@:-]+/*", "the address of a server, such as root://server/")]


class Sample(Strict):
    """One sample: its files, its label, and how it is normalised.

    A ``generator`` may stand beside ``files``: these are what ``nanoforge generate`` made and the other stages read.
    ``xsec`` is in pb. ``sumw`` replaces the sum of generator weights that is otherwise taken from the ``Runs`` trees;
    ``sumw: events`` sums the weight over the events read, which is right only for files that nobody skimmed.
    """

    files: Annotated[Optional[Annotated[list[str], Field(min_length=1)]], BeforeValidator(one_as_list)] = None
    """Files, globs, lists of files (``.txt``), addresses (``root://``, ``https://``): one or several."""
    dataset: Optional[Annotated[str, of_form("/[^/]+/[^/]+/[^/]+", "a dataset of DAS, /primary/processed/TIER")]] = None
    """A dataset of DAS, in place of files."""
    generator: Optional[Generator] = None
    """How the sample is generated; ``files`` beside it are what was made."""
    label: Optional[Identifier] = None
    """The class of the sample; several samples may share one."""
    xsec: Optional[float] = Field(default=None, gt=0)
    """Cross section in pb."""
    sumw: Union[
        float, Literal["events"], Annotated[str, of_form(r".+\.ya?ml", "a number, events, or a file")], None
    ] = None
    """The sum of generator weights of all events; ``events``: the sum over the events read; or the ``samples.yaml`` of
    a production, which has it. Default: ``genEventSumw`` of the ``Runs`` trees.
    """
    weight: Optional[Expr] = None
    """The weight of this sample's events, in place of the common one; data among simulation need ``weight: 1``."""
    select: Cuts = {}
    """Further cuts, for this sample only."""
    data: bool = False
    """Data have no cross section, and the lumi mask is for them."""

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


class TargetBlock(Strict):
    """What is learnt: classes (one condition each) or regression targets (one expression each)."""

    classes: Optional[Annotated[dict[Identifier, Expr], Field(min_length=2)]] = None
    """A condition for each class: ``{b: "hadronFlavour == 5", light: "hadronFlavour == 0"}``."""
    regression: Optional[Annotated[dict[Identifier, Expr], Field(min_length=1)]] = None
    """An expression for each target. Where it is NaN or missing, the row does not count for this target."""

    @model_validator(mode="after")
    def _one_kind(self) -> TargetBlock:
        if (self.classes is None) == (self.regression is None):
            raise ValueError("give exactly one of 'classes' and 'regression'")
        return self


class Split(Strict):
    """Fractions of the rows for training, validation and test, by a hash of the event's identity and ``seed``.

    With ``folds: k`` above 1, fold i is the test set of model i and ``test`` must be 0. ``train: 0`` makes a dataset
    that serves just to evaluate models on it.
    """

    train: float = Field(default=0.7, ge=0, le=1)
    """Share of the training."""
    val: float = Field(default=0.1, ge=0, lt=1)
    """Share of the validation."""
    test: float = Field(default=0.2, ge=0, le=1)
    """Share of the test; 0 with folds."""
    folds: int = Field(default=1, ge=1, le=100)
    """So many models are trained, each tested on the events that it did not see."""
    seed: int = Field(default=1, ge=0, lt=2**63)
    """Another seed is another split."""

    @model_validator(mode="after")
    def _whole(self) -> Split:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train + val + test is {self.train + self.val + self.test:g}, not 1")
        if self.train == 0 and self.val > 0:
            raise ValueError("nothing is validated without training rows: set val to 0 and test to 1")
        if self.folds > 1 and self.test > 0:
            raise ValueError("with folds every event is tested by the model that did not see it: set test to 0")
        return self


Compression = Literal["none", "lz4", "zstd"]


def _dataset_format(name: str) -> str:
    """Refuse a name that is no format's; a user's own is looked at when it is needed."""
    formats = names_of("dataset format", f"{__package__.rpartition('.')[0]}.dataset.formats")
    if ":" not in name and name not in formats:
        raise ValueError(
            f"there is no format {name!r}: use {', '.join(formats)} or module:Class{nearest(name, formats)}"
        )
    return name


class DatasetOptions(Strict):
    """How the training data lie on disk. ``compression`` is for HDF5; readers then have to import hdf5plugin."""

    format: Annotated[str, AfterValidator(_dataset_format)] = "hdf5"
    """What ``convert`` writes: ``hdf5``, ``parquet``, ``salt`` (of HDF5 the layout of that name), or a format of yours,
    ``module:Class``.
    """
    layout: Literal["tensors", "salt"] = "tensors"
    """Of HDF5: our own, or salt's."""
    compression: Compression = "none"
    """Of HDF5: none is fastest, ``lz4`` takes 0.4 of the space, ``zstd`` 0.3."""

    @model_validator(mode="before")
    @classmethod
    def _salt(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("format") == "salt":
            return content | {"format": "hdf5", "layout": "salt"}
        return content

    @model_validator(mode="after")
    def _layout(self) -> DatasetOptions:
        if self.format != "hdf5" and (self.layout == "salt" or self.compression != "none"):
            raise ValueError("'layout: salt' and 'compression' are for HDF5: set format to hdf5")
        return self


_Rule = Annotated[
    str, of_form("(keep|drop)(match)? +[^ ]+", "keep, drop, keepmatch or dropmatch and what they concern: keep Jet_*")
]
_SIZES = {"kB": 1e3, "MB": 1e6, "GB": 1e9}


class Skim(Strict):
    """What a skim writes.

    ``keep`` has lines as in NanoAODTools: ``keep`` and ``drop`` with a wildcard, ``keepmatch`` and ``dropmatch`` with a
    regular expression for the whole name. The last line that fits a branch, defined ones included, decides; a branch
    that no line fits is kept. Without a ``target_size`` there is one output per input.
    """

    keep: list[_Rule] = []
    """Lines as in NanoAODTools, of which the last that fits a branch decides: ``["drop *", "keep Jet_*"]``."""
    target_size: Optional[
        Annotated[str, of_form(r"[0-9]+(\.[0-9]+)? ?(kB|MB|GB)", "a size in kB, MB or GB: 500 MB")]
    ] = None
    """Small inputs are merged up to this size (``500 MB``)."""
    compression: Annotated[
        str, of_form("(zstd|zlib|lz4|lzma) [1-9]|none", "zstd, zlib, lz4 or lzma and a level (zstd 5), or none")
    ] = "zstd 5"
    """Of the files that are written, with its level."""

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


class Analysis(Strict):
    """The whole analysis file. ``lumi`` is in 1/pb, ``xsec`` of a sample in pb."""

    name: FileName
    """Of the analysis; score branches begin with it."""
    tree: str = "Events"
    """The TTree or RNTuple with the events; ``dir/tree`` works."""
    samples: Annotated[dict[FileName, Sample], Field(min_length=1)]
    """The samples by name."""
    include: Annotated[list[str], BeforeValidator(one_as_list)] = Field(default=[], exclude=True)
    """Files whose ``samples`` are taken over, as ``nanoforge catalogue`` and ``produce`` write them; what stands here
    has the last word.
    """
    redirectors: Annotated[list[Redirector], BeforeValidator(one_as_list), Field(min_length=1)] = [*REDIRECTORS]
    """Servers for files with logical names (``/store/...``, DAS), in the order of trying."""
    functions: list[Annotated[str, of_form(r"[^:]+:\w+", "module:function")]] = []
    """Functions of yours for expressions, as ``module:name``; the module lies beside this file or on ``PYTHONPATH``."""
    formats: list[Annotated[str, of_form(r"[^:]+:\w+", "module:Class")]] = []
    """Formats of yours for input files, as ``module:Class``, derived from ``nanoforge.events.format.InputFormat``."""
    collections: dict[Identifier, Annotated[dict[Identifier, str], Field(min_length=1)]] = {}
    """Lists whose names do not say that they describe the same objects: ``{Muon: {pt: muon_pt, eta: mu_eta}}``."""
    define: dict[Identifier, Expr] = {}
    """New columns, in order."""
    select: Cuts = {}
    """Named cuts, all of which an event (or row) has to pass; reported as a cut flow."""
    select_for: dict[Literal["skim", "convert", "predict"], Cuts] = {}
    """Other cuts for a stage, in place of ``select``: ``{predict: {}}`` scores all events."""
    golden_json: Optional[str] = None
    """Lumi mask for samples with ``data: true``."""
    identity: Annotated[Optional[Annotated[list[str], Field(min_length=1)]], BeforeValidator(one_as_list)] = None
    """The integer columns that identify an event, by default ``[run, luminosityBlock, event]``. All files need them, or
    none.
    """
    skim: Skim = Skim()
    """What ``nanoforge skim`` keeps."""
    row: Identifier = "event"
    """What a row of the dataset is: ``event``, or a collection (one row for each jet, say)."""
    inputs: Annotated[dict[Identifier, Input], Field(min_length=1)]
    """What the model sees, by name."""
    target: Optional[TargetBlock] = None
    """What is learnt; by default one class for each label."""
    weight: Expr = "1"
    """Physics weight; with ``xsec`` and ``lumi`` it becomes xsec · lumi / sum of weights · weight."""
    lumi: float = Field(default=1.0, gt=0)
    """Integrated luminosity in 1/pb."""
    keep: list[str] = []
    """Columns that are carried along to the dataset and the predictions."""
    split: Split = Split()
    """Shares of training, validation and test, or folds."""
    dataset: DatasetOptions = DatasetOptions()
    """How the training data lie on disk."""
    model: Model = Field(default={"type": "mlp"}, validate_default=True)
    """The model and its options."""
    training: Training = Training()
    """How it is fitted."""
    evaluation: Evaluation = Evaluation()
    """Metrics and figures of yours."""
    tracking: Tracking = Tracking()
    """Where trainings and evaluations are recorded."""
    search: Optional[Search] = None
    """What ``nanoforge tune`` varies."""
    batch: BatchBlock = Field(default_factory=BatchBlock)
    """How the stages run as batch jobs."""
    cmssw: Optional[CmsRun] = None
    """What only the CMSSW chain needs to know."""

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
        check_images(self.inputs, self.row)
        check_augmentation(self.inputs, self.training.augment)
        if self.training.balance.shape is not None:
            rows = [name for i in self.inputs.values() if i.collection is None for name in i.feature_names]
            columns = dict.fromkeys([*self.regression, *rows, *self.keep])
            self.training.balance.shape.check(columns, self.classes)
        self.check_model(self.model, self.training.loss)
        self._check_evaluation()
        return self

    def _check_evaluation(self) -> None:
        """Refuse ranges of what is no target, backgrounds that are no class, and titles of what there is not."""
        for name in self.evaluation.range:
            if name not in self.regression:
                near = nearest(name, self.regression)
                raise ValueError(f"evaluation.range.{name}: is no target of a regression{near}")
        for name, point in self.evaluation.working_points.items():
            if point.against is not None and point.against not in self.classes:
                near = nearest(point.against, self.classes)
                raise ValueError(f"evaluation.working_points.{name}.against: there is no class {point.against!r}{near}")
        names = [*self.classes, *self.regression, *self.keep, *(f"num({name})" for name in self.inputs)]
        names += [f"{name}.{feature}" for name, block in self.inputs.items() for feature in block.feature_names]
        for name in self.evaluation.titles:
            if name not in names:
                near = nearest(name, names)
                raise ValueError(f"evaluation.titles.{name}: is no feature, column of keep, target or class{near}")

    def check_model(self, model: ModelOptions, loss: LossOptions | None) -> None:
        """Raise a ValueError where inputs, targets or rows do not fit the model or the loss.

        A model and a loss of the user's own are not known before they are imported, when it is trained.
        """
        if loss is not None:
            task = "regression" if self.regression else "classification"
            if loss.task not in (None, task):
                raise ValueError(f"training.loss: {loss.type!r} does not fit a {task}: use {model.losses(task)}")
            model.check_loss(loss)
            loss.check(self.regression)
        model.check(self.inputs)
        for name, block in self.inputs.items():
            if self.row == "event" and (block.index or block.match or block.all):
                raise ValueError(
                    f"inputs.{name}: 'index', 'match' and 'all' attach constituents to 'row: <collection>'"
                )

    def _check_names(self) -> None:
        """Refuse columns that would take the place of the dataset's own where a layout has but one level of names."""
        self._check_identity()
        identity = set(self.identity_columns)
        for name in {"entry", "object"} & set(self.keep):
            raise ValueError(f"keep.{name}: predictions have a column of this name: define another name for it")
        if self.dataset.format == "hdf5" and self.dataset.layout == "tensors":
            return
        drawn = next((name for name, block in self.inputs.items() if block.image is not None), None)
        if self.dataset.layout == "salt" and drawn is not None:
            raise ValueError(f"dataset.layout: salt has no images, and inputs.{drawn} is one: write tensors")
        reserved = {"label", "weight", "fold", "entry", "sample", "file"}
        rows = [n for i in self.inputs.values() if i.collection is None for n in i.feature_names]
        features = rows if self.dataset.layout == "salt" else []
        for key, names, refused in (
            ("keep", self.keep, reserved),
            ("target.regression", self.regression, reserved | identity),
            ("inputs", features, reserved | identity),
        ):
            for name in refused & set(names):
                raise ValueError(f"{key}: {name!r} is a column of the dataset itself: give yours another name")

    def _check_identity(self) -> None:
        """Refuse an identity that other columns would take the place of."""
        identity = self.identity_columns
        for name in IDENTITY:
            if name in self.define:
                columns = ", ".join(self.define.get(column, column) for column in IDENTITY)
                raise ValueError(
                    f"define.{name}: {name} identifies the event: name the columns that do so in your files, e.g. "
                    f"'identity: [{columns}]', or give the new column another name"
                )
        for name in {"label", "weight", "fold", "entry", "sample", "file", "object"} & set(identity):
            raise ValueError(f"identity: {name!r} is a column of the dataset itself: define another name for it")
        if len(set(identity)) < len(identity):
            raise ValueError("identity: a column is listed twice")

    @property
    def task(self) -> str:
        """What is learnt: "classification" or "regression"."""
        return "regression" if self.regression else "classification"

    @property
    def identity_columns(self) -> tuple[str, ...]:
        """The columns that identify an event."""
        return tuple(self.identity or IDENTITY)

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

        That is everything but name, redirectors, generators, skim, model, training, evaluation, tracking, search, batch
        and cmssw. Of the files that the analysis names beside the samples (lumi mask, user's functions) the content
        counts too.
        """
        keys = (
            "name",
            "redirectors",
            "skim",
            "model",
            "training",
            "search",
            "batch",
            "cmssw",
            "select_for",
            "evaluation",
            "tracking",
        )
        others = dict.fromkeys(keys, True)
        apart = {"samples": {"__all__": {"generator"}}, "inputs": {"__all__": {"all"}}}
        content = self.model_dump(mode="json", exclude={**others, **apart})
        for block in content["inputs"].values():  # what a model makes of the features is no matter of the dataset
            del block["pca"]
            block["features"] = as_columns(block["features"])
            block["scale"] = block["scale"] if block["image"] else {}
        return content | {"select": self.cuts("convert"), "sha256": self._digests_of_columns()}

    def skim_part(self) -> dict[str, Any]:
        """Return all that a skim depends on, in the same way."""
        keys = {"tree", "functions", "formats", "collections", "define", "golden_json", "row", "skim"}
        samples = {"__all__": {"files", "dataset", "label", "select", "data"}}
        content = self.model_dump(mode="json", include={**dict.fromkeys(keys, True), "samples": samples})
        return content | {"select": self.cuts("skim"), "sha256": self._digests_of_columns()}

    def settings(self, stage: str) -> dict[str, Any]:
        """Return the keys that the result of a stage ("skim", "convert" or "train") depends on, as they are written."""
        if stage == "train":
            return self.model_dump(mode="json", exclude={"evaluation", "tracking", "search", "batch", "redirectors"})
        part = self.dataset_part() if stage == "convert" else self.skim_part()
        return self.model_dump(mode="json", include={*part, "select_for"})

    def digests(self) -> dict[str, str | None]:
        """Return the SHA-256 of the files of the user's functions, lumi mask, network and loss, by name."""
        codes = [self.model.code, None if self.training.loss is None else self.training.loss.code]
        files = [code.rpartition(":")[0] for code in codes if code is not None]
        return self._digests_of_columns() | {name: _sha256(name) for name in files}

    def evaluation_digests(self) -> dict[str, str | None]:
        """Return the SHA-256 of the files of metrics and figures of the user's, by name."""
        return {name: _sha256(name) for name in (spec.rpartition(":")[0] for spec in self.evaluation.specs)}

    def generator_files(self) -> list[str]:
        """Return the files that the generators read (LHE, SLHA)."""
        return [path for s in self.samples.values() if s.generator is not None for path in s.generator.files.values()]

    def _digests_of_columns(self) -> dict[str, str | None]:
        """Return those that a dataset depends on."""
        specs = [*self.functions, *self.formats, *([self.dataset.format] if ":" in self.dataset.format else [])]
        others = [spec.partition(":")[0] for spec in specs] + ([self.golden_json] if self.golden_json else [])
        return {name: _sha256(name) for name in others}


def _sha256(path: str) -> str | None:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:  # a module on PYTHONPATH, or a file whose absence is reported where it is used
        return None
