"""Many small files beside one of the same rows: conversion, first epoch of a training, and prediction.

Every stage runs with at most 256 open files. The files are copies of a few, each with a UUID of its own.
"""

from __future__ import annotations

import resource
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import converters
import data
import uproot
import yaml
from measure import OURS, Comparison, Method, Settings, at_most, compare

EVENTS = 2_000
"""In a file; there are a hundredth as many files as a benchmark has events, 2,000 by default."""
HANDLES = 256
ONE, MANY, TWO = "one file", "many files", "many files, 2 processes"
MANY_FILES, MERGED = "many-*.root", "merged.root"


def run(settings: Settings) -> Iterator[Comparison]:
    files = settings.events // 100
    folder = settings.folder / f"many-{files}"
    if not (folder / MERGED).exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _write(settings, folder, files)
    for stage in ("convert", "first_epoch", "predict"):
        yield _stage(settings, folder, files, stage)


def _write(settings: Settings, folder: Path, files: int) -> None:
    sources = [data.make(settings.folder, "nano", EVENTS, number=n) for n in range(data.different(EVENTS))]
    content, identity = [source.read_bytes() for source in sources], []
    for source in sources:
        with uproot.open(source) as file:
            identity.append(file.file.uuid.bytes)
    for number in range(files):
        kind = number % len(sources)
        copy = content[kind].replace(identity[kind], uuid.UUID(int=number + 1).bytes)
        (folder / f"many-{number:05d}.root").write_bytes(copy)
    data.merged(folder / "merged.part", "nano", EVENTS, files)
    (folder / "merged.part").rename(folder / MERGED)


def _stage(settings: Settings, folder: Path, files: int, stage: str) -> Comparison:
    cases = [(ONE, MERGED, 1), (MANY, MANY_FILES, 1), *([(TWO, MANY_FILES, 2)] if stage != "first_epoch" else [])]
    methods = [
        Method(
            name,
            f"scale.{stage}",
            {"folder": str(folder), "files": pattern, "jobs": jobs},
            {"files": "many-00000.root"},
            files * EVENTS,
            OURS,
        )
        for name, pattern, jobs in cases
    ]
    result = compare(f"{stage} of {files:,} files x {EVENTS:,} events", methods, settings)
    result.targets = [at_most(f"{stage}: CPU, {files:,} files / one", result.times(MANY, ONE), 1.3)]
    if stage != "first_epoch":
        result.conclusions = [f"wall, 1 process / 2 processes: {result[MANY].wall / result[TWO].wall:.2f}"]
    return result


def _analysis(scratch: Path, folder: str, files: str):
    """Load the analysis of these files, and limit the open ones."""
    from nanoforge.config import load

    resource.setrlimit(resource.RLIMIT_NOFILE, (HANDLES, HANDLES))
    content = converters.analysis(converters.CASES["plain"], [f"{folder}/{files}"])
    content |= {"model": {"type": "mlp", "hidden": [8]}, "training": {"epochs": 1, "seed": 1}}
    path = scratch / f"{files.partition('-')[0].removesuffix('.root')}.yaml"
    path.write_text(yaml.safe_dump(content))
    return load(path)


def convert(scratch: Path, folder: str, files: str, jobs: int):
    from nanoforge.stages.convert import convert as stage

    analysis = _analysis(scratch, folder, files)

    def work() -> dict:
        manifest = stage(analysis, scratch / "dataset", jobs=jobs)
        return {"remark": f"{sum(manifest.details['rows'].values()):,} rows"}

    return work


def first_epoch(scratch: Path, folder: str, files: str, jobs: int):
    """Survey the files, and pass over them once in batches of 1,024."""
    from nanoforge.dataset.open import open_dataset

    analysis = _analysis(scratch, folder, files)

    def work() -> dict:
        data = open_dataset(analysis, in_memory="never", workers=jobs)
        data.prepare(scratch)
        rows = sum(len(batch) for batch in data.batches("train", 0, 1024, shuffle=True))
        return {"remark": f"{rows:,} rows"}

    return work


def predict(scratch: Path, folder: str, files: str, jobs: int):
    from nanoforge.stages.convert import convert as make
    from nanoforge.stages.predict import predict as stage
    from nanoforge.stages.train import train

    analysis = _analysis(scratch, folder, "many-0000[0-3].root")
    make(analysis, scratch / "dataset")
    train(analysis, scratch / "dataset", scratch / "run")

    def work() -> dict:
        manifest = stage(scratch / "run", [f"{folder}/{files}"], scratch / "friends", jobs=jobs)
        return {"remark": f"{sum(output.entries or 0 for output in manifest.outputs):,} entries"}

    return work
