"""Readers give what uproot gives, bit for bit, or a FileError; never less in silence.

``made_by_root.root`` holds what uproot does not write; ROOT 6.40 filled it for entries i of 200: ``nJet = i*i % 5``,
``Jet_pt[k] = i + k/8``, ``fixed[k] = i + k``, ``leaf: x = i, y = -i``, and ``i % 4`` elements ``vec[k] = i - k/4``,
``Ele_charge[k] = k - i``; the tree ``OffsetMap`` leaves out the offsets of the lists (kGenerateOffsetMap).
"""

from __future__ import annotations

import contextlib
import decimal
import functools
import gzip
import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import nanoforge.events.addresses.http
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toys
import uproot
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nanoforge.errors import FileError
from nanoforge.events import arrow, pages
from nanoforge.events.open import open_events
from nanoforge.events.reader import EventFile
from uproot.writing import _cascadentuple

MADE_BY_ROOT = Path(__file__).with_name("made_by_root.root")
TYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
CODECS = {"zlib": uproot.ZLIB(1), "lz4": uproot.LZ4(1), "zstd": uproot.ZSTD(1), "lzma": uproot.LZMA(1), "none": None}


def joined(file: EventFile, names: list[str], step: int) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Put the chunks together: content and lengths of lists (None for flat columns); check what a chunk promises."""
    content: dict[str, list[np.ndarray]] = {n: [np.zeros(0, file.branches[n].dtype)] for n in names}
    lengths: dict[str, list[np.ndarray]] = {n: [np.zeros(0, np.int64)] for n in names}
    entries = 0
    for chunk in file.chunks(names, step):
        assert chunk.start == entries and 0 < chunk.size <= max(1, step * 3 // 2) and set(chunk.columns) == set(names)
        for name, column in chunk.columns.items():
            copy = np.empty(len(column.content), file.branches[name].dtype)
            column.copy_to(copy)
            np.testing.assert_array_equal(copy, column.content)
            assert column.content.dtype.isnative
            content[name].append(column.content)
            if column.offsets is None:
                assert len(column.content) == chunk.size
            else:
                assert column.offsets[0] == 0 and column.offsets[-1] == len(column.content)
                lengths[name].append(np.diff(column.offsets))
                assert len(lengths[name][-1]) == chunk.size
        entries += chunk.size
    assert file.entries in (None, entries)
    return {
        n: (np.concatenate(content[n]), np.concatenate(lengths[n]) if file.branches[n].jagged else None) for n in names
    }


def assert_equal(found: dict[str, tuple[np.ndarray, np.ndarray | None]], expected: Any) -> None:
    for name, (content, lengths) in found.items():
        reference = expected[name]
        if lengths is not None:
            np.testing.assert_array_equal(lengths, ak.to_numpy(ak.num(reference)), err_msg=name)
            reference = ak.flatten(reference)
        reference = ak.to_numpy(reference)
        assert content.dtype == reference.dtype, name
        assert content.tobytes() == reference.tobytes(), name


def chunks(path: Path | str, *names: str, tree: str = "Events", step: int = 1000) -> dict:
    with open_events(str(path), tree) as file:
        return joined(file, list(names), step)


def refusal(path: Path | str, tree: str = "Events", names: tuple[str, ...] = ()) -> FileError:
    with pytest.raises(FileError) as caught, open_events(str(path), tree) as file:
        for _ in file.chunks(list(names) or [n for n in file.branches if file.branches[n].dtype is not None]):
            pass
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert caught.value.path == str(path)
    return caught.value


def bits(rng: np.random.Generator, dtype: str, size: int) -> np.ndarray:
    """Any bit pattern of a type: NaN, infinities and denormals included."""
    if dtype == "?":
        return rng.random(size) < 0.5
    return rng.integers(0, 256, size * np.dtype(dtype).itemsize, dtype="u1").view(dtype)


# --- TTrees ---


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # uproot writes signalling NaN
@settings(max_examples=40, deadline=None)
@example(seed=0, sizes=[1, 0, 1], longest=0, codec="lz4", step=2, own=["?"])
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    longest=st.sampled_from([0, 1, 2, 9]),
    codec=st.sampled_from(sorted(CODECS)),
    step=st.integers(1, 130),
    own=st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True),
)
def test_any_tree_equals_uproot(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int, sizes: list[int], longest: int, codec: str, step: int, own: list[str],
) -> None:  # fmt: skip
    """Flat columns, one collection with all types, and lists with counters of their own, in baskets cut anywhere."""
    rng = np.random.default_rng(seed)
    path = tmp_path_factory.getbasetemp() / "any.root"
    with uproot.recreate(path, compression=CODECS[codec]) as file:
        types: dict[str, Any] = {f"flat_{t}".replace("?", "b"): np.dtype(t) for t in TYPES}
        record = ak.zip({t.replace("?", "b"): ak.Array([np.zeros(1, t)])[[0, 0]][:, :0] for t in TYPES})
        types["Jet"] = record.type.content
        types |= {f"own{t}".replace("?", "b"): ak.Array([np.zeros(1, t)]).type.content for t in own}
        tree = file.mktree(
            "Events", types, counter_name=lambda n: f"n{n}", field_name=lambda o, i: f"{o}_{i}" if o else i
        )
        for size in sizes:
            lengths = rng.integers(0, longest + 1, size)
            data: dict[str, Any] = {f"flat_{t}".replace("?", "b"): bits(rng, t, size) for t in TYPES}
            data["Jet"] = toys.lists({t.replace("?", "b"): bits(rng, t, int(lengths.sum())) for t in TYPES}, lengths)
            for t in own:
                lengths = rng.integers(0, longest + 1, size)
                data[f"own{t}".replace("?", "b")] = ak.unflatten(bits(rng, t, int(lengths.sum())), lengths)
            tree.extend(data)
    with uproot.open(path) as file, open_events(str(path), "Events") as events:
        names = list(events.branches)
        assert set(names) == {b.name for b in file["Events"].branches}
        assert events.entries == sum(sizes) and events.uuid == file.file.uuid.hex
        names = [str(n) for n in rng.permutation(names)]
        if sum(sizes):
            assert_equal(joined(events, names, step), file["Events"].arrays(names))
            few = names[:2]
            assert_equal(joined(events, few, step), file["Events"].arrays(few))
        else:
            assert all(len(content) == 0 for content, _ in joined(events, names, step).values())


def by_type(file: EventFile, most: int) -> list[str]:
    """Pick some columns of every type."""
    found: dict[tuple[Any, bool, Any], list[str]] = {}
    for name, branch in file.branches.items():
        if branch.dtype is not None:
            found.setdefault((branch.dtype, branch.jagged, branch.type_name), []).append(name)
    return [n for names in found.values() for n in names[:: max(1, len(names) // most)][:most]]


@pytest.mark.parametrize(
    ("name", "step"),
    [("NanoAODv5_sample.root", 170), ("nano_dimuon.root", 13), ("nano_dy_rntuple.root", 17),
     ("HTT12_TTbarSkim.root", 1000), ("HTT12_DYJetsToLLSkim.root", 997)],
)  # fmt: skip
def test_real_files_equal_uproot(shared: Any, name: str, step: int) -> None:
    path = shared(name)
    with uproot.open(path) as file, open_events(str(path), "Events") as events:
        names = by_type(events, 40 if name.startswith("HTT12") else 2 if "rntuple" in name else 6)
        assert len(names) >= 12
        expected = file["Events"].arrays(names)
        for name in names if "rntuple" in path.name else ():  # uproot makes i8 of all counters of an RNTuple
            expected[name] = ak.values_astype(expected[name], events.branches[name].dtype)
        assert_equal(joined(events, names, step), expected)


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_branches_that_only_root_writes(step: int) -> None:
    found = chunks(MADE_BY_ROOT, "Jet_pt", "fixed", "vec", "Ele_charge", "nJet", step=step)
    entries = range(200)
    expected = {
        "Jet_pt": [[i + k / 8 for k in range(i * i % 5)] for i in entries],
        "fixed": [[i, i + 1, i + 2] for i in entries],
        "vec": [[i - k / 4 for k in range(i % 4)] for i in entries],
        "Ele_charge": [[k - i for k in range(i % 4)] for i in entries],
    }
    for name, lists in expected.items():
        content, lengths = found[name]
        assert lengths is not None and lengths.tolist() == [len(values) for values in lists]
        assert content.tolist() == [value for values in lists for value in values]
    assert found["nJet"][0].tolist() == [i * i % 5 for i in entries]


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_lists_without_stored_offsets(step: int) -> None:
    content, lengths = chunks(MADE_BY_ROOT, "Jet_pt", tree="OffsetMap", step=step)["Jet_pt"]
    assert lengths is not None and lengths.tolist() == [i * i % 5 for i in range(200)]
    assert content.tolist() == [i + k / 8 for i in range(200) for k in range(i * i % 5)]


def test_types_that_are_not_read_say_so() -> None:
    with open_events(str(MADE_BY_ROOT), "Events") as file:
        assert [n for n, b in file.branches.items() if b.dtype is None] == ["leaf", "two", "nested", "word"]
        assert file.branches["fixed"].jagged and file.branches["vec"].jagged
        assert file.branches["Jet_pt"].counter == "nJet" and file.branches["nJet"].dtype == np.int32
        with pytest.raises(KeyError):
            file.branches["none"]


def test_truncated_numbers() -> None:
    """Double32_t and Float16_t with all their ways to be stored, whose ranges uproot misreads behind ``[nJet]``.

    ROOT 6.40 filled ``truncated_numbers.root`` for entries i of 100: plain numbers i, ``nJet = i % 5``, lists i + k/4.
    """
    path = MADE_BY_ROOT.with_name("truncated_numbers.root")
    with open_events(str(path), "Events") as file:
        names = [name for name in file.branches if name not in ("nJet", "lone")]
        assert all(file.branches[name].dtype in ("f4", "f8") for name in names) and len(names) == 12
        found = joined(file, names, 30)
    for name, (content, lengths) in found.items():
        if lengths is None:
            assert content.tolist() == list(range(100)), name
        else:
            counts = [5 if name.startswith("lone") else i % 5 for i in range(100)]
            assert lengths.tolist() == counts, name
            assert content.tolist() == [i + k / 4 for i in range(100) for k in range(counts[i])], name


def test_an_rntuple_from_before_the_first_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uproot.const, "rntuple_version_for_writing", (0, 2, 0, 0))
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mkrntuple("Events", {"x": np.dtype("i4")}).extend({"x": np.zeros(5, "i4")})
    error = refusal(tmp_path / "a.root")
    assert "Events is an RNTuple of a format before its first release" in str(error)
    assert "write it again with ROOT 6.34 or newer" in str(error)


@pytest.mark.parametrize("extend", [False, True])
def test_a_tree_without_entries(tmp_path: Path, extend: bool) -> None:
    columns = toys.nano_events(0)
    with uproot.recreate(tmp_path / "a.root") as file:
        types = {k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in toys.nano_events(5).items()}
        tree = file.mktree("Events", types, counter_name=lambda n: f"n{n}")
        if extend:
            tree.extend(columns)
    with open_events(str(tmp_path / "a.root"), "Events") as file:
        assert file.entries == 0 and "Jet_pt" in file.branches
        assert list(file.chunks(["MET_pt", "Jet_pt"])) == []


def test_the_highest_cycle_wins(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        for value in (1, 2, 3):
            tree = file.mktree("Events", {"x": "i4"})
            tree.extend({"x": np.full(10 * value, value, "i4")})
    assert chunks(tmp_path / "a.root", "x")["x"][0].tolist() == [3] * 30


def test_a_tree_in_a_directory(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("one/two/Events", {"x": "i4"}).extend({"x": np.arange(5, dtype="i4")})
        file.mktree("Other", {"y": "i4"}).extend({"y": np.arange(5, dtype="i4")})
    assert chunks(tmp_path / "a.root", "x", tree="one/two/Events")["x"][0].tolist() == [0, 1, 2, 3, 4]
    error = refusal(tmp_path / "a.root", "Events")
    assert "no tree 'Events'; it has one/two/Events, Other" in str(error) and error.exit_code == 2
    error = refusal(tmp_path / "a.root", "one/two")
    assert "no tree 'one/two'; it has one/two/Events, Other" in str(error) and error.exit_code == 2


def test_dots_in_names_become_underscores(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("Delphes", {"MET.PT": "f4"}).extend({"MET.PT": np.arange(3, dtype="f4")})
    assert chunks(tmp_path / "a.root", "MET_PT", tree="Delphes")["MET_PT"][0].tolist() == [0, 1, 2]


def test_the_sum_of_generator_weights(tmp_path: Path) -> None:
    toys.write(tmp_path / "a.root", toys.nano_events(3), sumw=12.5)
    toys.write(tmp_path / "b.root", toys.nano_events(3))
    with open_events(str(tmp_path / "a.root"), "Events") as a, open_events(str(tmp_path / "b.root"), "Events") as b:
        assert (a.gen_sum_of_weights(), b.gen_sum_of_weights()) == (12.5, None)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Make files of 300 events whose x is the entry, in baskets, clusters or row groups of 70."""
    folder, x = tmp_path_factory.mktemp("numbered"), np.arange(300, dtype="i4")
    paths = {kind: folder / f"{kind}.root" for kind in ("ttree", "rntuple")}
    for kind, path in paths.items():
        with uproot.recreate(path) as file:
            tree = (file.mktree if kind == "ttree" else file.mkrntuple)("Events", {"x": np.dtype("i4")})
            for first in range(0, 300, 70):
                tree.extend({"x": x[first : first + 70]})
    (folder / "a.csv").write_text("\n".join(["x", *map(str, x)]))
    pq.write_table(pa.table({"x": x}), folder / "a.parquet", row_group_size=70)
    return paths | {"csv": folder / "a.csv", "parquet": folder / "a.parquet"}


