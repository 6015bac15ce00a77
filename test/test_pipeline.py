from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toys
import uproot
import yaml

ANALYSIS = {
    "name": "tt",
    "samples": {n: {"files": f"{n}.root", "label": n} for n in ("signal", "background")},
    "inputs": {
        "event": {"features": ["MET_pt"]},
        "jets": {"collection": "Jet", "length": 4, "features": ["pt", "btagDeepFlavB"]},
    },
    "model": {"type": "deepsets", "constituent": [8], "hidden": [8]},
    "training": {"epochs": 2},
}


def stamps(folder: Path) -> dict[str, str]:
    names = {"convert": "dataset", "train": "run", "evaluate": "run/evaluation", "predict": "friends"}
    return {stage: (folder / "results" / name / "manifest.json").read_text() for stage, name in names.items()}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {stage for stage in before if before[stage] != after[stage]}


def test_only_what_is_stale_is_done_again(tmp_path: Path, nanoforge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanoforge.evaluation.gallery.plots", lambda *_: iter(()))  # five times; the next test draws
    for name in ("signal", "background"):
        toys.write(tmp_path / f"{name}.root", toys.nano_events(500, name == "signal"))
    (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(ANALYSIS, sort_keys=False))

    def run(*overrides: str) -> dict[str, str]:
        answer = nanoforge("run", "analysis.yaml", *overrides, "-o", "results")
        assert answer.returncode == 0, answer.stderr
        return stamps(tmp_path)

    first = run()
    assert uproot.open(tmp_path / "results" / "friends" / "signal.root")["Events"].num_entries == 500
    chain = {stage: json.loads(text) for stage, text in first.items()}
    assert chain["train"]["details"]["dataset"]["path"] == str(tmp_path / "results" / "dataset")
    second = run()
    assert changed(first, second) == set()
    refused = nanoforge("run", "analysis.yaml", "training.epochs=3", "keep=[run]", "-o", "results")
    assert refused.returncode == 2 and stamps(tmp_path) == second
    assert "results: holds results of other settings (keep: [] -> ['run']; training.epochs: 2 -> 3)" in refused.stderr
    refused = nanoforge("train", "analysis.yaml", "training.seed=9", "--data", "results/dataset", "-o", "results/run")
    assert "of 'nanoforge train', made from something else (training.seed: 1 -> 9); give another -o" in refused.stderr
    third = run("training.epochs=3", "--force")
    assert changed(second, third) == {"train", "evaluate", "predict"}
    fourth = run("training.epochs=3", "inputs.jets.length=5", "--force")
    assert changed(third, fourth) == {"convert", "train", "evaluate", "predict"}
    toys.write(tmp_path / "signal.root", toys.nano_events(600, True, first=500))
    fifth = run("training.epochs=3", "inputs.jets.length=5")
    assert changed(fourth, fifth) == {"convert", "train", "evaluate", "predict"}
    assert uproot.open(tmp_path / "results" / "friends" / "signal.root")["Events"].num_entries == 600


def test_from_generation_and_skim_to_scores(tmp_path: Path, nanoforge: Any) -> None:
    settings = ["PartonLevel:MPI = off"]
    processes = {"signal": "ttbar", "background": "dy_ll"}
    samples = {
        n: {"label": n, "generator": {"process": p, "events": 150, "settings": settings}} for n, p in processes.items()
    }
    analysis = {
        **ANALYSIS, "samples": samples, "define": {"ht": "sum(Jet_pt)"}, "select": {"met": "MET_pt > 10"},
        "skim": {"keep": ["drop *", "keep Jet_*", "keep MET_*", "keep ht", "keep genWeight"]},
    }  # fmt: skip
    (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(analysis, sort_keys=False))
    answer = nanoforge("run", "analysis.yaml", "-o", "results")
    assert answer.returncode == 0, answer.stderr
    results = tmp_path / "results"
    entries = {}
    for name in samples:
        entries[name] = uproot.open(results / "skimmed" / name / f"{name}.root")["Events"].num_entries
        assert 0 < entries[name] < uproot.open(results / "generated" / f"{name}.root")["Events"].num_entries == 150
        assert uproot.open(results / "friends" / f"{name}.root")["Events"].num_entries == entries[name]
    books = json.loads((results / "dataset" / "manifest.json").read_text())["accounting"]["events"]
    assert books["read"] == books["used"] == sum(entries.values())
    (results / "generated" / "signal.root").unlink()
    before = (results / "generated" / "manifest.json").read_text()
    answer = nanoforge("run", "analysis.yaml", "-o", "results")
    assert answer.returncode == 0, answer.stderr
    assert (results / "generated" / "manifest.json").read_text() != before


def test_a_skim_spoils_the_sum_over_events(tmp_path: Path, nanoforge: Any) -> None:
    toys.write(tmp_path / "signal.root", toys.nano_events(50, True))
    toys.write(tmp_path / "background.root", toys.nano_events(50, False))
    samples = {n: {**s, "xsec": 1.0, "sumw": "events"} for n, s in ANALYSIS["samples"].items()}
    analysis = {**ANALYSIS, "samples": samples, "skim": {"keep": ["keep *"]}}
    (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(analysis, sort_keys=False))
    answer = nanoforge("run", "analysis.yaml", "-o", "results")
    assert (
        answer.returncode == 2 and "samples.signal.sumw: 'events' would sum over what the skim keeps" in answer.stderr
    )
    assert not (tmp_path / "results").exists()
