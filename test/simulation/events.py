"""Small generator samples for the tests of the detector, in the layout of ``GenBlock``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np

COMMON = [
    "Print:quiet = on", "Beams:eCM = 13600", "Random:setSeed = on", "Random:seed = 7", "Tune:pp = 14",
    "ParticleDecays:limitTau0 = on", "ParticleDecays:tau0Max = 10",
]  # fmt: skip
TTBAR = ["Top:gg2ttbar = on", "Top:qqbar2ttbar = on"]
THIRDS = {1: -1, 2: 2, 3: -1, 4: 2, 5: -1, 6: 2}


def pythia(*settings: str) -> Any:
    import pythia8mc

    generator = pythia8mc.Pythia("", False)
    for setting in (*COMMON, *settings):
        assert generator.readString(setting), setting
    assert generator.init()
    return generator


def block_of(batch: Any, generator: Any) -> Any:
    """What ``nextBatch`` returns, as a block."""
    p = batch.prt
    pdg = p.id
    codes, inverse = np.unique(np.asarray(ak.flatten(pdg)), return_inverse=True)
    charges = np.array([generator.particleData.charge(int(code)) for code in codes])
    charge = ak.unflatten(charges[inverse], ak.num(pdg))
    vertex = {f"v{k}": ak.fill_none(p.vProd[f"p{k}"], 0.0) for k in "xyz"}
    particles = ak.zip(
        {"pdgId": pdg, "status": p.status, "mother1": p.mother1, "mother2": p.mother2, "daughter1": p.daughter1,
         "daughter2": p.daughter2, "px": p.p.px, "py": p.p.py, "pz": p.p.pz, "e": p.p.e, "m": p.m, **vertex, "charge": charge}
    )  # fmt: skip
    return block(particles)


def block(particles: ak.Array, pileup: ak.Array | None = None) -> Any:
    size = len(particles)
    return SimpleNamespace(
        particles=particles, weight=np.ones(size), info={}, pileup=pileup, pileup_n=np.zeros(size, np.int32)
    )


def gun(pdg: int, charge: float, mass: float, pt: np.ndarray, eta: np.ndarray, phi: np.ndarray, **place: np.ndarray) -> Any:
    """One final particle in each event, behind the entry 0 that Pythia uses for the whole event; places in mm."""
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    n, zero = len(pt), np.zeros(len(pt))
    columns = {"px": px, "py": py, "pz": pz, "e": np.sqrt(px**2 + py**2 + pz**2 + mass**2), "m": np.full(n, mass)}
    columns |= {"charge": np.full(n, charge)}
    columns |= {f"v{k}": place.get(f"v{k}", zero) for k in "xyz"}
    links = {name: np.full(n, -1, np.int32) for name in ("mother1", "mother2", "daughter1", "daughter2")}
    whole = {name: zero for name in columns} | {"pdgId": np.full(n, 90, np.int32), "status": np.full(n, -11, np.int32)}
    whole |= {f"v{k}": zero for k in "xyz"} | links
    columns |= {"pdgId": np.full(n, pdg, np.int32), "status": np.ones(n, np.int32)} | links
    both = {name: np.stack([whole[name], whole[name], columns[name]], axis=1).ravel() for name in columns}
    flat = ak.zip(both)
    return block(ak.unflatten(flat, np.full(n, 3)))
