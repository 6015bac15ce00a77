"""Heavy flavour beside a top pair: ``genTtbarId``, as NanoAOD has it.

The categories are those of CMSSW's ``GenTtbarCategorizer``; a hadron belongs to the nearest generated jet within its
radius, where CMSSW clusters it as a ghost, and comes from the nearest quark of its flavour in its string.
"""

from __future__ import annotations

import awkward as ak
import numpy as np

from ...compiled import jit
from ..flat import counts, delta_r2, flat, offsets_of
from .history import is_hadron_id

RADIUS = 0.4
LEAST_PT, MOST_ETA = 20.0, 2.4
"""Of the jets that count (GeV; NanoAOD's ``ttbarCategorization_cff``)."""
DOCS = {"genTtbarId": "ttbar categorization"}
TOP, W = 6, 24
_ORIGINS = 3  # of a hadron: additional, from a top, from a W


def categories(particles: ak.Array, gen_jets: ak.Array) -> np.ndarray:
    """Return the category of each event, (n,) i4.

    Ten thousands count c jets from W, thousands b jets from W, hundreds b jets from top. The rest is of additional
    jets: 51 one b jet with one b hadron, 52 with several; 53 at least two b jets, 54 one and 55 two of which have
    several b hadrons; 41 to 45 the same of c jets where there is no additional b jet; 0 neither.

    Parameters
    ----------
    particles
        See :class:`pythia.GenBlock`.
    gen_jets
        n * var * record of ``pt`` (GeV), ``eta`` and ``phi``.
    """
    px, py, pz = (flat(particles, name) for name in ("px", "py", "pz"))
    pdg = flat(particles, "pdgId")
    links = (flat(particles, "mother1").astype(np.int64), flat(particles, "mother2").astype(np.int64))
    jets = tuple(flat(gen_jets, name).astype(np.float64) for name in ("pt", "eta", "phi"))
    return _categories(offsets_of(counts(particles)), pdg, *links, px, py, pz, offsets_of(counts(gen_jets)), *jets)


@jit
def _flavour(kind: int) -> int:
    """Return the flavour, 4 or 5, of an open charm or bottom hadron; 0 of everything else."""
    if kind < 400 or not is_hadron_id(kind):
        return 0
    baryon, meson = kind // 1000 % 10, kind // 100 % 10
    heaviest = baryon if baryon > 0 else meson
    hidden = baryon == 0 and meson == kind // 10 % 10
    return 0 if hidden or heaviest < 4 or heaviest > 5 else heaviest


@jit
def _eta_phi(px: float, py: float, pz: float) -> tuple[float, float]:
    return np.arcsinh(pz / max(np.hypot(px, py), 1e-9)), np.arctan2(py, px)


@jit
def _origin(
    start: int, i: int, flavour: int, pdg: np.ndarray, mother1: np.ndarray, mother2: np.ndarray, px: np.ndarray,
    py: np.ndarray, pz: np.ndarray,
) -> int:  # fmt: skip
    """Return the |pdgId| of what made the quark of a hadron from a string; 0 where there is none."""
    kind = abs(pdg[i])
    sign = -1 if flavour == 5 and kind // 1000 % 10 == 0 else 1  # a B meson with a positive id holds a b antiquark
    quark_id = flavour * sign * (1 if pdg[i] > 0 else -1)
    eta, phi = _eta_phi(px[i], py[i], pz[i])
    quark, nearest = -1, np.inf
    for k in range(start + mother1[i], start + max(mother2[i], mother1[i]) + 1):
        if mother1[i] >= 0 and pdg[k] == quark_id:
            distance = delta_r2(eta, phi, *_eta_phi(px[k], py[k], pz[k]))
            if distance < nearest:
                quark, nearest = k, distance
    while quark >= 0:
        mother = start + mother1[quark] if mother1[quark] >= 0 else -1
        if mother < 0 or abs(pdg[mother]) != flavour:
            return abs(pdg[mother]) if mother >= 0 else 0
        quark = mother
    return 0


@jit
def _additional(hadrons: np.ndarray, base: int) -> int:
    """Return the code of additional jets by the number of hadrons in each; 0 where there is none."""
    jets = np.sort(hadrons[hadrons > 0])[::-1]
    if len(jets) == 0:
        return 0
    if len(jets) == 1:
        return base + (1 if jets[0] == 1 else 2)
    return base + 3 + (1 if jets[0] > 1 else 0) + (1 if jets[1] > 1 else 0)


@jit
def _code(b: np.ndarray, c: np.ndarray) -> int:
    """Return the category by the hadrons in each jet, (origins, jets)."""
    from_top = b[1] > 0
    from_w = (b[2] > 0) & ~from_top
    extra = np.where(from_top | from_w, 0, b[0])
    no_b = ~(from_top | from_w | (extra > 0))
    c_from_w = (c[2] > 0) & no_b
    extra_c = np.where(no_b & ~c_from_w, c[0] + c[1], 0)
    code = 100 * from_top.sum() + 1000 * from_w.sum() + 10000 * c_from_w.sum()
    return code + (_additional(extra, 50) if extra.any() else _additional(extra_c, 40))


@jit
def _categories(
    offsets: np.ndarray, pdg: np.ndarray, mother1: np.ndarray, mother2: np.ndarray, px: np.ndarray, py: np.ndarray,
    pz: np.ndarray, to: np.ndarray, jet_pt: np.ndarray, jet_eta: np.ndarray, jet_phi: np.ndarray,
) -> np.ndarray:  # fmt: skip
    out = np.zeros(len(offsets) - 1, np.int32)
    for e in range(len(out)):
        start, size = offsets[e], offsets[e + 1] - offsets[e]
        first, flavours = np.arange(size), np.zeros(size, np.int64)
        last, of_bottom = np.ones(size, np.bool_), np.zeros(size, np.bool_)
        hadrons = np.zeros((2, _ORIGINS, to[e + 1] - to[e]), np.int64)
        for i in range(size):
            flavours[i] = _flavour(abs(pdg[start + i]))
            m = mother1[start + i]
            if 0 <= m < i and flavours[i] > 0 and flavours[m] > 0:  # hadrons come after what they are made of
                last[m] &= flavours[m] != flavours[i]
                of_bottom[i] = flavours[i] == 4 and (flavours[m] == 5 or of_bottom[m])
                first[i] = first[m] if flavours[m] == flavours[i] else i
        for i in range(size):
            if flavours[i] == 0 or not last[i] or of_bottom[i]:
                continue
            jet = _jet(*_eta_phi(px[start + i], py[start + i], pz[start + i]), to[e], to[e + 1], jet_eta, jet_phi)
            if jet < 0 or jet_pt[jet] < LEAST_PT or abs(jet_eta[jet]) > MOST_ETA:
                continue
            made = _origin(start, start + first[i], flavours[i], pdg, mother1, mother2, px, py, pz)
            hadrons[5 - flavours[i], 1 if made == TOP else 2 if made == W else 0, jet - to[e]] += 1
        out[e] = _code(hadrons[0], hadrons[1])
    return out


@jit
def _jet(eta: float, phi: float, first: int, last: int, jet_eta: np.ndarray, jet_phi: np.ndarray) -> int:
    """Return the nearest jet within the radius, -1 for none."""
    jet, nearest = -1, RADIUS**2
    for k in range(first, last):
        distance = delta_r2(eta, phi, jet_eta[k], jet_phi[k])
        if distance < nearest:
            jet, nearest = k, distance
    return jet
