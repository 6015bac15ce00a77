"""A small trained run for all tests of the use from Python."""

from __future__ import annotations

from pathlib import Path

import nanoforge
import pytest
import toys
import yaml

EVENTS = 400


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two folds, its friends, and its exports."""
    folder = tmp_path_factory.mktemp("model")
    toys.write(folder / "tt.root", toys.nano_events(EVENTS, True, first=1), sumw=1.0)
    toys.write(folder / "dy.root", toys.nano_events(EVENTS, False, first=10_000), sumw=1.0)
    content = {
        "name": "tt",
        "samples": {name: {"files": f"{name}.root", "label": name} for name in ("tt", "dy")},
        "define": {"ht": "sum(Jet_pt)"},
        "select": {"two_jets": "nJet >= 2"},
        "inputs": {
            "event": {"features": ["MET_pt", "ht"]},
            "jets": {"collection": "Jet", "sort": "-pt", "length": 3, "features": ["pt", "btagDeepFlavB"]},
        },
        "split": {"folds": 2, "train": 0.8, "val": 0.2, "test": 0},
        "model": {"type": "deepsets", "constituent": [8], "hidden": [8]},
        "training": {"epochs": 1},
    }
    (folder / "analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    analysis = nanoforge.load(folder / "analysis.yaml")
    nanoforge.convert(analysis, str(folder / "dataset"))
    nanoforge.train(analysis, str(folder / "dataset"), str(folder / "run"))
    nanoforge.predict(str(folder / "run"), [str(folder / "tt.root")], str(folder / "friends"))
    nanoforge.export_model(str(folder / "run"), str(folder / "export"))
    return folder
