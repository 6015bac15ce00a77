from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import toys
import uproot
import yaml
from nanoforge.config import Analysis, load
from nanoforge.dataset.cut_flow import SampleFlow
from nanoforge.dataset.identity import assign_fold
from nanoforge.dataset.open import open_dataset
from nanoforge.dataset.shards import ShardIndex, ShardRecord
from nanoforge.dataset.table import dataset_info
from nanoforge.errors import DataError, UserError
from nanoforge.evaluation.overview import ledger_lines
from nanoforge.events.hashing import event_hash
from nanoforge.provenance import Manifest
from nanoforge.provenance.manifest import input_record, sealed, unsealed
from nanoforge.stages.convert import convert


def analysis(folder: Path, **changes: Any) -> dict[str, Any]:
    content = {
        "name": "test",
        "samples": {
            "tt": {"files": [str(folder / "tt*.root")], "label": "signal"},
            "dy": {"files": str(folder / "dy.root"), "label": "background"},
        },
        "inputs": {
            "event": {"features": ["MET_pt", "nJet", {"ht": "sum(Jet_pt)"}]},
            "jets": {
                "collection": "Jet",
                "where": "pt > 25 & abs(eta) < 2.5",
                "sort": "-btagDeepFlavB",
                "length": 4,
                "features": ["pt", "eta", "btagDeepFlavB", {"share": "pt / MET_pt"}],
            },
        },
    }
    return {**content, **changes}


def make(folder: Path, output: str = "dataset", jobs: int = 1, skip: bool = False, **changes: Any) -> Path:
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump(analysis(folder, **changes), sort_keys=False))
    convert(load(path), folder / output, jobs=jobs, skip_bad_files=skip, force=True)
    return folder / output


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    toys.write(tmp_path / "tt1.root", toys.nano_events(1500, True), sumw=2400)
    toys.write(tmp_path / "tt2.root", toys.nano_events(700, True, first=1500), sumw=1120, basket=300)
    toys.write(tmp_path / "dy.root", toys.nano_events(1200, False), sumw=1920)
    return tmp_path


def rows(dataset: Path) -> dict[str, np.ndarray]:
    """Read all splits of a dataset into arrays, sorted by file and entry."""
    found: dict[str, list[np.ndarray]] = {}
    for index, split in enumerate(("train", "val", "test")):
        with h5py.File(dataset / f"{split}.h5") as file:
            names: list[str] = []
            file.visit(names.append)
            names = [n for n in names if isinstance(file[n], h5py.Dataset)]
            for name in names:
                if not name.startswith("normalisation"):
                    found.setdefault(name, []).append(file[name][:])
            found.setdefault("split", []).append(np.full(len(file["weight"]), index))
    arrays = {n: np.concatenate(v) for n, v in found.items()}
    order = np.lexsort([np.arange(len(arrays["split"])), arrays["id/entry"], arrays["id/file"]])
    return {n: v[order] for n, v in arrays.items()}


def test_tensors_equal_a_slow_computation(samples: Path) -> None:
    found = rows(make(samples))
    number = 0
    for i, name in enumerate(("tt1", "tt2", "dy")):
        events = uproot.open(samples / f"{name}.root")["Events"].arrays()
        for e, event in enumerate(events):
            jets = [
                (p, eta, b, np.float32(p) / np.float32(event.MET_pt))
                for p, eta, b in zip(event.Jet_pt, event.Jet_eta, event.Jet_btagDeepFlavB)
                if p > 25 and abs(eta) < 2.5
            ]
            jets = sorted(jets, key=lambda j: -j[2])[:4]
            assert (found["id/file"][number], found["id/entry"][number]) == (i, e)
            assert found["id/event"][number] == event.event
            assert found["jets/valid"][number].tolist() == [True] * len(jets) + [False] * (4 - len(jets))
            expected = np.zeros((4, 4), "f4")
            expected[: len(jets)] = jets if jets else np.zeros((0, 4))
            np.testing.assert_array_equal(found["jets/features"][number], expected)
            np.testing.assert_allclose(
                found["event/features"][number], [event.MET_pt, event.nJet, sum(event.Jet_pt)], 1e-6
            )
            number += 1
    assert number == len(found["weight"]) == 3400


def test_plain_h5py_describes_the_dataset(samples: Path) -> None:
    dataset = make(samples)
    with h5py.File(dataset / "train.h5") as file:
        assert list(file["jets/features"].attrs["names"]) == ["pt", "eta", "btagDeepFlavB", "share"]
        assert list(file["jets/features"].attrs["expressions"])[-1] == "pt / MET_pt"
        assert list(file["target/label"].attrs["classes"]) == ["signal", "background"]
        assert file["jets/features"].is_virtual and file["jets/features"].dtype == np.float32
        assert file["fold"].dtype == np.uint8 and file["target/label"].dtype == np.int64


def test_normalisation_is_that_of_valid_training_entries(samples: Path) -> None:
    dataset = make(samples)
    with h5py.File(dataset / "train.h5") as file:
        features, valid = file["jets/features"][:].astype("f8"), file["jets/valid"][:]
        event = file["event/features"][:].astype("f8")
        for name, values in (("jets", features[valid]), ("event", event)):
            np.testing.assert_allclose(file[f"normalisation/{name}/center"][:], values.mean(0), rtol=1e-6)
            np.testing.assert_allclose(file[f"normalisation/{name}/scale"][:], values.std(0), rtol=1e-6)


