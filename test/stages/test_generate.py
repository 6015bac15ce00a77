from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Callable

import awkward as ak
import pytest
import toys
import uproot
import yaml
from lhe import scale, write
from nanoforge.config import load
from nanoforge.errors import DataError, UserError
from nanoforge.evaluation import spectra
from nanoforge.provenance import Manifest
from nanoforge.simulation.generator.event_blocks import generate_block
from nanoforge.simulation.nano import nanoaod
from nanoforge.stages.generate import generate

FAST = {"mpi": False, "settings": ["HadronLevel:Hadronize = off"]}
SAMPLES: dict[str, Any] = {
    "dy": {
        "generator": {"process": "dy_ll", "events": 260, "filters": {"muon": {"daughters": [13], "pt": 20}}, **FAST}
    },
    "gun": {
        "generator": {
            "gun": {"pdgId": 36, "pt": [20, 100], "mass": [0.1, 6]},
            "settings": ["36:m0 = 3", "36:mMin = 0", "36:oneChannel = 1 1. 103 11 -11"],
            "filters": {"legs": {"mother": 36, "daughters": [11, 11], "pt": 10, "eta": 2.5}},
            "flatten": {"mass": 6, "pt": 4, "pilot": 2000},
            "events": 300,
        }
    },
}
FIGURES = [f"gun_spectra.{kind}" for kind in ("pdf", "png")]
EVENTS = sum(sample["generator"]["events"] for sample in SAMPLES.values())


def analysis(folder: Path, samples: dict[str, Any] | None = None) -> Path:
    content = {"name": "a", "samples": samples or SAMPLES, "inputs": {"event": {"features": ["GenMET_pt"]}}}
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def content(path: Path) -> dict[str, ak.Array]:
    file = uproot.open(path)
    return {tree: file[tree].arrays() for tree in ("Events", "LuminosityBlocks", "Runs")}


def same(first: Path, second: Path) -> bool:
    a, b = content(first), content(second)
    return all(ak.array_equal(a[tree][name], b[tree][name], equal_nan=True) for tree in a for name in a[tree].fields)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    generate(load(analysis(folder)), folder / "out")
    return folder / "out"


def test_the_files_hold_the_events(result: Path) -> None:
    assert sorted(p.name for p in result.iterdir()) == ["dy.root", "gun.root", *FIGURES, "manifest.json"]
    dy = content(result / "dy.root")
    assert len(dy["Events"]) == 260 and len(dy["LuminosityBlocks"]) == 2
    assert dy["Events"].event.tolist() == list(range(1, 261))
    assert dy["Runs"].genEventCount.tolist() == [260]
    parts = dy["Events"]
    muons = (abs(parts.GenPart_pdgId) == 13) & (parts.GenPart_status == 1) & (parts.GenPart_pt > 19.9)
    assert ak.all(ak.any(muons, axis=1))


def test_accounting_and_manifest(result: Path) -> None:
    manifest = Manifest.read(result, "generate")
    manifest.verify(result)
    books = manifest.accounting
    assert books is not None
    books.check()
    details = manifest.details["samples"]
    assert books.events.used == EVENTS
    assert books.events.read == details["dy"]["tried"] + details["gun"]["tried"]
    assert books.events.rejected == {
        "dy.muon": details["dy"]["tried"] - 260,
        "gun.legs": details["gun"]["tried"] - 300,
    }
    dy = content(result / "dy.root")["LuminosityBlocks"]
    assert ak.sum(dy.GenFilter_numEventsTotal) == details["dy"]["tried"]
    assert details["dy"]["filter_efficiency"] == pytest.approx(260 / details["dy"]["tried"])
    assert details["dy"]["filter_efficiency_error"] > 0
    assert manifest.seed == 1 and "pythia8mc" in manifest.versions


