"""Scores of events by the models of a run, the same for all that asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

import numpy as np

from ..config.schema import Analysis
from ..dataset.friends import Entries
from ..dataset.identity import assign_fold
from ..dataset.inputs import ChosenRows
from ..dataset.table import Table, TableBuilder, TableBuilders
from ..distributions.variable import RowValues
from ..events.frame import Frame
from ..events.hashing import event_hash
from ..events.reader import EventFile
from ..provenance import Accounting

STAGE = "predict"
"""The cuts of this stage are those that hold for events to be scored."""
FILL = np.float32(-1)
"""The score of rows that the selection rejects."""
FOLD = "fold"
"""The input that says which fold's model scores a row, where an export was made so."""
RowScores = Callable[[dict[str, np.ndarray], np.ndarray], np.ndarray]
"""Takes the inputs of N rows by name and the fold (N,) of each, and returns (N, C) f4: torch, a graph, or a server."""


class Scorer:
    """Makes the rows of events and scores them; several threads may use it at a time.

    Parameters
    ----------
    analysis
        The analysis that the models were trained with.
    outputs
        Names of the C scores.
    folds
        The number of models. An event belongs to the one that did not train on it.
    row_scores
        Scores rows.
    """

    def __init__(self, analysis: Analysis, outputs: tuple[str, ...], folds: int, row_scores: RowScores) -> None:
        self.analysis = analysis
        self.outputs = outputs
        self._folds = folds
        self._row_scores = row_scores
        self._builders = TableBuilders(analysis, STAGE)

    def builder(self, file: EventFile, weight: str = "1") -> TableBuilder:
        """Return what makes the rows of a file, as the analysis sees it, and weighs events."""
        return self._builders.for_file(file, weight=weight)

    def entries(self, file: EventFile, builder: TableBuilder, frame: Frame, accounting: Accounting) -> Entries:
        """Score the events of a chunk, and book them; rejected rows get the score -1."""
        rows = builder.select(frame, accounting)
        table = builder.table(frame, rows, accounting)
        builder.mend(frame, rows, table)
        identity = builder.identity(frame)
        chosen = self._scores(file, frame, rows, identity, table)
        offsets = None if self.analysis.row == "event" else frame.offsets(self.analysis.row)
        total = frame.size if offsets is None else int(offsets[-1])
        scores = np.full((len(self.outputs), total), FILL)
        scores[:, rows.positions] = chosen.T
        names = [f"{self.analysis.name}_{output}" for output in self.outputs]
        kept = {name: values for name, values in builder.kept(frame).items() if name not in identity}
        return Entries(frame.start, frame.size, identity, dict(zip(names, scores)), kept, offsets)

    def rows(
        self, file: EventFile, builder: TableBuilder, frame: Frame, accounting: Accounting
    ) -> tuple[ChosenRows, RowValues]:
        """Score the events of a chunk, and give the rows; those that :meth:`entries` refuses have no score but NaN."""
        rows = builder.select(frame, accounting)
        table = builder.table(frame, rows, accounting)
        cleared = builder.clear(table)
        builder.mend(frame, rows, table)
        scores, tensors = self._scores(file, frame, rows, builder.identity(frame), table), table.tensors()
        for name, wrong in cleared.items():
            tensors[name] = np.where(wrong.reshape(tensors[name].shape), np.float32(np.nan), tensors[name])
            scores[wrong.any(axis=(1, 2))] = np.nan
        return rows, RowValues(tensors, scores, builder.weights(frame)[rows.events])

    def _scores(
        self, file: EventFile, frame: Frame, rows: ChosenRows, identity: Mapping[str, np.ndarray], table: Table
    ) -> np.ndarray:
        """Score the rows of a table, each by the model of its fold."""
        hashes = event_hash(
            {name: values[rows.events] for name, values in identity.items()},
            file.uuid,
            frame.start + rows.events,
            self.analysis.split.seed,
        )
        return self._row_scores(table.tensors(), assign_fold(hashes, self._folds))

    def nothing(self) -> Entries:
        """Return the entries of a file that has none, and not the columns that they are made from."""
        identity = {name: np.empty(0, np.int64) for name in self.analysis.identity_columns}
        scores = {f"{self.analysis.name}_{output}": np.empty(0, np.float32) for output in self.outputs}
        return Entries(0, 0, identity, scores, {}, None if self.analysis.row == "event" else np.zeros(1, np.int64))
