"""The command that compares files and servers with the training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from .options import Force, Jobs, Output, SkipBad, TrainedRun, Trust
from .reading import read_run

FAILED = 3
"""The exit code of an alarm with --fail."""


def monitor(
    run: TrainedRun,
    files: Annotated[
        Optional[list[str]], typer.Argument(help="Files to look at; globs, lists and addresses work.")
    ] = None,
    output: Output = Path("monitoring"),
    weight: Annotated[
        Optional[str],
        typer.Option(
            "--weight", help="What events weigh; default: as in the training if the columns are there, else 1."
        ),
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Periods of the course over time: run, lumi, era or file.")] = "run",
    regions: Annotated[
        Optional[list[str]], typer.Option("--regions", help="Compare in a region, too: 'score > 0.9'; repeatable.")
    ] = None,
    classifier: Annotated[
        bool, typer.Option("--classifier", help="Train trees to tell the events from those of the training.")
    ] = False,
    warn: Annotated[float, typer.Option("--warn", min=0, help="PSI and KS distance of a warning.")] = 0.1,
    alarm: Annotated[float, typer.Option("--alarm", min=0, help="PSI and KS distance of an alarm.")] = 0.25,
    url: Annotated[
        Optional[str], typer.Option("--url", help="Instead of files: a server, which fills what it answers.")
    ] = None,
    token_file: Annotated[
        Optional[Path], typer.Option("--token-file", help="Whose first token opens the server.")
    ] = None,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with 3 where there is an alarm.")] = False,
    jobs: Jobs = 1,
    skip_bad_files: SkipBad = False,
    force: Force = False,
    trust: Trust = False,
) -> None:
    """Compare events with those of the training: every feature, list length and score.

    Writes report.html, monitor.json and histograms.root, and prints a line for each variable, the worst first.

    Example: nanoforge monitor run data/Run2022*.root -o monitoring --by run --fail
    """
    read_run(run)
    from ..distributions.drift import Thresholds
    from ..stages.monitor import MonitorOptions, monitor, monitor_server, show

    thresholds = Thresholds(warn, alarm)
    if url is not None:
        content = monitor_server(run, url, output, thresholds=thresholds, token_file=token_file)
    else:
        options = MonitorOptions(weight, by, thresholds, tuple(regions or ()), classifier)
        content = monitor(
            run,
            files or (),
            output,
            options=options,
            jobs=jobs,
            skip_bad_files=skip_bad_files,
            force=force,
            trust=trust,
        )
    show(output, content)
    if fail and content["state"] == "alarm":
        raise typer.Exit(FAILED)