@pytest.mark.parametrize("kind", ["ttree", "rntuple", "parquet", "csv"])
@settings(max_examples=15, deadline=None)
@given(bounds=st.lists(st.integers(0, 300), min_size=2, max_size=2).map(sorted), step=st.integers(1, 200))
def test_a_part_of_a_file(numbered: dict[str, Path], kind: str, bounds: list[int], step: int) -> None:
    start, stop = bounds
    entries: list[int] = []
    with open_events(str(numbered[kind]), "Events") as file:
        for chunk in file.chunks(["x"], step, (start, stop)):
            assert chunk.start == chunk.columns["x"].content[0] and chunk.size <= max(1, step * 3 // 2)
            entries += chunk.columns["x"].content.tolist()
    assert entries == list(range(start, stop))


# --- RNTuples ---


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 60), min_size=1, max_size=3), step=st.integers(1, 90))
def test_any_rntuple_equals_uproot(
    tmp_path_factory: pytest.TempPathFactory, seed: int, sizes: list[int], step: int
) -> None:
    rng = np.random.default_rng(seed)
    path = tmp_path_factory.getbasetemp() / "ntuple.root"

    def events(size: int) -> ak.Array:
        lengths = rng.integers(0, 4, size)
        columns: dict[str, Any] = {f"flat_{t}".replace("?", "b"): bits(rng, t, size) for t in TYPES}
        columns["Jet"] = toys.lists({t.replace("?", "b"): bits(rng, t, int(lengths.sum())) for t in TYPES}, lengths)
        columns["lone"] = ak.unflatten(bits(rng, "f4", int(lengths.sum())), lengths)
        return ak.zip(columns, depth_limit=1)

    parts = [events(n) for n in sizes]
    with uproot.recreate(path) as file:
        ntuple = file.mkrntuple("Events", events(1).layout.form)
        for part in parts:
            ntuple.extend(part)
    with open_events(str(path), "Events") as file:
        whole = ak.concatenate(parts)
        expected = {n: whole[n] for n in whole.fields if n != "Jet"} | {
            f"Jet_{f}": whole.Jet[f] for f in whole.Jet.fields
        }
        assert set(file.branches) == set(expected) and file.entries == sum(sizes)
        assert_equal(joined(file, list(expected), step), expected)


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an RNTuple of 3 clusters of 1,000 entries, with XXH3 sums as ROOT writes them, and uproot not."""
    path = tmp_path_factory.mktemp("clustered") / "a.root"
    number = np.arange(3000)
    lists = ak.unflatten(np.arange(3000 * 2, dtype="f4"), np.full(3000, 2))
    columns = {
        "x": number.astype("i4"),
        "good": number % 3 == 0,
        "Jet": ak.zip({"pt": lists, "id": ak.values_astype(lists, "u1")}),
        "fixed": ak.to_regular(lists),
    }
    compress, describe = uproot.compression.compress, _cascadentuple.NTuple_PageDescription

    def summed(data: Any, how: Any) -> bytes:
        stored = bytes(compress(data, how))
        return stored + xxhash.xxh3_64_intdigest(stored).to_bytes(8, "little")

    def described(entries: int, place: Any) -> Any:
        place.num_bytes -= 8
        return describe(-entries, place)

    with pytest.MonkeyPatch.context() as patch, uproot.recreate(path) as file:
        patch.setattr(uproot.compression, "compress", summed)
        patch.setattr(_cascadentuple, "NTuple_PageDescription", described)
        ntuple = file.mkrntuple("Events", ak.zip(columns, depth_limit=1)[:0].layout.form)
        for first in range(0, 3000, 1000):
            ntuple.extend(ak.zip({n: v[first : first + 1000] for n, v in columns.items()}, depth_limit=1))
    return path


def test_every_page_of_an_rntuple_is_decoded_once(clustered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of small steps through big clusters is that of the pages, not of a cluster for every step."""
    decoded: list[int] = []
    decode = pages.decompress
    monkeypatch.setattr(pages, "decompress", lambda *arguments: decoded.append(1) or decode(*arguments))
    tables: list[int] = []
    arrays = uproot.behaviors.RNTuple.HasFields.arrays
    monkeypatch.setattr(
        uproot.behaviors.RNTuple.HasFields, "arrays", lambda *a, **k: tables.append(1) or arrays(*a, **k)
    )
    names = ["x", "good", "Jet_pt", "Jet_id", "fixed"]
    found = chunks(clustered, *names, step=70)
    assert len(decoded) == 3 * 5 and len(tables) == 3
    assert found["x"][0].tolist() == list(range(3000)) and found["Jet_id"][0][:3].tolist() == [0, 1, 2]
    assert found["fixed"][0].tolist() == found["Jet_pt"][0].tolist() == list(range(6000))


