"""A stub of NanoAOD: a table of every kind, with the labels, types and parameters of the real ones."""

from __future__ import annotations

import FWCore.ParameterSet.Config as cms
from PhysicsTools.NanoAOD.common_cff import Var


def _table(type: str, name: str, columns: str, src: str = "x", **more: object) -> cms.EDProducer:
    variables = cms.PSet(**{column: Var(column, float) for column in columns.split()})
    return cms.EDProducer(type, name=cms.string(name), src=cms.InputTag(src), variables=variables, **more)


_own, _more = {"extension": cms.bool(False)}, {"extension": cms.bool(True)}
jetPuppiTable = _table("SimplePATJetFlatTableProducer", "Jet", "pt eta phi mass", "linkedObjects:jets", **_own)
jetPuppiTable.externalVariables = cms.PSet(btagPNetB=Var("x", float))
jetTable = _table("SimplePATJetFlatTableProducer", "Jet", "pt eta phi mass", "notScheduled", **_own)
jetMCTable = _table("SimplePATJetFlatTableProducer", "Jet", "hadronFlavour", "linkedObjects:jets", **_more)
metTable = _table("SimplePATMETFlatTableProducer", "MET", "pt phi", **_own)
rhoTable = cms.EDProducer(
    "GlobalVariablesTableProducer", name=cms.string(""), variables=cms.PSet(fixedGridRhoAll=Var("x", float))
)
vertexTable = cms.EDProducer("VertexTableProducer", pvName=cms.string("PV"), svName=cms.string("SV"))
svCandidateTable = _table("SimpleCandidateFlatTableProducer", "SV", "pt eta x", **_more)
muonMCTable = cms.EDProducer("CandMCMatchTableProducer", objName=cms.string("Muon"), branchName=cms.string("genPart"))
genFilterTable = cms.EDProducer("SimpleGenFilterFlatTableProducerLumi", name=cms.string("GenFilter"))
genWeightsTable = cms.EDProducer("GenWeightsTableProducer", genEvent=cms.InputTag("generator"))
_data = (jetPuppiTable, metTable, rhoTable, vertexTable, svCandidateTable)
nanoTableTask = cms.Task(*_data)
nanoTableTaskMC = cms.Task(*_data, jetMCTable, muonMCTable, genFilterTable, genWeightsTable)
nanoSequence = cms.Sequence(nanoTableTask)
nanoSequenceMC = cms.Sequence(nanoTableTaskMC)
