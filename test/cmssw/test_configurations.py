"""The configurations, with stubs of FWCore and ConfigBuilder (see release/README.md): what they ask a release for."""

from __future__ import annotations

import ast
import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import published
import pytest
import yaml
from nanoforge.cmssw import descriptions, eras, seeds
from nanoforge.cmssw.options import script_arguments
from nanoforge.config import load
from nanoforge.config.generator import Generator
from nanoforge.errors import UserError
from nanoforge.production.generation import freeze
from nanoforge.provenance import Manifest
from nanoforge.simulation import presets
from nanoforge.simulation.generator.event_blocks import survey
from nanoforge.stages.cmsrun import cmsrun

ROOT = Path(__file__).resolve().parents[2]
STUBS = Path(__file__).parent / "release"
CONFIGURATIONS = {name: ROOT / "test" / f"{name}_cfg.py" for name in ("gen", "gensim", "skim", "nano", "infer")}
SOURCES = sorted([*(ROOT / "python" / "cmssw").glob("*.py"), *CONFIGURATIONS.values()])
OF_THE_RELEASE = {
    "Configuration.Applications.cmsDriverOptions", "Configuration.Applications.ConfigBuilder",
    "Configuration.StandardSequences.Eras", "PhysicsTools.NanoAOD.common_cff",
}  # fmt: skip
FILTERS = {
    "top": {"mother": 6, "daughters": [5, 24], "pt": 30, "eta": 2.5},
    "two_leptons": {"daughters": [11, 13], "pt": 10.0, "count": 2},
    "pair": {"mother": 23, "daughters": [11, -11], "delta_r": [0.4, 5.0], "mass": [60, 120]},
}
GUN = {"pdgId": 36, "pt": [20, 100], "eta": [-1.4, 1.4], "mass": [0.1, 6]}
SKIM = [
    {"name": "two_jets", "src": "slimmedJets", "cut": "pt > 30 && abs(eta) < 2.4", "min": 2},
    {"name": "muon", "src": "slimmedMuons", "any": "lepton"},
    {"name": "electron", "src": "slimmedElectrons", "max": 3, "any": "lepton"},
]
ANALYSIS: dict[str, Any] = {
    "name": "demo",
    "samples": {
        "ttbar": {"label": "s", "files": "a.root", "generator": {"process": "ttbar", "events": 70, "seed": 5,
                                                                  "filters": FILTERS}},
        "gun": {"label": "b", "files": "b.root", "generator": {"gun": GUN, "settings": ["36:m0 = 3"]}},
    },
    "inputs": {"event": {"features": ["MET_pt"]}},
    "cmssw": {"era": "2022EE", "skim": SKIM, "acceptance": {
        "ttbar": {"mother": 24, "daughters": [11, 12], "ecal": 2.0}, "gun": {"daughters": 36, "hcal": 1.0}}},
}  # fmt: skip
MODEL: dict[str, Any] = {
    "name": "tag_jets", "level": "columns", "row": "Jet", "fill": -1,
    "outputs": {"scores": ["tag_jets_b", "tag_jets_c_or_light"]},
    "inputs": [
        {"name": "Jet_btagPNetB", "kind": "object", "collection": "Jet"},
        {"name": "Jet_hadronFlavour", "kind": "object", "collection": "Jet"},
        {"name": "SV_dlen", "kind": "object", "collection": "SV"},
        {"name": "PV_npvs", "kind": "event", "collection": None},
        {"name": "fixedGridRhoAll", "kind": "event", "collection": None},
        {"name": "genWeight", "kind": "event", "collection": None},
        {"name": "nSV", "kind": "event", "collection": None}, {"name": "run", "kind": "event", "collection": None},
        {"name": "fold", "kind": "fold"},
    ],
    "fold": {"rule": "by-event", "folds": 3, "hash": {"columns": ["run", "luminosityBlock", "event"], "seed": 7}},
}  # fmt: skip
TABLES = ["jetPuppiTable", "jetMCTable", "vertexTable:svs", "vertexTable:pv", "rhoTable", "genWeightsTable"]
Run = Callable[..., Any]


