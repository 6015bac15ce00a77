"""What the pages show of the use from Python runs: the coffea processor, the notebook, the loop in plain torch."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import nanoforge
import numpy as np
import pytest
import torch
import uproot
from coffea import processor
from coffea.nanoevents import NanoAODSchema

EVENTS = 400

EXAMPLES = Path(__file__).resolve().parents[2] / "doc" / "examples"


@pytest.fixture(scope="module")
def example() -> Any:
    specification = importlib.util.spec_from_file_location("coffea_processor", EXAMPLES / "coffea_processor.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["coffea_processor"] = module  # where workers find it
    specification.loader.exec_module(module)
    return module


def executor(name: str) -> Any:
    if name == "dask":
        from distributed import Client

        return processor.DaskExecutor(client=Client(processes=False, n_workers=1, dashboard_address=None), status=False)
    if name == "futures":
        from concurrent.futures import ThreadPoolExecutor

        return processor.FuturesExecutor(pool=ThreadPoolExecutor, workers=2, status=False)
    return processor.IterativeExecutor(status=False)


@pytest.mark.parametrize("name", ["iterative", "futures", "dask"])
@pytest.mark.filterwarnings("ignore")
def test_coffea_scores_with_all_its_executors(home: Path, example: Any, name: str) -> None:
    NanoAODSchema.warn_missing_crossrefs = False
    runner = processor.Runner(executor(name), schema=NanoAODSchema, chunksize=150)
    files = {sample: {"files": {str(home / f"{sample}.root"): "Events"}} for sample in ("tt", "dy")}
    found = runner(files, processor_instance=example.ScoreProcessor(str(home / "run"), "tt"))
    friend = uproot.open(home / "friends" / "tt.root")["Events"]["tt_tt"].array(library="np")
    assert found["tt"]["selected"] == (friend >= 0).sum() and found["dy"]["selected"] <= EVENTS
    counts, _ = np.histogram(friend, 20, (0, 1))
    assert np.abs(found["tt"]["score"].values() - counts).sum() <= 2  # scores at an edge


def test_a_network_of_ones_own_learns_from_our_batches(home: Path) -> None:
    data = nanoforge.open_dataset(home / "dataset")
    network = torch.nn.Linear(2, 2)
    optimiser = torch.optim.Adam(network.parameters(), 0.05)
    losses = []
    for epoch in range(5):
        for batch in data.batches("train", 64, shuffle=True, seed=1, epoch=epoch):
            features = (batch.inputs["event"] - 50) / 50
            loss = torch.nn.functional.cross_entropy(network(features), batch.label)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names: dict[str, Any] = {}
    exec(code, names)  # as a notebook does, one process for all
    assert len(names["scores"]) == 120
