"""A training that was killed goes on to the same weights, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from datasets import write_dataset
from fitting import make_fit, options, run
from killed import MOMENTS, train_and_die
from nanoforge.errors import DataError, UserError
from nanoforge.stages import train as stage
from nanoforge.stages.train import train
from nanoforge.training.fit import Fit

SCHEDULES = ["constant", "cosine", "one_cycle", "plateau"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("plain") / "data", options())


@pytest.fixture(scope="module")
def killed(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("killed")
    train_and_die(data, folder, SCHEDULES)
    return folder


def same(left, right):
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_killed_training_ends_with_the_same_weights(schedule, data, killed, tmp_path, monkeypatch):
    analysis = options(schedule=schedule)
    weights, history = run(analysis, data, tmp_path)
    steps = []
    original = Fit._step
    monkeypatch.setattr(Fit, "_step", lambda self, *a: steps.append(a[1:]) or original(self, *a))
    for moment, first in zip(MOMENTS, ((2, 1), (2, 5), (3, 1))):
        steps.clear()
        resumed, resumed_history = run(analysis, data, killed / schedule / moment)
        assert steps[0] == first and steps[-1] == (3, 8)
        assert same(weights, resumed), moment
        assert [replace(e, seconds=0) for e in resumed_history] == [replace(e, seconds=0) for e in history]
        last, other = (torch.load(f / "last.ckpt")["parts"] for f in (killed / schedule / moment, tmp_path))
        assert all(
            torch.equal(values[name], other["optimizer"]["state"][number][name])
            for number, values in last["optimizer"]["state"].items()
            for name in values
        )


@pytest.fixture
def quick(monkeypatch):
    """Leave out what takes seconds and is tested elsewhere: the export and MLflow."""
    monkeypatch.setattr(stage, "export_onnx", lambda model, path, metadata: path.write_text("graph"))
    monkeypatch.setattr(stage, "log_training", lambda *_: {})


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_more_epochs_go_on_after_a_finished_training_as_if_they_had_been_wanted(schedule, data, tmp_path, quick):
    short, long = (options(schedule=schedule, epochs=epochs) for epochs in (2, 4))
    train(short, data, tmp_path / "run")
    train(long, data, tmp_path / "run")
    train(long, data, tmp_path / "whole")
    lines = [(tmp_path / run / "fold0" / "history.csv").read_text().splitlines() for run in ("run", "whole")]
    assert [line.split(",")[:4] for line in lines[0]] == [line.split(",")[:4] for line in lines[1]] and len(
        lines[0]
    ) == 5
    last = [torch.load(tmp_path / run / "fold0" / "checkpoints" / "last.ckpt") for run in ("run", "whole")]
    assert same(*(content["parts"]["model"] for content in last))
    assert same(*(torch.load(tmp_path / run / "fold0" / "model.pt")["state"] for run in ("run", "whole")))
    with pytest.raises(UserError, match="holds a finished result"):
        train(short, data, tmp_path / "run")
    train(options(schedule=schedule, epochs=4, workers=3), data, tmp_path / "run")  # up to date


def test_more_epochs_that_would_have_had_other_learning_rates_are_refused(data, tmp_path, quick):
    for schedule in ("cosine", {"type": "constant", "warmup": 0.1}):
        train(options(schedule=schedule, epochs=1), data, tmp_path / "run", force=True)
        with pytest.raises(
            UserError, match=r"run: trained for 1 epochs.*depends on their number.*another -o.*init\.run"
        ):
            train(options(schedule=schedule, epochs=2), data, tmp_path / "run")
    with pytest.raises(UserError, match="holds a finished result"):
        train(options(epochs=2, learning_rate=0.02), data, tmp_path / "run")


def test_more_patience_goes_on_where_it_had_ended(data, tmp_path, quick, monkeypatch, capsys):
    losses = iter([0.5, 0.6, 0.7, 0.4])
    monkeypatch.setattr(Fit, "_validate", lambda self, epoch: next(losses))
    train(options(epochs=3, patience=1), data, tmp_path / "run")
    train(options(epochs=4, patience=1), data, tmp_path / "run")
    assert "no better for 1 epochs (training.patience), stopped" in " ".join(capsys.readouterr().err.split())
    assert len((tmp_path / "run" / "fold0" / "history.csv").read_text().splitlines()) == 3
    train(options(epochs=4, patience=3), data, tmp_path / "run")
    assert len((tmp_path / "run" / "fold0" / "history.csv").read_text().splitlines()) == 5
    (tmp_path / "run" / "fold0" / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(UserError, match=r"last\.ckpt: is gone"):
        train(options(epochs=9, patience=3), data, tmp_path / "run")


def test_a_checkpoint_of_something_else_is_refused(data, tmp_path):
    run(options(epochs=1), data, tmp_path)
    with pytest.raises(DataError, match=r"last\.ckpt: a checkpoint of another configuration.*remove it"):
        make_fit(options(epochs=1, learning_rate=0.1), data, tmp_path).run()


@pytest.mark.parametrize("which", ["last", "best"])
def test_after_a_damaged_checkpoint_the_training_begins_again(data, tmp_path, capsys, which):
    """torch does not look at the checksums: a flipped bit of a weight would be trained on."""
    weights, _ = run(options(epochs=2), data, tmp_path)
    path = tmp_path / f"{which}.ckpt"
    whole, content = path.read_bytes(), torch.load(path)
    weight = max((content["parts"]["model"] if which == "last" else content).values(), key=torch.numel)
    for damaged in (_flipped(whole, whole.index(weight.numpy().tobytes()) + 2), whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        again, _ = run(options(epochs=2), data, tmp_path)
        assert f"{which}.ckpt: not a checkpoint" in capsys.readouterr().err
        assert same(weights, again)


def _flipped(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
