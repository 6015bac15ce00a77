"""A piece of an unfinished result is taken again only while it is just what was recorded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest
from nanoforge.errors import FileError
from nanoforge.provenance import Piece, make_room, staged_output
from nanoforge.provenance.manifest import input_record

PAYLOAD = {"events": 3, "sums": [0.1, float("inf")], "none": None}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Where a finished piece is recorded: its file is ../out/a.root, and its input ../in.root."""
    (tmp_path / "in.root").write_bytes(b"input" * 100)
    path, output = tmp_path / ".records" / "a.json", tmp_path / "out" / "a.root"
    make_room(path, output)
    output.write_bytes(b"events" * 1000)
    Piece.write(path, "key", [output], PAYLOAD, [input_record(str(tmp_path / "in.root"), 3, sample="tt")])
    return path


def test_a_whole_piece_is_found_again(record: Path) -> None:
    piece = Piece.read(record, "key")
    assert piece is not None and piece.payload == PAYLOAD
    assert [(r.path, r.size) for r in piece.outputs] == [("../out/a.root", 6000)]
    assert piece.inputs == [input_record(str(record.parents[1] / "in.root"), 3, sample="tt")]
    assert Piece.read(record, "another key") is None
    assert Piece.read(record.with_name("b.json"), "key") is None


def _flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def _directory(path: Path) -> None:
    path.unlink()
    (path / "deep").mkdir(parents=True)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "altered": lambda path: _flip(path, 100),
    "halved": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: path.write_bytes(b""),
    "removed": Path.unlink,
    "a directory": _directory,
    "binary": lambda path: path.write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("what", [".records/a.json", "out/a.root", "in.root"])
def test_a_damaged_piece_is_made_again(record: Path, what: str, damage: str) -> None:
    folder = record.parents[1]
    DAMAGE[damage](folder / what)
    assert Piece.read(record, "key") is None
    make_room(record, folder / "out" / "a.root")
    (folder / "out" / "a.root").write_bytes(b"again")
    Piece.write(record, "key", [folder / "out" / "a.root"], None)
    assert Piece.read(record, "key") is not None


def test_no_flipped_bit_of_a_record_goes_unnoticed(record: Path) -> None:
    whole = record.read_bytes()
    for position in range(0, len(whole) - 1, 7):
        _flip(record, position)
        assert Piece.read(record, "key") is None, whole[position : position + 20]
        record.write_bytes(whole)
    assert Piece.read(record, "key") is not None


@pytest.mark.parametrize("text", ["[]", "1", "null", "{}", '{"key": "key"}', "[" * 100_000])
def test_other_json_is_no_record(record: Path, text: str) -> None:
    record.write_text(text)
    assert Piece.read(record, "key") is None


def test_files_in_the_place_of_folders_give_way(tmp_path: Path) -> None:
    (tmp_path / "tt").write_text("a file")
    make_room(tmp_path / "tt" / "a.root")
    assert (tmp_path / "tt").is_dir()


@pytest.mark.parametrize("item", [".inputs", ".lock", "."])
@pytest.mark.parametrize("damage", ["a directory", "binary", "removed"])
def test_unfinished_work_with_damaged_marks_is_begun_again(tmp_path: Path, item: str, damage: str) -> None:
    directory, work = tmp_path / "out", tmp_path / ".out.unfinished"
    with pytest.raises(FileError), staged_output(directory, "key"):
        raise FileError("in.root", "broken")
    if item == ".":
        for path in work.iterdir():
            path.unlink()
        work.rmdir()
        work.write_bytes(b"")
    DAMAGE[damage](work / item)
    for _ in range(2):
        with pytest.raises(FileError), staged_output(directory, "key") as folder:
            assert folder == work
            (work / "piece").write_text("kept")
            raise FileError("in.root", "broken")
    assert (work / "piece").exists()