def test_normalisation_of_a_fold_leaves_its_rows_out(samples: Path) -> None:
    dataset = make(samples, split={"train": 0.8, "val": 0.2, "test": 0, "folds": 4})
    with h5py.File(dataset / "train.h5") as file:
        event, fold = file["event/features"][:].astype("f8"), file["fold"][:]
        assert set(fold) == {0, 1, 2, 3}
        for i in range(4):
            kept = event[fold != i]
            np.testing.assert_allclose(file["normalisation/event/fold_center"][i], kept.mean(0), rtol=1e-6)
            np.testing.assert_allclose(file["normalisation/event/fold_scale"][i], kept.std(0), rtol=1e-6)


@pytest.mark.parametrize("jobs", [1, 4])
def test_splits_depend_on_the_events_alone(samples: Path, jobs: int) -> None:
    """The same side for any number of processes, order of files, splitting of files, and for duplicated events."""

    def sides(found: dict[str, np.ndarray], file: int) -> dict[int, tuple[int, int]]:
        mine = found["id/file"] == file
        return dict(
            zip(found["id/event"][mine].tolist(), zip(found["split"][mine].tolist(), found["fold"][mine].tolist()))
        )

    reference = sides(rows(make(samples, "one")), 0)
    assert {s for s, _ in reference.values()} == {0, 1, 2}
    columns = toys.nano_events(1500, True)
    toys.write(samples / "part_b.root", {k: v[600:] for k, v in columns.items()})
    toys.write(samples / "part_a.root", {k: v[:600] for k, v in columns.items()})
    reordered = {
        "dy": {"files": str(samples / "dy.root"), "label": "background"},
        "copy": {"files": [str(samples / "part_b.root"), str(samples / "part_a.root")], "label": "signal"},
        "tt": {"files": str(samples / "tt1.root"), "label": "signal"},
    }
    found = rows(make(samples, "two", jobs, samples=reordered))
    assert sides(found, 1) | sides(found, 2) == reference
    assert sides(found, 3) == reference


def test_split_fractions_are_those_asked_for(samples: Path) -> None:
    counts = np.bincount(rows(make(samples))["split"]) / 3400
    np.testing.assert_allclose(counts, [0.7, 0.1, 0.2], atol=3.5 * np.sqrt(0.25 / 3400))


def test_processes_do_not_change_the_result(samples: Path) -> None:
    one, four = (rows(make(samples, f"j{jobs}", jobs)) for jobs in (1, 4))
    assert set(one) == set(four)
    for name in one:
        np.testing.assert_array_equal(one[name], four[name])


def test_files_without_identity_are_split_by_their_uuid(tmp_path: Path) -> None:
    for signal in (True, False):
        toys.write(tmp_path / f"{signal}.root", toys.flat_events(500, signal))
    changes = {
        "samples": {str(s).lower(): {"files": str(tmp_path / f"{s}.root"), "label": str(s)} for s in (True, False)},
        "inputs": {"event": {"features": ["pt_1", "jpt_1"], "missing": -999, "nan": {"fill": -5}}},
    }
    found = rows(make(tmp_path, **changes))
    assert "id/event" not in found and set(found["split"]) == {0, 1, 2}
    jpt = found["event/features"][:, 1]
    assert jpt.min() == -5 and (jpt != -999).all() and (jpt[jpt != -5] >= 30).all()
    with h5py.File(tmp_path / "dataset" / "train.h5") as file:
        values = file["event/features"][:, 1].astype("f8")
        np.testing.assert_allclose(file["normalisation/event/center"][1], values[values != -5].mean(), rtol=1e-6)


def test_weights_are_normalised_to_the_cross_section(samples: Path) -> None:
    changes = {
        "samples": {
            "tt": {"files": str(samples / "tt*.root"), "label": "s", "xsec": 800.0},
            "dy": {"files": str(samples / "dy.root"), "label": "b", "xsec": 6000.0, "weight": "genWeight * 0.5"},
        },
        "weight": "genWeight",
        "lumi": 100,
        "select": {"jets": "nJet >= 2"},
    }
    found = rows(make(samples, **changes))
    generator = {
        n: uproot.open(samples / f"{n}.root")["Events"].arrays(["genWeight", "nJet"]) for n in ("tt1", "tt2", "dy")
    }
    for file, (name, factor) in enumerate((("tt1", 800e2 / 3520), ("tt2", 800e2 / 3520), ("dy", 6000e2 / 1920 / 2))):
        weights = ak.to_numpy(generator[name].genWeight[generator[name].nJet >= 2]) * factor
        np.testing.assert_allclose(found["weight"][found["id/file"] == file], weights, rtol=1e-5)
    assert (found["weight"] < 0).any()


