"""A search that processes share: each trial is done once, whatever happens to them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from datasets import make_analysis
from nanoforge.config.search import Search
from nanoforge.errors import DataError, TrainingError, UserError
from nanoforge.tuning import study as module
from nanoforge.tuning.study import search_space, searches, values
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState
from searching import open_study, work

RATE = "training.learning_rate"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(module, "BEAT", 0.05)
    monkeypatch.setattr(module, "SILENCE", 0.5)


def start(path, trials, seconds):
    script = Path(__file__).with_name("searching.py")
    return subprocess.Popen([sys.executable, script, path, str(trials), str(seconds)], stdout=subprocess.PIPE)


def tried(study):
    return [trial.params[RATE] for trial in study.trials()]


def space(**parameters):
    analysis = make_analysis(model={"type": "particletransformer"}, inputs=MOMENTA)
    return search_space(analysis, Search.model_validate({"parameters": parameters}))


MOMENTA = {"jets": {"collection": "Jet", "length": 4, "features": ["pt", "eta", "phi", "mass"]}}


def test_the_same_seed_proposes_the_same(tmp_path):
    for name, changes in (("a", {}), ("b", {}), ("c", {"seed": 2}), ("d", {"sampler": "random"})):
        assert work(open_study(tmp_path / name, 16, **changes)) == 16
    a, b, c, d = (tried(open_study(tmp_path / n, 16)) for n in "abcd")
    assert a == b and a != c and a[:5] != c[:5] and a != d


def test_a_search_that_was_interrupted_is_like_one_that_was_not(tmp_path):
    work(open_study(tmp_path / "whole", 14))

    def interrupt(trial):
        raise KeyboardInterrupt

    for trials in (3, 12, 13):
        study = open_study(tmp_path / "parts", trials)
        work(study)
        study = open_study(tmp_path / "parts", 14)
        with pytest.raises(KeyboardInterrupt):
            study.run(study.claim(), interrupt)
    assert work(open_study(tmp_path / "parts", 14)) == 1
    whole, parts = (open_study(tmp_path / name, 14) for name in ("whole", "parts"))
    assert tried(parts) == tried(whole) and len(tried(whole)) == 14


@pytest.fixture
def mortal(monkeypatch):
    """End the process at its n-th line of the journal, by a signal that it handles or not; return how many it wrote."""
    append = JournalFileBackend.append_logs

    def live(path, *, end=None, killed=False, **changes):
        lines = 0

        def counted(backend, logs):
            nonlocal lines
            lines += 1
            if killed and end is not None and lines > end:
                raise SystemExit
            append(backend, logs)
            if lines == end:
                raise KeyboardInterrupt

        name = [str(time.monotonic_ns())]
        monkeypatch.setattr(JournalFileBackend, "append_logs", counted)
        monkeypatch.setattr(module, "this_process", lambda: name)
        monkeypatch.setattr(module, "is_dead", lambda process: process != name)
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            search_pruned(open_study(path, 13, **changes))
        return lines

    monkeypatch.setattr("os.fsync", lambda _: None)  # these three only take time here
    monkeypatch.setattr(JournalFileOpenLock, "acquire", lambda lock: True)
    monkeypatch.setattr(JournalFileOpenLock, "release", lambda lock: None)
    return live


def search_pruned(study):
    def objective(trial):
        loss = abs(trial.params[RATE] - 0.01)
        for epoch in range(1, 10):
            trial.report(loss + 1 / epoch, epoch)
            if epoch < 9 and trial.should_prune():
                raise optuna.TrialPruned
        return loss

    while (trial := study.claim()) is not None:
        study.run(trial, objective)


def outcomes(study):
    return [(t.number, t.state.name, t.params, t.last_step, t.value) for t in study.trials()]


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("pruner", ["asha", "hyperband", "none"])
def test_a_search_that_ends_at_any_line_of_its_journal_goes_on_as_if_it_had_not(pruner, killed, mortal, tmp_path):
    lines = mortal(tmp_path / "whole", pruner=pruner)
    expected = outcomes(open_study(tmp_path / "whole", 13, pruner=pruner))
    assert [number for number, *_ in expected] == list(range(13))
    assert any(state == "PRUNED" for _, state, *_ in expected) == (pruner != "none")
    for first in (1, 2, 3, 5, 7, *range(11, lines, 29)):
        journal = tmp_path / f"{first}"
        mortal(journal, end=first, killed=killed, pruner=pruner)
        mortal(journal, end=1 + first % 7, killed=killed, pruner=pruner)
        mortal(journal, pruner=pruner)
        assert outcomes(open_study(journal, 13, pruner=pruner)) == expected, first


def test_processes_share_the_trials_exactly(tmp_path):
    workers = [start(tmp_path / "journal", 40, 0.01) for _ in range(2)]
    counts = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    study = open_study(tmp_path / "journal", 40)
    assert sum(counts) == 40 == len(study.trials())
    assert {trial.state for trial in study.trials()} == {TrialState.COMPLETE}
    assert len(set(tried(study))) == 40  # nobody tries what another has tried


def test_the_trial_of_a_killed_process_is_done_again(tmp_path, impatient):
    journal = tmp_path / "journal"
    worker = start(journal, 3, 1000)
    study = open_study(journal, 3)
    while not any(trial.params for trial in study._all()):
        assert worker.poll() is None
        time.sleep(0.02)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    killed = study._all()[0].params[RATE]
    assert work(study) == 3
    assert killed in tried(study) and len(study.trials()) == 3


def test_a_living_process_keeps_its_trial_and_is_not_waited_for(tmp_path, impatient):
    first, second = open_study(tmp_path / "journal", 2), open_study(tmp_path / "journal", 2)
    trial = first.claim()

    def objective(_):
        assert work(second, 0.8) == 1  # longer than the silence that makes a process dead
        return 1.0

    assert first.run(trial, objective).value == 1.0
    assert first.claim() is None and len(first.trials()) == 2


def test_who_comes_back_from_the_dead_has_lost_its_trial(tmp_path, impatient):
    first, second = open_study(tmp_path / "journal", 2), open_study(tmp_path / "journal", 2)
    trial = first.claim()  # and no sign of life
    assert work(second) == 2
    assert first.run(trial, lambda _: -1.0) is None
    assert first.claim() is None
    assert len(second.trials()) == 2 and min(t.value for t in second.trials()) >= 0


def test_a_trial_that_kills_again_and_again_has_failed(tmp_path, impatient):
    params = []
    for _ in range(module.MOST_DEATHS):
        params.append(open_study(tmp_path / "journal", 1).claim().params)
    study = open_study(tmp_path / "journal", 2)
    assert params == params[:1] * module.MOST_DEATHS
    assert work(study) == 1
    failed, complete = study.trials()
    assert (failed.state, complete.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert "died" in failed.user_attrs["reason"] and failed.params == params[0]


@pytest.mark.parametrize("error", [TrainingError, UserError])
def test_what_the_parameters_spoil_is_a_failed_trial(error, tmp_path):
    study = open_study(tmp_path / "journal", 2)

    def diverge(trial):
        raise error("the loss is nan")

    failed = study.run(study.claim(), diverge)
    assert failed.state == TrialState.FAIL and failed.user_attrs["reason"] == "the loss is nan"
    assert work(study) == 1
    assert [trial.state for trial in study.trials()] == [TrialState.FAIL, TrialState.COMPLETE]


def test_what_else_goes_wrong_ends_the_process_but_not_the_trial(tmp_path):
    study = open_study(tmp_path / "journal", 1)
    trial = study.claim()
    with pytest.raises(OSError, match="disk"):
        study.run(trial, lambda _: (_ for _ in ()).throw(OSError("disk")))
    assert not study.trials() and work(study) == 1
    assert tried(study) == [trial.params[RATE]]


def test_a_line_that_was_not_written_to_its_end_is_cut_off(tmp_path):
    journal = tmp_path / "journal"
    study = open_study(journal, 3)
    study.run(study.claim(), lambda _: 1.0)
    with journal.open("a") as file:
        file.write('{"op_code": 4, "worker_id": "kil')
    assert work(study) == 2
    again = open_study(journal, 3)
    assert len(again.trials()) == 3 and searches(journal) == [{"toy": 1}]
    assert journal.read_bytes().endswith(b"\n") and not list(tmp_path.glob("journal.*"))


def test_a_damaged_journal_is_named(tmp_path):
    journal = tmp_path / "journal"
    study = open_study(journal, 2)
    study.run(study.claim(), lambda _: 1.0)
    whole = journal.read_bytes()
    for damaged in (whole.replace(b",", b"+", 5), whole.replace(b'"op_code":0', b'"op_code":77')):
        journal.write_bytes(damaged)
        with pytest.raises(DataError, match=r"journal: is damaged .*remove it to begin the search anew"):
            open_study(journal, 2)
        with pytest.raises(DataError, match="is damaged"):
            searches(journal)


@pytest.mark.parametrize("pruner, pruned", [("asha", True), ("hyperband", True), ("none", False)])
def test_trials_that_lag_behind_are_pruned(pruner, pruned, tmp_path):
    study = open_study(tmp_path / "journal", 20, pruner=pruner)

    def objective(trial):
        loss = abs(trial.params[RATE] - 0.01)
        for epoch in range(1, 10):
            trial.report(loss + 1 / epoch, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss

    while (trial := study.claim()) is not None:
        study.run(trial, objective)
    lengths = {t.last_step for t in study.trials() if t.state == TrialState.PRUNED}
    assert bool(lengths) == pruned and lengths <= {1, 3, 9}


def test_the_schema_says_what_is_an_integer():
    found = space(
        **{
            "model.width": {"low": 32, "high": 250, "step": 32},
            "model.dropout": {"low": 0, "high": 0.5},
            "training.gradient_clip": {"low": 1, "high": 10},
            "training.batch_size": {"low": 10, "high": 1000, "log": True},
            "training.optimizer": {"choices": ["adamw", "sgd"]},
            "model.pairs": {"choices": [[8], [8, 8]]},
        }
    )
    kinds = {key: type(distribution).__name__.removesuffix("Distribution") for key, distribution in found.items()}
    assert kinds == {
        "model.width": "Int",
        "model.dropout": "Float",
        "training.gradient_clip": "Float",
        "training.batch_size": "Int",
        "training.optimizer": "Categorical",
        "model.pairs": "Categorical",
    }
    assert (found["model.width"].high, found["model.width"].step) == (224, 32)
    study = optuna.create_study()
    chosen = values(study.ask(found))
    assert chosen["model.pairs"] in ([8], [8, 8]) and chosen["training.optimizer"] in ("adamw", "sgd")


@pytest.mark.parametrize(
    "key, parameter, message",
    [
        ("training.learning_rat", {"low": 0.1, "high": 0.2}, "unknown key; did you mean 'learning_rate'"),
        ("training.learning_rate", {"low": 0, "high": 0.2}, "greater than 0"),
        ("model.dropout", {"low": 0.1, "high": 1.0}, "less than 1"),
        ("training.batch_size", {"low": 16.0, "high": 64.0}, "should be an integer"),
        ("training.optimizer", {"choices": ["adamw", "adam"]}, "'adamw', 'radam' or 'sgd'"),
        ("model.heads", {"low": 4, "high": 5}, "cannot be divided"),
        ("model.width.of", {"low": 4, "high": 5}, "should be an integer|no keys of its own"),
        ("model.hidden", {"choices": [[4], [8]]}, "unknown key"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(key, parameter, message):
    with pytest.raises(UserError, match=message) as caught:
        space(**{key: parameter})
    assert str(caught.value).startswith(f"search.parameters.{key}: ")
