"""What a feature of an input is, beside a column: scaled in a way of its own, or one of some categories."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Optional, Union

from pydantic import Field, model_validator

from .base import Expr, Identifier, Strict

FeatureScale = Literal["standard", "robust", "minmax", "log", "quantile", "none"]
_WIDEST = 50
_EXACT = 1 << 24
"""Features are 32-bit floats, which hold integers up to this."""


class FeatureOptions(Strict):
    """A feature with options. ``scale`` has precedence over that of the input.

    With ``categories`` its values have no order: networks embed them, trees of LightGBM and XGBoost divide them into
    two sets, and estimators of scikit-learn get a column of 0 and 1 for each. All other values, NaN too, are one
    category more.
    """

    expression: Optional[Expr] = None
    """What it is computed by; by default it is the column that has its name."""
    scale: Optional[FeatureScale] = None
    """How it is scaled, in place of the ``scale`` of the input."""
    categories: Optional[Annotated[list[int], Field(min_length=1, max_length=1000)]] = None
    """The integers that it may be, ``[0, 1, 10, 11]``."""
    width: Optional[Annotated[int, Field(gt=0, le=1000)]] = None
    """Numbers that a category becomes in a network; by default 1.6 n^0.56 of n categories, and 50 at most."""

    @model_validator(mode="after")
    def _category(self) -> FeatureOptions:
        if self.categories is None:
            if self.width is not None:
                raise ValueError("'width' is that of embedded 'categories': list them, or remove it")
            return self
        if self.scale is not None:
            raise ValueError("'scale' is for numbers, and 'categories' have no order: remove one of them")
        if len(set(self.categories)) < len(self.categories):
            twice = next(c for c in self.categories if self.categories.count(c) > 1)
            raise ValueError(f"categories: {twice} is listed twice")
        large = next((c for c in self.categories if abs(c) > _EXACT), None)
        if large is not None:
            raise ValueError(f"categories: features are 32-bit floats, which do not hold {large} exactly")
        return self

    @property
    def embedding_width(self) -> int:
        """Numbers that a category becomes in a network, as fastai chooses them; 0 for a number."""
        if self.categories is None:
            return 0
        return self.width or min(_WIDEST, round(1.6 * (len(self.categories) + 1) ** 0.56))


NUMBER = FeatureOptions()
"""The options of a feature that has none."""
Feature = Union[
    Annotated[str, Field(min_length=1)],
    Annotated[dict[Identifier, Union[Expr, FeatureOptions]], Field(min_length=1)],
]
"""A column, or names of features with their expressions or options."""


def feature_options(features: list[Feature]) -> dict[str, FeatureOptions]:
    """Map each feature's name to its options, in order."""
    options: dict[str, FeatureOptions] = {}
    for feature in features:
        named: dict[str, Any] = {feature: feature} if isinstance(feature, str) else feature
        for name, value in named.items():
            options[name] = value if isinstance(value, FeatureOptions) else FeatureOptions(expression=value)
    return options


def feature_names(features: list[Feature]) -> list[str]:
    """List the features' names, in order, duplicates included."""
    return [name for feature in features for name in ([feature] if isinstance(feature, str) else feature)]


def as_columns(features: list[Any]) -> list[Any]:
    """Return dumped features as their columns and expressions, which a dataset holds, without the options of models."""
    return [feature if isinstance(feature, str) else _columns(feature) for feature in features]


def _columns(feature: dict[str, Any]) -> Any:
    plain = {n: (v.get("expression") or n) if isinstance(v, dict) else v for n, v in feature.items()}
    column = next(iter(plain))
    bare = len(plain) == 1 and isinstance(feature[column], dict) and feature[column].get("expression") is None
    return column if bare else plain
