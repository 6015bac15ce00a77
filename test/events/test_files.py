"""Names, globs and list files become one list of files, in a reproducible order, none of them twice."""

from __future__ import annotations

import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest
from nanoforge.config.schema import Analysis
from nanoforge.errors import DataError, FileError, UserError
from nanoforge.events.damage import ROOT
from nanoforge.events.files import addresses, das_files, expand, is_remote, listed, require, sample_files

KEY = "samples.tt.files"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.root", "a.root", "c.txtroot", "deep/x/d.root", "deep/e.root"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"root")
    return tmp_path


def names(folder: Path, *patterns: str) -> list[str]:
    return [os.path.relpath(f, folder) for f in expand([str(folder / p) for p in patterns], KEY)]


def refusal(*patterns: str | Path) -> str:
    with pytest.raises(UserError) as caught:
        expand(map(str, patterns), KEY)
    assert str(caught.value).startswith(KEY)
    return str(caught.value)


def test_globs_are_sorted_and_the_order_of_patterns_is_kept(folder: Path) -> None:
    assert names(folder, "*.root") == ["a.root", "b.root"]
    assert names(folder, "deep/*.root", "[ab].root") == ["deep/e.root", "a.root", "b.root"]
    assert names(folder, "deep/**/*.root") == ["deep/e.root", "deep/x/d.root"]
    assert names(folder, "?.root") == ["a.root", "b.root"]


def test_a_plain_name_is_not_looked_for(folder: Path) -> None:
    assert names(folder, "none.root", "a.root") == ["none.root", "a.root"]


def test_addresses_are_taken_as_they_are() -> None:
    names = ["root://server//store/a.root", "https://server/b.root", "/store/a.root"]
    assert expand(names, KEY) == names
    assert [is_remote(a) for a in (*names, "/data/store/a.root", "a:b.root")] == [True, True, True, False, False]


def test_addresses_of_a_logical_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name, redirectors = "/store/mc/a.root", ["root://a/", "root://b:1095//"]
    assert addresses(name) == ["root://cms-xrd-global.cern.ch//store/mc/a.root"]
    assert addresses(name, redirectors) == ["root://a//store/mc/a.root", "root://b:1095//store/mc/a.root"]
    assert addresses("root://c//store/mc/a.root", redirectors) == ["root://c//store/mc/a.root"]
    monkeypatch.setenv("NANOFORGE_REDIRECTORS", "root://d/")
    assert addresses(name, redirectors) == ["root://d//store/mc/a.root"]


def test_nothing_matches(folder: Path) -> None:
    assert refusal(folder / "*.parquet") == f"{KEY}: no file matches {folder}/*.parquet"
    assert refusal(folder / "a.root", folder / "none" / "*") == f"{KEY}: no file matches {folder}/none/*"


def test_a_file_with_glob_characters_in_its_name(folder: Path) -> None:
    (folder / "[2018]").mkdir()
    (folder / "[2018]" / "a.root").write_bytes(b"")
    assert names(folder, "[2018]/a.root") == ["[2018]/a.root"]


@pytest.mark.parametrize("second", ["a.root", "*.root", "deep/../a.root", "./a.root", "link.root", "list.txt"])
def test_a_file_is_not_counted_twice(folder: Path, second: str) -> None:
    if second.startswith("link"):
        (folder / second).symlink_to(folder / "a.root")
    if second.startswith("list"):
        (folder / second).write_text("b.root\na.root\n")
    message = refusal(folder / "a.root", f"{folder}/{second}")
    assert "is listed twice, its events would be counted twice" in message


def test_an_address_is_not_counted_twice() -> None:
    message = refusal("root://server//a.root", "root://server//b.root", "root://server//a.root")
    assert message == f"{KEY}: root://server//a.root is listed twice, its events would be counted twice"


def test_list_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "lists").mkdir()
    lines = [
        "# the signal",
        "",
        "../b.root  # a comment",
        f"{folder}/a.root",
        "root://server//c.root",
        "../deep/*.root",
    ]
    (folder / "lists" / "files.txt").write_text("\n".join(lines))
    monkeypatch.chdir("/")
    found = expand([str(folder / "lists" / "files.txt")], KEY)
    assert [f if is_remote(f) else os.path.relpath(f, folder) for f in found] == [
        "b.root", "a.root", "root://server//c.root", "deep/e.root",
    ]  # fmt: skip
    (folder / "all.list").write_text("lists/files.txt\nc.txtroot\n")
    assert len(expand([str(folder / "all.list")], KEY)) == 5