@pytest.mark.parametrize("name", ["x", "good", "Jet_pt", "fixed"])
def test_a_flipped_bit_in_a_page_is_an_error(clustered: Path, tmp_path: Path, name: str) -> None:
    """ROOT writes an XXH3 sum behind every page."""
    with uproot.open(clustered) as file:
        ntuple = file["Events"].ntuple
        field = next(i for i, f in enumerate(ntuple.field_records) if f.field_name == name.removeprefix("Jet_"))
        inside = {field, *(i for i, f in enumerate(ntuple.field_records) if f.parent_field_id == field)}
        column = max(c.idx for c in ntuple.column_records if c.field_id in inside)
        page = ntuple.page_link_list[1][column].pages[0].locator
    content = bytearray(clustered.read_bytes())
    content[page.offset + page.num_bytes // 2] ^= 4
    (tmp_path / "flipped.root").write_bytes(content)
    others = [n for n in ("x", "good", "Jet_pt", "Jet_id", "fixed") if n != name]
    assert len(chunks(tmp_path / "flipped.root", *others)["Jet_id"][0]) == 6000
    error = refusal(tmp_path / "flipped.root", names=(name,))
    assert f"column {name}: the checksum (XXH3) of page 0 of cluster 1 is wrong" in str(error)
    assert error.exit_code == 1


# --- Parquet, CSV, JSON lines ---


def test_parquet_with_records_lists_and_missing_values(tmp_path: Path) -> None:
    rows = [
        {
            "x": 1,
            "y": 1.5,
            "l": [1, 2],
            "Jet": [{"pt": 1.0, "id": 1}, {"pt": None, "id": 2}],
            "P4": {"m": 1.0},
            "s": "a",
            "n": None,
            "e": [],
        },
        {"x": None, "y": 2.5, "l": None, "Jet": [], "P4": {"m": 2.0}, "s": "b"},
        {"x": 3, "y": None, "l": [], "Jet": None, "P4": {"m": None}, "s": None},
        {"x": 4, "y": 4.5, "l": [5], "Jet": [{"pt": 4.0, "id": None}], "P4": None, "s": "d"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=3)
    nan = float("nan")
    expected = {
        "x": ([1, nan, 3, 4], None),
        "y": ([1.5, 2.5, nan, 4.5], None),
        "l": ([1, 2, 5], [2, 0, 0, 1]),
        "Jet_pt": ([1, nan, 4], [2, 0, 0, 1]),
        "Jet_id": ([1, 2, nan], [2, 0, 0, 1]),
        "P4_m": ([1, 2, nan, nan], None),
        "n": ([nan] * 4, None),
        "e": ([], [0] * 4),
    }
    for step in (1, 2, 3, 100):
        with open_events(str(tmp_path / "a.parquet"), "any") as file:
            assert file.entries == 4 and file.branches["s"].dtype is None
            assert set(file.branches) == {*expected, "s"}
            parts = list(file.chunks(list(expected), step))
        for name, (values, lengths) in expected.items():
            np.testing.assert_array_equal(np.concatenate([p.columns[name].content for p in parts]), values)
            if lengths is not None:
                assert np.concatenate([np.diff(p.columns[name].offsets) for p in parts]).tolist() == lengths


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(0, 100), step=st.integers(1, 120), group=st.integers(1, 120))
def test_any_parquet_file_equals_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: int, step: int, group: int
) -> None:
    rng = np.random.default_rng(seed)
    path = tmp_path_factory.getbasetemp() / "any.parquet"
    lengths = rng.integers(0, 4, size)
    lists = {t.replace("?", "b"): bits(rng, t, int(lengths.sum())) for t in TYPES}
    columns: dict[str, Any] = {f"flat.{t}".replace("?", "b"): bits(rng, t, size) for t in TYPES}
    columns |= {f"lone_{n}": ak.unflatten(v, lengths) for n, v in lists.items()}
    columns["Jet"] = toys.lists(lists, lengths)
    ak.to_parquet(ak.zip(columns, depth_limit=1), path, row_group_size=group)
    expected = {n.replace(".", "_"): v for n, v in columns.items() if n != "Jet"}
    expected |= {f"Jet_{n}": columns["Jet"][n] for n in lists}
    with open_events(str(path), "") as file:
        assert file.entries == size and set(file.branches) == set(expected)
        assert_equal(joined(file, list(expected), step), expected)


