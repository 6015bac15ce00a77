"""The search for good hyperparameters: which keys of the analysis file vary, and how they are chosen."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import Field, field_validator, model_validator

from .base import Strict

Number = Union[int, float]
_SEARCHABLE = ("model", "training")
_MEASURE = "changes what the validation loss means, so that trials would not compare"
_REFUSED = {
    "training.loss": _MEASURE,
    "training.balance": _MEASURE,
    "training.seed": "is luck and no setting: the best seed of many says nothing about the next training",
}


class SearchParameter(Strict):
    """The values of one key: ``{low, high}``, even in the logarithm with ``log``, or ``{choices: [...]}``.

    They are integers where the key takes only those. With ``step`` there are just ``low``, ``low + step`` and so on.
    """

    low: Optional[Number] = None
    """The least value."""
    high: Optional[Number] = None
    """The largest value."""
    step: Optional[Annotated[Number, Field(gt=0)]] = None
    """The distance of neighbouring values."""
    log: bool = False
    """Even in the logarithm."""
    choices: Optional[Annotated[list[Any], Field(min_length=2)]] = None
    """All values, in place of a range."""

    @model_validator(mode="after")
    def _one_way(self) -> SearchParameter:
        if self.choices is not None:
            if self.model_fields_set != {"choices"}:
                raise ValueError("'choices' stand alone: remove low, high, step and log")
            if len({json.dumps(choice) for choice in self.choices}) < len(self.choices):
                raise ValueError("one of the choices is there twice")
            return self
        if self.low is None or self.high is None:
            raise ValueError("write {low: ..., high: ...} or {choices: [...]}")
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("'log' needs a low above 0 and no step")
        return self


class Search(Strict):
    """What ``nanoforge tune`` does: so many ``trials``, each a training with other values of the ``parameters``.

    The least validation loss wins, the mean over the folds. ``sampler`` proposes values: ``tpe`` learns from earlier
    trials (Bergstra et al., NeurIPS 2011; Watanabe, arXiv:2304.11127). ``pruner`` ends trials early that lag behind
    others: ``asha`` (Li et al., arXiv:1810.05934) or ``hyperband`` (Li et al., arXiv:1603.06560).
    """

    trials: int = Field(default=50, gt=0)
    """How many trainings."""
    sampler: Literal["tpe", "random"] = "tpe"
    """What proposes values."""
    pruner: Literal["asha", "hyperband", "none"] = "asha"
    """What ends trials early."""
    seed: int = Field(default=1, ge=0, lt=2**32)
    """Of the sampler."""
    parameters: Annotated[dict[str, SearchParameter], Field(min_length=1)]
    """The keys that vary, ``training.learning_rate`` say, and their values."""

    @field_validator("parameters")
    @classmethod
    def _compare(cls, parameters: dict[str, SearchParameter]) -> dict[str, SearchParameter]:
        for key in parameters:
            if key.partition(".")[0] not in _SEARCHABLE or "." not in key:
                raise ValueError(f"{key!r}: only keys of model and training can vary, the dataset is the same for all")
            for refused, reason in _REFUSED.items():
                if key == refused or key.startswith(f"{refused}."):
                    raise ValueError(f"{key!r} {reason}")
            for other in parameters:
                if other.startswith(f"{key}."):
                    raise ValueError(f"{other!r} lies within {key!r}: vary one of them")
        return parameters
