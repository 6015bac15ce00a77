"""A stub of ConfigBuilder: the same paths, outputs and labels in memory, with next to nothing on them.

As the real one it puts the generator only into paths of the file that it writes, not into those in memory.
"""

from __future__ import annotations

import importlib
from argparse import Namespace

import FWCore.ParameterSet.Config as cms

_PATHS = {
    "GEN": "generation_step", "SIM": "simulation_step", "DIGI": "digitisation_step", "L1": "L1simulation_step",
    "DIGI2RAW": "digi2raw_step", "RECO": "reconstruction_step", "PAT": "Flag_step",
}  # fmt: skip


_SEEDS = {
    "generator": 123456789,
    "VtxSmeared": 98765432,
    "g4SimHits": 11,
    "mixData": 12345,
    "simMuonCSCDigis": 11223344,
}


def _engines() -> dict[str, cms.PSet]:
    """Return some of the engines that IOMC defines, with the seeds that they have there."""
    return {n: cms.PSet(initialSeed=cms.untracked.uint32(s), engineName=cms.untracked.string("MixMaxRng"))
            for n, s in _SEEDS.items()}  # fmt: skip


class ConfigBuilder:
    def __init__(self, options: Namespace, with_output: bool = False, with_input: bool = False) -> None:
        assert with_output and with_input and options.arguments
        self.options = options
        self.process = cms.Process(options.step.split(",")[-1], *(options.era or "").split(","))
        self.process.commandLine = options
        self.paths: list = []

    def prepare(self) -> None:
        process, options = self.process, self.options
        process.maxEvents.input = options.number
        if options.number_out:
            process.maxEvents.output = int(options.number_out)
        process.options.numberOfThreads = int(options.nThreads)
        if options.filein:
            process.source = cms.Source("PoolSource", fileNames=cms.untracked.vstring(*options.filein.split(",")))
        else:
            process.source = cms.Source("EmptySource")
        process.RandomNumberGeneratorService = cms.Service("RandomNumberGeneratorService", **_engines())
        for step in options.step.split(","):
            self._step(step)
        for i, content in enumerate(options.eventcontent.split(",")):
            self._output(i, content)
        process.schedule = cms.Schedule(*self.paths)

    def _step(self, step: str) -> None:
        process = self.process
        if step == "GEN":
            importlib.import_module(self.options.evt_type.replace("/", "."))
            process.load(self.options.evt_type)
        if step == "NANO":
            process.load("PhysicsTools.NanoAOD.nano_cff")
            sequence = process.nanoSequence if self.options.data else process.nanoSequenceMC
            self._path("nanoAOD_step", sequence)
            return
        step = step.split(":")[0]
        setattr(process, f"p{step.lower()}", cms.EDProducer(step))
        self._path(_PATHS.get(step, f"{step}_step"), getattr(process, f"p{step.lower()}"))

    def _path(self, name: str, content: object) -> None:
        setattr(self.process, name, cms.Path(content))
        self.paths.append(getattr(self.process, name))

    def _output(self, number: int, content: str) -> None:
        process, name = self.process, f"{content}output"
        kind = "NanoAODOutputModule" if "NANOAOD" in content else "PoolOutputModule"
        file = self.options.fileout if number == 0 else self.options.fileout.replace(".root", f"_in{content}.root")
        module = cms.OutputModule(kind, fileName=cms.untracked.string(file))
        if hasattr(process, "generation_step"):
            module.SelectEvents = cms.untracked.PSet(SelectEvents=cms.vstring("generation_step"))
        setattr(process, name, module)
        setattr(process, f"{name}_step", cms.EndPath(module))
        self.paths.append(getattr(process, f"{name}_step"))
