"""Classes of the user's own that the analysis file names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from ..errors import UserError
from ..registry import import_object
from .mistakes import explain
from .typed import TypedOptions

Kind = TypeVar("Kind", bound=TypedOptions)


def import_options(code: str, options: Mapping[str, Any], base: type[Kind], key: str) -> tuple[Any, Kind | None]:
    """Import a class of the user's own, and make its options where it is derived from ``base``.

    Parameters
    ----------
    code
        ``module:Class`` or ``/path/to/file.py:Class``.
    options
        What the analysis file gives it.
    base
        What our own are derived from.
    key
        The block in the analysis file, for messages.

    Raises
    ------
    UserError
        When it cannot be imported, or does not take the options.
    """
    found = import_object(code, f"{key}.type")
    if not (isinstance(found, type) and issubclass(found, base)):
        return found, None
    try:
        return found, found(type=code, **options)
    except ValidationError as error:
        raise UserError(f"{key}.options.{explain(error.errors(), found)}") from None
