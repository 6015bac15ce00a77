"""Reconstruction: NanoAOD's collections from particle-flow candidates.

Jets, missing momentum, isolation, taus, secondary vertices and tags are built from the candidates, so that they share
their fluctuations and their pileup; the generator's truth only fills the branches that CMS fills from it, and stands in
where a real detector would decide by something that is not simulated (lepton identification, which tracks share a
vertex).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from ..detector.candidates import Candidates
from ..flat import counts, flat, offsets_of, records
from . import jets, leptons, met, secondary, substructure, tagging, taus
from .branches import COLLECTIONS, DOCS, SCALARS
from .isolation import Surroundings
from .jets import Clusters
from .leptons import Objects
from .matching import GenTruth
from .tagging import scores

if TYPE_CHECKING:
    from ..generator.pythia import GenBlock

__all__ = ["DOCS", "reconstruct"]

AK4, AK8 = 0.4, 0.8
JET_PT, FAT_JET_PT = 15.0, 170.0  # GeV


@dataclass(frozen=True)
class Leptons:
    """All objects beside jets."""

    muon: Objects
    electron: Objects
    photon: Objects
    tau: Objects


def reconstruct(
    block: GenBlock, gen: dict[str, Any], candidates: Candidates, rng: np.random.Generator
) -> dict[str, Any]:
    """Build all collections of a block of events.

    Parameters
    ----------
    block
        The generated events.
    gen
        The generator's tables: ``GenPart``, ``gen_index``, ``GenJet``, ``GenJetAK8``, ``GenVisTau``.
    candidates
        What the detector saw of the block.
    rng
        Source of the random numbers; the same state gives the same objects.

    Returns
    -------
    dict[str, Any]
        Collection -> records of each event, branch without a collection -> (n,) array; NanoAOD's names and types.

    """
    momenta, rho, truth = jets.momenta(candidates), jets.density(candidates), GenTruth.of(gen)
    nearby, clusters = Surroundings.of(candidates), jets.cluster(candidates, momenta, AK4, JET_PT)
    vertices = secondary.find(candidates, rng)
    objects = _objects(clusters, nearby, momenta, truth, gen, rho, rng)
    inside = jets.jet_of_candidates(clusters, len(candidates.pt))
    out = {
        "SV": _table("SV", vertices.offsets, vertices.columns),
        "Jet": _jets(clusters, nearby, vertices, objects, inside, gen),
        "PFCands": _candidates(candidates),
        "JetPFCands": _links(clusters, candidates),
    }
    out |= _with_jets(objects, clusters, inside)
    out |= _fat_jets(candidates, momenta, gen)
    scalars = _vertices(candidates) | met.table(candidates, momenta, clusters) | {"fixedGridRhoFastjetAll": rho}
    out["OtherPV"] = _other_vertices(candidates)
    return out | {name: scalars[name].astype(kind) for name, (kind, _) in SCALARS.items()}


def _table(collection: str, offsets: np.ndarray, columns: dict[str, np.ndarray]) -> ak.Array:
    """Return the columns of a collection that NanoAOD has, with its types."""
    kinds = COLLECTIONS[collection]
    return records(offsets, {name: columns[name].astype(kind) for name, (kind, _) in kinds.items()})


def _objects(
    clusters: Clusters,
    nearby: Surroundings,
    p: dict[str, np.ndarray],
    truth: GenTruth,
    gen: dict[str, Any],
    rho: np.ndarray,
    rng: np.random.Generator,
) -> Leptons:
    visible = gen["GenVisTau"]
    eta, phi = (flat(visible, name).astype(np.float64) for name in ("eta", "phi"))
    electron = leptons.electrons(nearby, truth, rho, rng)
    return Leptons(
        muon=leptons.muons(nearby, truth, rho, rng), electron=electron,
        photon=leptons.photons(nearby, truth, rho, electron, rng),
        tau=taus.build(clusters, nearby, p, truth, (offsets_of(counts(visible)), eta, phi), rng),
    )  # fmt: skip


def _jets(
    clusters: Clusters, nearby: Surroundings, vertices: secondary.Secondary, objects: Leptons, inside: np.ndarray,
    gen: dict[str, Any],
) -> ak.Array:  # fmt: skip
    candidates = nearby.candidates
    columns = jets.kinematics(clusters, np.pi * AK4**2) | jets.composition(clusters, candidates)
    columns["jetId"] = jets.identification(columns)
    columns["genJetIdx"], columns["hadronFlavour"], columns["partonFlavour"] = jets.truth(clusters, gen["GenJet"], AK4)
    size = len(clusters.px)
    for name, kind in (("electron", objects.electron), ("muon", objects.muon)):
        first, second, number = jets.first_two(clusters.offsets, inside[kind.candidate], kind.event, size)
        columns |= {f"{name}Idx1": first, f"{name}Idx2": second, f"n{name.title()}s": number}
    seen = tagging.inputs(clusters, candidates, vertices)
    columns |= {"svIdx1": seen.first, "svIdx2": seen.second, "nSVs": seen.vertices}
    columns |= scores(seen, columns["pt"], columns["eta"])
    sums = nearby.sum(clusters.event, clusters.eta, clusters.phi, np.full(size, -1), AK4)
    charged = sums.charged + sums.pileup
    columns["puIdDisc"] = np.where(charged > 0, sums.charged / np.maximum(charged, 1e-9), 1)
    columns["muonSubtrFactor"] = _muon_share(clusters, candidates, objects.muon, inside)
    return _table("Jet", clusters.offsets, columns)


def _muon_share(clusters: Clusters, candidates: Candidates, muon: Objects, inside: np.ndarray) -> np.ndarray:
    """One minus the share of the uncorrected pt without muons."""
    in_jet = np.flatnonzero(inside[muon.candidate] >= 0)
    at = muon.candidate[in_jet]
    jet = inside[at] + clusters.offsets[muon.event[in_jet]]
    x, y = (
        np.bincount(jet, weights=candidates.pt[at] * component(candidates.phi[at]), minlength=len(clusters.px))
        for component in (np.cos, np.sin)
    )
    return 1 - np.hypot(clusters.px - x, clusters.py - y) / np.maximum(clusters.pt, 1e-9)


def _with_jets(objects: Leptons, clusters: Clusters, inside: np.ndarray) -> dict[str, ak.Array]:
    """Return the tables of leptons and photons, with the jets that hold their candidates."""
    corrected = clusters.pt * jets.correction(clusters.pt, clusters.eta)
    electron, photon = objects.electron.columns, objects.photon.columns
    out = {}
    for name, kind in (("Muon", objects.muon), ("Electron", objects.electron), ("Photon", objects.photon)):
        index = inside[kind.candidate]
        kind.columns["jetIdx"] = index
        if name != "Photon":
            jet_pt = np.where(
                index >= 0, corrected[(index + clusters.offsets[kind.event]).clip(0)] if len(corrected) else 0, 0
            )
            ratio = jet_pt / np.maximum(kind.columns["pt"], 1e-9) - 1
            kind.columns["jetRelIso"] = np.where(index >= 0, ratio, kind.columns["pfRelIso04_all"])
    electron["photonIdx"] = _back(photon["electronIdx"], objects.photon, objects.electron)
    for name, kind in (
        ("Muon", objects.muon),
        ("Electron", objects.electron),
        ("Photon", objects.photon),
        ("Tau", objects.tau),
    ):
        out[name] = _table(name, kind.offsets, kind.columns)
    return out


def _back(index: np.ndarray, source: Objects, target: Objects) -> np.ndarray:
    """Return the index of the source that points to each target, -1 for none."""
    out = np.full(len(target.candidate), -1)
    has = np.flatnonzero(index >= 0)
    event = source.event[has]
    out[index[has] + target.offsets[event]] = has - source.offsets[event]
    return out


def _fat_jets(candidates: Candidates, momenta: dict[str, np.ndarray], gen: dict[str, Any]) -> dict[str, ak.Array]:
    """AK8 jets with their soft-drop subjets."""
    clusters = jets.cluster(candidates, momenta, AK8, FAT_JET_PT)
    columns = jets.kinematics(clusters, np.pi * AK8**2) | jets.composition(clusters, candidates)
    columns["jetId"] = jets.identification(columns)
    columns["genJetAK8Idx"], columns["hadronFlavour"], _ = jets.truth(clusters, gen["GenJetAK8"], AK8)
    for n, tau in zip(substructure.SUBJETS, substructure.n_subjettiness(clusters, momenta).T):
        columns[f"tau{n}"] = tau
    parts = substructure.soft_drop(clusters, momenta)
    factor = jets.correction(clusters.pt, clusters.eta)
    whole = parts.sum(axis=1)
    columns["msoftdrop"] = factor * np.sqrt(np.maximum(whole[:, 3] ** 2 - (whole[:, :3] ** 2).sum(axis=1), 0))
    has = parts[:, 0, 3] > 0
    number = 2 * np.bincount(clusters.event[has], minlength=len(clusters.offsets) - 1)
    offsets = offsets_of(number)
    first = 2 * (np.cumsum(has) - 1) - offsets[clusters.event]
    columns["subJetIdx1"], columns["subJetIdx2"] = np.where(has, first, -1), np.where(has, first + 1, -1)
    p = parts[has].reshape(-1, 4)
    scale = np.repeat(factor[has], 2)
    pt = np.hypot(p[:, 0], p[:, 1])
    mass = np.sqrt(np.maximum(p[:, 3] ** 2 - (p[:, :3] ** 2).sum(axis=1), 0))
    subjets = {
        "pt": pt * scale, "eta": np.arcsinh(p[:, 2] / np.maximum(pt, 1e-9)), "phi": np.arctan2(p[:, 1], p[:, 0]),
        "mass": mass * scale, "rawFactor": 1 - 1 / scale,
    }  # fmt: skip
    return {"FatJet": _table("FatJet", clusters.offsets, columns), "SubJet": _table("SubJet", offsets, subjets)}


def _candidates(candidates: Candidates) -> ak.Array:
    names = {"d0": "dxy", "d0Err": "dxyErr"}
    columns = {name: getattr(candidates, names.get(name, name)) for name in COLLECTIONS["PFCands"]}
    return _table("PFCands", candidates.offsets, columns)


def _links(clusters: Clusters, candidates: Candidates) -> ak.Array:
    """Which candidates each jet holds."""
    event = clusters.event[clusters.jet]
    columns = {
        "jetIdx": clusters.jet - clusters.offsets[event],
        "pFCandsIdx": clusters.candidate - candidates.offsets[event],
    }
    return _table("JetPFCands", offsets_of(np.bincount(event, minlength=len(clusters.offsets) - 1)), columns)


def _vertices(candidates: Candidates) -> dict[str, np.ndarray]:
    primary = candidates.primary
    position = dict(zip(("PV_x", "PV_y", "PV_z"), primary.measured / 10))
    return position | {
        "PV_ndof": primary.ndof, "PV_chi2": primary.chi2, "PV_score": primary.score,
        "PV_npvs": primary.vertices.clip(max=255), "PV_npvsGood": primary.good.clip(max=255),
    }  # fmt: skip


def _other_vertices(candidates: Candidates) -> ak.Array:
    event, z = candidates.primary.others
    number = np.bincount(event, minlength=len(candidates.offsets) - 1)
    return _table("OtherPV", offsets_of(number), {"z": z / 10})
