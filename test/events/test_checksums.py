"""Files are compared with the checksum that a list of files or the manifest beside them has of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import uproot
from nanoforge.errors import FileError
from nanoforge.events import checksums
from nanoforge.events.files import ListedFile
from nanoforge.events.open import open_events
from nanoforge.provenance.manifest import adler32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "skim" / "tt").mkdir(parents=True)
    with uproot.recreate(tmp_path / "skim" / "tt" / "a.root", compression=None) as file:
        file.mktree("Events", {"x": "f8"}).extend({"x": np.arange(9.0)})
    return tmp_path / "skim" / "tt" / "a.root"


def read(path: str) -> list[float]:
    with open_events(path, "Events") as file:
        return [value for chunk in file.chunks(["x"]) for value in chunk.columns["x"].content.tolist()]


def flip(path: Path) -> None:
    """Change a value, which nothing inside of the file notices."""
    content = path.read_bytes()
    place = content.index(np.arange(9.0).astype(">f8").tobytes())
    path.write_bytes(content[: place + 1] + bytes([content[place + 1] ^ 16]) + content[place + 2 :])


def test_the_checksum_of_a_list(path: Path) -> None:
    listed = ListedFile(str(path), adler32(path))
    assert read(listed) == list(range(9))
    flip(path)
    assert read(str(path))[0] != 0, "the change is one that ROOT's own format does not see"
    with pytest.raises(FileError) as caught:
        read(listed)
    assert f"its checksum (adler32) is {adler32(path)}, but the list of files says {listed.adler32}" in str(
        caught.value
    )
    assert caught.value.exit_code == 1 and caught.value.path == str(path)


@pytest.mark.parametrize("folder", ["skim", "skim/tt"])
def test_the_manifest_beside_an_output_of_ours(path: Path, tmp_path: Path, folder: str) -> None:
    manifest = tmp_path / folder / "manifest.json"
    name = path.relative_to(manifest.parent).as_posix()
    manifest.write_text(json.dumps({"stage": "skim", "outputs": [{"path": name, "adler32": adler32(path)}]}))
    assert read(str(path)) == list(range(9))
    flip(path)
    with pytest.raises(FileError, match=rf"but 'nanoforge skim' wrote, by {manifest}, [0-9a-f]{{8}}: remove {path}, "):
        read(str(path))
    with open_events(str(path), "Events", checksum=False) as file:
        assert file.entries == 9 and len(list(file.chunks(["x"]))) == 1
    for other in ("{}", "[]", "not JSON", '{"outputs": [{"path": 1}]}'):
        manifest.write_text(other)
        assert len(read(str(path))) == 9, "a manifest of somebody else does not matter"


def test_a_file_is_summed_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = ListedFile(str(path), adler32(path))
    sums: list[Path] = []
    monkeypatch.setattr(checksums, "adler32", lambda name: sums.append(name) or adler32(name))
    for _ in range(3):
        read(listed)
    assert sums == [path]
    path.touch()
    read(listed)
    assert sums == [path, path]


def test_servers_are_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    answers = {"root://a//store/x.root": "00000001", "root://b//store/x.root": None}
    monkeypatch.setattr("nanoforge.events.addresses.xrootd.checksum", answers.__getitem__)
    checksums.verify(ListedFile("/store/x.root", "1"), ["root://a/"])
    with pytest.raises(
        FileError, match=r"/store/x.root: its checksum .* is 00000001, but the list of files says 0000000f"
    ):
        checksums.verify(ListedFile("/store/x.root", "f"), ["root://a/"])
    for _ in range(2):
        checksums.verify(ListedFile("/store/x.root", "f"), ["root://b/"])
    assert capsys.readouterr().err.count("root://b tells no adler32 checksums") == 1
