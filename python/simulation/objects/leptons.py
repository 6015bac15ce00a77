"""Electrons, muons and photons from candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..detector.candidates import Candidates
from ..flat import count, offsets_of
from .isolation import Sums, Surroundings
from .matching import GenTruth
from .secondary import significance


@dataclass(frozen=True)
class ObjectSelection:
    """What becomes an object, as NanoAOD keeps it, and how its identification works.

    The efficiencies of the working points are for real leptons and for hadrons taken for one: muons as in CMS,
    arXiv:1804.04528 (medium 99 %, tight 96 to 98 %), electrons and photons as in arXiv:2012.06888 (cut-based veto,
    loose, medium, tight 95, 90, 80, 70 %; 90 and 80 % for the two MVA points); those for hadrons and the effective area
    are chosen. rho is what pileup and the underlying event add in a cone.
    """

    muon_pt: float = 3.0
    electron_pt: float = 5.0
    photon_pt: float = 10.0
    max_eta: float = 2.5
    muon_points: tuple[tuple[float, float], ...] = ((0.99, 0.6), (0.97, 0.3), (0.98, 0.4))  # medium, tight, soft
    electron_points: tuple[tuple[float, float], ...] = ((0.95, 0.3), (0.90, 0.15), (0.80, 0.07), (0.70, 0.04))
    electron_mva: tuple[tuple[float, float], ...] = ((0.95, 0.30), (0.90, 0.10), (0.80, 0.04))  # loose, WP90, WP80
    photon_points: tuple[tuple[float, float], ...] = ((0.90, 0.35), (0.80, 0.2), (0.70, 0.12))
    photon_mva: tuple[tuple[float, float], ...] = ((0.90, 0.30), (0.80, 0.15))  # WP90, WP80
    area: float = 0.15  # effective, for Delta R < 0.3
    tight_dxy: float = 0.2  # cm, muons
    tight_dz: float = 0.5


SELECTION = ObjectSelection()
_ISOLATION_POINTS = (0.40, 0.25, 0.20, 0.15, 0.10, 0.05)  # PF isolation of muons, very loose to very very tight
ECAL_BARREL = 1.4442
MASSES = {"Muon": 0.105658, "Electron": 0.000511, "Photon": 0.0}  # GeV


@dataclass(frozen=True)
class Objects:
    """One kind of object: ``offsets`` (n + 1,), each one's ``candidate``, and NanoAOD's columns, flat."""

    offsets: np.ndarray
    candidate: np.ndarray
    columns: dict[str, np.ndarray]

    @property
    def event(self) -> np.ndarray:
        """The event number of each object."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def points(real: np.ndarray, efficiencies: tuple[tuple[float, float], ...], chance: np.ndarray) -> np.ndarray:
    """How many nested working points each object passes; ``chance`` is uniform, (objects,)."""
    table = np.asarray(efficiencies).T
    return (chance[:, None] < np.where(real[:, None], table[0], table[1])).sum(axis=1)


