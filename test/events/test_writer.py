from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from nanoforge.dataset.friends import Entries, RootFriend
from nanoforge.errors import DataError
from nanoforge.events.columns import Branch, Column, offsets_of
from nanoforge.events.open import open_events
from nanoforge.events.writer import NanoFile
from nanoforge.simulation.nano.nanoaod import NanoTuple

TYPES = ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
BRANCHES = [
    Branch("event", np.dtype("u8"), title="event/l"),
    Branch("nJet", np.dtype("u4"), title="slimmedJets, " + "i.e. " * 100),
    *(Branch(f"Jet_{t.strip('?') or 'bool'}", np.dtype(t), True, "nJet", f"title {t}") for t in TYPES),
    *(Branch(f"flat_{t.strip('?') or 'bool'}", np.dtype(t), title=f"flat {t}") for t in TYPES),
    Branch("Jet_late", np.dtype("f4"), True, "nJet", "of a collection that began long before"),
    Branch("PSWeight", np.dtype("f4"), True, "nPSWeight", ""),
]


def random_bytes(rng: np.random.Generator, dtype: np.dtype, size: int) -> np.ndarray:
    """Any bit pattern, signalling NaNs among them."""
    if dtype.kind == "b":
        return rng.integers(0, 2, size).astype(bool)
    return np.frombuffer(rng.bytes(size * dtype.itemsize), dtype)


def columns(size: int, seed: int = 1) -> dict[str, Column]:
    rng = np.random.default_rng([seed, size])
    offsets = {c: offsets_of(rng.integers(0, 4, size)) for c in ("nJet", "nPSWeight")}
    found = {}
    for branch in BRANCHES:
        if branch.name != "nJet":
            lists = offsets[str(branch.counter)] if branch.jagged else None
            values = random_bytes(rng, np.dtype(branch.dtype), size if lists is None else int(lists[-1]))
            found[branch.name] = Column([values], lists)
    return found


def write(path: Path, parts: list[dict[str, Column]], sizes: list[int], tree: str = "Events", **options: Any) -> Path:
    with NanoFile(path, **options) as file:
        out = file.tree(tree, BRANCHES)
        for size, part in zip(sizes, parts):
            out.append(size, part)
    return path


def content(path: Path, tree: str = "Events") -> dict[str, bytes]:
    with uproot.open(path) as file:
        arrays = {b.name: b.array() for b in file[tree].branches}
        return {n: np.asarray(ak.flatten(a) if a.ndim > 1 else a).tobytes() for n, a in arrays.items()}


def test_names_that_a_library_would_take_apart(tmp_path: Path) -> None:
    """``::`` and ``:`` are syntax of uproot and fsspec, ``#``, ``?`` and ``%`` of addresses."""
    folder = tmp_path / "p::q#1 %20?x=y"
    folder.mkdir()
    for file in (NanoFile, NanoTuple):
        with file(folder / "e::f:g#2.root") as out:
            out.tree("Events", BRANCHES[:1]).append(3, {"event": Column([np.arange(3, dtype="u8")])})
        with open_events(str(folder / "e::f:g#2.root"), "Events") as events:
            assert [c.columns["event"].content.tolist() for c in events.chunks(["event"])] == [[0, 1, 2]]
    with RootFriend(folder / "e::f:g#2.root", "Events", None) as friend:
        friend.write(Entries(0, 2, {}, {"score": np.ones(2, "f4")}, {}, None))
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.root")] == [
        "p::q#1 %20?x=y/e::f:g#2.root"
    ]
    assert len(list(tmp_path.iterdir())) == 1


def test_names_types_titles_counters_and_bits_are_those_given(tmp_path: Path) -> None:
    given = columns(1000)
    path = write(tmp_path / "a.root", [given], [1000])
    found = content(path)
    for name, column in given.items():
        assert found[name] == column.content.tobytes(), name
    with uproot.open(path) as file:
        tree = file["Events"]
        assert [b.name for b in tree.branches] == [*(b.name for b in BRANCHES[:-1]), "nPSWeight", "PSWeight"]
        for branch in BRANCHES:
            assert tree[branch.name].title == branch.title
            counter = tree[branch.name].count_branch
            assert (counter.name if counter is not None else None) == branch.counter
            interpretation = tree[branch.name].interpretation
            kind = interpretation.content if branch.jagged else interpretation
            assert kind.from_dtype == np.dtype(branch.dtype).newbyteorder(">")
        np.testing.assert_array_equal(tree["nJet"].array(), np.diff(given["Jet_late"].offsets))
        assert tree.title == "Events"


