"""Score files with a trained run: one friend per input file, with the same entries in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config.schema import Analysis
from ..console import say
from ..dataset.friends import FORMATS, FriendWriter
from ..dataset.table import TableBuilder
from ..errors import FileError, UserError, nearest
from ..events.files import expand, from_root, output_names
from ..events.open import reading
from ..events.reader import EventFile
from ..events.view import view
from ..parallel import Report, run_jobs
from ..pipeline.outcome import Outcome, Request
from ..pipeline.parts import Part, gather
from ..provenance import Accounting, FileRecord, Manifest, Piece, fingerprint, make_room
from ..provenance.manifest import input_record, remove
from ..serving.client import RemoteModel
from ..serving.scorer import Scorer
from ..serving.security import read_tokens
from ..training.trained import TrainedModel, open_run

STAGE = "predict"
_RECORDS = ".records"


@dataclass(frozen=True)
class Origin:
    """Where scores come from.

    Attributes
    ----------
    model
        Scores.
    analysis, config
        It was made with, and the same as plain JSON types.
    identity
        Of the training or the graph.
    scorer
        Changes with whatever else changes the scores.
    details
        For the manifest.
    """

    model: TrainedModel | RemoteModel
    analysis: Analysis
    config: dict[str, Any]
    identity: str
    scorer: Any
    details: dict[str, Any]


@dataclass(frozen=True)
class PredictJob:
    """One file to score."""

    origin: TrainedModel | RemoteModel
    analysis: Analysis
    path: str
    output: Path
    record: Path
    key: str
    scorer: str
    format: str
    skip_bad_files: bool


@dataclass(frozen=True)
class ScoredFile:
    """What became of a file.

    Attributes
    ----------
    source, accounting
        The file, and its events.
    checksum
        Of its friend; None where the file is lost.
    lacks
        Columns of the identity that it does not have, where it was scored now and folds are chosen by them.
    """

    source: FileRecord
    accounting: Accounting
    checksum: str | None = None
    lacks: Sequence[str] = ()


def predict(
    run: str | Path,
    files: Sequence[str],
    output: str | Path,
    *,
    format: str = "root",
    jobs: int = 1,
    skip_bad_files: bool = False,
    force: bool = False,
    part: str | None = None,
    parts: Path | None = None,
    trust: bool = False,
    server: str | None = None,
    token_file: Path | None = None,
) -> Manifest:
    """Score files.

    Parameters
    ----------
    run
        What ``nanoforge train`` made. With folds, an event is scored by the model that did not train on it. With a
        server, the name of a model there.
    files
        The files to score, as a user writes them.
    output
        Directory of the friends, one per file.
    format
        "root" (friend trees), "parquet" (one row per event), "csv" or "hdf5" (one row per table row).
    jobs, skip_bad_files, force, parts
        As for the conversion.
    part
        Only these of the files, as ``first-last``.
    server
        The address of a server that scores the rows, which are made here.
    token_file
        Its first token opens the server.

    Returns
    -------
    Manifest
        Of the finished predictions.
    """
    output = Path(output)
    if format not in FORMATS:
        raise UserError(f"--format {format}: not one of {', '.join(FORMATS)}{nearest(format, FORMATS)}")
    if server is None:
        origin = _trained_here(Path(run), 0 if jobs == 1 else 1, trust=trust)
    else:
        origin = _on_server(server, str(run), token_file)
    analysis = origin.analysis
    paths = list(map(from_root, expand(files, "FILES", analysis.redirectors)))
    names = output_names(paths, FORMATS[format].suffix)
    whole = {"run": origin.identity, "format": format, "files": paths}
    share = None if part is None else Part.parse(part, {None: len(paths)})
    if share is not None:
        paths, names = paths[share.first : share.last + 1], names[share.first : share.last + 1]
    request = Request(STAGE, output, whole, origin.config, paths, share, force, accept_lost=skip_bad_files)
    finished = request.finished()
    if finished is not None:
        return finished

    def work(folder: Path) -> Outcome:
        if parts is not None:
            gathered = gather(parts, folder, STAGE, whole, {None: len(paths)}, skip_bad_files, jobs)
            accounting = gathered.accounting({None: paths})
            return Outcome(
                origin.config, gathered.inputs, gathered.entries, accounting, origin.details, gathered.checksums
            )
        scorer = fingerprint([request.key, str(share), origin.scorer])
        key = fingerprint(request.key)
        one = PredictJob(origin.model, analysis, "", folder, folder, key, scorer, format, skip_bad_files)
        return _outcome(origin, _score_all(one, dict(zip(names, paths)), jobs))

    return request.make(work)


def _outcome(origin: Origin, scored: Mapping[str, ScoredFile]) -> Outcome:
    """Return what the manifest says of scored files; of those that were lost there is no friend."""
    accounting = Accounting.total(file.accounting for file in scored.values())
    whole = {name: file for name, file in scored.items() if file.checksum is not None}
    entries = {name: file.source.entries for name, file in whole.items()}
    checksums = {name: str(file.checksum) for name, file in whole.items()}
    sources = [file.source for file in scored.values()]
    return Outcome(origin.config, sources, entries, accounting, origin.details, checksums)


def _trained_here(run: Path, threads: int, *, trust: bool) -> Origin:
    """Return the models of a run, after a look whether they are whole and may be used."""
    model, trained = open_run(run, threads, trust=trust)
    details = {"run": str(run.resolve()), "run_identity": trained.identity()}
    return Origin(model, model.analysis, trained.config, trained.identity(), trained.details["sha256"], details)


def _on_server(url: str, name: str, token_file: Path | None) -> Origin:
    """Return the newest version of a model on a server."""
    token = None if token_file is None else next(iter(read_tokens(token_file)))
    model = RemoteModel.find(url, name, token)
    if model.rule == "average" and model.analysis.split.folds > 1:
        say(f"note: {name} on {url} gives the mean of all folds; predict from the run gives an event that of its own")
    config = model.analysis.model_dump(mode="json")
    details = {"server": url, "model": model.name, "version": model.version, "run_identity": model.sha256}
    return Origin(model, model.analysis, config, model.sha256, details, details)


def _score_all(one: PredictJob, files: Mapping[str, str], jobs: int) -> dict[str, ScoredFile]:
    """Score all files as ``one``, into its folder and under these names."""
    work, records = one.output, one.output / _RECORDS
    plan = [
        replace(
            one, path=path, output=work / name, record=records / f"{i}.json", key=fingerprint([one.key, path, name])
        )
        for i, (name, path) in enumerate(files.items())
    ]
    results = run_jobs(predict_file, plan, jobs, "scoring files")
    remove(records)
    anonymous = [scored for scored in results if scored.lacks]
    if anonymous:
        first, more = anonymous[0], len(anonymous) - 1
        files_too = f" (nor have {more} more files)" if more else ""
        say(
            f"note: {first.source.path}: has no {', '.join(first.lacks)}{files_too}: the model (fold) of an event is "
            "chosen by file and entry, so that copies of events of the training may be scored by a model that saw them"
        )
    return dict(zip(files, results))


def predict_file(job: PredictJob, report: Report) -> ScoredFile:
    """Score one file into its friend, unless that is there already."""
    entries = None
    try:
        with reading(job.analysis, job.path) as (file, source):
            entries = file.entries
            piece = Piece.read(job.record, job.key)
            if piece is not None and piece.inputs[0].uuid == source.uuid:
                report(1)
                return ScoredFile(piece.inputs[0], Accounting.from_dict(piece.payload), piece.outputs[0].adler32)
            make_room(job.record, job.output)
            accounting, lacks = _score_file(job, file, report)
    except FileError as error:
        job.output.unlink(missing_ok=True)
        if not job.skip_bad_files:
            raise
        lost = Accounting.of_lost(job.path, error.reason, entries)
        report(1)
        return ScoredFile(input_record(job.path, entries), lost)
    source = replace(source, entries=accounting.events.read)
    piece = Piece.write(job.record, job.key, [job.output], accounting.as_dict(), [source])
    return ScoredFile(source, accounting, piece.outputs[0].adler32, lacks)


_scorers: dict[str, Scorer] = {}
"""Of the stage that this process works for: one file after the other uses the same models."""


def _scorer(job: PredictJob) -> Scorer:
    """Return what scores, made once per stage and process."""
    if job.scorer not in _scorers:
        _scorers.clear()
        _scorers[job.scorer] = job.origin.scorer()
    return _scorers[job.scorer]


def _score_file(job: PredictJob, file: EventFile, report: Report) -> tuple[Accounting, Sequence[str]]:
    """Score one file; returns its accounting, and the columns that it lacks to choose folds by."""
    scorer = _scorer(job)
    file = view(file, job.analysis)
    accounting = Accounting()
    try:
        builder = scorer.builder(file)
    except FileError:  # NanoAOD without events has not the branches of its tables
        if file.entries:
            raise
        builder = None
    row = job.analysis.row if job.analysis.row != "event" else None
    temporary = job.output.with_name(f".{job.output.name}.part")
    try:
        with FORMATS[job.format](temporary, job.analysis.tree, row) as writer:
            if builder is None:
                writer.write(scorer.nothing())
            else:
                _score_chunks(scorer, builder, file, writer, accounting, report)
        temporary.replace(job.output)
    finally:
        temporary.unlink(missing_ok=True)
    if not file.entries:
        report(1)
    return accounting, builder.lacks if builder and job.analysis.split.folds > 1 else ()


def _score_chunks(
    scorer: Scorer, builder: TableBuilder, file: EventFile, writer: FriendWriter, accounting: Accounting, report: Report
) -> None:
    if not file.entries:
        writer.write(scorer.entries(file, builder, builder.frame(builder.empty_chunk()), accounting))
    for chunk in file.chunks(builder.columns):
        writer.write(scorer.entries(file, builder, builder.frame(chunk), accounting))
        report(chunk.size / file.entries if file.entries else 0)
