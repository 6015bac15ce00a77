"""Images through all stages: the same hits on disk in each format, and the same scores wherever they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hits as detector
import numpy as np
import onnxruntime
import pytest
import torch
import uproot
import yaml
from nanoforge.config import load
from nanoforge.dataset.open import open_dataset
from nanoforge.dataset.streaming import StreamedData
from nanoforge.distributions.reference import Reference
from nanoforge.distributions.variable import Variable
from nanoforge.models.base import score
from nanoforge.models.load import load_model
from nanoforge.provenance import Manifest
from nanoforge.stages.convert import convert
from nanoforge.stages.evaluate import evaluate
from nanoforge.stages.export import export
from nanoforge.stages.predict import predict
from nanoforge.stages.train import train

NETWORK = '''
import torch
from nanoforge.models.raster import image_shapes


class Net(torch.nn.Module):
    """A convolution over each image, and the largest of its outputs."""

    def __init__(self, inputs, outputs):
        super().__init__()
        shapes = image_shapes(inputs)
        self.convolutions = torch.nn.ModuleDict(
            {name: torch.nn.Conv2d(planes, 4, 7, padding=3) for name, (planes, _, _) in shapes.items()}
        )
        self.last = torch.nn.Linear(4 * len(shapes), outputs)

    def forward(self, features, masks, images):
        pooled = [layer(images[name]).relu().amax(dim=(2, 3)) for name, layer in self.convolutions.items()]
        return self.last(torch.cat(pooled, dim=1))
'''
ECAL = {
    "image": {
        "hits": "EcalHit",
        "channels": {"energy": "energy", "count": "1"},
        "combine": {"count": "count"},
        "around": "seed",
        "size": [10, 13],
        "pixel": detector.CELL,
    },
    "index": "photonIdx",
    "length": 10,
    "scale": {"energy": "log1p(0.1)"},
}


def analysis(folder: Path, **changes: Any) -> Path:
    content = {
        "name": "shape",
        "samples": {n: {"files": str(folder / f"{n}.root"), "label": n} for n in ("narrow", "wide")},
        "row": "Photon",
        "inputs": {"ecal": ECAL, "photon": {"features": ["pt"]}},
        "split": {"train": 0.7, "val": 0.3, "test": 0, "folds": 2},
        "model": {"type": "mine:Net"},
        "training": {"epochs": 4, "batch_size": 16, "learning_rate": 0.02},
    }
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    detector.write(folder, 200)
    (folder / "mine.py").write_text(NETWORK)
    convert(load(analysis(folder)), folder / "dataset")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nanoforge.stages.train.log_training", lambda *_: {})
        train(load(analysis(folder)), folder / "dataset", folder / "run")
    return folder / "run"


def batches(folder: Path, source: Path | None = None) -> dict[str, torch.Tensor]:
    """All training rows of the first fold, by input, in an order that no format changes."""
    data = open_dataset(source or folder / "dataset")
    found = list(data.batches("train", 0, 100))
    columns = {name: torch.cat([batch.inputs[name] for batch in found]) for name in found[0].inputs}
    order = torch.argsort(columns["photon"][:, 0])
    return {name: values[order] for name, values in columns.items()}


def test_parquet_holds_the_same_hits(folder: Path, tmp_path: Path) -> None:
    convert(load(analysis(folder, dataset={"format": "parquet"})), tmp_path / "parquet")
    expected = batches(folder)
    for name, values in batches(folder, tmp_path / "parquet").items():
        assert torch.equal(values, expected[name]), name


def test_training_reads_the_same_hits_from_root(folder: Path, tmp_path: Path) -> None:
    data = StreamedData(load(analysis(folder)), "always", 1, skip_bad_files=False)
    data.prepare(tmp_path)
    found = list(data.batches("train", 0, 100))
    columns = {name: torch.cat([batch.inputs[name] for batch in found]) for name in found[0].inputs}
    order = torch.argsort(columns["photon"][:, 0])
    for name, values in batches(folder).items():
        assert torch.equal(columns[name][order], values), name
    assert any("inputs.ecal.length" in notice for notice in data.notices)


def test_what_convert_says_of_hits(folder: Path, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    convert(load(analysis(folder)), tmp_path / "again")
    said = "".join(capsys.readouterr())
    assert "ecal hits read" in said and "rejected by length" in said and "rejected by image (outside of it)" in said
    assert "inputs.ecal.length: " in said and "of the rows have more hits" in said


def test_a_network_that_takes_images_learns_the_shape(run: Path) -> None:
    scores = []
    predict(run, [str(run.parent / "*.root")], run.parent / "friends")
    for name in ("narrow", "wide"):
        with uproot.open(run.parent / "friends" / f"{name}.root") as friend:
            values = np.concatenate(list(friend["Events"]["Photon_shape_wide"].array(library="np")))
        scores.append(values)
    narrow, wide = scores
    assert np.mean(wide[:, None] > narrow[None, :]) > 0.7


def test_the_reference_of_a_training_counts_hits_and_no_pixels(run: Path) -> None:
    reference = Reference.read(run / "fold0" / "reference.json").distributions
    labels = [one.variable.label for one in reference]
    features = [f"ecal.{name}" for name in ("eta", "phi", "energy", "count")]
    assert labels == [*features, "num(ecal)", "photon.pt", "score narrow", "score wide"]
    tensors = batches(run.parent)
    mask = tensors["ecal_mask"]
    hits, lengths = (reference[Variable(kind, "ecal", name)] for kind, name in (("feature", "energy"), ("length", "")))
    assert reference.rows == len(mask) and hits.counts.values == int(mask.sum())
    energies = tensors["ecal"][..., 2][mask]
    assert (hits.binning.low, hits.binning.high) == (float(energies.min()), float(energies.max()))
    assert lengths.counts.mean[0] == pytest.approx(float(mask.sum(dim=1).float().mean()))


def test_evaluate_takes_images(run: Path) -> None:
    evaluate(run, output=run.parent / "report")
    assert (run.parent / "report" / "report.html").exists()


def test_export_takes_hits_and_scores_as_the_model(run: Path) -> None:
    export(run, run.parent / "export", features=True, fold="0")
    session = onnxruntime.InferenceSession(next((run.parent / "export").glob("*.onnx")))
    model = load_model(run / "fold0" / "model.pt")
    rows = {n: v.numpy().astype("f4") for n, v in batches(run.parent).items()}
    assert session.run(["scores"], rows)[0] == pytest.approx(score(model, rows), abs=1e-5)


def test_the_columns_of_an_event_give_the_scores_of_predict(run: Path) -> None:
    export(run, run.parent / "columns")
    parity = Manifest.read(run.parent / "columns", "export").details["parity"]
    assert parity["worst"] <= 1e-5 and parity["rows"] > 300
    assert {0, 1, 10, 13} <= set(parity["lengths"]["EcalHit"])
    inputs = {i["name"] for i in json.loads((run.parent / "columns" / "model.json").read_text())["inputs"]}
    assert inputs == {"Photon_pt", *(f"EcalHit_{v}" for v in ("eta", "phi", "energy", "photonIdx"))}


@pytest.mark.parametrize(
    "model",
    [
        {"type": "deepsets", "constituent": [8], "hidden": [8]},
        {"type": "particlenet", "embedding": 8, "convolutions": [[8]], "neighbours": 3, "hidden": [8]},
    ],
    ids=lambda model: model["type"],
)
def test_the_same_hits_are_a_set_for_other_networks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: dict[str, Any]
) -> None:
    monkeypatch.setattr("nanoforge.stages.train.export_onnx", lambda model, path, *_: path.write_text("graph"))
    monkeypatch.setattr("nanoforge.stages.train.log_training", lambda *_: {})
    config = load(analysis(folder, model=model, training={"epochs": 1, "batch_size": 64}))
    train(config, folder / "dataset", tmp_path / "run")
    rows = batches(folder)
    trained = load_model(tmp_path / "run" / "fold0" / "model.pt")
    assert np.isfinite(score(trained, {n: v.numpy() for n, v in rows.items()})).all()
