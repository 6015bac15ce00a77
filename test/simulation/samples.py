"""Small generator samples for the tests of the detector, in the layout of ``GenBlock``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np

COMMON = [
    "Print:quiet = on", "Beams:eCM = 13600", "Random:setSeed = on", "Random:seed = 7", "Tune:pp = 14",
    "ParticleDecays:limitTau0 = on", "ParticleDecays:tau0Max = 10",
]  # fmt: skip
TTBAR = ["Top:gg2ttbar = on", "Top:qqbar2ttbar = on"]
THIRDS = {1: -1, 2: 2, 3: -1, 4: 2, 5: -1, 6: 2}


def pythia(*settings: str) -> Any:
    import pythia8mc

    generator = pythia8mc.Pythia("", False)
    for setting in (*COMMON, *settings):
        assert generator.readString(setting), setting
    assert generator.init()
    return generator


def block_of(batch: Any, generator: Any) -> Any:
    """What ``nextBatch`` returns, as a block."""
    p = batch.prt
    pdg = p.id
    codes, inverse = np.unique(np.asarray(ak.flatten(pdg)), return_inverse=True)
    charges = np.array([generator.particleData.charge(int(code)) for code in codes])
    charge = ak.unflatten(charges[inverse], ak.num(pdg))
    vertex = {f"v{k}": ak.fill_none(p.vProd[f"p{k}"], 0.0) for k in "xyz"}
    particles = ak.zip(
        {"pdgId": pdg, "status": p.status, "mother1": p.mother1, "mother2": p.mother2, "daughter1": p.daughter1,
         "daughter2": p.daughter2, "px": p.p.px, "py": p.p.py, "pz": p.p.pz, "e": p.p.e, "m": p.m, **vertex, "charge": charge}
    )  # fmt: skip
    return block(particles)


def block(particles: ak.Array, pileup: ak.Array | None = None) -> Any:
    size = len(particles)
    return SimpleNamespace(
        particles=particles, weight=np.ones(size), info={}, pileup=pileup, pileup_n=np.zeros(size, np.int32)
    )


def gun(pdg: int, charge: float, mass: float, pt: np.ndarray, eta: np.ndarray, phi: np.ndarray, **place: np.ndarray) -> Any:
    """One final particle in each event, behind the entry 0 that Pythia uses for the whole event; places in mm."""
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    n, zero = len(pt), np.zeros(len(pt))
    columns = {"px": px, "py": py, "pz": pz, "e": np.sqrt(px**2 + py**2 + pz**2 + mass**2), "m": np.full(n, mass)}
    columns |= {"charge": np.full(n, charge)}
    columns |= {f"v{k}": place.get(f"v{k}", zero) for k in "xyz"}
    links = {name: np.full(n, -1, np.int32) for name in ("mother1", "mother2", "daughter1", "daughter2")}
    whole = {name: zero for name in columns} | {"pdgId": np.full(n, 90, np.int32), "status": np.full(n, -11, np.int32)}
    whole |= {f"v{k}": zero for k in "xyz"} | links
    columns |= {"pdgId": np.full(n, pdg, np.int32), "status": np.ones(n, np.int32)} | links
    both = {name: np.stack([whole[name], whole[name], columns[name]], axis=1).ravel() for name in columns}
    flat = ak.zip(both)
    return block(ak.unflatten(flat, np.full(n, 3)))


BOTTOM, CHARM = 5, 4


def heavy(pdg: np.ndarray, flavour: int) -> np.ndarray:
    """Hadrons with a heavy quark of that flavour."""
    size = np.abs(pdg) % 10000
    return (size > 100) & (np.where(size >= 1000, size // 1000, size // 100) == flavour)


def _hadron_ancestor(pdg: np.ndarray, mother: np.ndarray) -> np.ndarray:
    """1 for particles from hadron decays, 2 from tau decays, 0 for prompt ones; ``mother`` is -1 or a flat position."""
    found = np.zeros(len(pdg), np.int64)
    at = mother.copy()
    while (at >= 0).any():
        here = np.where(at >= 0, np.abs(pdg[at]), 0)
        hadron = (here > 100) & (here < 1_000_000) & (here % 10000 > 100) & (here != 2212)
        found = np.maximum(found, np.where(hadron, 2, np.where((here == 15) & (np.abs(pdg) != 15), 1, 0)))
        at = np.where((at >= 0) & (found < 2), mother[at], -1)
    return found


def gen_of(source: Any) -> dict[str, Any]:
    """A stand-in for the generator tables: GenPart with all particles, jets by fastjet, flavour by the nearest heavy hadron."""
    p = source.particles
    number = np.asarray(ak.num(p))
    start = np.concatenate([[0], np.cumsum(number)])[:-1]
    column = {name: np.asarray(ak.flatten(p[name])) for name in p.fields}
    event = np.repeat(np.arange(len(p)), number)
    local = np.arange(len(event)) - start[event]
    mother = np.where((column["mother1"] > 0) & (column["mother1"] < local), column["mother1"] + start[event], -1)
    pt = np.hypot(column["px"], column["py"])
    origin = _hadron_ancestor(column["pdgId"], mother)
    flags = (origin == 0) * 1 + (origin == 1) * (4 + 8 + 16 + 32)
    final = column["status"] > 0
    table = {
        "pt": pt, "eta": np.arcsinh(column["pz"] / np.maximum(pt, 1e-9)), "phi": np.arctan2(column["py"], column["px"]),
        "mass": column["m"], "pdgId": column["pdgId"], "status": np.where(final, 1, 2), "statusFlags": flags,
        "genPartIdxMother": np.where(mother >= 0, mother - start[event], -1).astype(np.int16),
    }  # fmt: skip
    parts = ak.unflatten(ak.zip(table), number)
    visible = final & ~np.isin(np.abs(column["pdgId"]), (12, 14, 16))
    hadrons = [heavy(column["pdgId"], flavour) for flavour in (CHARM, BOTTOM)]
    invisible = final & ~visible
    missing = [np.bincount(event, weights=column[k] * invisible, minlength=len(p)) for k in ("px", "py")]
    out = {"GenPart": parts, "gen_index": ak.local_index(parts.pt), "GenVisTau": _visible_taus(column, mother, number)}
    out |= {"GenMET_pt": np.hypot(*missing), "GenMET_phi": np.arctan2(missing[1], missing[0])}
    out["GenJet"] = _gen_jets(column, event, len(p), visible, hadrons, 0.4, 10.0)
    out["GenJetAK8"] = _gen_jets(column, event, len(p), visible, hadrons, 0.8, 100.0)
    return out


def _gen_jets(column: dict, event: np.ndarray, n: int, visible: np.ndarray, heavies: list, radius: float, least: float) -> Any:
    import fastjet

    counts = np.bincount(event[visible], minlength=n)
    inputs = ak.unflatten(
        ak.zip({k: column[v][visible] for k, v in zip(("px", "py", "pz", "E"), ("px", "py", "pz", "e"))}, with_name="Momentum4D"),
        counts,
    )
    jets = fastjet.ClusterSequence(inputs, fastjet.JetDefinition(fastjet.antikt_algorithm, radius)).inclusive_jets(min_pt=least)
    pt = np.hypot(jets.px, jets.py)
    jets = jets[ak.argsort(pt, ascending=False)]
    pt = np.hypot(jets.px, jets.py)
    eta, phi = np.arcsinh(jets.pz / pt), np.arctan2(jets.py, jets.px)
    mass = np.sqrt(np.maximum(jets.E**2 - pt**2 - jets.pz**2, 0))
    flavour = ak.zeros_like(pt, dtype=np.uint8)
    part_pt = np.hypot(column["px"], column["py"])
    for code, chosen in zip((CHARM, BOTTOM), heavies):
        near = chosen & (part_pt > 5)
        number = np.bincount(event[near], minlength=n)
        h_eta = ak.unflatten(np.arcsinh(column["pz"] / np.maximum(part_pt, 1e-9))[near], number)
        h_phi = ak.unflatten(np.arctan2(column["py"], column["px"])[near], number)
        d_eta = eta[:, :, None] - h_eta[:, None, :]
        d_phi = (phi[:, :, None] - h_phi[:, None, :] + np.pi) % (2 * np.pi) - np.pi
        inside = ak.any(d_eta**2 + d_phi**2 < radius**2, axis=-1)
        flavour = ak.values_astype(ak.where(inside, code, flavour), np.uint8)
    return ak.zip(
        {"pt": pt, "eta": eta, "phi": phi, "mass": mass, "hadronFlavour": flavour,
         "partonFlavour": ak.values_astype(flavour, np.int16)}
    )  # fmt: skip


def _visible_taus(column: dict, mother: np.ndarray, number: np.ndarray) -> Any:
    """Visible decay products of taus that decay to hadrons: those of the last copy."""
    pdg = column["pdgId"]
    tau = np.abs(pdg) == 15
    has_lepton, has_tau = np.zeros(len(pdg), bool), np.zeros(len(pdg), bool)
    child = mother >= 0
    size = np.abs(pdg[child])
    np.logical_or.at(has_lepton, mother[child], (size == 11) | (size == 13))
    np.logical_or.at(has_tau, mother[child], size == 15)
    neutrino = np.isin(np.abs(pdg), (12, 14, 16))
    hidden = [np.bincount(mother[child], weights=(column[k] * neutrino)[child], minlength=len(pdg)) for k in ("px", "py", "pz", "e")]
    good = tau & ~has_lepton & ~has_tau & (column["status"] < 0)
    px, py, pz, e = (column[k][good] - lost[good] for k, lost in zip(("px", "py", "pz", "e"), hidden))
    pt = np.hypot(px, py)
    event = np.repeat(np.arange(len(number)), number)[good]
    start = np.concatenate([[0], np.cumsum(number)])[:-1]
    table = {
        "pt": pt, "eta": np.arcsinh(pz / np.maximum(pt, 1e-9)), "phi": np.arctan2(py, px),
        "mass": np.sqrt(np.maximum(e**2 - pt**2 - pz**2, 0)), "genPartIdxMother": np.flatnonzero(good) - start[event],
    }  # fmt: skip
    return ak.unflatten(ak.zip(table), np.bincount(event, minlength=len(number)))
