"""``nanoforge submit``: freeze the analysis, divide the work, make the job directory, hand the jobs over."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from ..config.batch import Batch, Division
from ..config.schema import Analysis
from ..console import say
from ..errors import UserError, nearest
from ..events.files import expand, is_remote, listed, with_files
from ..provenance.manifest import NAME, Manifest
from . import plan as planning
from .environments import absolute, demand, is_seen, lenient, shared
from .jobdir import JobDir, Submission, as_yaml, create, new_run_id, sha256
from .plan import STAGES, Job, Plan, Resources
from .templates import check_one_line

TARGETS = {"condor": "condor", "crab": "crab", "slurm": "slurm", "local": "local", "dask": "on_dask"}
"""Where jobs may run, and the module of this package that brings them there.

Each has ``submit``, ``settle`` and ``withdraw``; some have ``prepare`` (what a dry run makes), ``run`` (the jobs are
ours to run), ``update`` (what is known of jobs beside their log) and ``retrieve`` (fetches what they have made).
"""
GRID_STAGES = ("generate", "skim", "convert")
_EOS = {"user": "eosuser", "home": "eosuser", "cms": "eoscms", "project": "eosproject"}


def target(name: str) -> ModuleType:
    """Return the module of a target."""
    if name not in TARGETS:
        raise UserError(f"submit {name}: no such target; known: {', '.join(TARGETS)}{nearest(name, TARGETS)}")
    return importlib.import_module(f".{TARGETS[name]}", __package__)


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
        One of :data:`TARGETS`.
    analysis
        The analysis file.
    stage
        One of :data:`.plan.STAGES`.
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
    module = target(where)
    if stage not in STAGES:
        stages = (*STAGES, "all")
        raise UserError(f"--stage {stage}: not one of {', '.join(stages)}{nearest(stage, stages)}")
    frozen = listed(analysis) if data is None else _as_converted(listed(analysis), data)
    with lenient(dry_run):
        directory = make(where, frozen, stage, output, split, data, run)
    numbers = range(len(directory.plan.jobs))
    if dry_run:
        if hasattr(module, "prepare"):
            module.prepare(directory, numbers, directory.plan.resources, (), 0)
        say(f"{output}: {len(numbers):,} jobs, not submitted (--dry-run)")
        return directory
    with directory.lock(".submit"):
        submission = _earlier(module, directory)
        if submission is None:
            submission = module.submit(directory, numbers, directory.plan.resources, ())
            how = f"{submission.state}{_cluster(submission)}"
            say(f"{output}: {len(numbers):,} jobs {how}: see nanoforge status {output}")
        else:
            say(f"{output}: was {submission.state} already{_cluster(submission)}: see nanoforge status {output}")
    if hasattr(module, "run"):
        module.run(directory, submission, processes)
    return directory


def submit_all(where: str, analysis: Analysis, output: Path, split: int | None = None, dry_run: bool = False) -> None:
    """Submit all stages that an analysis needs, as a DAG; parameters as for :func:`submit`."""
    from . import dag

    target(where)
    if where != "condor":
        raise UserError(f"submit {where} --stage all: DAGs are HTCondor's; here, 'nanoforge run' does all stages")
    if split is not None:
        raise UserError("--split divides one stage: with --stage all, set batch.<stage>.split in the analysis file")
    dag.submit(analysis, output, dry_run)


def _earlier(module: ModuleType, directory: JobDir) -> Submission | None:
    """Return what was submitted by an earlier call, though it may have been killed in the middle."""
    open_ = ("intent", "prepared")
    settled = [module.settle(directory, s) if s.state in open_ else s for s in directory.submissions()]
    return next((submission for submission in settled if submission.state != "void"), None)


def _cluster(submission: Submission) -> str:
    return "" if submission.cluster is None else f" as cluster {submission.cluster}"


def make(
    where: str,
    analysis: Analysis,
    stage: str,
    output: Path,
    split: int | None = None,
    data: Path | None = None,
    run: Path | None = None,
) -> JobDir:
    """Make the job directory of one stage of a frozen analysis; parameters as for :func:`submit`."""
    batch = _placed(analysis.batch, where, stage)
    analysis = analysis.model_copy(update={"batch": batch})
    _check_place(batch, stage, absolute(output))
    needs = batch.needs(stage)
    jobs = planning.jobs(analysis, stage, Division(files=split) if split else needs.split)
    _check_seen(batch, analysis, jobs, stage)
    data, run = data and absolute(data), run and absolute(run)
    carried = [path for path in (data, run) if path is not None and not is_seen(path, batch)]
    names = {path: Path(path.name) for path in carried}
    for path in (absolute(output), data, run, *(path for job in jobs for path in job.inputs)):
        check_one_line(str(path), "a path")
    run_id = new_run_id(analysis.name, stage)
    plan = Plan(
        run_id=run_id,
        name=analysis.name,
        stage=stage,
        target=where,
        analysis_sha256=sha256(as_yaml(analysis)),
        jobs=jobs,
        resources=_resources(batch, stage),
        parts=_parts(batch, stage, run_id),
        command=planning.command(stage, data and names.get(data, data), run and names.get(run, run)),
        carried=tuple(map(str, carried)),
    )
    return create(output, analysis, plan)


def _as_converted(analysis: Analysis, data: Path) -> Analysis:
    """Let the samples name their files as the dataset does: a training compares them, where it may not see them."""
    if not (data / NAME).exists():
        return analysis
    known = Manifest.read(data, "convert").config["samples"]
    spelt = {name: files for name in analysis.samples if (files := known.get(name, {}).get("files"))}
    same = {
        name: files
        for name, files in spelt.items()
        if files != analysis.samples[name].files and expand(files, str(data)) == analysis.samples[name].files
    }
    return with_files(analysis, same)


def _resources(batch: Batch, stage: str) -> Resources:
    """Return what a job asks for; where EOS is the only place, HTCondor does not bring checkpoints back."""
    found = Resources.of(stage, batch.needs(stage))
    return replace(found, checkpoint=0) if batch.mode == "eossubmit" else found


def _parts(batch: Batch, stage: str, run_id: str) -> str:
    """Return where the parts arrive: in the job directory, unless the analysis file names another place.

    A training always comes back: HTCondor would send its checkpoints to an address too, and lose them.
    """
    if batch.output is None or stage == "train":
        return "parts"
    place = batch.output.rstrip("/")
    if is_remote(place):
        return f"{place}/{run_id}"
    folder = absolute(place)
    if batch.site == "lxplus" and folder.is_relative_to("/eos"):
        host = _EOS.get(folder.parts[2].split("-")[0], "eospublic")
        return f"root://{host}.cern.ch/{folder}/{run_id}"
    return str(folder / run_id)


def _placed(batch: Batch, where: str, stage: str) -> Batch:
    """Let the rules of HTCondor's sites hold for HTCondor alone; jobs of the grid see CVMFS, and have a place there."""
    if where == "condor":
        return batch
    changes: dict[str, Any] = {"site": "generic", "mode": "afs"}
    if where == "crab":
        if stage not in GRID_STAGES:
            raise UserError(f"submit crab --stage {stage}: CRAB does {', '.join(GRID_STAGES)}; use another target")
        changes |= {"shared": batch.shared or ["/cvmfs"], "output": None}
    return batch.model_copy(update=changes)


