"""The fast path from baskets to padded rows equals a loop over events, bit for bit, whatever the file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import toys
import uproot
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nanoforge.config import Analysis
from nanoforge.dataset.file_rows import FileRows
from nanoforge.dataset.shards import ShardRecord
from nanoforge.dataset.table import TableBuilders
from nanoforge.events import reader
from nanoforge.events.open import open_events
from nanoforge.provenance.manifest import input_record

TYPES = {t.replace("?", "b"): t for t in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")}
CODECS = {"zlib": uproot.ZLIB(1), "lz4": uproot.LZ4(1), "zstd": uproot.ZSTD(1), "lzma": uproot.LZMA(1), "none": None}
FILL = -7.5


def values(rng: np.random.Generator, dtype: str, size: int) -> np.ndarray:
    """Small numbers with ties; floats also NaN, infinities, and what float32 cannot hold."""
    if np.dtype(dtype).kind != "f":
        return rng.integers(0, 2 if dtype == "?" else 9, size).astype(dtype)
    found = rng.integers(-3, 9, size).astype(dtype)
    special = rng.random(size) < 0.15
    found[special] = rng.choice([np.nan, np.inf, -np.inf, 1e300 if dtype == "f8" else 1e38, 0.1, -0.0], special.sum())
    return found


def write(path: Path, rng: np.random.Generator, sizes: list[int], longest: int, codec: str) -> None:
    def events(size: int) -> dict[str, Any]:
        lengths = rng.integers(0, longest + 1, size)
        total = int(lengths.sum())
        columns: dict[str, Any] = {f"flat_{n}": values(rng, t, size) for n, t in TYPES.items()}
        columns["C"] = toys.lists({n: values(rng, t, total) for n, t in TYPES.items()}, lengths)
        return columns

    first = events(2)
    types = {k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in first.items()}
    with uproot.recreate(path, compression=CODECS[codec]) as file:
        tree = file.mktree(
            "Events", types, counter_name=lambda n: f"n{n}", field_name=lambda o, i: f"{o}_{i}" if o else i
        )
        for size in sizes:
            tree.extend(events(size))


def slowly(path: Path, length: int, where: bool, sort: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of the events, and features and validity of the constituents, one event after the other."""
    table = uproot.open(path)["Events"].arrays(library="np")
    rows = len(table["nC"])
    flat, padded = np.zeros((rows, len(TYPES)), "f4"), np.zeros((rows, length, len(TYPES)), "f4")
    valid = np.zeros((rows, length), bool)
    for r in range(rows):
        flat[r] = [np.float32(table[f"flat_{n}"][r]) for n in TYPES]
        chosen = [i for i in range(table["nC"][r]) if not where or table["C_f4"][r][i] > 1]
        if sort:
            key = -table["C_f8"][r]
            chosen.sort(key=lambda i, key=key: (np.isnan(key[i]), 0.0 if np.isnan(key[i]) else key[i]))
        for k, i in enumerate(chosen[:length]):
            padded[r, k] = [np.float32(table[f"C_{n}"][r][i]) for n in TYPES]
            valid[r, k] = True
    for features in (flat, padded):
        features[~np.isfinite(features)] = FILL
    return flat, padded, valid


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.filterwarnings("ignore:invalid value encountered")
@settings(max_examples=40, deadline=None)
@example(seed=0, sizes=[3, 0, 1], longest=0, codec="zstd", step=2, length=2, where=True, sort=True)
@given(
    seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    longest=st.sampled_from([0, 1, 3, 9]), codec=st.sampled_from(sorted(CODECS)), step=st.integers(1, 90),
    length=st.integers(1, 5), where=st.booleans(), sort=st.booleans(),
)  # fmt: skip
def test_rows_equal_a_loop_over_events(
    tmp_path_factory: pytest.TempPathFactory, seed: int, sizes: list[int], longest: int, codec: str, step: int,
    length: int, where: bool, sort: bool,
) -> None:  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "blocks.root"
    write(path, np.random.default_rng(seed), sizes, longest, codec)
    options = {"where": "f4 > 1"} if where else {}
    options |= {"sort": "-f8"} if sort else {}
    analysis = Analysis.model_validate({
        "name": "random", "samples": {"one": {"files": [str(path)]}}, "target": {"regression": {"t": "nC"}},
        "inputs": {
            "event": {"features": [f"flat_{n}" for n in TYPES], "nan": {"fill": FILL}},
            "c": {"collection": "C", "length": length, "features": list(TYPES), "nan": {"fill": FILL}, **options},
        },
    })  # fmt: skip
    flat, padded, valid = slowly(path, length, where, sort)
    found = {"flat": np.empty_like(flat), "padded": np.empty_like(padded), "valid": np.empty_like(valid)}
    with pytest.MonkeyPatch.context() as patch, open_events(str(path), "Events") as file:
        patch.setattr(reader.EventFile.chunks, "__defaults__", (step, None))
        record = ShardRecord(input_record(str(path), sample="one"))
        seen: list[int] = []
        for block in FileRows(TableBuilders(analysis, "convert"), "one", 0, file).blocks(record):
            entries = block.identity["entry"]
            found["flat"][entries] = block.inputs["event"]
            found["padded"][entries], found["valid"][entries] = block.inputs["c"]
            seen += entries.tolist()
    assert sorted(seen) == list(range(sum(sizes))) and record.accounting.events.used == sum(sizes)
    assert np.array_equal(found["valid"], valid)
    for name, expected in (("flat", flat), ("padded", padded)):
        assert found[name].tobytes() == expected.tobytes(), name
