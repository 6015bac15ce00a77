"""The whole pipeline on real CMS files, against known physics, and its twins on toy data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
import toys
import uproot
import yaml

Find = Callable[[str], Path]

HTT12 = {"signal": "HTT12_TTbarSkim.root", "background": "HTT12_DYJetsToLLSkim.root"}
NO_FEATURES = ("run", "weight", "gen_match")
FOLDS = {"train": 0.85, "val": 0.15, "test": 0, "folds": 5}
HALVES = {**FOLDS, "folds": 2}
"""Where models that learn from half of the rows, in place of four fifths, reach the bound as well."""
TRAINING = {"epochs": 25, "batch_size": 256, "patience": 6}


@pytest.fixture(autouse=True)
def _no_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw them just once: it takes longer than the numbers."""
    if request.function is not test_twin_flat_toys:
        monkeypatch.setattr("nanoforge.evaluation.gallery.plots", lambda *_: iter(()))


def auc(nanoforge: Any, folder: Path, **content: Any) -> float:
    """Run the pipeline and return the mean test AUC over the folds."""
    analysis = {"name": "test", "split": FOLDS, "training": TRAINING, **content}
    (folder / "analysis.yaml").write_text(yaml.safe_dump(analysis, sort_keys=False))
    for command in (
        ("convert", "analysis.yaml", "-o", "dataset"),
        ("train", "analysis.yaml", "--data", "dataset", "-o", "run"),
        ("evaluate", "run"),
    ):
        answer = nanoforge(*command)
        assert answer.returncode == 0, answer.stderr
    metrics = json.loads((folder / "run" / "evaluation" / "metrics.json").read_text())
    return metrics["spread"][f"auc.{metrics['outputs'][0]}"]["value"]


@pytest.mark.parametrize(
    ("model", "split", "training", "least"),
    [
        ({"type": "lightgbm"}, HALVES, {}, 0.989),
        (
            {"type": "mlp", "hidden": [128, 128], "dropout": 0.5},
            FOLDS,
            {"epochs": 40, "patience": 40, "learning_rate": 3e-3, "schedule": "one_cycle", "weight_decay": 1.0},
            0.988,
        ),
    ],
    ids=["trees", "network"],
)
def test_ttbar_against_drell_yan_with_all_features(
    shared: Find, nanoforge: Any, tmp_path: Path, model: Any, split: Any, training: Any, least: float
) -> None:
    files = {label: shared(name) for label, name in HTT12.items()}
    features = [n for n in list(uproot.open(files["signal"])["Events"].keys()) if n not in NO_FEATURES]
    assert len(features) == 34
    found = auc(
        nanoforge,
        tmp_path,
        samples={label: {"files": str(path), "label": label} for label, path in files.items()},
        inputs={"event": {"features": features, "missing": -999, "nan": {"fill": 0}}},
        split=split,
        model=model,
        training=TRAINING | training,
    )
    assert found >= least


def test_ttbar_against_drell_yan_with_seven_features(shared: Find, nanoforge: Any, tmp_path: Path) -> None:
    found = auc(
        nanoforge,
        tmp_path,
        samples={label: {"files": str(shared(name)), "label": label} for label, name in HTT12.items()},
        inputs={"event": {"features": ["pt_1", "eta_1", "pt_2", "eta_2", "m_vis", "mt_1", "pt_met"]}},
        split=HALVES,
        model={"type": "mlp", "hidden": [64, 64], "dropout": 0.1},
    )
    assert found >= 0.945


def test_b_jets_with_secondary_vertices(shared: Find, nanoforge: Any, tmp_path: Path) -> None:
    jet = [{"log_pt": "log(pt)"}, "eta", {"m": "mass / pt"}, "nConstituents", "chEmEF", "chHEF", "neEmEF", "neHEF"]
    vertex = [{"log_pt": "log(pt)"}, "mass", {"log_s": "log(dlenSig)"}, "delta_r", {"share": "pt / Jet_pt"}, "ndof"]
    found = auc(
        nanoforge,
        tmp_path,
        samples={"ttbar": {"files": str(shared("NanoAODv5_sample.root"))}},
        row="Jet",
        select={"acceptance": "Jet_pt > 20 & abs(Jet_eta) < 2.4"},
        inputs={
            "jet": {"features": jet},
            "sv": {"collection": "SV", "match": "delta_r < 0.4", "sort": "-dlenSig", "length": 3, "features": vertex},
        },
        target={"classes": {"b": "hadronFlavour == 5", "rest": "hadronFlavour != 5"}},
        split=HALVES,
        model={"type": "deepsets", "constituent": [64, 64], "hidden": [64, 64], "dropout": 0.2},
    )
    assert found >= 0.88


def test_twin_flat_toys(nanoforge: Any, tmp_path: Path) -> None:
    """Four independent variables of known densities: the AUC has to come near that of the likelihood ratio, 0.94."""
    for signal in (True, False):
        toys.write(tmp_path / f"{signal}.root", toys.flat_events(2000, signal))
    found = auc(
        nanoforge,
        tmp_path,
        samples={str(s).lower(): {"files": f"{s}.root", "label": str(s).lower()} for s in (True, False)},
        inputs={"event": {"features": list(toys.flat_events(1, True)), "missing": -999, "nan": {"fill": 0}}},
        split=HALVES,
        model={"type": "mlp", "hidden": [32, 32]},
    )
    assert 0.90 < found < 0.97
    assert (tmp_path / "run" / "evaluation" / "report.html").stat().st_size > 80_000


def test_twin_b_jets(nanoforge: Any, tmp_path: Path) -> None:
    """Eight of ten toy b jets have a vertex, one in twenty others: without any other hint the AUC is 0.875."""
    toys.write(tmp_path / "toy.root", toys.nano_events(1500, True))
    found = auc(
        nanoforge,
        tmp_path,
        samples={"toy": {"files": "toy.root"}},
        row="Jet",
        inputs={
            "jet": {"features": ["pt"]},
            "sv": {"collection": "SV", "match": "delta_r < 0.4", "length": 2, "features": ["delta_r"]},
        },
        target={"classes": {"b": "hadronFlavour == 5", "rest": "hadronFlavour != 5"}},
        split=HALVES,
        model={"type": "deepsets", "constituent": [16], "hidden": [16]},
    )
    assert 0.82 < found < 0.9