def test_weights_that_no_float_holds_are_refused(samples: Path) -> None:
    both = {n: {"files": str(samples / f"{n}*.root"), "label": n, "xsec": 1.0} for n in ("tt", "dy")}
    for xsec in (1e-44, 1e44):
        both["dy"]["xsec"] = xsec
        with pytest.raises(DataError, match=r"samples.dy: the weights of .*dy.root .* do not fit into 32 bits"):
            make(samples, samples=both, weight="genWeight")
    both["dy"]["xsec"] = 1.0
    for sumw in (np.inf, np.nan):
        dy = toys.write(samples / "dy.root", toys.nano_events(1200, False), sumw=sumw)
        with pytest.raises(DataError, match=rf"samples.dy: the sum of generator weights is {sumw}, from .*{dy}"):
            make(samples, samples=both, weight="genWeight")


def test_sum_of_weights_must_be_known(samples: Path) -> None:
    toys.write(samples / "dy.root", toys.nano_events(1200, False))
    both = {n: {"files": str(samples / f"{n}*.root"), "label": n, "xsec": 1.0} for n in ("tt", "dy")}
    with pytest.raises(UserError, match=r"samples.dy: .*dy.root has no Runs tree .*samples.dy.sumw"):
        make(samples, samples=both, weight="genWeight")
    both["dy"]["sumw"] = "events"
    found = rows(make(samples, samples=both, weight="genWeight"))
    assert found["weight"][found["id/sample"] == 1].sum() == pytest.approx(1.0, rel=1e-4)


def test_rows_of_jets_with_matched_and_indexed_constituents(samples: Path) -> None:
    changes = {
        "row": "Jet",
        "select": {"met": "MET_pt > 20", "acceptance": "pt > 30 & abs(eta) < 2.4"},
        "target": {"classes": {"b": "hadronFlavour == 5", "rest": "Jet_hadronFlavour != 5"}},
        "inputs": {
            "jet": {"features": ["pt", "eta", {"rank": "argmax(Jet_pt)"}]},
            "sv": {
                "collection": "SV", "match": "delta_r < 0.4", "sort": "-dlenSig", "length": 2,
                "features": ["pt", {"dr": "delta_r"}, {"fraction": "pt / Jet_pt"}, "dlenSig"],
            },
            "mu": {"collection": "Muon", "index": "jetIdx", "length": 2, "features": ["pt"]},
            "all_muons": {"collection": "Muon", "length": 3, "features": ["pt"]},
        },
        "keep": ["hadronFlavour", "MET_pt"],
    }  # fmt: skip
    found = rows(make(samples, **changes))
    number = 0
    for name in ("tt1", "tt2", "dy"):
        for e, event in enumerate(uproot.open(samples / f"{name}.root")["Events"].arrays()):
            if event.MET_pt <= 20:
                continue
            for j, (pt, eta, phi, flavour) in enumerate(
                zip(event.Jet_pt, event.Jet_eta, event.Jet_phi, event.Jet_hadronFlavour)
            ):
                if not (pt > 30 and abs(eta) < 2.4):
                    continue
                assert found["id/entry"][number] == e
                assert found["target/label"][number] == (flavour != 5)
                assert found["keep/hadronFlavour"][number] == flavour
                assert found["keep/MET_pt"][number] == np.float32(event.MET_pt)
                assert found["jet/features"][number, 0] == np.float32(pt)
                dphi = (np.array(event.SV_phi) - phi + np.pi) % (2 * np.pi) - np.pi
                dr = np.hypot(np.array(event.SV_eta) - eta, dphi)
                near = [i for i in np.argsort(-np.array(event.SV_dlenSig), kind="stable") if dr[i] < 0.4][:2]
                np.testing.assert_allclose(found["sv/features"][number, : len(near), 1], dr[near], rtol=1e-4, atol=1e-5)
                np.testing.assert_allclose(
                    found["sv/features"][number, : len(near), 2], np.array(event.SV_pt)[near] / pt, rtol=1e-5
                )
                assert found["sv/valid"][number].sum() == len(near)
                own = np.array(event.Muon_pt)[np.array(event.Muon_jetIdx) == j][:2]
                np.testing.assert_array_equal(found["mu/features"][number, : len(own), 0], own.astype("f4"))
                assert found["mu/valid"][number].sum() == len(own)
                assert found["all_muons/valid"][number].sum() == min(3, len(event.Muon_pt))
                number += 1
    assert number == len(found["weight"]) > 1000
    books = Manifest.read(samples / "dataset", "convert").accounting
    assert books is not None and books.rows is not None
    assert books.rows.used == number and books.rows.rejected["acceptance"] > 0
    assert books.events.read == 3400 and books.events.rejected["met"] > 0


def test_all_jets_of_an_event_are_on_one_side(samples: Path) -> None:
    jet = {"features": ["pt"]}
    target = {"classes": {"b": "hadronFlavour == 5", "rest": "hadronFlavour != 5"}}
    found = rows(make(samples, row="Jet", inputs={"jet": jet}, target=target))
    key = found["id/file"].astype("u8") * 10**6 + found["id/entry"].astype("u8")
    for values in (found["split"], found["fold"]):
        assert len(set(zip(key, values))) == len(set(key))


