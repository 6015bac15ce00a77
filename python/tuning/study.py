"""A search for hyperparameters in one file that many processes share, by Optuna (Akiba et al., arXiv:1907.10902).

Every process appends what it does to a journal, and all read the same order of events in it: no trial is lost or done
twice. A search has positions 0 to N - 1, each of which is filled by the first trial there that is not given up. A trial
is given up when its process says so, is dead on this host, or gives no sign of life for a while; its position is filled
before later ones, with the same random numbers and, where they had been drawn, the same parameters. So one process that
is interrupted goes on as if it had not been. Signs of life are lines in the journal too, and silence is measured by the
clock of the one who listens, so that neither hosts nor their clocks have to agree.
"""

from __future__ import annotations

import copy
import json
import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from ..config.change import change
from ..config.schema import Analysis
from ..config.search import Search, SearchParameter
from ..console import say
from ..errors import DataError, TrainingError, UserError
from ..provenance import fingerprint
from .owner import is_dead, this_process

BEAT = 20.0
"""Seconds between signs of life."""
SILENCE = 120.0
"""Seconds without one, after which a process counts as dead."""
MOST_DEATHS = 3
"""A trial whose process died so often has failed: its parameters may be what kills, by the memory they need, say."""
REDUCTION = 3
"""Of so many trials one is not pruned at each check."""
_REASON, _DIED, _BEAT, _MADE_FROM, _POSITION, _PROCESS = "reason", "died", "beat", "made_from", "position", "process"

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # before 5.0, of TPE with several processes


