from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import old_runtime
import onnx
import onnxruntime
import pytest
import torch
import toys
import uproot
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from nanoforge.config import load
from nanoforge.config.schema import Analysis
from nanoforge.dataset.identity import assign_fold
from nanoforge.dataset.table import dataset_info
from nanoforge.errors import DataError, UserError
from nanoforge.events.hashing import event_hash
from nanoforge.events.open import open_events
from nanoforge.export import parity
from nanoforge.export.assembly import KEY
from nanoforge.models.base import ModelSpec
from nanoforge.models.network import NetworkModel
from nanoforge.models.onnx import export_onnx
from nanoforge.provenance import Manifest
from nanoforge.stages.convert import convert
from nanoforge.stages.export import export
from nanoforge.stages.predict import predict
from nanoforge.stages.train import train

EVENTS: dict[str, Any] = {
    "define": {"ht": "sum(Jet_pt[Jet_pt > 30])", "good_eta": "Jet_eta[Jet_pt > 40]",
               "MET_phi": "-MET_phi"},
    "select": {"two_jets": "nJet >= 2", "lead": "Jet_pt[0] > 25"},
    "inputs": {
        "event": {"features": ["MET_pt", "ht", "nJet", {"dphi": "delta_phi(Jet_phi[0], MET_phi)"},
                               {"fired": "HLT_IsoMu24"}, {"forward": "max(abs(good_eta))"},
                               {"lead": "where(nMuon > 0, Muon_pt[0], -1)"}], "missing": -1, "nan": {"fill": -5}},
        "jets": {"collection": "Jet", "where": "pt > 25 & abs(eta) < 2.5", "sort": "-pt", "length": 4,
                 "features": ["pt", "btagDeepFlavB", {"share": "pt / ht"}, {"dphi": "delta_phi(phi, MET_phi)"}],
                 "nan": {"fill": 0}},
        "muons": {"collection": "Muon", "length": 2, "features": ["pt", {"jet": "Jet_pt[jetIdx]"}], "nan": {"fill": 0}},
    },
}  # fmt: skip
JETS: dict[str, Any] = {
    "row": "Jet",
    "select": {"met": "MET_pt > 10", "acceptance": "pt > 30"},
    "inputs": {
        "jet": {"features": ["pt", "btagDeepFlavB", {"share": "pt / sum(Jet_pt)"}, "MET_pt"]},
        "vertices": {"collection": "SV", "match": "delta_r < 0.4", "sort": "-dlenSig", "length": 2,
                     "features": ["dlenSig", "delta_eta", {"share": "SV_pt / Jet_pt"}]},
        "muons": {"collection": "Muon", "index": "jetIdx", "where": "pt > 5", "length": 2, "features": ["pt"]},
        "all": {"collection": "Jet", "sort": "-abs(eta)", "length": 3, "features": ["pt", "eta"]},
    },
    "target": {"classes": {"b": "hadronFlavour == 5", "rest": "hadronFlavour != 5"}},
}  # fmt: skip
FOLDED = {"split": {"train": 0.8, "val": 0.2, "test": 0, "folds": 3}}


