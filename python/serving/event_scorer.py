"""Scores of raw events by a graph that takes features of rows: the code of ``predict``, without torch.

What makes rows is imported with the first events: a server of tensors alone does without its 90 MB.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from ..config.schema import Analysis
from ..errors import DataError, NanoForgeError
from ..provenance import Accounting
from .batcher import MAX_ROWS
from .request_error import RequestError
from .served_model import ServedModel

if TYPE_CHECKING:
    from ..events.reader import EventFile
    from .scorer import Scorer

ANALYSIS_KEYS = {
    *("name", "tree", "samples", "collections", "define", "select", "select_for", "identity", "row", "inputs"),
    *("target", "weight", "keep", "split"),
}
"""What making rows and naming scores takes of an analysis."""


class EventScorer:
    """Scores the events of a table; several threads may use it at a time.

    Parameters
    ----------
    model
        The graph that takes features of rows.
    analysis
        Its ``analysis.yaml``.

    Raises
    ------
    DataError
        When the analysis is none.
    """

    def __init__(self, model: ServedModel, analysis: Path) -> None:
        self._model = model
        try:
            self.analysis = Analysis.model_validate(yaml.safe_load(analysis.read_text()))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise DataError(f"{analysis}: cannot be used ({str(error).partition(chr(10))[0]})") from None
        prefix = f"{self.analysis.name}_"
        self._outputs = tuple(score.removeprefix(prefix) for score in model.description["outputs"]["scores"])

    @cached_property
    def _scorer(self) -> Scorer:
        from .scorer import Scorer

        return Scorer(self.analysis, self._outputs, self.analysis.split.folds, self._row_scores)

    def score(self, file: EventFile) -> Any:
        """Score all events of a table.

        Returns
        -------
        pyarrow.Table
            A row for each event, as ``nanoforge predict --format parquet`` writes it.

        Raises
        ------
        RequestError
            400 where columns are missing, or values are not what the analysis expects; 422 where the analysis names
            functions of the user's own, for a server imports none.
        """
        import pyarrow as pa

        from ..dataset.friends import entries_table
        from ..events.view import view

        if self.analysis.functions:
            raise RequestError(422, f"{self.analysis.name} names functions of its author's, which no server runs")
        try:
            events = view(file, self.analysis)
            builder = self._scorer.builder(events)
            row = None if self.analysis.row == "event" else self.analysis.row
            chunks = (builder.frame(chunk) for chunk in events.chunks(builder.columns))
            tables = [
                entries_table(self._scorer.entries(events, builder, frame, Accounting()), row) for frame in chunks
            ]
            if not tables:
                frame = builder.frame(builder.empty_chunk())
                tables = [entries_table(self._scorer.entries(events, builder, frame, Accounting()), row)]
            return pa.concat_tables(tables)
        except NanoForgeError as error:
            raise RequestError(400, str(error)) from None

    def _row_scores(self, tensors: dict[str, np.ndarray], fold: np.ndarray) -> np.ndarray:
        from .scorer import FOLD

        values = {**tensors, FOLD: fold}
        inputs = {name: np.ascontiguousarray(values[name], np.float32) for name in self._model.inputs}
        parts = [
            self._model.run({name: v[start : start + MAX_ROWS] for name, v in inputs.items()})["scores"]
            for start in range(0, len(fold), MAX_ROWS)
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(self._outputs)), np.float32)
