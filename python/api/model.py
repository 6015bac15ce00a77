"""Models that are called with events: trained runs, and exports by ONNX Runtime alone."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from ..errors import DataError, UserError
from ..events.arrays import ArrayFile
from ..events.view import view
from ..provenance import Accounting, Manifest
from ..provenance.trust import require
from ..serving.session import feeds, open_session


class EventModel(ABC):
    """Gives the scores of events; several threads may use it at a time.

    Attributes
    ----------
    name
        Of the analysis.
    outputs
        Names of the C scores: the classes, or the targets and what is predicted beside them.
    """

    name: str
    outputs: tuple[str, ...]

    @abstractmethod
    def __call__(self, events: Any) -> ak.Array:
        """Score events.

        Parameters
        ----------
        events
            N events with the columns that the analysis reads: a record array of awkward, NanoEvents, columns of numpy
            or awkward by name, ``RDataFrame.AsNumpy()``.

        Returns
        -------
        awkward.Array
            N records with a field for each of ``outputs``: f4, or lists of it where rows are objects. What the
            selection of the analysis rejects has the score -1. The same as ``nanoforge predict`` writes.

        Raises
        ------
        UserError, DataError
            When a column is missing, or a value is not what the analysis expects.
        """


def load_model(path: str | Path, *, trust: bool = False) -> EventModel:
    """Load what ``nanoforge train`` or ``nanoforge export`` made.

    Parameters
    ----------
    path
        The run, or the export; the latter needs neither torch nor the run.
    trust
        Import the Python code that a run of somebody else names: functions, and networks that are not NanoForge's.

    Returns
    -------
    EventModel
        To be called with events.

    Raises
    ------
    UserError
        When it is something else.
    DataError
        When it is damaged.

    Examples
    --------
    >>> model = nanoforge.load_model("run")  # doctest: +SKIP
    >>> scores = model({"MET_pt": met, "Jet_pt": jet_pt})  # doctest: +SKIP
    >>> scores["signal"]  # doctest: +SKIP
    """
    folder = Path(path)
    manifest = Manifest.load(folder, "train")
    if manifest.stage == "train":
        return _Run(folder, manifest, trust=trust)
    if manifest.stage == "export":
        return _Export(folder, manifest)
    raise UserError(f"{folder}: made by 'nanoforge {manifest.stage}', and a run or an export is needed here")


class _Run(EventModel):
    """The models of all folds of a run."""

    def __init__(self, run: Path, trained: Manifest, *, trust: bool) -> None:
        from ..models.load import own_code
        from ..training.runs import load_scorer, settings_of

        trained.verify(run)
        require(run, trained, own_code(trained, run), trust=trust)
        analysis = settings_of(trained, run)
        folds = trained.details["dataset"]["info"]["folds"]
        self._scorer = load_scorer(run, analysis, folds)
        self.name, self.outputs = analysis.name, self._scorer.outputs

    def __call__(self, events: Any) -> ak.Array:
        file = view(ArrayFile(events), self._scorer.analysis)
        builder = self._scorer.builder(file)
        parts = [
            self._scorer.entries(file, builder, builder.frame(chunk), Accounting())
            for chunk in file.chunks(builder.columns)
        ] or [self._scorer.entries(file, builder, builder.frame(builder.empty_chunk()), Accounting())]
        columns = {}
        for output in self.outputs:
            values = [part.scores[f"{self.name}_{output}"] for part in parts]
            columns[output] = ak.concatenate(
                [v if part.offsets is None else part.lists(v) for part, v in zip(parts, values)]
            )
        return ak.zip(columns, depth_limit=1)


class _Export(EventModel):
    """A graph that takes the columns of one event at a time."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        manifest.verify(folder)
        self._description = json.loads((folder / "model.json").read_text())
        if self._description["level"] != "columns":
            raise UserError(f"{folder}: takes features of rows and not events: export it without --features")
        self.name = self._description["name"]
        scores = self._description["outputs"]["scores"]
        self.outputs = tuple(score.removeprefix(f"{self.name}_") for score in scores)
        path = folder / "model.onnx"
        try:
            self._session = open_session(path)
        except Exception as error:  # ONNX Runtime has errors of its own
            raise DataError(f"{path}: cannot be loaded ({str(error).partition(chr(10))[0]})") from error

    def __call__(self, events: Any) -> ak.Array:
        file = ArrayFile(events)
        names = [item["name"] for item in self._description["inputs"]]
        if any(item["kind"] == "fold" for item in self._description["inputs"]):
            raise UserError(f"{self.name}: this export wants the number of the fold: use the run, or --fold average")
        for name in names:
            if name not in file.branches:
                raise UserError(f"events: have no column {name!r}, which the model takes")
        scores: list[np.ndarray] = []
        for chunk in file.chunks(names):
            scores += map(self._score, feeds(chunk, names))
        counts = [len(of_event) for of_event in scores]
        table = np.concatenate(scores) if scores else np.empty((0, len(self.outputs)), np.float32)
        columns = {output: table[:, number] for number, output in enumerate(self.outputs)}
        if self._description["row"] != "event":
            columns = {name: ak.unflatten(values, counts) for name, values in columns.items()}
        return ak.zip(columns, depth_limit=1)

    def _score(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        scores, selected = (np.asarray(v) for v in self._session.run(["scores", "selected"], feed))
        return np.where(selected[:, np.newaxis] > 0, scores, np.float32(self._description["fill"]))
