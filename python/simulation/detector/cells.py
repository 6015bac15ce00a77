"""Hits of the calorimeters, cell by cell: crystals of the ECAL and towers of the HCAL, for images.

Each shower is spread over the cells by its lateral profile, integrated over every cell in closed form; cells fluctuate,
are calibrated imperfectly, have noise, and are kept above a threshold. Crystals of an endcap lie in x and y. The HCAL
has one depth, and showers go on to it in the direction in which they reached the ECAL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...compiled import jit
from ..flat import count, offsets_of
from . import grid
from .candidates import SOLENOID, Arrivals
from .response import ECAL_SHARE, FORWARD_END, HCAL
from .showers import through_material


@dataclass(frozen=True)
class Crystals:
    """Showers in crystals of lead tungstate, and what is read out of them.

    The profile is p 2 r C^2 / (r^2 + C^2)^2 + (1 - p) 2 r T^2 / (r^2 + T^2)^2 with C ``core``, T ``tail`` and p
    ``share`` (Grindhammer, Peters, hep-ex/0001020). Their parametrisation for a homogeneous calorimeter, as in CMSSW's
    SimGeneral/GFlash and with a Moliere radius of 21.9 mm, gives 78, 94 and 97 % of the energy in 1, 9 and 25 crystals
    at any energy when it is averaged over the depth; the three numbers here have the same containment. Chosen are: the
    ``width`` fluctuation from shower to shower, the ``sampling`` (GeV: a cell of energy e has a variance of
    ``sampling`` e; with it the stochastic term of the test beam, 2.8 %, JINST 3 S08004), the miscalibration, and noise
    and thresholds of barrel and endcap (GeV), which look like those of CMS in Run 2. Noise is there only in crystals
    that a shower's window covers, as the selective readout reads those near energy in full.
    """

    core: float = 5.6  # mm
    tail: float = 43.0
    share: float = 0.93
    width: float = 0.12
    sampling: float = 0.028**2
    miscalibration: float = 0.005
    noise: tuple[float, float] = (0.045, 0.15)
    threshold: tuple[float, float] = (0.11, 0.35)
    window: tuple[tuple[float, int], ...] = ((1.0, 3), (10.0, 5), (np.inf, 8))
    """Up to which energy (GeV) of a shower how many crystals on each side of the middle one are looked at."""


@dataclass(frozen=True)
class Hadrons:
    """Hadrons in both calorimeters; all numbers are chosen.

    Two thirds begin to shower in the ECAL, about one interaction length deep, and leave there a share of their energy,
    flat from 0 to 2 * mean, in a wider profile; the others, and muons, leave what a minimally ionising particle does.
    In the HCAL a shower has one component of ``radius``, mm.
    """

    early: float = 2 / 3
    wider: float = 2.5
    ionisation: tuple[float, float] = (0.25, 2.0)  # GeV, of the ECAL and the HCAL
    radius: float = 60.0
    face: tuple[float, float] = (1800.0, 4000.0)  # mm: the HCAL's inner radius and half length
    noise: float = 0.2  # GeV
    threshold: float = 0.6
    window: int = 2


CRYSTALS, HADRONS = Crystals(), Hadrons()
PITCH = SOLENOID.half_length / np.sinh(grid.BARREL * grid.CRYSTAL) / (grid.ENDCAP / 2)
"""Crystals of an endcap (mm) on the face at which showers begin: 50 from the beam to where the barrel ends."""


@dataclass(frozen=True)
class Deposits:
    """Energy (GeV) that particles leave in a calorimeter.

    ``event`` ascending, ``eta`` and ``phi`` on the face, ``width`` the factor of each shower's profile.
    """

    event: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    energy: np.ndarray
    width: np.ndarray


def simulate(
    arrivals: Arrivals, size: int, rng: np.random.Generator, *, material: bool
) -> dict[str, tuple[np.ndarray, dict]]:
    """Return the hits of ``size`` events: for each table its (size + 1,) offsets and its columns, flat.

    Without ``material`` photons do not convert and electrons do not radiate. The same ``rng`` state gives the same.
    """
    electromagnetic, hadronic = deposits(through_material(arrivals, rng) if material else arrivals, rng)
    return {
        "EcalHit": _tables(electromagnetic, size, lambda of_event: crystals(of_event, rng), _ecal_columns),
        "HcalHit": _tables(hadronic, size, lambda of_event: towers(of_event, rng), _hcal_columns),
    }


def deposits(arrivals: Arrivals, rng: np.random.Generator) -> tuple[Deposits, Deposits]:
    """Share the energies of particles at the calorimeters between ECAL and HCAL."""
    particles = arrivals.particles
    seen = arrivals.reached & (np.abs(arrivals.eta) < FORWARD_END)
    kind = np.abs(particles.pdg)
    shower, muon = (kind == 22) | (kind == 11), kind == 13
    early = rng.random(len(kind)) < HADRONS.early
    flat = rng.uniform(0, 2 * ECAL_SHARE / HADRONS.early, len(kind)) * particles.e
    mip_ecal, mip_hcal = (np.minimum(size, particles.e) for size in HADRONS.ionisation)
    least = np.where(particles.charge != 0, mip_ecal, 0.0)
    ecal = np.where(shower, particles.e, np.where(early & ~muon, flat, least))
    hcal = np.where(shower, 0.0, np.where(muon, mip_hcal, particles.e - ecal))
    fluctuation = np.exp(CRYSTALS.width * rng.standard_normal(len(kind)))
    width = fluctuation * np.where(shower, 1.0, np.where(early & ~muon, HADRONS.wider, 1.0))
    sigma = np.sqrt(np.log1p((HCAL.resolution(hcal, arrivals.eta) / np.maximum(hcal, 1e-12)) ** 2))
    hcal = hcal * np.exp(sigma * rng.standard_normal(len(kind)) - sigma**2 / 2)
    return tuple(  # type: ignore[return-value]
        Deposits(particles.event[k], arrivals.eta[k], arrivals.phi[k], energy[k], width[k])
        for energy, k in ((ecal, seen & (ecal > 0)), (hcal, seen & (hcal > 0)))
    )


# -- profiles ---------------------------------------------------------------------------------------------------------


@jit
def corner(x: float, y: float, r: float) -> float:
    """Integrate r^2 / (pi (x^2 + y^2 + r^2)^2) over the rectangle between the origin and (x, y)."""
    a, b = np.sqrt(x * x + r * r), np.sqrt(y * y + r * r)
    return (x / a * np.arctan(y / a) + y / b * np.arctan(x / b)) / (2 * np.pi)


@jit
def integral(x0: float, x1: float, y0: float, y1: float, r: float) -> float:
    """Return the share of a shower of one component that falls into a rectangle."""
    return corner(x1, y1, r) - corner(x0, y1, r) - corner(x1, y0, r) + corner(x0, y0, r)


@jit
def spread_crystals(
    energy: np.ndarray, touched: np.ndarray, x: float, y: float, pitch: float, shower: float,
    core: float, tail: float, share: float, half: int, circular: bool,
) -> None:  # fmt: skip
    """Add a shower to the crystals of a square lattice, each corner of which is computed once.

    Parameters
    ----------
    energy, touched
        (rows, columns): GeV, to which is added, and whether a window covers the crystal, which is set.
    x, y
        Of the shower, from the lattice's corner, in the units of ``pitch``, ``core`` and ``tail``.
    shower
        Its energy (GeV). What falls outside of its window is given to the crystals inside.
    half
        How many crystals on each side of the middle one are looked at.
    circular
        The columns are a circle.
    """
    rows, columns = energy.shape
    first_row, first_column = int(np.floor(x / pitch)) - half, int(np.floor(y / pitch)) - half
    side = 2 * half + 1
    corners = np.empty((side + 1, side + 1))
    for i in range(side + 1):
        dx = (first_row + i) * pitch - x
        for j in range(side + 1):
            dy = (first_column + j) * pitch - y
            corners[i, j] = share * corner(dx, dy, core) + (1 - share) * corner(dx, dy, tail)
    inside = corners[side, side] - corners[0, side] - corners[side, 0] + corners[0, 0]
    for i in range(side):
        row = first_row + i
        if row < 0 or row >= rows:
            continue
        for j in range(side):
            column = first_column + j
            if circular:
                column %= columns
            elif column < 0 or column >= columns:
                continue
            part = corners[i + 1, j + 1] - corners[i, j + 1] - corners[i + 1, j] + corners[i, j]
            energy[row, column] += shower * part / inside
            touched[row, column] = True


@jit
def spread_towers(
    energy: np.ndarray, touched: np.ndarray, edges: np.ndarray, eta: float, phi: float, shower: float, radius: float,
    scale: float, half: int,
) -> None:  # fmt: skip
    """Add a shower to the towers of the HCAL: (rings, 72) GeV, of rings with 36 towers only every second column.

    ``edges`` (rings + 1,) are those of all rings in eta, ``scale`` is mm per unit of eta and of phi.
    """
    rings = len(edges) - 1
    middle = int(np.searchsorted(edges, eta, side="right")) - 1
    step = 2 * np.pi / 72
    fine = rings // 2 - 20
    total = 0.0
    parts = np.zeros((2 * half + 1, 2 * half + 1))
    for sweep in range(2):
        for i in range(-half, half + 1):
            ring = middle + i
            if ring < 0 or ring >= rings:
                continue
            width = 2 if ring < fine or ring >= rings - fine else 1
            column = int(np.floor(phi / step / width))
            for j in range(-half, half + 1):
                if sweep == 0:
                    low = ((column + j) * width * step - phi) * scale
                    part = integral(
                        (edges[ring] - eta) * scale,
                        (edges[ring + 1] - eta) * scale,
                        low,
                        low + width * step * scale,
                        radius,
                    )
                    parts[i + half, j + half] = part
                    total += part
                else:
                    at = ((column + j) * width) % 72
                    energy[ring, at] += shower * parts[i + half, j + half] / total
                    touched[ring, at] = True


# -- cells of one event -----------------------------------------------------------------------------------------------

_RINGS = np.concatenate([-grid.TOWER_EDGES[::-1], grid.TOWER_EDGES[1:]])


def crystals(showers: Deposits, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return part (-1, 0, 1: negative endcap, barrel, positive endcap), two indices and energy of an event's crystals.

    The indices are ``ieta`` and ``iphi`` in the barrel, ``ix`` and ``iy`` in an endcap, both from 1 on.
    """
    barrel = np.abs(showers.eta) < grid.BARREL * grid.CRYSTAL
    parts = [_barrel(showers, barrel, rng)]
    for side in (-1, 1):
        chosen = ~barrel & (np.sign(showers.eta) == side) & (np.abs(showers.eta) < grid.TOWER_EDGES[-1])
        if chosen.any():
            parts.append(_endcap(showers, chosen, side, rng))
    return tuple(np.concatenate(column) for column in zip(*parts))


