"""Files against the training: no drift where there is none, and every kind of drift named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import toys
import uproot
import yaml
from nanoforge.config import load
from nanoforge.distributions.reference import Distributions
from nanoforge.distributions.variable import SCORE, Variable
from nanoforge.monitoring.filling import RowSample
from nanoforge.monitoring.periods import MOST, Periods
from nanoforge.provenance import Manifest
from nanoforge.stages.convert import convert
from nanoforge.stages.predict import predict
from nanoforge.stages.train import train
from stages.test_predict import without_graph

Run = Callable[..., Any]
ROWS = 3000


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``run``, and data: ``same.root`` of the mixture of the training, as data have it."""
    folder = tmp_path_factory.mktemp("monitored")
    samples = {}
    for number, name in enumerate(("signal", "background")):
        toys.write(folder / f"{name}.root", toys.nano_events(ROWS, not number), sumw=ROWS * 1.6)
        samples[name] = {"files": str(folder / f"{name}.root"), "label": name, "xsec": 1.0}
    content = {
        "name": "tt",
        "samples": samples,
        "weight": "genWeight",
        "select": {"two_jets": "nJet >= 2"},
        "inputs": {
            "event": {"features": ["MET_pt", {"ht": "sum(Jet_pt)"}]},
            "jets": {"collection": "Jet", "sort": "-pt", "length": 4, "features": ["pt", "btagDeepFlavB"]},
        },
        "model": {"type": "deepsets", "constituent": [16], "hidden": [16]},
        "training": {"epochs": 2, "batch_size": 256},
    }
    (folder / "a.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    config = load(folder / "a.yaml")
    convert(config, folder / "dataset")
    with pytest.MonkeyPatch.context() as patch:
        without_graph(patch)
        train(config, folder / "dataset", folder / "run")
    toys.write(folder / "same.root", data())
    return folder


def data(**changes: Any) -> toys.Columns:
    """As many events of each class as the training expects, in four runs; without generator weights."""
    parts = [toys.nano_events(2000, signal, seed=5) for signal in (True, False)]
    mixed = np.random.default_rng(1).permutation(4000)
    events = {name: ak.concatenate([part[name] for part in parts])[mixed] for name in parts[0]}
    events = {n: v if v.fields else ak.to_numpy(v) for n, v in events.items() if n != "genWeight"}
    events["run"] = (362_000 + np.arange(4000) // 1000).astype("u4")
    events["luminosityBlock"] = (1 + np.arange(4000) % 1000 // 100).astype("u4")
    return {**events, **changes}


def monitored(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "monitor.json").read_text())
    return {**content, **{variable["name"]: variable for variable in content["variables"]}}


def test_data_like_the_training_are_ok(trained: Path, nanoforge: Run, tmp_path: Path) -> None:
    done = nanoforge("monitor", trained / "run", trained / "same.root", "--fail", "--by", "run")
    assert done.returncode == 0, done.stderr
    content = monitored(tmp_path / "monitoring")
    assert content["state"] == "ok" and not content["findings"]
    names = {
        "event.MET_pt",
        "event.ht",
        "jets.pt",
        "jets.btagDeepFlavB",
        "num(jets)",
        "score signal",
        "score background",
    }
    assert {variable["name"] for variable in content["variables"]} == names
    assert len([line for line in done.stdout.splitlines() if line.startswith("ok ")]) == len(names)
    assert [period["name"] for period in content["periods"]] == ["362000", "362001", "362002", "362003"]
    Manifest.read(tmp_path / "monitoring", "monitor").verify(tmp_path / "monitoring")
    page = (tmp_path / "monitoring" / "report.html").read_text()
    assert page.count("<img ") == 2 * 2 + 5 + 4 and "http" not in page.replace("http-equiv", "")
    with uproot.open(tmp_path / "monitoring" / "histograms.root") as file:
        observed, stack = (file[f"{k}/score_signal"] for k in ("observed", "training/signal"))
        expected = sum(file[f"training/{n}/score_signal"].values(flow=True).sum() for n in ("signal", "background"))
        assert observed.values(flow=True).sum() == pytest.approx(content["rows"]) == pytest.approx(expected)
        assert stack.values().sum() < expected
    again = nanoforge("monitor", trained / "run", trained / "same.root", "--by", "run")
    assert "monitoring is up to date" in again.stderr and again.returncode == 0


def test_the_scores_are_those_of_predict(trained: Path, nanoforge: Run, tmp_path: Path) -> None:
    predict(trained / "run", [str(trained / "same.root")], tmp_path / "friends")
    friend = uproot.open(tmp_path / "friends" / "same.root")["Events"].arrays(library="np")
    assert nanoforge("monitor", trained / "run", trained / "same.root").returncode == 0
    filled = Distributions.from_dict(monitored(tmp_path / "monitoring")["filled"])
    one = filled[Variable(SCORE, "", "signal")]
    scores = friend["tt_signal"][friend["tt_signal"] >= 0]
    cells = np.searchsorted(one.binning.edges, scores, side="right")
    np.testing.assert_array_equal(one.counts.bins[0], np.bincount(cells, minlength=50))


def test_drift_sentinels_and_nan_are_named(trained: Path, nanoforge: Run, tmp_path: Path) -> None:
    events = data()
    met = events["MET_pt"].copy()
    met[:40] = -999
    met[40:120] = np.nan
    jets = ak.with_field(events["Jet"], events["Jet"].pt * 1.5, "pt")
    toys.write(tmp_path / "new.root", {**events, "MET_pt": met, "Jet": jets})
    done = nanoforge("monitor", trained / "run", "new.root", "--fail", "--regions", "score > 0.6", "--classifier")
    assert done.returncode == 3, done.stderr
    content = monitored(tmp_path / "monitoring")
    assert content["state"] == content["event.ht"]["state"] == "alarm"
    assert content["num(jets)"]["state"] == "ok"
    met = content["event.MET_pt"]
    assert met["psi"] < 0.1 and met["state"] == "alarm"
    states = {name: share["state"] for name, share in met["shares"].items() if share["state"] != "ok"}
    assert set(states) == {"-999", "below", "NaN"}
    assert content["score signal"]["shares"]["NaN"]["observed"] > 0.005  # no score without the input
    assert "event.MET_pt" in done.stdout and "-999: " in done.stdout
    assert len(content["regions"]["score > 0.6"]) == 7
    test = content["classifier"]
    assert test["state"] == "alarm" and 0.6 < test["auc"] < 0.9
    assert next(iter(test["importance"])).startswith("jets.pt[")
    page = (tmp_path / "monitoring" / "report.html").read_text()
    assert "Where score &gt; 0.6" in page and "Classifier of the training" in page


def test_a_classifier_finds_nothing_where_nothing_is(trained: Path, nanoforge: Run, tmp_path: Path) -> None:
    done = nanoforge("monitor", trained / "run", trained / "same.root", "--classifier")
    assert done.returncode == 0, done.stderr
    test = monitored(tmp_path / "monitoring")["classifier"]
    assert test["state"] == "ok" and abs(test["auc"] - 0.5) < 4 * test["error"]


def test_a_missing_branch_is_named_and_the_other_files_are_looked_at(
    trained: Path, nanoforge: Run, tmp_path: Path
) -> None:
    toys.write(tmp_path / "old.root", {name: values for name, values in data().items() if name != "MET_pt"})
    done = nanoforge("monitor", trained / "run", "old.root", trained / "same.root", "--fail")
    assert done.returncode == 3
    content = monitored(tmp_path / "monitoring")
    assert content["state"] == "alarm" and content["event.ht"]["state"] == "ok"
    (reason,) = content["unreadable"].values()
    assert "MET_pt" in reason and "old.root" in done.stderr
    alone = nanoforge("monitor", trained / "run", "old.root", "-o", "alone")
    assert alone.returncode == 0 and monitored(tmp_path / "alone")["rows"] == 0
    assert "MET_pt" in (tmp_path / "alone" / "report.html").read_text()


def test_simulation_has_its_weights(trained: Path, nanoforge: Run, tmp_path: Path) -> None:
    done = nanoforge("monitor", trained / "run", trained / "signal.root")
    assert done.returncode == 0, done.stderr
    content = monitored(tmp_path / "monitoring")
    assert content["weight"] == "genWeight" and not content["data"]
    events = toys.nano_events(ROWS, signal=True)
    weight = events["genWeight"][ak.to_numpy(ak.num(events["Jet"])) >= 2]
    filled = Distributions.from_dict(content["filled"])
    one = filled[Variable(SCORE, "", "signal")].counts
    assert one.total.tolist() == pytest.approx([weight.sum(), (weight**2).sum()])
    assert content["score signal"]["effective"] < len(weight) * 0.8
    mixed = nanoforge("monitor", trained / "run", trained / "signal.root", trained / "same.root", "-o", "mixed")
    assert mixed.returncode == 2 and "look at data and simulation apart, or say --weight" in mixed.stderr
    same = nanoforge(
        "monitor", trained / "run", trained / "signal.root", trained / "same.root", "-o", "m", "--weight", "1"
    )
    assert same.returncode == 0, same.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "month"], "--by month: not one of run, lumi, era, file"),
        (["--regions", "scor > 0.9"], "there is no score or feature 'scor'; did you mean 'score'?"),
        (["--regions", "__import__('os')"], "--regions"),
        (["--weight", "nothing"], "nothing"),
    ],
)
def test_mistakes_are_one_line(trained: Path, nanoforge: Run, tmp_path: Path, options: list[str], message: str) -> None:
    done = nanoforge("monitor", trained / "run", trained / "same.root", *options)
    assert done.returncode == 2 and done.stderr.count("error:") == 1 and message in done.stderr, done.stderr
    assert not (tmp_path / "monitoring").exists()


