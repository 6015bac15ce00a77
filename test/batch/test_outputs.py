"""What counts as an output: not an exit code, but a manifest of these units and files of their sizes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest
from directories import make, write_part
from nanoforge.batch.outputs import LocalStore, Outputs, RemoteStore
from nanoforge.errors import DataError
from xrootd_server import IMPATIENT, Server


def look(directory):
    return Outputs(directory.plan, LocalStore(directory.parts)).survey()


def test_whole_part_has_no_problem(tmp_path):
    directory = make(tmp_path / "jobs")
    write_part(directory, 2, read=40, accounting={"events": {"read": 40}, "lost": [{"entries": 7}, {"entries": None}]})
    found = look(directory)
    assert found[2].problem is None
    assert (found[2].read, found[2].lost) == (40, 7)
    assert [found[i].absent for i in range(4)] == [True, True, False, True]


def test_job_without_events_is_done_too(tmp_path):
    directory = make(tmp_path / "jobs")
    write_part(directory, 0, read=0, outputs=[])
    assert look(directory)[0].problem is None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda part: (part / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda part: (part / "manifest.json").write_text("{"), "manifest.json is damaged"),
        (lambda part: (part / "manifest.json").write_text('["a"]'), "manifest.json is damaged"),
        (lambda part: (part / "shards" / "tt-00001.h5").unlink(), "tt-00001.h5 is missing"),
        (lambda part: (part / "shards" / "tt-00001.h5").write_bytes(b"ev"), "has 2 bytes of 6"),
    ],
)
def test_half_of_a_part_is_none(tmp_path, spoil, words):
    directory = make(tmp_path / "jobs")
    spoil(write_part(directory, 1))
    assert words in look(directory)[1].problem


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "skim part"},
        {"stage": "convert"},
        {"details": {}},
        {"details": {"part": {"sample": "tt", "first": 0, "last": 1}}},
        {"details": {"part": {"sample": "dy", "first": 1, "last": 1}}},
    ],
)
def test_part_of_something_else_does_not_count(tmp_path, changes):
    directory = make(tmp_path / "jobs")
    write_part(directory, 1, **changes)
    assert "something else" in look(directory)[1].problem


def test_stage_that_runs_as_a_whole_makes_no_part(tmp_path):
    directory = make(tmp_path / "jobs", count=1, stage="train")
    assert look(directory)[0].absent
    write_part(directory, 0)
    assert look(directory)[0].problem is None


def test_change_is_seen_at_the_next_look(tmp_path):
    directory = make(tmp_path / "jobs")
    outputs = Outputs(directory.plan, LocalStore(directory.parts))
    part = write_part(directory, 0)
    assert outputs.survey()[0].problem is None
    assert outputs.survey()[0].problem is None
    (part / "manifest.json").write_text("{}")
    assert outputs.survey()[0].problem is not None


def test_checksums_find_what_sizes_hide(tmp_path):
    directory = make(tmp_path / "jobs")
    write_part(directory, 0)
    (write_part(directory, 1) / "shards" / "tt-00001.h5").write_bytes(b"Events")
    outputs = Outputs(directory.plan, LocalStore(directory.parts))
    assert outputs.survey()[1].problem is None
    assert list(outputs.damaged()) == [1]
    outputs.store.set_aside("part-00001")
    assert outputs.survey()[1].absent
    assert next((directory.path / "parts-damaged").iterdir()).name.startswith("part-00001")


@pytest.fixture
def address(tmp_path, monkeypatch):
    """A folder on a real XRootD server."""
    for name, value in IMPATIENT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "eos").mkdir()
    server = Server(tmp_path / "eos", tmp_path / "server")
    yield f"{server.address}/toy-1"
    server.kill()


def test_two_tries_that_end_at_once_leave_one_whole_part(tmp_path):
    directory = make(tmp_path / "jobs", count=1)
    outputs = Outputs(directory.plan, LocalStore(directory.parts))
    tries = [write_part(make(tmp_path / f"try{i}", count=1), 0, content=bytes([i]) * 1000) for i in range(8)]
    with ThreadPoolExecutor(len(tries)) as threads:
        list(threads.map(outputs.store.receive, tries))
    assert [path.name for path in directory.parts.iterdir()] == ["part-00000"]
    assert outputs.survey()[0].problem is None
    assert outputs.damaged() == {}
    assert len(list((directory.path / "parts-damaged").iterdir())) == len(tries) - 1


def test_parts_on_a_server(tmp_path, address):
    directory = make(tmp_path / "jobs", parts=address)
    outputs = Outputs(directory.plan, RemoteStore(address))
    assert outputs.survey()[0].absent
    here = make(tmp_path / "here")
    for number in range(4):
        outputs.store.receive(write_part(here, number))
    shards = tmp_path / "eos" / "toy-1" / "part-00001" / "shards"
    (shards / "tt-00001.h5").unlink()
    (tmp_path / "eos" / "toy-1" / "part-00003" / "shards" / "tt-00003.h5").write_bytes(b"Events")
    found = outputs.survey()
    assert [found[i].problem for i in range(4)] == [None, "shards/tt-00001.h5 is missing", None, None]
    assert list(outputs.damaged()) == [3]
    outputs.store.set_aside("part-00003")
    assert outputs.survey()[3].absent
    outputs.store.receive(write_part(here, 0, content=b"a second try"))
    outputs.store.fetch("part-00000/shards/tt-00000.h5", tmp_path / "fetched" / "tt.h5")
    assert (tmp_path / "fetched" / "tt.h5").read_bytes() == b"a second try"
    assert len(list((tmp_path / "eos" / "toy-1-damaged").iterdir())) == 2


def test_server_that_does_not_answer_has_not_lost_the_parts(tmp_path, address):
    directory = make(tmp_path / "jobs", parts=address)
    nowhere = "root://127.0.0.1:1//toy-1"
    with pytest.raises(DataError, match="cannot be looked at"):
        Outputs(directory.plan, RemoteStore(nowhere)).survey()


def test_parts_at_an_address(tmp_path):
    """The twin of the test on a server, without one."""
    directory, here = make(tmp_path / "jobs", parts="memory://eos/toy-1"), make(tmp_path / "here")
    outputs = Outputs(directory.plan, RemoteStore("memory://eos/toy-1"))
    assert outputs.survey()[0].absent
    outputs.store.receive(write_part(here, 0))
    (write_part(here, 1) / "shards" / "tt-00001.h5").unlink()
    outputs.store.receive(here.parts / "part-00001")
    found = outputs.survey()
    assert [found[i].problem for i in range(3)] == [None, "shards/tt-00001.h5 is missing", "no output"]
    fsspec.filesystem("memory").rm("/eos", recursive=True)
