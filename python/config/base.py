"""What every block of the analysis file is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Union

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


@dataclass(frozen=True)
class Form:
    """The form of a text: a regular expression for the whole of it, which ``words`` describe to users."""

    expression: str
    words: str

    def __call__(self, text: str) -> str:
        """Return a text that has the form, and raise a ValueError for another."""
        if re.fullmatch(self.expression, text) is None:
            raise ValueError(f"should be {self.words}")
        return text


def of_form(expression: str, words: str) -> AfterValidator:
    """Accept a text that matches a regular expression as a whole, which ``words`` describe to users."""
    return AfterValidator(Form(expression, words))


Identifier = Annotated[
    str, of_form("[A-Za-z][A-Za-z0-9_]*", "a name of letters, digits and _ that begins with a letter")
]
"""A name that becomes part of a branch, dataset or graph input."""


def _short(name: str) -> str:
    if len(name) > _LONGEST:
        raise ValueError(f"{name[:20]}... has {len(name)} characters: files are named by it, so {_LONGEST} at most")
    return name


_LONGEST = 150
FileName = Annotated[Identifier, AfterValidator(_short)]
"""A name that becomes part of the names of files, which file systems limit to 255 bytes."""


def number_as_text(value: Any) -> Any:
    """Accept ``weight: 1`` for ``weight: "1"``: a number is an expression too."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def one_as_list(value: Any) -> Any:
    """Accept a single value where a list is meant."""
    return value if value is None or isinstance(value, (list, tuple)) else [value]


Expr = Annotated[str, BeforeValidator(number_as_text, json_schema_input_type=Union[str, float]), Field(min_length=1)]
"""The text of an expression (see ``events.expressions``)."""
Cuts = dict[Identifier, Expr]


class Strict(BaseModel):
    """The base of every block: frozen, and without room for unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def pair(value: Any) -> Any:
    """Refuse what is not a list of two."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError("should be two numbers: [from, to]")
    return value


def _ascending(low_high: tuple[float, float]) -> tuple[float, float]:
    if low_high[0] > low_high[1]:
        raise ValueError(f"[{low_high[0]:g}, {low_high[1]:g}] is empty: write [from, to]")
    return low_high


Interval = Annotated[tuple[float, float], BeforeValidator(pair), AfterValidator(_ascending)]
"""A closed interval, written ``[from, to]``; both ends may be equal."""
Positive = Annotated[float, Field(gt=0)]


def by_type(block: Any) -> Any:
    """Accept ``loss: focal`` for ``loss: {type: focal}``, and the like."""
    return {"type": block} if isinstance(block, str) else block
