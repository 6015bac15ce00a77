"""The commands around batch jobs: submit, status, resubmit, collect."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from .options import AsJson, Config, Force, JobDirectory, Jobs, Overrides, Trust
from .reading import load_analysis, name_next


def submit(
    target: Annotated[str, typer.Argument(help="Where: {targets}; or a class of yours, as module:Class.")],
    config: Config,
    overrides: Overrides = None,
    stage: Annotated[
        str,
        typer.Option(
            "--stage", help="generate, produce, skim, convert, train, tune, evaluate, predict; all: as one DAG."
        ),
    ] = "all",
    output: Annotated[Path, typer.Option("-o", "--output", help="The job directory.")] = Path("jobs"),
    split: Annotated[
        Optional[int],
        typer.Option("--split", min=1, help="Units (files; lumi sections; blocks of 250 events) for each job."),
    ] = None,
    data: Annotated[Optional[Path], typer.Option("--data", help="For train, tune: the dataset.")] = None,
    run: Annotated[Optional[Path], typer.Option("--run", help="For evaluate, predict: what train made.")] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="For local, dask: jobs at a time.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write and check everything, submit nothing.")] = False,
    trust: Trust = False,
) -> None:
    """Submit a stage, or all, as batch jobs, as the block 'batch' says; the same command submits nothing twice.

    Example: nanoforge submit condor analysis.yaml --stage convert -o jobs --split 20
    """
    analysis = load_analysis(config, overrides)
    from ..batch.submit import submit, submit_all
    from ..registry import beside

    target = beside(target, config.parent)
    if run is not None or analysis.training.init is not None:
        from ..stages.trust import check_runs

        check_runs(analysis, run, trust=trust)
    if stage == "all":
        submit_all(target, analysis, output, split, dry_run)
    else:
        submit(target, analysis, stage, output, split, data, run, jobs, dry_run)
    if dry_run:
        name_next(*(argument for argument in sys.argv[1:] if argument != "--dry-run"))


def status(
    directory: JobDirectory,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until all jobs have ended.")] = False,
    as_json: AsJson = False,
    trust: Trust = False,
) -> None:
    """Show where the jobs are, why some failed, and when the last will be done.

    Example: nanoforge status jobs --watch
    """
    _trust_targets(directory, trust)
    from ..batch.status import status

    status(directory, watch, as_json)


def resubmit(
    directory: JobDirectory,
    jobs: Jobs = 1,
    permanent: Annotated[
        bool, typer.Option("--permanent", help="Also jobs that ended with a mistake (exit code 2).")
    ] = False,
    trust: Trust = False,
) -> None:
    """Submit again what is neither done nor in the queue, with more time or memory where that was missing.

    Example: nanoforge resubmit jobs
    """
    _trust_targets(directory, trust)
    from ..batch.resubmit import resubmit

    resubmit(directory, jobs, permanent)


def collect(
    ctx: typer.Context,
    directory: JobDirectory,
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory of the stage's result.")],
    skip_bad_files: Annotated[
        bool, typer.Option("--skip-bad-files", help="Go on without what is missing: it is named, and counted as lost.")
    ] = False,
    jobs: Jobs = 1,
    force: Force = False,
    trust: Trust = False,
) -> None:
    """Merge what the jobs made, once nothing is missing.

    Example: nanoforge collect jobs -o dataset
    """
    _trust_targets(directory, trust)
    from ..batch.collect import collect

    collect(directory, output, skip_bad_files, jobs, force, give=partial(_run_command, ctx.find_root()))
    if (output / "fold0").exists():
        from ..stages.trust import vouch

        vouch(directory, output)


def _trust_targets(directory: Path, trust: bool) -> None:
    if trust:
        from ..batch.targets import trust_targets

        trust_targets(directory)


def _run_command(root: Any, argv: Sequence[str]) -> None:
    """Run a command within another one, which answers its failures and interruptions."""
    with root.command.make_context("nanoforge", [*["--debug"] * root.params["debug"], *argv]) as context:
        root.command.invoke(context)
