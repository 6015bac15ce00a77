"""Customise functions for NanoAOD: scores of a model, the particles of jets, and hits of the calorimeters.

``cmsDriver.py --customise PhysicsTools/NanoForge/cmssw/nano.addScores`` takes the model in :data:`MODEL`: a customise
function gets the process only, once in cmsDriver and again in every job. Another model, or a second one::

    --customise_commands "from PhysicsTools.NanoForge.cmssw import nano; nano.addScores(process, 'My/Tags/data/m.onnx')"
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import FWCore.ParameterSet.Config as cms

from .gen import label
from .tiers import CALO_HITS

MODEL = "PhysicsTools/NanoForge/data/model.onnx"
DESCRIPTION = "model.json"
"""Beside ``model.onnx``, as ``nanoforge export`` writes it."""
_IDENTITY = ("run", "luminosityBlock", "event")
_BITS = ("HLT_", "L1_", "Flag_")
"""Branches that NanoAOD makes of trigger results, and not of tables."""
_TRIGGERS = ("TriggerResults::HLT", "TriggerResults::PAT", "TriggerResults::RECO")
_INSTANCES: dict[str, dict[str, str]] = {
    "VertexTableProducer": {"pv": "pvName", "svs": "svName"},
    "GenWeightsTableProducer": {},
    "NPUTablesProducer": {},
    "LHETablesProducer": {},
}
"""Producers without a parameter ``variables``, and by instance the parameter that names the table."""
_FIXED = {"GenWeightsTableProducer": "genWeight", "NPUTablesProducer": "Pileup", "LHETablesProducer": "LHE"}
_LINKS = ("PatJetConstituentTableProducer", "SimplePatJetConstituentTableProducer")


@dataclass(frozen=True)
class FlatTable:
    """A flat table of a process: its product, its name, and its columns, None where the producer does not say."""

    tag: str
    name: str
    columns: frozenset[str] | None = None
    extension: bool = False

    def has(self, branch: str) -> bool:
        """Whether the branch is, or may be, a column of this table."""
        if self.columns is None:
            return branch == self.name or branch.startswith(f"{self.name}_")
        prefix = f"{self.name}_" if self.name else ""
        return branch.startswith(prefix) and branch[len(prefix) :] in self.columns


def tables(process: Any) -> Iterator[FlatTable]:
    """Yield the flat tables of events that the producers of a process make; all of them where it has no schedule."""
    scheduled = None if process.schedule is None else process.schedule.moduleNames()
    for name, module in process.producers_().items():
        in_schedule = scheduled is None or name in scheduled
        if in_schedule and name.endswith("Table") and not module.type_().endswith("Lumi"):
            yield from _made(name, module)


def _made(name: str, module: Any) -> Iterator[FlatTable]:
    kind, parameters = module.type_(), module.parameters_()
    if kind in _FIXED:
        yield FlatTable(name, _FIXED[kind])
    elif kind in _INSTANCES:
        for instance, key in _INSTANCES[kind].items():
            yield FlatTable(f"{name}:{instance}", parameters[key].value())
        yield FlatTable(f"{name}:otherPVs", "Other" + parameters["pvName"].value())
    elif kind in _LINKS:
        for key in ("name", "nameSV"):
            if key in parameters:
                yield FlatTable(f"{name}:{parameters[key].value()}", parameters[key].value())
    elif "branchName" in parameters:  # indices to generated particles
        branch = parameters["branchName"].value()
        columns = frozenset({f"{branch}Idx", f"{branch}Flav"})
        yield FlatTable(name, parameters["objName"].value(), columns, extension=True)
    elif "name" in parameters:
        columns = None
        if "variables" in parameters:
            blocks = [parameters[key] for key in ("variables", "externalVariables") if key in parameters]
            columns = frozenset(column for block in blocks for column in block.parameterNames_())
        extension = "extension" in parameters and bool(parameters["extension"].value())
        yield FlatTable(name, parameters["name"].value(), columns, extension)


def describe(model: str) -> dict[str, Any]:
    """Read ``model.json`` beside a model, searched where ``edm::FileInPath`` searches.

    Raises
    ------
    ValueError
        When there is none, or the model takes features and not columns.
    """
    folders = [Path(folder) for folder in os.environ.get("CMSSW_SEARCH_PATH", "").split(":") if folder]
    path = next((p for p in (folder / Path(model).with_name(DESCRIPTION) for folder in folders) if p.exists()), None)
    if path is None:
        raise ValueError(
            f"{Path(model).with_name(DESCRIPTION)}: not in CMSSW_SEARCH_PATH: copy what 'nanoforge export' wrote to "
            f"$CMSSW_BASE/src/{Path(model).parent}"
        )
    description: dict[str, Any] = json.loads(path.read_text())
    if description.get("level") != "columns":
        raise ValueError(f"{path}: takes features, not columns: export it without --features")
    return description


def scoreTable(model: str, description: Mapping[str, Any], available: Sequence[FlatTable]) -> Any:
    """Make the producer of a model's scores.

    Parameters
    ----------
    model
        The file, as ``edm::FileInPath`` takes it.
    description
        Its ``model.json``.
    available
        The tables where its columns are looked for.

    Raises
    ------
    ValueError
        With the columns that no table has, or the fold is chosen by columns that cmsRun does not know.
    """
    name, fold = description["name"], description["fold"]
    by_event = fold["rule"] == "by-event"
    if by_event and tuple(fold["hash"]["columns"]) != _IDENTITY:
        raise ValueError(
            f"{model}: its fold is chosen by {', '.join(fold['hash']['columns'])} ('identity' of the analysis), and "
            f"cmsRun knows {', '.join(_IDENTITY)} only: export with --fold average"
        )
    bits = any(one["name"].startswith(_BITS) for one in description["inputs"])
    return cms.EDProducer(
        "OnnxScoreTableProducer",
        model=cms.FileInPath(model),
        name=cms.string(name),
        row=cms.string(description["row"]),
        outputs=cms.vstring(*(score[len(name) + 1 :] for score in description["outputs"]["scores"])),
        tables=cms.VInputTag(*_needed(description, available)),
        triggers=cms.VInputTag(*(_TRIGGERS if bits else ())),
        inputs=cms.VPSet(*map(_input, description["inputs"])),
        fill=cms.double(description["fill"]),
        folds=cms.uint32(fold["folds"] if by_event else 1),
        foldSeed=cms.uint64(fold["hash"]["seed"] if by_event else 1),
    )


def _input(one: Mapping[str, Any]) -> Any:
    return cms.PSet(
        name=cms.string(one["name"]),
        kind=cms.string(one["kind"]),
        collection=cms.string(one.get("collection") or ""),
    )


def _needed(description: Mapping[str, Any], available: Sequence[FlatTable]) -> list[str]:
    """Return the tags of the tables with the model's columns, each once; those that say their columns come first."""
    tags: dict[str, None] = {}
    missing = []
    names = [one["name"] for one in description["inputs"] if one["kind"] != "fold"]
    branches = [name for name in names if name not in _IDENTITY and not name.startswith(_BITS)]
    counters = [f"n{description['row']}"] if description["row"] != "event" else []
    for branch in [*branches, *counters]:
        holders = [t for t in available if (t.columns is not None and t.has(branch)) or branch == f"n{t.name}"]
        holders = sorted(holders, key=lambda t: t.extension) or [t for t in available if t.has(branch)]
        if holders:
            tags[holders[0].tag] = None
        else:
            missing.append(branch)
    if missing:
        raise ValueError(f"no table has {', '.join(missing)}: make it before, or give its tag in 'also'")
    return list(tags)


