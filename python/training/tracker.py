"""What trackers are: they record trainings and evaluations, so that people can compare them."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..config.tracking import TRACKERS_PACKAGE, Tracking
from ..console import say
from ..dataset.source import TrainingData
from ..errors import UserError, first_line
from ..provenance.manifest import flat
from ..registry import Registry
from .history import Epoch

PARAMETERS = ("row", "inputs", "define", "select", "target", "weight", "lumi", "split", "model", "training")
KEY = "tracking.to"
MERITS = ("test/", "train/", "folds/", "importance/")


@dataclass(frozen=True)
class Trained:
    """What trackers are told of a training.

    Attributes
    ----------
    config
        The resolved analysis.
    dataset
        What the models were trained on.
    histories
        The epochs of each fold.
    sizes
        The number of parameters of each fold's model.
    files
        The files of the run that become artifacts, relative to the run directory.
    source
        The analysis file, where there is one.
    """

    config: dict[str, Any]
    dataset: TrainingData
    histories: list[list[Epoch]]
    sizes: list[int]
    files: list[str]
    source: Path | None

    @property
    def parameters(self) -> dict[str, str]:
        """The settings of the training as texts, by key path."""
        return dict(flat({key: self.config[key] for key in PARAMETERS}))

    def curves(self, fold: int) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield the number of each epoch of a fold and its numbers, ``val_loss`` say."""
        for epoch in self.histories[fold]:
            yield epoch.epoch, {k: v for k, v in asdict(epoch).items() if k != "epoch" and v is not None}


class RunTracker(ABC):
    """Records trainings and evaluations; the first line of a tracker's own docstring describes it.

    One is a file in the folder ``training/trackers``, an entry point of the group ``nanoforge.trackers``, or a class in
    a user's module (``tracking: {to: ["module:Class"]}``).

    Parameters
    ----------
    options
        The block ``tracking``.
    """

    package: ClassVar[str] = ""
    """What has to be installed; "" nothing."""
    extra: ClassVar[str] = ""
    """The extra of NanoForge that brings it."""

    def __init__(self, options: Tracking) -> None:
        self.options = options

    def check(self) -> None:
        """See that a record can be made, before the training.

        Raises
        ------
        UserError
            When it cannot.
        """
        if not self.installed:
            raise UserError(f"{KEY}: the package {self.package} is not here: pip install 'nanoforge[{self.extra}]'")

    @property
    def installed(self) -> bool:
        """Whether its package is."""
        return not self.package or importlib.util.find_spec(self.package) is not None

    @abstractmethod
    def log_training(self, work: Path, output: Path, trained: Trained) -> dict[str, str]:
        """Record a finished training.

        Parameters
        ----------
        work
            The folder to write to, with the files of the training.
        output
            Where that folder will be in the end.
        trained
            What there is to record.

        Returns
        -------
        dict
            By what an evaluation finds the record; empty where there is none.
        """

    @abstractmethod
    def log_evaluation(self, run: Path, link: Mapping[str, str], content: Mapping[str, Any], evaluation: Path) -> None:
        """Add an evaluation to the record, in place of an earlier one.

        Parameters
        ----------
        run
            The run directory.
        link
            What :meth:`log_training` returned.
        content
            What ``metrics.json`` holds.
        evaluation
            The directory of the evaluation.
        """


TRACKERS: Registry[RunTracker] = Registry("tracker", RunTracker, TRACKERS_PACKAGE)  # type: ignore[type-abstract]


def open_trackers(options: Tracking) -> dict[str, RunTracker]:
    """Return the trackers that an analysis asks for, by name, after :meth:`RunTracker.check`.

    Raises
    ------
    UserError
        When one is not installed or not ready.
    """
    trackers = {}
    for name in options.to:
        tracker = TRACKERS.load(name, KEY)(options)
        if not tracker.installed and options.model_dump() == Tracking().model_dump():
            say(f"note: {name} is not installed and records no run: pip install 'nanoforge[{tracker.extra}]'")
            continue
        tracker.check()
        trackers[name] = tracker
    return trackers


def log_training(trackers: Mapping[str, RunTracker], work: Path, output: Path, trained: Trained) -> dict[str, Any]:
    """Let all trackers record a training, and return by what each finds it; what fails is a warning."""
    links = {}
    for name, tracker in trackers.items():
        try:
            links[name] = tracker.log_training(work, output, trained)
        except Exception as error:  # they, servers and disks all have errors of their own
            say(f"warning: {name} has no record of this training ({type(error).__name__}: {first_line(error)})")
    return links


def log_evaluation(
    run: Path, options: Tracking, links: Mapping[str, Any], content: Mapping[str, Any], evaluation: Path
) -> None:
    """Let those that recorded a training add its evaluation, which is finished already: what fails is a warning."""
    for name in (name for name in options.to if links.get(name)):
        try:
            TRACKERS.load(name, KEY)(options).log_evaluation(run, links[name], content, evaluation)
        except Exception as error:  # see above
            reason = f"{type(error).__name__}: {first_line(error)}"
            say(f"warning: {name} has no record of the evaluation of {run} ({reason})")


def merits(content: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """List the figures of merit of an evaluation, e.g. ``test/auc.signal``, and their errors beside them."""
    parts = (content["test"], content["train"], content["spread"], content["importance"]["decrease"])
    for prefix, part in zip(MERITS, parts):
        for name, estimate in part.items():
            for suffix, value in (("", estimate["value"]), ("_error", estimate["error"])):
                if value is not None:
                    yield f"{prefix}{name}{suffix}", value