def test_columns_that_cannot_be_read_spoil_nothing(tmp_path: Path) -> None:
    table = pa.table({"x": [1, 2], "price": [decimal.Decimal("1.5")] * 2, "day": pa.array([1, 2], pa.date32())})
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("x,price\n1,2\n2,free of charge\n")
    for name, unread in (("a.parquet", {"price", "day"}), ("b.csv", {"price"})):
        with open_events(str(tmp_path / name), "") as file:
            assert {n for n, b in file.branches.items() if b.dtype is None} == unread
            assert [c.columns["x"].content.tolist() for c in file.chunks(["x"])] == [[1, 2]]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".json", ".ndjson.gz"])
@settings(max_examples=15, deadline=None)
@given(block=st.integers(200, 3000), step=st.integers(1, 50), size=st.integers(1, 150))
def test_json_lines_longer_than_a_block(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, block: int, step: int, size: int
) -> None:
    rng = np.random.default_rng(size)
    rows = [
        {
            "event": i,
            "x": float(rng.normal()),
            "Jet": [{"pt": k + 0.5} for k in range(1 - i % 2)],
            "ids": [i] * (1 + i % 3),
        }
        for i in range(size)
    ]
    path = tmp_path_factory.getbasetemp() / f"a{suffix}"
    text = "\n".join(json.dumps(row) for row in rows).encode() + (b"\n" if size % 2 else b"")
    path.write_bytes(gzip.compress(text) if suffix.endswith(".gz") else text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "BLOCK", block)
        found = chunks(path, "event", "x", "Jet_pt", "ids", step=step)
    assert found["event"][0].tolist() == list(range(size))
    assert found["x"][0].tolist() == [row["x"] for row in rows]
    assert found["Jet_pt"][0].tolist() == [jet["pt"] for row in rows for jet in row["Jet"]]
    assert found["ids"][1].tolist() == [1 + i % 3 for i in range(size)]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@settings(max_examples=15, deadline=None)
