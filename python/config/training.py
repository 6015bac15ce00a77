"""How the model is fitted: loss, schedule, and the rest."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Optional, Union

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .balance import Balance
from .base import Identifier, Positive, Strict, by_type, one_as_list


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

    @property
    def ranks(self) -> tuple[int, ...]:
        """Where each output of a target stands among its values when they are sorted; by default they are not."""
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
    """Quantiles of the target (Koenker, Bassett, Econometrica 46 (1978) 33); the median is the prediction.

    They are learnt one by one, so that in some rows a lower one may lie above a higher one. With ``sort`` the model
    puts the values of each row in order, which is never worse (Chernozhukov, Fernandez-Val, Galichon, Econometrica 78
    (2010) 1093).
    """

    type: Literal["quantile"]
    quantiles: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)] = [0.16, 0.5, 0.84]
    sort: bool = False

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
    def ranks(self) -> tuple[int, ...]:
        """Where each level, in the order of the outputs, stands among them; empty where nothing is sorted."""
        return tuple(self.quantiles.index(level) for level in self.levels) if self.sort else ()

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The median, and the others as ``<target>_q16``, or ``<target>_q2p5`` for 0.025."""
        return ("", *(f"_q{100 * level:.6g}".replace(".", "p") for level in self.levels[1:]))


Loss = Annotated[
    Annotated[
        Union[CrossEntropyLoss, FocalLoss, SquaredLoss, AbsoluteLoss, LogCoshLoss, GaussianLoss, QuantileLoss],
        Field(discriminator="type"),
    ],
    BeforeValidator(by_type),
]


class _Schedule(Strict):
    """How the learning rate changes. It rises for a share ``warmup`` of all steps (Goyal et al., arXiv:1706.02677)."""

    warmup: float = Field(default=0.0, ge=0, lt=1)

    @property
    def uses_epochs(self) -> bool:
        """Whether the learning rate of a step depends on how many epochs there will be."""
        return self.warmup > 0


class ConstantSchedule(_Schedule):
    """The same learning rate throughout."""

    type: Literal["constant"]


class CosineSchedule(_Schedule):
    """Down along a cosine (Loshchilov, Hutter, arXiv:1608.03983) to a share ``final`` of the learning rate."""

    type: Literal["cosine"]
    warmup: float = Field(default=0.05, ge=0, lt=1)
    final: float = Field(default=0.0, ge=0, le=1)
    uses_epochs: ClassVar[bool] = True


class OneCycleSchedule(_Schedule):
    """Up from a share ``start`` of the learning rate and down to ``final`` (Smith, Topin, arXiv:1708.07120)."""

    type: Literal["one_cycle"]
    warmup: float = Field(default=0.3, ge=0, lt=1)
    start: float = Field(default=0.04, ge=0, le=1)
    final: float = Field(default=4e-6, ge=0, le=1)
    uses_epochs: ClassVar[bool] = True


class PlateauSchedule(_Schedule):
    """Times ``factor`` whenever the validation loss has not improved for more than ``patience`` epochs."""

    type: Literal["plateau"]
    factor: float = Field(default=0.3, gt=0, lt=1)
    patience: int = Field(default=2, ge=0)


Schedule = Annotated[
    Annotated[Union[ConstantSchedule, CosineSchedule, OneCycleSchedule, PlateauSchedule], Field(discriminator="type")],
    BeforeValidator(by_type),
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
    freeze: Annotated[list[Annotated[str, AfterValidator(_regular_expression)]], BeforeValidator(one_as_list)] = []


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
    balance: Balance = Balance()
    seed: int = Field(default=1, ge=0, lt=2**32)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    in_memory: Literal["auto", "always", "never"] = "auto"
    workers: Optional[int] = Field(default=None, ge=1, le=64)
    loss: Optional[Loss] = None
    init: Optional[Init] = None

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, content: Any) -> Any:
        if isinstance(content, dict) and "class_balance" in content:
            given = content["class_balance"]
            raise ValueError(f"'class_balance' is now part of 'balance': write balance: {{classes: {given}}}")
        return content
