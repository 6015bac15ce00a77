"""The processes of ``test/*_cfg.py`` and of the ready configurations that ``nanoforge cmsrun`` writes.

Every function takes the text for ``--help`` and other defaults of its options, and returns the process of this job.
"""

from __future__ import annotations

import math
from argparse import Namespace
from typing import Any

import FWCore.ParameterSet.Config as cms

from . import driver, eras, seeds
from . import gen as generators
from . import nano as tables
from . import skim as skims
from .commands import EDM, FLAT
from .options import Options
from .tiers import CALO_HITS


def gen(doc: str | None = None, **defaults: Any) -> Any:
    """Generate events: a gun or a process, and filters on it."""
    options = Options(doc, defaults, "gen.root")
    options.generation()
    options.add("--nanogen", action="store_true", help="write NanoGEN, a flat tree of what is generated")
    chosen = options.parse()
    if chosen.nanogen:
        return _generated(chosen, *driver.nanogen(), "NANOAODSIM")
    return _generated(chosen, "GEN", "RAWSIM", "GEN")


def gensim(doc: str | None = None, **defaults: Any) -> Any:
    """Generate and simulate events, and go on as far as one release can."""
    options = Options(doc, defaults, "gensim.root")
    options.generation()
    options.add("--fast", action="store_true", help="FastSim up to MiniAOD instead of Geant 4")
    options.add("--steps", help="as of cmsDriver, e.g. GEN,SIM,DIGI,L1,DIGI2RAW (default: GEN,SIM)")
    options.add("--content", help="event content of the output (default: that of the last step)")
    options.add("--pileup", help="premixed events instead of the era's, for steps with DATAMIX")
    chosen = options.parse()
    steps, content, tier = ("GEN,SIM", "RAWSIM", "GEN-SIM")
    if chosen.fast:
        steps, content, tier = "GEN,SIM,RECOBEFMIX,DIGI,L1,DIGI2RAW,L1Reco,RECO,PAT", "MINIAODSIM", "MINIAODSIM"
    return _generated(chosen, chosen.steps or steps, chosen.content or content, tier)


def skim(doc: str | None = None, **defaults: Any) -> Any:
    """Keep some events of MiniAOD, and write them as NanoAOD, flat and as EDM."""
    options = Options(doc, defaults, "skim.root")
    options.add("--skim", required="skim" not in defaults, help="cuts that 'nanoforge cmsrun --step skim' froze")
    chosen, process = _nano(options, f"{FLAT},{EDM}")
    return skims.addSkim(process, skims.read(chosen.skim))


def nano(doc: str | None = None, **defaults: Any) -> Any:
    """Make NanoAOD of MiniAOD, with the particles of jets and the scores of a model if wanted."""
    options = Options(doc, defaults, "nano.root")
    options.add("--edm", action="store_true", help="write EDM NanoAOD too, which infer_cfg.py reads")
    return _nano(options, FLAT)[1]


def infer(doc: str | None = None, **defaults: Any) -> Any:
    """Score EDM NanoAOD, and write it as flat NanoAOD."""
    options = Options(doc, defaults, "scores.root")
    options.reading()
    options.add("--model", default=tables.MODEL, help="ONNX of 'nanoforge export' (default: %(default)s)")
    chosen = options.parse()
    process = cms.Process("INFER", *_modifiers(chosen.modifiers or eras.era(chosen.era).steps["nano"].modifiers))
    process.source = cms.Source("PoolSource", fileNames=cms.untracked.vstring(*chosen.input))
    process.maxEvents.input = chosen.events
    process.options.numberOfThreads = chosen.threads
    process.NANOAODoutput = cms.OutputModule(
        "NanoAODOutputModule",
        fileName=cms.untracked.string(chosen.output),
        compressionAlgorithm=cms.untracked.string("LZMA"),
        compressionLevel=cms.untracked.int32(9),
        outputCommands=cms.untracked.vstring(*_KEPT),
    )
    process.NANOAODoutput_step = cms.EndPath(process.NANOAODoutput)
    process.schedule = cms.Schedule(process.NANOAODoutput_step)
    maker = cms.Process("NANO")
    maker.load("PhysicsTools.NanoAOD.nano_cff")  # only to know which of its tables has which columns
    maker.nanoAOD_step = cms.Path(maker.nanoSequenceMC)
    maker.schedule = cms.Schedule(maker.nanoAOD_step)
    return tables.addScores(process, chosen.model, tables.JET_TABLES, maker)