@given(block=st.integers(60, 2000), step=st.integers(1, 50), size=st.integers(1, 150))
def test_csv_longer_than_a_block(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, block: int, step: int, size: int
) -> None:
    x = np.random.default_rng(size).normal(size=size)
    path = tmp_path_factory.getbasetemp() / f"a{suffix}"
    text = "event,x,good\n" + "".join(f"{i},{v!r},{'true' if i % 2 else 'false'}\n" for i, v in enumerate(x.tolist()))
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith(".gz") else text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "BLOCK", block)
        found = chunks(path, "event", "x", "good", step=step)
    assert found["event"][0].tolist() == list(range(size))
    assert found["x"][0].tolist() == x.tolist()
    assert found["good"][0].tolist() == [bool(i % 2) for i in range(size)]


def test_a_row_that_does_not_fit_the_first_ones_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "BLOCK", 200)
    for name, first, later in (
        ("a.jsonl", '{"x": 1}', '{"x": 1.5}'),
        ("b.jsonl", '{"x": 1}', '{"x": 1, "y": 2}'),
        ("c.jsonl", '{"x": 1}', '{"x": 1'),
        ("d.csv", "1,2", "1.5,2"),
        ("e.csv", "1,2", "1"),
    ):
        head = "x,y\n" if name.endswith(".csv") else ""
        (tmp_path / name).write_text(head + f"{first}\n" * 100 + f"{later}\n" + f"{first}\n" * 100)
        assert re.search(r"cannot be read after entry \d+: ", str(refusal(tmp_path / name))), name


