from __future__ import annotations

from pathlib import Path

import pytest
from nanoforge.config import load
from nanoforge.config.generator import Generator
from nanoforge.config.pythia_settings import split
from nanoforge.errors import UserError

CARD = """! top pairs
Top:gg2ttbar = on   ! by gluons

  # and by quarks
Top:qqbar2ttbar=on # too
6:m0 172.5
// masses
"""


def test_one_text_is_its_lines_without_comments() -> None:
    lines = ["Top:gg2ttbar = on", "Top:qqbar2ttbar=on", "6:m0 172.5"]
    assert split([CARD]) == split(CARD.splitlines()) == split(lines) == lines
    assert Generator(settings=[CARD]).settings == Generator.model_validate({"settings": CARD}).settings == lines


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("beams:ECM 8000", "'beams:ECM 8000' would have no effect: give 'energy' beside 'settings'"),
        ("Random:seed = 3", "give 'seed'"),
        ("Random:setSeed=on", "give 'seed'"),
        ("Main:numberOfEvents = 5", "give 'events'"),
        ("Next:numberShowEvent = 3", "what Pythia prints"),
        ("Init:showProcesses = on", "what Pythia prints"),
        ("Beams:frameType = 2", "'energy', or come by an LHE file"),
        ("Beams:nSkipLHEFatInit = 7", "its own place in the file"),
        ("ProcessLevel:all = off", "give a 'gun'"),
        ("include = card.cmnd", "write the lines of that file here"),
        ("- Top:gg2ttbar = on", "Pythia would skip it"),
        ("/* Top:gg2ttbar = on", "Pythia would skip it"),
    ],
)
def test_settings_that_have_no_effect_are_refused(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", "\\(")):
        Generator(settings=["Top:gg2ttbar = on", f"Top:qqbar2ttbar = on\n{line}"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"settings": "Beams:frameType = 4"}, "add 'Beams:LHEF = FILE'"),
        ({"settings": "Beams:LHEF = a.lhe"}, "add 'Beams:frameType = 4'"),
        ({"settings": "Beams:frameType = 4\nBeams:LHEF = a.lhe", "process": "ttbar"}, "'process' would have no effect"),
        ({"settings": "Beams:frameType = 4\nBeams:LHEF = a.lhe", "pthat": [1, 2]}, "'pthat' would have no effect"),
        ({"gun": {"pdgId": 0, "pt": [1, 2]}}, "pdgId 0 is no particle"),
    ],
)
def test_contradictions(content: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Generator.model_validate(content)


def test_files_lie_beside_the_analysis_file(tmp_path: Path) -> None:
    text = "name: a\nsamples: {a: {generator: {settings: %s}}}\ninputs: {event: {features: [x]}}\n"
    path = tmp_path / "a.yaml"
    path.write_text(text % "[BEAMS:frametype = 4, beams:lhef in/a.lhe, SLHA:file = /b.slha]")
    generator = load(path).samples["a"].generator
    assert generator is not None
    assert generator.files == {"beams:lhef": str(tmp_path / "in" / "a.lhe"), "slha:file": "/b.slha"}
    assert load(path).generator_files() == list(generator.files.values())
    path.write_text(text % '["Beams:eCM = 8"]')
    with pytest.raises(UserError, match=r"samples.a.generator.settings: 'Beams:eCM = 8' would have no effect"):
        load(path)