def test_the_cross_section_is_recorded(result: Path) -> None:
    details = Manifest.read(result, "generate").details["samples"]
    value, error = (details["dy"][f"cross_section_{name}pb"] for name in ("", "error_"))
    efficiency = details["dy"]["filter_efficiency"]
    # Z/gamma* -> ll above 50 GeV is about 3 * 1.75 nb at 13.6 TeV in leading order, of which muons pass
    assert value / efficiency == pytest.approx(5250, rel=0.15)
    assert 0 < error < 0.1 * value
    runs = content(result / "dy.root")["Runs"]
    assert (runs.genXSec[0], runs.genXSecError[0]) == (value, error)
    assert "genXSec" not in content(result / "gun.root")["Runs"].fields
    assert "cross_section_pb" not in details["gun"]


def test_a_gun_has_a_figure_of_its_spectra(result: Path) -> None:
    manifest = Manifest.read(result, "generate")
    assert {o.path for o in manifest.outputs} == {"dy.root", "gun.root", *FIGURES}
    assert all((result / name).stat().st_size > 5000 for name in FIGURES)
    chi2 = manifest.details["samples"]["gun"]["chi2_per_ndf_to_flat"]
    assert set(chi2["passed"]) == {"mass", "pt", "map"}
    assert chi2["passed"]["map"] < 1.5 < chi2["tried"]["map"]


