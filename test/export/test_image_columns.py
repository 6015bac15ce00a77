"""Hits on their images as the graph of an event places them, against what a dataset has, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import hits as detector
import numpy as np
import old_runtime
import onnx
import onnxruntime
import pytest
import toys
from nanoforge.config import Analysis
from nanoforge.dataset.table import TableBuilder
from nanoforge.errors import DataError
from nanoforge.events.open import open_events
from nanoforge.export.graph import Graph
from nanoforge.export.preprocessing import Preprocessing
from nanoforge.provenance import Accounting
from nanoforge.serving.session import feeds

CELL = detector.CELL
SEED: dict[str, Any] = {
    "hits": "EcalHit", "channels": {"energy": "energy"}, "around": "seed", "size": [8, 9], "pixel": CELL,
}  # fmt: skip
TOWERS = {"hits": "EcalHit", "channels": {"sum": "energy", "near": "Photon_pt - energy"}, "onto": "ecal",
          "pixel": 3 * CELL, "eta": "eta + 0.01"}  # fmt: skip
INPUTS: dict[str, dict[str, Any]] = {
    "seed": {"ecal": {"image": SEED, "index": "photonIdx", "length": 6, "where": "energy > -0.5"}},
    "cells": {
        "ecal": {
            "image": {
                **SEED, "eta": "(ieta - where(ieta > 0, 1, 0) + 0.5) * 0.0174533", "phi": "(iphi - 0.5) * 0.0174533",
                "pixel": 0.0174533,
            },
            "match": "delta_r < 0.15", "length": 30,
        },
    },
    "row": {"ecal": {"image": {**SEED, "around": "row", "pixel": [0.02, 0.01]}, "index": "photonIdx", "length": 20}},
    "expressions": {"ecal": {"image": {**SEED, "around": ["eta + 0.01", "Photon_phi"]}, "all": True, "length": 40}},
    "onto": {
        "towers": {"image": TOWERS, "match": "delta_r < 0.2", "length": 20, "sort": "energy"},
        "ecal": {"image": SEED, "index": "photonIdx", "where": "energy > 3", "length": 4},
    },
    "photons": {  # the rows themselves as hits
        "others": {"image": {**SEED, "hits": "Photon", "channels": {"pt": "pt"}, "around": "row", "size": [99, 99]},
                   "all": True, "length": 3},
    },
    "missing": {"ecal": {"image": {**SEED, "channels": {"energy": "energy", "one": "1"}}, "index": "photonIdx",
                         "length": 12, "missing": [-0.2, 1], "nan": {"fill": -3}}},
}  # fmt: skip
WHOLE = {
    "ecal": {
        "image": {"hits": "EcalHit", "channels": {"energy": "energy"}, "range": [-0.9, 0.7], "size": [30, 36]},
        "length": 30,
    },
    "coarse": {
        "image": {"hits": "EcalHit", "channels": {"n": "1"}, "onto": "ecal", "pixel": [0.16, 0.3490659]},
        "length": 30, "where": "energy > 0",
    },
    "middle": {"image": {**SEED, "around": ["Photon_eta[0]", "Photon_phi[0]"]}, "length": 10, "nan": {"fill": 0}},
    "event": {"features": ["nPhoton"]},
}  # fmt: skip
CASES = {**{name: ("Photon", inputs) for name, inputs in INPUTS.items()}, "whole": ("event", WHOLE)}


class Both:
    """The inputs of the model from a dataset's builder, and the graph that makes them of the columns of an event."""

    def __init__(self, path: Path, row: str, inputs: dict[str, Any]) -> None:
        content: dict[str, Any] = {
            "name": "test",
            "samples": {"narrow": {"files": "unused", "label": "narrow"}},
            "row": row,
            "inputs": inputs,
            "target": {"regression": {"pt": "sum(Photon_pt)"}},
            "select": {} if row == "Photon" else {"photons": "nPhoton > 0"},
        }
        analysis = Analysis.model_validate(content)
        with open_events(str(path), "Events") as file:
            builder = TableBuilder(analysis, None, file, "predict")
            (chunk,) = file.chunks(builder.columns, 10_000)
            frame = builder.frame(chunk)
            self.rows = builder.select(frame, Accounting())
            table = builder.table(frame, self.rows, Accounting())
            try:
                builder.mend(frame, self.rows, table)
                self.error = None
            except DataError as error:
                self.error = str(error)
            self.expected = {name: np.copy(values) for name, values in table.tensors().items()}
            graph = Graph()
            before = Preprocessing(graph, analysis, file)
            for name, tensor in before.inputs.items():
                graph.output(tensor, f"{name}_out", ["r"] if name == "event" else ["r", "l"])
            graph.output(before.scores(before.inputs[f"{next(iter(inputs))}_mask"]), "scores", ["r"])
            graph.output(before.selected, "selected", ["r"])
            (fed,) = file.chunks(sorted(before.columns), 10_000)
            self.feeds = list(feeds(fed, sorted(before.columns)))
            self.names = list(before.inputs)
        for output in (model := graph.model()).graph.output:
            output.type.tensor_type.ClearField("shape")
        self.model = model

    def check(self, outputs: list[list[np.ndarray]]) -> None:
        rows = [values[-1] > 0.5 for values in outputs]
        assert sum(r.sum() for r in rows) == len(self.rows.positions) > 50
        for i, name in enumerate(self.names):
            graph = np.concatenate([values[i][: len(chosen)][chosen] for values, chosen in zip(outputs, rows)])
            expected = self.expected[name].astype("f4")
            assert graph.shape == expected.shape and np.array_equal(graph, expected, equal_nan=True), name
            assert graph.any(), "there are hits"

    @property
    def outputs(self) -> list[str]:
        return [f"{name}_out" for name in self.names] + ["scores", "selected"]


