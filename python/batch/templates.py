"""The templates of ``condor/`` and ``crab/``: files that read like what one writes by hand, with ``@{gaps}``."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import UserError

_PACKAGE = __package__.rpartition(".")[0]
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_GAP = re.compile(r"@\{(\w+)\}")


def template(name: str, folder: str = "condor") -> str:
    """Return the text of a template."""
    checkout = Path(__file__).resolve().parents[2] / folder / name
    if checkout.is_file():
        return checkout.read_text()
    return importlib.resources.files(f"{_PACKAGE}.{folder}").joinpath(name).read_text()


class Code(str):
    """What is written as the template's language wants it already, on several lines."""


def check_one_line(text: str, subject: str) -> None:
    """Raise a :class:`UserError` where a text that goes into scripts and lists has control characters."""
    if _CONTROL.search(text):
        raise UserError(f"{text!r}: {subject} cannot have line breaks or other control characters: rename it")


def fill(text: str, values: Mapping[str, object]) -> str:
    """Fill the gaps of a template; a line with a gap whose value is None is left out.

    A comment, and the blank line before it, go too where all lines below it have gone.

    Raises
    ------
    UserError
        When a value has a line break in it: what follows would be a line of its own, a command for instance.
    """
    for name, value in values.items():
        if not isinstance(value, Code):
            check_one_line(str(value), f"the {name} of the jobs")
    paragraphs = [_fill_lines(paragraph, values) for paragraph in text.split("\n\n")]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph.strip("\n"))


def _fill_lines(paragraph: str, values: Mapping[str, object]) -> str:
    lines = paragraph.split("\n")
    kept = [line for line in lines if all(values[gap] is not None for gap in _GAP.findall(line))]
    if len(kept) < len(lines) and all(line.startswith("#") or not line for line in kept):
        return ""
    return "\n".join(_GAP.sub(lambda gap: str(values[gap[1]]), line) for line in kept)
