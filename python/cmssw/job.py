"""What differs between the jobs that share a configuration: lumi section, seeds, events, threads, pile-up.

A copy goes to the releases with the configurations: this file is Python 2.7 too, and imports nothing of ours.
"""

# mypy: ignore-errors

import FWCore.ParameterSet.Config as cms


def apply(process, settings, seeds):
    # type: (object, dict, object) -> object
    """Change a process that all jobs share into that of one job, and return it.

    Parameters
    ----------
    process
        As ``cmsDriver.py`` made it.
    settings
        ``step``, ``seed`` (of the sample), ``lumi``, ``threads``; ``tries`` and ``events`` where events are generated,
        else None; ``pileup``: the premixed files of this job, where there are any.
    seeds
        The module of that name.
    """
    process.options.numberOfThreads = cms.untracked.uint32(settings["threads"])
    process.options.wantSummary = cms.untracked.bool(True)  # tells how many events which filter let pass
    if hasattr(process, "RandomNumberGeneratorService"):
        seeds.apply(process, settings["step"], settings["seed"], settings["lumi"])
    if settings["events"] is not None:
        process.source.firstRun = cms.untracked.uint32(1)
        process.source.firstLuminosityBlock = cms.untracked.uint32(settings["lumi"])
        process.source.firstEvent = cms.untracked.uint32(1)
        process.source.numberEventsInLuminosityBlock = cms.untracked.uint32(0)  # all in one
        process.maxEvents.input = cms.untracked.int32(settings["tries"])
        process.maxEvents.output = cms.untracked.int32(settings["events"])
    if settings["pileup"]:
        _mix(process, settings["pileup"])
    process.Timing = cms.Service("Timing", summaryOnly=cms.untracked.bool(True))
    process.SimpleMemoryCheck = cms.Service(
        "SimpleMemoryCheck", ignoreTotal=cms.untracked.int32(1), jobReportOutputOnly=cms.untracked.bool(True)
    )
    return process


def for_crab(process, pileup):
    # type: (object, str) -> object
    """Change a process that all jobs share into one that CRAB can change for each of its jobs, and return it.

    CRAB counts events that are tried: one that ended after some accepted ones would leave out others.

    Parameters
    ----------
    process
        As ``cmsDriver.py`` made it.
    pileup
        The list of premixed files, of which CRAB's seeds choose; None where nothing is mixed in.
    """
    process.options.wantSummary = cms.untracked.bool(True)
    if process.source.type_() == "EmptySource":
        process.source.firstRun = cms.untracked.uint32(1)
        process.maxEvents = cms.untracked.PSet(input=cms.untracked.int32(1))
    if pileup:
        with open(pileup) as file:  # noqa: PTH123 - Python 2.7 too
            _mix(process, file.read().split("\n")[:-1])
    return process


def _mix(process, names):
    # type: (object, list) -> None
    names = [str(name) for name in names]  # Python 2 reads JSON as unicode, which FWCore refuses
    process.mixData.input.fileNames = cms.untracked.vstring(*names)