def _forget() -> None:
    for name in [n for n in sys.modules if n.split(".")[0] in ("FWCore", "Configuration", "PhysicsTools")]:
        del sys.modules[name]


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a configuration as cmsRun does, with the stubs, and return its process."""
    places = [STUBS, _package(tmp_path)]
    for place in places:
        monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("CMSSW_SEARCH_PATH", str(tmp_path / "search"))
    folder = tmp_path / "search" / "PhysicsTools/NanoForge/data"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(MODEL))

    def run(configuration: Path, *options: object) -> Any:
        _forget()
        monkeypatch.setattr(sys, "argv", [str(configuration), *map(str, options)])
        return runpy.run_path(str(configuration))["process"]

    yield run
    _forget()


def _package(folder: Path) -> Path:
    (folder / "src" / "PhysicsTools").mkdir(parents=True)
    (folder / "src" / "PhysicsTools" / "NanoForge").symlink_to(ROOT / "python")
    return folder / "src"


def _plain(value: Any) -> Any:
    """Return a parameter of the stub as plain types."""
    if hasattr(value, "parameters_"):
        return {name: _plain(one) for name, one in value.parameters_().items()}
    content = value.value() if hasattr(value, "value") else value
    return [_plain(one) for one in content] if isinstance(content, list) else content


def _check(parameters: dict[str, Any], described: dict[str, descriptions.Parameter], place: str) -> None:
    assert not set(parameters) - set(described), f"{place}: unknown parameters"
    assert {name for name, one in described.items() if one.required} <= set(parameters), f"{place}: some are missing"
    for name, value in parameters.items():
        one = described[name]
        if one.type in ("PSet", "VPSet") and one.inside is not None:
            for part in value.value() if one.type == "VPSet" else [value]:
                _check(part.parameters_(), one.inside, f"{place}.{name}")
        assert hasattr(value, "parameters_") or (value.type, value.tracked) == (one.type, True), f"{place}.{name}"


def _check_modules(process: Any) -> set[str]:
    """Compare all modules of ours in a process with the plugins; returns their types."""
    known, found = descriptions.modules(), set()
    for name, module in {**process.filters_(), **process.producers_()}.items():
        assert "_" not in name, "CMSSW refuses labels with underscores"
        if module.type_() in known:
            _check(module.parameters_(), known[module.type_()], name)
            found.add(module.type_())
        if module.type_() == "Pythia8PtMassGun":
            _check(module.PGunParameters.parameters_(), descriptions.gun(), name)
            found.add(module.type_())
    return found


def _write(folder: Path, name: str, content: Any) -> Path:
    (folder / name).write_text(json.dumps(content))
    return folder / name


def _analysis(folder: Path, **changes: Any) -> Any:
    (folder / "analysis.yaml").write_text(yaml.safe_dump({**ANALYSIS, **changes}, sort_keys=False))
    return load(folder / "analysis.yaml")


# -- the sources ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_what_cmsrun_executes_is_python_3_9_and_needs_no_package(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    outermost = set(tree.body)
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1, "nothing of the pipeline itself"
            continue
        for name in [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]:
            own_or_standard = name.split(".")[0] in sys.stdlib_module_names or name.startswith(
                ("FWCore.ParameterSet", "PhysicsTools.NanoForge.cmssw")
            )
            assert own_or_standard or (name in OF_THE_RELEASE and node not in outermost), name


def test_importing_it_brings_in_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); import PhysicsTools.NanoForge.cmssw.configurations\n"
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    path = f"{STUBS}:{_package(tmp_path)}"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert ast.literal_eval(done.stdout) == ["FWCore", "PhysicsTools"]


def test_the_table_of_eras_is_complete_and_its_tags_fit_the_releases() -> None:
    assert list(eras.ERAS) == ["2016preVFP", "2016", "2017", "2018", "2022", "2022EE", "2023", "2023BPix", "2024"]
    for name, era in eras.ERAS.items():
        assert set(era.steps) | {"hlt"} == {"gensim", "digi", "hlt", "reco", "mini", "nano"}
        assert ("hlt" in era.steps) == (name < "2020") != ("HLT" in era.steps["digi"].step)
        assert era.energy == (13_000 if name < "2020" else 13_600)
        for step in era.steps.values():
            first, second = step.release.split("_")[1:3]
            assert step.conditions.startswith(f"{first}{second}X_")
    with pytest.raises(ValueError, match="known: 2016preVFP"):
        eras.era("2019")


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_help_says_what_it_is_and_lists_the_eras(name: str, release: Run, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        release(CONFIGURATIONS[name], "--help")
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert f"cmsRun {name}_cfg.py" in text and "2023BPix" in text


def test_options_are_what_follows_the_configuration_in_all_releases() -> None:
    for words in (
        ["cfg.py", "--era", "x"],
        ["cmsRun", "a/cfg.py", "--", "--era", "x"],
        ["cmsRun", "cfg.py", "--era", "x"],
    ):
        assert script_arguments(words) == ["--era", "x"]


def test_an_option_that_does_not_exist_is_refused(release: Run, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        release(CONFIGURATIONS["gen"], "--gun", 15, "--evnts", 3)
    assert "--evnts" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="--generator"):
        release(CONFIGURATIONS["gen"])


# -- generation -------------------------------------------------------------------------------------------------------


def test_a_gun_from_the_command_line(release: Run) -> None:
    process = release(CONFIGURATIONS["gen"], "--gun", 36, "--pt", 5, 7, "--mass", 0.1, 6, "--antiparticle", "--era",
                      "2018", "--events", 12, "--seed", 900_000_002, "--lumi", 4, "--output", "x.root", "--threads", 3,
                      "--settings", "36:m0 = 3")  # fmt: skip
    assert _check_modules(process) == {"Pythia8PtMassGun"}
    gun = _plain(process.generator)
    assert gun["PGunParameters"]["ParticleID"] == [36] and gun["PGunParameters"]["AddAntiParticle"] is True
    assert [gun["PGunParameters"][k] for k in ("MinPt", "MaxPt", "MinMass", "MaxMass")] == [5, 7, 0.1, 6]
    assert gun["PythiaParameters"]["settings"][-1] == "36:m0 = 3"
    assert (process.maxEvents.input, process.maxEvents.output) == (-1, 12)
    engines = process.RandomNumberGeneratorService
    assert {n: getattr(engines, n).initialSeed for n in engines.parameterNames_()} == {
        n: seeds.number(900_000_002, 4, "gensim", n) for n in engines.parameterNames_()}  # fmt: skip
    assert process.source.firstLuminosityBlock.value() == 4
    assert process.options.numberOfThreads == 3
    asked = process.commandLine
    assert (asked.step, asked.era, asked.fileout) == ("GEN", "Run2_2018", "file:x.root")
    assert asked.conditions == "106X_upgrade2018_realistic_v11_L1v1"
    assert asked.beamspot == "Realistic25ns13TeVEarly2018Collision"


def test_nanogen(release: Run) -> None:
    process = release(CONFIGURATIONS["gen"], "--gun", 15, "--nanogen")
    assert process.commandLine.step == "GEN,NANO:@GEN"
    assert process.generator.type_() == "Pythia8PtGun", "without a mass, CMSSW's own"
    assert process.NANOAODSIMoutput.type_() == "NanoAODOutputModule"


@pytest.mark.parametrize("name", presets.preset_names())
def test_a_frozen_process_is_that_of_the_embedded_chain(name: str, release: Run, tmp_path: Path) -> None:
    needs = {"pthat": (50, 80)} if "pthat" in presets.find_preset(name, "").needs else {}
    generator = Generator.model_validate({"process": name, "filters": FILTERS, "mpi": False, **needs})
    frozen = _write(tmp_path, "block.json", freeze(generator, "s"))
    process = release(CONFIGURATIONS["gen"], "--generator", frozen, "--era", "2022")
    pythia = _plain(process.generator.PythiaParameters)
    assert [line for group in pythia["parameterSets"] for line in pythia[group]] == presets.settings(generator, "s")
    assert process.generator.comEnergy.value() == generator.energy
    assert process.maxEvents.output == generator.events


def test_frozen_filters_are_those_of_the_block(release: Run, tmp_path: Path) -> None:
    generator = Generator.model_validate({"process": "dy_ll", "filters": FILTERS})
    frozen = _write(tmp_path, "block.json", freeze(generator, "s"))
    process = release(CONFIGURATIONS["gen"], "--generator", frozen)
    assert _check_modules(process) == {"GenDecayFilter"}
    labels = ["topFilter", "twoLeptonsFilter", "pairFilter"]
    assert process.generation_step.names() == ["generator", *labels, "pgen"]
    for label, block in zip(labels, generator.filters.values()):
        made = _plain(getattr(process, label))
        assert (made.pop("src"), made.pop("format")) == ("generator:unsmeared", "HepMC")
        assert made == {
            "mother": block.mother or 0, "daughters": block.daughters, "minPt": block.pt,
            "maxAbsEta": -1 if block.eta is None else block.eta, "deltaR": list(block.delta_r or ()),
            "mass": list(block.mass or ()), "count": block.count,
        }  # fmt: skip


def test_a_frozen_gun_has_the_ranges_and_the_flattening_of_the_block(release: Run, tmp_path: Path) -> None:
    block = {
        "gun": [GUN, {**GUN, "pdgId": 25}], "flatten": {"mass": 3, "pt": 2, "pilot": 240}, "mpi": False,
        "settings": ["36:m0 = 3", "36:mMin = 0", "36:oneChannel = 1 1. 103 11 -11"],
        "filters": {"ee": {"mother": 36, "daughters": [11, 11], "pt": 5}},
    }  # fmt: skip
    generator = Generator.model_validate(block)
    frozen = _write(tmp_path, "block.json", freeze(generator, "s"))
    process = release(CONFIGURATIONS["gen"], "--generator", frozen)
    assert _check_modules(process) == {"GenDecayFilter", "Pythia8PtMassGun"}
    gun = _plain(process.generator.PGunParameters)
    flatten, occupancy = gun.pop("Flatten"), survey(generator, "s")
    assert gun == {
        "ParticleID": [36, 25], "AddAntiParticle": False, "MinPt": 20, "MaxPt": 100, "MinEta": -1.4, "MaxEta": 1.4,
        "MinPhi": -np.pi, "MaxPhi": np.pi, "MinMass": 0.1, "MaxMass": 6,
    }  # fmt: skip
    assert (flatten["MassEdges"], flatten["PtEdges"]) == (occupancy.mass.tolist(), occupancy.pt.tolist())
    assert flatten["Acceptance"] == (occupancy.passed / occupancy.tried).tolist()
    assert _plain(process.generator.PythiaParameters)["settings"] == presets.settings(generator, "s")


def test_guns_that_cmssw_does_not_have_are_refused() -> None:
    other = Generator.model_validate({"gun": [GUN, {**GUN, "pt": [1, 2]}]})
    parton = Generator.model_validate({"gun": {**GUN, "pdgId": 5, "antiparticle": True}})
    with pytest.raises(UserError, match="same ranges"):
        freeze(other, "s")
    with pytest.raises(UserError, match=r"samples\.s\.generator\.gun\.mass"):
        freeze(parton, "s")


def test_a_file_that_is_no_frozen_block_is_refused(release: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.json"):
        release(CONFIGURATIONS["gen"], "--generator", _write(tmp_path, "x.json", {"format": 0}))


@pytest.mark.parametrize("extra", [[], ["--fast"], ["--steps", "GEN,SIM,DIGI,L1,DIGI2RAW", "--content", "FEVTDEBUG"]])
def test_simulated_events_outside_of_the_acceptance_go_no_further(
    extra: list[str], release: Run, tmp_path: Path
) -> None:
    analysis = _analysis(tmp_path)
    block = freeze(analysis.samples["ttbar"].generator, "ttbar", analysis.cmssw.acceptance["ttbar"])
    process = release(CONFIGURATIONS["gensim"], "--generator", _write(tmp_path, "b.json", block), *extra)
    assert _check_modules(process) == {"GenDecayFilter", "SimAcceptanceFilter"}
    before = ["generator", "topFilter", "twoLeptonsFilter", "pairFilter"]
    assert process.generation_step.names() == [*before, "pgen"]
    assert process.simulation_step.names() == [*before, "psim", "nanoforgeAcceptance"]
    later = [p for n, p in process.paths_().items() if n not in ("generation_step", "simulation_step")]
    assert all(path.names()[: len(before) + 1] == [*before, "nanoforgeAcceptance"] for path in later)
    assert bool(later) == bool(extra)
    outputs = process.outputModules_().values()
    assert [_plain(output.SelectEvents) for output in outputs] == [{"SelectEvents": ["simulation_step"]}]
    assert process.commandLine.fast == ("--fast" in extra)
    accepted = _plain(process.nanoforgeAcceptance)
    assert accepted["minEcalEnergy"] == 2.0
    fast = ["fastSimProducer:EcalHitsEB", "fastSimProducer:EcalHitsEE"]
    assert accepted.get("ecalHits") == (fast if "--fast" in extra else None), "else those of Geant, the default"


# -- NanoAOD ----------------------------------------------------------------------------------------------------------


def test_a_skim_keeps_the_sums_of_all_events(release: Run, tmp_path: Path) -> None:
    cuts = _analysis(tmp_path).cmssw.model_dump(mode="json")["skim"]
    frozen = _write(tmp_path, "cuts.json", cuts)
    process = release(
        CONFIGURATIONS["skim"], "--input", "m.root", "--skim", frozen, "--era", "2018", "--output", "o.root"
    )
    assert _check_modules(process) == {"EventSkimFilter"}
    assert process.nanoAOD_step.names()[0] == "nanoforgeSkim"
    sums = process.schedule[0]
    assert sums.names() == ["genWeightsTable"], "on a path of its own, which the filter does not stop"
    assert {n: o.fileName.value() for n, o in process.outputModules_().items()} == {
        "NANOAODSIMoutput": "file:o.root", "NANOEDMAODSIMoutput": "file:o_inNANOEDMAODSIM.root"}  # fmt: skip
    for output in process.outputModules_().values():
        assert _plain(output.SelectEvents) == {"SelectEvents": ["nanoAOD_step"]}
    counts = _plain(process.nanoforgeSkimTable)
    assert (counts["src"], counts["name"]) == ("nanoforgeSkim", "Skim")
    assert "nanoforgeSkimTable" in process.schedule.moduleNames(), "and in the output: its label ends in Table"
    made = _plain(process.nanoforgeSkim)
    assert made["weights"] == "generator"
    assert [cut["name"] for cut in made["cuts"]] == ["two_jets", "muon", "electron"]
    assert made["cuts"][0] == {"name": "two_jets", "src": "slimmedJets", "cut": "pt > 30 && abs(eta) < 2.4", "min": 2}
    assert made["cuts"][2]["max"] == 3
    assert made["groups"] == [{"name": "lepton", "any": True, "cuts": ["muon", "electron"]}]


def test_a_skim_of_data_has_no_sums_and_takes_a_lumi_mask(release: Run, tmp_path: Path) -> None:
    frozen = _write(tmp_path, "cuts.json", SKIM[:1])
    process = release(CONFIGURATIONS["skim"], "--input", "m.root", "--skim", frozen, "--era", "2018", "--data",
                      "--lumi-mask", "golden.json")  # fmt: skip
    asked = process.commandLine
    assert (asked.data, asked.mc, asked.lumiToProcess) == (True, False, "golden.json")
    assert (asked.conditions, asked.eventcontent) == ("150X_dataRun2_v1", "NANOAOD,NANOEDMAOD")
    assert process.schedule[0] is process.nanoAOD_step
    assert _plain(process.nanoforgeSkim)["weights"] == ""


def test_nano_with_scores_finds_the_tables_of_all_columns(release: Run) -> None:
    model = "PhysicsTools/NanoForge/data/model.onnx"
    process = release(CONFIGURATIONS["nano"], "--input", "m.root", "--era", "2022", "--model", model)
    assert _check_modules(process) == {"OnnxScoreTableProducer"}
    scores = _plain(process.tagJetsScoresTable)
    assert scores.pop("tables") == TABLES
    assert scores.pop("inputs") == [{**i, "collection": i.get("collection") or ""} for i in MODEL["inputs"]]
    assert scores == {"model": model, "name": "tag_jets", "row": "Jet", "outputs": ["b", "c_or_light"], "triggers": [],
                      "fill": -1, "folds": 3, "foldSeed": 7}  # fmt: skip
    assert process.tagJetsScoresTable._label in process.schedule.moduleNames()
    assert process.commandLine.era == "Run3,run3_nanoAOD_pre142X"


def test_infer_reads_the_same_tables_from_the_file(release: Run) -> None:
    process = release(CONFIGURATIONS["infer"], "--input", "a.root", "b.root", "--events", 7, "--era", "2018")
    assert _check_modules(process) == {"OnnxScoreTableProducer"}
    assert set(process.producers_()) == {"tagJetsScoresTable"}, "it makes nothing else"
    assert _plain(process.tagJetsScoresTable)["tables"] == TABLES
    assert process.source.fileNames.value() == ["a.root", "b.root"]
    assert process.maxEvents.input == 7
    assert process.modifiers == ("Run2_2018", "run2_nanoAOD_106Xv2")
    assert process.NANOAODoutput.type_() == "NanoAODOutputModule"


def test_trigger_bits_come_from_trigger_results(release: Run, tmp_path: Path) -> None:
    inputs = [*MODEL["inputs"], {"name": "HLT_IsoMu24", "kind": "event", "collection": None}]
    path = tmp_path / "search/PhysicsTools/NanoForge/data/model.json"
    path.write_text(json.dumps({**MODEL, "inputs": inputs}))
    process = release(CONFIGURATIONS["infer"], "--input", "m")
    found = _plain(process.tagJetsScoresTable)
    assert found["tables"] == TABLES
    assert found["triggers"] == ["TriggerResults::HLT", "TriggerResults::PAT", "TriggerResults::RECO"]


def test_columns_that_no_table_has_are_named(release: Run, tmp_path: Path) -> None:
    inputs = [*MODEL["inputs"], {"name": "Jet_unheardOf", "kind": "object", "collection": "Jet"}]
    path = tmp_path / "search/PhysicsTools/NanoForge/data/model.json"
    path.write_text(json.dumps({**MODEL, "inputs": inputs}))
    with pytest.raises(ValueError, match=r"no table has Jet_unheardOf: make it before"):
        release(CONFIGURATIONS["nano"], "--input", "m", "--model", "PhysicsTools/NanoForge/data/model.onnx")
    path.write_text(json.dumps({**MODEL, "level": "features"}))
    with pytest.raises(ValueError, match="--features"):
        release(CONFIGURATIONS["infer"], "--input", "m")
    fold = {**MODEL["fold"], "hash": {"columns": ["event"], "seed": 7}}
    path.write_text(json.dumps({**MODEL, "fold": fold}))
    with pytest.raises(ValueError, match=r"its fold is chosen by event .* export with --fold average"):
        release(CONFIGURATIONS["infer"], "--input", "m")
    with pytest.raises(ValueError, match=r"other/model\.json: not in CMSSW_SEARCH_PATH"):
        release(CONFIGURATIONS["infer"], "--input", "m", "--model", "other/model.onnx")


def test_particles_of_jets_are_those_of_the_table_jet(release: Run) -> None:
    process = release(CONFIGURATIONS["nano"], "--input", "m.root", "--pfcands", "--edm")
    table = _plain(process.nanoforgePFCandsTable)
    assert table["name"] == "PFCands" and {"pt", "charge", "d0Err", "puppiWeight"} <= set(table["variables"])
    links = _plain(process.nanoforgeJetPFCandsTable)
    assert (links["jets"], links["candidates"]) == ("linkedObjects:jets", "nanoforgeCandidates")
    assert {"nanoforgeCandidates", "nanoforgeJetConstituents"} <= process.schedule.moduleNames()
    assert process.commandLine.eventcontent == "NANOAODSIM,NANOEDMAODSIM"


def test_hits_of_the_calorimeters(release: Run) -> None:
    aod = release(CONFIGURATIONS["nano"], "--input", "m.root", "--calohits", "aod", "--parents", "a.root")
    assert _plain(aod.ecalHitTable)["src"] == ["reducedEcalRecHitsEB", "reducedEcalRecHitsEE"]
    assert _plain(aod.caloSeedTable)["src"] == "linkedObjects:jets"
    assert _plain(aod.source.secondaryFileNames) == ["a.root"]
    made = {"ecalHitTable", "hcalHitTable", "caloTrackTable", "caloSeedTable"}
    assert made <= aod.schedule.moduleNames() and all(name.endswith("Table") for name in made), "and in the output"
    mini = release(CONFIGURATIONS["nano"], "--input", "m.root", "--calohits", "mini")
    assert _plain(mini.hcalHitTable)["src"] == "reducedEgamma:reducedHBHEHits"
    assert {"caloTrackTable", "caloSeedTable"}.isdisjoint(mini.schedule.moduleNames())
    with pytest.raises(SystemExit, match="--parents"):
        release(CONFIGURATIONS["nano"], "--input", "m.root", "--calohits", "aod")


# -- nanoforge cmsrun -------------------------------------------------------------------------------------------------


def _options(words: str) -> Any:
    """Parse options of cmsDriver.py."""
    sys.path.insert(0, str(STUBS))
    try:
        from Configuration.Applications.cmsDriverOptions import parser
    finally:
        sys.path.remove(str(STUBS))
        _forget()
    return parser().parse_args(shlex.split(words))


def _lines(folder: Path) -> dict[str, tuple[list[str], str]]:
    """Return release and architecture, and the words behind cmsDriver.py and its argument, of the steps of a script."""
    script = folder / "commands.sh"
    subprocess.run(["bash", "-n", script], check=True)
    found: dict[str, tuple[list[str], str]] = {}
    step, area = "", []
    for line in script.read_text().splitlines():
        if line.endswith(")") and line[:-1].isalnum():
            step = line[:-1]
        if line.startswith("  enter "):
            area = line.split()[1:]
        if line.startswith("  cmsDriver.py"):
            found[step] = area, line.split(maxsplit=2)[2]
    return found


def _commands(folder: Path) -> dict[str, Any]:
    """Return the arguments of cmsDriver in the script, by the names of steps."""
    return {step: _options(words) for step, (_, words) in _lines(folder).items()}


@pytest.mark.parametrize(
    ("sample", "step"), [("ttbar", "gen"), ("ttbar", "sim"), ("ttbar", "skim"), ("gun", "nano"), ("gun", "images")]
)
def test_ready_configurations_and_commands_ask_for_the_same(
    sample: str, step: str, release: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    manifest = cmsrun(_analysis(tmp_path), sample, step, folder)
    Manifest.read(folder, "cmsrun").verify(folder)
    row = eras.ERAS["2022EE"].steps["nano" if step in ("skim", "nano", "images") else "gensim"]
    assert (manifest.details["release"], manifest.details["arch"]) == (row.release, row.arch)
    ready = folder / f"{sample}_{step}_cfg.py"
    assert manifest.details["configuration"] == ready.name
    process = release(ready)
    _check_modules(process)
    command = vars(_commands(folder)["gensim" if step == "sim" else step])
    same = ("step", "era", "conditions", "geometry", "eventcontent", "datatier", "beamspot", "mc", "data", "number",
            "number_out", "filein")  # fmt: skip
    assert {k: command[k] for k in same} == {k: getattr(process.commandLine, k) for k in same}
    assert cmsrun(_analysis(tmp_path), sample, step, folder).created == manifest.created, "up to date"


def test_the_fragment_is_what_the_configuration_makes(release: Run, tmp_path: Path) -> None:
    for sample in ("ttbar", "gun"):
        folder = tmp_path / sample
        cmsrun(_analysis(tmp_path), sample, "sim", folder)
        process = release(folder / f"{sample}_sim_cfg.py")
        fragment = runpy.run_path(str(folder / f"{sample}_fragment.py"))
        sequence = fragment["ProductionFilterSequence"].modules()
        names = process.simulation_step.names()
        labels = [*names[: len(sequence)], "nanoforgeAcceptance"]
        for label in labels:
            assert fragment[label].type_() == getattr(process, label).type_()
            assert _plain(fragment[label]) == _plain(getattr(process, label))
        assert [item.type_() for item in sequence] == [getattr(process, label).type_() for label in labels[:-1]]


@pytest.mark.parametrize("era", eras.ERAS)
def test_the_commands_of_a_simulation_are_the_steps_of_the_era(era: str, tmp_path: Path) -> None:
    samples = {"gun": ANALYSIS["samples"]["gun"]}
    analysis = _analysis(tmp_path, samples=samples, cmssw={"era": era})
    manifest = cmsrun(analysis, "gun", "sim", tmp_path / "out")
    commands = _commands(tmp_path / "out")
    rows = eras.ERAS[era].steps
    assert [c.step for c in commands.values()] == [row.step for row in rows.values()]
    assert [c.conditions for c in commands.values()] == [row.conditions for row in rows.values()]
    files = [c.fileout for c in commands.values()]
    assert [c.filein for c in commands.values()] == [None, *files[:-1]]
    text = (tmp_path / "out" / "gun_fragment.py").read_text()
    compile(text, "fragment", "exec")
    assert (manifest.details["configuration"] is None) == (era < "2020"), "10_6_X has no Python 3"


_OURS = {"filein", "fileout", "nThreads", "number", "number_out", "python_filename", "no_exec", "customise_commands"}


@pytest.mark.parametrize("era", eras.ERAS)
def test_the_commands_are_those_of_central_production(era: str, tmp_path: Path) -> None:
    samples = {"gun": ANALYSIS["samples"]["gun"]}
    cmsrun(_analysis(tmp_path, samples=samples, cmssw={"era": era}), "gun", "sim", tmp_path / "out")
    ours = _lines(tmp_path / "out")
    assert [*published.steps(era), "nano"] == list(ours)
    for step, (area, words) in published.steps(era).items():
        assert ours[step][0] == area, step
        theirs, command = vars(_options(words)), vars(_options(ours[step][1]))
        assert {k: command[k] for k in theirs if k not in _OURS} == {k: theirs[k] for k in theirs if k not in _OURS}
        assert command["customise_commands"].startswith(theirs["customise_commands"] or ""), step


@pytest.fixture
def areas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run a step of commands.sh with tools that refuse a configuration whose plugins are not built in the release."""
    monkeypatch.setenv("PATH", f"{STUBS / 'bin'}:/usr/bin:/bin:{Path(sys.executable).parent}")

    def run(folder: Path, step: str, lumi: int = 1) -> Path:
        script = folder / "commands.sh"
        script.write_text(script.read_text().replace("/cvmfs/cms.cern.ch", str(STUBS / "bin")))
        command = ["env", f"lumi={lumi}", "bash", script, step]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return next(folder.glob(f"*_{step}_driver.py"))

    return run


