from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nanoforge.config import load
from nanoforge.config.generator import Generator
from nanoforge.errors import UserError
from nanoforge.simulation import presets
from nanoforge.simulation.generator.pythia import Engine
from nanoforge.simulation.presets import TUNES, find_preset, preset_names, settings


@pytest.mark.parametrize("name", preset_names())
def test_pythia_accepts_every_preset(name: str) -> None:
    block = Generator(process=name, pthat=(50, 80) if find_preset(name, "").needs else None, mpi=False)
    engine = Engine(settings(block, "generator"), "generator")
    engine.seed(np.random.SeedSequence(1))
    assert len(engine.events(2)[0].weight) == 2


def test_an_unknown_preset_is_answered_by_the_list() -> None:
    with pytest.raises(UserError, match=r"samples.a.generator.process: 'ttbr' is unknown; did you mean 'ttbar'.*wjets"):
        settings(Generator(process="ttbr"), "samples.a.generator")


MINE = """
description: a pair of W bosons
settings:
  - WeakDoubleBoson:ffbar2WW = on
"""
ANALYSIS = """
name: a
samples: {a: {label: a, generator: {process: %s, events: 2, mpi: false}}}
inputs: {e: {features: [MET_pt]}}
"""


def test_a_file_beside_the_analysis_file_is_a_preset(tmp_path: Path, nanoforge: Any) -> None:
    (tmp_path / "ww.yaml").write_text(MINE)
    (tmp_path / "analysis.yaml").write_text(ANALYSIS % "ww.yaml")
    generator = load(tmp_path / "analysis.yaml").samples["a"].generator
    assert generator is not None and generator.process == str(tmp_path / "ww.yaml")
    assert "WeakDoubleBoson:ffbar2WW = on" in settings(generator, "")
    assert nanoforge("generate", "analysis.yaml", "-o", "out").returncode == 0
    assert "up to date" in nanoforge("generate", "analysis.yaml", "-o", "out").stderr
    (tmp_path / "ww.yaml").write_text(MINE.replace("WW", "ZW"))
    answer = nanoforge("generate", "analysis.yaml", "-o", "out")
    assert answer.returncode == 2 and answer.stderr.count("error:") == 1, "another process is another result"


def test_a_file_in_the_folder_is_a_preset(tmp_path: Path, nanoforge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "FOLDER", tmp_path)
    (tmp_path / "ww.yaml").write_text(MINE)
    assert nanoforge("generate", "--list").stdout.split(maxsplit=1) == ["ww", "a pair of W bosons\n"]
    assert find_preset("ww", "").settings == ["WeakDoubleBoson:ffbar2WW = on"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "mine.yaml: No such file or directory"),
        ("a: [", "mine.yaml: not valid YAML"),
        ("settings: [A:b = on]", "mine.yaml: description: this key is required"),
        ("description: a\nsettings: [A:b = on]\nneed: [pthat]", "need: unknown key; did you mean 'needs'"),
        ("description: a\nsettings: [A:b = on]\nneeds: [pt]", "needs.0: should be 'pthat'"),
        ("description: a\nsettings: [WeakDoubleBoson]", "Pythia refuses 'WeakDoubleBoson'"),
    ],
)
def test_what_is_wrong_with_one_is_named(tmp_path: Path, nanoforge: Any, text: str | None, message: str) -> None:
    (tmp_path / "analysis.yaml").write_text(ANALYSIS % "mine.yaml")
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    answer = nanoforge("generate", "analysis.yaml", "-o", "out")
    assert answer.returncode == 2 and answer.stderr.count("error:") == 1
    assert "samples.a.generator" in answer.stderr and message in answer.stderr, answer.stderr


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
