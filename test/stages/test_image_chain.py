"""The stages beside training, with images: the same commands, and what they say of mistakes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import hits as detector
import numpy as np
import pytest
import uproot
import yaml
from nanoforge.config import load
from nanoforge.evaluation import figure as figures
from nanoforge.evaluation.figures.images import AverageImages
from nanoforge.evaluation.figures.importance import FeatureImportance
from nanoforge.stages.compare import compare
from nanoforge.stages.convert import convert
from nanoforge.stages.evaluate import evaluate
from nanoforge.stages.predict import predict
from nanoforge.stages.train import train
from nanoforge.stages.tune import tune

BALANCE = {"shape": {"variables": {"pt": {"bins": 3, "range": [8, 60]}}, "to": "narrow", "by": "resample"}}
RESNET = {"type": "resnet", "widths": [4], "hidden": [4]}
HITS = {"type": "deepsets", "constituent": [4], "hidden": [4]}


def analysis(folder: Path, name: str = "analysis", **changes: Any) -> Path:
    content = {
        **detector.PHOTONS,
        "name": "shape",
        "samples": {n: {"files": str(folder / f"{n}.root"), "label": n} for n in ("narrow", "wide")},
        "keep": ["eta"],
        "split": {"train": 0.5, "val": 0.2, "test": 0.3},
        "model": RESNET,
        "training": {
            "epochs": 1, "batch_size": 32, "accelerator": "cpu", "balance": BALANCE,
            "augment": {"flip_eta": True, "flip_phi": True},
        },
        "search": {"trials": 2, "pruner": "none", "parameters": {"training.learning_rate": {"low": 1e-4, "high": 0.1}}},
    }  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two evaluated runs on one dataset: of images, and of the same hits as a set."""
    folder = tmp_path_factory.mktemp("chain")
    detector.write(folder, 250)
    convert(load(analysis(folder)), folder / "dataset")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nanoforge.stages.train.export_onnx", lambda model, path, *_: path.write_text("graph"))
        patch.setattr("nanoforge.stages.train.log_training", lambda *_: {})
        patch.setattr("nanoforge.stages.evaluate.log_evaluation", lambda *_: None)
        patch.setattr(figures, "all_figures", lambda: (FeatureImportance(), AverageImages()))
        for name, model in (("images", RESNET), ("sets", HITS)):
            plain = {} if name == "images" else {"training": {"epochs": 1, "batch_size": 32}}
            train(load(analysis(folder, name, model=model, **plain)), folder / "dataset", folder / name)
            evaluate(folder / name)
    return folder


def test_the_importance_is_that_of_positions_and_channels(folder: Path) -> None:
    measured = json.loads((folder / "images" / "evaluation" / "metrics.json").read_text())["importance"]["decrease"]
    expected = {f"{name}.{v}" for name in ("ecal", "towers") for v in ("eta", "phi")}
    assert {*expected, "ecal.energy", "towers.all", "photon.pt"} == set(measured)
    assert any(abs(one["value"]) > 0 for name, one in measured.items() if name.startswith("ecal"))


def test_the_report_shows_images(folder: Path) -> None:
    report = folder / "images" / "evaluation"
    assert "Images of towers" in (report / "report.html").read_text() and list(report.rglob("images_ecal.p*"))


def test_images_and_sets_are_compared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanoforge.evaluation.style.save", lambda *_: None)
    compare([folder / "images", folder / "sets"], folder / "compared")
    assert "images" in (folder / "compared" / "comparison.html").read_text()


def test_a_search_trains_networks_of_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanoforge.evaluation.style.save", lambda *_: None)
    for name in ("history", "importance"):
        monkeypatch.setattr(f"nanoforge.tuning.trial_figures.{name}", lambda *_: None)
    tune(load(analysis(folder)), folder / "dataset", folder / "search")
    with (folder / "search" / "trials.csv").open() as file:
        losses = [float(trial["val_loss"]) for trial in csv.DictReader(file)]
    assert len(losses) == 2 and np.isfinite(losses).all()


