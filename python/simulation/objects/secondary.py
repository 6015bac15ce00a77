"""Secondary vertices from displaced tracks, as the inclusive vertex finder gives them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compiled import jit
from ..detector.candidates import Candidates
from ..flat import offsets_of, wrap


@dataclass(frozen=True)
class Finder:
    """Cuts of the inclusive vertex finder (cf. CMS, arXiv:1712.07158), lengths in mm, momenta in GeV.

    Tracks above ``min_pt`` that miss the primary vertex by ``min_ip`` and ``min_significance`` are clustered where they
    really start: they share a vertex if their true starts are nearer than ``resolution`` and ``merge`` of the flight
    length, which also joins most charm decays to their b hadron's. A track fits with the probability ``efficiency``.
    The vertex is measured across its flight with the tracks' errors and along it worse by the mean angle between tracks
    and flight.
    """

    min_pt: float = 0.8
    min_ip: float = 0.05
    min_significance: float = 1.2
    max_dxy: float = 30.0
    max_dz: float = 100.0
    start: float = 0.1
    resolution: float = 0.2
    merge: float = 0.25
    efficiency: float = 0.85
    least_angle: float = 0.03
    min_length_significance: float = 3.0
    max_radius: float = 100.0
    scale: float = 2.5
    weight: float = 0.8


FINDER = Finder()
PION = 0.13957  # GeV


@dataclass(frozen=True)
class Secondary:
    """Vertices, flat, each event's by falling pt; names and units (cm) as NanoAOD's ``SV``."""

    offsets: np.ndarray
    columns: dict[str, np.ndarray]

    @property
    def event(self) -> np.ndarray:
        """The event number of each vertex."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


@jit
def _cluster(event: np.ndarray, start: np.ndarray, flight: np.ndarray, resolution: float, merge: float) -> np.ndarray:
    """Give common starts of tracks a number: each track joins the first one near enough in its event, or opens one."""
    group = np.empty(len(event), np.int64)
    opened = np.empty(len(event), np.int64)
    groups, first = 0, 0
    for i in range(len(event)):
        if i > 0 and event[i] != event[i - 1]:
            first = groups
        group[i] = -1
        for g in range(first, groups):
            j = opened[g]
            near = np.sqrt(((start[:, i] - start[:, j]) ** 2).sum())
            if near < resolution + merge * min(flight[i], flight[j]):
                group[i] = g
                break
        if group[i] < 0:
            group[i], opened[groups] = groups, i
            groups += 1
    return group


def find(candidates: Candidates, rng: np.random.Generator) -> Secondary:
    """Find the secondary vertices of all events."""
    size = len(candidates.offsets) - 1
    tracks = _displaced(candidates)
    tracks = tracks[rng.random(len(tracks)) < FINDER.efficiency]
    event = candidates.event[tracks]
    start = np.stack([candidates.vx[tracks], candidates.vy[tracks], candidates.vz[tracks]])
    from_true = start - candidates.primary.true[:, event]
    flight = np.sqrt((from_true**2).sum(axis=0))
    group = _cluster(event, start, flight, FINDER.resolution, FINDER.merge)
    number = np.bincount(group)
    pairs = number[group] >= 2
    _, group = np.unique(group[pairs], return_inverse=True)
    tracks, event, start = tracks[pairs], event[pairs], start[:, pairs]
    vertices = _measure(candidates, tracks, event, start, group, rng)
    at = vertices.pop("event")
    good = vertices["dlenSig"] > FINDER.min_length_significance
    order = np.lexsort([-vertices["pt"][good], at[good]])
    columns = {name: column[good][order] for name, column in vertices.items()}
    return Secondary(offsets_of(np.bincount(at[good], minlength=size)), columns)


def _displaced(candidates: Candidates) -> np.ndarray:
    """Return the positions of the displaced tracks that may make a vertex."""
    at = np.flatnonzero((candidates.charge != 0) & (candidates.pt > FINDER.min_pt) & (candidates.genIdx >= 0))
    dxy, dz = 10 * np.abs(candidates.dxy[at]), 10 * np.abs(candidates.dz[at])
    primary = candidates.primary.true[:, candidates.event[at]]
    radius = np.hypot(candidates.vx[at] - primary[0], candidates.vy[at] - primary[1])
    away = np.hypot(radius, candidates.vz[at] - primary[2])
    return at[
        (dxy < FINDER.max_dxy) & (dz < FINDER.max_dz) & (np.hypot(dxy, dz) > FINDER.min_ip)
        & (significance(candidates, at) > FINDER.min_significance)
        & (away > FINDER.start) & (radius < FINDER.max_radius)
    ]  # fmt: skip


