"""``nanoforge list``: what there is of each kind that can be added to, with one line and its options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from .config.reference import options
from .config.schema import Analysis
from .errors import UserError, nearest
from .registry import REGISTRIES, RegistryPlace, import_object

_MARKUP = re.compile(r"(?::\w+:)?`+~?([^`]*)`+")


@dataclass(frozen=True)
class Listed:
    """Something that is listed: its name, what it is in a line, and its options as :func:`.options` has them."""

    name: str
    meaning: str
    options: tuple[tuple[str, str, str, str], ...] = ()


def entries(kind: str, analysis: Analysis | None = None) -> Iterator[Listed]:
    """Yield all things of a kind: ours, those of installed packages, and those that an analysis names.

    Raises
    ------
    UserError
        When there is no such kind, or the user's own cannot be imported.
    """
    if kind not in REGISTRIES:
        raise UserError(
            f"list: there is no kind {kind!r}{nearest(kind, REGISTRIES) or '; known: ' + ', '.join(REGISTRIES)}"
        )
    place = REGISTRIES[kind]
    registry = import_object(f"{__package__}.{place.path}", "list")
    for name, thing in registry.all():
        yield _entry(name, thing)
    if analysis is not None:
        for spec in _named(analysis, place):
            yield _entry(spec, registry.find(spec, place.key))


def _named(analysis: Analysis, place: RegistryPlace) -> list[str]:
    """Return what an analysis names by ``module:name`` or as a file, under the key of a kind."""
    values: list[Any] = [analysis.model_dump(mode="json")]
    for key in filter(None, place.key.split(".")):
        blocks = [value for value in values if isinstance(value, dict)]
        values = [one for block in blocks for one in (block.values() if key == "*" else [block.get(key)])]
    texts = [text for value in values for text in (value if isinstance(value, (list, dict)) else [value])]
    return [text for text in dict.fromkeys(texts) if isinstance(text, str) and (":" in text or "/" in text)]


def _entry(name: str, thing: Any) -> Listed:
    text = getattr(thing, "meaning", None)
    text = text if isinstance(text, str) else thing.__doc__ or ""
    block = isinstance(thing, type) and issubclass(thing, BaseModel)
    line = _MARKUP.sub(r"\1", text.strip().partition("\n")[0])
    return Listed(name, line, tuple(options(thing)) if block else ())


def lines(kind: str, analysis: Analysis | None = None) -> Iterator[str]:
    """Yield what ``nanoforge list`` prints of a kind: a line for each thing, and one for each of its options."""
    listed = list(entries(kind, analysis))
    width = max((len(entry.name) for entry in listed), default=0)
    for entry in listed:
        yield f"{entry.name:{width}}  {entry.meaning}".rstrip()
        for key, takes, default, _ in entry.options:
            yield f"{'':{width}}    {key}: {takes}" + (f" [{default}]" if default else "")
