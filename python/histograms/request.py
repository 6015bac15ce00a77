"""What to draw, as a user writes it: ``x``, ``y:x``, and with bins ``x>>(50,0,200)``, as in ROOT's ``TTree::Draw``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..events.files import is_remote

_BINS = re.compile(r"(?P<expressions>.*?)\s*>>\s*(?P<name>\w*)\s*(?:\((?P<numbers>[^()]*)\))?\s*", re.DOTALL)
_FILES = (".root", ".parquet", ".csv", ".json", ".jsonl", ".txt", ".yaml", ".yml")
_MOST_BINS, _USUAL_BINS, _MOST_INTEGERS = 10_000, 50, 100
_TAIL = 0.001
_STEPS = np.array([1, 2, 2.5, 5, 10])


@dataclass(frozen=True)
class Range:
    """Equal bins of an axis."""

    bins: int
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (0 < self.bins <= _MOST_BINS and -math.inf < self.low < self.high < math.inf):
            raise ValueError(f"{self.bins} bins from {self.low:g} to {self.high:g} are no axis")

    @property
    def edges(self) -> np.ndarray:
        """The edges of the bins, (bins + 1,)."""
        return np.linspace(self.low, self.high, self.bins + 1)


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


def automatic_range(values: np.ndarray) -> Range:
    """Choose bins for some of the values: one for each integer where they are few, else about 50 of a round width.

    One value in a thousand at either end may lie outside.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Range(1, 0.0, 1.0)
    if values.dtype.kind in "biu" and int(finite.max()) - int(finite.min()) < _MOST_INTEGERS:
        first, last = int(finite.min()), int(finite.max())
        return Range(last - first + 1, first - 0.5, last + 0.5)
    low, high = (float(edge) for edge in np.quantile(finite.astype(np.float64), (_TAIL, 1 - _TAIL)))
    if not high > low:
        half = max(0.5, abs(low) * 1e-3)
        return Range(1, low - half, low + half)
    if 0 < low < 0.3 * high:
        low = 0.0
    width = _round_up((high - low) / _USUAL_BINS)
    first, last = math.floor(low / width), math.ceil(high / width)
    return Range(last - first, first * width, last * width)


def _round_up(width: float) -> float:
    power = 10.0 ** math.floor(math.log10(width))
    return float(power * _STEPS[np.searchsorted(_STEPS, width / power * (1 - 1e-12))])