@pytest.mark.parametrize("era", ["2018", "2022"])
def test_a_release_has_the_package_built_before_cmsdriver_loads_it(
    era: str, areas: Callable[..., Path], tmp_path: Path
) -> None:
    gun = {**ANALYSIS["samples"]["gun"]["generator"], "filters": {"pair": {"mother": 36, "daughters": [11, -11]}}}
    sample = {**ANALYSIS["samples"]["gun"], "generator": gun}
    acceptance = {"acceptance": {"gun": {"daughters": 36, "hcal": 1.0}}}
    analysis = _analysis(tmp_path, samples={"gun": sample}, cmssw={"era": era, "skim": SKIM, **acceptance})
    for step, first in (("sim", "gensim"), ("gen", "gen"), ("skim", "skim")):
        cmsrun(analysis, "gun", step, tmp_path / step)
        areas(tmp_path / step, first)
    areas(tmp_path / "sim", "mini")
    areas(tmp_path / "sim", "gensim", 2)  # again in the same area, which holds the package now


def test_every_step_of_every_job_has_engines_of_its_own(
    areas: Callable[..., Path], release: Run, tmp_path: Path
) -> None:
    process = release(CONFIGURATIONS["gensim"], "--gun", 36, "--mass", 1, 2)
    names = process.RandomNumberGeneratorService.parameterNames_()
    assert {"generator", "VtxSmeared", "g4SimHits", "mixData"} <= set(names)
    samples = {"gun": ANALYSIS["samples"]["gun"]}
    cmsrun(_analysis(tmp_path, samples=samples, cmssw={"era": "2022EE"}), "gun", "sim", tmp_path / "sim")

    def engines(step: str, lumi: int) -> list[int]:
        commands = areas(tmp_path / "sim", step, lumi).read_text()
        exec(commands, {"process": process, "cms": sys.modules["FWCore.ParameterSet.Config"]})
        assert step != "gensim" or process.source.firstLuminosityBlock.value() == lumi
        return [getattr(process.RandomNumberGeneratorService, name).initialSeed for name in names]

    drawn = {(step, lumi): engines(step, lumi) for step in ("gensim", "digi", "reco") for lumi in (1, 2)}
    together = [seed for found in drawn.values() for seed in found]
    assert len(set(together)) == len(together) == 6 * len(names), "no default is left, and none comes twice"
    assert engines("digi", 2) == drawn["digi", 2], "a job that is repeated draws the same numbers"
    assert seeds.number(1, 2, "gensim", "generator") in drawn["gensim", 2]


