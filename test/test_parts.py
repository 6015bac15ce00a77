"""Stages in parts, as batch jobs do them: together they are what one run makes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import pytest
import toys
import uproot
import yaml
from nanoforge.config import load
from nanoforge.config.schema import Analysis
from nanoforge.errors import DataError, UserError
from nanoforge.pipeline.parts import Part
from nanoforge.provenance import Manifest
from nanoforge.stages.convert import convert
from nanoforge.stages.generate import generate
from nanoforge.stages.predict import predict
from nanoforge.stages.skim import skim
from nanoforge.stages.train import train

SIZES = {"tt0": 300, "tt1": 500, "tt2": 200, "dy0": 400}
CONVERSION = ("tt:0-1", "tt:2", "dy:0")


def analysis(folder: Path, **changes: Any) -> Analysis:
    content = {
        "name": "tt",
        "samples": {n: {"files": str(folder / f"{n}*.root"), "label": n, "xsec": 10} for n in ("tt", "dy")},
        "select": {"two_jets": "nJet >= 2"},
        "inputs": {
            "event": {"features": ["MET_pt"]},
            "jets": {"collection": "Jet", "length": 4, "features": ["pt", "btagDeepFlavB"]},
        },
        "weight": "genWeight",
        "model": {"type": "deepsets", "constituent": [8], "hidden": [8]},
        "training": {"epochs": 1},
        **changes,
    }
    (folder / "analysis.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return load(folder / "analysis.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, size in SIZES.items():
        toys.write(tmp_path / f"{name}.root", toys.nano_events(size, name[:2] == "tt", first=10_000), sumw=1.6 * size)
    return tmp_path


def make_parts(stage: Any, content: Analysis, folder: Path, texts: tuple[str, ...]) -> Path:
    for number, text in enumerate(texts):
        stage(content, folder / f"part-{number:05d}", part=text)
    return folder


def same_files(one: Path, other: Path) -> None:
    """Compare two results byte by byte, by their manifests and on the disk."""
    stage = yaml.safe_load((one / "manifest.json").read_text())["stage"]
    first, second = (Manifest.read(place, stage) for place in (one, other))
    assert first.outputs == second.outputs
    assert (first.inputs, first.accounting, first.details) == (second.inputs, second.accounting, second.details)
    for record in first.outputs:
        assert (one / record.path).read_bytes() == (other / record.path).read_bytes(), record.path


@pytest.mark.parametrize("dataset", [{"format": "hdf5"}, {"layout": "salt"}, {"format": "parquet"}])
def test_parts_of_a_conversion_are_the_dataset(folder: Path, dataset: dict[str, str]) -> None:
    content = analysis(folder, dataset=dataset)
    convert(content, folder / "whole")
    make_parts(convert, content, folder / "parts", CONVERSION)
    convert(content, folder / "merged", parts=folder / "parts")
    same_files(folder / "whole", folder / "merged")


def test_a_part_holds_nothing_of_an_earlier_division(folder: Path) -> None:
    """Files that were damaged have other sizes when they are mended, by which they are dealt to shards."""
    content, file = analysis(folder), folder / "tt1.root"
    whole = file.read_bytes()
    file.write_bytes(whole[:5000])
    with pytest.raises(DataError, match="tt1"):
        convert(content, folder / "part", part="tt:0-1")
    for name in ("07.h5", "07.events", ".07.events.99"):
        (folder / ".part.unfinished" / "shards" / name).touch()
    file.write_bytes(whole)
    made = convert(content, folder / "part", part="tt:0-1")
    assert {p.relative_to(folder / "part").as_posix() for p in (folder / "part").rglob("*") if p.is_file()} == {
        "manifest.json",
        *(output.path for output in made.outputs),
    }


def test_the_parts_of_a_skim_are_the_skim(folder: Path) -> None:
    content = analysis(folder, skim={"keep": ["drop *", "keep Jet_*", "keep nothing_*"]})
    skim(content, folder / "whole")
    make_parts(skim, content, folder / "parts", ("dy:0", "tt:1-2", "tt:0"))
    skim(content, folder / "merged", parts=folder / "parts")
    whole, merged = (Manifest.read(folder / name, "skim") for name in ("whole", "merged"))
    assert merged.accounting == whole.accounting
    assert merged.details == whole.details and whole.details["idle"] == ["keep nothing_*"]
    assert [(o.path, o.entries) for o in merged.outputs] == [(o.path, o.entries) for o in whole.outputs]
    for output in whole.outputs:
        one, other = (uproot.open(folder / name / output.path)["Events"].arrays() for name in ("whole", "merged"))
        assert ak.array_equal(one, other)


def test_the_parts_of_a_generation_hold_the_same_events(tmp_path: Path) -> None:
    gun = {"pdgId": 13, "pt": [20, 60]}
    filters = {"central": {"daughters": [13], "eta": 1.5}}
    samples = {"gun": {"generator": {"gun": gun, "events": 600, "filters": filters}}}
    content = analysis(tmp_path, samples=samples)
    generate(content, tmp_path / "whole")
    make_parts(generate, content, tmp_path / "parts", ("gun:2", "gun:0-1"))
    generate(content, tmp_path / "merged", parts=tmp_path / "parts")
    whole, merged = (Manifest.read(tmp_path / name, "generate") for name in ("whole", "merged"))
    assert merged.accounting == whole.accounting
    assert merged.details["samples"] == whole.details["samples"]
    names = ["gun-00000.root", "gun-00002.root"]
    assert [o.path for o in merged.outputs if o.entries is not None] == names
    parts = [uproot.open(tmp_path / "merged" / name)["Events"].arrays() for name in names]
    assert ak.array_equal(ak.concatenate(parts), uproot.open(tmp_path / "whole" / "gun.root")["Events"].arrays())


def test_the_parts_of_a_prediction_are_all_friends(folder: Path) -> None:
    content = analysis(folder)
    convert(content, folder / "dataset")
    train(content, folder / "dataset", folder / "run")
    files = [str(folder / f"{name}.root") for name in SIZES]
    predict(folder / "run", files, folder / "whole")
    for number, text in enumerate(("0-2", "3")):
        predict(folder / "run", files, folder / "parts" / f"part-{number}", part=text)
    predict(folder / "run", files, folder / "merged", parts=folder / "parts")
    whole, merged = (Manifest.read(folder / name, "predict") for name in ("whole", "merged"))
    assert (merged.accounting, merged.inputs) == (whole.accounting, whole.inputs)
    for name in SIZES:
        one, other = (uproot.open(folder / place / f"{name}.root")["Events"].arrays() for place in ("whole", "merged"))
        assert ak.array_equal(one, other)


def test_a_gap_is_named_or_counted_as_lost(folder: Path) -> None:
    content = analysis(folder)
    make_parts(convert, content, folder / "parts", ("tt:0", "dy:0"))
    with pytest.raises(DataError, match="2 of 4 units are in no finished part: tt:1-2: resubmit"):
        convert(content, folder / "merged", parts=folder / "parts")
    manifest = convert(content, folder / "merged", parts=folder / "parts", skip_bad_files=True)
    assert manifest.accounting is not None
    assert [Path(loss.file).name for loss in manifest.accounting.lost] == ["tt1.root", "tt2.root"]
    assert manifest.accounting.events.read == SIZES["tt0"] + SIZES["dy0"]


def test_units_that_come_twice_are_refused(folder: Path) -> None:
    content = analysis(folder)
    make_parts(convert, content, folder / "parts", (*CONVERSION, "tt:1-2"))
    with pytest.raises(DataError, match="unit 1 of tt is in two parts"):
        convert(content, folder / "merged", parts=folder / "parts")


def test_parts_of_another_analysis_are_refused(folder: Path) -> None:
    make_parts(convert, analysis(folder), folder / "parts", CONVERSION)
    with pytest.raises(UserError, match="part-00000: made with another analysis"):
        convert(analysis(folder, select={}), folder / "merged", parts=folder / "parts")


def test_an_input_that_was_replaced_since_is_named(folder: Path) -> None:
    content, source = analysis(folder), folder / "tt1.root"
    make_parts(convert, content, folder / "parts", CONVERSION)
    changed = source.stat().st_mtime
    os.utime(source, (changed, changed + 2))
    with pytest.raises(
        DataError, match=r"tt1.root: was replaced after the job of part-00000 had read it: remove .*/part-"
    ):
        convert(content, folder / "merged", parts=folder / "parts")
    os.utime(source, (changed, int(changed)))  # a mount that tells no fractions of a second
    convert(content, folder / "merged", parts=folder / "parts")


def test_a_damaged_part_is_refused(folder: Path) -> None:
    content = analysis(folder)
    make_parts(convert, content, folder / "parts", CONVERSION)
    shard = folder / "parts" / "part-00001" / "shards" / "00.h5"
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    with pytest.raises(DataError, match=r"part-00001/shards/00.h5: changed since it was written"):
        convert(content, folder / "merged", parts=folder / "parts")
    assert not (folder / "merged").exists()


def test_an_unfinished_part_does_not_count(folder: Path) -> None:
    content = analysis(folder)
    make_parts(convert, content, folder / "parts", CONVERSION)
    (folder / "parts" / "part-00002" / "manifest.json").unlink()
    with pytest.raises(DataError, match="1 of 4 units are in no finished part: dy:0"):
        convert(content, folder / "merged", parts=folder / "parts")
    shutil.rmtree(folder / "parts")
    with pytest.raises(UserError, match="no finished parts of 'convert'"):
        convert(content, folder / "merged", parts=folder / "parts")


def test_a_part_is_no_dataset(folder: Path) -> None:
    content = analysis(folder)
    convert(content, folder / "part", part="tt:0")
    with pytest.raises(UserError, match="made by 'nanoforge convert part'"):
        train(content, folder / "part", folder / "run")


def test_a_bad_file_is_lost_in_its_part_and_in_the_whole(folder: Path) -> None:
    content = analysis(folder)
    (folder / "tt1.root").write_bytes((folder / "tt1.root").read_bytes()[:5000])
    with pytest.raises(DataError, match=r"tt1.root"):
        convert(content, folder / "parts" / "part-00000", part="tt:0-2")
    convert(content, folder / "parts" / "part-00000", part="tt:0-2", skip_bad_files=True)
    convert(content, folder / "parts" / "part-00001", part="dy:0")
    manifest = convert(content, folder / "merged", parts=folder / "parts", skip_bad_files=True)
    assert manifest.accounting is not None
    assert [Path(loss.file).name for loss in manifest.accounting.lost] == ["tt1.root"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tt:0-9", "the units go from 0 to 2"),
        ("tt:2-1", "write the first unit first: 1-2"),
        ("ttt:0", "there is no such sample; did you mean 'tt'"),
        ("0-1", "write one of tt, dy before it"),
        ("tt:", "write SAMPLE:FIRST-LAST"),
        ("tt:-1", "write SAMPLE:FIRST-LAST"),
    ],
)
def test_a_part_that_is_none(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Part.parse(text, {"tt": 3, "dy": 1})


def test_a_part_reads_and_writes_alike() -> None:
    for text in ("tt:0-2", "tt:1"):
        assert str(Part.parse(text, {"tt": 3})) == text
    assert str(Part.parse("4-7", {None: 8})) == "4-7"
