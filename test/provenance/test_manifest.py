"""The manifest says what was made from what, and finds what changed since."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from pathlib import Path
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nanoforge import __version__
from nanoforge.errors import DataError, UserError
from nanoforge.provenance import Accounting, FileRecord, Ledger, Lost, Manifest, fingerprint
from nanoforge.provenance.manifest import adler32, changed_keys, input_record, write_atomically


def books() -> Accounting:
    ledger = Ledger("events", read=12, used=5, rejected={"cut": 3})
    return Accounting(
        ledger, Ledger("Jet rows", 9, 7, {"pt": 2}), [Lost("bad.root", "truncated", 4), Lost("no.root", "?")]
    )


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.h5").write_bytes(b"abc" * 1000)
    (tmp_path / "b.txt").write_bytes(b"")
    sources = [FileRecord("in.root", 100, 10, "0" * 32, 5, sample="tt"), FileRecord("root://s//x.root", entries=2)]
    manifest = Manifest(
        "convert", {"name": "x", "list": [1, 2]}, sources, books(), seed=7, details={"rows": {"train": 3}}
    )
    manifest.write(tmp_path, {"sub/a.h5": 10, "b.txt": None})
    return tmp_path


def test_round_trip(output: Path) -> None:
    found = Manifest.read(output, "convert")
    assert (found.stage, found.seed, found.config) == ("convert", 7, {"name": "x", "list": [1, 2]})
    assert found.inputs[0] == FileRecord("in.root", 100, 10, "0" * 32, 5, None, "tt")
    assert [(r.path, r.size, r.entries) for r in found.outputs] == [("b.txt", 0, None), ("sub/a.h5", 3000, 10)]
    assert found.accounting == books() and found.lost_files
    assert found.details == {"rows": {"train": 3}}
    assert found.versions["nanoforge"] == __version__ and {"python", "numpy", "uproot"} <= set(found.versions)
    assert found.created.endswith("Z") and len(found.created) == 20
    found.verify(output)
    assert not list(output.glob(".*")), "no temporary file is left"


def test_the_file_itself_is_plain_json_with_the_hash_of_the_configuration(output: Path) -> None:
    content = json.loads((output / "manifest.json").read_text())
    canonical = json.dumps({"list": [1, 2], "name": "x"}, sort_keys=True)
    assert content["config_sha256"] == hashlib.sha256(canonical.encode()).hexdigest()
    assert content["outputs"][1]["adler32"] == f"{zlib.adler32(b'abc' * 1000):08x}"
    assert content["accounting"]["lost"][0] == {"file": "bad.root", "reason": "truncated", "entries": 4}


def _overwrite(path: Path) -> None:
    path.write_bytes(b"abd" + path.read_bytes()[3:])


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (_overwrite, r"a.h5: changed since it was written: remove \S+a.h5, then run 'nanoforge convert' again"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), r"a.h5: changed since it was written"),
        (Path.unlink, r"a.h5: missing, though manifest.json lists it: run 'nanoforge convert' again"),
    ],
)
def test_a_tampered_output_is_found(output: Path, tamper: Callable[[Path], None], message: str) -> None:
    tamper(output / "sub" / "a.h5")
    with pytest.raises(DataError, match=message):
        Manifest.read(output, "convert").verify(output)


def test_the_output_of_another_stage_is_refused(output: Path) -> None:
    with pytest.raises(UserError, match="made by 'nanoforge convert', but the output of 'train' is needed here"):
        Manifest.read(output, "train")


@pytest.mark.parametrize("place", ["none", "b.txt", "sub"])
def test_an_unfinished_output_is_refused(output: Path, place: str) -> None:
    with pytest.raises(UserError, match=r"no manifest.json, so this is no finished output: .*run 'nanoforge convert'"):
        Manifest.read(output / place, "convert")


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", '"text"', "{}", "\x00", '{"config_sha256": 1}'])
def test_a_broken_manifest_is_named(output: Path, text: str) -> None:
    (output / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest.json: not a manifest of this version of NanoForge"):
        Manifest.read(output, "convert")


@pytest.mark.parametrize("change", [{"accounting": [1]}, {"inputs": [1]}, {"outputs": None}, {"unknown": 1}])
def test_a_manifest_of_another_form_is_named(output: Path, change: dict[str, Any]) -> None:
    content = json.loads((output / "manifest.json").read_text())
    (output / "manifest.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(DataError, match=r"manifest.json: not a manifest of this version of NanoForge"):
        Manifest.read(output, "convert")


def test_a_cut_manifest_is_never_taken_for_a_whole_one(output: Path) -> None:
    whole = (output / "manifest.json").read_text()
    for length in range(0, len(whole) - 2, 97):
        (output / "manifest.json").write_text(whole[:length])
        with pytest.raises(DataError, match=r"manifest.json"):
            Manifest.read(output, "convert")


def test_a_manifest_that_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(DataError, match=r"manifest.json: not a manifest"):
        Manifest.read(tmp_path, "convert")


def test_writing_enforces_the_accounting(tmp_path: Path) -> None:
    wrong = Accounting(Ledger("events", read=10, used=5, rejected={"cut": 4}))
    with pytest.raises(DataError, match="does not balance"):
        Manifest("convert", {}, [], wrong).write(tmp_path, {})
    assert not (tmp_path / "manifest.json").exists()


def test_identity_depends_on_stage_configuration_and_outputs_alone(output: Path) -> None:
    found = Manifest.read(output, "convert")
    same = Manifest.read(output, "convert")
    same.created, same.versions, same.inputs = "later", {}, []
    same.outputs = same.outputs[::-1]
    assert same.identity() == found.identity()
    for change in ({"stage": "train"}, {"config": {}}, {"outputs": found.outputs[:1]}):
        other = Manifest.read(output, "convert")
        for name, value in change.items():
            setattr(other, name, value)
        assert other.identity() != found.identity()


def test_inputs_remember_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "in.root"
    path.write_bytes(b"abc")
    record = input_record(str(path), 5, "u" * 32, "tt")
    assert (record.size, record.entries, record.sample) == (3, 5, "tt") and record.unchanged()
    path.write_bytes(b"abcd")
    assert not record.unchanged()
    path.write_bytes(b"abc")
    os.utime(path, ns=(1, 1))
    assert not record.unchanged(), "rewritten with the same size"
    path.unlink()
    assert not record.unchanged()
    remote = input_record("root://server//x.root", 5)
    assert remote.size is None and remote.unchanged()


def test_write_atomically_replaces_and_never_leaves_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    write_atomically(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]

    def fails(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "newer")
    assert path.read_text() == "new"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(content=st.dictionaries(st.text(max_size=5), JSON, max_size=5))
def test_a_fingerprint_survives_json_and_reordering(content: dict[str, Any]) -> None:
    turned = dict(reversed(content.items()))
    assert fingerprint(content) == fingerprint(turned) == fingerprint(json.loads(json.dumps(turned)))
    assert fingerprint({**content, "another": 1}) != fingerprint(content) or content.get("another") == 1


def test_changed_keys_name_every_difference() -> None:
    old = {"a": 1, "b": {"c": [1, 2], "d": "x"}, "gone": 1}
    new = {"a": 1, "b": {"c": [1, 3], "d": "x"}, "new": {"e": 2}}
    assert list(changed_keys(old, new)) == ["b.c: [1, 2] -> [1, 3]", "gone: 1 -> None", "new: None -> {'e': 2}"]
    assert list(changed_keys(old, old)) == []


@pytest.mark.parametrize("content", [b"", b"a", b"Wikipedia", bytes(range(256)) * 40_000])
def test_adler32_is_that_of_zlib(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert adler32(tmp_path / "file") == f"{zlib.adler32(content):08x}"