def test_csv_with_a_head_alone_has_no_entries(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n")
    with open_events(str(tmp_path / "a.csv"), "Events") as file:
        assert list(file.branches) == ["x", "y"] and list(file.chunks(["x"])) == []


def test_a_folder_called_like_a_format_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "my.csv.d").mkdir()
    (tmp_path / "my.csv.d" / "a.jsonl").write_text('{"x": 1}\n{"x": 2}\n')
    assert chunks(tmp_path / "my.csv.d" / "a.jsonl", "x")["x"][0].tolist() == [1, 2]


def test_files_without_identity_are_told_apart_by_their_content(tmp_path: Path) -> None:
    for name, text in (("a.csv", "x\n1\n"), ("b.csv", "x\n1\n"), ("c.csv", "x\n2\n")):
        (tmp_path / name).write_text(text)
    uuids = [open_events(str(tmp_path / f"{n}.csv"), "").uuid for n in "abc"]
    assert uuids[0] == uuids[1] != uuids[2] and all(re.fullmatch(r"[0-9a-f]{32}", u) for u in uuids)


# --- broken files ---


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return toys.write(tmp_path / "good.root", toys.nano_events(1000), basket=100)


def test_a_truncated_file_says_how_much_is_here(good: Path) -> None:
    whole = good.read_bytes()
    good.write_bytes(whole[: len(whole) // 2])
    error = refusal(good)
    assert f"truncated: {len(whole) // 2:,} of {len(whole):,} bytes are here; copy it again" in str(error)
    assert error.exit_code == 1


def test_files_of_other_kinds_are_named(tmp_path: Path, good: Path) -> None:
    root, head = good.read_bytes(), "x\n1\n"
    pq.write_table(pa.table({"x": [1]}), tmp_path / "good.parquet")
    parquet = (tmp_path / "good.parquet").read_bytes()
    contents: dict[str, tuple[bytes, str]] = {
        "head.root": (root[:60], f"truncated: 60 of {len(root):,} bytes are here; copy it again"),
        "two.root": (root[:2], "truncated: 2 bytes are here; copy it again"),
        "html.root": (
            b"<!DOCTYPE html><html>",
            "is no ROOT file but a web page, perhaps that of a login: copy the file",
        ),
        "zip.root": (b"PK\x03\x04...", "is no ROOT file but a zip archive: unpack it"),
        "gz.root": (gzip.compress(root), "is no ROOT file but compressed by gzip: unpack it"),
        "zero": (bytes(3000), "is no ROOT file but of an unknown kind"),
        "root.parquet": (root, "is no Parquet file but a ROOT file"),
        "cut.parquet": (parquet[:-20], "truncated: the end of the file is missing; copy it again"),
        "gz.csv": (gzip.compress(head.encode()), "is no CSV file but compressed by gzip: unpack it"),
        "plain.csv.gz": (head.encode(), "is not compressed by gzip, as its name says, but a text file"),
        "parquet.json": (parquet, "is no JSON lines file but a Parquet file"),
    }
    for name, (content, reason) in contents.items():
        (tmp_path / name).write_bytes(content)
        error = refusal(tmp_path / name)
        assert error.reason.startswith(reason) and error.exit_code == 1


@pytest.mark.parametrize("name", ["a.root", "a.parquet", "a.json", "a.jsonl.gz", "a.csv.gz", "a.txt", "noend"])
def test_a_text_file_in_disguise(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("Dear diary,\ntoday I wrote an analysis.\n" * 20)
    assert refusal(tmp_path / name).exit_code == 1


@pytest.mark.parametrize("name", ["a.root", "a.parquet", "a.csv", "a.jsonl", "a.jsonl.gz"])
def test_an_empty_a_missing_file_and_a_directory(tmp_path: Path, name: str) -> None:
    error = refusal(tmp_path / name)
    assert str(error).endswith("no such file") and error.exit_code == 2
    (tmp_path / name).write_bytes(b"")
    error = refusal(tmp_path / name)
    assert str(error).endswith("is empty (0 bytes): copy it again") and error.exit_code == 1
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    error = refusal(tmp_path / name)
    assert str(error).endswith("is a directory, name the files in it") and error.exit_code == 2


def test_a_truncated_parquet_or_gz_file(tmp_path: Path) -> None:
    rows = [{"x": i, "l": [i] * 3} for i in range(5000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    text = "\n".join(json.dumps(r) for r in rows)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(("x\n" + "\n".join(str(i * i) for i in range(50000))).encode()))
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for share in (0.3, 0.9, 0.999):
            path.write_bytes(whole[: int(len(whole) * share)])
            assert refusal(path).exit_code == 1


def test_a_file_without_the_tree_lists_what_it_has(good: Path) -> None:
    error = refusal(good, "events")
    assert "no tree 'events'; it has Events; did you mean 'Events'?" in str(error) and error.exit_code == 2
    with uproot.recreate(good) as file:
        file["histogram"] = np.histogram([1.0, 2.0])
    for tree in ("Events", "histogram"):
        assert str(refusal(good, tree)).endswith(f"no tree {tree!r}; it has no tree at all")


def basket_bytes(path: Path, branch: str, index: int) -> tuple[int, int]:
    """Return where the stored bytes of a basket lie in the file, without the key before them."""
    with uproot.open(path) as file:
        found = file["Events"][branch]
        start = int(found.member("fBasketSeek")[index])
        return start + int(found.basket_key(index).fKeylen), start + int(found.basket_compressed_bytes(index))


@pytest.mark.parametrize("branch", ["Jet_pt", "nJet", "MET_pt"])
@pytest.mark.parametrize("codec", ["zlib", "lz4", "lzma"])
def test_a_corrupted_basket_is_an_error(tmp_path: Path, codec: str, branch: str) -> None:
    """These codecs carry checksums, so any change of the data is seen."""
    path = compressed(tmp_path, codec)
    start, stop = basket_bytes(path, branch, 4)
    middle = (start + stop) // 2
    with path.open("r+b") as file:
        file.seek(middle)
        byte = file.read(1)[0]
        file.seek(middle)
        file.write(bytes([byte ^ 0xFF]))
    assert str(refusal(path, names=(branch,))).startswith(f"{path}: cannot be read after entry ")
    assert len(chunks(path, "MET_phi")["MET_phi"][0]) == 1000, "the other branches can be read"


def compressed(folder: Path, codec: str) -> Path:
    path = folder / f"{codec}.root"
    toys.write(folder / "plain.root", toys.nano_events(1000), basket=100)
    with uproot.open(folder / "plain.root") as source, uproot.recreate(path, compression=CODECS[codec]) as target:
        tree = source["Events"].arrays(["nJet", "Jet_pt", "MET_pt", "MET_phi"])
        tree = {n: np.round(tree[n]) for n in tree.fields}  # random digits would be stored as they are
        types = {"Jet_pt": tree["Jet_pt"].type.content, "MET_pt": "f4", "MET_phi": "f4"}
        out = target.mktree("Events", types, counter_name=lambda n: "nJet")
        for start in range(0, 1000, 100):
            out.extend({n: tree[n][start : start + 100] for n in types})
    return path


@functools.cache
def specimen(codec: str, folder: Path) -> tuple[bytes, list[tuple[int, int]], dict]:
    path = compressed(folder, codec)
    found = chunks(path, "nJet", "Jet_pt", "MET_pt")
    return path.read_bytes(), [basket_bytes(path, b, i) for b in ("nJet", "Jet_pt", "MET_pt") for i in (0, 4, 9)], found


@settings(max_examples=60, deadline=None)
@given(
    codec=st.sampled_from(sorted(CODECS)),
    basket=st.integers(0, 8),
    places=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=3),
    key=st.booleans(),
)
def test_flipped_bits_never_shorten_a_result_in_silence(
    tmp_path_factory: pytest.TempPathFactory,
    codec: str, basket: int, places: list[tuple[float, int]], key: bool,
) -> None:  # fmt: skip
    folder = tmp_path_factory.getbasetemp()
    whole, ranges, expected = specimen(codec, folder)
    content = bytearray(whole)
    start, stop = ranges[basket]
    start -= 60 if key else 0
    for place, change in places:
        content[start + int(place * (stop - start - 1))] ^= change
    path = folder / "flipped.root"
    path.write_bytes(content)
    try:
        found = chunks(path, "nJet", "Jet_pt", "MET_pt", step=130)
    except FileError as error:
        assert str(error).startswith(f"{path}: ")
        return
    for name, (values, lengths) in found.items():
        assert name == "Jet_pt" or len(values) == 1000
        assert lengths is None or len(lengths) == 1000
        if codec in ("zlib", "lz4", "lzma"):
            assert values.tobytes() == expected[name][0].tobytes()


def test_a_counter_that_contradicts_the_lists_is_an_error(tmp_path: Path) -> None:
    """Stored without compression nothing checks the bytes: fewer jets must not shift those of later events."""
    path = compressed(tmp_path, "none")
    start, _ = basket_bytes(path, "nJet", 4)
    content = bytearray(path.read_bytes())
    counts = np.frombuffer(content, ">i4", 100, start)
    place = int(np.flatnonzero(counts > 1)[3])
    counts[place] -= 1
    path.write_bytes(content)
    for step in (1000, 130, 1):
        with pytest.raises(FileError, match="basket 4 of Jet_pt contradicts the number of its values"):
            chunks(path, "Jet_pt", step=step)


# --- over the network ---


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves byte ranges, as a grid site's WebDAV door does."""

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            super().do_GET()
            return
        whole = path.read_bytes()
        first = int(asked[1])
        last = min(int(asked[2] or len(whole)), len(whole) - 1)
        if first > last:
            self.send_error(416)
            return
        self.send_response(206)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(whole)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(whole[first : last + 1])

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path, handler: type[http.server.SimpleHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder))) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{web.server_address[1]}"
        web.shutdown()
        thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    (tmp_path / "served").mkdir()
    with served(tmp_path / "served", _Ranges) as url:
        yield tmp_path / "served", url


def test_http_gives_what_the_local_file_gives(server: tuple[Path, str], good: Path) -> None:
    folder, url = server
    shutil.copy(good, folder / "a.root")
    names = ["event", "MET_pt", "nJet", "Jet_pt", "HLT_IsoMu24", "Muon_jetIdx"]
    local, remote = chunks(good, *names, step=300), chunks(f"{url}/a.root", *names, step=300)
    for name in names:
        assert local[name][0].tobytes() == remote[name][0].tobytes()
        np.testing.assert_array_equal(local[name][1], remote[name][1])
    with open_events(f"{url}/a.root", "Events") as file:
        assert file.entries == 1000 and file.uuid == open_events(str(good), "Events").uuid


class _Whole(_Ranges):
    """Ignores what is asked for, as Python's own server does."""

    def do_GET(self) -> None:
        http.server.SimpleHTTPRequestHandler.do_GET(self)


def test_a_server_that_sends_no_parts(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = good.read_bytes()
    (good.parent / "half.root").write_bytes(whole[: len(whole) // 2])
    with served(good.parent, _Whole) as url:
        assert chunks(f"{url}/good.root", "event")["event"][0].tolist() == list(range(1, 1001))
        assert f"truncated: {len(whole) // 2:,} of {len(whole):,}" in str(refusal(f"{url}/half.root"))
        monkeypatch.setattr(nanoforge.events.addresses.http, "_MOST", 1000)
        assert "its server cannot send parts of a file: copy it first" in str(refusal(f"{url}/good.root"))


def test_http_failures_are_named(server: tuple[Path, str], good: Path) -> None:
    folder, url = server
    assert str(refusal(f"{url}/none.root")).endswith("the server has no such file")
    assert "write %3A%3A and %23" in str(refusal(f"{url}/a#b.root"))
    whole = good.read_bytes()
    (folder / "half.root").write_bytes(whole[: len(whole) // 2])
    assert refusal(f"{url}/half.root").exit_code == 1
    (folder / "a.csv").write_text("x\n1\n")
    assert chunks(f"{url}/a.csv", "x")["x"][0].tolist() == [1]
    assert refusal("http://127.0.0.1:1/a.root").exit_code == 1
