"""What a search has found: the best analysis, a table of all trials, figures, and what is printed."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from ..config.change import as_written, change
from ..config.schema import Analysis
from ..console import out
from .study import values

if TYPE_CHECKING:
    from ..evaluation.figure import Plot

_SHOWN, _LISTED = 5, 20
_ENDS = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def write_results(
    folder: Path, analysis: Analysis, trials: Sequence[FrozenTrial], winner: FrozenTrial, shares: Mapping[str, float]
) -> list[str]:
    """Write ``best.yaml``, ``trials.csv``, ``report.html`` and its figures, and return the names of all files.

    Parameters
    ----------
    folder
        An empty folder.
    analysis
        The analysis whose ``search`` it was.
    trials, winner
        All finished trials, and the complete one of least loss.
    shares
        The share of each parameter in the variance of the loss; may be empty.
    """
    _write_best(folder / "best.yaml", analysis, winner, len(trials))
    _write_table(folder / "trials.csv", trials)
    _write_report(folder, analysis, trials, winner, shares)
    return sorted(path.name for path in folder.iterdir())


def _write_best(path: Path, analysis: Analysis, winner: FrozenTrial, number: int) -> None:
    content = as_written(change(analysis, values(winner), f"trial {winner.number}"))
    content.pop("search")
    head = f"# The best of {number} trials: validation loss {final_loss(winner):.6g} in trial {winner.number}.\n"
    path.write_text(head + yaml.safe_dump(content, sort_keys=False))


def _write_table(path: Path, trials: Sequence[FrozenTrial]) -> None:
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["trial", "state", "val_loss", "epochs", "seconds", *names, "reason"])
        for trial in trials:
            of_trial = values(trial)
            duration = "" if trial.duration is None else f"{trial.duration.total_seconds():.3f}"
            facts = [trial.number, trial.state.name.lower(), _last_loss(trial), trial.last_step, duration]
            table.writerow([*facts, *(of_trial.get(name) for name in names), trial.user_attrs.get("reason")])


def _write_report(
    folder: Path, analysis: Analysis, trials: Sequence[FrozenTrial], winner: FrozenTrial, shares: Mapping[str, float]
) -> None:
    from ..evaluation.gallery import save_all
    from ..evaluation.report import ReportTable, page

    pictures, _ = save_all(_plots(trials, winner, shares), folder, folder)
    states = ", ".join(f"{sum(t.state == s for t in trials)} {s.name.lower()}" for s in _ENDS)
    least = f"the least validation loss is {final_loss(winner):.6g}, of trial {winner.number}"
    lead = f"{len(trials)} trials ({states}): {least}."
    best = sorted((t for t in trials if t.state == TrialState.COMPLETE), key=final_loss)[:_LISTED]
    lines = [[str(t.number), f"{final_loss(t):.6g}", *(_value_text(v) for v in values(t).values())] for t in best]
    failed = [
        [str(t.number), values_text(t), str(t.user_attrs.get("reason"))] for t in trials if t.state == TrialState.FAIL
    ]
    tables = [ReportTable("Best trials", ["trial", "validation loss", *winner.params], lines, "All are in trials.csv.")]
    if failed:
        tables.append(ReportTable("Failed trials", ["trial", "parameters", "reason"], failed))
    search = analysis.search
    facts = {} if search is None else {"sampler": search.sampler, "pruner": search.pruner, "seed": str(search.seed)}
    (folder / "report.html").write_text(
        page(f"Search of {analysis.name}", lead, [], [tables[0], pictures, *tables[1:]], facts)
    )


def _plots(trials: Sequence[FrozenTrial], winner: FrozenTrial, shares: Mapping[str, float]) -> Iterator[Plot]:
    from ..evaluation.figure import Plot
    from . import trial_figures

    losses = [math.nan if (loss := _last_loss(trial)) is None else loss for trial in trials]
    complete = [trial.state == TrialState.COMPLETE for trial in trials]
    meaning = "The loss of each trial in order, open where it was pruned, and the least so far."
    yield Plot("history", "History", meaning, trial_figures.history(losses, complete))
    curves = [trial.intermediate_values for trial in trials]
    if any(len(curve) > 1 for curve in curves):
        meaning = (
            "Validation loss of the first fold by epoch; the best trial is thick, those that were pruned are dashed."
        )
        figure = trial_figures.intermediate(curves, complete, list(trials).index(winner))
        yield Plot("intermediate", "Loss of the trials by epoch", meaning, figure)
    if sum(complete) > 1:
        done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        meaning = "A line for each complete trial, from dark (the least loss) to light; the best one is red."
        figure = trial_figures.parallel([values(trial) for trial in done], [final_loss(trial) for trial in done])
        yield Plot("parallel", "Parameters and loss", meaning, figure)
    if shares:
        meaning = "The share of each parameter in the variance of the loss of all complete trials (fANOVA)."
        yield Plot("importance", "Importance of the parameters", meaning, trial_figures.importance(shares))


def show_best(complete: Sequence[FrozenTrial], shares: Mapping[str, float], output: Path) -> None:
    """Print the best of the complete trials, and the share of each parameter in the variance of the loss."""
    trials = sorted(complete, key=final_loss)[:_SHOWN]
    table = Table(title=f"tune: {output}", title_justify="left", box=None)
    table.add_column("trial", justify="right")
    table.add_column("val_loss", justify="right")
    names = list(trials[0].params)
    ends = [name.rpartition(".")[2] for name in names]
    for name, end in zip(names, ends):
        table.add_column(end if ends.count(end) == 1 else name, justify="right")
    for trial in trials:
        table.add_row(
            str(trial.number), f"{final_loss(trial):.5g}", *(_value_text(values(trial)[name]) for name in names)
        )
    if shares:
        table.add_row("", "importance", *(f"{shares.get(name, 0):.0%}" for name in names), end_section=True)
    out.print(table)


def final_loss(trial: FrozenTrial) -> float:
    """Return the loss of a complete trial."""
    assert trial.value is not None  # noqa: S101
    return trial.value


def _last_loss(trial: FrozenTrial) -> float | None:
    """Return the loss of a trial as far as it came; None where it failed."""
    return None if trial.state == TrialState.FAIL else trial.value


def outcome_text(trial: FrozenTrial) -> str:
    """Say what became of a trial: its loss, or why it failed."""
    if trial.state == TrialState.FAIL:
        return f"failed: {trial.user_attrs.get('reason')}"
    pruned = f", pruned after epoch {trial.last_step}" if trial.state == TrialState.PRUNED else ""
    return f"val_loss {trial.value:.5g}{pruned}"


def values_text(trial: FrozenTrial) -> str:
    """Write the parameters of a trial with their values."""
    return ", ".join(f"{name} {_value_text(value)}" for name, value in values(trial).items())


def _value_text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
