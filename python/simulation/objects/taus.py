"""Hadronic taus by hadrons plus strips, from the candidates of jets; jets make the fakes through the same building."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compiled import jit
from ..detector.candidates import OTHER_VERTEX, Candidates
from ..flat import delta_r2, offsets_of
from .calibration import TAU_POINTS, TAU_WEIGHTS
from .isolation import Surroundings
from .jets import Clusters
from .leptons import Objects, points
from .matching import GenTruth


@dataclass(frozen=True)
class Builder:
    """Hadrons plus strips: CMS, arXiv:1809.02816 (GeV).

    Charged candidates above 0.5, strips of photons and electrons within 0.05 x 0.2 above 2.5; signal cone 3 GeV / pt
    within [0.05, 0.1]; windows of the mass for each decay mode, of which those with one prong grow with the root of pt;
    isolation in a cone of 0.5. NanoAOD keeps taus above 18 GeV.
    """

    min_pt: float = 18.0
    max_eta: float = 2.5
    charged_pt: float = 0.5
    strip_pt: float = 2.5
    strip_eta: float = 0.05
    strip_phi: float = 0.2
    cone: float = 3.0
    isolation: float = 0.5
    gen_cone: float = 0.2
    loosest: float = 0.05  # share of jets' score below which NanoAOD drops a tau


BUILDER = Builder()
_CHARGED, _STRIPS = 5, 3  # leading ones that are combined
ONE_PRONG, THREE_PRONG = 0, 10  # decay modes; one more for each strip


@jit
def _window(prongs: int, strips: int, mass: float, pt: float) -> bool:
    """Whether the mass is right for the decay mode."""
    growth = np.sqrt(pt / 100.0)
    if prongs == 3:
        return 0.9 < mass < 1.6 if strips else 0.8 < mass < 1.5
    if strips == 0:
        return True
    if strips == 1:
        return 0.3 < mass < min(max(1.3 * growth, 1.3), 4.2)
    return 0.4 < mass < min(max(1.2 * growth, 1.2), 4.0)


@jit
def _strips(
    members: np.ndarray, p: np.ndarray, eta: np.ndarray, phi: np.ndarray, soft: np.ndarray, half_eta: float,
    half_phi: float, least: float,
) -> tuple[np.ndarray, int]:  # fmt: skip
    """Make the strips of a jet's soft candidates: momenta (3, 4), and their number."""
    out = np.zeros((_STRIPS, 4))
    owner = np.full(len(members), -1, np.int64)
    number = 0
    for seed in range(len(members)):
        if number == _STRIPS:
            break
        if not soft[members[seed]] or owner[seed] >= 0:
            continue
        s = members[seed]
        total = np.zeros(4)
        for k in range(seed, len(members)):
            c = members[k]
            near = (
                abs(eta[c] - eta[s]) < half_eta
                and abs(np.arctan2(np.sin(phi[c] - phi[s]), np.cos(phi[c] - phi[s]))) < half_phi
            )
            if soft[c] and owner[k] < 0 and near:
                total += p[c]
                owner[k] = number
        if np.hypot(total[0], total[1]) > least:
            out[number] = total
            number += 1
        else:
            for k in range(len(members)):
                if owner[k] == number:
                    owner[k] = -2
    return out, number


@jit
def _in_cone(total: np.ndarray, part: np.ndarray, cone: float) -> bool:
    pt = np.hypot(total[0], total[1])
    size = min(max(cone / pt, 0.05), 0.1)
    eta, phi = np.arcsinh(total[2] / pt), np.arctan2(total[1], total[0])
    part_pt = np.hypot(part[0], part[1])
    return delta_r2(eta, phi, np.arcsinh(part[2] / part_pt), np.arctan2(part[1], part[0])) < size**2


