"""``nanoforge tune``: search for good hyperparameters, in as many processes as there are, and write the best back."""

from __future__ import annotations

import csv
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from textwrap import shorten
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.table import Table

from ..config.change import as_written, change
from ..config.schema import Analysis
from ..config.search import Search
from ..console import hushed, out, say, show_accounting
from ..dataset.open import open_dataset
from ..dataset.source import TrainingData
from ..errors import DataError, TrainingError, UserError
from ..pipeline.outcome import Request
from ..provenance import Manifest, fingerprint
from ..provenance.manifest import NAME, changed_keys
from ..provenance.output import writing_to
from ..training.devices import make_fabric
from ..training.folds import check_initial, check_same_analysis, fit_fold, made_from, model_spec
from ..training.history import Epoch, best
from ..training.study import Study, search_space, searches, values

STAGE = "tune"
JOURNAL = "study.journal"
_SHOWN = 5


def tune(
    analysis: Analysis,
    data: Path | Analysis,
    output: Path,
    *,
    trials: int | None = None,
    force: bool = False,
    skip_bad_files: bool = False,
    trust: bool = False,
) -> Manifest | None:
    """Try values of the parameters that the ``search`` block of an analysis names.

    Interrupted, it goes on when it is run again. Several processes, on one host or many, may do so at the same time.

    Parameters
    ----------
    analysis
        The analysis with a ``search`` block.
    data
        The output of ``nanoforge convert``, or an analysis, whose files are then read directly.
    output
        The directory of the search: ``study.journal``, which the processes share, and at the end ``best.yaml``,
        ``trials.csv``, ``history.{pdf,png}``, ``importance.{pdf,png}`` and ``manifest.json``.
    trials
        How many, in place of ``search.trials``; with more than before, a finished search goes on.
    force
        Begin anew in a directory that holds the search of another analysis or dataset.
    skip_bad_files
        Of an analysis: count unusable files as lost, instead of stopping at the first.

    Returns
    -------
    Manifest or None
        The record of the search; None where other processes are still at work, the last of which writes it.

    Raises
    ------
    UserError
        When a parameter or one of its values does not fit the analysis, or the directory holds something else.
    DataError
        When all trials fail, or the data are broken.
    """
    search = _search(analysis)
    space = search_space(analysis, search)
    training = analysis.training
    dataset = open_dataset(data, in_memory=training.in_memory, workers=training.workers, skip_bad_files=skip_bad_files)
    check_same_analysis(analysis, dataset)
    key = made_from(analysis, dataset) | {"search": search.model_dump(mode="json", exclude={"trials"})}
    wanted = trials or search.trials
    request = Request(STAGE, output, key, accept_lost=skip_bad_files)
    finished = request.finished(lambda manifest: manifest.details["trials"] >= wanted)
    if finished is not None:
        return finished
    check_initial(analysis, trust=trust)
    _check_directory(output, key, force)
    with writing_to(output), tempfile.TemporaryDirectory() as scratch:
        dataset.prepare(Path(scratch))
        _check_validation(dataset)
        output.mkdir(parents=True, exist_ok=True)
        (output / NAME).unlink(missing_ok=True)  # until the trials are done
        study = Study(output / JOURNAL, key, search, space, training.epochs, wanted)
        _work(study, analysis, dataset, wanted)
    if dataset.accounting is not None:
        show_accounting(f"tune: {output}", dataset.accounting)
    if len(study.trials()) < wanted:
        say(f"{output}: other processes do the last trials; the one that ends last writes the result")
        return None
    with writing_to(output):
        return _finish(study, analysis, dataset, output, key)


def _search(analysis: Analysis) -> Search:
    if analysis.search is None:
        raise UserError(
            "search: the analysis file has no such block; write one, e.g. "
            "search: {trials: 50, parameters: {training.learning_rate: {low: 1e-4, high: 1e-2, log: true}}}"
        )
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("tune: a trial is trained in one process: start 'nanoforge tune' several times, not torchrun")
    return analysis.search


def _check_directory(output: Path, key: dict[str, Any], force: bool) -> None:
    """Refuse a directory that holds something else."""
    journal = output / JOURNAL
    if output.exists() and (not output.is_dir() or (any(output.iterdir()) and not journal.exists())):
        raise UserError(f"{output}: holds no search: give -o an empty or new directory")
    earlier = searches(journal)
    if earlier and key not in earlier and not force:
        change = next(iter(changed_keys(earlier[-1], key)), "")
        raise UserError(
            f"{output}: holds the search of another analysis or dataset ({shorten(change, 300)}): give another -o, or "
            "--force to begin anew"
        )


def _check_validation(dataset: TrainingData) -> None:
    for fold in range(dataset.info.folds):
        if not dataset.rows("val", fold):
            raise UserError(f"{dataset.name}: no rows to validate on, whose loss tells the trials apart: set split.val")


def _work(study: Study, analysis: Analysis, dataset: TrainingData, wanted: int) -> None:
    """Do trials until there are none left for this process."""

    def train(trial: Trial) -> float:
        with hushed():
            return _validation_loss(trial, analysis, dataset)

    while (trial := study.claim()) is not None:
        done = study.run(trial, train)
        if done is None:
            say(f"trial {trial.number}: another process does it, since this one was silent for too long")
            continue
        number = len(study.trials())
        say(f"trial {done.number} ({number} of {wanted} are done): {_outcome(done)}  {_settings(values(done))}")


