"""The detector's numbers: acceptance, efficiency and resolution as functions of pt (GeV) and pseudorapidity.

[T] CMS tracking, arXiv:1405.6569; [PF] particle flow, arXiv:1706.04965; [E] electrons and photons, arXiv:2012.06888;
[M] muons, arXiv:1804.04528; [C] the CMS detector, JINST 3 (2008) S08004; [D] Delphes, arXiv:1307.6346, and its card
``delphes_card_CMS.tcl``, where no paper gives numbers. What has no source is chosen to look like those papers' figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UM = 1e-3  # mm


def binned(edges: tuple[float, ...], table: tuple[float, ...], eta: np.ndarray) -> np.ndarray:
    """Return the entry of the table for each |eta|; ``edges`` are the upper ones of all bins but the last."""
    return np.asarray(table)[np.searchsorted(np.asarray(edges), np.abs(eta))]


@dataclass(frozen=True)
class Tracker:
    """Tracks of charged particles.

    Efficiency of hadrons above 0.9 GeV: 94 % for |eta| < 0.9, 85 % beyond, of muons nearly 1 ([T], abstract), of
    electrons after loss by bremsstrahlung 0.95 and 0.87 (near those of [D]); it rises from 0.1 GeV, where the innermost
    stations are just reached, and falls to nothing for particles made at 60 cm (chosen, cf. [T]). Resolution of pt:
    constant (+) linear term, for muons and electrons those of [D], for hadrons with a linear term that gives 2 to 3 %
    at 100 GeV within |eta| < 1.5 ([T], abstract: 2.8 % for |eta| < 1.4). Resolution of dxy and dz: constant (+)
    multiple scattering, 10 and 30 um at 100 GeV ([T], abstract), about 0.1 mm near 1 GeV (chosen, cf. [T]). A share of
    the tracks is measured worse, a tail.
    """

    max_eta: float = 2.5
    min_pt: float = 0.1
    turn_on: float = 0.15
    plateau_edges: tuple[float, ...] = (0.9,)
    hadron: tuple[float, ...] = (0.94, 0.85)
    electron: tuple[float, ...] = (0.95, 0.87)
    muon: tuple[float, ...] = (0.995, 0.99)
    last_radius: float = 600.0  # mm
    edges: tuple[float, ...] = (0.5, 1.5)
    constant: tuple[float, ...] = (0.01, 0.015, 0.025)
    linear_hadron: tuple[float, ...] = (1.5e-4, 2.5e-4, 5.5e-4)  # 1/GeV
    linear_muon: tuple[float, ...] = (1.0e-4, 1.5e-4, 3.5e-4)
    linear_electron: tuple[float, ...] = (1.3e-3, 1.7e-3, 3.1e-3)
    constant_electron: tuple[float, ...] = (0.03, 0.05, 0.15)
    dxy: tuple[float, float, float] = (10 * UM, 90 * UM, 0.35)  # mm, mm GeV, power of cosh(eta)
    dz: tuple[float, float, float] = (30 * UM, 110 * UM, 1.0)
    tail_share: float = 0.05
    tail_factor: float = 3.0
    angle: float = 3e-4  # of eta and phi, rad; chosen, cf. [T]

    def efficiency(self, pdg: np.ndarray, pt: np.ndarray, eta: np.ndarray, radius: np.ndarray) -> np.ndarray:
        """Of particles by |pdgId|, pt (GeV), eta and radius of production (mm)."""
        side = np.searchsorted(np.asarray(self.plateau_edges), np.abs(eta))
        kind = np.where(pdg == 13, 2, np.where(pdg == 11, 1, 0))
        plateau = np.array([self.hadron, self.electron, self.muon])[kind, side]
        rise = -np.expm1(-np.maximum(pt - self.min_pt, 0) / self.turn_on)
        displaced = np.clip(1 - radius / self.last_radius, 0, 1)
        return np.where(np.abs(eta) < self.max_eta, plateau * rise * displaced, 0)

    def pt_resolution(self, pdg: np.ndarray, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
        """Relative resolution of pt by |pdgId|."""
        side = np.searchsorted(np.asarray(self.edges), np.abs(eta))
        kind = np.where(pdg == 13, 2, np.where(pdg == 11, 1, 0))
        constant = np.array([self.constant, self.constant_electron, self.constant])[kind, side]
        linear = np.array([self.linear_hadron, self.linear_electron, self.linear_muon])[kind, side]
        return np.hypot(constant, linear * pt)

    def dxy_resolution(self, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
        """Of the transverse impact parameter (mm), core."""
        constant, scattering, power = self.dxy
        return np.hypot(constant, scattering * np.cosh(eta) ** power / pt)

    def dz_resolution(self, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
        """Of the longitudinal impact parameter (mm), core."""
        constant, scattering, power = self.dz
        cosh = np.cosh(eta)
        return np.hypot(constant * np.sqrt(cosh), scattering * cosh**power / pt)


@dataclass(frozen=True)
class Calorimeter:
    """Towers of one calorimeter: cell sizes, energy resolution and what makes a candidate.

    In each range of |eta| (barrel, endcap, forward) sigma^2 = f(eta)^2 ((stochastic^2 E) + noise^2 + (constant E)^2).
    """

    edges: tuple[float, float]
    cell_eta: tuple[float, float, float]
    cells_phi: tuple[int, int, int]
    stochastic: tuple[float, float, float]  # sqrt(GeV)
    noise: tuple[float, float, float]  # GeV
    constant: tuple[float, float, float]
    min_energy: tuple[float, float, float]  # GeV
    significance: float
    material: bool = False

    def region(self, eta: np.ndarray) -> np.ndarray:
        """0, 1 or 2: barrel, endcap, forward."""
        return np.searchsorted(np.asarray(self.edges), np.abs(eta))

    def resolution(self, energy: np.ndarray, eta: np.ndarray) -> np.ndarray:
        """Of the energy (GeV)."""
        region = self.region(eta)
        s, n, c = (np.asarray(t)[region] for t in (self.stochastic, self.noise, self.constant))
        sigma = np.sqrt(s**2 * energy + n**2 + (c * energy) ** 2)
        return sigma * self._material(np.abs(eta), region) if self.material else sigma

    @staticmethod
    def _material(eta: np.ndarray, region: np.ndarray) -> np.ndarray:
        """Return the growth by the tracker's material, CMS, arXiv:1306.2016 as parametrised in [D]."""
        return np.choose(region, [1 + 0.64 * eta**2, 2.16 + 5.6 * (np.minimum(eta, 2.5) - 2) ** 2, np.ones_like(eta)])

    def cell(self, eta: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """Return A number below ``cells`` for each position; the parts have cells of different size."""
        region = self.region(eta)
        columns = np.asarray(self.cells_phi)[region]
        row = np.floor(eta / np.asarray(self.cell_eta)[region]).astype(np.int64) + self._rows()
        column = np.minimum((phi + np.pi) / (2 * np.pi) * columns, columns - 1).astype(np.int64)
        return (region * 2 * self._rows() + row) * max(self.cells_phi) + column

    @property
    def cells(self) -> int:
        """How many numbers ``cell`` uses."""
        return 3 * 2 * self._rows() * max(self.cells_phi)

    def _rows(self) -> int:
        return int(FORWARD_END / min(self.cell_eta)) + 1


FORWARD_END = 5.0  # |eta| where the forward calorimeter ends

# Stochastic, noise and constant term: test beam of the barrel ([C]: 2.8 %, 0.12 GeV, 0.3 %), constant 0.8 % in the
# running detector ([D]); forward [D]. Cells: two crystals, since clusters need a local maximum each ([PF]); thresholds
# chosen, higher in the endcap as its noise is.
ECAL = Calorimeter(
    edges=(1.479, 3.0), cell_eta=(0.0348, 0.0348, 0.175), cells_phi=(180, 180, 36), stochastic=(0.028, 0.028, 2.08),
    noise=(0.12, 0.12, 0.0), constant=(0.008, 0.008, 0.107), min_energy=(0.3, 0.6, 5.0), significance=2.0,
    material=True,
)  # fmt: skip
# Resolution and thresholds of [D], but for the endcap's threshold.
HCAL = Calorimeter(
    edges=(1.653, 3.0), cell_eta=(0.087, 0.175, 0.175), cells_phi=(72, 36, 36), stochastic=(1.50, 1.50, 2.70),
    noise=(0.0, 0.0, 0.0), constant=(0.05, 0.05, 0.13), min_energy=(1.0, 1.5, 5.0), significance=1.0,
)  # fmt: skip
ECAL_SHARE = 0.3  # of a neutral hadron's energy ([D])


@dataclass(frozen=True)
class Identification:
    """Electrons and muons among the tracks, and hadrons taken for them.

    Electrons: 95 % from 10 GeV on in the barrel, 90 % in the endcaps, the seeding falls off below 5 GeV; 0.2 % of the
    charged hadrons above 2 GeV pass the loosest identification; wrong charge 0.3 and 1.5 % (chosen, cf. [E]). Muons:
    99 % where they reach the stations, 0.1 % of pions and 0.3 % of kaons are taken for one (chosen, cf. [M]).
    """

    electron: tuple[float, float] = (0.95, 0.90)
    electron_turn_on: float = 4.0  # GeV
    electron_fake: float = 0.002
    electron_fake_pt: float = 2.0
    wrong_charge: tuple[float, float] = (0.003, 0.015)
    barrel: float = 1.479
    muon: float = 0.99
    muon_eta: float = 2.4
    muon_momentum: tuple[float, float] = (3.3, 0.25)  # smallest momentum in the barrel's bend (GeV), width
    muon_endcap_pt: float = 1.0
    pion_to_muon: float = 0.001
    kaon_to_muon: float = 0.003

    def electron_efficiency(self, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
        """To be identified, for a track of an electron."""
        return binned((self.barrel,), self.electron, eta) * -np.expm1(-pt / self.electron_turn_on)

    def muon_efficiency(self, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
        """To be identified, for a track of a muon: pt counts in the barrel, momentum in the endcaps."""
        least, width = self.muon_momentum
        momentum = np.minimum(pt * np.cosh(eta), pt * least / self.muon_endcap_pt)
        return np.where(np.abs(eta) < self.muon_eta, self.muon / (1 + np.exp((least - momentum) / width)), 0)


TRACKER = Tracker()
IDENTIFICATION = Identification()