def test_friends_have_a_score_for_each_photon(folder: Path) -> None:
    predict(folder / "images", [str(folder / "wide.root")], folder / "friends")
    with uproot.open(folder / "wide.root") as events, uproot.open(folder / "friends" / "wide.root") as friend:
        scores = friend["Events"]["Photon_shape_wide"].array()
        pt = events["Events"]["Photon_pt"].array()
    assert [len(one) for one in scores] == [len(one) for one in pt]
    flat, chosen = np.concatenate([np.asarray(s) for s in scores]), np.concatenate([np.asarray(p) for p in pt]) > 8
    assert (flat[~chosen] == -1).all() and (flat[chosen] >= 0).all() and chosen.any() and not chosen.all()


def test_a_job_trains_on_images(folder: Path, tmp_path: Path, nanoforge: Any) -> None:
    """How hits are converted in parts, and these merged, is tested with datasets without padding."""
    config = analysis(folder, "jobs", batch={"site": "generic", "retries": 0})
    answer = nanoforge("submit", "local", config, "--stage", "train", "--data", folder / "dataset", "-o", "train")
    assert answer.returncode == 0, answer.stderr
    assert nanoforge("collect", "train", "-o", "trained").returncode == 0
    assert (tmp_path / "trained" / "fold0" / "model.pt").exists()


# --- mistakes: one line, exit code 2 ---

IMAGE = detector.PHOTONS["inputs"]["ecal"]["image"]


def changed(**changes: Any) -> dict[str, Any]:
    """The inputs with another image of crystals."""
    block, image = {**detector.PHOTONS["inputs"]["ecal"]}, {**IMAGE}
    for key, value in changes.items():
        (image if key in (*IMAGE, "range", "onto", "combine") else block)[key] = value
    return {**detector.PHOTONS["inputs"], "ecal": {**block, "image": image}}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (changed(hits="EcalHits"), "inputs.ecal.image.hits: no collection 'EcalHits'; did you mean 'EcalHit'?"),
        (changed(channels={"energy": "enrgy"}), "did you mean 'energy'?"),
        (changed(around="sead"), "inputs.ecal.image.around: should be seed, row, or two expressions"),
        (changed(around=["Photon_eat", "phi"]), "inputs.ecal.image.around: no column"),
        (changed(pixel=0), "inputs.ecal.image.pixel"),
        (changed(pixel=[-1, 1]), "inputs.ecal.image.pixel"),
        (changed(size=[0, 8]), "inputs.ecal.image.size"),
        (changed(size=[8, 513]), "inputs.ecal.image.size"),
        (changed(pixel=0.0123), "inputs.towers.image.pixel: 0.05"),
        (changed(onto="towers"), "inputs.ecal.image: 'around' is that of 'onto: towers'"),
        (changed(scale={"energy": "log"}), "inputs.ecal.scale.energy: should be none, sqrt, linear"),
        (changed(around=["eta + 1", "phi"]), "rows lies on the image: is phi in degrees"),
    ],
)
def test_a_mistake_is_one_line(
    folder: Path, tmp_path: Path, nanoforge: Any, inputs: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nanoforge.dataset.images._MANY_ROWS", 100)
    config = analysis(folder, "mistake", inputs=inputs)
    answer = nanoforge("convert", config, "-o", "out")
    errors = [line for line in answer.stderr.splitlines() if not line.startswith(("note:", "warning:"))]
    assert answer.returncode == 2 and len(errors) == 1 and errors[0].startswith("error: "), answer.stderr
    assert message in errors[0]
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_what_convert_counts(folder: Path, nanoforge: Any) -> None:
    inputs = changed(length=2, where="energy > 3")
    answer = nanoforge("convert", analysis(folder, "counted", inputs=inputs), "-o", "out")
    assert answer.returncode == 0
    said = " ".join(" ".join((answer.stdout + answer.stderr).split()).split())
    assert "ecal hits read" in said and "rejected by image (outside of it)" in said and "rejected by length" in said
    assert "inputs.ecal.length: " in said and "of the rows have more hits" in said
    assert "inputs.ecal" in said and "rows have no hit" in said
