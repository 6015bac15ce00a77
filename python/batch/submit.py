"""``nanoforge submit``: freeze the analysis, divide the work, make the job directory, hand the jobs over."""

from __future__ import annotations

from pathlib import Path

from ..config.schema import Analysis
from ..console import say
from ..errors import UserError, nearest
from ..events.files import expand, listed, with_files
from ..pipeline.graph import STAGES
from ..provenance.manifest import NAME, Manifest
from . import published
from .jobdir import JobDir, Submission
from .make import make
from .sites import noting_refusals
from .target import Target
from .targets import find_target, trust_target


def submit(
    where: str,
    analysis: Analysis,
    stage: str,
    output: Path,
    split: int | None = None,
    data: Path | None = None,
    run: Path | None = None,
    processes: int = 1,
    dry_run: bool = False,
) -> JobDir:
    """Submit a stage of an analysis as batch jobs (all of them: see :mod:`.dag`).

    Parameters
    ----------
    where
        One of :data:`~.targets.TARGETS`, or ``module:Class``.
    analysis
        The analysis file.
    stage
        One of :data:`~..pipeline.graph.STAGES`.
    output
        The job directory. The same call again submits nothing twice.
    split
        Units for each job, in place of what the analysis file says.
    data, run
        The dataset of a training; the training of an evaluation or of predictions.
    processes
        How many jobs work at a time, where it is we who run them.
    dry_run
        Only make the job directory and check it.

    Returns
    -------
    JobDir
        The job directory.

    Raises
    ------
    UserError, DataError
        See :mod:`nanoforge.errors`; nothing is submitted then.
    """
    target = find_target(where)
    if stage not in STAGES:
        stages = (*STAGES, "all")
        raise UserError(f"--stage {stage}: not one of {', '.join(stages)}{nearest(stage, stages)}")
    frozen = listed(analysis) if data is None else _as_converted(listed(analysis), data)
    with noting_refusals(dry_run):
        directory = make(target, frozen, stage, output, split, data, run)
    trust_target(directory)
    if directory.plan.published:
        published.submit(directory, dry_run=dry_run)
        return directory
    numbers = range(len(directory.plan.jobs))
    if dry_run:
        target.prepare(directory, numbers, directory.plan.resources, (), 0)
        say(f"{output}: {len(numbers):,} jobs, not submitted (--dry-run)")
        return directory
    with directory.lock(".submit"):
        submission = _earlier(target, directory)
        if submission is None:
            submission = target.submit(directory, numbers, directory.plan.resources, ())
            how = f"{submission.state}{_cluster(submission)}"
            say(f"{output}: {len(numbers):,} jobs {how}: see nanoforge status {output}")
        else:
            say(f"{output}: was {submission.state} already{_cluster(submission)}: see nanoforge status {output}")
    target.run(directory, submission, processes)
    return directory


def submit_all(where: str, analysis: Analysis, output: Path, split: int | None = None, dry_run: bool = False) -> None:
    """Submit all stages that an analysis needs, as a DAG; parameters as for :func:`submit`."""
    target = find_target(where)
    if split is not None:
        raise UserError("--split divides one stage: with --stage all, set batch.<stage>.split in the analysis file")
    target.submit_pipeline(analysis, output, dry_run=dry_run)


def _earlier(target: Target, directory: JobDir) -> Submission | None:
    """Return what was submitted by an earlier call, though it may have been killed in the middle."""
    open_ = ("intent", "prepared")
    submissions = [target.reconcile(directory, s) if s.state in open_ else s for s in directory.submissions()]
    return next((submission for submission in submissions if submission.state != "void"), None)


def _cluster(submission: Submission) -> str:
    return "" if submission.cluster is None else f" as cluster {submission.cluster}"


def _as_converted(analysis: Analysis, data: Path) -> Analysis:
    """Let the samples name their files as the dataset does: a training compares them, where it may not see them."""
    if not (data / NAME).exists():
        return analysis
    converted = Manifest.read(data, "convert").config["samples"]
    resolved = {name: files for name in analysis.samples if (files := converted.get(name, {}).get("files"))}
    same = {
        name: files
        for name, files in resolved.items()
        if files != analysis.samples[name].files and expand(files, str(data)) == analysis.samples[name].files
    }
    return with_files(analysis, same)