def test_periods_are_few_and_lose_nothing() -> None:
    from distributions.test_drift import rows_of
    from nanoforge.dataset.info import InputInfo
    from nanoforge.distributions.reference import count_reference

    rng = np.random.default_rng(1)
    inputs = {"event": InputInfo(("a", "b")), "jets": InputInfo(("pt",), 3)}
    empty = count_reference(iter([rows_of(rng, 500)]), inputs, ("s", "b"), 2, {}).empty()
    numbers = rng.permutation(150).tolist()
    halves = Periods(empty), Periods(empty)
    for number in numbers:
        halves[number % 2].add((number,), rows_of(rng, 10))
    halves[0].merge(halves[1])
    periods = list(halves[0])
    assert len(periods) <= MOST and halves[0].total.rows == 1500
    assert all(a.last < b.first for a, b in zip(periods, periods[1:]))


def test_a_sample_of_rows_is_even() -> None:
    from nanoforge.distributions.variable import RowValues

    sample, other = RowSample(500), RowSample(500, 7)
    for number in range(40):
        values = np.arange(number * 100, number * 100 + 100, dtype="f4")[:, None]
        target = sample if number % 2 else other
        target.add(RowValues({"x": values}, values, np.ones(100)))
    sample.merge(other)
    rows = sample.rows
    assert rows is not None and len(np.unique(rows.tensors["x"])) == 500
    assert 1700 < rows.tensors["x"].mean() < 2300