def _validation_loss(trial: Trial, analysis: Analysis, dataset: TrainingData) -> float:
    """Train with the values of a trial, and return the mean over the folds of the least validation loss.

    Only the first fold is pruned: its epochs compare between trials, and a trial that survives is worth the others.
    """
    candidate = change(analysis, values(trial), f"trial {trial.number}")
    spec = model_spec(candidate, dataset.info)
    losses: list[float] = []

    def report(epoch: Epoch) -> None:
        trial.report(_measured(epoch), epoch.epoch)
        if epoch.epoch < candidate.training.epochs and trial.should_prune():
            raise optuna.TrialPruned

    for fold in range(dataset.info.folds):
        with tempfile.TemporaryDirectory() as checkpoints:
            fabric = make_fabric(candidate.training)
            folder = Path(checkpoints)
            fitted = fit_fold(fabric, candidate, dataset, spec, fold, folder, None if fold else report)
        losses.append(_measured(best(fitted.history)))
    if not all(map(math.isfinite, losses)):
        raise TrainingError("the validation loss is not finite")
    return fmean(losses)


def _measured(epoch: Epoch) -> float:
    assert epoch.val_loss is not None  # noqa: S101 — there are rows to validate on
    return epoch.val_loss


def _finish(study: Study, analysis: Analysis, dataset: TrainingData, output: Path, key: dict[str, Any]) -> Manifest:
    """Write what the search has found, the manifest last.

    Two processes that end at the same time both do, and write the same.
    """
    trials = study.trials()
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        raise DataError(
            f"{output}: none of {len(trials)} trials could be finished: {_outcome(trials[-1])}: change the search "
            "block or the data, or go on with more --trials"
        )
    winner = min(complete, key=_loss)
    shares = study.importance(_search(analysis).seed)
    with tempfile.TemporaryDirectory(dir=output, prefix=".result-") as folder:
        work = Path(folder)
        _write_best(work / "best.yaml", analysis, winner, len(trials))
        _write_table(work / "trials.csv", trials)
        _draw(work, trials, shares)
        files = sorted(path.name for path in work.iterdir())
        details = {
            "key": fingerprint(key),
            "sha256": analysis.digests(),
            "dataset": {"identity": dataset.identity},
            "trials": len(trials),
            "states": {s.name.lower(): sum(t.state == s for t in trials) for s in TrialState if s.is_finished()},
            "best": {"trial": winner.number, "val_loss": _loss(winner), "parameters": values(winner)},
            "importance": shares,
        }
        manifest = Manifest(
            stage=STAGE,
            config=analysis.model_dump(mode="json"),
            inputs=dataset.sources,
            accounting=dataset.accounting,
            seed=_search(analysis).seed,
            details=details,
        )
        manifest.write(work, dict.fromkeys(files))
        for name in (*files, NAME):
            (work / name).replace(output / name)
    _show(sorted(complete, key=_loss)[:_SHOWN], shares, output)
    return Manifest.read(output, STAGE)


def _write_best(path: Path, analysis: Analysis, winner: FrozenTrial, number: int) -> None:
    content = as_written(change(analysis, values(winner), f"trial {winner.number}"))
    content.pop("search")
    head = f"# The best of {number} trials: validation loss {_loss(winner):.6g} in trial {winner.number}.\n"
    path.write_text(head + yaml.safe_dump(content, sort_keys=False))


def _write_table(path: Path, trials: Sequence[FrozenTrial]) -> None:
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["trial", "state", "val_loss", "epochs", "seconds", *names, "reason"])
        for trial in trials:
            found = values(trial)
            duration = "" if trial.duration is None else f"{trial.duration.total_seconds():.3f}"
            facts = [trial.number, trial.state.name.lower(), _known_loss(trial), trial.last_step, duration]
            table.writerow([*facts, *(found.get(name) for name in names), trial.user_attrs.get("reason")])


def _draw(folder: Path, trials: Sequence[FrozenTrial], shares: Mapping[str, float]) -> None:
    from ..evaluation import figures
    from ..evaluation import trials as pictures

    losses = [math.nan if (loss := _known_loss(trial)) is None else loss for trial in trials]
    complete = [trial.state == TrialState.COMPLETE for trial in trials]
    figures.save(pictures.history(losses, complete), folder / "history")
    if shares:
        figures.save(pictures.importance(shares), folder / "importance")


def _show(trials: Sequence[FrozenTrial], shares: Mapping[str, float], output: Path) -> None:
    table = Table(title=f"tune: {output}", title_justify="left", box=None)
    table.add_column("trial", justify="right")
    table.add_column("val_loss", justify="right")
    names = list(trials[0].params)
    ends = [name.rpartition(".")[2] for name in names]
    for name, end in zip(names, ends):
        table.add_column(end if ends.count(end) == 1 else name, justify="right")
    for trial in trials:
        table.add_row(str(trial.number), f"{_loss(trial):.5g}", *(_text(values(trial)[name]) for name in names))
    if shares:
        table.add_row("", "importance", *(f"{shares.get(name, 0):.0%}" for name in names), end_section=True)
    out.print(table)


def _loss(trial: FrozenTrial) -> float:
    """Return the loss of a complete trial."""
    assert trial.value is not None  # noqa: S101
    return trial.value


def _known_loss(trial: FrozenTrial) -> float | None:
    """Return the loss of a trial as far as it came; None where it failed."""
    return None if trial.state == TrialState.FAIL else trial.value


def _outcome(trial: FrozenTrial) -> str:
    if trial.state == TrialState.FAIL:
        return f"failed: {trial.user_attrs.get('reason')}"
    pruned = f", pruned after epoch {trial.last_step}" if trial.state == TrialState.PRUNED else ""
    return f"val_loss {trial.value:.5g}{pruned}"


def _settings(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in found.items())


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
