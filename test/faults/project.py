"""A small project that uses all formats and stages, and how each of its results should be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import content
import pyarrow as pa
import pyarrow.parquet as pq
import toys
import uproot
import yaml
from nanoforge.provenance.manifest import adler32
from process import Command, Outcome, learn, run

EVENTS = 120
SAMPLES: dict[str, Any] = {
    "sig": {"files": "data/sig.txt", "label": "signal"},
    "bkg": {"files": "data/bkg.txt", "label": "background"},
}
ANALYSIS: dict[str, Any] = {
    "name": "faults",
    "samples": SAMPLES,
    "select": {"jets": "nJet >= 1"},
    "inputs": {
        "event": {"features": ["MET_pt", "nJet"]},
        "jets": {"collection": "Jet", "where": "pt > 20", "sort": "-pt", "length": 3, "features": ["pt", "eta"]},
    },
    "weight": "genWeight",
    "keep": ["run", "luminosityBlock", "event"],
    "split": {"train": 0.5, "val": 0.2, "test": 0.3},
    "model": {"type": "mlp", "hidden": [8]},
    "training": {"epochs": 2, "batch_size": 64, "accelerator": "cpu", "balance": {"negative": "absolute"}},
    "search": {
        "trials": 2,
        "pruner": "none",
        "parameters": {"training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
    },
    "batch": {"site": "generic", "retries": 0},
}
SKIM = {
    "samples": {**SAMPLES, "bkg": {"files": "data/bkg_2.root", "label": "background"}},
    "skim": {"keep": ["drop *", "keep run", "keep luminosityBlock", "keep event", "keep genWeight", "keep Jet_*",
                      "keep MET_*"], "target_size": "30 kB"},
}  # fmt: skip
FAST = {"mpi": False, "settings": ["HadronLevel:Hadronize = off"]}
GENERATED = {
    "samples": {
        "dy": {"label": "signal", "generator": {"process": "dy_ll", "events": 260, **FAST}},
        "gun": {
            "label": "background",
            "generator": {
                "gun": {"pdgId": 36, "pt": [20, 100], "mass": [0.1, 6]},
                "settings": ["36:m0 = 3", "36:mMin = 0", "36:oneChannel = 1 1. 103 11 -11"],
                "flatten": {"mass": 3, "pt": 2, "pilot": 500},
                "events": 260,
            },
        },
    },
    "select": {},
}
ANALYSES: dict[str, dict[str, Any]] = {
    "analysis.yaml": {},
    "salt.yaml": {"dataset": {"format": "hdf5", "layout": "salt", "compression": "lz4"}},
    "parquet.yaml": {"dataset": {"format": "parquet"}},
    "folds.yaml": {"split": {"train": 0.8, "val": 0.2, "test": 0, "folds": 2}},
    "trees.yaml": {"model": {"type": "lightgbm", "num_iterations": 5, "min_data_in_leaf": 2}},
    "skim.yaml": SKIM,
    "generated.yaml": GENERATED,
}
INPUTS = "data"


@dataclass(frozen=True)
class Stage:
    """A command of the project.

    Parameters
    ----------
    name
        What it is called here.
    words
        The command; without ``-o``.
    output
        What it makes; empty where it only prints.
    needs
        The stages whose results it reads, directly or not.
    files
        Patterns of the input files that it reads.
    parallel
        Whether it takes ``-j``.
    resumes
        Commands after which an interrupted one is done, beside itself.
    """

    name: str
    words: tuple[str, ...]
    output: str = ""
    needs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    parallel: bool = False
    resumes: tuple[tuple[str, ...], ...] = ()

    @property
    def weight(self) -> float:
        """How often it is drawn: the dear ones less often."""
        return 1.0 if self.words[0] in ("generate", "train", "evaluate", "submit", "resubmit", "run") else 3.0

    def command(self, jobs: int = 1, *more: str) -> tuple[str, ...]:
        """Return the words of the command."""
        output = ("-o", self.output) if self.output and self.name != "evaluate" else ()
        return (*self.words, *output, *(("-j", str(jobs)) if self.parallel else ()), *more)


def _train(
    name: str, analysis: str, data: str, output: str, needs: tuple[str, ...], files: tuple[str, ...] = ()
) -> Stage:
    return Stage(name, ("train", analysis, "--data", data), output, needs, files)


_RUN = ("convert", "train")
_ALL, _SKIMMED, _SCORED = ("*",), ("sig*", "bkg_2.root"), ("sig*", "bkg_0.root", "bkg_2.root")
_FILES = "data/sig.txt", "data/bkg_0.root", "data/bkg_2.root"


def _predict(kind: str) -> Stage:
    words = ("predict", "run", *_FILES, "--format", kind)
    return Stage(f"predict-{kind}", words, f"friends-{kind}", _RUN, files=_SCORED, parallel=True)


STAGES = {
    stage.name: stage
    for stage in (
        Stage("generate", ("generate", "generated.yaml"), "generated", parallel=True),
        Stage("inspect", ("inspect", *_FILES, "--ranges"), files=_SCORED),
        Stage("init", ("init", "data/sig_0.root", "data/bkg_0.root"), "new.yaml", files=("sig_0.root", "bkg_0.root")),
        Stage("skim", ("skim", "skim.yaml"), "skimmed", files=_SKIMMED, parallel=True),
        Stage("convert", ("convert", "analysis.yaml"), "dataset", files=_ALL, parallel=True),
        Stage("convert-salt", ("convert", "salt.yaml"), "salt", files=_ALL, parallel=True),
        Stage("convert-parquet", ("convert", "parquet.yaml"), "parquet", files=_ALL, parallel=True),
        _train("train", "analysis.yaml", "dataset", "run", ("convert",)),
        _train("train-parquet", "parquet.yaml", "parquet", "run-parquet", ("convert-parquet",)),
        _train("train-root", "folds.yaml", "folds.yaml", "run-root", (), files=_ALL),
        _train("train-trees", "trees.yaml", "dataset", "run-trees", ("convert",)),
        Stage("tune", ("tune", "analysis.yaml", "--data", "dataset"), "search", ("convert",)),
        Stage("evaluate", ("evaluate", "run"), "run/evaluation", _RUN),
        Stage("evaluate-trees", ("evaluate", "run-trees"), "evaluated-trees", ("convert", "train-trees")),
        Stage("evaluate-root", ("evaluate", "run-root"), "evaluated-root", ("train-root",), files=_ALL),
        *map(_predict, ("root", "parquet", "hdf5", "csv")),
        Stage("export", ("export", "run"), "export", _RUN, files=_ALL),
        Stage("compare", ("compare", "run", "run-trees"), "comparison",
              ("convert", "train", "evaluate", "train-trees", "evaluate-default-trees")),
        Stage("evaluate-default-trees", ("evaluate", "run-trees"), "run-trees/evaluation", ("convert", "train-trees")),
        Stage("submit", ("submit", "local", "analysis.yaml", "--stage", "convert", "--split", "2"), "jobs", (),
              files=_ALL, resumes=(("resubmit", "jobs"),)),
        Stage("status", ("status", "jobs"), "", ("submit",)),
        Stage("resubmit", ("resubmit", "jobs"), "", ("submit",)),
        Stage("collect", ("collect", "jobs"), "collected", ("submit",), files=_ALL, parallel=True),
        Stage("run", ("run", "skim.yaml"), "results", files=_SKIMMED, parallel=True),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """What a stage does when nothing goes wrong."""

    content: dict[str, str]
    seconds: float
    accesses: int
    written: int


class Project:
    """The project of one worker, in ``root/work``; whatever happens there, :meth:`restore` brings back what was."""

    def __init__(self, root: Path, watch: Callable[[str], None]) -> None:
        self.folder, self._kept = root / "work", root / "reference"
        self._watch = watch
        self._references: dict[str, Reference] = {}
        self.folder.mkdir(exist_ok=True)
        self._kept.mkdir()
        write(self._kept / "project")

    def reference(self, stage: Stage) -> Reference:
        """Return how a stage ends without faults; found once."""
        if stage.name not in self._references:
            self.restore(stage)
            self._watch(f"reference of {stage.name}")
            before = _size(self.folder)
            study = self._kept / "study"
            outcome = run(Command(stage.command(), self.folder, study=study))
            if outcome.code != 0:
                raise RuntimeError(f"nanoforge {' '.join(outcome.words)}: {outcome.code}: {outcome.stderr}")
            accesses = int(json.loads(study.read_text())["accesses"])
            written = max(0, _size(self.folder) - before)
            learn(study)
            found = self.result(stage, outcome)
            if stage.output:
                _copy(self.folder / stage.output, self._kept / stage.name / stage.output)
            self._references[stage.name] = Reference(found, outcome.seconds, accesses, written)
        return self._references[stage.name]

    def restore(self, stage: Stage) -> None:
        """Bring the project into the state in which a stage begins."""
        for needed in stage.needs:
            self.reference(STAGES[needed])
        clear(self.folder)
        _copy(self._kept / "project", self.folder)
        for needed in stage.needs:
            if STAGES[needed].output:
                _copy(self._kept / needed, self.folder)
        (self.folder / "tmp").mkdir()

    def restore_file(self, path: Path) -> None:
        """Bring back one file, from the inputs or from what stages made."""
        name = path.relative_to(self.folder)
        for place in (self._kept / "project", *(self._kept / stage for stage in self._references)):
            if (place / name).exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                shutil.copy2(place / name, path)

    def finish(self, stage: Stage) -> None:
        """Put the stage's own result into its place."""
        if stage.output:
            _copy(self._kept / stage.name / stage.output, self.folder / stage.output)

    def result(self, stage: Stage, outcome: Outcome) -> dict[str, str]:
        """Return what a stage has made, and printed where it makes nothing."""
        if stage.name == "submit":
            return content.digest(self.folder / stage.output / "parts")
        if stage.output:
            return content.digest(self.folder / stage.output)
        lines = [line for line in outcome.stdout.splitlines() if "submitted" not in line]
        return {"printed": "\n".join(lines)} if stage.name == "inspect" else {}

    def inputs(self, stage: Stage) -> list[Path]:
        """Return the input files that a stage reads, and the lists in which they stand."""
        return sorted({path for pattern in stage.files for path in (self.folder / INPUTS).glob(pattern)})

    def files(self, stage: Stage) -> dict[str, list[Path]]:
        """Return what a stage reads, by kind: inputs, and what earlier stages made."""
        groups = {f"input {kind}": files for kind, files in content.kinds(self.inputs(stage)).items()}
        for needed in stage.needs:
            output = STAGES[needed].output
            if output:
                made = files_below(self.folder / output)
                groups |= {f"{needed} {k}": v for k, v in content.kinds(made).items()}
        return groups


