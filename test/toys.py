"""NanoAOD-like files that the tests make themselves: the twins of the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

Columns = dict[str, Any]


def nano_events(count: int, signal: bool = True, first: int = 0, seed: int = 1) -> Columns:
    """Events with jets, muons that point to jets, and secondary vertices around b jets.

    Signal has more jets, more b jets and more missing momentum. One generator weight in ten is negative.
    """
    rng = np.random.default_rng([seed, signal, first])
    jets = rng.poisson(5 if signal else 3, count)
    total = int(jets.sum())
    flavour = rng.choice([0, 4, 5], total, p=[0.5, 0.1, 0.4] if signal else [0.85, 0.1, 0.05]).astype("i4")
    jet = {
        "pt": (20 + rng.exponential(60 if signal else 30, total)).astype("f4"),
        "eta": rng.normal(0, 1.5, total).astype("f4"),
        "phi": rng.uniform(-np.pi, np.pi, total).astype("f4"),
        "mass": rng.exponential(8, total).astype("f4"),
        "btagDeepFlavB": np.where(flavour == 5, rng.beta(4, 2, total), rng.beta(1, 6, total)).astype("f4"),
        "hadronFlavour": flavour,
    }
    columns: Columns = {
        "run": np.ones(count, "u4"),
        "luminosityBlock": (1 + (first + np.arange(count)) // 100).astype("u4"),
        "event": (1 + first + np.arange(count)).astype("u8"),
        "genWeight": np.where(rng.random(count) < 0.1, -2, 2).astype("f4"),
        "MET_pt": rng.exponential(50 if signal else 25, count).astype("f4"),
        "MET_phi": rng.uniform(-np.pi, np.pi, count).astype("f4"),
        "HLT_IsoMu24": rng.random(count) < 0.3,
        "Jet": lists(jet, jets),
    }
    return {**columns, **_vertices(rng, jet, jets), **_muons(rng, jets)}


def _vertices(rng: np.random.Generator, jet: Columns, jets: np.ndarray) -> Columns:
    """One vertex near most b jets, across the phi boundary too, and a few elsewhere."""
    event = np.repeat(np.arange(len(jets)), jets)
    has = rng.random(len(event)) < np.where(jet["hadronFlavour"] == 5, 0.8, 0.05)
    phi = jet["phi"][has] + rng.normal(0, 0.1, has.sum())
    vertex = {
        "pt": (jet["pt"][has] * rng.uniform(0.2, 0.8, has.sum())).astype("f4"),
        "eta": (jet["eta"][has] + rng.normal(0, 0.1, has.sum())).astype("f4"),
        "phi": ((phi + np.pi) % (2 * np.pi) - np.pi).astype("f4"),
        "dlenSig": rng.exponential(20, has.sum()).astype("f4"),
    }
    return {"SV": lists(vertex, np.bincount(event[has], minlength=len(jets)))}


def _muons(rng: np.random.Generator, jets: np.ndarray) -> Columns:
    muons = rng.poisson(1, len(jets))
    total = int(muons.sum())
    owner = np.repeat(jets, muons)
    muon = {
        "pt": rng.exponential(30, total).astype("f4"),
        "eta": rng.normal(0, 1.2, total).astype("f4"),
        "phi": rng.uniform(-np.pi, np.pi, total).astype("f4"),
        "jetIdx": (rng.integers(-1, np.maximum(owner, 1))).astype("i4"),
    }
    return {"Muon": lists(muon, muons)}


def lists(fields: Columns, lengths: np.ndarray) -> ak.Array:
    return ak.zip({name: ak.unflatten(values, lengths) for name, values in fields.items()})


def flat_events(count: int, signal: bool, seed: int = 1) -> Columns:
    """A flat table without any event identity, in which -999 marks what is not there."""
    rng = np.random.default_rng([seed, signal])
    njets = rng.poisson(3 if signal else 1, count)
    jpt = np.where(njets > 0, 30 + rng.exponential(50 if signal else 25, count), -999)
    return {
        "njets": njets.astype("i4"),
        "pt_1": (20 + rng.exponential(30 if signal else 20, count)).astype("f4"),
        "eta_1": rng.normal(0, 1.1 if signal else 1.4, count).astype("f4"),
        "pt_met": rng.exponential(60 if signal else 20, count).astype("f4"),
        "m_vis": rng.normal(90 if signal else 65, 40 if signal else 15, count).astype("f4"),
        "jpt_1": jpt.astype("f4"),
    }


def write(path: Path, columns: Columns, tree: str = "Events", sumw: float | None = None, basket: int = 1000) -> Path:
    """Write a TTree as NanoAOD has it, in baskets of ``basket`` events; ``Runs`` where a sum of weights is given."""
    types = {k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in columns.items()}
    size = len(next(iter(columns.values())))
    with uproot.recreate(path) as file:
        out = file.mktree(
            tree,
            types,
            counter_name=lambda name: f"n{name}",
            field_name=lambda outer, inner: f"{outer}_{inner}" if outer else inner,
        )
        for start in range(0, size, basket):
            out.extend({k: v[start : start + basket] for k, v in columns.items()})
        if sumw is not None:
            runs = file.mktree("Runs", {"run": "u4", "genEventSumw": "f8"})
            runs.extend({"run": np.ones(1, "u4"), "genEventSumw": np.array([sumw])})
    return path


def write_without_events(path: Path, sumw: float) -> Path:
    """Write NanoAOD without events, which has not the branches of its tables: NanoAODOutputModule makes them later."""
    columns = {"run": np.empty(0, "u4"), "luminosityBlock": np.empty(0, "u4"), "event": np.empty(0, "u8")}
    return write(path, columns, sumw=sumw)


def plain(columns: Columns) -> Columns:
    """Take records apart: ``Jet: {pt, eta}`` becomes ``nJet``, ``Jet_pt`` and ``Jet_eta``, as branches are called."""
    out: Columns = {}
    for name, values in columns.items():
        if isinstance(values, ak.Array) and values.fields:
            out[f"n{name}"] = ak.to_numpy(ak.num(values)).astype("u4")
            out.update({f"{name}_{f}": values[f] for f in values.fields})
        else:
            out[name] = values
    return out


def flip_bit(path: Path, place: float = 0.5) -> None:
    """Flip one bit of a file, as a failing disk does; ``place`` is 0 at its beginning and 1 at its end."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 4
    path.write_bytes(content)
