from __future__ import annotations

import re
from pathlib import Path

import pytest
from lhe import scale, write
from nanoforge.config.generator import Generator
from nanoforge.errors import UserError
from nanoforge.simulation.generator.event_blocks import check
from nanoforge.simulation.generator.lhe import open_lhe


def scales(path: str) -> list[float]:
    return [float(line.split()[3]) for line in re.findall(r"<event>\n(.*)", Path(path).read_text())]


@pytest.mark.parametrize("name", ["a.lhe", "a b.lhe.gz"])
def test_blocks_hold_their_events(tmp_path: Path, name: str) -> None:
    file = open_lhe(str(write(tmp_path / name, 23)), 10, "")
    assert (file.events, file.energy) == (23, 13600.0)
    for number, size in ((2, 3), (0, 10), (1, 10), (1, 4)):
        with file.block(number, size) as path:
            assert scales(path) == [scale(10 * number + i) for i in range(size)]
            assert "</init>" in Path(path).read_text()
        assert not Path(path).exists()
    assert open_lhe(file.path, 10, "") is file


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.lhe", 3)
    assert open_lhe(str(path), 10, "").events == 3
    assert open_lhe(str(write(path, 4)), 10, "").events == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Beams:LHEF = .* cannot be read .No such file or directory"),
        (b"", "has no <init> block"),
        (b"<init>\n</init>\n<eventgroup>\n<event>\n", "groups of events"),
        (b"\x1f\x8b\x08\x00", "cannot be read"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.lhe").write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_lhe(str(tmp_path / "a.lhe"), 10, "samples.a.generator")


def test_the_events_must_be_there_and_of_the_energy(tmp_path: Path) -> None:
    lines = ["Beams:frameType = 4", f"Beams:LHEF = {write(tmp_path / 'a.lhe', 5)}"]
    with pytest.raises(UserError, match=r"samples.a.generator.events: 6, but .*a.lhe has 5 events"):
        check(Generator(settings=lines, events=6), "a")
    with pytest.raises(UserError, match=r"samples.a.generator.energy: 13000 GeV, but .* was made for 13600 GeV"):
        check(Generator(settings=lines, events=5, energy=13000), "a")
