"""Options and arguments that several commands have: each stands once, and reads alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

Config = Annotated[Path, typer.Argument(help="The analysis file (YAML).")]
Overrides = Annotated[Optional[list[str]], typer.Argument(help="Changes to it: key=value, e.g. training.epochs=5.")]
TrainedRun = Annotated[Path, typer.Argument(help="The run that train made.")]
JobDirectory = Annotated[Path, typer.Argument(help="The job directory that submit made.")]

Output = Annotated[Path, typer.Option("-o", "--output", help="Directory of the result.")]
Data = Annotated[
    Path, typer.Option("--data", help="What convert made, or the analysis file: then its files are read directly.")
]
Tree = Annotated[str, typer.Option("--tree", help="The TTree or RNTuple; dir/tree works.")]
Jobs = Annotated[int, typer.Option("-j", "--jobs", min=1, help="Number of processes.")]
Part = Annotated[
    Optional[str], typer.Option("--part", help="Only these units (files; blocks of 250 events): SAMPLE:FIRST-LAST.")
]
Parts = Annotated[Optional[Path], typer.Option("--from-parts", help="Make the whole from the parts in this folder.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad-files", help="Count unusable files as lost and go on.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a result that was made from something else.")]
Trust = Annotated[bool, typer.Option("--trust", help="Run the Python code that a run of somebody else names.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