def test_no_lumi_sections_of_a_sample_share_a_seed() -> None:
    lumis = range(1, 30_001)
    for sample_seed in (1, 2**63 - 1):
        found = {seeds.number(sample_seed, lumi, "gensim", "generator") for lumi in lumis}
        assert len(found) == len(lumis)
        assert min(found) >= 1 and max(found) <= seeds.MOST


def test_python_2_gives_the_same_seeds() -> None:
    interpreter = shutil.which("python2.7") or shutil.which("python2")
    code = "import seeds; print([seeds.number(s, l, 'digi', 'mixData') for s in (0, 5, 2**63 - 1) for l in (1, 77)])"
    command = [str(interpreter), "-B", "-c", code]
    environment = {**os.environ, "PYENV_VERSION": "2.7"}  # where the interpreter is pyenv's, which may have none
    folder = Path(seeds.__file__).parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment) if interpreter else None
    if done is None or done.returncode == 127:
        pytest.skip("no Python 2, as the releases of Run 2 have it, is here; Python 3 gives the seeds in other tests")
    expected = [seeds.number(s, lumi, "digi", "mixData") for s in (0, 5, 2**63 - 1) for lumi in (1, 77)]
    assert done.stdout.replace("L", "").strip() == str(expected), done.stderr


def test_an_export_travels_with_the_configuration(release: Run, tmp_path: Path) -> None:
    export = tmp_path / "export"
    export.mkdir()
    (export / "model.onnx").write_bytes(b"onnx")
    _write(export, "model.json", MODEL)
    Manifest("export", {}, []).write(export, {"model.onnx": None, "model.json": None})
    cmsrun(_analysis(tmp_path), "gun", "nano", tmp_path / "out", model=export)
    data = tmp_path / "out" / "data"
    assert (data / "tag_jets/model.onnx").read_bytes() == b"onnx"
    (tmp_path / "search/PhysicsTools/NanoForge/data/tag_jets").symlink_to(data / "tag_jets")
    process = release(tmp_path / "out" / "gun_nano_cfg.py")
    assert process.tagJetsScoresTable.model.value() == "PhysicsTools/NanoForge/data/tag_jets/model.onnx"
    assert "nano.addScores(process" in _commands(tmp_path / "out")["nano"].customise_commands
    with pytest.raises(UserError, match="--model"):
        cmsrun(_analysis(tmp_path), "gun", "gen", tmp_path / "gen", model=export)


