"""``nanoforge.load_model``: scores of events in memory are those that predict writes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import awkward as ak
import nanoforge
import numpy as np
import pytest
import uproot
from nanoforge.errors import UserError

EVENTS = 400


@pytest.fixture(scope="module")
def events(home: Path) -> ak.Array:
    return uproot.open(home / "tt.root")["Events"].arrays()


@pytest.fixture(scope="module")
def expected(home: Path) -> np.ndarray:
    friend = uproot.open(home / "friends" / "tt.root")["Events"].arrays(["tt_tt", "tt_dy"], library="np")
    return np.stack([friend["tt_tt"], friend["tt_dy"]], axis=1)


def table(scores: ak.Array) -> np.ndarray:
    return np.stack([ak.to_numpy(scores["tt"]), ak.to_numpy(scores["dy"])], axis=1)


def test_scores_of_arrays_are_those_of_predict(home: Path, events: ak.Array, expected: np.ndarray) -> None:
    model = nanoforge.load_model(home / "run")
    assert model.outputs == ("tt", "dy") and (expected == -1).any()
    np.testing.assert_allclose(table(model(events)), expected, atol=1e-6)
    by_name = {name: events[name] for name in events.fields}
    np.testing.assert_allclose(table(model(by_name)), expected, atol=1e-6)


def test_columns_of_numpy_may_hold_lists_as_root_gives_them(home: Path, events: ak.Array, expected: np.ndarray) -> None:
    def column(name: str) -> np.ndarray:
        values = ak.to_list(events[name])
        if not isinstance(values[0], list):
            return np.asarray(values, events[name].type.content.primitive)
        lists = np.empty(len(values), object)
        lists[:] = [np.asarray(v, "f4") for v in values]
        return lists

    names = ["MET_pt", "nJet", "Jet_pt", "Jet_btagDeepFlavB", "run", "luminosityBlock", "event"]
    scores = nanoforge.load_model(home / "run")({name: column(name) for name in names})
    np.testing.assert_allclose(table(scores), expected, atol=1e-6)


def test_nano_events_are_scored(home: Path, expected: np.ndarray) -> None:
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    NanoAODSchema.warn_missing_crossrefs = False
    factory = NanoEventsFactory.from_root({str(home / "tt.root"): "Events"}, schemaclass=NanoAODSchema)
    scores = nanoforge.load_model(home / "run")(factory.events())
    np.testing.assert_allclose(table(scores), expected, atol=1e-6)


def test_threads_may_share_a_model(home: Path, events: ak.Array, expected: np.ndarray) -> None:
    model = nanoforge.load_model(home / "run")
    with ThreadPoolExecutor(4) as threads:
        for scores in threads.map(lambda _: table(model(events)), range(8)):
            np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_an_export_scores_with_onnx_runtime_alone(home: Path, events: ak.Array) -> None:
    model = nanoforge.load_model(home / "export")
    few = events["nJet"] < 2
    scores = table(model(ak.concatenate([events[few][:10], events[~few][:20]])))
    rejected = np.arange(len(scores)) < len(events[few][:10])
    assert (scores[rejected] == -1).all() and rejected.any()
    np.testing.assert_allclose(scores[~rejected].sum(axis=1), 1, atol=1e-5)


def test_no_events_have_no_scores(home: Path, events: ak.Array) -> None:
    for name in ("run", "export"):
        scores = nanoforge.load_model(home / name)(events[:0])
        assert len(scores) == 0 and scores.fields == ["tt", "dy"]


@pytest.mark.parametrize("name", ["run", "export"])
def test_a_missing_column_is_named(home: Path, events: ak.Array, name: str) -> None:
    fields = [field for field in events.fields if field != "MET_pt"]
    with pytest.raises(Exception, match="MET_pt"):
        nanoforge.load_model(home / name)(events[fields])
    with pytest.raises(UserError, match="int is neither"):
        nanoforge.load_model(home / name)(7)


def test_a_dataset_is_no_model(home: Path) -> None:
    with pytest.raises(UserError, match="made by 'nanoforge convert'"):
        nanoforge.load_model(home / "dataset")


def test_a_dataset_gives_batches_numpy_and_awkward(home: Path) -> None:
    data = nanoforge.open_dataset(home / "dataset")
    arrays, records = data.numpy("train"), data.awkward("train")
    rows = data.rows("train")
    assert arrays["jets"].shape == (rows, 3, 2) and arrays["jets_mask"].shape == (rows, 3)
    assert sum(len(batch) for batch in data.batches("train", 64, shuffle=True)) == rows == len(records)
    np.testing.assert_array_equal(ak.to_numpy(ak.num(records["jets"])), arrays["jets_mask"].sum(axis=1))
    np.testing.assert_array_equal(ak.to_numpy(records["event"]["ht"]), arrays["event"][:, 1])


def test_events_give_columns_and_expressions(home: Path, events: ak.Array) -> None:
    with nanoforge.open_events(home / "tt.root") as file:
        assert len(file) == EVENTS and file.columns["Jet_pt"].jagged
        arrays = file.arrays({"ht": "sum(Jet_pt)", "pt": "Jet_pt", "one": "1"})
        assert len(file.arrays("MET_pt", within=(10, 20))) == 10
        with pytest.raises(Exception, match=r"no column 'MTE_pt'.*MET_pt"):
            file.arrays("MTE_pt")
    np.testing.assert_allclose(ak.to_numpy(arrays["ht"]), ak.to_numpy(ak.sum(events["Jet_pt"], axis=1)), rtol=1e-5)
    assert ak.all(arrays["pt"] == events["Jet_pt"]) and set(ak.to_list(arrays["one"])) == {1}


def test_the_package_says_what_it_offers() -> None:
    assert {"load", "open_events", "load_model", "convert"} <= set(dir(nanoforge))
    assert all(getattr(nanoforge, name) is not None for name in nanoforge.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        nanoforge.trian  # noqa: B018
