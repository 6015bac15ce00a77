"""The rows that a served model scores, counted in the bins of its training: cheap, and of bounded memory."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from ..distributions.drift import Drift, Thresholds, drifts, worst_state
from ..distributions.reference import Distributions, Reference
from ..distributions.variable import RowValues
from ..errors import DataError
from ..provenance.manifest import write_atomically

ROWS_OF_BATCH = 64
"""Of a batch of more rows so many are counted, evenly chosen, each for as many as it stands for."""
ROWS_AT_A_TIME = 1024
"""So many wait to be counted together: one by one would take as long as to score them."""
_MOST_BYTES = 8_000_000


class RowWatch:
    """Counts rows; several threads may use it.

    Parameters
    ----------
    path
        The ``reference.json`` of the model.

    Raises
    ------
    DataError
        When it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._reference = Reference.read(path).distributions
        self._counted = self._reference.empty()
        self._waiting: list[RowValues] = []
        self._rows = self._bytes = 0
        self._lock = threading.Lock()
        self._shared: Path | None = None
        self._written = 0

    def check(self, inputs: dict[str, Any], path: Path) -> None:
        """Raise a :class:`DataError` where the model takes other inputs than the training had."""
        missing = [name for name in self._reference.inputs if name not in inputs]
        if missing:
            raise DataError(f"{path}: is of another model: this one has no input {missing[0]!r}")

    def share(self, folder: Path, key: str) -> None:
        """Count together with the other processes that serve the same graph.

        Parameters
        ----------
        folder
            Each writes there what it has counted, and reads what the others have.
        key
            Of the graph, a hexadecimal number.
        """
        self._shared = folder / f"drift-{key}-{uuid4().hex}.json"

    def publish(self) -> None:
        """Let the other processes know what was counted, if that is more than they know."""
        with self._lock:
            self._count()
            rows = self._counted.rows
            if self._shared is None or rows == self._written:
                return
            content = json.dumps(self._counted.as_dict())
        write_atomically(self._shared, content)
        self._written = rows

    def _with_others(self) -> Distributions:
        """Return what all processes have counted; those that ended, too."""
        total = self._reference.empty()
        total.merge(self._counted)
        if self._shared is not None:
            key = self._shared.name.rpartition("-")[0]
            for path in self._shared.parent.glob(f"{key}-*.json"):
                if path != self._shared:
                    total.merge(Distributions.from_dict(json.loads(path.read_text())))
        return total

    def add(self, tensors: dict[str, np.ndarray], scores: np.ndarray) -> None:
        """Count the rows of a batch."""
        rows = len(scores)
        if not rows:
            return
        step = -(-rows // ROWS_OF_BATCH)
        chosen = {name: np.array(values[::step]) for name, values in tensors.items()}
        weight = np.full(-(-rows // step), rows / -(-rows // step))
        values = RowValues(chosen, np.array(scores[::step]), weight)
        with self._lock:
            self._waiting.append(values)
            self._rows += len(weight)
            self._bytes += sum(v.nbytes for v in chosen.values())
            if self._rows >= ROWS_AT_A_TIME or self._bytes >= _MOST_BYTES:
                self._count()

    def _count(self) -> None:
        """Count what waits: lists of one length together."""
        groups: dict[Any, list[RowValues]] = {}
        for values in self._waiting:
            groups.setdefault(tuple(v.shape[1:] for v in values.tensors.values()), []).append(values)
        self._waiting, self._rows, self._bytes = [], 0, 0
        for group in groups.values():
            self._counted.add(RowValues.join(group))

    def sizes(self) -> dict[str, float]:
        """Return the population stability index of each variable that has enough values."""
        return {change.variable.label: change.psi for change in self._changes()[0] if change.psi == change.psi}

    def _changes(self) -> tuple[list[Drift], dict[str, Any]]:
        with self._lock:
            self._count()
            counted = self._with_others()
        return drifts(self._reference, counted, Thresholds()), counted.as_dict()

    def content(self) -> dict[str, Any]:
        """Return the drift of every variable and what was counted, as plain JSON types."""
        changes, filled = self._changes()
        ordered = sorted(changes, key=lambda change: change.size, reverse=True)
        return {
            "state": worst_state([change.state for change in changes]),
            "rows": filled["rows"],
            "variables": [
                {
                    "name": change.variable.label,
                    "state": change.state,
                    "psi": None if change.psi != change.psi else change.psi,
                    "ks": None if change.ks != change.ks else change.ks,
                    "reasons": change.reasons,
                }
                for change in ordered
            ],
            "filled": filled,
        }