@pytest.mark.parametrize("layout", ["tensors", "salt"])
@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compressed_datasets_hold_the_same(samples: Path, codec: str, layout: str) -> None:
    import hdf5plugin  # noqa: F401 - registers the filters

    def content(dataset: Path) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        with h5py.File(dataset / "train.h5") as file:
            file.visititems(
                lambda name, d: found.update({name: d[...].tobytes()} if isinstance(d, h5py.Dataset) else {})
            )
        return found

    plain = make(samples, "plain", dataset={"layout": layout})
    compressed = make(samples, "compressed", dataset={"layout": layout, "compression": codec})
    assert content(plain) == content(compressed)
    sizes = [sum(p.stat().st_size for p in (d / "shards").glob("*.h5")) for d in (plain, compressed)]
    assert sizes[1] < 0.8 * sizes[0]


def test_salt_layout_has_the_fields_that_salt_reads(samples: Path) -> None:
    dataset = make(samples, dataset={"layout": "salt"})
    tensors = make(samples, "tensors")
    with h5py.File(dataset / "train.h5") as file, h5py.File(tensors / "train.h5") as plain:
        assert file["jets"].shape == plain["jets/valid"].shape
        assert file["jets"].dtype.names == ("pt", "eta", "btagDeepFlavB", "share", "valid")
        assert file["jets"].dtype["valid"] == np.bool_ and file["jets"].dtype["pt"] == np.float32
        np.testing.assert_array_equal(file["jets"]["valid"], plain["jets/valid"][:])
        np.testing.assert_array_equal(file["jets"]["share"], plain["jets/features"][:, :, 3])
        np.testing.assert_array_equal(file["event"]["ht"], plain["event/features"][:, 2])
        np.testing.assert_array_equal(file["event"]["label"], plain["target/label"][:])
        assert list(file["event"].attrs["label"]) == ["signal", "background"]
        norm = yaml.safe_load((dataset / "norm_dict.yaml").read_text())
        valid = file["jets"]["valid"]
        assert norm["jets"]["pt"]["mean"] == pytest.approx(file["jets"]["pt"][valid].astype("f8").mean(), rel=1e-6)
        assert norm["event"]["MET_pt"]["std"] == pytest.approx(file["event"]["MET_pt"].astype("f8").std(), rel=1e-6)
        counts = np.bincount(file["event"]["label"])
    weights = yaml.safe_load((dataset / "class_dict.yaml").read_text())["event"]["label"]
    np.testing.assert_allclose(weights, counts.sum() / (2 * counts))


def test_salt_reads_its_layout(samples: Path) -> None:
    datasets = pytest.importorskip("salt.data.datasets", reason="salt-ml is not installed (pip install salt-ml)")
    dataset = make(samples, dataset={"layout": "salt"})
    variables = {"event": ["MET_pt", "nJet", "ht"], "jets": ["pt", "eta", "btagDeepFlavB", "share"]}
    reader = datasets.SaltDataset(
        dataset / "train.h5", dataset / "norm_dict.yaml", variables, "train", labels={"event": ["label"]},
        global_object="event",
    )  # fmt: skip
    inputs, masks, labels = reader[0:16]
    with h5py.File(dataset / "train.h5") as file:
        np.testing.assert_array_equal(inputs["jets"][:, :, 0], file["jets"]["pt"][:16])
        np.testing.assert_array_equal(masks["jets"], ~file["jets"]["valid"][:16])
        np.testing.assert_array_equal(labels["event"]["label"], file["event"]["label"][:16])


def test_parquet_holds_jagged_columns(samples: Path) -> None:
    both = {n: {"files": str(samples / f"{n}*.root"), "label": n, "xsec": 2.0} for n in ("tt", "dy")}
    tensors = rows(make(samples, "tensors", samples=both, weight="genWeight"))
    make(samples, samples=both, weight="genWeight", dataset={"format": "parquet"})
    table = pq.read_table(samples / "dataset" / "train")
    counts = ak.num(ak.from_arrow(table)["jets_pt"])
    training = tensors["split"] == 0
    assert table.num_rows == training.sum()
    assert ak.sum(counts) == tensors["jets/valid"][training].sum()
    assert np.sum(table["weight"].to_numpy()) == pytest.approx(tensors["weight"][training].sum(), rel=1e-5)
    assert not (samples / "dataset" / "shards").exists()


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".jsonl.gz"])
def test_other_formats_give_the_same_rows(samples: Path, suffix: str) -> None:
    columns = toys.plain(toys.nano_events(1200, False))
    array = ak.zip(columns, depth_limit=1)
    if suffix == ".parquet":
        ak.to_parquet(array, samples / "dy.parquet")
    else:
        lines = ak.to_json(array, line_delimited=True, num_readability_spaces=0)
        if suffix.endswith(".gz"):
            import gzip

            (samples / f"dy{suffix}").write_bytes(gzip.compress(lines.encode()))
        else:
            (samples / f"dy{suffix}").write_text(lines)
    reference = rows(make(samples, "root"))
    both = analysis(samples)["samples"]
    both["dy"]["files"] = str(samples / f"dy{suffix}")
    found = rows(make(samples, "other", samples=both))
    for name in ("event/features", "jets/features", "jets/valid", "split", "id/event"):
        np.testing.assert_allclose(found[name], reference[name], rtol=1e-6)


