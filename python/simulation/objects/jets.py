"""Jets of candidates: anti-kt clusters, energy correction, composition, identification, truth."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import fastjet
import numpy as np

from ...compiled import jit
from ..detector.candidates import Candidates
from ..flat import counts, delta_r2, descending, flat, offsets_of, records, sum_by
from .calibration import RESPONSE

# The energy correction: the mean of reconstructed over generated pt of multijet events, in bins of |eta| at these
# uncorrected pt (GeV), is interpolated in log(pt) and divided out, as CMS's correction by the simulated truth is,
# arXiv:1607.03663.
RESPONSE_PT = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0)
RESPONSE_EDGES = (1.3, 2.5, 3.0)

_KINDS = {"chHEF": 211, "neHEF": 130, "chEmEF": 11, "neEmEF": 22, "muEF": 13, "hfHEF": 1, "hfEmEF": 2}


@dataclass(frozen=True)
class Clusters:
    """Jets, flat and each event's by falling pt: ``offsets`` (n + 1,), momentum in GeV, uncorrected.

    ``jet`` and ``candidate`` are the pairs of a jet and one of its candidates (positions in the flat arrays), by jet.
    """

    offsets: np.ndarray
    px: np.ndarray
    py: np.ndarray
    pz: np.ndarray
    e: np.ndarray
    jet: np.ndarray
    candidate: np.ndarray

    @property
    def pt(self) -> np.ndarray:
        """Transverse momentum (GeV), uncorrected."""
        return np.hypot(self.px, self.py)

    @property
    def eta(self) -> np.ndarray:
        """Pseudorapidity."""
        return np.arcsinh(self.pz / np.maximum(self.pt, 1e-12))

    @property
    def phi(self) -> np.ndarray:
        """Azimuth."""
        return np.arctan2(self.py, self.px)

    @property
    def mass(self) -> np.ndarray:
        """Mass (GeV), uncorrected."""
        return np.sqrt(np.maximum(self.e**2 - self.px**2 - self.py**2 - self.pz**2, 0))

    @property
    def event(self) -> np.ndarray:
        """The event number of each jet."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def momenta(candidates: Candidates) -> dict[str, np.ndarray]:
    """Momenta of the candidates, as fastjet names them."""
    pt, pz = candidates.pt, candidates.pt * np.sinh(candidates.eta)
    px, py = pt * np.cos(candidates.phi), pt * np.sin(candidates.phi)
    return {"px": px, "py": py, "pz": pz, "E": np.sqrt(pt**2 + pz**2 + candidates.mass**2)}


def cluster(candidates: Candidates, p: dict[str, np.ndarray], radius: float, min_pt: float) -> Clusters:
    """Anti-kt jets with at least ``min_pt`` (GeV, corrected) of the candidates times their weights."""
    least = min_pt * LEAST_RESPONSE
    p_t, eta, phi = candidates.pt * candidates.puppiWeight, candidates.eta, candidates.phi
    hopeful = _may_hold(candidates.offsets, p_t, eta, phi, radius, least) if radius > SPARED_RADIUS else None
    weight = candidates.puppiWeight if hopeful is None else candidates.puppiWeight * hopeful[candidates.event]
    used = np.flatnonzero(weight > 0)
    offsets = np.searchsorted(used, candidates.offsets)
    inputs = records(offsets, {name: value[used] * weight[used] for name, value in p.items()}, "Momentum4D")
    sequence = fastjet.ClusterSequence(inputs, fastjet.JetDefinition(fastjet.antikt_algorithm, radius))
    members = sequence.constituent_index(min_pt=least)
    jets, by_jet = counts(members), ak.flatten(members, axis=1)
    jet = np.repeat(np.arange(len(by_jet)), counts(by_jet))
    event = np.repeat(np.arange(len(jets)), jets)
    candidate = used[np.asarray(ak.flatten(by_jet, axis=1)) + offsets[event[jet]]]
    px, py, pz, e = (
        np.bincount(jet, weights=(value * candidates.puppiWeight)[candidate], minlength=len(event))
        for value in p.values()
    )
    clusters = Clusters(offsets_of(jets), px, py, pz, e, jet, candidate)
    return ordered(clusters, np.flatnonzero(clusters.pt * correction(clusters.pt, clusters.eta) > min_pt))


SPARED_RADIUS = 0.5  # small jets are in nearly all events
LEAST_RESPONSE = min(min(row) for row in RESPONSE)
_END = 5.0  # |eta| where grids end


