from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import lightgbm
import numpy as np
import onnxruntime
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import toys
import uproot
import yaml
from nanoforge.config import load
from nanoforge.errors import DataError, UserError
from nanoforge.models.base import score
from nanoforge.models.load import load_model
from nanoforge.provenance import Manifest
from nanoforge.stages.convert import convert
from nanoforge.stages.export import export
from nanoforge.stages.predict import predict
from nanoforge.stages.train import train

FILL = np.float32(-1)


def analysis(folder: Path, **changes: Any) -> dict[str, Any]:
    content = {
        "name": "tt",
        "samples": {n: {"files": str(folder / f"{n}.root"), "label": n} for n in ("signal", "background")},
        "select": {"two_jets": "nJet >= 2"},
        "inputs": {
            "event": {"features": ["MET_pt", {"ht": "sum(Jet_pt)"}]},
            "jets": {"collection": "Jet", "sort": "-pt", "length": 4, "features": ["pt", "btagDeepFlavB"]},
        },
        "keep": ["run", "event", "genWeight"],
        "model": {"type": "deepsets", "constituent": [16], "hidden": [16]},
        "training": {"epochs": 2, "batch_size": 256},
    }
    return {**content, **changes}


def without_graph(patch: pytest.MonkeyPatch) -> None:
    """Leave out what takes seconds and is tested elsewhere: the export and MLflow."""
    patch.setattr("nanoforge.stages.train.export_onnx", lambda model, path, *_: path.write_text("graph"))
    patch.setattr("nanoforge.stages.train.log_training", lambda *_: {})


def make_run(folder: Path, graph: bool = False, **changes: Any) -> Path:
    for name in ("signal", "background"):
        toys.write(folder / f"{name}.root", toys.nano_events(600, name == "signal"), basket=250)
    (folder / "analysis.yaml").write_text(yaml.safe_dump(analysis(folder, **changes), sort_keys=False))
    config = load(folder / "analysis.yaml")
    convert(config, folder / "dataset")
    with pytest.MonkeyPatch.context() as patch:
        if not graph:
            without_graph(patch)
        train(config, folder / "dataset", folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("trained"), graph=True).parent


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    split = {"train": 0.8, "val": 0.2, "test": 0, "folds": 2}
    return make_run(tmp_path_factory.mktemp("folded"), split=split).parent


@pytest.fixture(scope="module")
def jets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    changes = {
        "row": "Jet",
        "select": {"met": "MET_pt > 20", "acceptance": "pt > 30"},
        "inputs": {"jet": {"features": ["pt", "btagDeepFlavB"]}},
        "target": {"classes": {"b": "hadronFlavour == 5", "rest": "hadronFlavour != 5"}},
        "keep": ["hadronFlavour"],
        "model": {"type": "mlp", "hidden": [16]},
    }
    return make_run(tmp_path_factory.mktemp("jets"), **changes).parent


def features(events: ak.Array, *names: str) -> dict[str, np.ndarray]:
    """The model's inputs, with these of the jets, computed with awkward alone."""
    order = ak.argsort(events.Jet_pt, ascending=False, stable=True)
    padded = [
        ak.to_numpy(ak.fill_none(ak.pad_none(events[name][order], 4, clip=True), 0))
        for name in names or ("Jet_pt", "Jet_btagDeepFlavB")
    ]
    return {
        "event": np.stack([ak.to_numpy(events.MET_pt), ak.to_numpy(ak.sum(events.Jet_pt, axis=1))], axis=1).astype(
            "f4"
        ),
        "jets": np.stack(padded, axis=-1).astype("f4"),
        "jets_mask": np.arange(4) < ak.to_numpy(ak.num(events.Jet_pt))[:, np.newaxis],
    }


def test_friend_tree_lines_up(trained: Path, tmp_path: Path) -> None:
    predict(trained / "run", [str(trained / "*.root")], tmp_path / "friends")
    model = load_model(trained / "run" / "fold0" / "model.pt")
    for name in ("signal", "background"):
        original = uproot.open(trained / f"{name}.root")["Events"]
        friend = uproot.open(tmp_path / "friends" / f"{name}.root")["Events"]
        assert friend.num_entries == original.num_entries == 600
        assert set(friend.keys()) == {
            "run", "luminosityBlock", "event", "genWeight", "tt_signal", "tt_background"
        }  # fmt: skip
        for identity in ("run", "luminosityBlock", "event", "genWeight"):
            found, expected = (t[identity].array(library="np") for t in (friend, original))
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype
        events = original.arrays()
        scores = np.stack([friend[f"tt_{c}"].array(library="np") for c in ("signal", "background")], axis=1)
        assert scores.dtype == np.float32
        selected = ak.to_numpy(events.nJet >= 2)
        assert (scores[~selected] == FILL).all() and (~selected).any()
        np.testing.assert_allclose(scores[selected], score(model, features(events))[selected], atol=1e-5)
    books = Manifest.read(tmp_path / "friends", "predict").accounting
    assert books is not None and books.events.read == 1200 == books.events.used + books.events.rejected["two_jets"]


