"""Generated blocks that several tests look at; each is made once."""

from __future__ import annotations

import functools
from typing import Any

import awkward as ak
import numpy as np
from nanoforge.config.generator import Generator
from nanoforge.simulation.generator.event_blocks import generate_block, sizes
from nanoforge.simulation.generator.pythia import GenBlock, PythiaEvents

PARTONS = "HadronLevel:Hadronize = off"  # decays remain; three times as fast
SETTINGS: dict[str, dict[str, Any]] = {
    "z": {"process": "dy_ll", "settings": ["WeakZ0:gmZmode = 2", "23:onMode = off", "23:onIfAny = 13", PARTONS]},
    "pileup": {"process": "dy_ll", "settings": [PARTONS], "pileup": 3.0},
    "tau": {"process": "dy_tautau", "settings": [PARTONS]},
    "ttbar": {"process": "ttbar"},
    "higgs": {"process": "ggH_tautau"},
}


def generator(name: str, **changes: Any) -> Generator:
    return Generator.model_validate({"mpi": False, **SETTINGS[name], **changes})


@functools.cache
def block(name: str, size: int = 250, number: int = 0) -> GenBlock:
    return generate_block(generator(name), name, number, size)[0]


def many(name: str, events: int) -> ak.Array:
    """The particles of several blocks."""
    return ak.concatenate([block(name, size, i).particles for i, size in enumerate(sizes(events))])


def flat(particles: ak.Array, mask: Any, field: str) -> np.ndarray:
    return np.asarray(ak.flatten(particles[mask][field]))


def same(first: PythiaEvents | GenBlock, second: PythiaEvents | GenBlock) -> bool:
    equal = ak.array_equal(first.particles, second.particles) and np.array_equal(first.weight, second.weight)
    return bool(equal) and all(np.array_equal(first.info[name], second.info[name]) for name in first.info)
