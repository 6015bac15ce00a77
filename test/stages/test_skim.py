from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import toys
import uproot
import yaml
from nanoforge.config import load
from nanoforge.errors import DataError, FileError, UserError
from nanoforge.events.columns import Branch, Column
from nanoforge.events.writer import NanoFile
from nanoforge.provenance import Manifest
from nanoforge.stages import skim as stage
from nanoforge.stages.convert import convert

INPUTS = {"event": {"features": ["MET_pt", "nJet"]}}
FEW = ["drop *", "keep run", "keep luminosityBlock", "keep event", "keep Jet_*", "keep Muon_*", "keep MET_pt"]


def make(folder: Path, output: str = "skim", force: bool = True, options: Any = None, **keys: Any) -> Path:
    content: dict[str, Any] = {"name": "test", "samples": {"tt": {"files": "tt*.root"}}, "inputs": INPUTS, **keys}
    (folder / "analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    stage.skim(load(folder / "analysis.yaml"), folder / output, force=force, **(options or {}))
    return folder / output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five small files of one sample, with generator weights before any skim of 1000, 1001, ..."""
    for i, size in enumerate((700, 300, 500, 40, 900)):
        events = toys.nano_events(size, True, first=10_000 * i)
        toys.write(tmp_path / f"tt{i}.root", events, sumw=1000 + i, basket=300)
    return tmp_path


def content(path: Path, tree: str = "Events") -> dict[str, Any]:
    with uproot.open(path) as file:
        return {b.name: b.array() for b in file[tree].branches}


@functools.cache
def original(path: Path) -> dict[str, Any]:
    """All branches of the real file, which take seconds to read."""
    return content(path)


def joined(paths: list[Path], tree: str = "Events") -> dict[str, Any]:
    parts = [content(path, tree) for path in paths]
    return {n: ak.concatenate([p[n] for p in parts]) for n in parts[0]}


def assert_same(found: dict[str, Any], expected: dict[str, Any], mask: Any = slice(None)) -> None:
    """Compare branch by branch, bit by bit."""
    for name in found:
        values, reference = found[name], expected[name][mask]
        if reference.ndim > 1:
            assert ak.array_equal(ak.num(values), ak.num(reference)), name
            values, reference = ak.flatten(values), ak.flatten(reference)
        assert ak.to_numpy(values).tobytes() == ak.to_numpy(reference).tobytes(), name


def assert_described_alike(output: Path, source: Path) -> None:
    with uproot.open(output) as new, uproot.open(source) as old:
        for branch in new["Events"].branches:
            twin = old["Events"][branch.name]
            assert (branch.typename, branch.title) == (twin.typename, twin.title), branch.name
            counters = [b.count_branch.name if b.count_branch is not None else None for b in (branch, twin)]
            assert counters[0] == counters[1], branch.name


# -- real files -------------------------------------------------------------------------------------------------------


def test_real_simulation_without_cuts_is_unchanged(shared: Any, tmp_path: Path) -> None:
    source = shared("NanoAODv5_sample.root")
    output = make(tmp_path, samples={"tt": {"files": str(source)}}) / "tt" / source.name
    found, expected = content(output), original(source)
    assert list(found) == list(expected) and len(found) == 1479
    assert_same(found, expected)
    assert_described_alike(output, source)
    with uproot.open(output) as file:
        assert file.keys(cycle=False) == ["Events"]


def test_real_simulation_with_cuts_in_coffea(shared: Any, tmp_path: Path) -> None:
    source = shared("NanoAODv5_sample.root")
    keep = ["drop HLT_*", "drop L1_*", "keep HLT_IsoMu*"]
    cuts = {"jets": "nJet >= 6", "muon": "any(Muon_pt > 20)"}
    folder = make(tmp_path, samples={"tt": {"files": str(source)}}, select=cuts, skim={"keep": keep})
    output = folder / "tt" / source.name
    found, expected = content(output), original(source)
    mask = (expected["nJet"] >= 6) & ak.any(expected["Muon_pt"] > 20, axis=1)
    assert_same(found, expected, mask)
    assert_described_alike(output, source)
    triggers = {n for n in expected if n.startswith(("HLT_", "L1_"))}
    assert {n for n in expected if n not in found} == {n for n in triggers if not n.startswith("HLT_IsoMu")}
    books = Manifest.read(folder, "skim").accounting
    assert books is not None and (books.events.read, books.events.used) == (1000, ak.sum(mask))
    assert sum(books.events.rejected.values()) == 1000 - ak.sum(mask)

    nanoevents = pytest.importorskip("coffea.nanoevents", reason="coffea is not installed")
    events = nanoevents.NanoEventsFactory.from_root({str(output): "Events"}, mode="virtual").events()
    assert events.Jet.pt.to_list() == expected["Jet_pt"][mask].to_list()
    matched = events.Muon.matched_gen
    known = ~ak.is_none(matched.pt, axis=1)
    assert ak.sum(known) > 100 and ak.all(abs(matched.pdgId[known]) == 13)
    index = expected["Muon_genPartIdx"][mask]
    assert known.to_list() == (index >= 0).to_list()
    assert matched.pt[known].to_list() == expected["GenPart_pt"][mask][index[index >= 0]].to_list()


@pytest.mark.parametrize(("certified", "used"), [([[1, 204], [206, 999]], 0), ([[205, 205]], 40)])
def test_real_data_with_golden_json(shared: Any, tmp_path: Path, certified: list, used: int) -> None:
    source = shared("nano_dimuon.root")  # one luminosity section, 205
    (tmp_path / "cert.json").write_text(json.dumps({"315267": certified}))
    samples = {"data": {"files": str(source), "data": True}}
    folder = make(tmp_path, samples=samples, golden_json="cert.json", skim={"keep": FEW})
    output = folder / "data" / source.name
    assert_same(content(output), original(source), slice(used))
    assert_described_alike(output, source)
    assert_same(content(output, "Runs"), content(source, "Runs"))
    assert len(content(output, "Runs")["run"]) == 56
    books = Manifest.read(folder, "skim").accounting
    assert books is not None and books.events.rejected == {"golden_json": 40 - used}


def test_real_rntuple_becomes_a_tree(shared: Any, tmp_path: Path) -> None:
    source = shared("nano_dy_rntuple.root")
    folder = make(
        tmp_path,
        samples={"dy": {"files": str(source)}},
        skim={"keep": [*FEW, "keep LHE*", "keep Gen*"]},
        select={"j": "nJet > 2"},
    )
    found = content(folder / "dy" / source.name)
    with uproot.open(source) as file:
        arrays = file["Events"].arrays(list(found))
    mask = arrays["nJet"] > 2
    assert 0 < ak.sum(mask) < 40 and len(found) > 100
    counters = {n: ak.values_astype(arrays[n], "u4") for n in found if n[0] == "n"}  # uproot reads them as u8
    assert_same(found, {n: counters.get(n, arrays[n]) for n in found}, mask)
    with uproot.open(folder / "dy" / source.name) as file:
        tree = file["Events"]
        assert {tree[n].count_branch.name for n in found if n.startswith("Jet_")} == {"nJet"}
        assert tree["nJet"].typename == "uint32_t"


def test_root_opens_a_skim(shared: Any, tmp_path: Path) -> None:
    root = pytest.importorskip("ROOT", reason="ROOT is not installed (pip install root)")
    source = shared("NanoAODv5_sample.root")
    folder = make(tmp_path, samples={"tt": {"files": str(source)}}, select={"j": "nJet > 8"}, skim={"keep": FEW})
    new, old = (root.RDataFrame("Events", str(p)).Filter("nJet > 8") for p in (folder / "tt" / source.name, source))
    for column in ("nMuon", "Jet_pt", "Muon_charge", "MET_pt"):
        assert new.Sum(column).GetValue() == old.Sum(column).GetValue()
    assert str(new.GetColumnType("nJet")) == "UInt_t"


# -- selection and columns --------------------------------------------------------------------------------------------


def test_defined_columns_are_appended(folder: Path) -> None:
    define = {
        "ht": "sum(Jet_pt)",
        "Jet_rank": "Jet_pt / max(Jet_pt)",
        "Muon_far": "abs(Muon_eta) > 1",
        "hard_pt": "Jet_pt[Jet_pt > 50]",
        "nhard": "num(hard_pt)",
        "lead_flavour": "Jet_hadronFlavour[0]",
    }
    output = make(folder, define=define, select={"ht": "ht > 100"}) / "tt" / "tt0.root"
    expected = content(folder / "tt0.root")
    mask = ak.sum(expected["Jet_pt"], axis=1) > 100
    expected = {n: v[mask] for n, v in expected.items()}
    found = content(output)
    jets = expected["Jet_pt"]
    assert_same({n: v for n, v in found.items() if n in expected}, expected)
    assert set(found) - set(expected) == set(define)
    np.testing.assert_array_equal(found["ht"], ak.sum(jets, axis=1))
    np.testing.assert_array_equal(ak.flatten(found["Jet_rank"]), ak.flatten(jets / ak.max(jets, axis=1)))
    assert ak.array_equal(found["Muon_far"], abs(expected["Muon_eta"]) > 1)
    assert ak.array_equal(found["hard_pt"], jets[jets > 50])
    np.testing.assert_array_equal(found["nhard"], ak.num(found["hard_pt"]))
    with uproot.open(output) as file:
        tree = file["Events"]
        assert {tree[n].count_branch.name for n in ("Jet_rank", "Jet_pt")} == {"nJet"}
        assert tree["Muon_far"].count_branch.name == "nMuon" and tree["hard_pt"].count_branch.name == "nhard"
        assert tree["Muon_far"].typename == "bool[]" and tree["ht"].typename == "float"
        assert tree["ht"].title == "sum(Jet_pt)"


def test_a_changed_branch_is_not_written_under_its_old_name(folder: Path) -> None:
    """What reads the skim with the same analysis file would change it once more."""
    change = {"MET_pt": "MET_pt * 2"}
    with pytest.raises(UserError, match=r"define.MET_pt: changes a branch of the file"):
        make(folder, define=change)
    output = make(folder, define=change, skim={"keep": ["drop MET_pt"]}, select={"hard": "MET_pt > 80"})
    expected = content(folder / "tt0.root")
    assert len(content(output / "tt" / "tt0.root")["Jet_pt"]) == np.sum(expected["MET_pt"] * 2 > 80)


def test_what_is_missing_is_nan(folder: Path) -> None:
    output = make(folder, define={"lead_charge": "Muon_jetIdx[0]", "lead_pt": "Muon_pt[0]"}) / "tt" / "tt0.root"
    found = content(output)
    none = found["nMuon"] == 0
    for name in ("lead_charge", "lead_pt"):
        np.testing.assert_array_equal(np.isnan(found[name]), none)
    np.testing.assert_array_equal(found["lead_pt"][~none], found["Muon_pt"][~none][:, 0])
    np.testing.assert_array_equal(found["lead_charge"][~none], found["Muon_jetIdx"][~none][:, 0])


def test_keep_and_drop(folder: Path, capsys: pytest.CaptureFixture) -> None:
    keep = ["drop *", "keepmatch (run|event|ht)", "keep Jet_*", "drop Jet_eta", "keep Jte_*", "drop nJet"]
    define = {"ht": "sum(Jet_pt)", "unused": "ht * 2", "of_another_file": "Tau_pt * 2"}
    output = make(folder, define=define, select={"met": "MET_pt > 30"}, skim={"keep": keep})
    found = content(output / "tt" / "tt0.root")
    assert list(found) == ["run", "event", "nJet", "Jet_pt", "Jet_phi", "Jet_mass", "Jet_btagDeepFlavB",
                           "Jet_hadronFlavour", "ht"]  # fmt: skip
    expected = content(folder / "tt0.root")
    assert_same({n: v for n, v in found.items() if n != "ht"}, expected, expected["MET_pt"] > 30)
    notes = capsys.readouterr().err
    assert notes.count("'keep Jte_*' fits no branch") == 1 and "drop Jet_eta" not in notes
    keep = [
        "keep Jet_*",
        "drop Jet_*",
        "keep Jet_*",
        "drop MET_pt",
        "keep *",
        "drop MET_pt",
    ]  # the last of each decides
    found = content(make(folder, skim={"keep": keep}) / "tt" / "tt0.root")
    assert set(expected) - set(found) == {"MET_pt"}


def test_cuts_of_samples_and_of_the_skim(folder: Path) -> None:
    samples = {"tt": {"files": "tt0.root", "select": {"lumi": "luminosityBlock < 5"}}, "all": {"files": "tt1.root"}}
    output = make(folder, samples=samples, select={"none": "nJet > 99"}, select_for={"skim": {"two": "nJet > 1"}})
    for name, file, extra in (("tt", "tt0", 5), ("all", "tt1", 10**9)):
        expected = content(folder / f"{file}.root")
        mask = (expected["nJet"] > 1) & (expected["luminosityBlock"] < extra)
        assert_same(content(output / name / f"{file}.root"), expected, mask)
    books = Manifest.read(output, "skim").accounting
    assert books is not None and list(books.events.rejected) == ["two", "lumi"]


def test_branches_that_cannot_be_written_are_named(folder: Path, capsys: pytest.CaptureFixture) -> None:
    columns = {"x": np.ones(3), "word": ["a", "b", "c"], "nested": ak.Array([[[1, 2]], [], [[3]]])}
    for name in ("odd1", "odd2"):
        with uproot.recreate(folder / f"{name}.root") as file:
            file.mkrntuple("Events", columns)
    output = make(folder, samples={"odd": {"files": "odd*.root"}}, inputs={"event": {"features": ["x"]}})
    assert list(content(output / "odd" / "odd1.root")) == ["x"]
    assert set(Manifest.read(output, "skim").details["not_written"]) == {"word", "nested"}
    assert capsys.readouterr().err.count("word (") == 1


def test_private_counters_are_normalised(folder: Path) -> None:
    columns = toys.plain(toys.nano_events(200, True))
    types = {n: v.type.content if isinstance(v, ak.Array) else v.dtype for n, v in columns.items() if n[0] != "n"}
    with uproot.recreate(folder / "private.root") as file:
        file.mktree("Events", types).extend({n: columns[n] for n in types})
    assert "nJet_pt" in content(folder / "private.root")
    keys = {"samples": {"p": {"files": "private.root"}}, "inputs": {"event": {"features": ["MET_pt"]}}}
    output = make(folder, select={"some": "num(Jet_pt) > 3"}, **keys) / "p" / "private.root"
    expected = columns["nJet"] > 3
    found = content(output)
    assert_same(found, {n: ak.Array(v) for n, v in columns.items()} | {"nJet": ak.Array(columns["nJet"].astype("i4"))}
                | {f"n{c}": ak.Array(columns[f"n{c}"].astype("i4")) for c in ("SV", "Muon")}, expected)  # fmt: skip
    assert set(found) == set(columns)
    make(folder, "again", samples={"p": {"files": str(output)}})
    assert_same(content(folder / "again" / "p" / "private.root"), found)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"row": "Jet", "select": {"a": "pt > 30"}}, r"select\.a: gives one value per Jet, .*select_for: {skim:"),
        ({"select": {"a": "Jet_pt > 30"}}, r"select\.a: .*wrap it in any\(\)"),
        ({"define": {"x": "Jte_pt"}}, r"define\.x: no column 'Jte_pt'; did you mean 'Jet_pt'"),
        (
            {"define": {"Good_pt": "Jet_pt[Jet_pt > 30]", "nGood": "num(Jet_pt > 20)"}},
            r"define\.nGood: counts the lists of Good_pt, but 'num\(Jet_pt > 20\)' is not their length: leave it out",
        ),
        ({"skim": {"keep": ["drop *"]}}, r"skim\.keep: no branch is left"),
        ({"skim": {"keep": ["retain *"]}}, r"skim\.keep"),
        ({"skim": {"keep": ["keepmatch ("]}}, r"skim\.keep.*not a regular expression"),
        ({"skim": {"target_size": "lots"}}, r"skim\.target_size"),
        ({"skim": {"compression": "zip"}}, r"skim\.compression"),
        ({"skim": {"compresion": "none"}}, r"did you mean 'compression'"),
    ],
)
def test_mistakes_are_explained(folder: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises((UserError, FileError), match=message) as caught:
        make(folder, **keys)
    assert caught.value.exit_code == 2 and not (folder / "skim").exists()


# -- files ------------------------------------------------------------------------------------------------------------


def test_merging_keeps_events_sums_and_books(folder: Path) -> None:
    size = sum((folder / f"tt{i}.root").stat().st_size for i in range(3))
    cuts = {"jets": "nJet > 2", "met": "MET_pt > 30"}
    output = make(folder, select=cuts, skim={"target_size": f"{size / 1e3 + 1} kB"})
    parts = sorted((output / "tt").iterdir())
    assert [p.name for p in parts] == ["part-0000.root", "part-0001.root"]
    sources = sorted(folder.glob("tt*.root"))
    expected = joined(sources)
    mask = (expected["nJet"] > 2) & (expected["MET_pt"] > 30)
    assert_same(joined(parts), expected, mask)
    assert_same(joined(parts, "Runs"), joined(sources, "Runs"))
    assert ak.sum(joined(parts, "Runs")["genEventSumw"]) == 5010
    manifest = Manifest.read(output, "skim")
    books = manifest.accounting
    assert books is not None and (books.events.read, books.events.used) == (2440, ak.sum(mask))
    assert books.events.rejected["jets"] == ak.sum(expected["nJet"] <= 2)
    assert [o.path for o in manifest.outputs] == ["tt/part-0000.root", "tt/part-0001.root"]
    assert sum(o.entries or 0 for o in manifest.outputs) == ak.sum(mask)
    assert [(i.entries, i.sample, bool(i.uuid)) for i in manifest.inputs] == [
        (n, "tt", True) for n in (700, 300, 500, 40, 900)
    ]
    manifest.verify(output)


def test_luminosity_blocks_and_lists_of_runs_go_along(tmp_path: Path) -> None:
    runs = [Branch("run", np.dtype("u4")), Branch("nScale", np.dtype("u4")), Branch("genEventCount", np.dtype("i8")),
            Branch("Scale", np.dtype("f8"), True, "nScale", "sums")]  # fmt: skip
    for i in range(3):
        with NanoFile(tmp_path / f"tt{i}.root") as file:
            numbers = np.arange(10 * i, 10 * i + 10, dtype="u8")
            file.tree("Events", [Branch("event", np.dtype("u8"))]).append(10, {"event": Column([numbers])})
            lists = Column([np.array([0.1, 0.2, 0.3]) * i], np.array([0, 1, 3]))
            file.tree("Runs", runs).append(
                2,
                {
                    "run": Column([np.array([1, 2], "u4")]),
                    "genEventCount": Column([np.array([2**40, i])]),
                    "Scale": lists,
                },
            )
            lumi = Column([np.arange(i, dtype="u4")])
            file.tree("LuminosityBlocks", [Branch("luminosityBlock", np.dtype("u4"))]).append(
                i, {"luminosityBlock": lumi}
            )
    keys = {"inputs": {"event": {"features": ["event"]}}, "skim": {"target_size": "1 GB"}}
    output = make(tmp_path, select={"few": "event > 24"}, **keys) / "tt" / "part-0000.root"
    sources = sorted(tmp_path.glob("tt*.root"))
    assert content(output)["event"].tolist() == [25, 26, 27, 28, 29]
    for tree in ("Runs", "LuminosityBlocks"):
        assert_same(content(output, tree), joined(sources, tree))


def test_no_event_passes(folder: Path) -> None:
    output = make(folder, select={"never": "nJet > 99"})
    assert len(list((output / "tt").iterdir())) == 5
    for i in range(5):
        found = content(output / "tt" / f"tt{i}.root")
        assert set(map(len, found.values())) == {0} and list(found) == list(content(folder / f"tt{i}.root"))
        assert content(output / "tt" / f"tt{i}.root", "Runs")["genEventSumw"].tolist() == [1000 + i]
    merged = make(folder, "merged", select={"few": "event > 40000"}, skim={"target_size": "1 GB"})
    assert ak.sum(content(merged / "tt" / "part-0000.root", "Runs")["genEventSumw"]) == 5010
    assert len(content(merged / "tt" / "part-0000.root")["event"]) == 900
    again = make(folder, "again", samples={"tt": {"files": [str(output / "tt" / "*.root")]}})
    assert ak.sum(joined(sorted((again / "tt").iterdir()), "Runs")["genEventSumw"]) == 5010


def test_a_hard_cut_makes_no_crumbs(tmp_path: Path) -> None:
    events = toys.nano_events(60_000, True)
    toys.write(tmp_path / "tt.root", events, basket=500)
    output = make(tmp_path, select={"hard": "MET_pt > 200"}) / "tt" / "tt.root"
    with uproot.open(output) as file:
        assert (
            file["Events"]["MET_pt"].num_baskets == 1 and file["Events"].num_entries == (events["MET_pt"] > 200).sum()
        )


def test_a_skim_is_normalised_as_its_source(folder: Path) -> None:
    weights = {}
    output = make(folder, select={"jets": "nJet > 2"}, skim={"target_size": "60 kB"})
    for name, files in (("skimmed", str(output / "tt" / "*.root")), ("direct", "tt*.root")):
        content = {
            "name": "test", "inputs": INPUTS, "select": {"jets": "nJet > 2"}, "weight": "genWeight", "lumi": 10.0,
            "samples": {"tt": {"files": files, "xsec": 800.0}}, "target": {"regression": {"x": "MET_pt"}},
        }  # fmt: skip
        (folder / "convert.yaml").write_text(yaml.safe_dump(content))
        convert(load(folder / "convert.yaml"), folder / name)
        import h5py

        with h5py.File(folder / name / "train.h5") as file:
            order = np.argsort(file["id/event"][:])
            weights[name] = file["weight"][:][order], file["event/features"][:][order]
    for skimmed, direct in zip(weights["skimmed"], weights["direct"]):
        np.testing.assert_array_equal(skimmed, direct)


def test_a_sum_of_weights_that_is_no_number_is_not_carried_on(folder: Path) -> None:
    (folder / "tt1.root").unlink()
    toys.write(folder / "tt1.root", toys.nano_events(50), sumw=float("inf"))
    with pytest.raises(FileError, match=r"tt1.root: the sum of generator weights in its Runs tree is inf"):
        make(folder)


def test_branches_that_some_files_lack_are_filled(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """Triggers come and go with the runs: what a file lacks is filled, said and in the manifest, in any order."""
    events = toys.nano_events(50, True)
    few = {n: v for n, v in events.items() if n not in ("HLT_IsoMu24", "MET_phi", "Muon")}
    few["Jet"] = few["Jet"][[f for f in few["Jet"].fields if f != "mass"]]
    toys.write(folder / "tt00.root", {**few, "HLT_New": np.ones(50, bool)}, sumw=1)
    output = make(folder, skim={"target_size": "1 GB"}, select={"t": "default(HLT_New, true)"})
    merged = content(output / "tt" / "part-0000.root")
    first = np.arange(50) + 700  # tt0, tt00, tt1 ...
    assert len(merged["MET_pt"]) == 2490 and set(merged["nJet"][first]) > {2}
    assert not ak.any(merged["HLT_IsoMu24"][first]) and ak.any(merged["HLT_IsoMu24"]) and ak.all(merged["HLT_New"])
    assert ak.all(np.isnan(merged["MET_phi"][first])) and ak.sum(np.isnan(merged["MET_phi"])) == 50
    np.testing.assert_array_equal(ak.num(merged["Jet_mass"]), ak.num(merged["Jet_pt"]))
    assert ak.all(np.isnan(merged["Jet_mass"][first])) and ak.all(merged["nMuon"][first] == 0)
    filled = Manifest.read(output, "skim").details["filled"]
    assert {n: filled[n] for n in ("HLT_IsoMu24", "HLT_New", "Jet_mass", "Muon_pt")} == {
        "HLT_IsoMu24": [1, "false"], "HLT_New": [5, "true"], "Jet_mass": [1, "nan"], "Muon_pt": [1, "no objects"],
    }  # fmt: skip
    said = capsys.readouterr().err
    assert "warning: filled where files lack them: " in said and "HLT_IsoMu24 (1 of 6 files: false)" in said


def test_unlike_files_are_not_merged(folder: Path) -> None:
    events = toys.nano_events(50, True)
    toys.write(folder / "tt5.root", {**events, "HLT_IsoMu24": np.ones(50, "u1")}, sumw=1)
    message = r"tt5.root: cannot be merged with .*tt0.root: HLT_IsoMu24 of Events is uint8, there bool; drop"
    with pytest.raises(FileError, match=message):
        make(folder, skim={"target_size": "1 GB"})
    make(folder, skim={"target_size": "1 GB", "keep": ["drop HLT_*"]})
    toys.write(folder / "tt5.root", events)
    with pytest.raises(
        FileError, match=r"tt5.root: cannot be merged with the others: not all of them have a tree Runs"
    ):
        make(folder, skim={"target_size": "1 GB"})


def test_equal_names_from_several_folders(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        toys.write(folder / name / "nano.root", toys.nano_events(30, True, first=100 if name == "b" else 0), sumw=1)
    output = make(folder, samples={"tt": {"files": ["a/nano.root", "b/nano.root"]}})
    assert content(output / "tt" / "b" / "nano.root")["event"][0] == 101


# -- work -------------------------------------------------------------------------------------------------------------


def test_processes_do_not_change_the_result(folder: Path) -> None:
    keys = {"select": {"jets": "nJet > 2"}, "skim": {"target_size": "60 kB"}}
    one, three = (make(folder, f"j{jobs}", options={"jobs": jobs}, **keys) for jobs in (1, 3))
    names = sorted(p.name for p in (one / "tt").iterdir())
    assert names == sorted(p.name for p in (three / "tt").iterdir()) and len(names) > 1
    for name in names:
        assert_same(content(one / "tt" / name), content(three / "tt" / name))
    assert Manifest.read(one, "skim").accounting == Manifest.read(three, "skim").accounting


def test_dask_does_the_same(folder: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    keys = {"select": {"jets": "nJet > 2"}}
    reference = make(folder, "one", **keys)
    (folder / "tt5.root").write_text("not a ROOT file")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(DataError, match=r"tt5\.root: is no ROOT file but a text file"):
            make(folder, "dask", options={"scheduler": address}, **keys)
        assert not (folder / "dask").exists()
        output = make(folder, "dask", options={"scheduler": address, "skip_bad_files": True}, **keys)
    for i in range(5):
        assert_same(content(output / "tt" / f"tt{i}.root"), content(reference / "tt" / f"tt{i}.root"))
    books = Manifest.read(output, "skim").accounting
    assert books is not None and books.events.used == Manifest.read(reference, "skim").accounting.events.used
    assert len(books.lost) == 1


def test_no_dask_scheduler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    monkeypatch.setattr("nanoforge.parallel._PATIENCE", "1s")
    with pytest.raises(UserError, match=r"--scheduler tcp://127\.0\.0\.1:9: no Dask scheduler answers"):
        make(folder, options={"scheduler": "tcp://127.0.0.1:9"})


def test_unfinished_work_is_taken_up_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, done = stage._write, []

    def write(job: Any, *arguments: Any) -> None:
        if job.output.name == "tt4.root" and len(done) == 4:
            raise KeyboardInterrupt
        done.append(job.output.name)
        real(job, *arguments)

    monkeypatch.setattr(stage, "_write", write)
    with pytest.raises(KeyboardInterrupt):
        make(folder)
    assert not (folder / "skim").exists()
    toys.write(folder / "tt1.root", toys.nano_events(310, True, first=10_000), sumw=1001)
    (folder / "tt0.root").rename(folder / "other.root")
    toys.flip_bit(folder / ".skim.unfinished" / "tt" / "tt3.root")
    done.append("again")
    output = make(folder)
    assert done == [*(f"tt{i}.root" for i in range(4)), "again", "tt1.root", "tt3.root", "tt4.root"]
    assert sorted(str(p.relative_to(output)) for p in output.rglob("*")) == [
        "manifest.json", "tt", "tt/tt1.root", "tt/tt2.root", "tt/tt3.root", "tt/tt4.root",
    ]  # fmt: skip
    assert len(content(output / "tt" / "tt1.root")["event"]) == 310
    assert_same(content(output / "tt" / "tt3.root"), content(folder / "tt3.root"))


def test_an_input_that_is_replaced_while_it_is_read_is_never_booked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stage._copy

    def copy(job: Any, file: Any, *arguments: Any) -> None:
        real(job, file, *arguments)
        if Path(file.path).name == "tt1.root":
            toys.write(folder / "new.root", toys.nano_events(20, True, first=70_000))
            (folder / "new.root").replace(file.path)

    monkeypatch.setattr(stage, "_copy", copy)
    with pytest.raises(FileError, match=r"tt1.root: changed while it was read: run the same command again"):
        make(folder)
    monkeypatch.undo()
    assert len(content(make(folder) / "tt" / "tt1.root")["event"]) == 20


def test_a_finished_skim_is_kept_and_changes_are_noticed(folder: Path) -> None:
    manifest = make(folder) / "manifest.json"
    before = manifest.read_text()
    make(folder, samples={"tt": {"files": "tt*.root", "xsec": 3.0}}, force=False)
    assert manifest.read_text() == before
    with pytest.raises(UserError, match=r"holds a finished result.*--force"):
        make(folder, select={"jets": "nJet > 2"}, force=False)
    toys.write(folder / "tt0.root", toys.nano_events(10, True), sumw=1)
    with pytest.raises(UserError, match=r"holds a finished result.*--force"):
        make(folder, force=False)
    make(folder)
    assert len(content(folder / "skim" / "tt" / "tt0.root")["event"]) == 10


def damage(path: Path, branch: str) -> None:
    """Spoil the last basket of a branch."""
    with uproot.open(path) as file:
        tree = file["Events"][branch]
        key = tree.basket_key(tree.num_baskets - 1)
    middle = key.fSeekKey + key.fNbytes // 2
    data = path.read_bytes()
    path.write_bytes(data[:middle] + bytes(20) + data[middle + 20 :])


@pytest.mark.parametrize("size", [None, "1 GB"])
def test_bad_files_are_named_or_left_out_as_a_whole(folder: Path, size: str | None) -> None:
    events = toys.nano_events(40_000, True, first=10_000)
    toys.write(folder / "tt1.root", events, sumw=1001, basket=1000)
    damage(folder / "tt1.root", "Jet_pt")
    (folder / "tt4.root").write_bytes((folder / "tt4.root").read_bytes()[:9000])
    keys = {"skim": {"target_size": size}} if size else {}
    with pytest.raises(DataError, match=r"tt1.root: cannot be read after entry"):
        make(folder, **keys)
    assert not (folder / "skim").exists()
    output = make(folder, options={"skip_bad_files": True}, **keys)
    parts = sorted((output / "tt").iterdir())
    sources = [folder / f"tt{i}.root" for i in (0, 2, 3)]
    assert [p.name for p in parts] == (["part-0000.root"] if size else [p.name for p in sources])
    assert_same(joined(parts), joined(sources))
    assert ak.sum(joined(parts, "Runs")["genEventSumw"]) == 1000 + 1002 + 1003
    manifest = Manifest.read(output, "skim")
    books = manifest.accounting
    assert books is not None
    assert {Path(b.file).name: b.entries for b in books.lost} == {"tt1.root": 40_000, "tt4.root": None}
    assert (books.events.read, books.events.used) == (41_240, 1240)
    assert [Path(i.path).name for i in manifest.inputs] == [f"tt{i}.root" for i in range(5)]
    for path in (*sources, folder / "tt1.root"):
        path.write_text("nothing")
    with pytest.raises(DataError, match=r"samples.tt: none of its files can be used: .*tt0.root"):
        make(folder, "other", options={"skip_bad_files": True}, **keys)


def test_copies_are_refused(folder: Path) -> None:
    (folder / "tt9.root").write_bytes((folder / "tt0.root").read_bytes())
    with pytest.raises(UserError, match=r"samples.tt: .*tt0.root and .*tt9.root are copies"):
        make(folder)


def test_command_line(folder: Path, nanoforge: Any) -> None:
    make(folder)
    answer = nanoforge(
        "skim", "analysis.yaml", "select.two=nJet > 1", "skim.compression=zlib 1", "-o", "out", "-j", "2"
    )
    assert answer.returncode == 0, answer.stderr
    assert "rejected by two" in answer.stdout and "2,440" in answer.stdout
    assert "is up to date" in nanoforge("skim", "analysis.yaml", "-o", "skim").stderr
    with uproot.open(folder / "out" / "tt" / "tt0.root") as file:
        assert file.file.compression == uproot.ZLIB(1)


@pytest.mark.parametrize("size", [None, "1 GB"])
def test_nanoaod_without_events_goes_along_with_its_sums(folder: Path, size: str | None) -> None:
    toys.write_without_events(folder / "tt00.root", sumw=7.0)
    skim = {"keep": FEW} if size is None else {"keep": FEW, "target_size": size}
    output = make(folder, skim=skim, select={"met": "MET_pt > 30"}, define={"ht": "sum(Jet_pt)"})
    paths = sorted((output / "tt").glob("*.root"))
    assert len(paths) == (6 if size is None else 1)
    assert sum(ak.sum(content(path, "Runs")["genEventSumw"]) for path in paths) == 7 + 5010
    if size is None:
        assert list(content(output / "tt" / "tt00.root")) == ["run", "luminosityBlock", "event"]
