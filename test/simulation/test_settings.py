from __future__ import annotations

import pytest
from nanoforge.simulation.generator.pythia import load
from nanoforge.simulation.generator.settings import misread


def test_values_that_pythia_would_misread_in_silence() -> None:
    pythia = load().Pythia("", False)
    right = [
        "Top:gg2ttbar = on", "top:GG2TTBAR = Yes", "Top:gg2ttbar on", "Tune:pp = 14", "PhaseSpace:pTHatMin = 2.e1",
        "25:m0 = 125", "25:onMode = off", "25:onMode = 3", "25:onIfMatch = 5 -5", "25:0:bRatio = .5", "PDF:pSet = 20",
        "36:oneChannel = 1 1. 103 11 -11", "25:name = h", "UncertaintyBands:List = {a b=1, c d=2}",
    ]  # fmt: skip
    assert [misread(pythia.settings, line) for line in right] == [None] * len(right)
    wrong = {
        "Top:gg2ttbar = onn": "on or off", "Top:gg2ttbar = on; Top:qqbar2ttbar = on": "on or off",
        "Top:gg2ttbar = on, Top:qqbar2ttbar = on": "on or off", "Tune:pp = 1.5": "a whole number",
        "PhaseSpace:pTHatMin = 20 GeV": "a number", "25:m0 = abc": "a number", "25:onMode = maybe": "on or off",
        "25:onIfMatch = b bbar": "PDG ids", "25:onIfAny = 5, 15": "PDG ids", "25:mayDecay = never": "on or off",
    }  # fmt: skip
    for line, expected in wrong.items():
        assert pythia.readString(line) and misread(pythia.settings, line) == expected


@pytest.mark.parametrize("line", ["Top:gg2tbar = on", "25:onMod = off", "Tune:pp = 999"])
def test_what_pythia_refuses_itself(line: str, capfd: pytest.CaptureFixture) -> None:
    assert not load().Pythia("", False).readString(line)
