"""How the model is fitted: loss, schedule, and the rest."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Optional, Union

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .balance import Balance
from .base import Identifier, Positive, Strict, by_type, one_as_list
from .losses import Loss


class _Schedule(Strict):
    """How the learning rate changes. It rises for a share ``warmup`` of all steps (Goyal et al., arXiv:1706.02677)."""

    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of all steps in which the learning rate rises."""

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
    """Share of all steps in which the learning rate rises."""
    final: float = Field(default=0.0, ge=0, le=1)
    """What is left at the end, as a share of the learning rate."""
    uses_epochs: ClassVar[bool] = True


class OneCycleSchedule(_Schedule):
    """Up from a share ``start`` of the learning rate and down to ``final`` (Smith, Topin, arXiv:1708.07120)."""

    type: Literal["one_cycle"]
    warmup: float = Field(default=0.3, ge=0, lt=1)
    """Share of all steps in which the learning rate rises."""
    start: float = Field(default=0.04, ge=0, le=1)
    """Where it begins, as a share of the learning rate."""
    final: float = Field(default=4e-6, ge=0, le=1)
    """Where it ends, as a share of the learning rate."""
    uses_epochs: ClassVar[bool] = True


class PlateauSchedule(_Schedule):
    """Times ``factor`` whenever the validation loss has not improved for more than ``patience`` epochs."""

    type: Literal["plateau"]
    factor: float = Field(default=0.3, gt=0, lt=1)
    """What the learning rate is multiplied by."""
    patience: int = Field(default=2, ge=0)
    """So many epochs without improvement are waited for."""


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
        valid = value == "auto" or float(value) > 0
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError("should be a number greater than 0, or 'auto'")
    return value


class Init(Strict):
    """Begin with the weights of another ``run``, as far as name and shape agree, and do not train some of them.

    A parameter whose whole name a regular expression of ``freeze`` matches stays as it is.
    """

    run: str
    """The run whose weights are taken: a folder."""
    freeze: Annotated[list[Annotated[str, AfterValidator(_regular_expression)]], BeforeValidator(one_as_list)] = []
    """Regular expressions for names of parameters that are not trained."""


class Augmentation(Strict):
    """Mirror the images of half of the rows in training, drawn anew in every epoch.

    The positions of the hits are mirrored, those of all images of a row alike. Features of the row stay as they are:
    give ``abs(eta)`` rather than ``eta``.
    """

    flip_eta: bool = False
    """Mirror them in eta."""
    flip_phi: bool = False
    """Mirror them in phi."""
    signed: list[Identifier] = []
    """Channels that have the sign of a charge, which bends the other way in a mirror: a flip in phi changes it."""


class Training(Strict):
    """How the model is fitted.

    ``learning_rate: auto`` looks for a good one first; ``schedule`` says how it changes. ``batch_size`` is that of each
    process; every batch is worked through in ``accumulation`` parts, which needs less memory and gives the same step.
    ``gradient_clip`` is the largest norm of the gradient. ``precision`` below fp32 is mixed precision.
    ``workers`` is the number of threads that read rows ahead; by default one per two cores, at most 4.
    ``loss`` is the cross entropy of classes, or the squared error of a regression, unless it says otherwise.
    """

    epochs: int = Field(default=20, gt=0)
    """The most passes over the training rows."""
    batch_size: int = Field(default=1024, gt=0)
    """Rows of a step, in each process."""
    accumulation: int = Field(default=1, gt=0)
    """The batch is worked through in so many parts: the same step with less memory."""
    learning_rate: Annotated[Union[Literal["auto"], float], BeforeValidator(_rate_or_auto)] = 1e-3
    """The (largest) learning rate; ``auto`` looks for one by a range test."""
    schedule: Schedule = ConstantSchedule(type="constant")
    """How the learning rate changes: ``constant``, ``cosine``, ``one_cycle``, ``plateau``, alone or with options."""
    optimizer: Literal["adamw", "radam", "sgd"] = "adamw"
    """The optimizer of PyTorch."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Its weight decay."""
    gradient_clip: Optional[Positive] = None
    """The largest norm of the gradient."""
    patience: int = Field(default=5, gt=0)
    """The training stops after so many epochs without improvement of the validation loss."""
    balance: Balance = Balance()
    """What the rows weigh in the training."""
    seed: int = Field(default=1, ge=0, lt=2**32)
    """Of the first weights, the dropout and the order of the rows."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """``auto`` takes a GPU where there is one."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Below ``fp32`` it is mixed precision; ``fp16`` on a GPU only."""
    compile: bool = False
    """Compile the network with ``torch.compile``."""
    in_memory: Literal["auto", "always", "never"] = "auto"
    """Whether the rows are kept in memory; ``auto``: where they fit."""
    workers: Optional[int] = Field(default=None, ge=1, le=64)
    """Threads that read rows ahead; by default one for two cores, at most 4."""
    loss: Optional[Loss] = None
    """The loss, alone (``loss: focal``) or with options; by default ``cross_entropy`` for classes, ``mse`` for a
    regression.
    """
    augment: Augmentation = Augmentation()
    """Mirror images in training."""
    init: Optional[Init] = None
    """Begin with the weights of another run."""

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, content: Any) -> Any:
        if isinstance(content, dict) and "class_balance" in content:
            value = content["class_balance"]
            raise ValueError(f"'class_balance' is now part of 'balance': write balance: {{classes: {value}}}")
        return content
