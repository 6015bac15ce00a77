"""Scaled, whitened and categorical features in all stages: one answer, whoever computes the inputs."""

from __future__ import annotations

import json

import awkward as ak
import numpy as np
import old_runtime
import onnxruntime
import pytest
import toys
import uproot
import yaml
from nanoforge.models.base import score
from nanoforge.models.load import load_model
from nanoforge.provenance import Manifest
from nanoforge.stages.export import export
from stages.test_export import Deployed, friend

INPUTS = {
    "event": {"features": [{"MET_pt": {"scale": "log"}}, {"ht": {"expression": "sum(Jet_pt)", "scale": "robust"}}]},
    "jets": {
        "collection": "Jet", "sort": "-pt", "length": 4, "scale": "quantile", "pca": 2,
        "features": ["pt", "eta", {"flavour": {"expression": "hadronFlavour", "categories": [0, 5]}},
                     {"mass": {"scale": "log"}}],
    },
}  # fmt: skip
MODELS = {
    "network": {"type": "deepsets", "constituent": [8], "hidden": [8]},
    "trees": {"type": "lightgbm", "num_iterations": 10, "min_data_in_leaf": 5},
}


@pytest.fixture(params=sorted(MODELS))
def project(request, tmp_path, monkeypatch):
    monkeypatch.setattr("nanoforge.stages.train.log_training", lambda *_: {})
    for name in ("signal", "background"):
        toys.write(tmp_path / f"{name}.root", toys.nano_events(300, name == "signal"), basket=100)
    inputs = {**INPUTS, "jets": {k: v for k, v in INPUTS["jets"].items() if request.param == "network" or k != "pca"}}
    content = {
        "name": "tt",
        "samples": {n: {"files": f"{n}.root", "label": n} for n in ("signal", "background")},
        "select": {"two_jets": "nJet >= 2"},
        "inputs": inputs,
        "split": {"train": 0.7, "val": 0.3, "test": 0, "folds": 2},
        "model": MODELS[request.param],
        "training": {"epochs": 1, "batch_size": 128},
    }
    (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return tmp_path


def raw(events):
    """The inputs of the model, computed with awkward alone."""
    order = ak.argsort(events.Jet_pt, ascending=False, stable=True)
    names = ("pt", "eta", "hadronFlavour", "mass")
    columns = [ak.fill_none(ak.pad_none(events[f"Jet_{n}"][order], 4, clip=True), 0) for n in names]
    event = [ak.to_numpy(events.MET_pt), ak.to_numpy(ak.sum(events.Jet_pt, axis=1))]
    valid = np.arange(4) < ak.to_numpy(ak.num(events.Jet_pt))[:, np.newaxis]
    jets = np.stack([ak.to_numpy(c) for c in columns], axis=-1).astype("f4")
    return {"event": np.stack(event, axis=1).astype("f4"), "jets": jets, "jets_mask": valid}


def test_every_way_gives_one_answer(project, nanoforge, tmp_path):
    answer = nanoforge("convert", "analysis.yaml", "-o", "dataset")
    assert answer.returncode == 0, answer.stderr
    notice = "inputs.jets: flavour is none of its 2 categories in 9 % of the Jet entries"
    assert answer.stderr.count(notice) == 1, answer.stderr
    assert any(line.startswith(notice) for line in Manifest.read(tmp_path / "dataset", "convert").details["notices"])
    answer = nanoforge("train", "analysis.yaml", "--data", "dataset", "-o", "run")
    assert answer.returncode == 0, answer.stderr
    run, signal, friends = tmp_path / "run", tmp_path / "signal.root", tmp_path / "friends"
    names = ["tt_signal", "tt_background"]
    scores = friend(run, signal, friends, names)
    events = uproot.open(signal)["Events"].arrays()
    selected = ak.to_numpy(events.nJet >= 2)
    columns = raw(events)
    models = [load_model(run / f"fold{i}" / "model.pt") for i in range(2)]
    by_fold = np.stack([score(model, columns) for model in models])
    closest = np.abs(by_fold - scores).max(axis=2).min(axis=0)  # an event is scored by one of the two
    assert closest[selected].max() < 1e-5 and (scores[~selected] == -1).all()
    feed = {name: values.astype("f4") for name, values in columns.items()}
    for fold in range(2):
        path = run / f"fold{fold}" / "model.onnx"
        found = onnxruntime.InferenceSession(path).run(None, feed)[0]
        np.testing.assert_allclose(found, by_fold[fold], atol=1e-5)
    export(run, tmp_path / "columns", fold="1")
    found, chosen = Deployed(tmp_path / "columns")(signal)
    np.testing.assert_array_equal(chosen, selected)
    np.testing.assert_allclose(found[selected], by_fold[1][selected], atol=1e-5)
    export(run, tmp_path / "features", features=True, fold="1")
    description = json.loads((tmp_path / "features" / "model.json").read_text())
    jets = description["inputs"][1]  # of which C++ computes these, and the model does all else
    assert [f["expression"] for f in jets["features"]] == ["pt", "eta", "hadronFlavour", "mass"]
    assert not {"scale", "pca", "categories"} & set(jets)
    path = tmp_path / "features" / "model.onnx"
    found = onnxruntime.InferenceSession(path).run(None, feed)[0]
    np.testing.assert_allclose(found, by_fold[1], atol=1e-5)
    ((old,),) = old_runtime.run(path, [feed])
    np.testing.assert_allclose(old, by_fold[1], atol=1e-5)


def test_files_give_the_model_of_their_dataset(project, nanoforge, tmp_path, monkeypatch):
    monkeypatch.setattr("nanoforge.stages.train.export_onnx", lambda model, path, *_: path.write_text("graph"))
    assert nanoforge("convert", "analysis.yaml", "-o", "dataset").returncode == 0
    assert nanoforge("train", "analysis.yaml", "--data", "dataset", "-o", "run").returncode == 0
    answer = nanoforge("train", "analysis.yaml", "--data", "analysis.yaml", "-o", "direct")
    assert answer.returncode == 0 and "flavour is none of its 2 categories" in answer.stderr, answer.stderr
    columns = raw(uproot.open(tmp_path / "signal.root")["Events"].arrays())
    first, second = (load_model(tmp_path / run / "fold1" / "model.pt") for run in ("run", "direct"))
    np.testing.assert_allclose(score(first, columns), score(second, columns), atol=0.05)  # rows in another order
    state, other = first.state_dict(), second.state_dict()
    learnt = [name for name in state if name.startswith("preparations") and not name.endswith("weight")]
    assert all(np.allclose(state[name], other[name], rtol=1e-4, atol=1e-4) for name in learnt)
