"""``flat(a, b)``: numbers of events by a hash of their identity, the same wherever they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import toys
import yaml
from nanoforge.config.load import load
from nanoforge.config.schema import Analysis
from nanoforge.dataset.identity import assign
from nanoforge.dataset.open import open_dataset
from nanoforge.errors import UserError
from nanoforge.events.expressions import UNIFORM, parse
from nanoforge.events.hashing import event_hash
from nanoforge.events.open import open_events
from nanoforge.events.view import view

N = 4000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flat")
    event = np.arange(1, N + 1)
    identity = {
        "run": np.ones(N, "u4"),
        "luminosityBlock": (event // 100 + 1).astype("u4"),
        "event": event.astype("u8"),
    }
    x = np.random.default_rng(1).normal(size=N).astype("f4")
    toys.write(folder / "events.root", {**identity, "x": x})
    order = np.random.default_rng(2).permutation(N)
    toys.write(folder / "shuffled.root", {name: values[order] for name, values in {**identity, "x": x}.items()})
    toys.write(folder / "anonymous.root", {"x": x})
    return folder


def content(file: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": "t", "samples": {"s": {"files": file, "label": "s"}}, "inputs": {"event": {"features": ["x"]}},
        "target": {"regression": {"y": "where(x > 0, flat(-0.3, 0), flat(2, 4))"}}, **changes,
    }  # fmt: skip


def numbers(path: Path, **changes: Any) -> np.ndarray:
    """The column behind ``flat`` of all events of a file."""
    analysis = Analysis.model_validate(content(path.name, **changes))
    with open_events(str(path), "Events") as opened:
        file = view(opened, analysis)
        return np.concatenate([chunk.columns[UNIFORM].content for chunk in file.chunks([UNIFORM], 700)])


def test_numbers_are_uniform_and_independent_of_split_and_fold(folder: Path) -> None:
    drawn = numbers(folder / "events.root")
    bins = np.histogram(drawn, bins=20, range=(0, 1))[0]
    assert ((bins - N / 20) ** 2 / (N / 20)).sum() < 45  # 19 degrees of freedom, 99.9 %
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.06
    settings = Analysis.model_validate(content("a.root", split={"train": 0.5, "val": 0.5, "test": 0, "folds": 2}))
    columns = [np.ones(N), np.arange(1, N + 1) // 100 + 1, np.arange(1, N + 1)]
    for seed in (0, 1):
        hashes = event_hash(dict(zip("abc", columns)), "", np.arange(N), seed)
        for side in assign(hashes, settings.split):
            assert abs(drawn[side == 0].mean() - drawn[side != 0].mean()) < 0.035


def test_numbers_are_those_of_the_event_wherever_it_lies(folder: Path) -> None:
    drawn, elsewhere = numbers(folder / "events.root"), numbers(folder / "shuffled.root")
    assert np.array_equal(elsewhere, drawn[np.random.default_rng(2).permutation(N)])
    assert np.array_equal(drawn, numbers(folder / "events.root", split={"seed": 7}))


def test_files_without_identity_have_numbers_by_entry(folder: Path) -> None:
    drawn = numbers(folder / "anonymous.root")
    assert len(np.unique(drawn)) == N and drawn.min() >= 0 and drawn.max() < 1
    assert np.array_equal(drawn, numbers(folder / "anonymous.root"))


def test_convert_and_training_from_root_see_the_same(folder: Path, nanoforge: Any, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(content(str(folder / "events.root"))))
    assert nanoforge("convert", "a.yaml", "-o", "data").returncode == 0
    targets, events = [], []
    for side in ("train", "val", "test"):
        with h5py.File(tmp_path / "data" / f"{side}.h5") as file:
            targets.append(file["target/y"][:])
            events.append(file["id/event"][:])
            x = file["event/features"][:, 0]
            y = targets[-1]
            assert np.all(np.where(x > 0, (y >= -0.3) & (y <= 0), (y >= 2) & (y <= 4)))
    order = np.argsort(np.concatenate(events))
    y, drawn = np.concatenate(targets)[order], numbers(folder / "events.root")
    assert np.allclose(y, np.where(y < 1, -0.3 + 0.3 * drawn, 2 + 2 * drawn), atol=1e-6)
    analysis = load(tmp_path / "a.yaml")
    converted, streamed = open_dataset(tmp_path / "data"), open_dataset(analysis)
    (tmp_path / "run").mkdir()
    streamed.prepare(tmp_path / "run")
    for part in ("train", "test"):
        of_both = [np.sort(data.arrays(part, 0).targets.numpy().ravel()) for data in (converted, streamed)]
        np.testing.assert_array_equal(*of_both)


def test_flat_takes_two_numbers(folder: Path) -> None:
    with pytest.raises(UserError, match="calls flat with 1 argument, it takes 2"):
        parse("flat(1)")
    analysis = Analysis.model_validate(content("events.root", identity=["number"], define={"number": "event + 1"}))
    with (
        open_events(str(folder / "events.root"), "Events") as file,
        pytest.raises(UserError, match="number is no column"),
    ):
        view(file, analysis)
    assert parse("flat(1, 3)").evaluate({UNIFORM: np.array([0.0, 0.5])}).tolist() == [1.0, 2.0]
    assert "flat" not in parse("x + 1").names and UNIFORM not in parse("x + 1").names
