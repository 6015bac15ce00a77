from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import awkward as ak
import pytest
import uproot
import yaml
from nanoforge.config import load
from nanoforge.errors import DataError
from nanoforge.provenance import Manifest
from nanoforge.simulation import nanoaod
from nanoforge.simulation.blocks import generate_block
from nanoforge.stages.generate import generate

FAST = {"mpi": False, "settings": ["HadronLevel:Hadronize = off"]}
SAMPLES: dict[str, Any] = {
    "dy": {
        "generator": {"process": "dy_ll", "events": 510, "filters": {"muon": {"daughters": [13], "pt": 20}}, **FAST}
    },
    "gun": {"generator": {"gun": {"pdgId": 13, "pt": [5, 50], "antiparticle": True}, "events": 30}},
}


def analysis(folder: Path, samples: dict[str, Any] | None = None) -> Path:
    content = {"name": "a", "samples": samples or SAMPLES, "inputs": {"event": {"features": ["GenMET_pt"]}}}
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def content(path: Path) -> dict[str, ak.Array]:
    file = uproot.open(path)
    return {tree: file[tree].arrays() for tree in ("Events", "LuminosityBlocks", "Runs")}


def same(first: Path, second: Path) -> bool:
    a, b = content(first), content(second)
    return all(ak.array_equal(a[tree][name], b[tree][name], equal_nan=True) for tree in a for name in a[tree].fields)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    generate(load(analysis(folder)), folder / "out")
    return folder / "out"


def test_the_files_hold_the_events(result: Path) -> None:
    assert sorted(p.name for p in result.iterdir()) == ["dy.root", "gun.root", "manifest.json"]
    dy = content(result / "dy.root")
    assert len(dy["Events"]) == 510 and len(dy["LuminosityBlocks"]) == 3
    assert dy["Events"].event.tolist() == list(range(1, 511))
    assert dy["Runs"].genEventCount.tolist() == [510]
    parts = dy["Events"]
    muons = (abs(parts.GenPart_pdgId) == 13) & (parts.GenPart_status == 1) & (parts.GenPart_pt > 19.9)
    assert ak.all(ak.any(muons, axis=1))


def test_accounting_and_manifest(result: Path) -> None:
    manifest = Manifest.read(result, "generate")
    manifest.verify(result)
    books = manifest.accounting
    assert books is not None
    books.check()
    details = manifest.details["samples"]
    assert books.events.used == 540 and books.events.read == details["dy"]["tried"] + 30
    assert books.events.rejected == {"dy.muon": details["dy"]["tried"] - 510}
    dy = content(result / "dy.root")["LuminosityBlocks"]
    assert ak.sum(dy.GenFilter_numEventsTotal) == details["dy"]["tried"]
    assert details["dy"]["filter_efficiency"] == pytest.approx(510 / details["dy"]["tried"])
    assert details["dy"]["filter_efficiency_error"] > 0
    assert manifest.seed == 1 and "pythia8mc" in manifest.versions


def test_processes_do_not_change_the_events(result: Path, nanoforge: Callable, tmp_path: Path) -> None:
    answer = nanoforge("generate", analysis(tmp_path), "-o", "out", "-j", 3)
    assert answer.returncode == 0, answer.stderr
    assert "filter efficiency" in answer.stderr and "FastJet" not in answer.stdout
    for name in SAMPLES:
        assert same(result / f"{name}.root", tmp_path / "out" / f"{name}.root")


def test_the_same_again_is_up_to_date(result: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    generate(load(analysis(tmp_path)), result)
    assert "is up to date" in capsys.readouterr().err


def test_one_sample_with_a_number_of_events(nanoforge: Callable, tmp_path: Path) -> None:
    answer = nanoforge("generate", analysis(tmp_path), "--sample", "gun", "--events", 20, "-o", "out")
    assert answer.returncode == 0, answer.stderr
    assert [p.name for p in (tmp_path / "out").glob("*.root")] == ["gun.root"]
    assert len(content(tmp_path / "out" / "gun.root")["Events"]) == 20


@pytest.mark.parametrize(
    ("change", "message", "code"),
    [
        (
            ["samples.dy.generator.process=dy_l"],
            "samples.dy.generator.process: 'dy_l' is unknown; did you mean 'dy_ll'",
            2,
        ),
        (["samples.dy.generator.settings=[Nonsense:on = 1]"], "Pythia refuses 'Nonsense:on = 1'", 2),
        (["samples.dy.generator.gun=[{pdgId: 13, pt: [1, 2]}]"], "give 'process' or 'gun', not both", 2),
        (["samples.dy.generator.filters.muon.pT=3"], "samples.dy.generator.filters.muon.pT: unknown key", 2),
        (
            ["samples.gun.generator.gun.pdgId=5", "samples.gun.generator.gun.antiparticle=false"],
            "colour does not leave",
            2,
        ),
        (["samples.dy.generator.filters.muon.pt=9000", "samples.dy.generator.max_trials=600"], "none of ", 1),
        (["--sample", "gum"], "--sample gum: there is no such sample with a 'generator'; did you mean 'gun'?", 2),
    ],
)
def test_bad_input(nanoforge: Callable, tmp_path: Path, change: list[str], message: str, code: int) -> None:
    answer = nanoforge("generate", analysis(tmp_path), "-o", "out", "--events", "4", *change)
    assert answer.returncode == code and answer.stderr.startswith("error: "), answer.stderr
    assert message in answer.stderr
    assert not (tmp_path / "out").exists() and answer.stdout == ""


def test_an_interrupted_run_leaves_nothing_half_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Path
) -> None:
    made: list[tuple[str, int]] = []
    honest = nanoaod.make

    def make(generator: Any, sample: str, block: int, *rest: Any) -> nanoaod.Piece:
        made.append((sample, block))
        if len(made) == 4:
            raise KeyboardInterrupt
        return honest(generator, sample, block, *rest)

    monkeypatch.setattr(nanoaod, "make", make)
    config = load(analysis(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        generate(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    generate(config, tmp_path / "out")
    assert [sample for sample, _ in made].count("dy") == 3  # what was finished is kept
    assert all(same(result / f"{name}.root", tmp_path / "out" / f"{name}.root") for name in SAMPLES)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nanoaod.SampleFile, "append", full)
    with pytest.raises(DataError, match="no space left on the disk"):
        generate(load(analysis(tmp_path), ["samples.dy.generator.events=5"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_later_stages_want_files(nanoforge: Callable, tmp_path: Path, result: Path) -> None:
    samples = {name: {**block, "label": name} for name, block in SAMPLES.items()}
    answer = nanoforge("convert", analysis(tmp_path, samples), "-o", "data")
    assert answer.returncode == 2 and "run 'nanoforge generate' and add what it made" in answer.stderr
    samples = {name: {**block, "files": str(result / f"{name}.root")} for name, block in samples.items()}
    answer = nanoforge("convert", analysis(tmp_path, samples), "-o", "data")
    assert answer.returncode == 0, answer.stderr
    key = json.loads((tmp_path / "data" / "manifest.json").read_text())["details"]["key"]
    assert load(tmp_path / "analysis.yaml").dataset_part()["samples"]["dy"].get("generator") is None and key


def test_blocks_are_those_of_the_file(result: Path) -> None:
    block = load(analysis(result.parent)).samples["dy"].generator
    assert block is not None
    third = generate_block(block, "dy", 2, 10)[0]
    weights = content(result / "dy.root")["Events"]
    assert third.info["x1"].astype("f4").tolist() == weights.Generator_x1[500:].tolist()
