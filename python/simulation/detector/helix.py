"""Charged particles in the solenoid's field: the way to the calorimeter and the point of closest approach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compiled import jit

MM_PER_GEV = 1e3 / 0.299792458  # radius (mm) of a unit charge with 1 GeV of transverse momentum in 1 T


@dataclass(frozen=True)
class Solenoid:
    """Field (T) and the cylinder (mm) of the calorimeters' inner face; CMS, JINST 3 (2008) S08004."""

    field: float = 3.8
    radius: float = 1290.0
    half_length: float = 2900.0


@jit
def _line(x: float, y: float, ux: float, uy: float, radius: float) -> float:
    """Return the way (mm) from a point inside of the circle to it, along a unit vector."""
    along = x * ux + y * uy
    return np.sqrt(along * along + radius**2 - x * x - y * y) - along


@jit
def _arc(cx: float, cy: float, r: float, start: float, turn: float, radius: float) -> float:
    """Return the way (mm) on a circle about (cx, cy), from the angle ``start`` on, to that about the beam."""
    d = np.hypot(cx, cy)
    if d + r < radius or abs(d - r) > radius:
        return np.inf
    middle, half = np.arctan2(cy, cx), np.arccos((radius**2 - d * d - r * r) / (2 * d * r))
    return r * min((turn * (middle + half - start)) % (2 * np.pi), (turn * (middle - half - start)) % (2 * np.pi))


@jit
def propagate(
    px: np.ndarray, py: np.ndarray, pz: np.ndarray, charge: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray,
    field: float, radius: float, half_length: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Follow particles to the cylinder (exact circle, no energy loss).

    Momenta in GeV, positions in mm. Returns x, y, z (mm) where they end and whether they reach the cylinder within half
    a turn; a looper ends after half a turn, where it is about farthest from the beam. A particle that starts outside of
    the cylinder stays where it is.
    """
    n = len(px)
    x, y, z = x.copy(), y.copy(), z.copy()
    reached = np.ones(n, np.bool_)
    for i in range(n):
        if x[i] ** 2 + y[i] ** 2 >= radius**2 or abs(z[i]) >= half_length:
            continue
        pt = max(np.hypot(px[i], py[i]), 1e-12)
        ux, uy, slope = px[i] / pt, py[i] / pt, pz[i] / pt
        s = (np.copysign(half_length, slope) - z[i]) / slope if abs(slope) > 1e-9 else np.inf
        if charge[i] == 0:
            s = min(s, _line(x[i], y[i], ux, uy, radius))
            x[i] += s * ux
            y[i] += s * uy
        else:
            turn = -np.sign(charge[i])  # dphi/ds of a positive charge is negative in a field along +z
            r = pt * MM_PER_GEV / (field * abs(charge[i]))
            cx, cy = x[i] - turn * r * uy, y[i] + turn * r * ux
            start = np.arctan2(y[i] - cy, x[i] - cx)
            s = min(s, _arc(cx, cy, r, start, turn, radius))
            reached[i] = s <= np.pi * r
            s = min(s, np.pi * r)
            x[i], y[i] = cx + r * np.cos(start + turn * s / r), cy + r * np.sin(start + turn * s / r)
        z[i] += s * slope
    return x, y, z, reached


@jit
def perigee(
    px: np.ndarray, py: np.ndarray, pz: np.ndarray, charge: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray,
    to_x: np.ndarray, to_y: np.ndarray, to_z: np.ndarray, field: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Where charged particles come closest to a point in the transverse plane.

    Momenta in GeV at (x, y, z), positions in mm. Returns dxy = -Dx sin(phi) + Dy cos(phi) and dz (mm), and the
    direction phi there; the signs are those of reco::TrackBase::dxy and dz.
    """
    n = len(px)
    dxy, dz, phi = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        pt = np.hypot(px[i], py[i])
        turn = -np.sign(charge[i])
        r = pt * MM_PER_GEV / (field * abs(charge[i]))
        cx, cy = x[i] - turn * r * py[i] / pt, y[i] + turn * r * px[i] / pt
        nx, ny = to_x[i] - cx, to_y[i] - cy
        d = np.hypot(nx, ny)
        dxy[i] = turn * (d - r)
        phi[i] = np.arctan2(turn * nx, -turn * ny)
        # the angle from the start to the closest point, seen from the centre
        ax, ay = x[i] - cx, y[i] - cy
        s = turn * r * np.arctan2(ax * ny - ay * nx, ax * nx + ay * ny)
        dz[i] = z[i] + s * pz[i] / pt - to_z[i]
    return dxy, dz, phi