def addScores(process: Any, model: str = MODEL, also: Mapping[str, str] | None = None, maker: Any | None = None) -> Any:
    """Add the scores of a model of ``nanoforge export`` to NanoAOD.

    Rows of the event become ``<name>_<class>``; of objects, columns of their own table.

    Parameters
    ----------
    process
        One that makes NanoAOD, or reads it as EDM; complete with its schedule.
    model
        The ONNX file as ``edm::FileInPath`` takes it, ``model.json`` beside it.
    also
        Further tables, tag and name: of producers that do not say what they make.
    maker
        The process that made the tables, where this one reads them.
    """
    available = [
        *tables(process if maker is None else maker),
        *(FlatTable(tag, name) for tag, name in (also or {}).items()),
    ]
    description = describe(model)
    name = label(description["name"], "ScoresTable")
    setattr(process, name, scoreTable(model, description, available))
    task = cms.Task(getattr(process, name))
    setattr(process, f"{name}Task", task)
    process.schedule.associate(task)
    return process


def addPFCands(process: Any) -> Any:
    """Add ``PFCands`` (of the jets), ``JetPFCands`` (links from them to jets) and ``JetSVs``, named as in PFNano.

    Needs ``PatJetConstituentTableProducer``, which releases have since 14_0_X. ``custom_btv_cff.BTVCustomNanoAOD`` has
    more variables; do not take both.
    """
    from PhysicsTools.NanoAOD.common_cff import CandVars, Var

    jets = _jets(process)
    process.nanoforgeJetConstituents = cms.EDProducer(
        "PatJetConstituentPtrSelector", src=cms.InputTag(jets), cut=cms.string("")
    )
    process.nanoforgeCandidates = cms.EDProducer(
        "PackedCandidatePtrMerger",
        src=cms.VInputTag(cms.InputTag("nanoforgeJetConstituents", "constituents")),
        skipNulls=cms.bool(True),
        warnOnSkip=cms.bool(True),
    )
    process.nanoforgePFCandsTable = cms.EDProducer(
        "SimpleCandidateFlatTableProducer",
        src=cms.InputTag("nanoforgeCandidates"),
        cut=cms.string(""),
        name=cms.string("PFCands"),
        doc=cms.string("particles of jets"),
        singleton=cms.bool(False),
        extension=cms.bool(False),
        variables=cms.PSet(CandVars, **{n: Var(expr, kind, doc=doc) for n, (expr, kind, doc) in _CANDIDATE.items()}),
    )
    process.nanoforgeJetPFCandsTable = cms.EDProducer(
        "PatJetConstituentTableProducer",
        name=cms.string("JetPFCands"),
        nameSV=cms.string("JetSVs"),
        idx_name=cms.string("pFCandsIdx"),
        idx_nameSV=cms.string("sVIdx"),
        jet_radius=cms.double(0.4),
        jets=cms.InputTag(jets),
        candidates=cms.InputTag("nanoforgeCandidates"),
    )
    process.nanoforgePFCandsTask = cms.Task(
        process.nanoforgeJetConstituents,
        process.nanoforgeCandidates,
        process.nanoforgePFCandsTable,
        process.nanoforgeJetPFCandsTable,
    )
    process.schedule.associate(process.nanoforgePFCandsTask)
    return process


