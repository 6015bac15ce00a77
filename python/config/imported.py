"""Classes of the user's own that the analysis file names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..errors import UserError
from ..registry import import_object
from .mistakes import explain


def import_options(code: str, options: Mapping[str, Any], base: type[Any], key: str) -> tuple[Any, Any]:
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

    Returns
    -------
    tuple
        The class, and its options; None where it is derived from something else.

    Raises
    ------
    UserError
        When it cannot be imported, or does not take the options.
    """
    loaded = import_object(code, f"{key}.type")
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        return loaded, None
    try:
        return loaded, loaded(type=code, **options)
    except ValidationError as error:
        raise UserError(f"{key}.options.{explain(error.errors(), loaded)}") from None
