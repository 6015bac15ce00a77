"""The lumi mask of certified data: ``golden_json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError


class LumiMask:
    """Certified luminosity sections, from a JSON file ``{"run": [[first, last], …], …}``.

    Raises
    ------
    UserError
        When the file is missing or not of that form.
    """

    def __init__(self, path: str) -> None:
        try:
            content: dict[str, Any] = json.loads(Path(path).read_text())
            ranges = [(int(run), int(first), int(last)) for run, spans in content.items() for first, last in spans]
            table = np.array(sorted(ranges), dtype=np.uint32).reshape(-1, 3)
        except OSError as error:
            raise UserError(f"golden_json: {path}: cannot be read ({error.strerror})") from None
        except (ValueError, TypeError, AttributeError, OverflowError):
            raise UserError(f'golden_json: {path}: expected {{"run": [[first, last], ...]}}') from None
        self._first = _key(table[:, 0], table[:, 1])
        self._last = np.maximum.accumulate(_key(table[:, 0], table[:, 2]))  # a range may lie within an earlier one

    def __call__(self, run: np.ndarray, lumi: np.ndarray) -> np.ndarray:
        """Return (n,) bool: whether each (run, luminosity section) is certified."""
        if not len(self._first):
            return np.zeros(len(run), dtype=bool)
        key = _key(run, lumi)
        span = np.searchsorted(self._first, key, side="right")
        return (span > 0) & (key <= self._last[span - 1])


def _key(run: np.ndarray, lumi: np.ndarray) -> np.ndarray:
    return (run.astype(np.uint64) << np.uint64(32)) | lumi.astype(np.uint64)