def _check_place(batch: Batch, stage: str, output: Path) -> None:
    """Refuse a job directory that the scheduler, or workers that share it, would not see."""
    home = {"afs": "/afs", "eossubmit": "/eos"}.get(batch.mode)
    if batch.site == "lxplus" and home is not None and not output.is_relative_to(home):
        demand(f"{output}: with 'batch.mode: {batch.mode}' the scheduler sees {home} only: give an -o there")
    if stage == "tune" and (not is_seen(output, batch) or batch.mode == "spool"):
        demand(f"{output}: the workers of a search meet there: give an -o under {' or '.join(shared(batch))}")


def _check_seen(batch: Batch, analysis: Analysis, jobs: tuple[Job, ...], stage: str) -> None:
    """Refuse files that the jobs would not find."""
    read = analysis.generator_files() if stage == "generate" else []
    for path in read:
        if not Path(path).is_file():
            raise UserError(f"{path}: the 'settings' of a generator name this file, and it is not there")
    others = [
        *read,
        *analysis.digests(),
        *([analysis.training.init.run] if analysis.training.init else []),
    ]
    inputs = [path for job in jobs for path in job.inputs]
    for path in [*inputs, *(name for name in others if Path(name).is_absolute())]:
        if not is_remote(path) and not is_seen(path, batch):
            demand(
                f"{path}: the jobs of {batch.site} do not see it: put it under {' or '.join(shared(batch))} "
                "(or name the folders that they see in batch.shared), or give its root:// address"
            )