@pytest.mark.parametrize(("sizes", "baskets"), [([7] * 3000, 2), ([60_000], 3), ([24_000, 24_000], 2), ([3, 0, 4], 1)])
def test_baskets_are_neither_crumbs_nor_lumps(tmp_path: Path, sizes: list[int], baskets: int) -> None:
    branches = [Branch("x", np.dtype("i4")), Branch("Jet_pt", np.dtype("i4"), True, "nJet")]
    edges = offsets_of(np.array(sizes))
    with NanoFile(tmp_path / "a.root") as file:
        out = file.tree("Events", branches)
        for start, stop in zip(edges[:-1], edges[1:]):
            numbers = np.arange(start, stop, dtype="i4")
            out.append(stop - start, {"x": Column([numbers]), "Jet_pt": Column([numbers], np.arange(stop - start + 1))})
        assert out.entries == edges[-1]
    with uproot.open(tmp_path / "a.root") as file:
        tree = file["Events"]
        assert tree["x"].num_baskets == tree["Jet_pt"].num_baskets == baskets
        assert np.diff(tree["x"].entry_offsets).max() <= 25_000
        np.testing.assert_array_equal(tree["x"].array(), np.arange(edges[-1]))
        np.testing.assert_array_equal(tree["Jet_pt"].array()[:, 0], np.arange(edges[-1]))


@pytest.mark.parametrize("compression", ["zstd 5", "zlib 1", "lz4 9", "lzma 1", "none"])
def test_compression(tmp_path: Path, compression: str) -> None:
    path = write(tmp_path / "a.root", [columns(500)], [500], compression=compression)
    assert content(path) == content(write(tmp_path / "b.root", [columns(500)], [500]))
    with uproot.open(path) as file:
        codec = file.file.compression
        name, _, level = compression.partition(" ")
        assert (codec is None or codec.level == 0) if name == "none" else codec.name == name.upper()
        assert not level or codec.level == int(level)


def test_trees_in_folders_and_trees_without_entries(tmp_path: Path) -> None:
    path = write(tmp_path / "a.root", [], [], tree="folder/Events")
    assert set(content(path, "folder/Events").values()) == {b""}
    with uproot.open(path) as file:
        assert file["folder/Events"].num_entries == 0
        assert file["folder/Events"]["Jet_f4"].title == "title f4"


def test_lists_that_do_not_fit_their_counter_are_refused(tmp_path: Path) -> None:
    branches = [Branch(n, np.dtype("f4"), True, "nJet") for n in ("Jet_pt", "Jet_eta")]
    lists = Column([np.zeros(3, "f4")], np.array([0, 1, 3]))
    others = Column([np.zeros(3, "f4")], np.array([0, 2, 3]))
    with NanoFile(tmp_path / "a.root") as file:
        out = file.tree("Events", branches)
        with pytest.raises(DataError, match="Events: Jet_eta has lists of other lengths than the rest of nJet"):
            out.append(2, {"Jet_pt": lists, "Jet_eta": others})
        with pytest.raises(DataError, match="Events: nJet is not the number of elements"):
            out.append(2, {"Jet_pt": lists, "Jet_eta": lists, "nJet": Column([np.array([2, 1])])})
        with pytest.raises(DataError, match="nJet counts lists, so it cannot be float32"):
            file.tree("Other", [*branches, Branch("nJet", np.dtype("f4"))])


def test_root_reads_it(tmp_path: Path) -> None:
    root = pytest.importorskip("ROOT", reason="ROOT is not installed (pip install root)")
    parts = [columns(20_000, seed) for seed in range(12)]  # more baskets than uproot reserves at first
    path = write(tmp_path / "a.root", parts, [20_000] * 12)
    file = root.TFile.Open(str(path))
    tree = file.Get("Events")
    assert tree.GetEntries() == 240_000
    assert tree.GetBranch("Jet_f4").GetTitle() == "title f4"
    frame = root.RDataFrame("Events", str(path))
    assert frame.GetColumnType("nJet") == "UInt_t"
    expected = sum(int(p["Jet_u4"].content.astype("u8").sum()) for p in parts)
    assert frame.Define("s", "double t = 0; for (auto x : Jet_u4) t += x; return t;").Sum("s").GetValue() == expected
    empty = write(tmp_path / "empty.root", [], [])
    assert root.RDataFrame("Events", str(empty)).Count().GetValue() == 0