def test_data_takes_its_lumi_mask_along(release: Run, tmp_path: Path) -> None:
    (tmp_path / "golden.json").write_text('{"1": [[1, 2]]}')
    data = {"label": "b", "files": "c.root", "data": True}
    analysis = _analysis(tmp_path, samples={**ANALYSIS["samples"], "data": data}, golden_json="golden.json")
    cmsrun(analysis, "data", "nano", tmp_path / "out", era="2018")
    process = release(tmp_path / "out" / "data_nano_cfg.py")
    assert process.commandLine.data and process.commandLine.lumiToProcess == str(tmp_path / "out" / "golden.json")
    assert _commands(tmp_path / "out")["nano"].lumiToProcess == "golden.json"


@pytest.mark.parametrize(("sample", "step", "era", "message"), [
    ("ttbr", "gen", None, "ttbar"), ("ttbar", "reco", None, "gen, sim, skim, nano"),
    ("ttbar", "gen", "2019", "2016preVFP"), ("ttbar", "gen", "2018", "energy"),
])  # fmt: skip
def test_mistakes_are_named(sample: str, step: str, era: Optional[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        cmsrun(_analysis(tmp_path), sample, step, tmp_path / "out", era)
    assert not (tmp_path / "out").exists()


def test_what_the_block_cannot_say(tmp_path: Path) -> None:
    for block, message in (
        ({"skim": [SKIM[0], SKIM[0]]}, "two_jets"),
        ({"skim": [{**SKIM[0], "max": 1}]}, "max"),
        ({"skim": [{**SKIM[0], "src": "Jet pt"}]}, "src"),
    ):
        with pytest.raises(UserError, match=message):
            _analysis(tmp_path, cmssw=block)
    with pytest.raises(UserError, match=r"acceptance\.gum"):
        cmsrun(_analysis(tmp_path, cmssw={"acceptance": {"gum": {"daughters": 1}}}), "gun", "gen", tmp_path / "out")
    with pytest.raises(UserError, match="no cuts"):
        cmsrun(_analysis(tmp_path, cmssw={}), "gun", "skim", tmp_path / "out")


def test_from_the_command_line(nanoforge: Callable[..., Any], tmp_path: Path) -> None:
    _analysis(tmp_path)
    done = nanoforge("cmsrun", "analysis.yaml", "--sample", "gun", "--step", "gen", "-o", "ready")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "ready").iterdir()} == {
        "commands.sh", "gun.json", "gun_fragment.py", "gun_gen_cfg.py", "manifest.json", "nanoforge_seeds.py",
        "NanoForge.src.tar.gz"}  # fmt: skip


def test_a_dataset_does_not_depend_on_the_block(tmp_path: Path) -> None:
    with_block, without = _analysis(tmp_path), _analysis(tmp_path, cmssw=None)
    assert with_block.dataset_part() == without.dataset_part()
    assert with_block.skim_part() == without.skim_part()
