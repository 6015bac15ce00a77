"""Histograms of expressions against numpy's own, and what a user sees of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import toys
import uproot
import yaml
from many import columns, write_many
from nanoforge.provenance import Manifest

Run = Callable[..., Any]
FULL = "(40,0,400)"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, toys.Columns]:
    """Two files of simulation and one of data, by path."""
    folder = tmp_path_factory.mktemp("files")
    made = {}
    for number, (name, signal) in enumerate([("sig", True), ("bkg", False), ("data", False)]):
        events = toys.nano_events(600, signal, first=1000 * number)
        toys.write(folder / f"{name}.root", events, sumw=900.0)
        made[str(folder / f"{name}.root")] = events
    return made


def read(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Contents and variances of a histogram, without what lies beyond its axes."""
    with uproot.open(folder / "histograms.root") as file:
        return file[name].values(), file[name].variances()


def path_of(files: dict[str, toys.Columns], name: str) -> str:
    return next(path for path in files if path.endswith(f"{name}.root"))


def test_histograms_are_those_of_numpy(files: dict[str, toys.Columns], nanoforge: Run, tmp_path: Path) -> None:
    path = path_of(files, "sig")
    events = files[path]
    requests = [
        f"MET_pt>>met{FULL}",
        f"Jet_pt>>jet{FULL}",
        f"Jet_pt[abs(Jet_eta) < 1]>>central{FULL}",
        f"sum(Jet_pt)>>ht{FULL}",
        "Jet_eta:Jet_pt>>jets(8,0,400,4,-2,2)",
        "Jet_pt:MET_pt>>mixed(8,0,400,4,0,200)",
        "HLT_IsoMu24>>trigger",
    ]
    done = nanoforge("plot", path, *requests, "--cut", "num(Jet_pt) > 3", "--weight", "genWeight")
    assert done.returncode == 0, done.stderr
    passed = ak.num(events["Jet"].pt) > 3
    passed = ak.to_numpy(passed)
    jets, met, weight = (events[name][passed] for name in ("Jet", "MET_pt", "genWeight"))
    counts = ak.num(jets.pt)

    def expect(name: str, values: Any, weights: Any) -> None:
        contents, _ = np.histogram(np.asarray(values, "f8"), 40, (0, 400), weights=weights)
        squares, _ = np.histogram(np.asarray(values, "f8"), 40, (0, 400), weights=weights**2)
        np.testing.assert_allclose(read(tmp_path / "plots", f"events/{name}"), (contents, squares))

    per_jet = np.repeat(weight, counts).astype("f8")
    expect("met", met, weight.astype("f8"))
    expect("jet", ak.flatten(jets.pt), per_jet)
    central = abs(jets.eta) < 1
    expect("central", ak.flatten(jets.pt[central]), np.repeat(weight, ak.sum(central, axis=1)).astype("f8"))
    expect("ht", ak.sum(jets.pt, axis=1), weight.astype("f8"))
    flat = ak.to_numpy(ak.flatten(jets.pt)), ak.to_numpy(ak.flatten(jets.eta))
    expected, *_ = np.histogram2d(*flat, (8, 4), [(0, 400), (-2, 2)], weights=per_jet)
    np.testing.assert_allclose(read(tmp_path / "plots", "events/jets")[0], expected)
    expected, *_ = np.histogram2d(np.repeat(met, counts), flat[0], (8, 4), [(0, 400), (0, 200)], weights=per_jet)
    np.testing.assert_allclose(read(tmp_path / "plots", "events/mixed")[0], expected)
    fired = events["HLT_IsoMu24"][passed]
    np.testing.assert_allclose(
        read(tmp_path / "plots", "events/trigger")[0], [weight[~fired].sum(), weight[fired].sum()]
    )
    assert f"rejected by num(Jet_pt) > 3  {(~passed).sum():,}" in done.stdout
    assert "wrote 7 figures" in done.stderr
    assert {p.suffix for p in (tmp_path / "plots").iterdir()} == {".pdf", ".png", ".root", ".json"}


def test_a_cut_on_objects_chooses_those_that_are_drawn(
    files: dict[str, toys.Columns], nanoforge: Run, tmp_path: Path
) -> None:
    path = path_of(files, "sig")
    jets = ak.flatten(files[path]["Jet"])
    done = nanoforge("plot", path, f"Jet_pt>>jet{FULL}", "--cut", "Jet_pt > 60", "--cut", "abs(Jet_eta) < 1")
    assert done.returncode == 0, done.stderr
    chosen = jets.pt[(jets.pt > 60) & (abs(jets.eta) < 1)]
    np.testing.assert_array_equal(
        read(tmp_path / "plots", "events/jet")[0], np.histogram(ak.to_numpy(chosen), 40, (0, 400))[0]
    )
    for text, owner in (("MET_pt", "event"), ("SV_pt", "SV")):
        done = nanoforge("plot", path, text, "--cut", "Jet_pt > 60", "-o", "other")
        assert done.returncode == 2
        assert f"error: --cut: a cut has one value per Jet, but '{text}' has one per {owner}" in done.stderr


def analysis(files: dict[str, toys.Columns], **changes: Any) -> dict[str, Any]:
    samples = {
        "sig": {"files": path_of(files, "sig"), "label": "sig", "xsec": 3.0},
        "bkg": {"files": path_of(files, "bkg"), "label": "bkg", "xsec": 30.0},
        "data": {"files": path_of(files, "data"), "label": "bkg", "data": True, "weight": "1"},
    }
    return {
        "name": "toy", "samples": samples, "define": {"ht": "sum(Jet_pt)"}, "select": {"jets": "num(Jet_pt) > 1"},
        "weight": "genWeight", "lumi": 50.0, "inputs": {"event": {"features": ["MET_pt"]}}, **changes,
    }  # fmt: skip