def addCaloHits(process: Any, tier: str = "aod", parents: Sequence[str] = ()) -> Any:
    """Add ``EcalHit`` and ``HcalHit`` as the embedded chain has them; of AOD, ``CaloTrack`` and seeds of ``Jet`` too.

    Parameters
    ----------
    process
        One that makes NanoAOD.
    tier
        "aod": of the files ``parents``, of which the input was made; "mini": what ``reducedEgamma`` keeps, see
        :data:`.tiers.MINI_KEEPS`.
    parents
        Files with AOD(SIM).
    """
    sources = CALO_HITS[tier]
    made = {
        "ecalHitTable": cms.EDProducer("EcalHitTableProducer", src=cms.VInputTag(*sources["EcalHit"])),
        "hcalHitTable": cms.EDProducer("HcalHitTableProducer", src=cms.InputTag(sources["HcalHit"])),
    }
    if tier == "aod":
        made["caloTrackTable"] = cms.EDProducer("TrackAtCaloTableProducer", src=cms.InputTag(sources["CaloTrack"]))
        made["caloSeedTable"] = cms.EDProducer(
            "CaloSeedTableProducer", src=cms.InputTag(_jets(process)), hits=cms.InputTag(sources["HcalHit"])
        )
    if parents:
        process.source.secondaryFileNames = cms.untracked.vstring(*parents)
    for name, module in made.items():
        setattr(process, name, module)
    process.caloHitTask = cms.Task(*(getattr(process, name) for name in made))
    process.schedule.associate(process.caloHitTask)
    return process


JET_TABLES = {
    "nanoforgePFCandsTable": "PFCands",
    "nanoforgeJetPFCandsTable:JetPFCands": "JetPFCands",
    "nanoforgeJetPFCandsTable:JetSVs": "JetSVs",
}
"""The tables of :func:`addPFCands`, tag and name."""
_CANDIDATE: dict[str, tuple[str, type, str]] = {
    "d0": ("?hasTrackDetails()?dxy():-1", float, "pf d0 wrt PV, in cm"),
    "d0Err": ("?hasTrackDetails()?dxyError():-1", float, "pf d0 error, in cm"),
    "dz": ("?hasTrackDetails()?dz():-1", float, "pf dz wrt PV, in cm"),
    "dzErr": ("?hasTrackDetails()?dzError():-1", float, "pf dz error, in cm"),
    "puppiWeight": ("puppiWeight()", float, "Puppi weight"),
    "pvAssocQuality": ("pvAssociationQuality()", int, "association with the PV: 7 used in fit, 0 other vertex"),
}
"""The columns of the embedded chain's ``PFCands`` that MiniAOD has, beside the kinematics."""


def _jets(process: Any) -> str:
    """Return the collection behind the table ``Jet``: its indices are those of ``JetPFCands_jetIdx``."""
    makers = {table.tag for table in tables(process) if table.name == "Jet" and not table.extension}
    for tag in makers & set(process.producers_()):
        return str(process.producers_()[tag].src.value())
    raise ValueError("this process makes no table Jet: call addPFCands on one that makes NanoAOD")