def _grid(candidates: Candidates, rows: int, columns: int) -> np.ndarray:
    """Return the pt in each cell of a grid in eta and phi, (n, rows, columns)."""
    n = len(candidates.offsets) - 1
    row = ((candidates.eta + _END) * (rows / 2 / _END)).astype(np.int64).clip(0, rows - 1)
    column = ((candidates.phi + np.pi) * (columns / 2 / np.pi)).astype(np.int64).clip(0, columns - 1)
    cell = (candidates.event * rows + row) * columns + column
    return sum_by(cell, candidates.pt, n * rows * columns).reshape(n, rows, columns)


@jit
def _may_hold(
    offsets: np.ndarray, pt: np.ndarray, eta: np.ndarray, phi: np.ndarray, radius: float, most: float
) -> np.ndarray:
    """Whether an event has that pt (GeV) in any circle that may hold a jet; this spares many events the large radius.

    The circles' centres are a grid of 0.2, and they are larger than jets by half a cell's diagonal.
    """
    rows, columns, step = 50, 32, 0.2
    reach, turn = radius + step / np.sqrt(2.0), 2 * np.pi / columns
    out = np.zeros(len(offsets) - 1, np.bool_)
    total = np.empty((rows + 1, columns))
    for i in range(len(out)):
        total[:] = 0
        for c in range(offsets[i], offsets[i + 1]):
            x, y = (eta[c] + rows * step / 2) / step, (phi[c] + np.pi) / turn
            for row in range(max(int(np.ceil(x - reach / step)), 0), min(int(x + reach / step), rows) + 1):
                half = np.sqrt(max(reach**2 - ((row - x) * step) ** 2, 0.0)) / turn
                for column in range(int(np.ceil(y - half)), int(np.floor(y + half)) + 1):
                    total[row, column % columns] += pt[c]
        out[i] = total.max() > most
    return out


def ordered(clusters: Clusters, keep: np.ndarray) -> Clusters:
    """Return the jets at the positions ``keep`` (ascending), each event's by falling corrected pt."""
    offsets = np.searchsorted(keep, clusters.offsets)
    order = keep[descending(offsets, (clusters.pt * correction(clusters.pt, clusters.eta))[keep])]
    position = np.full(len(clusters.px), -1)
    position[order] = np.arange(len(order))
    jet = position[clusters.jet]
    pairs = np.flatnonzero(jet >= 0)
    pairs = pairs[np.argsort(jet[pairs], kind="stable")]
    p = (clusters.px[order], clusters.py[order], clusters.pz[order], clusters.e[order])
    return Clusters(offsets, *p, jet[pairs], clusters.candidate[pairs])