@pytest.fixture(scope="module")
def columns() -> toys.Columns:
    return detector.hit_events(150)


@pytest.fixture(scope="module")
def path(columns: toys.Columns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.write(tmp_path_factory.mktemp("hits") / "hits.root", columns, basket=40)


def run(both: Both) -> list[list[np.ndarray]]:
    session = onnxruntime.InferenceSession(both.model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run(both.outputs, feed) for feed in both.feeds]


@pytest.mark.parametrize("case", CASES)
def test_the_graph_places_hits_as_the_dataset_has_them(path: Path, case: str) -> None:
    both = Both(path, *CASES[case])
    both.check(run(both))


@pytest.mark.parametrize("case", CASES)
def test_so_does_the_runtime_of_cmssw(path: Path, tmp_path: Path, case: str) -> None:
    both = Both(path, *CASES[case])
    onnx.save(both.model, tmp_path / "model.onnx")
    both.check(old_runtime.run(tmp_path / "model.onnx", both.feeds, both.outputs))


def test_a_row_whose_hits_have_no_place_has_no_score(tmp_path: Path, columns: toys.Columns) -> None:
    """``predict`` stops at a position that is not a number, whatever replaces channels; other rows are as they were."""
    hits = columns["EcalHit"]
    eta = ak.where((columns["event"] == 100_007) & (hits.photonIdx == 0), np.float32(np.nan), hits.eta)
    broken = toys.write(tmp_path / "broken.root", {**columns, "EcalHit": ak.with_field(hits, eta, "eta")})
    inputs = {"ecal": {**INPUTS["row"]["ecal"], "nan": {"fill": 0}}}
    both = Both(broken, "Photon", inputs)
    assert both.error is not None and "100007): inputs.ecal: 'eta' is NaN or infinite" in both.error
    scores = [values[-2] for values in run(both)]
    assert len(scores[7]) and np.isnan(scores[7][0]).all() and np.isfinite(np.concatenate(scores[:7])).all()