def test_list_files_as_editors_write_them(folder: Path) -> None:
    """A BOM, the line ends of Windows, tabs, quotes, and ``#`` inside of a name; Notepad's "Unicode" is UTF-16."""
    lines = ["x#1.root", '"my file.root"\t# copied', "  'a.root'   ", "\t# nothing", "b.root #2", "c d.root"]
    text = "\r\n".join(lines)
    for name, content in (("bom", text.encode("utf-8-sig")), ("wide", text.encode("utf-16")), ("old", text.encode())):
        (folder / f"{name}.txt").write_bytes(content)
        assert names(folder, f"{name}.txt") == ["x#1.root", "my file.root", "a.root", "b.root", "c d.root"]


def test_checksums_in_a_list_file(folder: Path) -> None:
    lines = ["a.root  ad:1A2b3c4d", "'b.root'\tad:1 # short", "root://server//c.root ad:00000002", "deep/e.root"]
    (folder / "files.txt").write_text("\n".join(lines))
    found = expand([str(folder / "files.txt")], KEY)
    assert found[:3] == [f"{folder}/a.root", f"{folder}/b.root", "root://server//c.root"]
    checksums = ["1a2b3c4d", "00000001", "00000002", None]
    assert [getattr(name, "adler32", None) for name in pickle.loads(pickle.dumps(found))] == checksums
    analysis = Analysis.model_validate({
        "name": "t", "inputs": {"e": {"features": ["x"]}}, "samples": {"tt": {"files": f"{folder}/files.txt"}},
    })  # fmt: skip
    again = sample_files(listed(analysis), "tt")
    assert again == found and [getattr(name, "adler32", None) for name in again] == checksums
    message = refusal(f"{folder}/[ab].root ad:12")
    assert message == f"{KEY}: {folder}/[ab].root ad:12: a checksum belongs to one file, not to 2"


def test_home_in_a_list_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (folder / "deep" / "files.txt").write_text("~/a.root\n~nobody-here/b.root\n")
    found = expand([str(folder / "deep" / "files.txt")], KEY)
    assert found == [str(folder / "a.root"), str(folder / "deep" / "~nobody-here" / "b.root")]


def test_broken_list_files(folder: Path) -> None:
    assert f"the file list {folder}/none.txt cannot be read" in refusal(folder / "none.txt")
    (folder / "empty.txt").write_text("\n# nothing\n   \n")
    assert refusal(folder / "empty.txt") == f"{KEY}: the file list {folder}/empty.txt is empty"
    (folder / "binary.list").write_bytes(b"\xff\xfe\x00")
    assert f"the file list {folder}/binary.list cannot be read" in refusal(folder / "binary.list")
    (folder / "bad.txt").write_text("*.parquet\n")
    assert refusal(folder / "bad.txt") == f"{KEY} ({folder}/bad.txt): no file matches {folder}/*.parquet"
    (folder / "self.txt").write_text("a.root\nother.txt\n")
    (folder / "other.txt").write_text("self.txt\n")
    assert refusal(folder / "self.txt").endswith(f"the file list {folder}/self.txt lists itself")


def test_require(folder: Path) -> None:
    require(str(folder / "a.root"), ROOT)
    require("root://server//not/asked", ROOT)
    for name, reason in (("none.root", "no such file"), ("deep", "is a directory, name the files in it")):
        with pytest.raises(FileError) as caught:
            require(str(folder / name), ROOT)
        assert str(caught.value) == f"{folder / name}: {reason}" and caught.value.exit_code == 2


def _client(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    client = folder / "dasgoclient"
    client.write_text(f"#!/bin/sh\n{script}\n")
    client.chmod(client.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_das(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DAS answers one record for each file and service; what DBS has not summed is called NOTSET."""
    files = [
        {"name": "/store/b.root", "adler32": "NOTSET"},
        {"name": "/store/a.root"},
        {"name": "/store/a.root", "adler32": "1ABC"},
    ]
    (folder / "answer").write_text(json.dumps([{"das": {}, "file": [file]} for file in files]))
    _client(folder, monkeypatch, f'[ "$1 $2 $3" = "-query file dataset=/A/B/C -json" ] && cat {folder}/answer')
    found = das_files("/A/B/C")
    assert found == ["/store/a.root", "/store/b.root"]
    assert [getattr(name, "adler32", None) for name in found] == ["00001abc", None]


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("echo '[]'", UserError, "/A/B/C: DAS knows no files of this dataset"),
        ("echo Sorry", DataError, "/A/B/C: dasgoclient answers in no known form: 'Sorry"),
        ("echo no proxy >&2; exit 3", DataError, "/A/B/C: dasgoclient failed: no proxy"),
    ],
)
def test_das_failures(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: Any, message: str) -> None:
    _client(folder, monkeypatch, script)
    with pytest.raises(error, match=message):
        das_files("/A/B/C")


def test_das_without_its_client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(UserError, match=r"/A/B/C: dasgoclient is not here: run on LXPLUS .* or list 'files'"):
        das_files("/A/B/C")
