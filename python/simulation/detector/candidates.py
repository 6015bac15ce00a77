"""A parametrised CMS detector: final particles in, particle-flow candidates out.

Particles follow the 3.8 T field to the calorimeters; charged ones become tracks by the tracker's efficiency and
resolution; what is left in the calorimeters beyond the tracks becomes photons and neutral hadrons, as in particle flow
(CMS, arXiv:1706.04965) and Delphes (arXiv:1307.6346). The numbers and their sources are in ``response``.
Everything works on the flat content of all events at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

from ..flat import count, counts, descending, flat, jagged, offsets_of, wrap
from . import calorimeter, tracks
from .calorimeter import Towers
from .decays import Particles, decay, together
from .helix import Solenoid, propagate
from .puppi import neutral_weights
from .response import ECAL, ECAL_SHARE, FORWARD_END, HCAL, IDENTIFICATION
from .tracks import Tracks
from .vertices import Primary

if TYPE_CHECKING:
    from ..generator.pythia import GenBlock

SOLENOID = Solenoid()
INVISIBLE = (12, 14, 16, 18, 39, 1000022, 1000023, 1000025, 1000035, 1000039)
LEAST_PT = 0.1  # GeV: what is softer leaves neither a track nor a cluster
PARTICLE_FLOW_MASS = {211: 0.13957, 13: 0.10566, 11: 0.000511}  # GeV; the neutral ones are massless
ASSOCIATED_DZ = 1.0  # mm: charged candidates that pass farther from the vertex are pileup (PUPPI's choice)
USED_IN_FIT, COMPATIBLE_DZ, OTHER_VERTEX = 7, 5, 0  # pat::PackedCandidate's PVAssociationQuality
FIT_SIGNIFICANCE = 3.0


@dataclass(frozen=True)
class Candidates:
    """Particle-flow candidates, flat; each event's by falling pt.

    ``offsets`` (n + 1,) bound the events. ``pt mass`` GeV, ``eta phi`` at the primary vertex, ``charge`` and ``pdgId``
    (211, 11, 13 with sign; 130, 22; 1 and 2 for hadronic and electromagnetic energy in the forward calorimeter) i4;
    ``dxy dz dxyErr dzErr`` cm to the primary vertex (0 for neutral ones); ``etaCalo phiCalo`` on the calorimeters'
    face; ``pvAssocQuality`` i4; ``puppiWeight``; ``genIdx`` i8 in the generator's list, -1 for pileup; ``vx vy vz`` mm,
    true production vertex; ``ptErr`` GeV. ``primary`` is the primary vertex.
    """

    offsets: np.ndarray
    primary: Primary
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    mass: np.ndarray
    charge: np.ndarray
    pdgId: np.ndarray  # noqa: N815
    dxy: np.ndarray
    dz: np.ndarray
    dxyErr: np.ndarray  # noqa: N815
    dzErr: np.ndarray  # noqa: N815
    etaCalo: np.ndarray  # noqa: N815
    phiCalo: np.ndarray  # noqa: N815
    pvAssocQuality: np.ndarray  # noqa: N815
    puppiWeight: np.ndarray  # noqa: N815
    genIdx: np.ndarray  # noqa: N815
    vx: np.ndarray
    vy: np.ndarray
    vz: np.ndarray
    ptErr: np.ndarray  # noqa: N815

    @property
    def event(self) -> np.ndarray:
        """The event number of each candidate."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def jagged(self, name: str) -> ak.Array:
        """One column as a list per event."""
        return jagged(self.offsets, getattr(self, name))


