"""The empty MLflow database that is kept among the user's caches."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from nanoforge.training import empty_database
from nanoforge.training.trackers.mlflow import _database


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[bytes]:
    """What MLflow was asked to make, with caches of our own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    databases: list[bytes] = []

    def make() -> bytes:
        databases.append(b"database %d" % len(databases))
        return databases[-1]

    monkeypatch.setattr(empty_database, "_made", make)
    return databases


def in_another_process() -> bytes:
    return empty_database.empty_database.__wrapped__()


def kept(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "caches" / "nanoforge").iterdir()
    return path


def test_it_is_made_once_for_all_processes(made: list[bytes], tmp_path: Path) -> None:
    assert in_another_process() == in_another_process() == b"database 0"
    assert len(made) == 1


def test_every_damaged_byte_is_noticed(made: list[bytes], tmp_path: Path) -> None:
    in_another_process()
    content = kept(tmp_path).read_bytes()
    for place in range(len(content)):
        kept(tmp_path).write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert in_another_process() == made[-1]
        assert len(made) == place + 2
    kept(tmp_path).write_bytes(content[:5])
    assert in_another_process() == made[-1] == b"database %d" % (len(made) - 1)


def test_another_version_of_mlflow_has_another(made: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    in_another_process()
    monkeypatch.setattr("mlflow.__version__", "99.0")
    assert in_another_process() == b"database 1"


def test_a_home_that_cannot_be_written_costs_time_only(made: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "caches").write_text("a file")
    assert [in_another_process(), in_another_process()] == [b"database 0", b"database 1"]


def test_mlflow_takes_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("nanoforge.training.trackers.mlflow.empty_database", in_another_process)
    for name in ("first.db", "second.db"):
        with _database(tmp_path / name) as client:
            client.create_experiment(name)
        with sqlite3.connect(tmp_path / name) as connection:
            names = [row[0] for row in connection.execute("SELECT name FROM experiments")]
        assert sorted(names) == sorted(["Default", name])


def test_a_full_shared_memory_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, where it has 64 MB, or none at all."""
    assert empty_database._has_room(str(tmp_path))
    assert not empty_database._has_room(str(tmp_path / "none"))
    monkeypatch.setattr(empty_database.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    assert not empty_database._has_room(str(tmp_path))