MOMENTA = ["pt", "eta", "phi", "mass"]
JETS = {
    "event": {"features": ["MET_pt", {"ht": "sum(Jet_pt)"}]},
    "jets": {"collection": "Jet", "sort": "-pt", "length": 4, "features": MOMENTA},
}
OWN = """
import torch

class Net(torch.nn.Module):
    def __init__(self, inputs, outputs, width):
        super().__init__()
        assert [info.length for info in inputs.values()] == [None, 4]
        self.jets = torch.nn.Linear(len(inputs["jets"].features), width)
        self.last = torch.nn.Linear(width, outputs)

    def forward(self, features, masks):
        return self.last((self.jets(features["jets"]).relu() * masks["jets"].unsqueeze(2)).sum(dim=1))
"""
MODELS = {
    "particlenet": {"embedding": 8, "convolutions": [[8], [8]], "neighbours": 2, "hidden": [8]},
    "particletransformer": {"width": 8, "heads": 2, "blocks": 1, "class_blocks": 1, "pairs": [4]},
    "mine:Net": {"options": {"width": 8}},
    "lightgbm": {"num_iterations": 20},
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_graph(monkeypatch)


def friend_of_signal(run: Path, folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Predict, and return the columns of the friend, and what the model makes of the selected events."""
    predict(run, [str(folder / "signal.root")], folder / "friends")
    events = uproot.open(folder / "signal.root")["Events"].arrays()
    friend = uproot.open(folder / "friends" / "signal.root")["Events"].arrays(library="np")
    model = load_model(run / "fold0" / "model.pt")
    selected = ak.to_numpy(events.nJet >= 2)
    expected = np.full((len(events), len(model.spec.outputs)), FILL)
    expected[selected] = score(model, features(events, *(f"Jet_{name}" for name in MOMENTA)))[selected]
    return friend, expected


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_predicts(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(OWN)  # beside the analysis file
    run = make_run(tmp_path, model={"type": kind, **MODELS[kind]}, inputs=JETS)
    monkeypatch.chdir(tmp_path.parent)
    friend, expected = friend_of_signal(run, tmp_path)
    found = np.stack([friend["tt_signal"], friend["tt_background"]], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("loss", "suffixes"), [("gaussian", ["", "_sigma"]), ("quantile", ["", "_q16", "_q84"])])
def test_every_output_of_a_regression_has_a_column(loss: str, suffixes: list[str], tmp_path: Path) -> None:
    target = {"regression": {"lead": "Jet_pt[0]", "third": "Jet_pt[2]"}}  # of two jets none is the third
    training = {"epochs": 2, "batch_size": 256, "loss": loss}
    run = make_run(tmp_path, inputs=JETS, target=target, training=training)
    friend, expected = friend_of_signal(run, tmp_path)
    columns = [f"tt_{name}{suffix}" for name in ("lead", "third") for suffix in suffixes]
    assert columns == [name for name in friend if name.startswith("tt_")]
    np.testing.assert_allclose(np.stack([friend[c] for c in columns], axis=1), expected, rtol=1e-5)
    if loss == "gaussian":
        assert (friend["tt_third_sigma"][expected[:, 0] != FILL] > 0).all()


def test_predict_may_select_differently(tmp_path: Path) -> None:
    run = make_run(tmp_path, select_for={"predict": {}})
    predict(run, [str(tmp_path / "signal.root")], tmp_path / "friends")
    friend = uproot.open(tmp_path / "friends" / "signal.root")["Events"].arrays(library="np")
    assert (friend["tt_signal"] >= 0).all()
    np.testing.assert_allclose(friend["tt_signal"] + friend["tt_background"], 1, atol=1e-5)


def test_scores_of_objects_are_lists(jets: Path, tmp_path: Path) -> None:
    predict(jets / "run", [str(jets / "signal.root")], tmp_path / "friends")
    model = load_model(jets / "run" / "fold0" / "model.pt")
    events = uproot.open(jets / "signal.root")["Events"].arrays()
    tree = uproot.open(tmp_path / "friends" / "signal.root")["Events"]
    friend = tree.arrays()
    assert tree["Jet_tt_b"].count_branch.name == "nJet"
    assert ak.all(friend.nJet == events.nJet) and ak.all(ak.num(friend.Jet_tt_b) == events.nJet)
    assert ak.all(friend.Jet_hadronFlavour == events.Jet_hadronFlavour)
    selected = ak.flatten((events.Jet_pt > 30) & (events.MET_pt > 20))
    flat = ak.to_numpy(ak.flatten(friend.Jet_tt_b))
    inputs = np.stack([ak.to_numpy(ak.flatten(events[n])) for n in ("Jet_pt", "Jet_btagDeepFlavB")], axis=1)
    np.testing.assert_allclose(flat[selected], score(model, {"jet": inputs})[selected, 0], atol=1e-5)
    assert (flat[~ak.to_numpy(selected)] == FILL).all()


def test_an_event_is_scored_by_the_model_that_did_not_train_on_it(folded: Path, tmp_path: Path) -> None:
    predict(folded / "run", [str(folded / "signal.root")], tmp_path / "friends")
    models = [load_model(folded / "run" / f"fold{i}" / "model.pt") for i in (0, 1)]
    with h5py.File(folded / "dataset" / "train.h5") as file:
        mine = file["id/sample"][:] == 0
        fold = dict(zip(file["id/event"][mine].tolist(), file["fold"][mine].tolist()))
    events = uproot.open(folded / "signal.root")["Events"].arrays()
    found = uproot.open(tmp_path / "friends" / "signal.root")["Events"]["tt_signal"].array(library="np")
    by_model = [score(m, features(events))[:, 0] for m in models]
    assert np.abs(by_model[0] - by_model[1]).max() > 1e-3
    for number, event in enumerate(events.event):
        if event in fold:
            assert found[number] == pytest.approx(by_model[fold[event]][number], abs=1e-5)


@pytest.mark.usefixtures("quick")
def test_no_event_is_scored_by_a_model_that_saw_it_even_when_duplicated(tmp_path: Path) -> None:
    """Trees learn by heart on which side the coins of their events fell; of other events they cannot know it."""
    rng, count = np.random.default_rng(1), 1000
    events = {
        **{name: np.ones(count, "u4") for name in ("run", "luminosityBlock")},
        "event": np.arange(1, count + 1, dtype="u8"),
        "heads": rng.random(count) < 0.5,
        **{f"x{i}": rng.random(count).astype("f4") for i in range(4)},
    }
    files = {name: str(tmp_path / f"{name}.root") for name in ("all", "some")}
    toys.write(Path(files["all"]), events)
    toys.write(Path(files["some"]), {name: values[300:700] for name, values in events.items()})
    changes = {
        "samples": {"one": {"files": list(files.values())}, "two": {"files": files["all"]}},
        "select": {}, "keep": [], "inputs": {"event": {"features": ["x0", "x1", "x2", "x3"]}},
        "target": {"classes": {"heads": "heads", "tails": "~heads"}},
        "split": {"train": 1, "val": 0, "test": 0, "folds": 3},
        "model": {"type": "lightgbm", "num_iterations": 50, "min_data_in_leaf": 1},
    }  # fmt: skip
    (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(analysis(tmp_path, **changes), sort_keys=False))
    config = load(tmp_path / "analysis.yaml")
    convert(config, tmp_path / "dataset")
    train(config, tmp_path / "dataset", tmp_path / "run")
    predict(tmp_path / "run", list(files.values()), tmp_path / "friends")

    inputs = {"event": np.stack([events[f"x{i}"] for i in range(4)], axis=1)}
    with h5py.File(tmp_path / "dataset" / "train.h5") as file:
        assert len(file["fold"]) == 2 * count + 400
        fold = dict(zip(file["id/event"][:].tolist(), file["fold"][:].tolist()))
    seen = np.array([[fold[event] != i for event in events["event"].tolist()] for i in range(3)])
    by_model = [score(load_model(tmp_path / "run" / f"fold{i}" / "model.pt"), inputs)[:, 0] for i in range(3)]
    right = (np.stack(by_model) > 0.5) == events["heads"]
    assert right[seen].mean() > 0.95
    for name, own in (("all", slice(None)), ("some", slice(300, 700))):
        found = uproot.open(tmp_path / "friends" / f"{name}.root")["Events"]["tt_heads"].array(library="np") > 0.5
        assert abs((found == events["heads"][own]).mean() - 0.5) < 4 * 0.5 / np.sqrt(len(found))


def test_trees_take_nan_as_it_is_and_so_do_their_graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanoforge.stages.train.log_training", lambda *_: {})
    events = {name: toys.flat_events(400, name == "signal") for name in ("signal", "background")}
    for name, columns in events.items():
        columns["m_vis"][::7] = np.nan
        columns["m_vis"][3::50] = np.inf
        toys.write(tmp_path / f"{name}.root", columns)
    block = {"features": ["pt_1", "m_vis", "jpt_1"], "missing": -999, "nan": "keep"}
    changes = {
        "select": {}, "keep": [], "inputs": {"event": block},
        "model": {"type": "lightgbm", "num_iterations": 20, "min_data_in_leaf": 5},
    }  # fmt: skip
    (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(analysis(tmp_path, **changes), sort_keys=False))
    config = load(tmp_path / "analysis.yaml")
    convert(config, tmp_path / "dataset")
    train(config, tmp_path / "dataset", tmp_path / "run")
    predict(tmp_path / "run", [str(tmp_path / "signal.root")], tmp_path / "friends")
    found = uproot.open(tmp_path / "friends" / "signal.root")["Events"]["tt_signal"].array(library="np")
    table = np.stack([events["signal"][name] for name in block["features"]], axis=1)
    table[~np.isfinite(table) | (table == -999)] = np.nan
    assert np.isnan(table).any(axis=0).tolist() == [False, True, True]
    booster = lightgbm.Booster(model_str=load_model(tmp_path / "run" / "fold0" / "model.pt").texts[0])
    np.testing.assert_allclose(found, 1 - booster.predict(table), atol=1e-6)
    session = onnxruntime.InferenceSession(tmp_path / "run" / "fold0" / "model.onnx")
    np.testing.assert_allclose(session.run(None, {"event": table})[0][:, 0], found, atol=1e-6)
    exported = export(tmp_path / "run", tmp_path / "export")  # compares with predict, row by row
    assert exported.details["parity"]["rows"] > 0


def test_other_formats_and_processes_hold_the_same_scores(trained: Path, tmp_path: Path) -> None:
    files = [str(trained / "signal.root"), str(trained / "background.root")]
    for format in ("root", "parquet", "csv", "hdf5"):
        predict(trained / "run", files, tmp_path / format, format=format, jobs=2 if format == "root" else 1)
    root = uproot.open(tmp_path / "root" / "signal.root")["Events"].arrays(library="np")
    parquet = pq.read_table(tmp_path / "parquet" / "signal.parquet")
    csv = pyarrow.csv.read_csv(tmp_path / "csv" / "signal.csv")
    with h5py.File(tmp_path / "hdf5" / "signal.h5") as file:
        for name in ("event", "tt_signal", "genWeight"):
            np.testing.assert_array_equal(parquet[name].to_numpy(), root[name])
            np.testing.assert_allclose(csv[name].to_numpy(), root[name], rtol=1e-6)
            np.testing.assert_array_equal(file[name][:], root[name])


def test_objects_in_other_formats(jets: Path, tmp_path: Path) -> None:
    for format in ("root", "parquet", "csv"):
        predict(jets / "run", [str(jets / "signal.root")], tmp_path / format, format=format)
    root = uproot.open(tmp_path / "root" / "signal.root")["Events"].arrays()
    parquet = ak.from_parquet(tmp_path / "parquet" / "signal.parquet")
    csv = pyarrow.csv.read_csv(tmp_path / "csv" / "signal.csv").to_pydict()
    assert ak.all(parquet.Jet_tt_b == root.Jet_tt_b)
    np.testing.assert_allclose(csv["tt_b"], ak.to_numpy(ak.flatten(root.Jet_tt_b)), rtol=1e-6)
    assert csv["object"] == ak.to_list(ak.flatten(ak.local_index(root.Jet_tt_b)))


@pytest.mark.usefixtures("quick")
def test_files_without_identity_are_scored_fold_by_fold(tmp_path: Path) -> None:
    for name in ("signal", "background"):
        toys.write(tmp_path / f"{name}.root", toys.flat_events(400, name == "signal"))
    changes = {
        "select": {}, "inputs": {"event": {"features": ["pt_1", "pt_met"]}}, "keep": [],
        "split": {"train": 0.8, "val": 0.2, "test": 0, "folds": 2}, "model": {"type": "mlp", "hidden": [8]},
    }  # fmt: skip
    (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(analysis(tmp_path, **changes), sort_keys=False))
    config = load(tmp_path / "analysis.yaml")
    convert(config, tmp_path / "dataset")
    train(config, tmp_path / "dataset", tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "signal.root").rename(tmp_path / "elsewhere" / "renamed.root")
    predict(tmp_path / "run", [str(moved)], tmp_path / "friends")
    found = uproot.open(tmp_path / "friends" / "renamed.root")["Events"]["tt_signal"].array(library="np")
    table = uproot.open(moved)["Events"].arrays(["pt_1", "pt_met"], library="np")
    inputs = {"event": np.stack([table["pt_1"], table["pt_met"]], axis=1)}
    by_model = [score(load_model(tmp_path / "run" / f"fold{i}" / "model.pt"), inputs)[:, 0] for i in (0, 1)]
    with h5py.File(tmp_path / "dataset" / "train.h5") as file:
        mine = file["id/sample"][:] == 0
        for entry, fold in zip(file["id/entry"][mine], file["fold"][mine]):
            assert found[entry] == pytest.approx(by_model[fold][entry], abs=1e-5)


def test_empty_and_equally_named_files(trained: Path, tmp_path: Path) -> None:
    for folder, count in (("a", 0), ("b", 50)):
        (tmp_path / folder).mkdir()
        toys.write(tmp_path / folder / "nano.root", toys.nano_events(count, True))
    predict(trained / "run", [str(tmp_path / "?" / "nano.root")], tmp_path / "friends")
    for folder, count in (("a", 0), ("b", 50)):
        assert uproot.open(tmp_path / "friends" / folder / "nano.root")["Events"].num_entries == count


def test_broken_files_are_named_or_lost(trained: Path, tmp_path: Path) -> None:
    good = toys.write(tmp_path / "good.root", toys.nano_events(50, True))
    bad = tmp_path / "bad.root"
    bad.write_bytes(good.read_bytes()[:2000])
    files = [str(good), str(bad)]
    with pytest.raises(DataError, match=r"bad.root: truncated"):
        predict(trained / "run", files, tmp_path / "friends")
    assert not (tmp_path / "friends").exists()
    predict(trained / "run", files, tmp_path / "friends", skip_bad_files=True)
    assert {p.name for p in (tmp_path / "friends").iterdir()} == {"good.root", "manifest.json"}
    books = Manifest.read(tmp_path / "friends", "predict").accounting
    assert books is not None and books.lost[0].file == str(bad)


def test_files_are_compared_with_the_checksums_of_their_list(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{trained / 'signal.root'} ad:12345678\n")
    with pytest.raises(DataError, match=r"signal.root: its checksum .* but the list of files says 12345678"):
        predict(trained / "run", [str(tmp_path / "list.txt")], tmp_path / "friends")
    with pytest.raises(DataError, match=r"signal.root: its checksum .* but the list of files says 12345678"):
        export(trained / "run", tmp_path / "export", check=[str(tmp_path / "list.txt")])


def test_unfinished_friends_that_were_damaged_are_made_again(trained: Path, tmp_path: Path) -> None:
    files = [toys.write(tmp_path / f"{n}.root", toys.nano_events(50, True, first=100 * n)) for n in range(5)]
    work, last = tmp_path / ".friends.unfinished", files[4].read_bytes()
    files[4].write_bytes(last[:2000])
    with pytest.raises(DataError, match=r"4.root: truncated"):
        predict(trained / "run", [str(f) for f in files], tmp_path / "friends")
    files[4].write_bytes(last)
    kept = (work / "0.root").stat().st_ino
    toys.flip_bit(work / "1.root")
    os.truncate(work / "2.root", 1000)
    (work / ".records" / "3.json").write_text("{}")
    predict(trained / "run", [str(f) for f in files], tmp_path / "friends")
    predict(trained / "run", [str(f) for f in files], tmp_path / "fresh")
    assert (tmp_path / "friends" / "0.root").stat().st_ino == kept
    for name in (f"{n}.root" for n in range(5)):
        found, expected = (uproot.open(tmp_path / d / name)["Events"].arrays() for d in ("friends", "fresh"))
        assert ak.array_equal(found, expected), name
    Manifest.read(tmp_path / "friends", "predict").verify(tmp_path / "friends")


def test_mistakes_are_explained(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--format rooot: not one of root, parquet, csv, hdf5; did you mean 'root'"):
        predict(trained / "run", [str(trained / "signal.root")], tmp_path / "friends", format="rooot")
    with pytest.raises(UserError, match=r"dataset: made by 'nanoforge convert'"):
        predict(trained / "dataset", [str(trained / "signal.root")], tmp_path / "friends")
    with pytest.raises(UserError, match="no file matches"):
        predict(trained / "run", [str(trained / "nothing*.root")], tmp_path / "friends")


def test_a_tampered_model_is_refused(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained / "run", tmp_path / "run"))
    with (run / "fold0" / "model.pt").open("r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"0123456789")
    with pytest.raises(DataError, match=r"model.pt: changed since it was written"):
        predict(run, [str(trained / "signal.root")], tmp_path / "friends")


@pytest.mark.parametrize("what", ["trained", "jets"])
def test_root_itself_reads_the_friends(what: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ROOT = pytest.importorskip("ROOT", reason="ROOT is not installed (pip install root==0.1a12)")  # noqa: N806
    folder = request.getfixturevalue(what)
    predict(folder / "run", [str(folder / "signal.root")], tmp_path / "friends")
    file = ROOT.TFile.Open(str(folder / "signal.root"))
    tree = file.Get("Events")
    tree.AddFriend("scores = Events", str(tmp_path / "friends" / "signal.root"))
    frame = ROOT.RDataFrame(tree)
    events = uproot.open(folder / "signal.root")["Events"].arrays()
    branch = "tt_signal" if what == "trained" else "Jet_tt_b"
    friend = uproot.open(tmp_path / "friends" / "signal.root")["Events"][branch].array()
    assert frame.Filter("event != scores.event").Count().GetValue() == 0
    found = frame.AsNumpy(["event", f"scores.{branch}"])
    np.testing.assert_array_equal(found["event"], ak.to_numpy(events.event))
    if what == "trained":
        np.testing.assert_array_equal(found[f"scores.{branch}"], ak.to_numpy(friend))
    else:
        assert [list(v) for v in found[f"scores.{branch}"]] == ak.to_list(friend)


def test_inputs_of_one_name_are_not_written_over_one_another(trained: Path, tmp_path: Path) -> None:
    toys.write(tmp_path / "z.root", toys.nano_events(30, True))
    ak.to_parquet(ak.zip(toys.plain(toys.nano_events(20, True)), depth_limit=1), tmp_path / "z.parquet")
    with pytest.raises(UserError, match=r"z.parquet: rename it"):
        predict(trained / "run", [str(tmp_path / "z.root"), str(tmp_path / "z.parquet")], tmp_path / "friends")


def test_changed_functions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def f(x):\n    return x\n")
    inputs = {"event": {"features": [{"m": "f(MET_pt)"}]}}
    run = make_run(tmp_path, functions=["mine:f"], inputs=inputs, model={"type": "mlp", "hidden": [4]})
    (tmp_path / "mine.py").write_text("def f(x):\n    return -x\n")
    with pytest.raises(UserError, match=r"mine.py: changed since .*run was trained"):
        predict(run, [str(tmp_path / "signal.root")], tmp_path / "friends")


def test_definitions_that_predictions_do_not_need_are_left_out(tmp_path: Path) -> None:
    changes = {
        "define": {"gen": "genWeight * 2", "ht": "sum(Jet_pt)"},
        "target": {"classes": {"up": "gen > 0", "down": "gen <= 0"}},
        "inputs": {"event": {"features": ["MET_pt", "ht"]}},
        "model": {"type": "mlp", "hidden": [4]},
    }
    run = make_run(tmp_path, **changes)
    columns = toys.nano_events(50, True)
    del columns["genWeight"]
    toys.write(tmp_path / "data.root", columns)
    predict(run, [str(tmp_path / "data.root")], tmp_path / "friends")
    assert "genWeight" not in set(uproot.open(tmp_path / "friends" / "data.root")["Events"].keys())


def test_nanoaod_without_events_gets_a_friend_without_entries(trained: Path, tmp_path: Path) -> None:
    toys.write_without_events(tmp_path / "none.root", sumw=10.0)
    predict(trained / "run", [str(tmp_path / "none.root")], tmp_path / "out")
    with uproot.open(tmp_path / "out" / "none.root") as file:
        assert file["Events"].num_entries == 0 and {"tt_signal", "run", "event"} <= set(file["Events"].keys())