def test_csv(tmp_path: Path) -> None:
    for signal in (True, False):
        table = np.stack([v.astype("f8") for v in toys.flat_events(300, signal).values()], axis=1)
        header = ",".join(toys.flat_events(1, signal))
        np.savetxt(tmp_path / f"{signal}.csv", table, delimiter=",", header=header, comments="")
    both = {str(s).lower(): {"files": str(tmp_path / f"{s}.csv"), "label": str(s)} for s in (True, False)}
    found = rows(make(tmp_path, samples=both, inputs={"event": {"features": ["pt_1", "njets"]}}))
    np.testing.assert_allclose(found["event/features"][:300, 0], toys.flat_events(300, True)["pt_1"], rtol=1e-6)


def test_rntuple_gives_the_same_rows(samples: Path) -> None:
    reference = rows(make(samples, "root"))
    with uproot.recreate(samples / "dy.root") as file:
        file["Events"] = toys.nano_events(1200, False)
    assert "RNTuple" in uproot.open(samples / "dy.root").classnames()["Events;1"]
    features = {"event": {"features": ["MET_pt", {"ht": "sum(Jet_pt)"}]}, "jets": analysis(samples)["inputs"]["jets"]}
    found = rows(make(samples, "rntuple", inputs=features))
    for name in ("jets/features", "jets/valid", "split", "id/event"):
        np.testing.assert_array_equal(found[name], reference[name])


def test_defined_columns_and_collections(samples: Path) -> None:
    changes = {
        "define": {
            "hard_pt": "Jet_pt[Jet_pt > 50]",
            "hard_eta": "Jet_eta[Jet_pt > 50]",
            "nHard": "num(hard_pt)",
            "Jet_share": "Jet_pt / sum(Jet_pt)",
            "lead": "Jet_pt[0]",
        },
        "select": {"some": "nHard >= 1"},
        "inputs": {
            "event": {"features": ["nHard", "lead"]},
            "hard": {"collection": "hard", "length": 5, "features": ["pt", "eta"]},
            "jets": {"collection": "Jet", "length": 5, "features": ["share"]},
        },
    }
    found = rows(make(samples, **changes))
    np.testing.assert_array_equal(np.minimum(found["event/features"][:, 0], 5), found["hard/valid"].sum(1))
    assert (found["hard/features"][..., 0][found["hard/valid"]] > 50).all()
    few = found["jets/valid"].sum(1) < 5
    np.testing.assert_allclose(found["jets/features"][few, :, 0].sum(1), 1, rtol=1e-5)


def test_golden_json_masks_data_only(samples: Path) -> None:
    (samples / "cert.json").write_text(json.dumps({"1": [[1, 2], [5, 5]]}))
    both = analysis(samples)["samples"]
    both["dy"] |= {"data": True}
    make(samples, samples=both, golden_json="cert.json")
    books = Manifest.read(samples / "dataset", "convert").accounting
    assert books is not None and books.events.rejected["golden_json"] == 1200 - 300
    found = rows(samples / "dataset")
    assert found["id/luminosityBlock"][found["id/sample"] == 1].tolist() == [1] * 100 + [2] * 100 + [5] * 100


def test_cut_flow_and_manifest(samples: Path) -> None:
    cuts = {"two_jets": "nJet >= 2", "never": "MET_pt < 0 & nJet > 100", "hard": "any(Jet_pt > 50)"}
    with pytest.raises(DataError, match=r"none of the 3400 events passes the cuts; select.never rejects most"):
        make(samples, select=cuts)
    del cuts["never"]
    dataset = make(samples, select=cuts)
    manifest = json.loads((dataset / "manifest.json").read_text())
    books = manifest["accounting"]["events"]
    assert list(books["rejected"]) == ["two_jets", "hard"]
    assert books["read"] == 3400 == books["used"] + sum(books["rejected"].values())
    assert [r["entries"] for r in manifest["inputs"]] == [1500, 700, 1200]
    assert all(r["uuid"] and r["size"] for r in manifest["inputs"])
    assert {r["path"] for r in manifest["outputs"]} >= {"train.h5", "shards/02.h5"}
    assert manifest["config"]["select"] == cuts and len(manifest["config_sha256"]) == 64