def correction(pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Factor from the uncorrected pt to a mean response of 1."""
    table, at = np.asarray(RESPONSE), np.log(np.asarray(RESPONSE_PT))
    position = np.clip(np.interp(np.log(np.maximum(pt, 1e-3)), at, np.arange(len(at))), 0, len(at) - 1 - 1e-9)
    low = position.astype(np.int64)
    side = np.searchsorted(np.asarray(RESPONSE_EDGES), np.abs(eta))
    return 1 / (table[side, low] * (1 - (position - low)) + table[side, low + 1] * (position - low))


def kinematics(clusters: Clusters, area: float) -> dict[str, np.ndarray]:
    """Corrected momentum, the factor back, and the area (pi R^2: JHEP 04 (2008) 063)."""
    factor = correction(clusters.pt, clusters.eta)
    return {
        "pt": clusters.pt * factor, "eta": clusters.eta, "phi": clusters.phi, "mass": clusters.mass * factor,
        "rawFactor": 1 - 1 / factor, "area": np.full(len(factor), area),
    }  # fmt: skip


def composition(clusters: Clusters, candidates: Candidates) -> dict[str, np.ndarray]:
    """Energy fractions (of the uncorrected energy) and multiplicities by kind of candidate."""
    size = len(clusters.px)
    pdg = np.abs(candidates.pdgId[clusters.candidate])
    energy = candidates.pt * np.cosh(candidates.eta) * candidates.puppiWeight
    part = energy[clusters.candidate] / np.maximum(clusters.e, 1e-9)[clusters.jet]
    out = {}
    for name, kind in _KINDS.items():
        of_kind = pdg == kind
        out[name] = np.bincount(clusters.jet[of_kind], weights=part[of_kind], minlength=size)
    charged = candidates.charge[clusters.candidate] != 0
    number = np.bincount(clusters.jet, minlength=size)
    out["nConstituents"] = number.clip(max=255)
    out["chMultiplicity"] = np.bincount(clusters.jet[charged], minlength=size).clip(max=255)
    out["neMultiplicity"] = (number - np.bincount(clusters.jet[charged], minlength=size)).clip(max=255)
    return out


def identification(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return the jet id bits, tight (2) and tight with lepton veto (4), by CMS's criteria for PUPPI jets of Run 3.

    They are those of the NanoAOD documentation, in |eta| up to 2.6, 2.7, 3 and 5.
    """
    eta = np.abs(columns["eta"])
    charged, neutral = columns["chMultiplicity"], columns["neMultiplicity"]
    central = (charged > 0) & (columns["chHEF"] > 0.01) & (columns["nConstituents"] > 1)
    common = (columns["neHEF"] < 0.99) & (columns["neEmEF"] < 0.9)
    forward = (columns["neEmEF"] + columns["hfEmEF"] < 0.4) & (neutral >= 2)
    tight = np.select(
        [eta <= 2.6, eta <= 2.7, eta <= 3.0], [central & common, common, columns["neHEF"] < 0.99], forward
    )
    veto = tight & (columns["muEF"] < 0.8) & (columns["chEmEF"] < 0.8)
    return 2 * tight + 4 * (tight & np.where(eta <= 2.7, veto, True))


@jit
def match(
    offsets: np.ndarray, eta: np.ndarray, phi: np.ndarray, to_offsets: np.ndarray, to_eta: np.ndarray,
    to_phi: np.ndarray, cone: float,
) -> np.ndarray:  # fmt: skip
    """For each jet, in order, the nearest unused one of the other list within the cone: position in its event or -1."""
    matched = np.full(len(eta), -1, np.int64)
    for i in range(len(offsets) - 1):
        used = np.zeros(to_offsets[i + 1] - to_offsets[i], np.bool_)
        for a in range(offsets[i], offsets[i + 1]):
            best = cone**2
            for b in range(len(used)):
                d2 = delta_r2(eta[a], phi[a], to_eta[to_offsets[i] + b], to_phi[to_offsets[i] + b])
                if not used[b] and d2 < best:
                    best, matched[a] = d2, b
            if matched[a] >= 0:
                used[matched[a]] = True
    return matched


def truth(clusters: Clusters, gen_jets, cone: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    """Index of the matched generated jet (-1 for none) in the event, and its hadron and parton flavour."""
    to = offsets_of(counts(gen_jets))
    eta, phi = flat(gen_jets, "eta").astype(np.float64), flat(gen_jets, "phi").astype(np.float64)
    index = match(clusters.offsets, clusters.eta, clusters.phi, to, eta, phi, cone)
    matched = index >= 0
    position = (index + to[clusters.event])[matched]
    hadron, parton = np.zeros(len(index), np.uint8), np.zeros(len(index), np.int16)
    hadron[matched] = flat(gen_jets, "hadronFlavour")[position]
    parton[matched] = flat(gen_jets, "partonFlavour")[position]
    return index, hadron, parton


def jet_of_candidates(clusters: Clusters, candidates: int) -> np.ndarray:
    """For each candidate the number of its jet in the event, -1 for none."""
    out = np.full(candidates, -1, np.int64)
    out[clusters.candidate] = (
        (clusters.jet - clusters.offsets[clusters.event[clusters.jet]]) if len(clusters.jet) else -1
    )
    return out


def first_two(offsets: np.ndarray, jet_index: np.ndarray, event: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """Return the first two objects in each jet (index in the event, -1 for none) and their number.

    ``jet_index`` is each object's jet in its event; ``event`` its event; ``offsets`` are the jets', ``size`` of them.
    """
    inside = np.flatnonzero(jet_index >= 0)
    jet = jet_index[inside] + offsets[event[inside]]
    local = inside - np.searchsorted(event, event[inside])
    order = np.argsort(jet, kind="stable")
    jet, local = jet[order], local[order]
    number = np.bincount(jet, minlength=size)
    begin = offsets_of(number)[:-1]
    picked = []
    for k in (0, 1):
        index = np.full(size, -1, np.int64)
        has = number > k
        index[has] = local[begin[has] + k]
        picked.append(index)
    return picked[0], picked[1], number


def density(candidates: Candidates) -> np.ndarray:
    """Return the median pt per area on a grid, (n,): FastJet's GridMedianBackgroundEstimator, CMS's cells."""
    grid = _grid(candidates, 18, 11).reshape(-1, 18 * 11)
    return np.median(grid, axis=1) / (2 * _END / 18 * 2 * np.pi / 11)