class Study:
    """The trials of a search, those of other processes among them.

    Parameters
    ----------
    path
        The journal.
    made_from
        What the search depends on, as plain JSON types; trials of anything else in the same journal are no part of it.
    search
        The block of the analysis file.
    space
        The distribution of each parameter (see :func:`search_space`).
    epochs
        Of a training that is not pruned.
    trials
        How many there shall be.
    """

    def __init__(
        self,
        path: Path,
        made_from: Any,
        search: Search,
        space: Mapping[str, BaseDistribution],
        epochs: int,
        trials: int,
    ) -> None:
        self._space = dict(space)
        self._most = trials
        self._seen: dict[int, _Seen] = {}
        with _damage_named(path):
            self._storage = _storage(path)
            self._study = optuna.create_study(
                storage=self._storage,
                sampler=_SeededSampler(search),
                pruner=_pruner(search.pruner, epochs),
                study_name=fingerprint(made_from),
                direction="minimize",
                load_if_exists=True,
            )
        self._study.set_user_attr(_MADE_FROM, made_from)
        self._id = self._storage.get_study_id_from_name(self._study.study_name)

    def claim(self) -> Trial | None:
        """Return a trial for this process to do; None when the rest is done or other processes are alive with it."""
        announced = False
        while True:
            self._give_up_dead()
            trial = self._next()
            if trial is not None:
                return trial
            silent = [number for number, seen in self._seen.items() if not seen.alive]
            if not silent:
                return None
            if not announced:
                announced = True
                numbers = ", ".join(map(str, silent))
                say(f"waits up to {SILENCE:.0f} s for a sign of life of the process that does trial {numbers}")
            time.sleep(BEAT / 10)

    def run(self, trial: Trial, objective: Callable[[Trial], float]) -> FrozenTrial | None:
        """Do a trial; None where another process has taken it, since this one was too long without a sign of life.

        ``objective`` returns the loss, or raises ``TrialPruned``, or a UserError or TrainingError where these
        parameters do not work. Whatever else it raises gives the trial up, and is raised.
        """
        with self._signs_of_life(trial):
            try:
                done = self._tell(trial.number, objective(trial))
            except optuna.TrialPruned:
                done = self._tell(trial.number, state=TrialState.PRUNED)
            except (UserError, TrainingError) as error:
                done = self._tell(trial.number, state=TrialState.FAIL, reason=str(error))
            except optuna.exceptions.UpdateFinishedTrialError:
                done = False
            except BaseException:
                self._give_up(trial.number)
                raise
        return _at_position(self._all()[trial.number]) if done else None

    def trials(self) -> list[FrozenTrial]:
        """Return the trials that are finished: complete, pruned or failed; their numbers are their positions."""
        filled = sorted(self._filled().items())
        return [_at_position(trial) for _, trial in filled if trial.state.is_finished()]

    def importance(self, seed: int) -> dict[str, float]:
        """Return the share of each parameter in the variance of the loss of all complete trials (fANOVA).

        Empty where fewer than 4 are complete, or all have the same loss. Source: Hutter, Hoos, Leyton-Brown, ICML 2014.
        """
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        if len({trial.value for trial in complete}) < 4:
            return {}
        by_position = optuna.create_study()
        by_position.add_trials(complete)
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
        return optuna.importance.get_param_importances(by_position, evaluator=evaluator)

    def _next(self) -> Trial | None:
        """Begin the trial of the first position that is free, unless none is."""
        while True:
            filled = self._filled()
            position = next((i for i in range(self._most) if i not in filled), None)
            if position is None:
                return None
            trial = self._begin(position)
            if self._filled()[position].number == trial.number:
                return trial
            self._tell(trial.number, state=TrialState.FAIL)  # another process was faster

    def _begin(self, position: int) -> Trial:
        """Write a trial into the journal, its process in the same line, and draw its parameters.

        Those of an earlier trial at this position are taken, unless its process died before it had drawn all of them.
        """
        earlier = (t.params for t in reversed(self._all()) if _position(t) == position)
        params = next((p for p in earlier if p.keys() == self._space.keys()), {})
        template = create_trial(
            state=TrialState.RUNNING,
            user_attrs={_POSITION: position, _PROCESS: this_process()},
            system_attrs={"fixed_params": params},
        )
        trial_id = self._storage.create_new_trial(self._id, template)
        number = self._storage.get_trial_number_from_id(trial_id)
        try:
            trial = Trial(self._study, trial_id)
            for name, distribution in self._space.items():
                trial._suggest(name, distribution)  # as Study.ask does
        except BaseException:
            self._give_up(number)
            raise
        return trial

    def _filled(self) -> dict[int, FrozenTrial]:
        """Return the trial that fills each position: the first one in the journal that is not given up."""
        filled: dict[int, FrozenTrial] = {}
        for trial in filter(_counts, self._all()):
            filled.setdefault(_position(trial), trial)
        return {position: trial for position, trial in filled.items() if position < self._most}

    def _give_up_dead(self) -> None:
        """Give up the trials whose process is dead, or has given no sign of life for long."""
        now = time.monotonic()
        running = {trial.number: trial for trial in self._all() if trial.state == TrialState.RUNNING}
        self._seen = {number: self._seen.get(number, _Seen(_sign(t), now)) for number, t in running.items()}
        for number, trial in running.items():
            if _sign(trial) != self._seen[number].sign:
                self._seen[number] = _Seen(_sign(trial), now, alive=True)
            elif now - self._seen[number].since > SILENCE or is_dead(_process(trial)):
                del self._seen[number]
                self._bury(trial)

    def _bury(self, trial: FrozenTrial) -> None:
        """Give up a trial whose process is dead, unless too many have died at its position."""
        position = _position(trial)
        died = [t for t in self._all() if _position(t) == position and _DIED in t.user_attrs and not _counts(t)]
        if len(died) + 1 < MOST_DEATHS:
            say(f"trial {position}: its process on {_process(trial)[0]} is dead: it is done again")
            self._give_up(trial.number, died=True)
        else:
            reason = f"{len(died) + 1} processes that did it died: it may need too much memory"
            self._tell(trial.number, state=TrialState.FAIL, reason=reason)

    def _give_up(self, number: int, *, died: bool = False) -> None:
        """Take a trial out of the search, so that its position is filled again."""
        self._tell(number, state=TrialState.FAIL, **{_DIED: True} if died else {})

    def _tell(
        self, number: int, value: float | None = None, state: TrialState | None = None, **attributes: Any
    ) -> bool:
        """Finish a trial; False where another process has done so: the first one in the journal is right."""
        try:
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
            for name, attribute in attributes.items():
                self._storage.set_trial_user_attr(trial_id, name, attribute)
            self._study.tell(number, value, state)
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError):
            return False
        return True

    def _all(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    @contextmanager
    def _signs_of_life(self, trial: Trial) -> Iterator[None]:
        """Write one now and then from a thread."""
        done = threading.Event()

        def beat() -> None:
            count = 0
            while not done.wait(BEAT):
                count += 1
                try:
                    trial.set_user_attr(_BEAT, count)
                except OSError:  # of a network file system, say; the next one may succeed
                    continue
                except optuna.exceptions.UpdateFinishedTrialError:
                    return

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def search_space(analysis: Analysis, search: Search) -> dict[str, BaseDistribution]:
    """Return the distribution of each parameter; a choice stands for itself as JSON.

    Raises
    ------
    UserError
        When the analysis file has no such key, or one of the ends or choices does not fit there.
    """
    return {key: _distribution(analysis, key, parameter) for key, parameter in search.parameters.items()}


def values(trial: Trial | FrozenTrial) -> dict[str, Any]:
    """Return the value of each parameter of a trial, by key path."""
    return {
        key: json.loads(value) if isinstance(trial.distributions[key], CategoricalDistribution) else value
        for key, value in trial.params.items()
    }


def searches(path: Path) -> list[Any]:
    """Return what each search in a journal was made from, in order; nothing where there is no journal."""
    if not path.exists():
        return []
    with _damage_named(path):
        summaries = optuna.get_all_study_summaries(_storage(path), include_best_trial=False)
    return [study.user_attrs[_MADE_FROM] for study in summaries if _MADE_FROM in study.user_attrs]


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Say of a journal that Optuna cannot read what helps."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, AssertionError) as error:
        raise DataError(
            f"{path}: is damaged ({type(error).__name__}: {error}): restore it, or remove it to begin the search anew"
        ) from error


@dataclass(frozen=True)
class _Seen:
    """The last sign of life of a trial, and when it was noticed; ``alive`` once it has changed."""

    sign: tuple[Any, ...]
    since: float
    alive: bool = False


class _SeededSampler(BaseSampler):
    """Gives each trial random numbers of its own: they follow from the seed and its position.

    So processes do not propose the same, and a search goes on as if it had not been interrupted.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._own = self._make(0)

    def _make(self, position: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self._search.seed, position]).generate_state(1)[0])
        if self._search.sampler == "random":
            return RandomSampler(seed)
        return TPESampler(seed=seed, constant_liar=True)  # keeps away from what other processes are trying

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._own = self._make(_position(trial))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._own.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._own.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._own.sample_independent(study, trial, param_name, param_distribution)


class _Asha(SuccessiveHalvingPruner):
    """Does not compare with trials that were given up: done again, they would compete with themselves."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return super().prune(_CountedTrials(study), trial)  # type: ignore[arg-type]


class _CountedTrials:
    """What successive halving reads of a study, without the trials that were given up."""

    def __init__(self, study: optuna.Study) -> None:
        self._study, self._storage, self.direction = study, study._storage, study.direction

    def get_trials(self, deepcopy: bool = True) -> list[FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=deepcopy) if _counts(trial)]