@dataclass(frozen=True)
class Arrivals:
    """Particles and where they end, ``position`` (x, y, z in mm): on the calorimeters' face, if they ``reached`` it."""

    particles: Particles
    position: Sequence[np.ndarray]
    reached: np.ndarray

    @property
    def eta(self) -> np.ndarray:
        """Pseudorapidity of the position, seen from the detector's centre."""
        x, y, z = self.position
        return np.arcsinh(z / np.maximum(np.hypot(x, y), 1e-9))

    @property
    def phi(self) -> np.ndarray:
        """Azimuth of the position."""
        return np.arctan2(self.position[1], self.position[0])

    def pick(self, where: np.ndarray) -> Arrivals:
        """Those of a mask or of a list of positions."""
        return Arrivals(self.particles.pick(where), [p[where] for p in self.position], self.reached[where])


def arrive(particles: Particles) -> Arrivals:
    """Follow particles to the face of the calorimeters."""
    *position, reached = propagate(
        particles.px, particles.py, particles.pz, particles.charge, particles.x, particles.y, particles.z,
        SOLENOID.field, SOLENOID.radius, SOLENOID.half_length,
    )  # fmt: skip
    return Arrivals(particles, position, reached)


def simulate(block: GenBlock, rng: np.random.Generator) -> Candidates:
    """Detect the final particles of a block of events; the same ``rng`` state gives the same candidates."""
    return simulate_with_arrivals(block, rng)[0]


def simulate_with_arrivals(block: GenBlock, rng: np.random.Generator) -> tuple[Candidates, Arrivals]:
    """Detect the final particles of a block of events, and return them beside what is made of them."""
    size = len(block.weight)
    particles = final_particles(block)
    collision = collisions(block)
    particles = decay(particles, SOLENOID.radius, SOLENOID.half_length, rng)
    reco, primary = tracks.reconstruct(particles, collision, SOLENOID, rng)
    arrivals = arrive(particles)
    face, reached = (arrivals.eta, arrivals.phi), arrivals.reached
    parts = [
        _charged(particles, reco, face, rng),
        _neutral(_ecal(particles, reco, face, reached, rng), particles, face, (22, 2), primary),
        _neutral(_hcal(particles, reco, face, reached, rng), particles, face, (130, 1), primary),
    ]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return _ordered(columns, primary, size, with_pileup=block.pileup is not None), arrivals


def final_particles(block: GenBlock) -> Particles:
    """Return the visible final particles of a block, with pileup, that are not too soft or forward to be seen."""
    hard = _particles(block.particles, pileup=False)
    if block.pileup is None:
        return hard
    return together([hard, _particles(block.pileup, pileup=True)])


def collisions(block: GenBlock) -> np.ndarray:
    """Where the hard collisions are, (3, n) in mm: the production vertex of entry 1 (0 is Pythia's whole event)."""
    sizes = counts(block.particles)
    second = offsets_of(sizes)[:-1] + np.minimum(1, sizes - 1)
    position = np.zeros((3, len(sizes)))
    filled = sizes > 0
    for k, name in enumerate(("vx", "vy", "vz")):
        position[k, filled] = flat(block.particles, name)[second[filled]]
    return position


def _particles(array: ak.Array, *, pileup: bool) -> Particles:
    sizes = counts(array)
    final = np.flatnonzero(flat(array, "status") > 0)
    pdg, px, py, pz = (flat(array, name)[final] for name in ("pdgId", "px", "py", "pz"))
    pt = np.hypot(px, py)
    seen = (pt > LEAST_PT) & (np.abs(pz) < np.sinh(FORWARD_END) * pt) & ~np.isin(np.abs(pdg), INVISIBLE)
    final, pdg, px, py, pz = final[seen], pdg[seen], px[seen], py[seen], pz[seen]
    offsets = offsets_of(sizes)
    event = np.searchsorted(offsets, final, side="right") - 1
    e, m, x, y, z, charge = (flat(array, name)[final] for name in ("e", "m", "vx", "vy", "vz", "charge"))
    index = np.full(len(final), -1) if pileup else final - offsets[event]
    vertex = flat(array, "vertex")[final] if pileup else np.zeros(len(final), np.int32)
    return Particles(event, pdg, px, py, pz, e, np.maximum(m, 0), x, y, z, charge, index, vertex.astype(np.int32))