def _barrel(showers: Deposits, chosen: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    energy, touched = _spread(
        showers, chosen, (2 * grid.BARREL, grid.COLUMNS), grid.CRYSTAL * SOLENOID.radius,
        (showers.eta + grid.BARREL * grid.CRYSTAL) * SOLENOID.radius,
        (showers.phi - grid.FIRST_COLUMN) * SOLENOID.radius, circular=True,
    )  # fmt: skip
    row, column, measured = _read_out(energy, touched, 0, rng)
    ieta = np.where(row < grid.BARREL, row - grid.BARREL, row - grid.BARREL + 1)
    return np.zeros(len(row), np.int64), ieta, column + 1, measured


def _endcap(showers: Deposits, chosen: np.ndarray, side: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    radius = SOLENOID.half_length / np.sinh(np.abs(showers.eta))
    middle = grid.ENDCAP / 2 * PITCH
    energy, touched = _spread(
        showers, chosen, (grid.ENDCAP, grid.ENDCAP), PITCH, middle + radius * np.cos(showers.phi),
        middle + radius * np.sin(showers.phi), circular=False,
    )  # fmt: skip
    ix, iy, measured = _read_out(energy, touched & _CRYSTALS_OF_ENDCAP, 1, rng)
    return np.full(len(ix), side), ix + 1, iy + 1, measured


def _spread(
    showers: Deposits, chosen: np.ndarray, shape: tuple[int, int], pitch: float, x: np.ndarray, y: np.ndarray, *,
    circular: bool,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    energy, touched = np.zeros(shape), np.zeros(shape, np.bool_)
    limits, halves = (np.array(column) for column in zip(*CRYSTALS.window))
    half = halves[np.searchsorted(limits, showers.energy)]
    for k in np.flatnonzero(chosen):
        spread_crystals(
            energy, touched, x[k], y[k], pitch, showers.energy[k], CRYSTALS.core * showers.width[k],
            CRYSTALS.tail * showers.width[k], CRYSTALS.share, half[k], circular,
        )  # fmt: skip
    return energy, touched


def _read_out(
    energy: np.ndarray, touched: np.ndarray, part: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, column and energy of the crystals above threshold."""
    row, column = np.nonzero(touched)
    # the sum of gamma variates of one scale is one: fluctuations of single showers add up to this one's
    collected = rng.gamma(energy[row, column] / CRYSTALS.sampling) * CRYSTALS.sampling
    noise = rng.standard_normal((2, len(row)))
    measured = collected * (1 + CRYSTALS.miscalibration * noise[0]) + CRYSTALS.noise[part] * noise[1]
    kept = measured > CRYSTALS.threshold[part]
    return row[kept], column[kept], measured[kept]


def towers(showers: Deposits, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``ieta``, ``iphi`` and energy of an event's towers above threshold."""
    energy, touched = np.zeros((2 * grid.RINGS, 72)), np.zeros((2 * grid.RINGS, 72), np.bool_)
    scale = np.minimum(HADRONS.face[0], HADRONS.face[1] / np.sinh(np.maximum(np.abs(showers.eta), 1e-9)))
    for k in np.flatnonzero(np.abs(showers.eta) < grid.TOWER_EDGES[-1]):
        spread_towers(
            energy, touched, _RINGS, showers.eta[k], showers.phi[k], showers.energy[k], HADRONS.radius, scale[k],
            HADRONS.window,
        )  # fmt: skip
    ring, step = np.nonzero(touched)
    measured = energy[ring, step] + HADRONS.noise * rng.standard_normal(len(ring))
    kept = measured > HADRONS.threshold
    ieta = np.where(ring < grid.RINGS, ring - grid.RINGS, ring - grid.RINGS + 1)
    return ieta[kept], step[kept] + 1, measured[kept]


# -- tables -----------------------------------------------------------------------------------------------------------


def _crystals_of_endcap() -> np.ndarray:
    centre = (np.arange(grid.ENDCAP) + 0.5 - grid.ENDCAP / 2) * PITCH
    eta = np.arcsinh(SOLENOID.half_length / np.hypot(centre[:, None], centre[None, :]))
    return (eta > grid.BARREL * grid.CRYSTAL) & (eta < grid.TOWER_EDGES[-1])


_CRYSTALS_OF_ENDCAP = _crystals_of_endcap()


def _tables(
    showers: Deposits,
    size: int,
    of_event: Callable[[Deposits], tuple[np.ndarray, ...]],
    columns: Callable[..., dict[str, np.ndarray]],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    bounds = offsets_of(count(showers.event, size))
    events = [
        of_event(Deposits(**{name: column[begin:end] for name, column in vars(showers).items()}))
        for begin, end in zip(bounds, bounds[1:])
    ]
    return offsets_of(np.array([len(hits[0]) for hits in events])), columns(*map(np.concatenate, zip(*events)))


def _ecal_columns(part: np.ndarray, first: np.ndarray, second: np.ndarray, energy: np.ndarray) -> dict[str, np.ndarray]:
    barrel = part == 0
    x, y = ((index - 0.5 - grid.ENDCAP / 2) * PITCH for index in (first, second))
    with np.errstate(divide="ignore"):  # of indices of the barrel
        eta = np.where(barrel, grid.barrel_eta(first), part * np.arcsinh(SOLENOID.half_length / np.hypot(x, y)))
    phi = np.where(barrel, grid.barrel_phi(second), np.arctan2(y, x))
    return {
        "eta": eta, "phi": phi, "energy": energy,
        "ieta": np.where(barrel, first, 0), "iphi": np.where(barrel, second, 0),
        "row": np.where(barrel, grid.barrel_row(first), grid.row(eta)),
        "column": np.where(barrel, second - 1, grid.column(phi)),
    }  # fmt: skip


def _hcal_columns(ieta: np.ndarray, iphi: np.ndarray, energy: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "eta": grid.tower_eta(ieta), "phi": grid.tower_phi(ieta, iphi), "energy": energy, "ieta": ieta, "iphi": iphi,
        "depth": np.ones(len(ieta), np.int64),
    }  # fmt: skip
