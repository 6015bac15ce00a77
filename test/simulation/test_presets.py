from __future__ import annotations

import numpy as np
import pytest
from nanoforge.config.generator import Generator
from nanoforge.errors import UserError
from nanoforge.simulation.generator.pythia import Engine
from nanoforge.simulation.presets import PRESETS, TUNES, settings


@pytest.mark.parametrize("name", PRESETS)
def test_pythia_accepts_every_preset(name: str) -> None:
    block = Generator(process=name, pthat=(50, 80) if PRESETS[name].needs else None, mpi=False)
    engine = Engine(settings(block, "generator"), "generator")
    engine.seed(np.random.SeedSequence(1))
    assert len(engine.events(2)[0].weight) == 2


def test_an_unknown_preset_is_answered_by_the_list() -> None:
    with pytest.raises(UserError, match=r"samples.a.generator.process: 'ttbr' is unknown; did you mean 'ttbar'.*wjets"):
        settings(Generator(process="ttbr"), "samples.a.generator")


def test_qcd_needs_its_range() -> None:
    with pytest.raises(UserError, match=r"samples.a.generator.pthat: process 'qcd' needs it"):
        settings(Generator(process="qcd"), "samples.a.generator")


def test_pthat_bounds_the_hard_process() -> None:
    block = Generator(process="qcd", pthat=(100, 120), mpi=False)
    engine = Engine(settings(block, ""), "")
    engine.seed(np.random.SeedSequence(1))
    scale = engine.events(50)[0].info["ptHat"]
    assert scale.min() >= 100 and scale.max() <= 120


def test_own_settings_come_last_but_for_the_energy() -> None:
    lines = settings(Generator(process="ttbar", settings=["6:m0 = 170"], energy=8000.0), "")
    assert lines.index("6:m0 = 170") > lines.index("Top:gg2ttbar = on")
    assert lines[-1] == "Beams:eCM = 8000.0"


def test_tunes() -> None:
    assert "MultipartonInteractions:pT0Ref = 1.41" in TUNES["CP5"]
    assert "TimeShower:alphaSvalue = 0.118" in TUNES["CP5"]
    assert len(TUNES["CP5"]) == 18
    assert np.all([line in settings(Generator(process="ttbar", tune="Monash"), "") for line in TUNES["Monash"]])
