"""A stub of the variables of NanoAOD."""

from __future__ import annotations

import FWCore.ParameterSet.Config as cms


def Var(expr: str, kind: type, doc: str = "", precision: int = -1) -> cms.PSet:
    return cms.PSet(expr=cms.string(expr), type=cms.string(kind.__name__), doc=cms.string(doc))


CandVars = cms.PSet(
    **{n: Var(n, float) for n in ("pt", "eta", "phi", "mass")}, **{n: Var(n, int) for n in ("pdgId", "charge")}
)
