"""What to draw, as a user writes it: ``x``, ``y:x``, and with bins ``x>>(50,0,200)``, as in ROOT's ``TTree::Draw``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..distributions.axis import Range
from ..errors import UserError
from ..events.files import is_remote

_BINS = re.compile(r"(?P<expressions>.*?)\s*>>\s*(?P<name>\w*)\s*(?:\((?P<numbers>[^()]*)\))?\s*", re.DOTALL)
_FILES = (".root", ".parquet", ".csv", ".json", ".jsonl", ".txt", ".yaml", ".yml")


@dataclass(frozen=True)
class PlotRequest:
    """A histogram to fill.

    Attributes
    ----------
    name
        Of its files.
    expressions
        Of x, or of x and y.
    ranges
        Of each, where given.
    """

    name: str
    expressions: tuple[str, ...]
    ranges: tuple[Range | None, ...]

    @property
    def text(self) -> str:
        """What is drawn, for messages."""
        return ":".join(reversed(self.expressions))


def divide(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide words into files, which come first, and what to draw.

    Raises
    ------
    UserError
        When there are no files, or nothing to draw.
    """
    count = next((n for n, word in enumerate(words) if not _is_file(word)), len(words))
    if not count:
        raise UserError(f"{words[0]}: is no file: name files (or the analysis file) first, and then what to draw")
    if count == len(words):
        raise UserError("nothing to draw: add expressions, e.g. Jet_pt or 'Jet_eta:Jet_phi' (y:x)")
    return list(words[:count]), list(words[count:])


def _is_file(word: str) -> bool:
    return word.endswith(_FILES) or is_remote(word) or Path(word).exists()


def parse_requests(texts: Sequence[str]) -> list[PlotRequest]:
    """Parse what to draw; every histogram gets a name of its own.

    Raises
    ------
    UserError
        With the text, and how it is to be written.
    """
    requests: list[PlotRequest] = []
    for text in texts:
        match = _BINS.fullmatch(text)
        written, name, numbers = (text, "", None) if match is None else match.group("expressions", "name", "numbers")
        expressions = tuple(reversed(list(_parts(written))))
        if len(expressions) > 2 or not all(expressions):
            raise UserError(f"{text!r}: draw x, or y:x")
        names = {request.name for request in requests}
        if name and name in names:
            raise UserError(f"{text!r}: another histogram has the name {name!r}")
        ranges = _ranges(text, numbers, len(expressions))
        requests.append(PlotRequest(name or _new_name(written, names), expressions, ranges))
    return requests


def _parts(text: str) -> Iterator[str]:
    """Split at colons outside brackets."""
    depth, start = 0, 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == ":" and depth == 0:
            yield text[start:place].strip()
            start = place + 1
    yield text[start:].strip()


def _ranges(text: str, numbers: str | None, axes: int) -> tuple[Range | None, ...]:
    if numbers is None:
        return (None,) * axes
    remedy = "bins,low,high of x" + (", and then of y" if axes == 2 else "")
    try:
        values = [float(number) for number in numbers.split(",")]
        if len(values) != 3 * axes or any(values[i] != int(values[i]) for i in range(0, len(values), 3)):
            raise ValueError(f"({numbers}) are no bins")
        return tuple(Range(int(values[i]), values[i + 1], values[i + 2]) for i in range(0, len(values), 3))
    except (ValueError, OverflowError) as error:
        raise UserError(f"{text!r}: {error}: write {remedy}") from None


def _new_name(text: str, names: set[str]) -> str:
    """Make a name of a file from an expression."""
    plain = re.sub(r"\W+", "_", text).strip("_")[:60] or "plot"
    return next(name for n in range(1, len(names) + 2) if (name := plain if n == 1 else f"{plain}_{n}") not in names)
