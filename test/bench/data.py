"""Make NanoAOD-like files for benchmarks: four collections, 47 columns, realistic multiplicities."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

KINEMATICS = ("pt", "eta", "phi", "mass")
COLLECTIONS = {
    "Jet": (6.0, 12, {"btagPNetB": "f4", "hadronFlavour": "i4", "jetId": "u1", "genJetIdx": "i4"}),
    "Electron": (0.7, 4, {"charge": "i4", "mvaIso": "f4", "pfRelIso03_all": "f4", "convVeto": "?"}),
    "Muon": (0.8, 4, {"charge": "i4", "tightId": "?", "pfRelIso04_all": "f4", "dxy": "f4"}),
    "GenPart": (40.0, 32, {"pdgId": "i4", "status": "i4", "statusFlags": "u2", "genPartIdxMother": "i4"}),
}
SCALARS = {
    "run": "u4", "luminosityBlock": "u4", "event": "u8", "genWeight": "f4", "PuppiMET_pt": "f4", "PuppiMET_phi": "f4",
    "GenMET_pt": "f4", "GenMET_phi": "f4", "Pileup_nTrueInt": "f4", "PV_npvsGood": "i4", "fixedGridRhoFastjetAll": "f4",
    "LHE_HT": "f4", "HLT_IsoMu24": "?", "HLT_PFHT1050": "?", "genTtbarId": "i4",
}  # fmt: skip


def events(count: int, first: int, seed: int) -> dict[str, object]:
    """Return ``count`` events as columns; values have the precision that NanoAOD stores (about 10 bits)."""
    rng = np.random.default_rng([seed, first])

    def values(dtype: str, size: int) -> np.ndarray:
        if dtype == "f4":
            exact = rng.exponential(40, size).astype("f4").view("u4")
            return (exact & np.uint32(0xFFFFE000)).view("f4")
        return rng.integers(0, 2 if dtype == "?" else 6, size).astype(dtype)

    columns: dict[str, object] = {name: values(dtype, count) for name, dtype in SCALARS.items()}
    columns["run"] = np.ones(count, "u4")
    columns["event"] = np.arange(first, first + count, dtype="u8")
    columns["luminosityBlock"] = (columns["event"] // 1000).astype("u4")
    for name, (mean, _, extra) in COLLECTIONS.items():
        lengths = rng.poisson(mean, count)
        fields = dict.fromkeys(KINEMATICS, "f4") | extra
        total = int(lengths.sum())
        columns[name] = ak.zip({f: ak.unflatten(values(d, total), lengths) for f, d in fields.items()})
    return columns


def write(
    path: Path, count: int, compression: uproot.compression.Compression, step: int = 20_000, seed: int = 1
) -> Path:
    """Write a file of ``count`` events in baskets of ``step``, unless it is there."""
    if path.exists():
        return path
    first = events(10, 0, seed)
    types = {k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in first.items()}
    part = path.with_suffix(".part")
    with uproot.recreate(part, compression=compression) as file:
        tree = file.mktree(
            "Events",
            types,
            counter_name=lambda name: f"n{name}",
            field_name=lambda outer, inner: f"{outer}_{inner}" if outer else inner,
        )
        for start in range(0, count, step):
            tree.extend(events(min(step, count - start), start, seed))
        runs = file.mktree("Runs", {"run": "u4", "genEventSumw": "f8"})
        runs.extend({"run": np.ones(1, "u4"), "genEventSumw": np.array([float(count)])})
    part.rename(path)
    return path
