"""The lumi mask of certified data: ``golden_json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError

_MOST = 2**32 - 1


class LumiMask:
    """Certified luminosity sections, from a JSON file ``{"run": [[first, last], …], …}``.

    Raises
    ------
    UserError
        When the file is missing or not of that form: what is no range of sections, or stands there twice, was not meant
        so, and would be left out, or counted, without a word.
    """

    def __init__(self, path: str) -> None:
        try:
            pairs = json.loads(Path(path).read_text(), object_pairs_hook=_Pairs)
            table = np.array(_ranges(pairs), dtype=np.uint32).reshape(-1, 3)
        except OSError as error:
            raise UserError(f"golden_json: {path}: cannot be read ({error.strerror})") from None
        except _RangeError as mistake:
            raise UserError(f"golden_json: {path}: {mistake}") from None
        except (ValueError, TypeError, RecursionError):
            raise UserError(f'golden_json: {path}: expected {{"run": [[first, last], ...]}}') from None
        self._first, self._last = (_key(table[:, 0], table[:, column]) for column in (1, 2))

    def __call__(self, run: np.ndarray, lumi: np.ndarray) -> np.ndarray:
        """Return (n,) bool: whether each (run, luminosity section) is certified."""
        if not len(self._first):
            return np.zeros(len(run), dtype=bool)
        key = _key(run, lumi)
        span = np.searchsorted(self._first, key, side="right")
        return (span > 0) & (key <= self._last[span - 1])


class _Pairs(tuple):
    """The keys and values of a JSON object, in order: a dictionary would keep only the last of equal keys."""

    __slots__ = ()


class _RangeError(ValueError):
    """What is wrong with a run or a range."""


def _ranges(pairs: Any) -> list[tuple[int, int, int]]:
    """Return runs with the first and last section of each range, in order."""
    if not isinstance(pairs, _Pairs):
        raise ValueError
    named: set[int] = set()
    table: list[tuple[int, int, int]] = []
    for name, spans in pairs:
        if not (name.isascii() and name.isdigit() and int(name) <= _MOST):
            raise _RangeError(f"{name!r} is no number of a run")
        run = int(name)
        if run in named:
            raise _RangeError(f"run {run} is there twice: put all its ranges behind one")
        named.add(run)
        table += _spans(run, spans)
    return sorted(table)


def _spans(run: int, spans: Any) -> list[tuple[int, int, int]]:
    """Check the ranges of a run: pairs of whole numbers that rise, and do not overlap."""
    expected = f"run {run}: expected [[first, last], ...]"
    if not isinstance(spans, list):
        raise _RangeError(f"{expected}, found {_shown(spans)}")
    for span in spans:
        if not (isinstance(span, list) and len(span) == 2 and all(map(_is_section, span))):
            raise _RangeError(f"{expected} of whole numbers from 0 on, found {_shown(span)}")
        if span[0] > span[1]:
            raise _RangeError(f"run {run}: {_shown(span)} is empty: write the first section first")
    ordered = sorted(spans)
    for one, other in zip(ordered, ordered[1:]):
        if other[0] <= one[1]:
            raise _RangeError(f"run {run}: {_shown(one)} and {_shown(other)} overlap")
    return [(run, first, last) for first, last in ordered]


def _is_section(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _key(run: np.ndarray, lumi: np.ndarray) -> np.ndarray:
    return (run.astype(np.uint64) << np.uint64(32)) | lumi.astype(np.uint64)
