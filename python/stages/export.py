"""``nanoforge export``: the trained models as one ONNX file for CMSSW and Triton, checked on real events."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import yaml

from ..config.schema import Analysis
from ..console import out
from ..distributions.reference import FILE as REFERENCE
from ..distributions.reference import Reference
from ..errors import DataError, UserError, nearest
from ..events.files import expand, from_root, sample_files
from ..events.open import open_for, reading
from ..events.view import view
from ..export.assembly import AVERAGE, BY_EVENT, Exported, export_columns, export_features
from ..export.parity import Parity, ParityCheck
from ..models.base import ModelSpec
from ..models.load import own_code
from ..pipeline.outcome import Outcome, Request
from ..provenance import FileRecord, Manifest
from ..provenance.manifest import write_atomically
from ..provenance.trust import require
from ..serving.event_scorer import ANALYSIS_KEYS
from ..serving.repository import ANALYSIS, CONFIG, DESCRIPTION, FEATURES_SUFFIX, GRAPH, Repository
from ..serving.triton import check_config, config
from ..training.runs import load_models, settings_of

STAGE = "export"


def export(
    run: str | Path,
    output: str | Path,
    *,
    features: bool = False,
    fold: str | None = None,
    check: Sequence[str] = (),
    force: bool = False,
    trust: bool = False,
) -> Manifest:
    """Write ``model.onnx``, ``model.json`` (see ``export.assembly.describe``), ``reference.json`` and ``triton/``.

    ``reference.json`` has the distributions of the training, of all folds that are in the graph; ``triton`` is a model
    repository.

    Parameters
    ----------
    run
        What ``nanoforge train`` made.
    output
        Where to write.
    features
        Leave the expressions outside: the inputs are the features of rows.
    fold
        With folds: "average" (the default), "by-event" (a further input chooses), or the number of one.
    check
        Files to compare graph and ``predict`` on, as a user writes them; by default one of each sample. The first
        tells the types of the columns.
    force
        Replace a finished export of something else.

    Returns
    -------
    Manifest
        Its details hold ``parity``: what was compared, and the largest difference.

    Raises
    ------
    UserError
        For what cannot be compiled, with the expression named.
    DataError
        When the graph does not give the scores of ``predict`` to 1e-5; nothing is written then.
    """
    run = Path(run)
    output = Path(output)
    trained = Manifest.read(run, "train")
    trained.verify(run)
    require(run, trained, own_code(trained, run), trust=trust)
    analysis = settings_of(trained, run)
    rule = _rule(analysis.split.folds, fold)
    paths = _files(analysis, check)
    key = {"run": trained.identity(), "features": features, "fold": rule}
    request = Request(STAGE, output, key, trained.config, paths, force=force)
    finished = request.finished()
    if finished is not None:
        return finished

    def work(folder: Path) -> Outcome:
        exported, parity, sources = _exported(run, trained, analysis, rule, features, paths)
        files = _write(folder, analysis.name, exported, parity)
        files += _write_reference(run, folder, _folds(analysis, rule))
        details = {"run": str(run.resolve()), "run_identity": trained.identity(), "parity": parity.as_dict()}
        return Outcome(trained.config, sources, dict.fromkeys(files), details=details)

    manifest = request.make(work)
    parity = Parity(**manifest.details["parity"])
    inputs = json.loads((output / DESCRIPTION).read_text())["inputs"]
    out.print(
        f"{output / GRAPH}: {len(inputs)} inputs; {parity.events} events ({parity.rows} rows) "
        f"differ from predict by {parity.worst:.1e} at most"
    )
    return manifest


def publish(
    run: str | Path,
    exported: str | Path,
    repository: str | Path,
    *,
    fold: str | None = None,
    check: Sequence[str] = (),
    trust: bool = False,
) -> int:
    """Add an export to a repository of models, for ``nanoforge serve`` and Triton, and the model of rows beside it.

    Parameters
    ----------
    run, fold, check, trust
        As :func:`export` had them.
    exported
        What it made.
    repository
        The folder of models; made where there is none.

    Returns
    -------
    int
        The number of the version.
    """
    exported, repository = Path(exported), Path(repository)
    description = json.loads((exported / DESCRIPTION).read_text())
    if description["level"] != "columns":
        raise UserError("--repository: adds the model of columns and that of features: leave --features out")
    repository.mkdir(parents=True, exist_ok=True)
    models, name = Repository(repository), description["name"]
    number = 1 + max((v.number for v in models.versions() if v.name in (name, name + FEATURES_SUFFIX)), default=0)
    run = Path(run)
    analysis = settings_of(Manifest.read(run, "train"), run)
    text = yaml.safe_dump(analysis.model_dump(mode="json", include=ANALYSIS_KEYS), sort_keys=False).encode()
    with tempfile.TemporaryDirectory() as scratch:
        rows = Path(scratch) / "features"
        export(run, rows, features=True, fold=fold, check=check, trust=trust)
        for served, folder, many_rows in ((name + FEATURES_SUFFIX, rows, True), (name, exported, False)):
            names = [n for n in (GRAPH, DESCRIPTION, REFERENCE) if (folder / n).exists()]
            files: dict[str, bytes | Path] = {n: folder / n for n in names}
            files[ANALYSIS] = text
            models.add(served, files, config(served, onnx.load(folder / GRAPH), many_rows=many_rows), number=number)
    out.print(f"{repository}: {name} and {name}{FEATURES_SUFFIX}, version {number}", markup=False)
    return number


def check_configurations(exported: str | Path, repository: str | Path | None = None) -> None:
    """Compare what Triton reads of an export with Triton's own schema, and what a repository has of it.

    Raises
    ------
    UserError
        When tritonclient, which brings the schema, is not installed.
    DataError
        When Triton would not take a configuration.
    """
    exported = Path(exported)
    name = json.loads((exported / DESCRIPTION).read_text())["name"]
    folders = [exported / "triton" / name]
    folders += [] if repository is None else [Path(repository) / name, Path(repository) / f"{name}{FEATURES_SUFFIX}"]
    for folder in folders:
        check_config(folder / CONFIG)
        out.print(f"{folder / CONFIG}: as Triton's schema has it", markup=False)


def _rule(folds: int, fold: str | None) -> str:
    """Say how the models of the folds become one."""
    if folds == 1 and fold is not None and fold != "0":
        raise UserError(f"--fold {fold}: the run has one model only: leave it out")
    if folds == 1:
        return "0"
    if fold is None or fold in (AVERAGE, BY_EVENT):
        return fold or AVERAGE
    if not fold.isdecimal() or int(fold) >= folds:
        rules = (AVERAGE, BY_EVENT)
        raise UserError(
            f"--fold {fold}: give '{AVERAGE}', '{BY_EVENT}', or a number from 0 to {folds - 1}{nearest(fold, rules)}"
        )
    return str(int(fold))


def _folds(analysis: Analysis, rule: str) -> Sequence[int]:
    return range(analysis.split.folds) if rule in (AVERAGE, BY_EVENT) else [int(rule)]


def _files(analysis: Analysis, check: Sequence[str]) -> list[str]:
    if check:
        paths = expand(check, "--check", analysis.redirectors)
    else:
        try:
            paths = list(dict.fromkeys(sample_files(analysis, name)[0] for name in analysis.samples))
        except UserError as error:
            raise UserError(f"{error}; say with --check which files to compare graph and model on") from None
    return list(map(from_root, paths))


def _exported(
    run: Path, trained: Manifest, analysis: Analysis, rule: str, features: bool, paths: Sequence[str]
) -> tuple[Exported, Parity, list[FileRecord]]:
    """Make the graph and compare it with the models."""
    spec = ModelSpec.from_dict(trained.details["spec"])
    folds = _folds(analysis, rule)
    graphs = [onnx.load(run / f"fold{fold}" / GRAPH) for fold in folds]
    with open_for(analysis, paths[0]) as file:
        if features:
            exported = export_features(analysis, spec, graphs, rule)
        else:
            exported = export_columns(analysis, spec, graphs, rule, view(file, analysis))
    comparison = ParityCheck(exported, analysis, load_models(run, analysis, folds), rule)
    sources = []
    for path in paths:
        with reading(analysis, path) as (file, source):
            comparison.file(view(file, analysis))
            sources.append(source)
    if not comparison.parity.rows:
        raise DataError(
            f"none of the events that were looked at passes the cuts ({', '.join(paths)}): give files by --check"
        )
    return exported, comparison.parity, sources


def _write(work: Path, name: str, exported: Exported, parity: Parity) -> list[str]:
    """Write all files, and return their names."""
    onnx.save(exported.model, work / GRAPH)
    content: dict[str, Any] = {**exported.description, "parity": parity.as_dict()}
    write_atomically(work / DESCRIPTION, json.dumps(content, indent=1) + "\n")
    repository = Path("triton") / name
    copy = repository / "1" / GRAPH
    (work / copy).parent.mkdir(parents=True, exist_ok=True)
    (work / copy).unlink(missing_ok=True)
    try:
        os.link(work / GRAPH, work / copy)
    except OSError:  # AFS and EOS know no hard links between folders
        shutil.copyfile(work / GRAPH, work / copy)
    write_atomically(work / repository / CONFIG, config(name, exported.model))
    return [GRAPH, DESCRIPTION, str(copy), str(repository / CONFIG)]


def _write_reference(run: Path, work: Path, folds: Sequence[int]) -> list[str]:
    """Write the distributions of the training; runs of earlier versions have none."""
    paths = [run / f"fold{fold}" / REFERENCE for fold in folds]
    if not all(path.exists() for path in paths):
        return []
    Reference.of_folds(list(map(Reference.read, paths))).write(work / REFERENCE)
    return [REFERENCE]