def make_analysis(folder: Path, *blocks: dict[str, Any]) -> Analysis:
    for name in ("signal", "background"):
        toys.write(folder / f"{name}.root", toys.nano_events(300, name == "signal"))
    content: dict[str, Any] = {
        "name": "tt",
        "samples": {n: {"files": str(folder / f"{n}.root"), "label": n} for n in ("signal", "background")},
        "model": {"type": "deepsets", "constituent": [8], "hidden": [8]},
        "training": {"epochs": 1, "batch_size": 256},
    }
    for block in blocks:
        content |= block
    (folder / "analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return load(folder / "analysis.yaml")


def untrained(folder: Path, *blocks: dict[str, Any]) -> Path:
    """What train writes, with the weights of its first step: a fraction of the time."""
    analysis = make_analysis(folder, *blocks)
    info = dataset_info(analysis)
    spec = ModelSpec(info.inputs, info.classes, "classification", analysis.model.model_dump(mode="json"))
    files = [f"fold{i}/{name}" for i in range(info.folds) for name in ("model.pt", "model.onnx")]
    for fold in range(info.folds):
        torch.manual_seed(fold)
        model = NetworkModel(spec)
        for name, block in info.inputs.items():
            model.set_normalisation(name, *np.full((2, len(block.features)), 20.0))
        (folder / "run" / f"fold{fold}").mkdir(parents=True)
        model.save(folder / "run" / files[2 * fold])
        export_onnx(model, folder / "run" / files[2 * fold + 1], {})
    details = {"spec": spec.as_dict(), "dataset": {"info": info.as_dict()}, "sha256": analysis.digests()}
    manifest = Manifest("train", analysis.model_dump(mode="json"), [], details=details)
    manifest.write(folder / "run", dict.fromkeys(files))
    return folder / "run"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("events")
    analysis = make_analysis(folder, EVENTS)
    convert(analysis, folder / "dataset")
    train(analysis, folder / "dataset", folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def exported(events: Path) -> Path:
    export(events, events.parent / "export")
    return events.parent / "export"


@pytest.fixture(scope="module")
def jets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("jets"), JETS)


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    select = {"select": {"two_jets": "nJet >= 2"}}
    inputs = {"inputs": {"event": {"features": ["MET_pt", "nJet", {"ht": "sum(Jet_pt)"}]}}}
    model = {"model": {"type": "mlp", "hidden": [8]}}
    return untrained(tmp_path_factory.mktemp("folded"), FOLDED, select, inputs, model)


class Deployed:
    """An exported graph, run event by event on the columns of a file as a C++ program would."""

    def __init__(self, folder: Path) -> None:
        self.description = json.loads((folder / "model.json").read_text())
        self.path = folder / "model.onnx"

    def __call__(self, path: Path, **more: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        columns = {i["name"]: i for i in self.description["inputs"] if i["kind"] != "fold"}
        table = uproot.open(path)["Events"].arrays(list(columns), library="np")
        feeds = []
        for event in range(len(next(iter(table.values())))):
            feed = {n: np.asarray(v[event], "f4").reshape(1, -1) for n, v in table.items()}
            feed = {n: v if columns[n]["kind"] == "object" else v[0] for n, v in feed.items()}
            feeds.append(feed | {n: v[event : event + 1].astype("f4") for n, v in more.items()})
        scores, selected = zip(*self.run(feeds, ["scores", "selected"]))
        return np.concatenate(scores), np.concatenate(selected) > 0.5

    def run(self, feeds: list[dict[str, np.ndarray]], outputs: list[str]) -> list[list[np.ndarray]]:
        session = onnxruntime.InferenceSession(self.path, providers=["CPUExecutionProvider"])
        return [session.run(outputs, feed) for feed in feeds]


class DeployedInCMSSW(Deployed):
    def run(self, feeds: list[dict[str, np.ndarray]], outputs: list[str]) -> list[list[np.ndarray]]:
        return old_runtime.run(self.path, feeds, outputs)


def friend(run: Path, path: Path, output: Path, names: list[str]) -> np.ndarray:
    predict(run, [str(path)], output, force=True)
    tree = uproot.open(output / path.name)["Events"]
    return np.stack([np.concatenate([np.atleast_1d(v) for v in tree[n].array(library="np")]) for n in names], axis=1)


def same_as_predict(
    deployed: Deployed, run: Path, path: Path, output: Path, prefix: str = "", **more: np.ndarray
) -> None:
    scores, selected = deployed(path, **more)
    names = [prefix + n for n in deployed.description["outputs"]["scores"]]
    expected = friend(run, path, output, names)
    np.testing.assert_array_equal(selected, expected[:, 0] != -1)
    assert selected.any() and not selected.all()
    np.testing.assert_allclose(scores[selected], expected[selected], rtol=1e-5, atol=1e-6)


def test_columns_give_the_scores_of_predict(events: Path, exported: Path, tmp_path: Path) -> None:
    for name in ("signal", "background"):
        same_as_predict(Deployed(exported), events, events.parent / f"{name}.root", tmp_path / "friends")
    manifest = Manifest.read(exported, "export")
    manifest.verify(exported)
    trained = json.loads((events / "fold0" / "reference.json").read_text())
    assert json.loads((exported / "reference.json").read_text()) == trained and trained["rows"] > 100
    parity = manifest.details["parity"]
    assert parity["worst"] <= parity["tolerance"] == 1e-5
    assert parity["rows"] > 100
    assert {0, 1, 2, 4, 5, 7} <= set(parity["lengths"]["Jet"])


def test_objects_give_the_scores_of_predict(jets: Path, tmp_path: Path) -> None:
    export(jets, tmp_path / "export")
    same_as_predict(Deployed(tmp_path / "export"), jets, jets.parent / "signal.root", tmp_path / "friends", "Jet_")


def test_real_events_give_the_scores_of_predict(shared: Any, tmp_path: Path) -> None:
    path = shared("NanoAODv5_sample.root")
    changes = {
        "samples": {"ttbar": {"files": str(path)}},
        "define": {"ht": "sum(Jet_pt[Jet_pt > 30])", "nb": "num(Jet_btagDeepFlavB > 0.3 & abs(Jet_eta) < 2.4)"},
        "select": {"jets": "num(Jet_pt > 25 & (Jet_jetId & 2) != 0) >= 2"},
        "inputs": {
            "event": {"features": ["MET_pt", "ht", "nb", "PV_npvs", {"mu": "where(nMuon > 0, Muon_pt[0], 0)"}]},
            "jets": {"collection": "Jet", "where": "pt > 20 & abs(eta) < 2.5", "sort": "-pt", "length": 8,
                     "features": ["pt", "eta", "phi", "mass", {"log": "log(pt)"}, {"share": "pt / (ht + 1)"}]},
        },
        "target": {"classes": {"a": "ht > 300", "b": "ht <= 300"}},
    }  # fmt: skip
    run = untrained(tmp_path, changes)
    export(run, tmp_path / "export")
    same_as_predict(Deployed(tmp_path / "export"), run, path, tmp_path / "friends")


def test_the_graph_says_what_it_takes(jets: Path, tmp_path: Path) -> None:
    export(jets, tmp_path / "export")
    model = onnx.load(tmp_path / "export" / "model.onnx")
    assert model.ir_version <= 8
    assert max(o.version for o in model.opset_import) <= 18
    assert {t.type.tensor_type.elem_type for t in (*model.graph.input, *model.graph.output)} == {onnx.TensorProto.FLOAT}
    (entry,) = model.metadata_props
    written = json.loads((tmp_path / "export" / "model.json").read_text())
    assert written.pop("parity")["rows"] > 0
    assert entry.key == KEY == "nanoforge"
    assert json.loads(entry.value) == written
    inputs = {i["name"]: i for i in written["inputs"]}
    assert list(inputs) == [i.name for i in model.graph.input]
    assert inputs["MET_pt"] == {"name": "MET_pt", "kind": "event", "collection": None, "type": "float"}
    assert inputs["Muon_jetIdx"] == {"name": "Muon_jetIdx", "kind": "object", "collection": "Muon", "type": "integer"}
    # cms::Ort wants the same first dimension of all inputs
    assert all(i.type.tensor_type.shape.dim[0].dim_value == 1 for i in model.graph.input)
    assert written["row"] == "Jet"
    assert written["targets"] == ["b", "rest"]
    assert written["outputs"] == {"scores": ["tt_b", "tt_rest"], "selected": ["selected"]}


def test_folds_are_averaged_chosen_or_one_of_them(folded: Path, tmp_path: Path) -> None:
    path = folded.parent / "signal.root"
    single = []
    for fold in range(3):
        export(folded, tmp_path / str(fold), fold=str(fold))
        single.append(Deployed(tmp_path / str(fold))(path)[0])
    export(folded, tmp_path / "average")
    average = Deployed(tmp_path / "average")
    np.testing.assert_allclose(average(path)[0], np.mean(single, axis=0), atol=1e-6)
    assert average.description["fold"] == {"rule": "average", "folds": 3}

    export(folded, tmp_path / "by-event", fold="by-event")
    deployed = Deployed(tmp_path / "by-event")
    identity = uproot.open(path)["Events"].arrays(deployed.description["fold"]["hash"]["columns"], library="np")
    seed = deployed.description["fold"]["hash"]["seed"]
    folds = np.array([fold_of(seed, [int(v[e]) for v in identity.values()], 3) for e in range(300)])
    expected = assign_fold(event_hash(identity, "", np.arange(300), seed), 3)
    np.testing.assert_array_equal(folds, expected)
    same_as_predict(deployed, folded, path, tmp_path / "friends", fold=folds)


def test_the_runtime_of_cmssw_gives_the_scores_of_predict(
    events: Path, exported: Path, jets: Path, folded: Path, tmp_path: Path
) -> None:
    path, friends = events.parent / "signal.root", tmp_path / "friends"
    same_as_predict(DeployedInCMSSW(exported), events, path, friends)
    export(jets, tmp_path / "jets")
    same_as_predict(DeployedInCMSSW(tmp_path / "jets"), jets, path, friends, "Jet_")

    export(folded, tmp_path / "by-event", fold="by-event")
    identity = uproot.open(path)["Events"].arrays(["run", "luminosityBlock", "event"], library="np")
    folds = assign_fold(event_hash(identity, "", np.arange(300), load(folded.parent / "analysis.yaml").split.seed), 3)
    same_as_predict(DeployedInCMSSW(tmp_path / "by-event"), folded, path, friends, fold=folds)
    export(folded, tmp_path / "average")
    for found, expected in zip(DeployedInCMSSW(tmp_path / "average")(path), Deployed(tmp_path / "average")(path)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def fold_of(seed: int, identity: list[int], folds: int) -> int:
    """The recipe that the description gives."""

    def mix(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) % 2**64
        x = ((x ^ x >> 27) * 0x94D049BB133111EB) % 2**64
        return x ^ x >> 31

    state = mix(seed)
    for value in identity:
        state = mix(state ^ value)
    return mix(state ^ 0x464F4C44) % folds


def test_features_leave_the_expressions_outside(events: Path, folded: Path, tmp_path: Path) -> None:
    for run, fold in ((events, None), (folded, None), (folded, "by-event")):
        manifest = export(run, tmp_path / "export", features=True, fold=fold, force=True)
        assert manifest.details["parity"]["rows"] > 100
    description = json.loads((tmp_path / "export" / "model.json").read_text())
    assert [i["name"] for i in description["inputs"]] == ["event", "fold"]
    assert description["inputs"][0]["features"][2] == {"name": "ht", "expression": "sum(Jet_pt)"}
    assert description["select"] == {"two_jets": "nJet >= 2"}
    export(events, tmp_path / "events", features=True)
    inputs = {i["name"]: i for i in json.loads((tmp_path / "events" / "model.json").read_text())["inputs"]}
    assert list(inputs) == ["event", "jets", "jets_mask", "muons", "muons_mask"]
    assert inputs["jets"]["where"] == "pt > 25 & abs(eta) < 2.5"
    assert inputs["event"]["nan"] == {"fill": -5}


def test_a_row_that_predict_would_refuse_has_no_score(jets: Path, tmp_path: Path) -> None:
    export(jets, tmp_path / "export")
    session = onnxruntime.InferenceSession(tmp_path / "export" / "model.onnx", providers=["CPUExecutionProvider"])
    feed = {i.name: np.ones((1, 2) if len(i.shape) > 1 else 1, "f4") for i in session.get_inputs()}
    feed["Jet_btagDeepFlavB"][0, 1] = np.nan
    scores = session.run(["scores"], feed)[0]
    np.testing.assert_array_equal(np.isnan(scores).any(axis=1), [False, True])
    empty = {n: v[:, :0] if v.ndim > 1 else v for n, v in feed.items()}
    found = session.run(["scores", "selected"], empty)
    assert [v.shape for v in found] == [(0, 2), (0,)]


def test_triton_repository(exported: Path) -> None:
    folder = exported / "triton" / "tt"
    assert (folder / "1" / "model.onnx").read_bytes() == (exported / "model.onnx").read_bytes()
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config())
    assert (config.name, config.platform, config.max_batch_size) == ("tt", "onnxruntime_onnx", 0)
    session = onnxruntime.InferenceSession(folder / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    for found, expected in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert {t.data_type for t in found} == {11}
        shapes = {t.name: [d if isinstance(d, int) else -1 for d in t.shape] for t in expected}
        assert {t.name: list(t.dims) for t in found} == shapes
    assert {tuple(t.dims) for t in config.input} == {(1,), (1, -1)}


def model_config() -> Any:
    """The part of Triton's ``model_config.proto`` that is used here."""
    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", package="inference", syntax="proto3")
    kinds = {"string": 9, "int32": 5, "int64": 3}
    data_type = file.enum_type.add(name="DataType")
    data_type.value.add(name="TYPE_INVALID", number=0)
    data_type.value.add(name="TYPE_FP32", number=11)
    for message, dims in (("ModelInput", 4), ("ModelOutput", 3)):
        tensor = file.message_type.add(name=message)
        tensor.field.add(name="name", number=1, type=kinds["string"], label=1)
        tensor.field.add(name="data_type", number=2, type=14, type_name=".inference.DataType", label=1)
        tensor.field.add(name="dims", number=dims, type=kinds["int64"], label=3)
    policy = file.message_type.add(name="ModelVersionPolicy")
    policy.nested_type.add(name="All")
    policy.field.add(name="all", number=3, type=11, type_name=".inference.ModelVersionPolicy.All", label=1)
    batching = file.message_type.add(name="ModelDynamicBatching")
    batching.field.add(name="max_queue_delay_microseconds", number=2, type=4, label=1)
    config = file.message_type.add(name="ModelConfig")
    for name, number, message in (
        ("version_policy", 3, "ModelVersionPolicy"),
        ("dynamic_batching", 11, "ModelDynamicBatching"),
    ):
        config.field.add(name=name, number=number, type=11, type_name=f".inference.{message}", label=1)
    for name, number, kind in (("name", 1, "string"), ("platform", 2, "string"), ("max_batch_size", 4, "int32")):
        config.field.add(name=name, number=number, type=kinds[kind], label=1)
    for name, number, message in (("input", 5, "ModelInput"), ("output", 6, "ModelOutput")):
        config.field.add(name=name, number=number, type=11, type_name=f".inference.{message}", label=3)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))()


def changed(run: Path, folder: Path, **changes: Any) -> Path:
    """A run with another analysis, as if it had been trained with it; the model only sees numbers."""
    manifest = Manifest.read(run, "train")
    manifest.config |= changes
    folder.mkdir()
    for record in manifest.outputs:
        (folder / record.path).parent.mkdir(exist_ok=True)
        (folder / record.path).write_bytes((run / record.path).read_bytes())
    manifest.write(folder, {r.path: r.entries for r in manifest.outputs})
    return folder


def test_what_cannot_be_compiled_is_named(events: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def twice(x):\n    return 2 * x\n")
    define = {**EVENTS["define"], "ht": "twice(sum(Jet_pt))"}
    run = changed(events, tmp_path / "own", functions=[f"{tmp_path / 'mine.py'}:twice"], define=define)
    with pytest.raises(UserError, match=r"define.ht: .*'twice\(sum\(Jet_pt\)\)' cannot be compiled.*--features"):
        export(run, tmp_path / "export", trust=True)
    assert not (tmp_path / "export").exists()
    assert export(run, tmp_path / "export", features=True, trust=True).details["parity"]["rows"] > 100

    run = changed(events, tmp_path / "event", select={"odd": "event % 2 == 1"})
    with pytest.raises(UserError, match=r"select.odd: 'event % 2 == 1': 'event' .*float32 inputs cannot hold event"):
        export(run, tmp_path / "other")


def test_integers_beyond_float32_are_refused(folded: Path, tmp_path: Path) -> None:
    columns = toys.nano_events(20, True)
    columns["run"] = np.full(20, 2**24 + 2, "u4")
    path = toys.write(tmp_path / "large.root", columns)
    run = changed(folded, tmp_path / "run", select={"late": "run > 5"})
    with pytest.raises(UserError, match=r"run: holds 16777218, .* up to 2\*\*24"):
        export(run, tmp_path / "export", check=[str(path)])


def test_a_difference_leaves_no_output(events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "TOLERANCE", -1)
    with pytest.raises(DataError, match="differs from predict"):
        export(events, tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_a_check_without_rows_is_none(events: Path, tmp_path: Path) -> None:
    path = toys.write(tmp_path / "few.root", toys.nano_events(1, False))
    with open_events(str(path), "Events") as file:
        assert file.entries == 1
    run = changed(events, tmp_path / "run", select={"none": "MET_pt < 0"})
    with pytest.raises(DataError, match=r"passes the cuts .*--check"):
        export(run, tmp_path / "export", check=[str(path)])


@pytest.mark.parametrize(("fold", "message"), [("3", "from 0 to 2"), ("-1", "from 0 to 2"), ("best", "'by-event'")])
def test_unknown_folds(folded: Path, tmp_path: Path, fold: str, message: str) -> None:
    with pytest.raises(UserError, match=f"--fold {fold}: .*{message}"):
        export(folded, tmp_path / "export", fold=fold)


def test_folds_by_event_need_an_identity(folded: Path, tmp_path: Path) -> None:
    columns = toys.nano_events(50, True)
    for name in ("run", "luminosityBlock", "event"):
        del columns[name]
    path = toys.write(tmp_path / "anonymous.root", columns)
    with pytest.raises(UserError, match=r"by-event: .* has no run, luminosityBlock, event"):
        export(folded, tmp_path / "export", fold="by-event", check=[str(path)])


def test_the_command(nanoforge: Any, events: Path, tmp_path: Path) -> None:
    signal = events.parent / "signal.root"
    answer = nanoforge("export", events, "-o", "export", "--check", signal)
    assert answer.returncode == 0, answer.stderr
    assert "differ from predict by" in answer.stdout
    again = nanoforge("export", events, "-o", "export", "--check", signal)
    assert "is up to date" in again.stderr
    answer = nanoforge("export", events, "-o", "export", "--fold", "average")
    assert (answer.returncode, answer.stderr) == (
        2,
        "error: --fold average: the run has one model only: leave it out\n",
    )
    answer = nanoforge("export", events, "-o", "export", "--features")
    assert answer.returncode == 2
    assert "--force" in answer.stderr