def test_weighted_cut_flows_of_samples(samples: Path) -> None:
    changes = {
        "samples": {
            "tt": {"files": str(samples / "tt*.root"), "label": "s", "xsec": 800.0},
            "dy": {"files": str(samples / "dy.root"), "label": "b", "xsec": 6000.0},
        },
        "row": "Jet",
        "weight": "genWeight",
        "lumi": 100,
        "select": {"met": "MET_pt > 20", "two": "nJet >= 2", "hard": "pt > 30"},
        "inputs": {"jet": {"features": ["pt"]}},
    }
    manifest = json.loads((make(samples, **changes) / "manifest.json").read_text())
    assert "weights" not in manifest["accounting"]["events"], "those of several samples do not add up"
    for name, sumw, xsec in (("tt", 3520, 800), ("dy", 1920, 6000)):
        flow = SampleFlow.from_dict(manifest["details"]["sample_flows"][name])
        paths = sorted(samples.glob(f"{name}*.root"))
        parts = [uproot.open(p)["Events"].arrays(["genWeight", "MET_pt", "nJet", "Jet_pt"]) for p in paths]
        events = ak.concatenate(parts)
        weight, met, two = events.genWeight, events.MET_pt > 20, events.nJet >= 2
        per_jet = ak.broadcast_arrays(weight, events.Jet_pt)[0]
        hard = (events.Jet_pt > 30) & met & two
        assert (flow.files, flow.generated) == (len(paths), sumw) and flow.factor == pytest.approx(xsec * 100 / sumw)
        sums = [weight, weight[met], weight[met & two]]
        steps = [float(ak.sum(w)) for w in (*sums, per_jet[met & two], per_jet[hard])]
        counts = [int(ak.count(w)) for w in (*sums, per_jet[met & two], per_jet[hard])]
        lines = [line for ledger in (flow.events, flow.rows) for line in ledger_lines(ledger, flow.factor)]
        assert [line[0] for line in lines] == ["events read", "after met", "after two", "Jet rows read", "after hard"]
        assert [int(line[1].replace(",", "")) for line in lines] == counts, name
        assert [float(line[3].replace(",", "")) / flow.factor for line in lines] == pytest.approx(steps, rel=1e-5)
        assert flow.rows.weights.used == pytest.approx(steps[-1]) and flow.events.weights.used == pytest.approx(
            steps[2]
        )


def test_select_for_a_stage_replaces_the_cuts(samples: Path) -> None:
    dataset = make(samples, select={"none": "nJet > 100"}, select_for={"convert": {"some": "nJet > 1"}})
    assert list(Manifest.read(dataset, "convert").accounting.events.rejected) == ["some"]