@jit
def _try(
    p: np.ndarray, tracks: np.ndarray, strips: np.ndarray, use: int, cone: float, charge: np.ndarray
) -> tuple[np.ndarray, bool]:  # fmt: skip
    """Add up tracks and the first ``use`` strips; whether that is a tau: charge, cone and mass."""
    total = np.zeros(4)
    sign = 0
    for t in tracks:
        total += p[t]
        sign += charge[t]
    for s in range(use):
        total += strips[s]
    if abs(sign) != 1:
        return total, False
    for t in tracks:
        if not _in_cone(total, p[t], cone):
            return total, False
    for s in range(use):
        if not _in_cone(total, strips[s], cone) and not _in_cone(total, strips[s], 2 * cone):
            return total, False
    mass = np.sqrt(max(total[3] ** 2 - total[0] ** 2 - total[1] ** 2 - total[2] ** 2, 0.0))
    return total, _window(len(tracks), use, mass, np.hypot(total[0], total[1]))


@jit
def _best(
    p: np.ndarray, hard: np.ndarray, strips: np.ndarray, number: int, cone: float, charge: np.ndarray
) -> tuple[np.ndarray, int, np.ndarray]:
    """Return the hypothesis of the highest pt: momentum, decay mode (-1 for none), tracks (3, -1 beyond them)."""
    best, mode, used = np.zeros(4), -1, np.full(3, -1, np.int64)
    most = 0.0
    n = len(hard)
    for use in range(number + 1):
        if use < 3 and n > 0:
            total, good = _try(p, hard[:1], strips, use, cone, charge)
            if good and np.hypot(total[0], total[1]) > most:
                best, mode, most = total, ONE_PRONG + use, np.hypot(total[0], total[1])
                used[:] = np.array([hard[0], -1, -1])
        if use > 1:
            continue
        for i in range(1, n):
            for j in range(i + 1, n):
                three = np.array([hard[0], hard[i], hard[j]])
                total, good = _try(p, three, strips, use, cone, charge)
                if good and np.hypot(total[0], total[1]) > most:
                    best, mode, most = total, THREE_PRONG + use, np.hypot(total[0], total[1])
                    used[:] = three
    return best, mode, used