def write(folder: Path) -> None:
    """Write inputs and analysis files."""
    data = folder / INPUTS
    data.mkdir(parents=True)
    codecs = {"sig_0": uproot.ZLIB(1), "sig_1": uproot.ZSTD(3), "sig_2": uproot.LZ4(1), "bkg_2": None}
    for i, (name, codec) in enumerate(codecs.items()):
        _tree(data / f"{name}.root", _events(name, i), codec)
    plain = toys.plain(_events("bkg_0", 4))
    with uproot.recreate(data / "bkg_0.root") as file:
        file.mkrntuple("Events", plain)
    table = pa.table(
        {k: ak.to_arrow(ak.Array(v), extensionarray=False) for k, v in toys.plain(_events("bkg_1", 5)).items()}
    )
    pq.write_table(table, data / "bkg_1.parquet", row_group_size=50)
    for sample, suffixes in (("sig", ("_0.root", "_1.root", "_2.root")), ("bkg", ("_0.root", "_1.parquet", "_2.root"))):
        names = [f"{sample}{suffix}" for suffix in suffixes]
        (data / f"{sample}.txt").write_text("".join(f"{name} ad:{adler32(data / name)}\n" for name in names))
    for name, changes in ANALYSES.items():
        (folder / name).write_text(yaml.safe_dump({**ANALYSIS, **changes}, sort_keys=False))


def _events(name: str, number: int) -> toys.Columns:
    events = toys.nano_events(EVENTS, name.startswith("sig"), first=1000 * number)
    return {k: v for k, v in events.items() if k not in ("SV", "Muon")}


def _tree(path: Path, events: toys.Columns, codec: Any) -> None:
    types = {k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in events.items()}
    with uproot.recreate(path, compression=codec) as file:
        tree = file.mktree(
            "Events",
            types,
            counter_name=lambda name: f"n{name}",
            field_name=lambda outer, inner: f"{outer}_{inner}" if outer else inner,
        )
        for start in range(0, EVENTS, 50):
            tree.extend({k: v[start : start + 50] for k, v in events.items()})


def files_below(place: Path) -> list[Path]:
    """List the files in a folder, or the file itself."""
    return [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file() and not p.is_symlink())


def clear(folder: Path) -> None:
    """Remove what is in a folder, but not the folder, on which a disk may be mounted."""
    for item in folder.iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink()


def _copy(source: Path, target: Path) -> None:
    """Copy with times, which are part of what is recorded of a file."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    else:
        shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in files_below(folder))