def test_an_analysis_normalises_and_selects(files: dict[str, toys.Columns], nanoforge: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(analysis(files)))
    done = nanoforge("plot", "a.yaml", f"ht>>ht{FULL}", f"MET_pt>>met{FULL}", "Jet_eta:Jet_pt", "--log", "-j", "2")
    assert done.returncode == 0, done.stderr
    for name, scale in (("sig", 3.0 * 50 / 900), ("bkg", 30.0 * 50 / 900), ("data", None)):
        events = files[path_of(files, name)]
        passed = ak.num(events["Jet"].pt) > 1
        ht = ak.to_numpy(ak.sum(events["Jet"].pt, axis=1))[passed]
        weight = np.ones(len(ht)) if scale is None else scale * events["genWeight"][passed].astype("f8")
        expected = np.histogram(ht, 40, (0, 400), weights=weight)[0]
        np.testing.assert_allclose(read(tmp_path / "plots", f"{name}/ht")[0], expected, rtol=1e-6, atol=1e-9)
    manifest = Manifest.read(tmp_path / "plots", "plot")
    assert {"ht.pdf", "met.png", "Jet_eta_Jet_pt_data.png"} <= {output.path for output in manifest.outputs}
    manifest.verify(tmp_path / "plots")
    again = nanoforge("plot", "a.yaml", f"ht>>ht{FULL}", f"MET_pt>>met{FULL}", "Jet_eta:Jet_pt", "--log")
    assert again.returncode == 0 and "plots is up to date" in again.stderr
    other = nanoforge("plot", "a.yaml", "ht")
    assert other.returncode == 2 and "--force" in other.stderr


def test_shapes_have_the_area_1_and_rows_their_cuts(
    files: dict[str, toys.Columns], nanoforge: Run, tmp_path: Path
) -> None:
    changes = {"row": "Jet", "select": {"hard": "pt > 60"}, "inputs": {"jet": {"features": ["pt"]}}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(analysis(files, **changes)))
    done = nanoforge("plot", "a.yaml", f"pt>>pt{FULL}", f"MET_pt>>met{FULL}", "--shapes", "--ratio")
    assert done.returncode == 0, done.stderr
    jets = ak.flatten(files[path_of(files, "data")]["Jet"].pt)
    contents, _ = read(tmp_path / "plots", "data/pt")
    np.testing.assert_array_equal(contents, np.histogram(ak.to_numpy(jets[jets > 60]), 40, (0, 400))[0])
    assert read(tmp_path / "plots", "data/met")[0].sum() == (files[path_of(files, "data")]["MET_pt"] < 400).sum()


def test_what_is_not_seen_is_said(nanoforge: Run, tmp_path: Path) -> None:
    x = np.array([1, 2, np.nan, np.inf, -np.inf, 50, 60, 3], "f4")
    with uproot.recreate(tmp_path / "odd.root") as file:
        file.mktree("t", {"x": "f4"}).extend({"x": x})
    done = nanoforge("plot", "odd.root", "x>>(10,0,10)", "--tree", "t")
    assert done.returncode == 0, done.stderr
    assert "note: x: 3 values are NaN or infinite, and are not drawn" in done.stderr
    assert "note: x: 40 % lie beyond 0 to 10" in done.stderr
    with uproot.recreate(tmp_path / "empty.root") as file:
        file.mktree("t", {"x": "f4", "y": "f4"}).extend({"x": x[:0], "y": x[:0]})
    done = nanoforge("plot", "empty.root", "x", "y:x", "--tree", "t", "-o", "nothing", "--log")
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "nothing", "events/x")[0].sum() == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sig.root"], "nothing to draw"),
        (["Jet_pt"], "Jet_pt: is no file"),
        (["sig.root", "Jet_ptt"], "no column 'Jet_ptt'; did you mean 'Jet_pt'"),
        (["sig.root", "Jet_pt +"], "draw: "),
        (["sig.root", "Jet_pt:SV_pt"], "only values of the same objects can be drawn against each other"),
        (["sig.root", "Jet_pt", "--cut", "MET_pt"], "compare it, say MET_pt != 0"),
        (["sig.root", "Jet_pt", "--weight", "Jet_pt"], "one value per event is needed"),
        (["sig.root", "Jet_pt", "--weight", "1 / (nJet - 3)"], "the weight is not finite"),
        (["none.root", "Jet_pt"], "none.root"),
        (["sig.root", "Jet_pt", "--tree", "Evnts"], "no tree 'Evnts'"),
    ],
)
def test_mistakes_are_one_line(
    files: dict[str, toys.Columns], nanoforge: Run, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "sig.root").symlink_to(path_of(files, "sig"))
    done = nanoforge("plot", *words)
    assert done.returncode in (1, 2)
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [done.stderr.splitlines()[-1]]
    assert message in done.stderr and not (tmp_path / "plots").exists()


def test_many_files_are_one_pass_and_bad_ones_are_counted(nanoforge: Run, tmp_path: Path) -> None:
    write_many(tmp_path, 300, 20)
    (tmp_path / "many-00299.root").write_bytes(b"no file of ROOT")
    done = nanoforge("plot", "many-*.root", "x>>(20,-4,5)")
    assert done.returncode == 1 and "many-00299.root" in done.stderr
    done = nanoforge("plot", "many-*.root", "x>>(20,-4,5)", "--skip-bad-files")
    assert done.returncode == 0, done.stderr
    x = np.concatenate([columns(20 * number, 20)["x"] for number in range(299)])
    np.testing.assert_array_equal(read(tmp_path / "plots", "events/x")[0], np.histogram(x, 20, (-4, 5))[0])
    assert "many-00299.root" in done.stdout