@jit
def _build(
    bounds: np.ndarray, members: np.ndarray, p: np.ndarray, eta: np.ndarray, phi: np.ndarray, hard: np.ndarray,
    soft: np.ndarray, charge: np.ndarray, shape: tuple[float, float, float, float],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Find the tau of each jet: momentum (jets, 4), decay mode or -1, tracks (jets, 3), pt of its strips."""
    jets = len(bounds) - 1
    momentum, mode = np.zeros((jets, 4)), np.full(jets, -1, np.int64)
    tracks, neutral = np.full((jets, 3), -1, np.int64), np.zeros(jets)
    for jet in range(jets):
        constituents = members[bounds[jet] : bounds[jet + 1]]
        prongs = constituents[hard[constituents]][:_CHARGED]
        if len(prongs) == 0:
            continue
        strips, number = _strips(constituents, p, eta, phi, soft, shape[1], shape[2], shape[3])
        momentum[jet], mode[jet], tracks[jet] = _best(p, prongs, strips, number, shape[0], charge)
        for s in range(mode[jet] % 10 if mode[jet] >= 0 else 0):
            neutral[jet] += np.hypot(strips[s, 0], strips[s, 1])
    return momentum, mode, tracks, neutral


def build(
    clusters: Clusters, nearby: Surroundings, p: dict[str, np.ndarray], truth: GenTruth,
    gen: tuple[np.ndarray, np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> Objects:  # fmt: skip
    """Build the taus of all jets. ``p``: the candidates' momenta; ``gen``: offsets, eta, phi of visible taus."""
    candidates = nearby.candidates
    near = candidates.pvAssocQuality > OTHER_VERTEX
    hard = (candidates.charge != 0) & (candidates.pt > BUILDER.charged_pt) & near
    soft = (np.abs(candidates.pdgId) == 22) & (candidates.pt > BUILDER.charged_pt)
    # an event's candidates are in the order of pt, so that their positions sort a jet's
    members = clusters.candidate[np.argsort(clusters.jet * len(candidates.pt) + clusters.candidate)]
    bounds = np.searchsorted(clusters.jet, np.arange(len(clusters.px) + 1))
    shape = (BUILDER.cone, BUILDER.strip_eta, BUILDER.strip_phi, BUILDER.strip_pt)
    momentum, mode, tracks, neutral = _build(
        bounds,
        members,
        np.stack(list(p.values()), axis=1),
        candidates.eta,
        candidates.phi,
        hard,
        soft,
        candidates.charge,
        shape,
    )
    pt = np.hypot(momentum[:, 0], momentum[:, 1])
    eta = np.arcsinh(momentum[:, 2] / np.maximum(pt, 1e-9))
    made = np.flatnonzero((mode >= 0) & (pt > BUILDER.min_pt) & (np.abs(eta) < BUILDER.max_eta))
    columns = _columns(clusters, nearby, made, momentum[made], mode[made], tracks[made], neutral[made])
    event = clusters.event[made]
    columns |= _truth(candidates, truth, gen, event, columns, tracks[made, 0])
    columns |= _scores(columns, rng)
    keep = columns["rawDeepTau2018v2p5VSjet"] > BUILDER.loosest
    order = np.flatnonzero(keep)
    order = order[np.lexsort([-columns["pt"][order], event[order]])]
    offsets = offsets_of(np.bincount(event[order], minlength=len(clusters.offsets) - 1))
    return Objects(offsets, tracks[made, 0][order], {name: column[order] for name, column in columns.items()})


def _columns(
    clusters: Clusters, nearby: Surroundings, made: np.ndarray, p: np.ndarray, mode: np.ndarray, tracks: np.ndarray,
    neutral: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Kinematics, leading track and isolation of taus."""
    candidates, event, lead = nearby.candidates, clusters.event[made], tracks[:, 0]
    pt = np.hypot(p[:, 0], p[:, 1])
    eta, phi = np.arcsinh(p[:, 2] / np.maximum(pt, 1e-9)), np.arctan2(p[:, 1], p[:, 0])
    sums = nearby.sum(event, eta, phi, np.full(len(made), -1), BUILDER.isolation, veto=0.0)
    hadron = np.abs(candidates.pdgId[np.maximum(tracks, 0)]) == 211
    track_pt = np.where((tracks >= 0) & hadron, candidates.pt[np.maximum(tracks, 0)], 0).sum(axis=1)
    charged = np.maximum(sums.charged - track_pt, 0)
    photon = np.maximum(sums.values[:, 2] - neutral, 0)
    raw = charged + np.maximum(photon - 0.2 * sums.pileup, 0)
    return {
        "pt": pt, "eta": eta, "phi": phi, "mass": np.sqrt(np.maximum(p[:, 3] ** 2 - (p[:, :3] ** 2).sum(axis=1), 0)),
        "charge": (candidates.charge[np.maximum(tracks, 0)] * (tracks >= 0)).sum(axis=1), "decayMode": mode,
        "dxy": candidates.dxy[lead], "dz": candidates.dz[lead], "leadTkDeltaEta": candidates.eta[lead] - eta,
        "leadTkDeltaPhi": (candidates.phi[lead] - phi + np.pi) % (2 * np.pi) - np.pi,
        "leadTkPtOverTauPt": candidates.pt[lead] / np.maximum(pt, 1e-9), "chargedIso": charged, "neutralIso": photon,
        "rawIso": raw, "puCorr": 0.2 * sums.pileup, "photonsOutsideSignalCone": photon,
        "jetIdx": made - clusters.offsets[event], "jetPt": clusters.pt[made], "leadPdg": np.abs(candidates.pdgId[lead]),
        "idDecayModeNewDMs": np.ones(len(made), np.bool_), "idDecayModeOldDMs": mode < THREE_PRONG + 1,
    }  # fmt: skip


def _truth(
    candidates: Candidates, truth: GenTruth, gen: tuple[np.ndarray, np.ndarray, np.ndarray], event: np.ndarray,
    columns: dict[str, np.ndarray], lead: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return genPartFlav and genPartIdx: 5 and the index in GenVisTau for hadronic taus, 1 to 4 for leptons, else 0."""
    index = _nearest_in(event, columns["eta"], columns["phi"], gen, BUILDER.gen_cone)
    row = truth.find(event, candidates.genIdx[lead])
    flavour, pdg = np.zeros(len(event), np.uint8), np.zeros(len(event), np.int64)
    if len(truth.pdg):
        pdg, flavour = np.where(row >= 0, np.abs(truth.pdg[row]), 0), truth.flavour(row)
    lepton = np.isin(pdg, (11, 13)) & np.isin(flavour, (1, 15))
    kind = np.where(pdg == 11, 1, 2) + 2 * (flavour == 15)
    hadronic = index >= 0
    return {
        "genPartFlav": np.where(hadronic, 5, np.where(lepton, kind, 0)),
        "genPartIdx": np.where(hadronic, index, np.where(lepton, truth.index(row), -1)),
    }


@jit
def _nearest_in(
    event: np.ndarray, eta: np.ndarray, phi: np.ndarray, gen: tuple[np.ndarray, np.ndarray, np.ndarray], cone: float
) -> np.ndarray:
    """Return the index of the nearest visible tau within the cone, -1 for none."""
    to, to_eta, to_phi = gen
    out = np.full(len(event), -1, np.int64)
    for i in range(len(event)):
        best = cone**2
        for b in range(to[event[i]], to[event[i] + 1]):
            d2 = delta_r2(eta[i], phi[i], to_eta[b], to_phi[b])
            if d2 < best:
                best, out[i] = d2, b - to[event[i]]
    return out


# Working points against electrons and muons: efficiency of taus, of which CMS's are those of arXiv:2201.08458, and of
# leptons (chosen). Those against jets have 98, 95, 90, 80, 70, 60, 50 and 40 % of the taus, VVVLoose to
# VVTight.
LEPTON_POINTS = {
    "e": (
        (0.995, 0.3),
        (0.99, 0.2),
        (0.98, 0.1),
        (0.95, 0.05),
        (0.90, 0.02),
        (0.80, 0.01),
        (0.70, 0.005),
        (0.60, 0.002),
    ),
    "mu": ((0.999, 0.05), (0.998, 0.02), (0.995, 0.01), (0.99, 0.005)),
}

LEPTON_FLAVOURS = {"e": (1, 3), "mu": (2, 4)}  # genPartFlav: prompt, from tau decays


def jet_features(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return what the score against jets is made of, (taus, F): isolation, shares of track and tau, prongs, pt."""
    pt = np.maximum(columns["pt"], 1e-9)
    return np.stack([
        np.sqrt(columns["chargedIso"] / pt), np.sqrt(np.maximum(columns["rawIso"] - columns["chargedIso"], 0) / pt),
        columns["leadTkPtOverTauPt"], np.minimum(pt / np.maximum(columns["jetPt"], 1e-9), 1.2),
        (columns["decayMode"] >= THREE_PRONG).astype(np.float64), np.log(pt / 40.0),
    ], axis=1)  # fmt: skip


def _scores(columns: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """DeepTau-like scores and the number of working points passed, against jets, electrons and muons."""
    logit = TAU_WEIGHTS[0] + jet_features(columns) @ np.asarray(TAU_WEIGHTS[1:])
    jet = 1 / (1 + np.exp(-logit))
    chance = rng.random((2, len(jet)))
    out = {
        "rawDeepTau2018v2p5VSjet": jet,
        "idDeepTau2018v2p5VSjet": (jet[:, None] > np.asarray(TAU_POINTS)).sum(axis=1),
    }
    for k, (name, pdg) in enumerate((("e", 11), ("mu", 13))):
        lepton = (columns["leadPdg"] == pdg) | np.isin(columns["genPartFlav"], LEPTON_FLAVOURS[name])
        passed = points(~lepton, LEPTON_POINTS[name], chance[k])
        out[f"idDeepTau2018v2p5VS{name}"] = passed
        out[f"rawDeepTau2018v2p5VS{name}"] = 1 / (1 + np.exp(-np.where(lepton, -2, 2) * (2 - 3 * chance[k])))
    return out
