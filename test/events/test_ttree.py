"""Trees are described from their bytes as uproot describes them; what is unusual or damaged is left to it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from nanoforge.events import ttree
from nanoforge.events.open import open_events
from nanoforge.events.root import open_file
from nanoforge.events.ttree import describe
from uproot.source.chunk import Chunk
from uproot.source.cursor import Cursor

HERE = Path(__file__).parent
TYPES = ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbers of all types, lists with common and own counters, arrays and strings; 12 baskets, and none."""
    path = tmp_path_factory.mktemp("trees") / "many.root"
    lists = ak.Array([[1.0, 2.0], [], [3.0]])
    columns = {f"x_{kind}".replace("?", "b"): np.arange(3).astype(kind) for kind in TYPES}
    columns |= {"Jet": ak.zip({"pt": lists, "eta": lists}), "own": lists, "two": np.ones((3, 2), "f4")}
    with uproot.recreate(path) as file:
        tree = file.mktree(
            "dir/Events",
            {
                n: np.dtype((v.dtype, v.shape[1:])) if isinstance(v, np.ndarray) else v.type.content
                for n, v in columns.items()
            },
            title="t" * 300,
        )
        for _ in range(12):
            tree.extend(columns)
        file.mktree("none", {"x": "f4", "l": "var * float32"})
        file.mktree("text", {"s": "string", "x": "f4"}).extend({"s": ["a", "bc"], "x": np.ones(2, "f4")})
    return path


@pytest.mark.parametrize("name", ["dir/Events", "none", "text"])
def test_a_description_agrees_with_uproot(path: Path, name: str) -> None:
    with open_file(str(path)) as file:
        described, tree = describe(file.key(name)), file[name]
        assert described is not None and described.entries == tree.num_entries
        assert list(described.branches) == [branch.name for branch in tree.branches]
        assert [n for n, b in described.branches.items() if b is None] == [n for n in ("two", "s") if n in tree]
        for branch in tree.branches:
            compare(described.branches[branch.name], branch)


def compare(stored: Any, branch: Any) -> None:
    if stored is None:
        return
    what = branch.interpretation
    seeks = branch.member("fBasketSeek")[: len(stored.places)].tolist()
    assert stored.dtype == getattr(what, "content", what).from_dtype
    assert stored.counter == (branch.count_branch.name if branch.count_branch is not None else None)
    assert stored.edges == list(branch.entry_offsets)
    assert stored.places == list(zip(seeks, branch.member("fBasketBytes").tolist()))
    assert (stored.title, stored.entries) == (branch.title, branch.num_entries)
    assert (stored.compressed, stored.uncompressed) == (branch.compressed_bytes, branch.uncompressed_bytes)


def test_columns_are_described_and_read_as_by_uproot(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_events(str(path), "dir/Events") as file:
        found, names = dict(file.branches), [n for n, b in file.branches.items() if b.dtype is not None]
        values = [chunk.columns for chunk in file.chunks(names)]
    monkeypatch.setattr("nanoforge.events.root.describe", lambda key: None)
    with open_events(str(path), "dir/Events") as file:
        assert dict(file.branches) == found
        for columns, expected in zip(values, (chunk.columns for chunk in file.chunks(names))):
            for name in names:
                assert ak.array_equal(columns[name].array, expected[name].array)


def test_uproot_makes_no_objects_of_plain_branches(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("uproot read a tree")

    monkeypatch.setattr(uproot.models.TTree.Model_TTree_v20, "read_members", forbidden)
    with open_events(str(path), "dir/Events") as file:
        assert file.branches["Jet_pt"].counter == "nJet"
        assert sum(len(chunk.columns["Jet_pt"].content) for chunk in file.chunks(["Jet_pt", "x_u8"])) == 36


def test_trees_of_other_kinds_are_left_to_uproot() -> None:
    with open_file(str(HERE / "made_by_root.root")) as file:
        assert describe(file.key("Events")) is None  # it has a vector, a TBranchElement
        assert describe(file.key("OffsetMap")) is not None


def test_a_damaged_description_is_left_to_uproot_or_harmless(path: Path) -> None:
    with open_file(str(path)) as file:
        chunk, cursor = file.key("none").get_uncompressed_chunk_cursor()
        content = bytes(chunk.get(0, file.key("none").data_uncompressed_bytes, cursor, {}))
        length, whole = file.key("none").fKeylen, describe(file.key("none"))
    outcomes = []
    for size in range(0, len(content), 7):
        outcomes.append(describe_bytes(content[:size], length))
        flipped = bytearray(content)
        flipped[size] ^= 0xFF
        outcomes.append(describe_bytes(bytes(flipped), length))
        ttree._layouts.clear()
        assert describe_bytes(bytes(flipped), length) == outcomes[-1]  # with what was learnt of others, and without
    assert describe_bytes(content, length) == whole
    assert None in outcomes and whole in outcomes  # what comes behind the branches is not looked at


def test_the_next_file_of_a_production_is_described_by_what_was_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ttree._layouts.clear()
    for number, baskets in enumerate((1, 3, 3, 0)):
        with uproot.recreate(tmp_path / f"{number}.root") as file:
            tree = file.mktree("Events", {"Jet": ak.Array([[{"pt": 1.0}]]).type.content, "x": np.dtype("i4")})
            for basket in range(baskets):
                pt = ak.unflatten(np.arange(6.0) + basket + 10 * number, [number, 6 - number])
                tree.extend({"Jet": ak.zip({"pt": pt}), "x": np.array([number, basket])})
    parsers = []
    monkeypatch.setattr(
        ttree, "_TreeParser", lambda *words, make=ttree._TreeParser: parsers.append(words) or make(*words)
    )
    for number, baskets in enumerate((1, 3, 3, 0)):
        with open_file(str(tmp_path / f"{number}.root")) as file:
            described, tree = describe(file.key("Events")), file["Events"]
            assert described is not None and described.entries == tree.num_entries == 2 * baskets
            for branch in tree.branches:
                compare(described.branches[branch.name], branch)
    assert len(parsers) == 1
    with uproot.recreate(tmp_path / "other.root") as file:
        tree = file.mktree("Events", {"Jet": ak.Array([[{"pm": 1.0}]]).type.content, "x": np.dtype("i4")})
    with open_file(str(tmp_path / "other.root")) as file:
        described = describe(file.key("Events"))
        assert described is not None and list(described.branches) == ["nJet", "Jet_pm", "x"]


def describe_bytes(content: bytes, key_length: int) -> Any:
    chunk = Chunk.wrap(None, np.frombuffer(content, np.uint8))
    located = lambda: (chunk, Cursor(0, origin=-key_length))  # noqa: E731
    key = SimpleNamespace(
        get_uncompressed_chunk_cursor=located, data_uncompressed_bytes=len(content), fKeylen=key_length
    )
    return describe(key)