_KEPT = (
    "drop *",
    "keep nanoaodFlatTable_*Table_*_*",
    "keep edmTriggerResults_*_*_*",
    "keep String_*_genModel_*",
    "keep nanoaodMergeableCounterTable_*Table_*_*",
    "keep nanoaodUniqueString_nanoMetadata_*_*",
)


def _modifiers(names: str) -> list[Any]:
    from Configuration.StandardSequences.Eras import eras as modifiers

    return [getattr(modifiers, name) for name in names.split(",")]


def _nano(options: Options, content: str) -> tuple[Namespace, Any]:
    options.reading()
    options.add("--data", action="store_true", help="the input is collision data")
    options.add("--lumi-mask", help="golden JSON, for data")
    options.add("--model", help="ONNX of 'nanoforge export' whose scores are added, as FileInPath takes it")
    options.add("--pfcands", action="store_true", help="add the particles of jets (PFCands, JetPFCands, JetSVs)")
    options.add("--calohits", choices=list(CALO_HITS), help="add hits of the calorimeters, of AOD or of MiniAOD")
    options.add("--parents", nargs="+", default=[], help="AOD files that the input was made of, for --calohits aod")
    chosen = options.parse()
    if chosen.calohits == "aod" and not chosen.parents:
        raise SystemExit("--calohits aod: give the AOD files of which the input was made, --parents")
    arguments = driver.arguments(
        chosen.era, "nano", chosen.output, chosen.events,
        inputs=chosen.input, content=f"{FLAT},{EDM}" if getattr(chosen, "edm", False) else content,
        conditions=chosen.conditions, modifiers=chosen.modifiers, data=chosen.data, threads=chosen.threads,
        more=["--lumiToProcess", chosen.lumi_mask] if chosen.lumi_mask else [],
    )  # fmt: skip
    process = driver.process(arguments)
    if chosen.pfcands:
        process = tables.addPFCands(process)
    if chosen.calohits:
        process = tables.addCaloHits(process, chosen.calohits, chosen.parents)
    if chosen.model:
        process = tables.addScores(process, chosen.model)
    return chosen, process


def _generated(chosen: Namespace, steps: str, content: str, tier: str) -> Any:
    block = _block(chosen)
    events, fast = chosen.events or block["events"], getattr(chosen, "fast", False)
    arguments = driver.arguments(
        chosen.era, "gensim", chosen.output, chosen.tries, steps=steps, content=content, tier=tier,
        conditions=chosen.conditions, modifiers=chosen.modifiers, threads=chosen.threads,
        pileup=getattr(chosen, "pileup", None), more=["--number_out", str(events), *(["--fast"] if fast else [])],
    )  # fmt: skip
    process = driver.process(arguments, generators.modules(block, cms))
    seed = block["seed"] if chosen.seed is None else chosen.seed
    seeds.apply(process, "gensim", seed, chosen.lumi)
    process.source.firstLuminosityBlock = cms.untracked.uint32(chosen.lumi)
    return _accept(process, generators.acceptance(block, cms, fast))


def _block(chosen: Namespace) -> dict[str, Any]:
    """Return the frozen block, or one that the command line describes."""
    if chosen.generator:
        return generators.read(chosen.generator)
    if chosen.gun is None and not chosen.settings:
        raise SystemExit("give --generator, --gun or --settings (--help explains them)")
    gun = None
    settings = ["Tune:pp = 14", "Tune:ee = 7", *chosen.settings]
    if chosen.gun is not None:
        gun = {"ids": [chosen.gun], "pt": chosen.pt, "eta": chosen.eta, "phi": [-math.pi, math.pi],
               "mass": chosen.mass, "antiparticle": chosen.antiparticle, "flatten": None}  # fmt: skip
    return {"sample": "gun" if gun else "process", "settings": settings, "energy": eras.era(chosen.era).energy,
            "events": 10, "seed": 1, "gun": gun, "filters": {}, "acceptance": None}  # fmt: skip


def _accept(process: Any, accepted: Any) -> Any:
    """Drop simulated events that the filter rejects; the steps behind the simulation are not run for them."""
    if accepted is None or "simulation_step" not in process.paths_():
        return process
    setattr(process, generators.ACCEPTANCE, accepted)
    module = getattr(process, generators.ACCEPTANCE)
    paths = process.paths_()
    simulation = paths["simulation_step"]
    simulation += module
    behind = list(paths)[list(paths).index("simulation_step") + 1 :]
    for name in behind:
        paths[name].insert(1, module)  # behind the generator and its filters
    for output in process.outputModules_().values():
        output.SelectEvents = cms.untracked.PSet(SelectEvents=cms.vstring("simulation_step"))
    return process
