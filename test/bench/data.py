"""Files that look like NanoAOD, made by numpy: for the conversion, for the training feed, and a wide one.

Values have the precision that NanoAOD stores (about 10 bits), so that codecs find in them what they find in real files.
Files are kept between runs, in a folder that belongs to this version of this module.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

CODECS = {"zstd": uproot.ZSTD(5), "zlib": uproot.ZLIB(1), "lz4": uproot.LZ4(4), "lzma": uproot.LZMA(1)}
BASKET = 20_000
KINEMATICS = {"pt": "f4", "eta": "f4", "phi": "f4", "mass": "f4"}


@dataclass(frozen=True)
class Collection:
    """Mean number of objects in an event, how many of them an input keeps, and the types of their attributes."""

    mean: float
    length: int
    fields: dict[str, str]


@dataclass(frozen=True)
class Shape:
    """The branches of a file; ``Collection_field`` and the counters ``nCollection`` come on top of the scalars."""

    scalars: dict[str, str]
    collections: dict[str, Collection]

    @property
    def branches(self) -> list[str]:
        """All branches but the counters."""
        return [*self.scalars, *(f"{name}_{field}" for name, c in self.collections.items() for field in c.fields)]

    @property
    def counters(self) -> list[str]:
        return [f"n{name}" for name in self.collections]


JET = Collection(6.0, 12, KINEMATICS | {"btagPNetB": "f4", "hadronFlavour": "i4", "jetId": "u1", "genJetIdx": "i4"})
NANO = Shape(
    {
        "run": "u4", "luminosityBlock": "u4", "event": "u8", "genWeight": "f4", "PuppiMET_pt": "f4",
        "PuppiMET_phi": "f4", "GenMET_pt": "f4", "GenMET_phi": "f4", "Pileup_nTrueInt": "f4", "Pileup_nPU": "i4",
        "fixedGridRhoFastjetAll": "f4", "LHE_HT": "f4", "HLT_IsoMu24": "?", "HLT_PFHT1050": "?", "genTtbarId": "i4",
    },
    {
        "Jet": JET,
        "Electron": Collection(
            0.7, 4, KINEMATICS | {"charge": "i4", "mvaIso": "f4", "pfRelIso03_all": "f4", "convVeto": "?"}
        ),
        "Muon": Collection(0.8, 4, KINEMATICS | {"charge": "i4", "tightId": "?", "pfRelIso04_all": "f4", "dxy": "f4"}),
        "GenPart": Collection(
            40.0, 32, KINEMATICS | {"pdgId": "i4", "status": "i4", "statusFlags": "u2", "genPartIdxMother": "i4"}
        ),
    },
)  # fmt: skip
"""47 columns in 4 collections, as most analyses read them."""

NARROW = Shape(dict(list(NANO.scalars.items())[:11]), {"Jet": JET})
"""20 branches, with the counter."""

WIDE = Shape(
    NARROW.scalars,
    NARROW.collections | {f"Other{i}": Collection(0.5, 4, {f"value{j}": "f4" for j in range(13)}) for i in range(70)},
)
"""The same 20 branches among 1,000."""

FEED = Shape(
    {
        "MET_pt": "f4", "MET_phi": "f4", "HT": "f4", "rho": "f4", "mjj": "f4", "sphericity": "f4", "aplanarity": "f4",
        "centrality": "f4", "nPV": "f4", "genWeight": "f4", "isSignal": "i4",
    },
    {"Jet": Collection(20.0, 20, KINEMATICS | {"btag": "f4", "charge": "f4"})},
)  # fmt: skip
"""What a jet network trains on: about 20 jets of 6 features, 10 scalars and the label."""

SHAPES = {"nano": NANO, "narrow": NARROW, "wide": WIDE, "feed": FEED}


def make(folder: Path, shape: str, events: int, codec: str = "zstd", basket: int = BASKET, number: int = 0) -> Path:
    """Make a file unless it is there; files of another ``number`` hold other events of the same kind."""
    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    path = folder / f"data-{version}" / f"{shape}-{events}-{codec}-{basket}-{number}.root"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    _write(part, SHAPES[shape], events, codec, basket, number)
    part.rename(path)
    return path


def different(events: int) -> int:
    """Say how many different small files fill a basket: copies of one inside it would cost next to nothing to read."""
    return max(1, BASKET // events)


def merged(path: Path, shape: str, events: int, files: int) -> None:
    """Write a file with the rows of so many files of :func:`make`, in baskets of the usual size.

    Their ``number`` counts to :func:`different`, again and again.
    """
    parts = [_columns(SHAPES[shape], events, number * events, number) for number in range(different(events))]
    with uproot.recreate(path, compression=CODECS["zstd"]) as file:
        tree = _tree(file, parts[0], events * files)
        for start in range(0, files, len(parts)):
            chosen = parts[: files - start]
            tree.extend({name: ak.concatenate([part[name] for part in chosen]) for name in parts[0]})


def _write(path: Path, shape: Shape, events: int, codec: str, basket: int, number: int) -> None:
    with uproot.recreate(path, compression=CODECS[codec]) as file:
        tree = _tree(file, _columns(shape, 10, 0, number), events)
        for start in range(0, events, basket):
            tree.extend(_columns(shape, min(basket, events - start), number * events + start, number))


def _tree(file: Any, sample: dict[str, np.ndarray | ak.Array], events: int) -> Any:
    """Make an empty tree with the columns of a sample, and ``Runs``."""
    types = {k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in sample.items()}
    runs = file.mktree("Runs", {"run": "u4", "genEventSumw": "f8"})
    runs.extend({"run": np.ones(1, "u4"), "genEventSumw": np.array([float(events)])})
    return file.mktree(
        "Events",
        types,
        counter_name=lambda name: f"n{name}",
        field_name=lambda outer, inner: f"{outer}_{inner}" if outer else inner,
    )


def _columns(shape: Shape, events: int, first: int, number: int) -> dict[str, np.ndarray | ak.Array]:
    rng = np.random.default_rng([number, first])
    columns = {name: _values(rng, name, dtype, events) for name, dtype in shape.scalars.items()}
    if "event" in columns:
        columns["run"] = np.ones(events, "u4")
        columns["event"] = np.arange(first, first + events, dtype="u8")
        columns["luminosityBlock"] = (columns["event"] // 1000).astype("u4")
    for name, collection in shape.collections.items():
        lengths = rng.poisson(collection.mean, events)
        fields = {f: _values(rng, f, d, int(lengths.sum())) for f, d in collection.fields.items()}
        columns[name] = ak.zip({f: ak.unflatten(v, lengths) for f, v in fields.items()})
    return columns


def _values(rng: np.random.Generator, name: str, dtype: str, size: int) -> np.ndarray:
    if dtype != "f4":
        return rng.integers(0, 2 if dtype == "?" or name == "isSignal" else 6, size).astype(dtype)
    kind = name.rpartition("_")[2]
    if kind == "eta":
        exact = rng.normal(0, 2, size)
    elif kind == "phi":
        exact = rng.uniform(-np.pi, np.pi, size)
    else:
        exact = rng.exponential(40, size)
    return (exact.astype("f4").view("u4") & np.uint32(0xFFFFE000)).view("f4")
