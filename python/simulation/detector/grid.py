"""CMS's numbering of calorimeter cells: crystals of the ECAL, towers of the HCAL, and the grid that both lie on.

The grid has 280 rows in eta (55 of the negative endcap, 170 of the barrel, 55 of the positive one) and 360 columns in
phi. A tower of the HCAL's barrel and endcaps covers 5 rows and 5 columns, 10 columns where its ring has 36 towers.
Column 0 is ``iphi`` 1 of the ECAL's barrel, which lies at -10 to -9 degrees: ``iphi`` 1 of the HCAL is 11 to 15 of the
ECAL (``EBDetId::tower_iphi``). ``plugins/CaloGrid.h`` says the same for CMSSW.
"""

from __future__ import annotations

import numpy as np

ROWS, COLUMNS = 280, 360
HALF = ROWS // 2
CRYSTAL = 2 * np.pi / COLUMNS
"""Crystals of the barrel in eta and phi."""
BARREL = 85
"""Crystals of the barrel on each side."""
ENDCAP = 100
"""Crystals of an endcap in x and in y."""
TOWER = 5
"""Rows and columns of a tower."""
FIRST_COLUMN = -10 * CRYSTAL
"""Where column 0 begins in phi."""
RINGS = 28
LAST_FINE_RING = 20
"""Behind it a ring has 36 towers with odd ``iphi``."""
TOWER_EDGES = np.concatenate([
    0.087 * np.arange(21), [1.830, 1.930, 2.043, 2.172, 2.322, 2.500, 2.650, 3.000]
])  # fmt: skip
"""Lower edges in abs(eta) of the rings from 1 on; 28 includes 29; as in CMSSW's
``Phase1Grid::phase1_towerEtas_``."""
_BARREL_END = BARREL * CRYSTAL
_ENDCAP_EDGES = np.maximum(
    np.interp(np.arange(HALF - BARREL + 1) / TOWER, np.arange(12), TOWER_EDGES[17:]), _BARREL_END
)
ROW_EDGES = np.concatenate([CRYSTAL * np.arange(BARREL), _ENDCAP_EDGES])
"""Edges in abs(eta) of the rows from the middle on, (141,)."""


def barrel_eta(ieta: np.ndarray) -> np.ndarray:
    """Return the middle of crystals; there is no ``ieta`` 0."""
    return (ieta - 0.5 * np.sign(ieta)) * CRYSTAL


def barrel_phi(iphi: np.ndarray) -> np.ndarray:
    """Return the middle of crystals, in [-pi, pi)."""
    return (FIRST_COLUMN + (iphi - 0.5) * CRYSTAL + np.pi) % (2 * np.pi) - np.pi


def barrel_row(ieta: np.ndarray) -> np.ndarray:
    """Return the row of crystals of the barrel."""
    return np.where(ieta > 0, HALF - 1, HALF) + ieta


def row(eta: np.ndarray) -> np.ndarray:
    """Return the row of a place; -1 beyond the grid."""
    step = np.searchsorted(ROW_EDGES, np.abs(eta), side="right") - 1
    rows = np.where(np.signbit(eta), HALF - 1 - step, HALF + step)
    return np.where(step < HALF, rows, -1)


def column(phi: np.ndarray) -> np.ndarray:
    """Return the column of a place."""
    return np.floor((np.asarray(phi) - FIRST_COLUMN) / CRYSTAL).astype(np.int64) % COLUMNS


def tower_eta(ieta: np.ndarray) -> np.ndarray:
    """Return the middle of towers in eta."""
    ring = np.abs(ieta)
    return np.sign(ieta) * (TOWER_EDGES[ring - 1] + TOWER_EDGES[ring]) / 2


def tower_phi(ieta: np.ndarray, iphi: np.ndarray) -> np.ndarray:
    """Return the middle of towers in phi, in [-pi, pi): ``iphi`` 1 begins at 0, and a coarse tower covers two."""
    width = np.where(np.abs(ieta) > LAST_FINE_RING, 2, 1)
    return ((iphi - 1 + width / 2) * TOWER * CRYSTAL + np.pi) % (2 * np.pi) - np.pi


def tower_columns(iphi: int) -> np.ndarray:
    """Return the (5,) columns of the grid behind which a tower of one step in ``iphi`` lies."""
    return (TOWER * (iphi + 1) + np.arange(TOWER)) % COLUMNS


def seed(ieta: np.ndarray, iphi: np.ndarray, energy: np.ndarray, at: tuple[float, float]) -> tuple[int, int, float]:
    """Find the tower with the largest energy among the 7 x 7 about a direction.

    Parameters
    ----------
    ieta, iphi, energy
        Of the hits; those of a tower at several depths are summed.
    at
        The direction: eta and phi.

    Returns
    -------
    tuple[int, int, float]
        ``ieta``, ``iphi`` and energy; of equal ones that of the smaller ``ieta``, then ``iphi``. Where none has energy,
        the tower of the direction, and 0.
    """
    ring, step = tower_at(*at)
    totals: dict[tuple[int, int], float] = {}
    for i, j, e in zip(ieta.tolist(), iphi.tolist(), energy.tolist()):
        if abs(rank(i) - rank(ring)) <= 3 and abs((j - step + 36) % 72 - 36) <= 3:
            totals[i, j] = totals.get((i, j), 0.0) + e
    best = max(sorted(totals), key=totals.__getitem__, default=None)
    return (ring, step, 0.0) if best is None or totals[best] <= 0 else (*best, totals[best])


def rank(ieta: int) -> int:
    """Return the number of a ring, counted without a gap at 0: -1 is 0 and 1 is 1."""
    return ieta if ieta > 0 else ieta + 1


def tower_at(eta: float, phi: float) -> tuple[int, int]:
    """Return ``ieta`` and ``iphi`` of the tower in a direction; beyond ring 28 that of ring 28."""
    ring = min(int(np.searchsorted(TOWER_EDGES, abs(eta), side="right")), RINGS)
    step = int(np.floor(phi / (TOWER * CRYSTAL))) % 72
    step -= step % 2 if ring > LAST_FINE_RING else 0
    return (-ring if np.signbit(eta) else ring), step + 1
