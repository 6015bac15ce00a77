"""Keep events by the objects that they have, before any table is made, with all events counted.

The sums of weights of all events are in ``Runs``; how many passed is in ``LuminosityBlocks``, as ``Skim_*``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import FWCore.ParameterSet.Config as cms

FILTER, TABLE = "nanoforgeSkim", "nanoforgeSkimTable"
_SUMS = "WeightsTableProducer"
"""How the types end of what sums weights into ``Runs``: GenWeightsTableProducer, and others of newer releases."""


def read(path: str | Path) -> list[dict[str, Any]]:
    """Read the cuts that ``nanoforge cmsrun --step skim`` froze: those of ``cmssw.skim`` in the analysis file.

    Raises
    ------
    ValueError
        When the file is something else.
    """
    cuts = json.loads(Path(path).read_text())
    if not isinstance(cuts, list) or not all(isinstance(cut, dict) and {"name", "src"} <= set(cut) for cut in cuts):
        raise ValueError(f"{path}: not a list of cuts as 'nanoforge cmsrun --step skim' writes it")
    return cuts


def skimFilter(cuts: Sequence[Mapping[str, Any]], weights: str = "") -> Any:
    """Make the filter. One of the cuts with the same ``any`` is enough; all others have to pass.

    ``weights`` is the label of the generator, whose weights are summed; none for collision data.
    """
    groups: dict[str, list[str]] = {}
    for cut in cuts:
        if cut.get("any") is not None:
            groups.setdefault(cut["any"], []).append(cut["name"])
    return cms.EDFilter(
        "EventSkimFilter",
        weights=cms.InputTag(weights),
        cuts=cms.VPSet(*map(_cut, cuts)),
        groups=cms.VPSet(
            *(cms.PSet(name=cms.string(n), any=cms.bool(True), cuts=cms.vstring(*c)) for n, c in groups.items())
        ),
    )


def _cut(cut: Mapping[str, Any]) -> Any:
    most = {} if cut.get("max") is None else {"max": cms.uint32(cut["max"])}
    return cms.PSet(
        name=cms.string(cut["name"]),
        src=cms.InputTag(cut["src"]),
        cut=cms.string(cut.get("cut", "")),
        min=cms.uint32(cut.get("min", 1)),
        **most,
    )


def addSkim(process: Any, cuts: Sequence[Mapping[str, Any]], path: str = "nanoAOD_step") -> Any:
    """Put the filter in front of a path and let the outputs keep what passes it.

    The sums of weights in ``Runs`` are made on a path of their own: behind the filter they would be those of the
    events that pass, and every normalisation wrong.

    Raises
    ------
    ValueError
        When the process has no such path.
    """
    if path not in process.paths_():
        raise ValueError(f"the process has no path {path}: give one of {', '.join(process.paths_())}")
    names = process.paths_()[path].moduleNames()
    sums = {n: m for n, m in process.producers_().items() if n in names and m.type_().endswith(_SUMS)}
    for name, module in sums.items():
        setattr(process, f"nanoforge_{name}_step", cms.Path(module))
        process.schedule.insert(0, getattr(process, f"nanoforge_{name}_step"))
    setattr(process, FILTER, skimFilter(cuts, "generator" if sums else ""))
    process.paths_()[path].insert(0, getattr(process, FILTER))
    _tabulate(process)
    for output in process.outputModules_().values():
        output.SelectEvents = cms.untracked.PSet(SelectEvents=cms.vstring(path))
    return process


def _tabulate(process: Any) -> None:
    """Write the counts of the filter with every luminosity section, as NanoAOD does with those of the generator's."""
    from PhysicsTools.NanoAOD.common_cff import Var

    columns = {
        "numEventsTotal": Var("numEventsTotal()", int, doc="events read"),
        "numEventsPassed": Var("numEventsPassed()", int, doc="events that passed the skim"),
        "filterEfficiency": Var("filterEfficiency()", float, doc="of the skim, weighted"),
        "filterEfficiencyError": Var("filterEfficiencyError()", float, doc="of the skim, weighted"),
    }
    table = cms.EDProducer(
        "SimpleGenFilterFlatTableProducerLumi",
        src=cms.InputTag(FILTER),
        cut=cms.string(""),
        name=cms.string("Skim"),
        doc=cms.string("events that passed the skim"),
        singleton=cms.bool(True),
        extension=cms.bool(False),
        variables=cms.PSet(**columns),
    )
    setattr(process, TABLE, table)
    setattr(process, f"{TABLE}Task", cms.Task(getattr(process, TABLE)))
    process.schedule.associate(getattr(process, f"{TABLE}Task"))
