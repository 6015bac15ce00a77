"""Repeated events are counted exactly, for buckets of any size, and told from events that are numbered alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nanoforge.dataset import repeats
from nanoforge.dataset.inputs import ChosenRows
from nanoforge.dataset.repeats import EventHashes, Repeats, content_hashes, count_repeats
from nanoforge.errors import DataError

RNG = np.random.default_rng(1)


def stored(folder: Path, tables: list[tuple[str, np.ndarray]]) -> list[EventHashes]:
    """Write pairs (n, 2) of several input files one after the other into one file."""
    path, start, parts = folder / "all.events", 0, []
    with path.open("wb") as file:
        for number, (sample, pairs) in enumerate(tables):
            file.write(pairs.astype("<u8").tobytes())
            parts.append(EventHashes(sample, f"{number}.root", path, start, len(pairs)))
            start += len(pairs)
    return parts


def pairs(identity: np.ndarray, content: np.ndarray) -> np.ndarray:
    spread = np.uint64(0x9E3779B97F4A7C15)
    return np.stack([identity.astype("u8") * spread, content.astype("u8") * spread], axis=1)


@pytest.mark.parametrize("bucket", [1 << 23, 100, 7])
def test_counts_are_those_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: int) -> None:
    monkeypatch.setattr(repeats, "BUCKET", bucket)
    tables = []
    for sample in ("a", "a", "b", "c"):
        identity = RNG.integers(0, 300, 200)
        tables.append((sample, pairs(identity, 1000 * identity + RNG.integers(0, 3, 200))))
    found = count_repeats(stored(tmp_path, tables), tmp_path)
    seen = [(s, *map(int, pair)) for s, t in tables for pair in t]
    assert found.events == 800
    assert found.identities == 800 - len({a for _, a, _ in seen})
    assert found.copies == 800 - len({b for _, _, b in seen})
    assert found.between == len({(s, b) for s, _, b in seen}) - len({b for _, _, b in seen})
    assert len(found.sources) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["all.events"], "nothing is left behind"


def test_the_files_are_named(tmp_path: Path) -> None:
    number = np.arange(100)
    tables = [("a", pairs(number, number)), ("a", pairs(number + 200, number + 200)), ("b", pairs(number, number))]
    assert count_repeats(stored(tmp_path, tables), tmp_path) == Repeats(300, 100, 100, 100, ("0.root", "2.root"))
    tables[2] = ("b", pairs(number + 400, number + 400))
    tables[1] = ("a", np.concatenate([tables[1][1]] * 2))
    assert count_repeats(stored(tmp_path, tables), tmp_path) == Repeats(400, 100, 100, 0, ("1.root", "1.root"))


def test_nothing_repeats(tmp_path: Path) -> None:
    number = np.arange(100)
    assert count_repeats(stored(tmp_path, [("a", pairs(number, 0 * number))]), tmp_path) == Repeats(100)
    assert count_repeats([], tmp_path) == Repeats(0)


def test_damaged_hashes_are_named(tmp_path: Path) -> None:
    parts = stored(tmp_path, [("a", pairs(np.arange(10), np.arange(10)))])
    parts[0].path.write_bytes(parts[0].path.read_bytes()[:-1])
    with pytest.raises(DataError, match="is shorter"):
        count_repeats(parts, tmp_path)


def hashed(values: np.ndarray, events: np.ndarray, uuid: str = "0" * 32, **inputs: object) -> np.ndarray:
    rows = ChosenRows(np.arange(len(values)), events)
    return content_hashes({"event": values, **inputs}, rows, events.astype("u8"), uuid, events)


def test_content_tells_copies_from_events_that_are_numbered_alike() -> None:
    events = np.arange(100)
    values = RNG.normal(size=(100, 3)).astype("f4")
    one = hashed(values, events)
    np.testing.assert_array_equal(one[:, 0], events)
    np.testing.assert_array_equal(hashed(values.copy(), events, "1" * 32), one)
    other = values.copy()
    other[:50, 2] += 1
    assert ((hashed(other, events)[:, 1] == one[:, 1]) == (events >= 50)).all()
    round_numbers = np.round(values)
    assert not (hashed(round_numbers, events)[:, 1] == hashed(round_numbers, events, "1" * 32)[:, 1]).any()


def test_rows_of_an_event_are_one() -> None:
    events = np.array([3, 3, 3, 5, 9, 9])
    found = hashed(RNG.normal(size=(6, 2)).astype("f4"), events)
    assert found[:, 0].tolist() == [3, 5, 9] and len(np.unique(found[:, 1])) == 3