def test_unfinished_work_is_taken_up_where_it_was(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nanoforge.stages.convert as stage

    real, done = stage._write, []

    def fails_at_the_last(job: Any, *arguments: Any) -> Any:
        if job.files[0].sample == "dy":
            raise KeyboardInterrupt
        done.append(job.files[0].path)
        return real(job, *arguments)

    monkeypatch.setattr(stage, "_write", fails_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        make(samples)
    assert len(done) == 2 and not (samples / "dataset").exists()

    def counts(job: Any, *arguments: Any) -> Any:
        done.append(job.files[0].path)
        return real(job, *arguments)

    monkeypatch.setattr(stage, "_write", counts)
    make(samples)
    assert [Path(p).name for p in done] == ["tt1.root", "tt2.root", "dy.root"]
    reference = rows(make(samples, "whole"))
    for name, values in rows(samples / "dataset").items():
        np.testing.assert_array_equal(values, reference[name])


def test_a_finished_dataset_is_kept_and_a_changed_input_is_noticed(samples: Path) -> None:
    make(samples)
    before = (samples / "dataset" / "manifest.json").read_text()
    make(samples)
    assert (samples / "dataset" / "manifest.json").read_text() == before
    toys.write(samples / "dy.root", toys.nano_events(900, False))
    make(samples)
    assert (samples / "dataset" / "manifest.json").read_text() != before
    assert len(rows(samples / "dataset")["weight"]) == 1500 + 700 + 900


def test_another_configuration_does_not_overwrite(samples: Path) -> None:
    make(samples)
    path = samples / "analysis.yaml"
    with pytest.raises(UserError, match=r"dataset: holds a finished result.*--force"):
        convert(load(path, ["inputs.jets.length=3"]), samples / "dataset")
    with pytest.raises(UserError, match="did not make"):
        convert(load(path), samples)


def test_bad_files_are_named_or_counted_as_lost(samples: Path) -> None:
    whole = (samples / "tt2.root").read_bytes()
    (samples / "tt2.root").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"tt2.root: truncated: .* bytes are here"):
        make(samples)
    assert not (samples / "dataset").exists()
    found = rows(make(samples, skip=True))
    assert len(found["weight"]) == 2700
    books = Manifest.read(samples / "dataset", "convert").accounting
    assert books is not None and [Path(lost.file).name for lost in books.lost] == ["tt2.root"]


def test_real_nanoaod_jets_with_secondary_vertices(shared: Any, tmp_path: Path) -> None:
    path = shared("NanoAODv5_sample.root")
    target = {"classes": {"b": "hadronFlavour == 5", "rest": "hadronFlavour != 5"}}
    inputs = {
        "jet": {"features": ["pt", "eta", "btagDeepFlavB"]},
        "sv": {"collection": "SV", "match": "delta_r < 0.4", "length": 3, "features": ["pt", "mass"]},
    }
    cuts = {"acceptance": "Jet_pt > 20 & abs(Jet_eta) < 2.4"}
    found = rows(
        make(tmp_path, samples={"tt": {"files": str(path)}}, row="Jet", select=cuts, inputs=inputs, target=target)
    )
    events = uproot.open(path)["Events"].arrays(
        ["Jet_pt", "Jet_eta", "Jet_phi", "Jet_hadronFlavour", "SV_eta", "SV_phi"]
    )
    good = (events.Jet_pt > 20) & (abs(events.Jet_eta) < 2.4)
    assert len(found["weight"]) == ak.sum(good) == 5595
    assert (found["target/label"] == 0).sum() == ak.sum(events.Jet_hadronFlavour[good] == 5) == 1657
    deta = events.Jet_eta[:, :, np.newaxis] - events.SV_eta[:, np.newaxis]
    dphi = (events.Jet_phi[:, :, np.newaxis] - events.SV_phi[:, np.newaxis] + np.pi) % (2 * np.pi) - np.pi
    near = ak.sum(np.hypot(deta, dphi) < 0.4, axis=-1)[good]
    np.testing.assert_array_equal(found["sv/valid"].sum(1), np.minimum(ak.to_numpy(ak.flatten(near)), 3))


def test_real_data_have_no_generator_branches(shared: Any, tmp_path: Path) -> None:
    data = {"muons": {"files": str(shared("nano_dimuon.root")), "label": "data"}}
    inputs = {"event": {"features": ["MET_pt", "nMuon"]}}
    target = {"regression": {"mass": "Muon_pt[0]"}}
    with pytest.raises(DataError.__mro__[1], match=r"weight: no column 'genWeight'.*nano_dimuon|is it data"):
        make(tmp_path, samples=data, inputs=inputs, target=target, weight="genWeight")
    found = rows(make(tmp_path, samples=data, inputs=inputs, target=target, select={"muon": "nMuon > 0"}))
    assert len(found["weight"]) > 10


def test_real_rntuple(shared: Any, tmp_path: Path) -> None:
    path = shared("nano_dy_rntuple.root")
    inputs = {
        "event": {"features": ["MET_pt", "nJet"]},
        "jets": {"collection": "Jet", "length": 6, "features": ["pt", "eta"]},
    }
    target = {"regression": {"ht": "LHE_HT"}}
    found = rows(make(tmp_path, samples={"dy": {"files": str(path)}}, inputs=inputs, target=target, weight="genWeight"))
    tree = uproot.open(path)["Events"]
    np.testing.assert_array_equal(found["event/features"][:, 0], tree["MET_pt"].array(library="np"))
    np.testing.assert_array_equal(found["jets/valid"].sum(1), np.minimum(ak.num(tree["Jet_pt"].array()), 6))


def test_missing_integers_are_not_stored_as_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,n\n" + "".join(f"{i}.5,{'' if i == 7 else i}\n" for i in range(50)))
    changes = {
        "samples": {"a": {"files": "a.csv"}},
        "inputs": {"event": {"features": ["x", "n"], "nan": {"fill": -1}}},
        "target": {"regression": {"y": "x"}},
    }
    found = rows(make(tmp_path, keep=["n"], **changes))
    assert found["event/features"][7, 1] == -1
    assert np.isnan(found["keep/n"][7]) and found["keep/n"][8] == 8
    (tmp_path / "b.csv").write_text("x,n\n1.5,3\n")
    changes["samples"]["b"] = {"files": "b.csv"}
    with pytest.raises(DataError, match=r"b.csv: keep/n is int64, but float64 in .*a.csv"):
        make(tmp_path, "both", keep=["n"], **changes, split={"train": 1.0, "val": 0.0, "test": 0.0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": ["weight"], "dataset": {"format": "parquet"}}, "keep: 'weight' is a column of the dataset itself"),
        ({"keep": ["fold"], "dataset": {"layout": "salt"}}, "keep: 'fold' is a column of the dataset itself"),
        ({"keep": ["entry"]}, "keep.entry: predictions have a column of this name"),
        (
            {"inputs": {"event": {"features": [{"label": "MET_pt"}]}}, "dataset": {"layout": "salt"}},
            "inputs: 'label' is a column of the dataset itself",
        ),
        (
            {
                "samples": {"tt": {"files": "tt1.root", "label": "s", "select": {"c": "nJet > 2"}}},
                "select": {"c": "nJet > 1"},
            },
            "samples.tt.select.c: a cut of the analysis has this name",
        ),
        ({"samples": {"tt": {"files": "tt1.root", "label": "t/tbar"}}}, "samples.tt.label"),
    ],
)
def test_names_that_would_replace_others_are_refused(samples: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(samples, **changes)


def test_labels_must_tell_samples_apart(samples: Path) -> None:
    both = analysis(samples)["samples"]
    both["dy"]["label"] = "signal"
    with pytest.raises(UserError, match="nothing to tell apart"):
        make(samples, samples=both)
    del both["dy"]["label"]
    with pytest.raises(UserError, match=r"samples.dy: needs a 'label'"):
        make(samples, samples=both)


def test_weights_must_go_with_their_sum(samples: Path) -> None:
    both = {n: {"files": str(samples / f"{n}*.root"), "label": n, "xsec": 2.0} for n in ("tt", "dy")}
    with pytest.raises(UserError, match=r"samples.tt: 'xsec' is divided by the sum of genWeight"):
        make(samples, samples=both, weight="1")
    found = rows(make(samples, samples=both, define={"w": "genWeight * 1"}, weight="w"))
    assert found["weight"][found["id/sample"] == 0].sum() == pytest.approx(2.0, rel=0.1)


def test_a_damaged_or_missing_shard_is_made_again(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nanoforge.stages.convert as stage

    def no_end(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "assemble", no_end)
        with pytest.raises(KeyboardInterrupt):
            make(samples)
    shards = samples / ".dataset.unfinished" / "shards"
    (shards / "00.json").write_text("{")
    (shards / "01.h5").unlink()
    reference = rows(make(samples, "whole"))
    for name, values in rows(make(samples)).items():
        np.testing.assert_array_equal(values, reference[name])


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    import subprocess
    import sys

    peaks = []
    for count in (30_000, 240_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        toys.write(folder / "tt.root", toys.nano_events(count, True), basket=10_000)
        content = analysis(folder, samples={"tt": {"files": "tt.root"}}, target={"regression": {"m": "MET_pt"}})
        (folder / "a.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        code = (
            "import resource\nfrom nanoforge.config import load\nfrom nanoforge.stages.convert import convert\n"
            "from pathlib import Path\nconvert(load('a.yaml'), Path('dataset'))\n"
            "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True)
        peaks.append(int(answer.stdout.split()[-1]))
    assert peaks[1] < 1.15 * peaks[0]


FOLDS = {"split": {"train": 0.8, "val": 0.2, "test": 0, "folds": 4}}


def refused(folder: Path, match: str, **changes: Any) -> None:
    """A conversion and a training from the files alike end with an error."""
    content = Analysis.model_validate(analysis(folder, **changes))
    with pytest.raises(UserError, match=match):
        convert(content, folder / "dataset")
    assert not (folder / "dataset").exists()
    (folder / "run").mkdir()
    with pytest.raises(UserError, match=match):
        open_dataset(content).prepare(folder / "run")


def badly_numbered(folder: Path, count: int) -> None:
    """Background so many of whose events are in fold 1."""
    columns = toys.nano_events(1200, False)
    columns["luminosityBlock"][:] = 1
    numbers = np.arange(10_000, 20_000, dtype="u8")
    identity = {"run": np.ones(10_000), "luminosityBlock": np.ones(10_000), "event": numbers}
    chosen = numbers[assign_fold(event_hash(identity, "", numbers, 1), 4) == 1]
    columns["event"][:count] = chosen[:count]
    toys.write(folder / "dy.root", columns)


@pytest.mark.parametrize(
    ("count", "match"),
    [
        (1190, r"split.folds: fold [023] has \d of all 1,200 rows of class 'background' to test"),
        (1200, r"split.folds: fold 1 has all [89]\d\d training rows of class 'background', so that its model"),
    ],
)
def test_a_badly_populated_fold_is_refused(samples: Path, count: int, match: str) -> None:
    badly_numbered(samples, count)
    refused(samples, match, **FOLDS)


def test_unknown_targets_are_counted(samples: Path, capsys: pytest.CaptureFixture) -> None:
    dataset = make(samples, target={"regression": {"met": "MET_pt", "third": "Jet_pt[2]"}}, **FOLDS)
    counts = np.concatenate([uproot.open(f)["Events"]["nJet"].array(library="np") for f in samples.glob("*.root")])
    unknown = int((counts < 3).sum())
    assert Manifest.read(dataset, "convert").details["unknown_targets"] == {"met": 0, "third": unknown}
    assert f"note: target third: {unknown:,} of 3,400 rows unknown\n" in capsys.readouterr().err


def test_a_target_that_is_never_known_is_refused(samples: Path) -> None:
    refused(samples, "target.regression.none: is NaN in all", target={"regression": {"none": "Jet_pt[999]"}})


def test_a_target_that_is_known_in_one_fold_alone_is_refused(samples: Path) -> None:
    badly_numbered(samples, 1200)
    target = {"regression": {"met": "where(event >= 10000, MET_pt, Jet_pt[999])"}}
    refused(samples, r"split.folds: fold 1 has all \d+ training rows with a known 'met'", target=target, **FOLDS)


def test_an_older_or_damaged_record_is_made_again(samples: Path, tmp_path: Path) -> None:
    record = ShardRecord(input_record(str(samples / "dy.root"), sample="dy"))
    record.begin(dataset_info(Analysis.model_validate(analysis(samples, **FOLDS))))
    ShardIndex("key", [], [record]).write(tmp_path / "00")
    assert ShardIndex.read(tmp_path / "00").records[0].population.shape == (3, 4, 2)
    text = (tmp_path / "00.json").read_text()
    (tmp_path / "00.json").write_text(text.replace('"key"', '"other"'))
    assert ShardIndex.read(tmp_path / "00") is None
    content = unsealed(text)
    del content["records"][0]["population"]
    (tmp_path / "00.json").write_text(sealed(content))
    assert ShardIndex.read(tmp_path / "00") is None


def test_nanoaod_without_events_counts_by_its_sums(samples: Path) -> None:
    described = analysis(samples)["samples"]
    changes = {"samples": {name: {**sample, "xsec": 2.0} for name, sample in described.items()}, "weight": "genWeight"}
    before = rows(make(samples, "before", **changes))
    toys.write_without_events(samples / "tt0.root", sumw=3520)
    after = rows(make(samples, "after", **changes))
    signal = before["target/label"] == before["target/label"][0]
    assert np.array_equal(after["jets/features"], before["jets/features"]), "the same rows"
    ratio = after["weight"] / before["weight"]
    assert np.allclose(ratio[signal], 0.5) and np.all(ratio[~signal] == 1)
