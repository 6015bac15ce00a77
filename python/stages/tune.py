"""``nanoforge tune``: search for good hyperparameters, in as many processes as there are, and write the best back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import Any

from optuna.trial import Trial, TrialState

from ..config.schema import Analysis
from ..config.search import Search
from ..console import hushed, progress, say, show_accounting
from ..dataset.open import open_dataset
from ..dataset.source import TrainingData
from ..errors import DataError, UserError
from ..pipeline.outcome import Request
from ..provenance import Manifest, fingerprint
from ..provenance.manifest import NAME, changed_keys
from ..provenance.output import writing_to
from ..training.folds import check_initial, check_same_analysis, made_from
from ..tuning.objective import validation_loss
from ..tuning.results import final_loss, outcome_text, show_best, values_text, write_results
from ..tuning.study import Study, search_space, searches, values

STAGE = "tune"
JOURNAL = "study.journal"


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
        ``trials.csv``, ``report.html``, its figures as PDF and PNG, and ``manifest.json``.
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
    number = trials or search.trials
    request = Request(STAGE, output, key, accept_lost=skip_bad_files)
    finished = request.finished(lambda manifest: manifest.details["trials"] >= number)
    if finished is not None:
        return finished
    check_initial(analysis, trust=trust)
    _check_directory(output, key, force)
    with writing_to(output), tempfile.TemporaryDirectory() as scratch:
        dataset.prepare(Path(scratch))
        _check_validation(dataset)
        output.mkdir(parents=True, exist_ok=True)
        (output / NAME).unlink(missing_ok=True)  # until the trials are done
        study = Study(output / JOURNAL, key, search, space, training.epochs, number)
        _work(study, analysis, dataset, number)
    if dataset.accounting is not None:
        show_accounting(f"tune: {output}", dataset.accounting)
    if len(study.trials()) < number:
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


def _work(study: Study, analysis: Analysis, dataset: TrainingData, total: int) -> None:
    """Do trials until there are none left for this process."""

    def train(trial: Trial) -> float:
        with hushed():
            return validation_loss(trial, analysis, dataset)

    number = len(study.trials())
    with progress("trials", total) as bar:
        bar.advance(number)
        while (trial := study.claim()) is not None:
            done = study.run(trial, train)
            if done is None:
                say(f"trial {trial.number}: another process does it, since this one was silent for too long")
                continue
            before, number = number, len(study.trials())
            bar.advance(number - before)
            say(f"trial {done.number} ({number} of {total} are done): {outcome_text(done)}  {values_text(done)}")


@contextlib.contextmanager
def _alone_in(output: Path) -> Iterator[Path]:
    """Give an empty folder in the output, and nobody else one meanwhile; it is gone afterwards."""
    work = output / ".result"
    descriptor = os.open(output, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
        try:
            work.mkdir()
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    finally:
        os.close(descriptor)


def _finish(study: Study, analysis: Analysis, dataset: TrainingData, output: Path, key: dict[str, Any]) -> Manifest:
    """Write what the search has found, the manifest last.

    Two processes that end at the same time both do, one after the other, and write the same.
    """
    trials = study.trials()
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        raise DataError(
            f"{output}: none of {len(trials)} trials could be finished: {outcome_text(trials[-1])}: change the search "
            "block or the data, or go on with more --trials"
        )
    winner = min(complete, key=final_loss)
    shares = study.importance(_search(analysis).seed)
    with _alone_in(output) as work:
        files = write_results(work, analysis, trials, winner, shares)
        details = {
            "key": fingerprint(key),
            "sha256": analysis.digests(),
            "dataset": {"identity": dataset.identity},
            "trials": len(trials),
            "states": {s.name.lower(): sum(t.state == s for t in trials) for s in TrialState if s.is_finished()},
            "best": {"trial": winner.number, "val_loss": final_loss(winner), "parameters": values(winner)},
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
    show_best(complete, shares, output)
    return Manifest.read(output, STAGE)
