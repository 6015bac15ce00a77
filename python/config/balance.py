"""What the training rows weigh: classes among each other, the shape of distributions, and negative weights."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Annotated, Literal, Optional, Union

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from ..errors import nearest
from .base import Strict, pair

MOST_CELLS = 10_000
"""Cells that a reweighting may have: all bins of all variables, multiplied."""


def _rising(edges: list[float]) -> list[float]:
    if any(low >= high for low, high in zip(edges, edges[1:])):
        raise ValueError("the edges of the bins must rise")
    return edges


Edges = Annotated[list[float], Field(min_length=2), AfterValidator(_rising)]


class Bins(Strict):
    """Bins of equal width."""

    bins: int = Field(gt=0, le=MOST_CELLS)
    """How many."""
    range: Annotated[
        tuple[float, float], BeforeValidator(pair), AfterValidator(lambda ends: tuple(_rising(list(ends))))
    ]
    """From where to where."""

    @property
    def edges(self) -> list[float]:
        """Their edges, one more than there are bins."""
        import numpy as np  # takes a tenth of a second, which a misspelt key need not wait for

        return np.linspace(*self.range, self.bins + 1).tolist()


class Shape(Strict):
    """A reweighting in ``variables``, which leaves the sum of weights of each class as it is.

    Afterwards every bin that a class has counts the same (``to: flat``), or the distribution of every class is that of
    the one that ``to`` names. Values beyond the edges count to the first or last bin. ``by: resample`` draws rows
    instead of weighting them, anew in every epoch; trees have weights. A factor, 1 in the mean of a class, is at most
    ``cap`` before the sum of the class is restored.
    """

    variables: Annotated[dict[str, Union[Edges, Bins]], Field(min_length=1)]
    """The variables, with the edges of their bins or ``{bins: 20, range: [-2.5, 2.5]}``: features of the row, columns
    of ``keep``, or regression targets.
    """
    to: str = "flat"
    """``flat``: every bin counts the same; or the name of the class whose shape all get."""
    by: Literal["weight", "resample"] = "weight"
    """``weight`` multiplies the weights, ``resample`` draws rows anew in every epoch."""
    cap: Optional[Annotated[float, Field(ge=1)]] = None
    """The largest factor, 1 being the mean of the class."""

    @field_validator("variables")
    @classmethod
    def _few_cells(cls, variables: dict[str, Union[list[float], Bins]]) -> dict[str, Union[list[float], Bins]]:
        cells = math.prod(_number(axis) for axis in variables.values())
        if cells > MOST_CELLS:
            raise ValueError(f"makes {cells:,} cells, and {MOST_CELLS:,} are allowed: use fewer bins or variables")
        return variables

    @property
    def edges(self) -> dict[str, list[float]]:
        """The edges of the bins of each variable."""
        return {name: axis.edges if isinstance(axis, Bins) else axis for name, axis in self.variables.items()}

    def check(self, columns: Collection[str], classes: Collection[str]) -> None:
        """Refuse a variable that is no column of the dataset, and a reference that is no class."""
        for name in self.variables:
            if name not in columns:
                raise ValueError(
                    f"training.balance.shape.variables.{name}: the dataset has no such number for each row; known: "
                    f"{', '.join(columns) or 'none'}; 'keep' adds columns"
                )
        if self.to != "flat" and self.to not in classes:
            names = ("flat", *classes)
            raise ValueError(
                f"training.balance.shape.to: {self.to!r} is unknown{nearest(self.to, names)}; known: {', '.join(names)}"
            )


def _number(axis: Union[list[float], Bins]) -> int:
    return axis.bins if isinstance(axis, Bins) else len(axis) - 1


class Balance(Strict):
    """What the training rows weigh; the weights of the dataset, and all figures of merit, stay as they are.

    The negative weights come first. ``absolute`` takes |w|: the sum of a class becomes Σ|w|; ``drop`` sets them to 0:
    it becomes the sum of the positive ones; ``rescale`` takes |w| and multiplies those of each class by a factor, so
    that it stays as it was; ``keep`` changes nothing. Then the ``shape`` is changed, which keeps these sums. At last
    the ``classes`` are given equal sums of weights (``weights``), or factors N / (C · N_class) (``counts``), such that
    all together weigh what they did (``normalise: mean``), or that the smallest factor is 1 (``min``).
    """

    classes: Literal["weights", "counts", "none"] = "weights"
    """``weights``: every class has the same sum of weights; ``counts``: factors N / (C N_class); ``none``: as they are.
    """
    normalise: Literal["mean", "min"] = "mean"
    """``mean``: the sum of all weights stays; ``min``: the smallest factor of a class is 1."""
    negative: Literal["keep", "absolute", "drop", "rescale"] = "keep"
    """What becomes of negative weights: they stay, become positive, 0, or positive with the sum of the class as it was.
    """
    shape: Optional[Shape] = None
    """A reweighting that makes distributions flat or alike."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns that it reads."""
        return [] if self.shape is None else list(self.shape.variables)
