"""The tables of calorimeter hits, of samples that ask for them: names and columns are those of ``plugins/``."""

from __future__ import annotations

import awkward as ak
import numpy as np

from ..detector import cells
from ..detector.candidates import Arrivals
from ..flat import records

_NANOFORGE = "(nanoforge)"
_POSITION = {
    "eta": ("f4", f"eta of the cell's middle, seen from the detector's centre {_NANOFORGE}"),
    "phi": ("f4", f"phi of the cell's middle {_NANOFORGE}"),
    "energy": ("f4", f"energy, in GeV {_NANOFORGE}"),
}
COLLECTIONS = {
    "EcalHit": _POSITION | {
        "ieta": ("i4", f"ieta of the crystal in the barrel, 0 in the endcaps {_NANOFORGE}"),
        "iphi": ("i4", f"iphi of the crystal in the barrel, 0 in the endcaps {_NANOFORGE}"),
        "row": ("i4", f"row of the grid over barrel and endcaps, 0 to 279 in eta {_NANOFORGE}"),
        "column": ("i4", f"column of the grid, 0 to 359 in phi, that of iphi 1 first {_NANOFORGE}"),
    },
    "HcalHit": _POSITION | {
        "ieta": ("i4", f"ieta of the tower {_NANOFORGE}"),
        "iphi": ("i4", f"iphi of the tower, odd above ieta 20 {_NANOFORGE}"),
        "depth": ("u1", f"depth {_NANOFORGE}"),
    },
}  # fmt: skip
DOCS = {f"{table}_{name}": title for table, columns in COLLECTIONS.items() for name, (_, title) in columns.items()}
"""The title of every branch."""


def tables(arrivals: Arrivals, size: int, rng: np.random.Generator, *, material: bool = True) -> dict[str, ak.Array]:
    """Return the hits of ``size`` events; the same state of ``rng`` gives the same."""
    return {
        name: records(offsets, {c: columns[c].astype(kind) for c, (kind, _) in COLLECTIONS[name].items()})
        for name, (offsets, columns) in cells.simulate(arrivals, size, rng, material=material).items()
    }
