"""Photons with hits around them, as a detector would have them, and some elsewhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import toys

CELL = 2 * math.pi / 360
PHOTONS: dict[str, Any] = {
    "row": "Photon",
    "select": {"hard": "pt > 8"},
    "inputs": {
        "ecal": {
            "image": {
                "hits": "EcalHit", "channels": {"energy": "energy"}, "around": "seed", "size": [8, 8], "pixel": CELL,
            },
            "index": "photonIdx", "where": "energy > 0.1", "length": 8, "scale": {"energy": "log1p(0.1)"},
        },
        "towers": {
            "image": {
                "hits": "EcalHit", "eta": "eta + 0.01", "channels": {"all": "energy"},
                "onto": "ecal", "pixel": 3 * CELL,
            },
            "match": "delta_r < 0.2", "length": 12,
        },
        "photon": {"features": ["pt"]},
    },
    "model": {"type": "resnet", "widths": [4, 8], "hidden": [8]},
}  # fmt: skip
"""What an analysis of photons has for images of two depths."""


def hit_events(count: int, seed: int = 1, wide: bool = False) -> toys.Columns:
    """Events of up to two photons with hits on whole cells in eta and phi; those of a wide one have two centres.

    Cells are numbered as crystals are: ieta without 0, iphi from 1 to 360.
    """
    rng = np.random.default_rng([seed, wide])
    photons = rng.integers(0, 3, count)
    cells = np.stack([rng.integers(-60, 60, photons.sum()), rng.integers(0, 360, photons.sum())])
    hits = rng.integers(1, 15, photons.sum())
    owner = np.repeat(np.arange(photons.sum()), hits)
    away = np.rint(rng.normal(0, 1.2, (2, len(owner)))).astype(int)
    away[1] += 4 * (wide & (rng.random(len(owner)) < 0.4))
    eta, phi = cells[0][owner] + away[0], (cells[1][owner] + away[1]) % 360
    energy = np.where(rng.random(len(owner)) < 0.05, -0.2, rng.exponential(2, len(owner)))
    first = np.cumsum(photons) - photons
    event = np.repeat(np.arange(count), photons)
    return {
        "run": np.ones(count, "u4"),
        "luminosityBlock": np.ones(count, "u4"),
        "event": (seed * 100_000 + np.arange(count)).astype("u8"),
        "Photon": toys.lists(
            {
                "pt": np.bincount(owner, energy, photons.sum()).astype("f4"),
                "eta": ((cells[0] + 0.5) * CELL + rng.normal(0, 0.003, photons.sum())).astype("f4"),
                "phi": _turn((cells[1] + 0.5) * CELL + rng.normal(0, 0.003, photons.sum())).astype("f4"),
            },
            photons,
        ),
        "EcalHit": toys.lists(
            {
                "eta": ((eta + 0.5) * CELL).astype("f4"),
                "phi": _turn((phi + 0.5) * CELL).astype("f4"),
                "energy": energy.astype("f4"),
                "ieta": np.where(eta >= 0, eta + 1, eta).astype("i2"),
                "iphi": (phi + 1).astype("i2"),
                "photonIdx": (owner - first[event[owner]]).astype("i4"),
            },
            np.bincount(event[owner], minlength=count),
        ),
    }


def write(folder: Path, count: int = 300, names: tuple[str, str] = ("narrow", "wide")) -> None:
    """Write two files, of narrow and of wide showers."""
    for wide, name in enumerate(names):
        toys.write(folder / f"{name}.root", hit_events(count, seed=1 + wide, wide=bool(wide)))


def _turn(phi: np.ndarray) -> np.ndarray:
    return (phi + math.pi) % (2 * math.pi) - math.pi