def _select(candidates: Candidates, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, events and offsets of the chosen candidates."""
    at = np.flatnonzero(chosen & (np.abs(candidates.eta) < SELECTION.max_eta))
    event = candidates.event[at]
    return at, event, offsets_of(count(event, len(candidates.offsets) - 1))


def _track(candidates: Candidates, at: np.ndarray) -> dict[str, np.ndarray]:
    """Kinematics and impact parameters of charged objects."""
    return {
        "pt": candidates.pt[at], "eta": candidates.eta[at], "phi": candidates.phi[at], "charge": candidates.charge[at],
        "pdgId": candidates.pdgId[at], "dxy": candidates.dxy[at], "dz": candidates.dz[at],
        "dxyErr": candidates.dxyErr[at], "dzErr": candidates.dzErr[at],
        "ip3d": np.hypot(candidates.dxy[at], candidates.dz[at]), "sip3d": significance(candidates, at),
    }  # fmt: skip


def _gen(
    truth: GenTruth, candidates: Candidates, at: np.ndarray, event: np.ndarray, pdg: tuple[int, ...]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return genPartIdx and genPartFlav of charged leptons, and whether each is one in truth."""
    row = truth.find(event, candidates.genIdx[at])
    real = np.isin(np.abs(truth.pdg[row]), pdg) & (row >= 0) if len(truth.pdg) else np.zeros(len(at), np.bool_)
    row = np.where(real, row, -1)
    return {"genPartIdx": truth.index(row), "genPartFlav": truth.flavour(row)}, real


def _delta_beta(sums: Sums, pt: np.ndarray) -> np.ndarray:
    return (sums.charged + np.maximum(sums.neutral - 0.5 * sums.pileup, 0)) / pt


def _with_area(sums: Sums, pt: np.ndarray, rho: np.ndarray) -> np.ndarray:
    return (sums.charged + np.maximum(sums.neutral - SELECTION.area * rho, 0)) / pt


def mini_cone(pt: np.ndarray) -> np.ndarray:
    """Return the cone of the mini isolation, 10 GeV / pt within [0.05, 0.2] (JHEP 03 (2011) 059)."""
    return np.clip(10 / pt, 0.05, 0.2)


def muons(nearby: Surroundings, truth: GenTruth, rho: np.ndarray, rng: np.random.Generator) -> Objects:
    """Muons above 3 GeV."""
    candidates = nearby.candidates
    at, event, offsets = _select(candidates, (np.abs(candidates.pdgId) == 13) & (candidates.pt > SELECTION.muon_pt))
    columns = _track(candidates, at)
    pt, eta, phi = columns["pt"], columns["eta"], columns["phi"]
    narrow, wide, mini = (nearby.sum(event, eta, phi, at, cone) for cone in (0.3, 0.4, mini_cone(pt)))
    columns |= {
        "ptErr": candidates.ptErr[at], "mass": np.full(len(at), MASSES["Muon"]),
        "pfRelIso03_chg": narrow.charged / pt, "pfRelIso03_all": _delta_beta(narrow, pt),
        "pfRelIso04_all": _delta_beta(wide, pt), "tkRelIso": narrow.charged / pt,
        "miniPFRelIso_chg": mini.charged / pt, "miniPFRelIso_all": _with_area(mini, pt, rho[event]),
    }  # fmt: skip
    matched, real = _gen(truth, candidates, at, event, (13,))
    chance = rng.random((3, len(at)))
    medium, tight, soft = (points(real, (point,), c) > 0 for point, c in zip(SELECTION.muon_points, chance[[0, 0, 1]]))
    near = (np.abs(columns["dxy"]) < SELECTION.tight_dxy) & (np.abs(columns["dz"]) < SELECTION.tight_dz)
    yes = np.ones(len(at), np.bool_)
    isolation = (columns["pfRelIso04_all"][:, None] < np.asarray(_ISOLATION_POINTS)).sum(axis=1)
    columns |= {
        "looseId": yes, "mediumId": medium, "mediumPromptId": medium & near & (np.abs(columns["dxy"]) < 0.02),
        "tightId": tight & near, "softId": soft, "isGlobal": (pt > 5) | medium, "isTracker": yes, "isPFcand": yes,
        "highPtId": np.where(tight & near, 2, medium.astype(np.uint8)), "pfIsoId": isolation,
        "nStations": 2 + (chance[2] < 0.8), "nTrackerLayers": np.where(np.abs(eta) < 1.5, 14, 12),
        "tightCharge": np.where(columns["ptErr"] / pt < 0.2, 2, 0), **matched,
    }  # fmt: skip
    return Objects(offsets, at, columns)


def electrons(nearby: Surroundings, truth: GenTruth, rho: np.ndarray, rng: np.random.Generator) -> Objects:
    """Electrons above 5 GeV."""
    candidates = nearby.candidates
    at, event, offsets = _select(candidates, (np.abs(candidates.pdgId) == 11) & (candidates.pt > SELECTION.electron_pt))
    columns = _track(candidates, at)
    pt, eta, phi = columns["pt"], columns["eta"], columns["phi"]
    veto = 0.08  # photons of bremsstrahlung
    narrow, wide, mini = (nearby.sum(event, eta, phi, at, cone, veto) for cone in (0.3, 0.4, mini_cone(pt)))
    columns |= {
        "energyErr": candidates.ptErr[at] * np.cosh(eta), "mass": np.full(len(at), MASSES["Electron"]),
        "pfRelIso03_chg": narrow.charged / pt, "pfRelIso03_all": _with_area(narrow, pt, rho[event]),
        "pfRelIso04_all": _with_area(wide, pt, rho[event] * (0.4 / 0.3) ** 2),
        "miniPFRelIso_chg": mini.charged / pt, "miniPFRelIso_all": _with_area(mini, pt, rho[event]),
        "deltaEtaSC": candidates.etaCalo[at] - eta,
    }  # fmt: skip
    matched, real = _gen(truth, candidates, at, event, (11,))
    columns |= _electron_id(columns, real, rng) | matched
    return Objects(offsets, at, columns)


def _electron_id(columns: dict[str, np.ndarray], real: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Working points and shower shapes of electrons; shapes are typical ones, real and fake."""
    chance, noise = rng.random((2, len(real))), rng.standard_normal((3, len(real)))
    mva = points(real, SELECTION.electron_mva, chance[1])
    isolated = columns["pfRelIso03_all"] < 0.15
    barrel = np.abs(columns["eta"]) < ECAL_BARREL
    return {
        "cutBased": np.where(isolated, points(real, SELECTION.electron_points, chance[0]), 0),
        "mvaNoIso_WP90": mva > 1, "mvaNoIso_WP80": mva > 2, "mvaIso_WP90": (mva > 1) & isolated,
        "mvaIso_WP80": (mva > 2) & isolated, "mvaNoIso": np.where(real, 1, -1) * (1 - 2 * chance[1] ** 2),
        "mvaIso": np.where(real & isolated, 1, -1) * (1 - 2 * chance[1] ** 2),
        "convVeto": chance[0] < np.where(real, 0.98, 0.8), "lostHits": chance[1] > np.where(real, 0.95, 0.8),
        **_shapes(real, barrel, noise), "isPFcand": np.ones(len(real), np.bool_), "tightCharge": 2 * (chance[0] < 0.98),
    }  # fmt: skip


def _shapes(real: np.ndarray, barrel: np.ndarray, noise: np.ndarray) -> dict[str, np.ndarray]:
    """H/E, sigma(i eta, i eta) and R9 (chosen, cf. CMS, arXiv:2012.06888), narrower for real showers."""
    width = np.where(barrel, 0.010, 0.027) * np.where(real, 1.0, 1.15)
    return {
        "hoe": np.abs(noise[0]) * np.where(real, 0.015, 0.10),
        "sieie": width * (1 + np.where(real, 0.06, 0.15) * noise[1]),
        "r9": np.clip(np.where(real, 0.93, 0.80) + np.where(real, 0.05, 0.12) * noise[2], 0.2, 1.05),
    }


def photons(
    nearby: Surroundings, truth: GenTruth, rho: np.ndarray, electron: Objects, rng: np.random.Generator
) -> Objects:
    """Photons above 10 GeV, and the showers of electrons, which fail the electron veto."""
    candidates = nearby.candidates
    kind = np.abs(candidates.pdgId)
    shower = np.zeros(len(kind), np.bool_)
    shower[electron.candidate] = True
    at, event, offsets = _select(candidates, ((kind == 22) | shower) & (candidates.pt > SELECTION.photon_pt))
    pt, eta, phi = candidates.pt[at], candidates.eta[at], candidates.phi[at]
    sums = nearby.sum(event, eta, phi, at, 0.3, veto=0.03)
    columns = {
        "pt": pt, "eta": eta, "phi": phi, "energyErr": candidates.ptErr[at] * np.cosh(eta),
        "pfRelIso03_chg": sums.charged / pt, "pfRelIso03_all": _with_area(sums, pt, rho[event]),
    }  # fmt: skip
    row = truth.find(event, candidates.genIdx[at])
    kind_of = np.abs(truth.pdg[row]) if len(truth.pdg) else np.zeros(len(at), np.int64)
    prompt = (row >= 0) & ((truth.flags[row] & PROMPT_OR_TAU) != 0) if len(truth.pdg) else row >= 0
    real = prompt & ((kind_of == 22) | (kind_of == 11))
    columns["genPartIdx"] = truth.index(np.where(real, row, -1))
    columns["genPartFlav"] = np.where(real, np.where(kind_of == 22, 1, 13), 0)
    chance, noise = rng.random(len(at)), rng.standard_normal((3, len(at)))
    mva, isolated = points(real, SELECTION.photon_mva, chance), columns["pfRelIso03_all"] < 0.15
    barrel = np.abs(eta) < ECAL_BARREL
    veto = ~shower[at] | (chance > 0.98)
    columns |= {
        "cutBased": np.where(isolated, points(real, SELECTION.photon_points, chance), 0), "mvaID_WP90": mva > 0,
        "mvaID_WP80": mva > 1, "mvaID": np.where(real, 1, -1) * (1 - 2 * chance**2), "electronVeto": veto,
        "pixelSeed": ~veto, "isScEtaEB": barrel, "isScEtaEE": (np.abs(eta) > 1.566) & (np.abs(eta) < SELECTION.max_eta),
        **_shapes(real, barrel, noise), "electronIdx": _same(at, electron),
    }  # fmt: skip
    return Objects(offsets, at, columns)


PROMPT_OR_TAU = (1 << 0) | (1 << 3)  # isPrompt or isPromptTauDecayProduct


def _same(at: np.ndarray, other: Objects) -> np.ndarray:
    """Return the index in its event of the other object from the same candidate, -1 for none."""
    if len(other.candidate) == 0:
        return np.full(len(at), -1)
    local = np.arange(len(other.candidate)) - other.offsets[other.event]
    position = np.searchsorted(other.candidate, at).clip(max=len(other.candidate) - 1)
    return np.where(other.candidate[position] == at, local[position], -1)
