"""What the tests of the detector look at: guns of one particle, and generated samples that are detected once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
from nanoforge.config.generator import Generator
from nanoforge.simulation.detector import candidates as detector
from nanoforge.simulation.generator import genparticles
from nanoforge.simulation.generator.event_blocks import generate_block
from nanoforge.simulation.objects import reconstruction as objects

SETTINGS: dict[str, dict[str, Any]] = {
    "ttbar": {"process": "ttbar"},
    "tau": {"process": "zprime_tautau", "settings": ["32:m0 = 250", "PhaseSpace:mHatMin = 150"]},
    "qcd": {
        "process": "qcd",
        "pthat": [12.0, 2000.0],
        "settings": ["PhaseSpace:bias2Selection = on", "PhaseSpace:bias2SelectionPow = 4.5"],
    },
    "pileup": {"process": "dy_ll", "pileup": 20.0},
    "z": {"process": "dy_ll", "settings": ["WeakZ0:gmZmode = 2", "23:onMode = off", "23:onIfAny = 11 13"]},
}

TTBAR, QCD, TAUS, Z = ("ttbar", 1000), ("qcd", 2000), ("tau", 500), ("z", 1000)  # samples that several tests share


@dataclass(frozen=True)
class Sample:
    """A generated sample and what the detector makes of it."""

    block: Any
    gen: dict[str, Any]
    candidates: detector.Candidates
    objects: dict[str, Any]


def generate(name: str, size: int, number: int = 0, **changes: Any) -> tuple[Any, np.random.Generator]:
    return generate_block(Generator.model_validate({**SETTINGS[name], **changes}), name, number, size)


@functools.cache
def sample(name: str, size: int, number: int = 0) -> Sample:
    """Without multiparton interactions, which are slow; each is made once."""
    block, rng = generate(name, size, number, mpi=False)
    gen, candidates = genparticles.summarise(block), detector.simulate(block, rng)
    return Sample(block, gen, candidates, objects.reconstruct(block, gen, candidates, rng))


def block_of(particles: ak.Array) -> Any:
    """A block without pileup, of events with these particles."""
    size = len(particles)
    return SimpleNamespace(
        particles=particles, weight=np.ones(size), info={}, pileup=None, pileup_n=np.zeros(size, np.int32)
    )


def gun(
    pdg: int, charge: float, mass: float, pt: Any, eta: Any, phi: Any, at: Any = (0.0, 0.0, 0.0), copies: int = 1
) -> Any:
    """Final particles of one kind, ``copies`` in each event, with pt (GeV), eta, phi and place ``at`` (mm).

    Before them come two entries that are not final, as from Pythia: the whole event, and one at the collision, 0.
    """
    pt, eta, phi = (np.asarray(v, np.float64) for v in np.broadcast_arrays(pt, eta, phi))
    n = len(pt) // copies
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    final = {"px": px, "py": py, "pz": pz, "e": np.sqrt(px**2 + py**2 + pz**2 + mass**2), "m": mass, "charge": charge}
    final |= dict(zip(("vx", "vy", "vz"), at)) | {"pdgId": pdg, "status": 1}
    links = dict.fromkeys(("mother1", "mother2", "daughter1", "daughter2"), -1)
    columns = {}
    for name, value in {**final, **links}.items():
        value = np.broadcast_to(np.asarray(value), pt.shape).reshape(n, copies)
        before = np.full((n, 2), {"pdgId": 90, "status": -11}.get(name, -1 if name in links else 0), value.dtype)
        kind = np.int32 if name in ("pdgId", "status", *links) else np.float64
        columns[name] = np.concatenate([before, value], axis=1).ravel().astype(kind)
    return block_of(ak.unflatten(ak.zip(columns), np.full(n, 2 + copies)))


def local(values: ak.Array) -> np.ndarray:
    return np.asarray(ak.flatten(values, axis=None))


def matched_jets(s: Sample) -> dict[str, np.ndarray]:
    """Jets with a generated jet: their columns, and ``gen`` its pt."""
    jet = s.objects["Jet"]
    has = jet.genJetIdx >= 0
    gen = s.gen["GenJet"][jet.genJetIdx[has]]
    chosen = jet[has]
    columns = {name: local(chosen[name]) for name in ("pt", "eta", "phi", "hadronFlavour")}
    d_phi = (local(chosen.phi) - local(gen.phi) + np.pi) % (2 * np.pi) - np.pi
    columns["distance"] = np.hypot(local(chosen.eta) - local(gen.eta), d_phi)
    columns |= {name: local(chosen[name]) for name in chosen.fields if name.startswith("btag")}
    return columns | {"gen": local(gen.pt)}