def test_processes_do_not_change_the_events(result: Path, nanoforge: Callable, tmp_path: Path) -> None:
    answer = nanoforge("generate", analysis(tmp_path), "-o", "out", "-j", 2)
    assert answer.returncode == 0, answer.stderr
    assert "filter efficiency" in answer.stderr and "FastJet" not in answer.stdout
    assert re.search(r"cross section [\d,]+ \+- \d+ pb \(Pythia, leading order, times the efficiency\)", answer.stderr)
    for name in SAMPLES:
        assert same(result / f"{name}.root", tmp_path / "out" / f"{name}.root")
    one, two = (Manifest.read(folder, "generate") for folder in (result, tmp_path / "out"))
    assert one.details == two.details
    for name in FIGURES:
        assert (result / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_the_same_again_is_up_to_date(result: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    generate(load(analysis(tmp_path)), result)
    assert "is up to date" in capsys.readouterr().err


def test_one_sample_with_a_number_of_events(nanoforge: Callable, tmp_path: Path) -> None:
    answer = nanoforge("generate", analysis(tmp_path), "--sample", "gun", "--events", 20, "-o", "out")
    assert answer.returncode == 0, answer.stderr
    assert [p.name for p in (tmp_path / "out").glob("*.root")] == ["gun.root"]
    assert len(content(tmp_path / "out" / "gun.root")["Events"]) == 20


@pytest.mark.parametrize(
    ("change", "message", "code"),
    [
        (
            ["samples.dy.generator.process=dy_l"],
            "samples.dy.generator.process: 'dy_l' is unknown; did you mean 'dy_ll'",
            2,
        ),
        (["samples.dy.generator.settings=[Nonsense:on = 1]"], "Pythia refuses 'Nonsense:on = 1'", 2),
        (["samples.dy.generator.gun=[{pdgId: 13, pt: [1, 2]}]"], "give 'process' or 'gun', not both", 2),
        (["samples.dy.generator.filters.muon.pT=3"], "samples.dy.generator.filters.muon.pT: unknown key", 2),
        (
            ["samples.gun.generator.gun.pdgId=5", "samples.gun.generator.gun.antiparticle=false"],
            "colour does not leave",
            2,
        ),
        (["samples.dy.generator.filters.muon.pt=9000", "samples.dy.generator.max_trials=600"], "none of ", 1),
        (["--sample", "gum"], "--sample gum: there is no such sample with a 'generator'; did you mean 'gun'?", 2),
    ],
)
def test_bad_input(nanoforge: Callable, tmp_path: Path, change: list[str], message: str, code: int) -> None:
    answer = nanoforge("generate", analysis(tmp_path), "-o", "out", "--events", "4", *change)
    assert answer.returncode == code and answer.stderr.startswith("error: "), answer.stderr
    assert message in answer.stderr
    assert not (tmp_path / "out").exists() and answer.stdout == ""


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_run_leaves_earlier_results_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Path, jobs: int
) -> None:
    written: list[str] = []
    honest = nanoaod.SampleFile.append

    def append(self: nanoaod.SampleFile, piece: nanoaod.NanoBlock) -> None:
        written.append(self.path.name)
        if len(written) == 4:
            raise KeyboardInterrupt
        honest(self, piece)

    monkeypatch.setattr(spectra, "draw", lambda *_: [])  # takes seconds, and another test looks at it
    config, out = load(analysis(tmp_path)), tmp_path / "out"
    generate(config, out, sample="gun", events=20)
    earlier = Manifest.read(out, "generate")
    monkeypatch.setattr(nanoaod.SampleFile, "append", append)
    with pytest.raises(KeyboardInterrupt):
        generate(config, out, jobs=jobs, force=True)
    assert Manifest.read(out, "generate") == earlier
    earlier.verify(out)
    if jobs == 2:
        toys.flip_bit(tmp_path / ".out.unfinished" / "dy.root")
    generate(config, out, force=True)
    assert written.count("dy.root.part") == 2 * jobs  # what was finished is kept while it is whole
    assert all(same(result / f"{name}.root", out / f"{name}.root") for name in SAMPLES)
    assert Manifest.read(out, "generate").details == Manifest.read(result, "generate").details


NOT_SIMULATED = {
    "CorrT1METJet", "GenDressedLepton", "IsoTrack", "LHEPart", "LHEPdfWeight", "LHEReweightingWeight", "LHEScaleWeight",
    "PSWeight", "SoftActivityJet", "SubGenJetAK8", "TrigObj",
}  # fmt: skip


def test_inspect_shows_the_collections_of_real_nanoaod(result: Path, nanoforge: Callable, shared: Callable) -> None:
    def collections(path: Path) -> set[str]:
        answer = nanoforge("inspect", path, "--json")
        assert answer.returncode == 0, answer.stderr
        trees = {tree["name"]: tree for tree in json.loads(answer.stdout)[0]["trees"]}
        return {collection["name"] for collection in trees["Events"]["collections"]}

    made = collections(result / "dy.root")
    assert made - {"PFCands", "JetPFCands"} == collections(shared("NanoAODv5_sample.root")) - NOT_SIMULATED


def test_inspect_shows_the_collections(result: Path, nanoforge: Callable) -> None:
    answer = nanoforge("inspect", result / "dy.root")
    assert answer.returncode == 0, answer.stderr
    for name in ("Electron", "FatJet", "GenJet", "GenPart", "GenVisTau", "Jet", "Muon", "Photon", "SV", "Tau"):
        assert name in answer.stdout


def test_root_reads_it(result: Path) -> None:
    root = pytest.importorskip("ROOT", reason="ROOT is not installed (pip install root)")
    events = content(result / "dy.root")["Events"]
    frame = root.RDataFrame("Events", str(result / "dy.root"))
    frame = frame.Define("sum_pt", "Sum(Jet_pt)").Define(
        "same", "nJet == Jet_pt.size() && nJet == Jet_genJetIdx.size()"
    )
    assert frame.Count().GetValue() == len(events)
    assert frame.Sum("sum_pt").GetValue() == pytest.approx(float(ak.sum(events.Jet_pt)), rel=1e-5)
    assert frame.Min("same").GetValue() == 1
    file = root.TFile.Open(str(result / "dy.root"))
    assert file.Get("Events").GetBranch("Jet_pt").GetTitle() == "pt"
    assert file.Get("Runs").GetEntries() == 1
    file.Close()


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nanoaod.SampleFile, "append", full)
    with pytest.raises(DataError, match="no space left on the disk"):
        generate(load(analysis(tmp_path), ["samples.dy.generator.events=5"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_later_stages_want_files(nanoforge: Callable, tmp_path: Path, result: Path) -> None:
    samples = {name: {**block, "label": name} for name, block in SAMPLES.items()}
    answer = nanoforge("convert", analysis(tmp_path, samples), "-o", "data")
    assert answer.returncode == 2 and "run 'nanoforge generate' and add what it made" in answer.stderr
    samples = {name: {**block, "files": str(result / f"{name}.root")} for name, block in samples.items()}
    answer = nanoforge("convert", analysis(tmp_path, samples), "-o", "data")
    assert answer.returncode == 0, answer.stderr
    key = json.loads((tmp_path / "data" / "manifest.json").read_text())["details"]["key"]
    assert load(tmp_path / "analysis.yaml").dataset_part()["samples"]["dy"].get("generator") is None and key


def test_blocks_are_those_of_the_file(result: Path) -> None:
    block = load(analysis(result.parent)).samples["dy"].generator
    assert block is not None
    second = generate_block(block, "dy", 1, 10)[0]
    weights = content(result / "dy.root")["Events"]
    assert second.info["x1"].astype("f4").tolist() == weights.Generator_x1[250:].tolist()


# -- events of a Les Houches file -------------------------------------------------------------------------------------

EVENTS_OF_FILE = 520  # three blocks, the last is short
OF_FILE = ["Beams:frameType = 4", "Beams:LHEF = in.lhe", "PartonLevel:FSR = off", "HadronLevel:all = off"]


def of_file(folder: Path, **changes: Any) -> Path:
    """Write an analysis of LHE events; its filter lets none of the first block pass, and few of the second."""
    write(folder / "in.lhe", EVENTS_OF_FILE)
    generator = {"settings": "\n".join(OF_FILE), "mpi": False, "events": EVENTS_OF_FILE, **changes}
    return analysis(folder, {"z": {"generator": generator}})


def test_each_event_of_a_file_is_used_once_however_it_is_divided(tmp_path: Path) -> None:
    config, scales = load(of_file(tmp_path)), [scale(i) for i in range(EVENTS_OF_FILE)]
    generate(config, tmp_path / "one")
    assert content(tmp_path / "one" / "z.root")["Events"].Generator_scalePDF.tolist() == pytest.approx(scales)
    details = Manifest.read(tmp_path / "one", "generate").details["samples"]["z"]
    assert (details["cross_section_pb"], details["cross_section_error_pb"]) == pytest.approx((1.5, 0.03))  # the file's
    generate(config, tmp_path / "two", jobs=2)
    for i, part in enumerate(("z:2", "z:0-1")):
        generate(config, tmp_path / "parts" / str(i), part=part)
    generate(config, tmp_path / "joined", parts=tmp_path / "parts")
    assert same(tmp_path / "one" / "z.root", tmp_path / "two" / "z.root")
    parts = [content(p)["Events"].Generator_scalePDF for p in sorted((tmp_path / "joined").glob("*.root"))]
    assert ak.concatenate(parts).tolist() == pytest.approx(scales)
    write(tmp_path / "in.lhe", EVENTS_OF_FILE + 1)  # of another file, nothing is up to date
    with pytest.raises(UserError, match="made with another analysis, or from other files"):
        generate(config, tmp_path / "again", parts=tmp_path / "parts")


def test_a_filter_on_events_of_a_file_leaves_fewer(tmp_path: Path) -> None:
    cut = {"hard": {"daughters": 13, "pt": 22.6}}
    quiet = [*OF_FILE, "PartonLevel:ISR = off", "BeamRemnants:primordialKT = off"]
    generate(load(of_file(tmp_path, settings=quiet, filters=cut)), tmp_path / "out")
    made = content(tmp_path / "out" / "z.root")
    passing = [i for i in range(EVENTS_OF_FILE) if scale(i) / 2 > 22.6]
    assert made["Events"].Generator_scalePDF.tolist() == pytest.approx([scale(i) for i in passing])
    assert made["LuminosityBlocks"].GenFilter_numEventsTotal.tolist() == [250, 250, 20]
    assert len(set(made["Events"].event.tolist())) == len(passing)
    accounting = Manifest.read(tmp_path / "out", "generate").accounting
    assert accounting is not None and accounting.events.read == EVENTS_OF_FILE
