"""Energy in the calorimeters: deposits of close particles merge into one tower, and it is measured once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compiled import jit
from ..flat import wrap
from .response import Calorimeter


@dataclass(frozen=True)
class Towers:
    """Measured towers, flat and in the order of the events.

    ``group`` is the tower of each deposit; ``event`` i8, ``energy`` and ``sigma`` GeV, ``eta`` and ``phi`` (of the
    deposits' centre, seen from the detector's) and ``leading`` (position of the largest deposit) are those of each
    tower.
    """

    group: np.ndarray
    event: np.ndarray
    energy: np.ndarray
    sigma: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    leading: np.ndarray


@jit
def _merge(event: np.ndarray, cell: np.ndarray, energy: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the towers numbers by their first hit; return them and the position of each one's largest deposit."""
    latest = np.full(cells, -1, np.int64)
    group = np.empty(len(cell), np.int64)
    leading = np.empty(len(cell), np.int64)
    towers = 0
    for i in range(len(cell)):
        tower = latest[cell[i]]
        if tower < 0 or event[leading[tower]] != event[i]:
            tower = towers
            latest[cell[i]], leading[tower] = tower, i
            towers += 1
        elif energy[i] > energy[leading[tower]]:
            leading[tower] = i
        group[i] = tower
    return group, leading[:towers].copy()


def measure(
    calorimeter: Calorimeter,
    event: np.ndarray,
    eta: np.ndarray,
    phi: np.ndarray,
    energy: np.ndarray,
    rng: np.random.Generator,
) -> Towers:
    """Merge deposits (``event`` ascending, position on the face, GeV) into towers and smear their energies.

    The smearing is log-normal with the mean and the width of the stated resolution, as in Delphes (arXiv:1307.6346),
    so that no energy is negative where the resolution is poor.
    """
    group, leading = _merge(event, calorimeter.cell(eta, phi), energy, calorimeter.cells)
    size = len(leading)
    total = np.bincount(group, weights=energy, minlength=size)
    share = energy / np.maximum(total, 1e-12)[group]
    centre_eta = np.bincount(group, weights=share * eta, minlength=size)
    first = phi[leading]
    centre_phi = wrap(first + np.bincount(group, weights=share * wrap(phi - first[group]), minlength=size))
    sigma = calorimeter.resolution(total, centre_eta)
    log_sigma2 = np.log1p((sigma / np.maximum(total, 1e-12)) ** 2)
    smeared = total * np.exp(np.sqrt(log_sigma2) * rng.standard_normal(size) - log_sigma2 / 2)
    return Towers(group, event[leading], smeared, sigma, centre_eta, centre_phi, leading)


def sum_in(towers: Towers, values: np.ndarray) -> np.ndarray:
    """Return the sum of a value of the deposits in each tower."""
    return np.bincount(towers.group, weights=values, minlength=len(towers.event))
