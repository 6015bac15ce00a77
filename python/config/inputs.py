"""What the model sees: features of rows and of their constituents."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import BeforeValidator, Field, model_validator

from .base import Expr, Identifier, Strict, one_as_list
from .features import Feature, FeatureOptions, FeatureScale, feature_names, feature_options
from .images import Image, Scale


class Fill(Strict):
    """Replace NaN and infinities by a constant."""

    fill: float
    """The number that takes the place of NaN and of infinities."""


class Input(Strict):
    """One input of the model: features of the row itself, of a collection of its constituents, or an ``image`` of hits.

    ``index`` names the branch of the collection that holds the position of the row that a constituent belongs to;
    NaN and infinities are an ``error``, or replaced by a constant; ``keep`` (trees only) lets both be NaN, "not there".
    ``match`` is a condition on a pair of row and constituent (``delta_r``, ``delta_eta``, ``delta_phi`` are known).
    Without them, every row has all constituents of its event, which ``all`` confirms.
    """

    features: Annotated[list[Feature], Field(min_length=1)] = []
    """Columns, or new names with their expressions or options: ``[pt, {log_pt: "log(pt)"}, {mass: {scale: log}},
    {decayMode: {categories: [0, 1, 10, 11]}}]``. With a ``collection`` its attributes are meant. Required, unless there
    is an ``image``.
    """
    image: Optional[Image] = None
    """In place of features: the constituents are hits, and drawn."""
    collection: Optional[Identifier] = None
    """The collection whose objects are the constituents of a row, ``Jet`` say; without one, features are numbers of the
    row.
    """
    where: Optional[Expr] = None
    """Which constituents count: a condition on the attributes of the collection."""
    sort: Optional[Expr] = None
    """What constituents are ordered by, before the first ``length`` are taken; ``-pt`` puts the largest first."""
    length: Optional[int] = Field(default=None, gt=0, le=4096)
    """How many constituents are kept; fewer are padded with 0 and marked as not valid."""
    index: Optional[str] = None
    """For ``row: <collection>``: the branch of the constituents that holds the position of their row (``jetIdx``)."""
    match: Optional[Expr] = None
    """For ``row: <collection>``: a condition on a row and a constituent: ``"delta_r < 0.4"``."""
    all: bool = False
    """For ``row: <collection>``: every row has all constituents of its event, and you mean it."""
    missing: Annotated[list[float], BeforeValidator(one_as_list)] = []
    """Values that stand for "not there", such as -999: they become NaN, and then what ``nan`` says."""
    nan: Union[Literal["error", "keep"], Fill] = "error"
    """What NaN and infinities are: an error, or replaced (``{fill: 0}``), or for trees kept (``keep``)."""

    scale: Union[FeatureScale, dict[Identifier, Scale]] = {}
    """How networks scale the features, by the training rows: ``standard`` (mean and standard deviation; the default),
    ``robust`` (median and distance of the quartiles), ``minmax`` (0 to 1), ``log`` (sign(x) ln(1 + abs(x)), then
    standard), ``quantile`` (the share of smaller values, from -1 to 1) or ``none``. Trees do not depend on it. Channels
    of an image have scales of their own: ``none``, ``linear(25)`` (divided by it), ``log1p(0.1)`` (ln(1 + x / 0.1)) or
    ``sqrt``.
    """
    pca: Optional[Annotated[int, Field(gt=0)]] = None
    """Networks see so many principal components of the scaled features, of unit variance, in place of these; categories
    stay beside them.
    """

    @model_validator(mode="before")
    @classmethod
    def _hits(cls, content: Any) -> Any:
        """Let the hits of an image be the collection; an image has no features, which resolved files write as []."""
        image = content.get("image") if isinstance(content, dict) else None
        if not isinstance(image, dict):
            return content
        hits = image.get("hits") if content.get("collection") is None else None
        without = {key: value for key, value in content.items() if key != "features" or value != []}
        return without | ({"collection": hits} if isinstance(hits, str) else {})

    @model_validator(mode="after")
    def _shape(self) -> Input:
        self._check_image()
        if self.collection is None:
            present = [k for k in ("where", "sort", "length", "index", "match") if getattr(self, k) is not None]
            if present:
                raise ValueError(f"{present[0]!r} needs a 'collection'")
        elif self.length is None:
            key = "collection" if self.image is None else "image"
            raise ValueError(f"{key!r} needs a 'length': how many constituents of a row are kept")
        if self.all and self.collection is None:
            raise ValueError("'all' needs a 'collection'")
        if (self.index is not None) + (self.match is not None) + self.all > 1:
            raise ValueError("give one of 'index', 'match' and 'all'")
        if self.missing and self.nan == "error":
            raise ValueError(
                "'missing' values become NaN: say what they are filled with, 'nan: {fill: 0}', or for trees 'nan: keep'"
            )
        names = self.feature_names
        if len(set(names)) != len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise ValueError(f"feature {twice!r} is listed twice")
        return self

    def _check_image(self) -> None:
        if self.image is None:
            if not self.features:
                raise ValueError("needs 'features', or an 'image'")
            self._check_scale()
            return
        if self.features:
            raise ValueError("'image' and 'features' exclude each other: the channels of an image are its features")
        if self.collection != self.image.hits:
            raise ValueError(f"'collection' is {self.image.hits}, as image.hits says: remove it")
        if isinstance(self.scale, str):
            raise ValueError(
                f"scale: each channel of an image has its own: {{{next(iter(self.image.channels))}: sqrt}}"
            )
        if self.pca is not None:
            raise ValueError("'pca' is for features, and an 'image' has none")
        if self.nan == "keep":
            raise ValueError("nan: NaN cannot be drawn: say what it becomes, nan: {fill: 0}")
        for name in self.channel_scales:
            if name not in self.image.channels:
                raise ValueError(f"scale: there is no channel {name!r}: there are {', '.join(self.image.channels)}")

    def _check_scale(self) -> None:
        if isinstance(self.scale, dict) and self.scale:
            raise ValueError(
                "scale: a block is for the channels of an 'image'; a feature has its own by '{pt: {scale: log}}' among "
                "the features"
            )
        numbers = sum(options.categories is None for options in self.feature_options.values())
        if self.pca is not None and self.pca > numbers:
            raise ValueError(f"pca: {self.pca} components of {numbers} features that are numbers: {numbers} at most")

    @property
    def replacement(self) -> float | None:
        """What NaN and infinities become; None where they are an error."""
        if isinstance(self.nan, Fill):
            return self.nan.fill
        return math.nan if self.nan == "keep" else None

    @property
    def feature_expressions(self) -> dict[str, str]:
        """Map each feature's name to its expression, in order."""
        if self.image is not None:
            return self.image.feature_expressions
        return {name: options.expression or name for name, options in self.feature_options.items()}

    @property
    def feature_options(self) -> dict[str, FeatureOptions]:
        """Map each feature's name to its options, in order; an image has none."""
        return feature_options(self.features)

    @property
    def default_scale(self) -> FeatureScale:
        """How features are scaled that do not say it themselves."""
        return self.scale if isinstance(self.scale, str) else "standard"

    @property
    def channel_scales(self) -> dict[str, str]:
        """The scales of an image's channels, of those that have one."""
        return self.scale if isinstance(self.scale, dict) else {}

    def feature_key(self, name: str) -> str:
        """Return where in the block the expression of a feature stands."""
        if self.image is None:
            return f"features.{name}"
        return f"image.channels.{name}" if name in self.image.channels else f"image.{name}"

    @property
    def collection_key(self) -> str:
        """Where in the block the collection stands."""
        return "collection" if self.image is None else "image.hits"

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in order, duplicates included."""
        if self.image is not None:
            return list(self.image.feature_expressions)
        return feature_names(self.features)
