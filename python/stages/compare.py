"""``nanoforge compare``: evaluated runs side by side, in a table and in one figure of ROC curves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from rich.table import Table
from rich.text import Text

from ..console import out, say, show_table
from ..errors import DataError, UserError
from ..evaluation import report
from ..evaluation.comparison import Comparison, Run
from ..evaluation.comparison_figures import plots
from ..evaluation.gallery import save_all
from ..evaluation.paired import FILE, read_rows
from ..pipeline.outcome import Outcome, Request
from ..provenance import Manifest
from ..provenance.manifest import NAME, input_record, write_atomically

STAGE = "compare"
EVALUATION = "evaluation"
_NAME_WIDTH, _GAP = 20, 2


def compare(runs: Sequence[Path], output: Path, *, force: bool = False) -> Manifest:
    """Print a table of runs and write it with their ROC curves.

    Parameters
    ----------
    runs
        Outputs of ``nanoforge train``, each with its ``evaluation``.
    output
        Where ``comparison.html``, ``comparison.json`` and the figures go.
    force
        Replace a comparison of other runs.

    Returns
    -------
    Manifest
        The record of the comparison.

    Raises
    ------
    UserError
        For fewer than two runs, one that is not evaluated, and runs of different tasks or classes.
    """
    if len({run.resolve() for run in runs}) < max(2, len(runs)):
        raise UserError("a comparison needs two runs or more, each once: nanoforge compare RUN RUN ...")
    evaluated = [_read(run, name) for run, name in zip(runs, _names(runs))]
    for run in evaluated[1:]:
        if run.task != evaluated[0].task:
            raise UserError(f"{run.name} is {run.task}, and {evaluated[0].name} is {evaluated[0].task}: compare alike")
    comparison = Comparison(evaluated)
    _show(comparison)
    sources = [str(made.resolve() / NAME) for run in runs for made in (run, run / EVALUATION)]
    key = {"names": [run.name for run in evaluated]}
    request = Request(STAGE, output, key, key, sources, force=force)
    finished = request.finished()
    if finished is not None:
        return finished

    def work(folder: Path) -> Outcome:
        files = _write(folder, comparison, runs)
        return Outcome(key, [input_record(path) for path in sources], dict.fromkeys(files))

    manifest = request.make(work)
    say(f"wrote {output / 'comparison.html'}")
    return manifest


def _names(runs: Sequence[Path]) -> list[str]:
    """Call runs by the names of their folders, or as the user does where these are not different."""
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def _read(run: Path, name: str) -> Run:
    """Read a run and its evaluation."""
    trained = Manifest.read(run, "train")
    trained.verify(run)
    folder = run / EVALUATION
    if not (folder / NAME).exists():
        raise UserError(f"{run}: not evaluated yet: run 'nanoforge evaluate {run}'")
    evaluation = Manifest.read(folder, "evaluate")
    evaluation.verify(folder)
    if evaluation.details["run"] != trained.identity():
        raise UserError(f"{folder}: of an earlier training: run 'nanoforge evaluate {run} --force'")
    content = json.loads((folder / "metrics.json").read_text())
    try:
        curves = json.loads((folder / "curves.json").read_text()) if content["task"] == "classification" else {}
        details = trained.details["cost"], evaluation.details["dataset"], evaluation.details["test_rows"]
    except (FileNotFoundError, KeyError):
        raise DataError(
            f"{run}: of another version of NanoForge: run 'nanoforge train --force' and 'nanoforge evaluate'"
        ) from None
    return Run(name, trained.config, content, curves, *details, rows=read_rows(folder / FILE))


def _show(comparison: Comparison) -> None:
    """Print the tables, in a terminal with as many runs in a row as fit, and what a reader must know."""
    for content in comparison.tables:
        for columns in _fitting(content, out.width) if out.is_terminal else [range(1, len(content.head))]:
            if content.lines:
                show_table(_table(content, columns, out.width if out.is_terminal else None))
    if comparison.notice:
        say(f"warning: {comparison.notice}")


def _fitting(content: report.ReportTable, width: int) -> Iterator[Sequence[int]]:
    """Divide the columns of the runs into groups that fit beside the first column into a terminal."""
    room = width - _column_width(content, 0, width)
    group: list[int] = []
    for number in range(1, len(content.head)):
        used = sum(_column_width(content, other, width) for other in group)
        if group and used + _column_width(content, number, width) > room:
            yield group
            group = []
        group.append(number)
    yield group


def _column_width(content: report.ReportTable, number: int, width: int) -> int:
    """Return how wide a column has to be: labels wrap at a third of the terminal, texts at a half, numbers never do."""
    longest = max(len(line[number]) for line in content.lines) if content.lines else 0
    name = min(len(content.head[number]), _NAME_WIDTH)
    return min(max(longest, name), width // 3 if number == 0 else width // 2) + _GAP


def _table(content: report.ReportTable, columns: Sequence[int], width: int | None) -> Table:
    """Make a table of the first and of other columns; with a width, names wrap to fit into it."""
    table = Table(title=content.title, title_justify="left", box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for number in (0, *columns):
        column_width = None if width is None else _column_width(content, number, width) - _GAP
        justify: Literal["left", "right"] = "right" if number else "left"
        table.add_column(
            Text(content.head[number]), justify=justify, overflow="fold", no_wrap=width is None, width=column_width
        )
    for line in content.lines:
        table.add_row(*(Text(line[number]) for number in (0, *columns)))
    return table


def _write(work: Path, comparison: Comparison, runs: Sequence[Path]) -> list[str]:
    """Write figures, page and JSON, and return their paths relative to ``work``."""
    pictures, paths = save_all(plots(comparison), work, work)
    merits, *others = comparison.tables
    sections: list[report.Section] = [merits, *([pictures] if pictures else []), *others]
    facts = {run.name: str(path.resolve()) for run, path in zip(comparison.runs, runs)}
    notices = [comparison.notice] if comparison.notice else []
    lead = f"{len(runs)} runs, each {comparison.runs[0].task}."
    write_atomically(work / "comparison.html", report.page("Comparison of runs", lead, notices, sections, facts))
    write_atomically(work / "comparison.json", json.dumps(comparison.content(), indent=1, allow_nan=False) + "\n")
    return ["comparison.html", "comparison.json", *(path.name for path in paths)]