def test_real_data_against_real_simulation(shared: Any, nanoforge: Run, tmp_path: Path) -> None:
    content = {
        "name": "jets",
        "samples": {"ttbar": {"files": str(shared("NanoAODv5_sample.root"))}},
        "row": "Jet",
        "select": {"acceptance": "pt > 20 & abs(eta) < 2.5"},
        "inputs": {"jet": {"features": ["pt", "eta", "mass", "btagDeepFlavB", "PV_npvs"]}},
        "target": {"classes": {"b": "hadronFlavour == 5", "rest": "hadronFlavour != 5"}},
        "weight": "genWeight",
        "model": {"type": "mlp", "hidden": [16]},
        "training": {"epochs": 2, "batch_size": 512},
    }
    (tmp_path / "jets.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        without_graph(patch)
        config = load(tmp_path / "jets.yaml")
        train(config, config, tmp_path / "run")
    done = nanoforge("monitor", "run", shared("nano_dimuon.root"), "--by", "lumi")
    assert done.returncode == 0, done.stderr
    result = monitored(tmp_path / "monitoring")
    assert result["data"] and result["weight"] == "1" and result["rows"] > 100
    assert result["state"] == "alarm"  # 40 events of a Z boson's jets are not those of top quarks
    assert result["jet.btagDeepFlavB"]["psi"] > result["jet.eta"]["psi"]
    page = (tmp_path / "monitoring" / "report.html").read_text()
    assert page.count("<img ") == 7 and "jet.btagDeepFlavB" in page