def _charged(
    particles: Particles, reco: Tracks, face: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Candidates of tracks; an identified electron combines track and calorimeter."""
    origin = particles.pick(reco.particle)
    mass = np.select([reco.pdg == pdg for pdg in PARTICLE_FLOW_MASS], list(PARTICLE_FLOW_MASS.values()))
    pt, charge, sigma = reco.pt.copy(), reco.charge.copy(), reco.sigma.copy()
    electron = np.flatnonzero((reco.pdg == 11) & (np.abs(origin.pdg) == 11))
    energy, eta = origin.e[electron], reco.eta[electron]
    by_ecal = ECAL.resolution(energy, eta) / energy
    weight = 1 / (1 + (by_ecal / sigma[electron]) ** 2)
    measured = energy * (1 + by_ecal * rng.standard_normal(len(electron)))
    pt[electron] = weight * np.maximum(measured, 0) / np.cosh(eta) + (1 - weight) * pt[electron]
    sigma[electron] = by_ecal * np.sqrt(weight)
    side = (np.abs(eta) > IDENTIFICATION.barrel).astype(np.int64)
    wrong = rng.random(len(electron)) < np.asarray(IDENTIFICATION.wrong_charge)[side]
    charge[electron[wrong]] *= -1
    return {
        "event": origin.event, "pt": pt, "eta": reco.eta, "phi": wrap(reco.phi), "mass": mass, "charge": charge,
        "pdgId": np.where(reco.pdg == 211, charge, -charge) * reco.pdg, "dxy": reco.dxy / 10, "dz": reco.dz / 10,
        "dxyErr": reco.dxy_error / 10, "dzErr": reco.dz_error / 10, "etaCalo": face[0][reco.particle],
        "phiCalo": face[1][reco.particle], "genIdx": origin.index, "vx": origin.x, "vy": origin.y, "vz": origin.z,
        "ptErr": pt * sigma,
    }  # fmt: skip


def _deposits(
    share: np.ndarray, particles: Particles, face: tuple[np.ndarray, np.ndarray], reached: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the particles that leave energy in a calorimeter, and how much (GeV), from the share of each."""
    at = np.flatnonzero((share > 0) & reached & (np.abs(face[0]) < FORWARD_END))
    return at, share[at] * particles.e[at]


def _ecal(
    particles: Particles,
    reco: Tracks,
    face: tuple[np.ndarray, np.ndarray],
    reached: np.ndarray,
    rng: np.random.Generator,
) -> tuple[Towers, np.ndarray, np.ndarray]:
    """Electromagnetic towers above threshold: photons, electrons without a track, part of the neutral hadrons."""
    pdg = np.abs(particles.pdg)
    central = np.abs(face[0]) < ECAL.edges[1]
    share = np.where((pdg == 22) | (pdg == 11), 1.0, 0.0)
    share[(particles.charge == 0) & (pdg != 22) & central] = ECAL_SHARE
    share[reco.particle[pdg[reco.particle] == 11]] = 0
    at, energy = _deposits(share, particles, face, reached)
    towers = calorimeter.measure(ECAL, particles.event[at], face[0][at], face[1][at], energy, rng)
    least = np.asarray(ECAL.min_energy)[ECAL.region(towers.eta)]
    return towers, at[towers.leading], np.where(towers.energy > least, towers.energy, 0)


def _hcal(
    particles: Particles,
    reco: Tracks,
    face: tuple[np.ndarray, np.ndarray],
    reached: np.ndarray,
    rng: np.random.Generator,
) -> tuple[Towers, np.ndarray, np.ndarray]:
    """Hadronic towers and what they hold beyond the energy of the tracks that end there, if that is significant."""
    pdg = np.abs(particles.pdg)
    share = np.where((pdg == 22) | (pdg == 11) | (pdg == 13), 0.0, 1.0)
    share[(share > 0) & (particles.charge == 0) & (np.abs(face[0]) < ECAL.edges[1])] = 1 - ECAL_SHARE
    at, energy = _deposits(share, particles, face, reached)
    towers = calorimeter.measure(HCAL, particles.event[at], face[0][at], face[1][at], energy, rng)
    tracked, variance = np.zeros(len(pdg)), np.zeros(len(pdg))
    momentum = reco.pt * np.cosh(reco.eta)
    tracked[reco.particle], variance[reco.particle] = momentum, (momentum * reco.sigma) ** 2
    by_tracks = calorimeter.sum_in(towers, tracked[at])
    excess = towers.energy - by_tracks
    sigma = np.sqrt(towers.sigma**2 + calorimeter.sum_in(towers, variance[at]))
    significant = (by_tracks == 0) | (excess > HCAL.significance * sigma)
    least = np.asarray(HCAL.min_energy)[HCAL.region(towers.eta)]
    return towers, at[towers.leading], np.where(significant & (excess > least), excess, 0)


def _neutral(
    measured: tuple[Towers, np.ndarray, np.ndarray], particles: Particles, face: tuple[np.ndarray, np.ndarray],
    pdg: tuple[int, int], primary: Primary,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Candidates of towers with energy; their direction is that from the primary vertex. ``pdg``: central, forward."""
    towers, leading, energy = measured
    keep = energy > 0
    energy, event, eta_calo, phi = energy[keep], towers.event[keep], towers.eta[keep], towers.phi[keep]
    eta = _seen_from(primary.measured[2, event], eta_calo)
    origin = particles.pick(leading[keep])
    zero, none = np.zeros(len(eta)), np.zeros(len(eta), np.int32)
    sigma = towers.sigma[keep]
    return {
        "event": event, "pt": energy / np.cosh(eta), "eta": eta, "phi": phi, "mass": zero, "charge": none,
        "pdgId": np.where(np.abs(eta_calo) < ECAL.edges[1], *pdg).astype(np.int32), "dxy": zero, "dz": zero,
        "dxyErr": zero, "dzErr": zero, "etaCalo": eta_calo, "phiCalo": phi, "genIdx": origin.index,
        "vx": origin.x, "vy": origin.y, "vz": origin.z, "ptErr": sigma / np.cosh(eta),
    }  # fmt: skip


def _seen_from(z: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Pseudorapidity, from a point z (mm) of the beam line, of a place on the face at ``eta`` from the centre."""
    slope = np.sinh(eta)
    radius = np.minimum(SOLENOID.radius, SOLENOID.half_length / np.maximum(np.abs(slope), 1e-9))
    return np.arcsinh(slope - z / radius)


def _ordered(columns: dict[str, np.ndarray], primary: Primary, size: int, *, with_pileup: bool) -> Candidates:
    """Candidates by event and falling pt, with their association to the primary vertex."""
    by_event = np.argsort(columns["event"], kind="stable")
    offsets = offsets_of(count(columns.pop("event"), size))
    order = by_event[descending(offsets, columns["pt"][by_event])]
    columns = {name: column[order] for name, column in columns.items()}
    charged = columns["charge"] != 0
    near = ~charged | (np.abs(columns["dz"]) < ASSOCIATED_DZ / 10) | (not with_pileup)
    fitted = (np.abs(columns["dz"]) < FIT_SIGNIFICANCE * columns["dzErr"]) & (
        np.abs(columns["dxy"]) < FIT_SIGNIFICANCE * columns["dxyErr"]
    )
    quality = np.where(charged & fitted, USED_IN_FIT, np.where(near, COMPATIBLE_DZ, OTHER_VERTEX)).astype(np.int32)
    weight = near.astype(np.float64)
    if with_pileup:
        neutral_weights(offsets, columns["pt"], columns["eta"], columns["phi"], columns["charge"], weight)
    names = {f.name for f in fields(Candidates)}
    return Candidates(
        offsets=offsets, primary=primary, pvAssocQuality=quality, puppiWeight=weight,
        **{name: column for name, column in columns.items() if name in names},
    )  # fmt: skip
