"""Momenta of constituents from raw features, and what the networks take from pairs of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..config.kinematics import Kinematics
from ..dataset.info import InputInfo
from ..errors import UserError

TINY = 1e-8
"""Logarithms stop here: the distance (and the transverse momentum, GeV) that counts as none."""
STEEPEST = 20.0
"""Pseudorapidity along the beam: NanoAOD has thousands where the transverse momentum is 0."""


class Momenta:
    """Finds momenta among the raw features of the inputs with constituents, which it joins in the order of ``inputs``.

    Parameters
    ----------
    inputs
        The inputs with constituents.
    kinematics
        The block ``model.kinematics``: the features of an input that are its momenta, where they have other names.
    quantities
        What must be there: "pt", "eta", "phi", "mass" (for which "energy" will do).

    Raises
    ------
    UserError
        When a feature is missing.
    """

    def __init__(
        self, inputs: Mapping[str, InputInfo], kinematics: Mapping[str, Mapping[str, Any]], quantities: tuple[str, ...]
    ) -> None:
        self._columns: dict[str, dict[str, int]] = {}
        for name, info in inputs.items():
            try:
                features = Kinematics(**kinematics.get(name, {})).find(name, info.features, quantities)
            except ValueError as error:
                raise UserError(str(error)) from None
            self._columns[name] = {quantity: info.features.index(feature) for quantity, feature in features.items()}

    def angles(self, raw: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return pseudorapidity and azimuth, (N, ΣL) each."""
        return self._joined(raw, "eta"), self._joined(raw, "phi")

    def four(self, raw: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return transverse momentum, rapidity, azimuth and mass squared, (N, ΣL) each."""
        pt, (eta, phi) = self._joined(raw, "pt").clamp(min=0), self.angles(raw)
        eta = eta.clamp(-STEEPEST, STEEPEST)
        square = torch.cat([self._mass_squared(raw[name], name) for name in self._columns], dim=1)
        rapidity = torch.asinh(torch.sinh(eta) * pt / (pt.square() + square).clamp(min=TINY**2).sqrt())
        return pt, rapidity, phi, square

    def _mass_squared(self, raw: Tensor, name: str) -> Tensor:
        columns = self._columns[name]
        if "mass" in columns:
            return raw[..., columns["mass"]].square()
        p = raw[..., columns["pt"]] * torch.cosh(raw[..., columns["eta"]].clamp(-STEEPEST, STEEPEST))
        energy = raw[..., columns["energy"]]
        return ((energy - p) * (energy + p)).clamp(min=0)

    def _joined(self, raw: Mapping[str, Tensor], quantity: str) -> Tensor:
        return torch.cat([raw[name][..., columns[quantity]] for name, columns in self._columns.items()], dim=1)


def separation_squared(eta: Tensor, phi: Tensor) -> Tensor:
    """Return Δη² + Δφ² of all pairs, (N, L) to (N, L, L)."""
    return _differences(eta).square() + _azimuths(phi).square()


def pair_features(pt: Tensor, rapidity: Tensor, phi: Tensor, mass_squared: Tensor) -> Tensor:
    """Return ln Δ, ln kT, ln z and ln m² of all pairs (Qu, Li, Qian, arXiv:2202.03772, equation 3).

    Parameters
    ----------
    pt, rapidity, phi, mass_squared
        Of the constituents, (N, L): GeV, 1, radian, GeV².

    Returns
    -------
    Tensor
        (N, L, L, 4), finite also for pairs that coincide or are padding.
    """
    azimuth, distance = _azimuths(phi), _differences(rapidity)
    log_delta = (distance.square() + azimuth.square()).clamp(min=TINY**2).log() / 2
    (pt_1, pt_2), (square_1, square_2) = _pairs(pt), _pairs(mass_squared)
    log_softer = torch.minimum(pt_1, pt_2).clamp(min=TINY).log()
    log_z = log_softer - (pt_1 + pt_2).clamp(min=TINY).log()
    # m² = m1² + m2² + 2 (mT1 mT2 cosh Δy - pT1 pT2 cos Δφ) as a sum of positive terms: nothing cancels in float32
    pts = pt_1 * pt_2
    transverse = ((pt_1.square() + square_1) * (pt_2.square() + square_2)).clamp(min=TINY**4).sqrt()
    excess = square_1 * pt_2.square() + square_2 * pt_1.square() + square_1 * square_2  # (mT1 mT2)² - (pT1 pT2)²
    opening = 2 * transverse * torch.sinh(distance / 2).square() + 2 * pts * torch.sin(azimuth / 2).square()
    square = square_1 + square_2 + 2 * (opening + excess / (transverse + pts))
    return torch.stack([log_delta, log_softer + log_delta, log_z, square.clamp(min=TINY).log()], dim=-1)


def _differences(values: Tensor) -> Tensor:
    return values.unsqueeze(2) - values.unsqueeze(1)


def _azimuths(phi: Tensor) -> Tensor:
    """Return Δφ of all pairs in [-π, π]."""
    difference = _differences(phi)
    return difference - 2 * math.pi * torch.round(difference / (2 * math.pi))


def _pairs(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.unsqueeze(2), values.unsqueeze(1)
