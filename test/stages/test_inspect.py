"""Inspect shows what is in real and in made-up files, locally and over the network."""

from __future__ import annotations

import dataclasses
import http.server
import io
import json
import re
import sys
import threading
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from nanoforge import cli
from nanoforge.errors import FileError, UserError
from nanoforge.events.ttree import describe
from typer.testing import CliRunner

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
NANO = SHARED / "NanoAODv5_sample.root"
NTUPLE = SHARED / "nano_dy_rntuple.root"
UNFILLED = SHARED.with_name("cases") / "unfilled.root"
real = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real files are not here: {SHARED}")


def show(*words):
    result = CliRunner().invoke(cli.app, ["inspect", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def described(*words):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(show(*words, "--json"), parse_constant=refuse)


def branches(tree):
    return {branch["name"]: branch for branch in tree["branches"]}


def row(text, name):
    """Return the line of a branch or group, its cells separated by two blanks or more."""
    return next(re.split(r" {2,}", line.strip()) for line in text.splitlines() if line.split()[:1] == [name])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two trees, one in a directory; per-branch counters as uproot writes them; NaN, infinities, a string."""
    path = tmp_path_factory.mktemp("made") / "made.root"
    with uproot.recreate(path) as file:
        types = {
            "Jet_pt": "var * float32",
            "Jet_jetId": "var * int32",
            "MET_pt": "float64",
            "MET_phi": "float64",
            "event": "uint64",
        }
        file.mktree("dir/Events", types)
        lists = ak.Array([[10.0, 20.0, 30.0], [], [40.0]])
        flat = {"MET_pt": np.array([np.nan, np.inf, 3.0]), "MET_phi": np.zeros(3), "event": np.arange(2**60, 2**60 + 3)}
        file["dir/Events"].extend({"Jet_pt": lists, "Jet_jetId": ak.values_astype(lists, np.int32), **flat})
        file.mktree("Notes", {"text": "string", "number": "int32"})
        file["Notes"].extend({"text": ak.Array(["a", "b"]), "number": np.array([1, 2])})
    return path


@pytest.fixture(scope="module")
def ntuple(tmp_path_factory):
    path = tmp_path_factory.mktemp("ntuple") / "ntuple.root"
    with uproot.recreate(path) as file:
        file["Events"] = {
            "x": np.arange(3.0),
            "Jet": ak.zip({"pt": [[1.0, 2.0], [], [3.0]], "eta": [[0.1, 0.2], [], [0.3]]}),
            "word": ["a", "b", "c"],
            "nested": ak.Array([[[1, 2], [3]], [], [[4]]]),
        }
    return path


def test_private_counters_belong_to_their_collection(made):
    tree = described(made, "--tree", "dir/Events")[0]["trees"][0]
    assert tree["collections"] == [
        {
            "name": "Jet",
            "counters": ["nJet_jetId", "nJet_pt"],
            "branches": ["Jet_pt", "Jet_jetId"],
            "longest_list": None,
        }
    ]
    assert branches(tree).keys() == {"event", "Jet_pt", "Jet_jetId", "MET_pt", "MET_phi"}
    assert branches(tree)["Jet_pt"]["counter"] == "nJet_pt"
    assert "nJet_pt" not in show(made)


def test_ranges_of_made_values(made):
    tree = described(made, "--tree", "dir/Events", "--ranges")[0]["trees"][0]
    found = {name: branch["range"] for name, branch in branches(tree).items()}
    assert found["MET_pt"] == {
        "min": 3.0, "max": 3.0, "mean": 3.0, "nan": 1 / 3, "infinite": 1 / 3, "values": 3, "longest_list": None,
    }  # fmt: skip
    assert (found["Jet_pt"]["mean"], found["Jet_pt"]["longest_list"], found["Jet_pt"]["values"]) == (25.0, 3, 4)
    assert (found["event"]["min"], found["event"]["max"]) == (2**60, 2**60 + 2)
    assert tree["collections"][0]["longest_list"] == 3
    text = show(made, "--ranges")
    assert row(text, "MET_pt") == ["MET_pt", "float64", "3", "3", "3", "NaN 33.33%, inf 33.33%"]
    assert "longest list 3" in " ".join(row(text, "Jet"))


def test_all_trees_and_unreadable_columns(made):
    notes, events = sorted(described(made, "--ranges")[0]["trees"], key=lambda t: t["name"])
    assert (notes["name"], events["name"]) == ("Notes", "dir/Events")
    assert branches(notes)["text"]["dtype"] is None
    assert branches(notes)["text"]["range"] is None
    assert "(not read)" in row(show(made), "text")
    assert "(not read)" in row(show(made, "--ranges"), "text")


def test_records_strings_and_nested_lists_of_an_rntuple(ntuple):
    tree = described(ntuple, "--ranges")[0]["trees"][0]
    found = branches(tree)
    assert (tree["kind"], tree["entries"]) == ("RNTuple", 3)
    assert (found["Jet_pt"]["collection"], found["Jet_pt"]["range"]["longest_list"]) == ("Jet", 2)
    assert (found["word"]["type"], found["word"]["dtype"]) == ("std::string", None)
    assert found["nested"]["dtype"] is None
    assert found["Jet_pt"]["uncompressed_bytes"] == 3 * 8
    assert found["word"]["compressed_bytes"] > 0


def test_parquet_csv_and_json_lines(tmp_path):
    ak.to_parquet(ak.Array([{"x": 1.5, "Jet": [{"pt": 1.0}]}, {"x": 2.5, "Jet": []}]), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("x,name\n1.5,a\n2.5,b\n")
    (tmp_path / "t.jsonl").write_text('{"x": 1.5, "Jet_pt": [1.0, 2.0]}\n{"x": 2.5, "Jet_pt": []}\n')
    files = described(tmp_path / "t.parquet", tmp_path / "t.csv", tmp_path / "t.jsonl", "--ranges")
    for file, kind in zip(files, ("Parquet", "CSV", "JSON lines")):
        tree = file["trees"][0]
        assert (tree["name"], tree["kind"], tree["entries"]) == (None, kind, 2)
        assert branches(tree)["x"]["range"]["mean"] == 2.0
    assert branches(files[2]["trees"][0])["Jet_pt"]["range"]["longest_list"] == 2
    assert described(tmp_path / "t.csv")[0]["trees"][0]["entries"] is None
    assert "not counted" in show(tmp_path / "t.csv")


def test_values_are_read_in_bounded_chunks(tmp_path, monkeypatch):
    path = tmp_path / "many.root"
    values = np.random.default_rng(1).normal(size=50_000)
    with uproot.recreate(path) as file:
        file.mktree("Events", {"x": "f8"})
        for start in range(0, len(values), 5000):
            file["Events"].extend({"x": values[start : start + 5000]})
    sizes = []
    original = np.ndarray.__len__
    from nanoforge.stages.inspect import Spread

    add = Spread.add
    monkeypatch.setattr(Spread, "add", lambda self, column: (sizes.append(original(column.content)), add(self, column)))
    found = branches(described(path, "--ranges")[0]["trees"][0])["x"]["range"]
    assert found["mean"] == pytest.approx(values.mean(), rel=1e-12)
    assert (found["min"], found["max"]) == (values.min(), values.max())
    assert sum(sizes) == len(values)
    assert max(sizes) < 20_000


def test_a_filter_is_a_glob_that_minds_the_case(made):
    assert branches(described(made, "--filter", "Jet_*")[0]["trees"][0]).keys() == {"Jet_pt", "Jet_jetId"}
    with pytest.raises(UserError, match=r"--filter 'jet_\*' matches no branch; did you mean 'Jet_"):
        show(made, "--filter", "jet_*")


def test_missing_trees_name_what_there_is(made, tmp_path):
    with pytest.raises(FileError, match=r"no tree 'Event'; it has .*dir/Events") as failure:
        show(made, "--tree", "Event")
    assert failure.value.exit_code == 2
    with uproot.recreate(tmp_path / "h.root") as file:
        file["h"] = np.histogram([1.0, 2.0])
    with pytest.raises(FileError, match="no tree at all; h"):
        show(tmp_path / "h.root")
    (tmp_path / "broken.root").write_bytes(made.read_bytes()[:1000])
    with pytest.raises(FileError, match="truncated: 1,000 of"):
        show(tmp_path / "broken.root")


def test_errors_are_one_line_with_an_exit_code(made, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["nanoforge", "inspect", str(made), "--filter", "zzz*"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: --filter 'zzz*' matches no branch")


def test_equal_branches_are_shown_once_and_differences_listed(tmp_path):
    def write(name, **types):
        with uproot.recreate(tmp_path / name) as file:
            file.mktree("Events", types)
            file["Events"].extend({n: np.zeros(3, t) for n, t in types.items()})

    write("a.root", x="f4", y="f4", z="f4")
    write("b.root", x="f4", y="f4", z="f4")
    write("c.root", x="f4", y="i4", w="f4")
    text = show(*(tmp_path / f"{n}.root" for n in "abc"))
    assert f"same branches as {tmp_path / 'a.root'}" in text
    assert len(re.findall(r"^ +x +float32", text, re.MULTILINE)) == 1
    assert "only here: w" in text
    assert "only there: z" in text
    assert "y (int32, there float32)" in text
    with_values = show(tmp_path / "a.root", tmp_path / "b.root", "--ranges")
    assert len(re.findall(r"^ +x +float32", with_values, re.MULTILINE)) == 2


def test_only_the_highest_cycle_counts(tmp_path):
    path = tmp_path / "cycles.root"
    for mode in (uproot.recreate, uproot.update):
        with mode(path) as file:
            file.mktree("Events", {"x": "f4"})
            file["Events"].extend({"x": np.zeros(3 if mode is uproot.recreate else 5, "f4")})
    assert [(t["name"], t["entries"]) for t in described(path)[0]["trees"]] == [("Events", 5)]


def test_an_empty_tree(tmp_path):
    with uproot.recreate(tmp_path / "empty.root") as file:
        file.mktree("Events", {"x": "float32", "Jet_pt": "var * float32"})
    tree = described(tmp_path / "empty.root", "--ranges")[0]["trees"][0]
    assert tree["entries"] == 0
    assert branches(tree)["x"]["range"]["min"] is None
    assert row(show(tmp_path / "empty.root", "--ranges"), "x")[1:5] == ["float32", "-", "-", "-"]


@real
def test_a_real_nanoaod_file():
    tree = described(NANO)[0]["trees"][0]
    with uproot.open(NANO) as file:
        events = file["Events"]
        jet = events["Jet_pt"]
        assert (tree["entries"], len(tree["branches"])) == (1000, len(events.keys()))
        shown = branches(tree)["Jet_pt"]
        assert shown["compressed_bytes"] == jet.compressed_bytes
        assert shown["ratio"] == jet.uncompressed_bytes / jet.compressed_bytes
    assert (shown["counter"], shown["codec"], shown["title"]) == ("nJet", "ZLIB(1)", "pt")
    assert {"Jet", "FatJet", "Muon", "GenPart", "LHEPdfWeight"} <= {c["name"] for c in tree["collections"]}


@pytest.mark.parametrize(
    ("compression", "codec"), [(uproot.ZSTD(5), "ZSTD(5)"), (uproot.LZ4(4), "LZ4(4)"), (None, "none")]
)
def test_the_codec_of_files_by_uproot(tmp_path, compression, codec):
    with uproot.recreate(tmp_path / "a.root", compression=compression) as file:
        file.mktree("Events", {"x": "f8"})
        file["Events"].extend({"x": np.zeros(5000)})
    assert branches(described(tmp_path / "a.root")[0]["trees"][0])["x"]["codec"] == codec


@real
def test_the_text_for_a_real_file_is_whole_and_compact():
    text = show(NANO)
    assert "\x1b" not in text
    assert "…" not in text
    assert row(text, "Jet")[1] == "36 lists"
    assert "counter nJet" in row(text, "Jet")
    assert row(text, "HLT_*")[1] == "651 values"
    assert len(text.splitlines()) < 600
    one = "HLT_Ele24_eta2p1_WPTight_Gsf_TightChargedIsoPFTauHPS30_eta2p1_TightID_CrossL1"
    assert one not in text
    assert one in show(NANO, "--filter", "HLT_Ele*")


@real
def test_ranges_agree_with_uproot_on_real_data():
    tree = described(NANO, "--filter", "Jet_*", "--ranges")[0]["trees"][0]
    with uproot.open(NANO) as file:
        arrays = file["Events"].arrays(filter_name="Jet_*")
    assert len(tree["branches"]) == len(arrays.fields)
    for name, branch in branches(tree).items():
        values = ak.to_numpy(ak.flatten(arrays[name])).astype(np.float64)
        span = branch["range"]
        assert [span["min"], span["max"], span["mean"]] == pytest.approx([values.min(), values.max(), values.mean()])
        assert span["longest_list"] == ak.max(ak.num(arrays[name]))


@real
def test_sizes_of_a_real_rntuple():
    tree = described(NTUPLE)[0]["trees"][0]
    assert (tree["kind"], tree["entries"]) == ("RNTuple", 40)
    assert branches(tree)["nJet"]["uncompressed_bytes"] == 40 * 8  # the offsets of the collection
    assert branches(tree)["Jet_pt"]["codec"] == "ZSTD(5)"
    assert 40_000 < tree["compressed_bytes"] < NTUPLE.stat().st_size


class Ranged(http.server.SimpleHTTPRequestHandler):
    """The server of the standard library, with ``Range: bytes=a-b``."""

    def send_head(self):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted is None:
            return super().send_head()
        content = Path(self.translate_path(self.path)).read_bytes()
        first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        return io.BytesIO(content[first : last + 1])

    def log_message(self, *_):
        pass


@pytest.fixture
def address(made):
    def handler(*arguments):
        return Ranged(*arguments, directory=str(made.parent))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{made.name}"
        server.shutdown()
        thread.join()


def test_a_file_over_the_network(address, made):
    remote, local = described(address, made, "--tree", "dir/Events", "--ranges")
    assert remote["bytes"] is None
    assert (remote["trees"], remote["uuid"]) == (local["trees"], local["uuid"])
    with pytest.raises(FileError, match="cannot be fetched"):
        show(address.replace("made.root", "none.root"))


@pytest.mark.skipif(not UNFILLED.exists(), reason=f"the file is not here: {UNFILLED}")
def test_a_real_file_with_branches_that_were_never_filled():
    text = show(UNFILLED, "--ranges")
    assert row(text, "fCaloClusters_fEnergy")[2:] == ["-", "-", "-", "(not read: holds 0 of 98 entries)"]
    assert row(text, "fCaloClusters_fClusterID")[2:] == ["0", "471.4", "1560"]


@pytest.mark.parametrize("by_uproot", [False, True])
def test_branches_that_were_never_filled(tmp_path, monkeypatch, by_uproot):
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("Events", {"x": "f4", "y": "f4"}).extend({"x": np.arange(4.0), "y": np.zeros(4)})
    count = uproot.TBranch.num_entries.fget
    monkeypatch.setattr(uproot.TBranch, "num_entries", property(lambda b: 0 if b.name == "y" else count(b)))

    def described(key):
        tree = describe(key)
        tree.branches["y"] = dataclasses.replace(tree.branches["y"], entries=0)
        return None if by_uproot else tree

    monkeypatch.setattr("nanoforge.events.root.describe", described)
    text = show(tmp_path / "a.root", "--ranges")
    assert row(text, "x")[2:] == ["0", "1.5", "3"]
    assert row(text, "y")[2:] == ["-", "-", "-", "(not read: holds 0 of 4 entries)"]
