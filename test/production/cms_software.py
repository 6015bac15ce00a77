"""The stand-in of CMS's software, set up in a folder, and analyses that are produced by it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent / "cms"
SCRAM = HERE.parents[1] / "cmssw" / "release" / "bin" / "scramv1"
FILTERS = {"pair": {"mother": 36, "daughters": [11, -11]}}
GUN = {"gun": {"pdgId": 36, "pt": [20, 100], "mass": [0.1, 6]}, "settings": ["36:m0 = 3"], "events": 10, "seed": 5}
ANALYSIS: dict[str, Any] = {
    "name": "demo",
    "samples": {
        "signal": {"label": "s", "generator": {**GUN, "filters": FILTERS}, "xsec": 2.0},
        "other": {"label": "b", "generator": GUN, "xsec": 3.0},
    },
    "inputs": {"event": {"features": ["MET_pt"]}},
    "cmssw": {"era": "2022", "produce": {"events_per_job": 5, "pileup": "none"}},
}


def install(folder: Path) -> Path:
    """Set the stand-in up; returns what CMS_PATH has to be."""
    (folder / "faults").mkdir(parents=True)
    (folder / "common").symlink_to(HERE / "common")
    (folder / "bin").mkdir()
    for program in (*(HERE / "bin").iterdir(), SCRAM):
        (folder / "bin" / program.name).symlink_to(program)
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}"
    (folder / "cmsset_default.sh").write_text(f"export PATH={path}:$PATH\n")
    return folder


def analysis(folder: Path, produce: Mapping[str, Any] | None = None, **changes: Any) -> Path:
    """Write an analysis file."""
    content = {**ANALYSIS, **changes}
    cmssw = {**ANALYSIS["cmssw"], **changes.get("cmssw", {})}
    content["cmssw"] = {**cmssw, "produce": {**ANALYSIS["cmssw"]["produce"], **(produce or {})}}
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def events(path: Path) -> list[list[Any]]:
    """Return the events of a file of the stand-in: run, lumi, event, weight, whether the skim keeps it."""
    return json.loads(path.read_text())["events"]
