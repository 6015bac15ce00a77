"""Reconstructed tracks: acceptance, efficiency, momentum and impact parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .decays import Particles
from .helix import Solenoid, perigee
from .response import IDENTIFICATION, TRACKER
from .vertices import Primary, find_primary

PROMPT_RADIUS = 0.01  # mm: a track that starts nearer to its collision counts for the collision's vertex


@dataclass(frozen=True)
class Tracks:
    """Tracks, flat.

    ``particle`` is the position among the particles, ``pdg`` what particle flow calls it (11, 13, 211); ``pt`` GeV,
    ``eta`` and ``phi`` at the closest approach to the primary vertex; ``dxy``, ``dz`` and their errors mm;
    ``sigma`` relative resolution of the momentum.
    """

    particle: np.ndarray
    pdg: np.ndarray
    charge: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    dxy: np.ndarray
    dz: np.ndarray
    dxy_error: np.ndarray
    dz_error: np.ndarray
    sigma: np.ndarray


def reconstruct(
    particles: Particles, collision: np.ndarray, solenoid: Solenoid, rng: np.random.Generator
) -> tuple[Tracks, Primary]:
    """Find the tracks and the primary vertex; ``collision`` is the hard collision's position, (3, n) in mm."""
    pt = np.hypot(particles.px, particles.py)
    eta = np.arcsinh(particles.pz / np.maximum(pt, 1e-12))
    pdg = np.abs(particles.pdg)
    efficiency = TRACKER.efficiency(pdg, pt, eta, np.hypot(particles.x, particles.y))
    detected = np.flatnonzero((particles.charge != 0) & (rng.random(len(pt)) < efficiency))
    seen, pt, eta, pdg = particles.pick(detected), pt[detected], eta[detected], pdg[detected]
    primary = find_primary(collision, *_from_collisions(seen, pt, collision), rng)
    to = primary.measured[:, seen.event]
    dxy, dz, phi = perigee(
        seen.px, seen.py, seen.pz, seen.charge, seen.x, seen.y, seen.z, to[0], to[1], to[2], solenoid.field
    )
    sigma = TRACKER.pt_resolution(pdg, pt, eta)
    tail = np.where(rng.random(len(pt)) < TRACKER.tail_share, TRACKER.tail_factor, 1.0)
    dxy_core, dz_core = TRACKER.dxy_resolution(pt, eta), TRACKER.dz_resolution(pt, eta)
    noise = rng.standard_normal((5, len(pt)))
    curvature = 1 + sigma * noise[0]
    tracks = Tracks(
        particle=detected,
        pdg=_identify(pdg, pt, eta, rng),
        charge=np.sign(seen.charge * curvature).astype(np.int32),
        pt=pt / np.maximum(np.abs(curvature), 1e-2),
        eta=eta + TRACKER.angle * noise[1],
        phi=phi + TRACKER.angle * noise[2],
        dxy=dxy + dxy_core * tail * noise[3],
        dz=dz + dz_core * tail * noise[4],
        dxy_error=np.hypot(dxy_core, primary.error[seen.event]),
        # a vertex that is off along the track's transverse direction moves dz by sinh(eta) times that
        dz_error=np.hypot(dz_core, primary.error[seen.event] * np.cosh(eta)),
        sigma=sigma,
    )
    return tracks, primary


def _from_collisions(
    seen: Particles, pt: np.ndarray, collision: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Event, collision, z and pt of the tracks that start in a collision."""
    away = np.hypot(seen.x - collision[0, seen.event], seen.y - collision[1, seen.event])
    prompt = np.where(seen.vertex == 0, away, 0) < PROMPT_RADIUS
    return seen.event[prompt], seen.vertex[prompt], seen.z[prompt], pt[prompt]


def _identify(pdg: np.ndarray, pt: np.ndarray, eta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what particle flow calls each track: 11, 13 or 211."""
    chance = rng.random(len(pdg))
    ident = IDENTIFICATION
    muon = np.where(pdg == 13, ident.muon_efficiency(pt, eta), 0)
    reach = ident.muon_efficiency(pt, eta) / ident.muon
    muon += reach * np.where(pdg == 211, ident.pion_to_muon, np.where(pdg == 321, ident.kaon_to_muon, 0))
    hadron = (pdg != 11) & (pdg != 13) & (pt > ident.electron_fake_pt)
    electron = np.where(pdg == 11, ident.electron_efficiency(pt, eta), np.where(hadron, ident.electron_fake, 0))
    return np.where(chance < muon, 13, np.where(chance > 1 - electron, 11, 211)).astype(np.int32)