def significance(candidates: Candidates, at: np.ndarray) -> np.ndarray:
    """Return the impact parameter in space over its error, of the charged candidates at these positions."""
    return np.hypot(candidates.dxy[at] / candidates.dxyErr[at], candidates.dz[at] / candidates.dzErr[at])


def _measure(
    candidates: Candidates,
    tracks: np.ndarray,
    event: np.ndarray,
    start: np.ndarray,
    group: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Return the vertices of grouped tracks: NanoAOD's columns and ``event``."""
    size = int(group.max()) + 1 if len(group) else 0

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, weights=values, minlength=size)

    number = np.bincount(group, minlength=size)
    pt, eta, phi = candidates.pt[tracks], candidates.eta[tracks], candidates.phi[tracks]
    cartesian = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    p = np.stack([total(component) for component in cartesian])
    energy = total(np.sqrt((pt * np.cosh(eta)) ** 2 + PION**2))
    size_p = np.sqrt((p**2).sum(axis=0))
    sum_pt, direction = np.hypot(p[0], p[1]), p / np.maximum(size_p, 1e-12)
    sv_eta, sv_phi = np.arcsinh(p[2] / np.maximum(sum_pt, 1e-12)), np.arctan2(p[1], p[0])
    spread = total((eta - sv_eta[group]) ** 2 + wrap(phi - sv_phi[group]) ** 2) / np.maximum(number, 1)
    across = 10 * FINDER.scale * np.sqrt(total(candidates.dxyErr[tracks] ** 2)) / np.maximum(number, 1)
    along = across / np.maximum(np.sqrt(spread), FINDER.least_angle)
    noise = rng.standard_normal((3, size))
    parallel = (noise * direction).sum(axis=0) * direction
    weight = pt / total(pt)[group]
    true = np.stack([total(weight * coordinate) for coordinate in start])
    position = true + across * (noise - parallel) + along * parallel
    at = np.zeros(size, np.int64)
    at[group] = event
    columns = {"event": at, "pt": sum_pt, "eta": sv_eta, "phi": sv_phi}
    columns["mass"] = np.sqrt(np.maximum(energy**2 - size_p**2, 0))
    columns["charge"] = total(candidates.charge[tracks])
    columns |= _flight(candidates, at, position, direction, along, across)
    columns["ntracks"] = number
    columns["ndof"] = np.maximum(2 * FINDER.weight * number - 3, 0.1)
    columns["chi2"] = rng.chisquare(np.maximum(columns["ndof"], 1)) / np.maximum(columns["ndof"], 1)
    return columns


def _flight(
    candidates: Candidates,
    event: np.ndarray,
    position: np.ndarray,
    direction: np.ndarray,
    along: np.ndarray,
    across: np.ndarray,
) -> dict[str, np.ndarray]:
    """Position and flight from the primary vertex, in cm."""
    path = position - candidates.primary.measured[:, event]
    length, radial = np.sqrt((path**2).sum(axis=0)), np.hypot(path[0], path[1])
    cosine = (path * direction).sum(axis=0) / np.maximum(length, 1e-12)
    vertex = candidates.primary.error[event]
    # along the flight the worse error counts, and the transverse part of it in the transverse plane
    sine = np.hypot(direction[0], direction[1])
    error = np.hypot(along, vertex)
    radial_error = np.sqrt((along * sine) ** 2 + (across * (1 - sine)) ** 2 + vertex**2)
    return {
        "x": position[0] / 10, "y": position[1] / 10, "z": position[2] / 10,
        "dlen": length / 10, "dlenSig": length / error, "dxy": radial / 10, "dxySig": radial / radial_error,
        "pAngle": np.arccos(np.clip(cosine, -1, 1)),
    }  # fmt: skip