class _Hyperband(HyperbandPruner):
    """Sorts trials into brackets by their positions, and those that were given up into none."""

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        return super()._get_bracket_id(study, _at_position(trial)) if _counts(trial) else -1


class _MendingLock(JournalFileOpenLock):
    """The lock of the journal: a file that only one process can create, even on NFS and AFS; stale after 30 s.

    The other one that Optuna has, a symbolic link to the journal, hangs for good when its owner was killed and the
    folder is mounted elsewhere. What a process that was killed, or a full disk, has left of a line is cut off, since
    the next line would be joined to it and nobody could read the journal any more.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._journal = path

    def acquire(self) -> bool:
        acquired = super().acquire()
        try:
            with open(self._journal, "rb+") as file:  # noqa: PTH123 — Optuna's own type
                _cut_partial_line(file)
        except BaseException:
            self.release()
            raise
        return acquired


def _cut_partial_line(file: Any) -> None:
    size = file.seek(0, os.SEEK_END)
    end = size
    while end:
        start = max(0, end - 4096)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        file.truncate(end)


def _storage(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path), _MendingLock(str(path))))


def _pruner(name: str, epochs: int) -> BasePruner:
    """Make a pruner that looks after a ninth and after a third of the epochs."""
    first = math.ceil(epochs / REDUCTION**2)
    if name == "asha":
        return _Asha(min_resource=first, reduction_factor=REDUCTION)
    if name == "hyperband":
        return _Hyperband(min_resource=first, max_resource=epochs, reduction_factor=REDUCTION)
    return NopPruner()


def _distribution(analysis: Analysis, key: str, parameter: SearchParameter) -> BaseDistribution:
    def check(*tried: Any) -> None:
        for value in tried:
            change(analysis, {key: value}, f"search.parameters.{key}")

    if parameter.choices is not None:
        check(*parameter.choices)
        return CategoricalDistribution([json.dumps(choice) for choice in parameter.choices])
    low, high, step = parameter.low, parameter.high, parameter.step
    assert low is not None and high is not None  # noqa: S101 — SearchParameter has seen to it
    if step is not None:
        high = low + math.floor((high - low) / step + 1e-9) * step
    check(low, high)
    if all(isinstance(number, int) for number in (low, high, step or 1)) and not _takes_fractions(analysis, key, low):
        return IntDistribution(int(low), int(high), parameter.log, int(step or 1))
    check(low + (high - low) / math.pi if step is None else low + step)
    return FloatDistribution(low, high, parameter.log, step)


def _takes_fractions(analysis: Analysis, key: str, low: float) -> bool:
    """Whether a key that takes ``low`` takes fractions, too; of options that are not ours only their authors know."""
    block, _, option = key.partition(".")
    free = block == "model" and option.partition(".")[0] not in type(analysis.model).model_fields
    if free or key.startswith("model.options."):
        return False
    try:
        change(analysis, {key: low + 0.5}, key)
    except UserError:
        return False
    return True


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial belongs to the search: one that failed for no reason of its own was given up."""
    return trial.state != TrialState.FAIL or _REASON in trial.user_attrs


def _position(trial: FrozenTrial) -> int:
    """Return the position of a trial in the search."""
    return int(trial.user_attrs.get(_POSITION, trial.number))


def _at_position(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial under the number of its position, which does not depend on interruptions."""
    numbered = copy.copy(trial)
    numbered.number = _position(trial)
    return numbered


def _process(trial: FrozenTrial) -> list[str]:
    """Return the name of the process that does a trial (see :func:`.owner.this_process`)."""
    return list(trial.user_attrs.get(_PROCESS, ["an unknown host"]))


def _sign(trial: FrozenTrial) -> tuple[Any, ...]:
    return trial.user_attrs.get(_BEAT), trial.last_step
