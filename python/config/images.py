"""How the hits of a collection are drawn: grid, channels, and what the values of pixels become."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .base import Expr, Identifier, Interval, Positive, Strict

Combination = Literal["sum", "max", "count", "hardest"]
_SCALE = re.compile(r"(none|sqrt)|(linear|log1p)\(([^()]+)\)")
_POSITION = ("eta", "phi")


def parse_scale(text: str) -> tuple[str, float]:
    """Take ``none``, ``sqrt``, ``linear(25)`` or ``log1p(0.1)`` apart, the number of the first two being 1.

    Raises
    ------
    ValueError
        When it is something else, or the number is not above 0.
    """
    match = _SCALE.fullmatch(text)
    try:
        number = float(match[3] or 1) if match else 0.0
    except ValueError:
        number = 0.0
    if match is None or not 0 < number < math.inf:
        raise ValueError("should be none, sqrt, linear(<value of order one>) or log1p(<smallest value that counts>)")
    return match[1] or match[2], number


def _scale(text: str) -> str:
    parse_scale(text)
    return text


Scale = Annotated[str, AfterValidator(_scale)]


def _twice(value: Any) -> Any:
    """Accept one number for both directions."""
    return [value, value] if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _two(words: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        if value is not None and (not isinstance(value, (list, tuple)) or len(value) != 2):
            raise ValueError(f"should be {words}")
        return value

    return BeforeValidator(check)


def _around(value: Any) -> Any:
    if value in (None, "seed", "row") or (isinstance(value, (list, tuple)) and len(value) == 2):
        return value
    raise ValueError("should be seed, row, or two expressions of the row, [<eta>, <phi>]")


Pixels = Annotated[int, Field(ge=1, le=512)]


class Image(Strict):
    """An image of hits, drawn inside the model: the dataset, and whatever feeds the model, holds the hits.

    Pixels are counted from a middle: with ``around: seed`` each row's hit with the largest first channel, whose cell is
    the middle one, and all others are whole cells away from it; with ``around: row`` the eta and phi of the row; or two
    expressions. The whole detector has a ``range`` instead, and its columns are the whole circle.
    """

    hits: Identifier
    """The collection of hits, ``EcalHit`` say: any with positions, and objects such as ``PFCands``, too."""
    eta: Expr = "eta"
    """Where a hit is, by its attributes."""
    phi: Expr = "phi"
    """Where a hit is, in radian."""
    channels: Annotated[dict[Identifier, Expr], Field(min_length=1)]
    """The planes of the image, and what hits add to them: ``{energy: energy}``."""
    around: Annotated[Union[Literal["seed", "row"], tuple[Expr, Expr], None], BeforeValidator(_around)] = None
    """The middle of the image: ``seed``, ``row``, or ``[<eta>, <phi>]``."""
    size: Annotated[Optional[tuple[Pixels, Pixels]], _two("two numbers of pixels, [<in eta>, <in phi>]")] = None
    """Pixels in eta and in phi."""
    pixel: Annotated[
        Optional[tuple[Positive, Positive]],
        _two("the size of a pixel: one number, or [<in eta>, <in phi>]"),
        BeforeValidator(_twice, json_schema_input_type=Union[float, tuple[float, float], None]),
    ] = None
    """Size of a pixel, one number or those in eta and phi. A crystal of the ECAL's barrel is 2 pi / 360 = 0.0174533,
    a tower of the HCAL five times that.
    """
    range: Optional[Interval] = None
    """For the whole detector: from which eta to which; ``size`` divides it, and the circle."""
    onto: Optional[Identifier] = None
    """The input with an image on whose grid the hits are drawn, as further planes. A hit covers ``pixel``, a multiple
    of the grid's: its value is spread evenly, and the sum is kept. By default it covers one pixel.
    """
    combine: dict[Identifier, Combination] = {}
    """What several hits in a pixel become: their ``sum``, which is the default, the ``max``, their ``count``, or the
    value of the ``hardest``, which has the largest first channel.
    """
    deterministic: bool = False
    """Have sums equal bit by bit on a GPU, too, with more memory and time."""

    @model_validator(mode="after")
    def _shape(self) -> Image:
        for name in _POSITION:
            if name in self.channels:
                raise ValueError(f"channels: {name!r} is the position of a hit: give the channel another name")
        for name in self.combine:
            if name not in self.channels:
                raise ValueError(f"combine: there is no channel {name!r}: there are {', '.join(self.channels)}")
        self._check_grid()
        return self

    def _check_grid(self) -> None:
        if self.onto is not None:
            given = [key for key in ("around", "size", "range") if getattr(self, key) is not None]
            if given:
                raise ValueError(f"{given[0]!r} is that of 'onto: {self.onto}': remove it here")
        elif self.size is None:
            raise ValueError("an image needs a 'size', [<pixels in eta>, <in phi>], or 'onto', an image that has one")
        elif self.range is not None and (self.around is not None or self.pixel is not None):
            raise ValueError("'range' and 'size' say all: remove 'around' and 'pixel'")
        elif self.range is None and (self.around is None or self.pixel is None):
            raise ValueError("an image needs 'around' and 'pixel', or for the whole detector a 'range' in eta")
        if self.range is not None and self.range[0] == self.range[1]:
            raise ValueError(f"'range' is empty: {self.range[0]:g} to {self.range[1]:g}")

    @property
    def feature_expressions(self) -> dict[str, str]:
        """Map the features of a hit to their expressions: its position, then the channels."""
        return {"eta": self.eta, "phi": self.phi, **self.channels}

    @property
    def center_expressions(self) -> tuple[str, ...]:
        """The two expressions that say where the middle is; empty where none do."""
        return self.around if isinstance(self.around, tuple) else ()

    @property
    def pixels(self) -> tuple[float, float]:
        """Size of a pixel in eta and phi, of an image with a grid of its own."""
        if self.pixel is not None:
            return self.pixel
        assert self.range is not None  # noqa: S101 - it has one or the other
        assert self.size is not None  # noqa: S101
        return (self.range[1] - self.range[0]) / self.size[0], 2 * math.pi / self.size[1]
