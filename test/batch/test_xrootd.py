"""Inputs over XRootD, from real servers that die while they are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
import uproot
import yaml
from compare import assert_same_files
from nanoforge.config import load
from nanoforge.errors import FileError
from nanoforge.events.checksums import verify
from nanoforge.events.files import ListedFile
from nanoforge.provenance.manifest import adler32
from nanoforge.stages.convert import convert
from nanoforge.stages.predict import predict
from nanoforge.stages.train import train
from xrootd_server import IMPATIENT, DyingServer, Server

FILES = ("/store/mc/signal-0.root", "/store/mc/signal-1.root", "/store/mc/background.root")
EVENTS = 3000
LATE = 150_000
"""Bytes: a server that dies after them has sent a part of a file's events, but not all."""

Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a file system with files under /store."""
    root = tmp_path_factory.mktemp("store")
    (root / "store" / "mc").mkdir(parents=True)
    for i, name in enumerate(FILES):
        events = toys.nano_events(EVENTS, "signal" in name, seed=i)
        toys.write(Path(f"{root}{name}"), events, basket=100)
    return root


@pytest.fixture
def serve(store: Path, tmp_path: Path) -> Iterator[Serve]:
    """Start a server of a folder; all of them end with the test."""
    servers = []

    def start(folder: Path = store) -> Server:
        servers.append(Server(folder, tmp_path / f"server{len(servers)}"))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def nanoforge(*words: Any, expect: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "nanoforge", *map(str, words)],
        env=os.environ | IMPATIENT | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def write_analysis(folder: Path, prefix: str, **changes: Any) -> Path:
    content = {
        "name": "tt",
        "samples": {
            "signal": {"files": [prefix + FILES[0], prefix + FILES[1]], "label": "signal"},
            "background": {"files": prefix + FILES[2], "label": "background"},
        },
        "inputs": {"jets": {"collection": "Jet", "length": 4, "features": ["pt", "btagDeepFlavB"]}},
        "keep": ["event", "MET_pt"],
        "model": {"type": "deepsets", "constituent": [4], "hidden": [4]},
        "training": {"epochs": 1},
    }
    folder.mkdir(exist_ok=True)
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return path


def books(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())["accounting"]


def friends(path: Path) -> dict[str, np.ndarray]:
    with uproot.open(path) as file:
        return file["Events"].arrays(library="np")


@pytest.fixture(scope="module")
def local(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a dataset, a run and friends that were made from the same files on disk."""
    folder = tmp_path_factory.mktemp("local")
    path = write_analysis(folder, str(store))
    analysis = load(path)
    convert(analysis, folder / "dataset")
    train(analysis, folder / "dataset", folder / "run")
    predict(folder / "run", [f"{store}{name}" for name in FILES], folder / "friends")
    return folder


def test_inspect_goes_on_at_the_next_server(store: Path, serve: Serve) -> None:
    def ranges(name: str, **variables: str) -> dict[str, Any]:
        answer = json.loads(nanoforge("inspect", "--ranges", "--json", name, **variables).stdout)
        return answer[0] | {"file": None, "bytes": None}

    dying = DyingServer(serve(), LATE)
    redirectors = f"root://127.0.0.1:1/ {dying.address} {serve().address}"
    pattern = FILES[0].replace("-0", "-0*")
    assert ranges(pattern, NANOFORGE_REDIRECTORS=redirectors) == ranges(f"{store}{FILES[0]}")
    assert dying.is_dead


def test_convert_goes_on_at_the_next_server(tmp_path: Path, local: Path, serve: Serve) -> None:
    dying = DyingServer(serve(), LATE)
    path = write_analysis(tmp_path / "served", "", redirectors=[dying.address, serve().address])
    nanoforge("convert", path, "-o", tmp_path / "dataset")
    assert dying.is_dead
    assert_same_files(tmp_path / "dataset", local / "dataset", "*.h5")
    assert books(tmp_path / "dataset") == books(local / "dataset")
    said = nanoforge("convert", path, "-o", tmp_path / "dataset", "redirectors=[root://127.0.0.1:1/]")
    assert "is up to date" in said.stdout + said.stderr  # where a file is read from is no part of what it is


def test_predict_goes_on_at_the_next_server(tmp_path: Path, local: Path, serve: Serve) -> None:
    dying = DyingServer(serve(), LATE)
    redirectors = f"{dying.address} {serve().address}"
    nanoforge("predict", local / "run", *FILES, "-o", tmp_path / "friends", NANOFORGE_REDIRECTORS=redirectors)
    assert dying.is_dead
    assert books(tmp_path / "friends") == books(local / "friends")
    for name in FILES:
        mine, yours = (friends(folder / "friends" / Path(name).name) for folder in (tmp_path, local))
        assert len(mine["event"]) == EVENTS
        for column, values in mine.items():
            np.testing.assert_array_equal(values, yours[column], err_msg=column)


def test_a_file_that_no_server_delivers_whole_is_lost_and_named(tmp_path: Path, serve: Serve) -> None:
    servers = [DyingServer(serve(), LATE).address for _ in range(2)]
    path = write_analysis(tmp_path / "served", "", redirectors=servers)
    failed = nanoforge("convert", path, "-o", tmp_path / "dataset", expect=1)
    assert failed.stderr.startswith(f"error: {FILES[0]}: cannot be read from {servers[0]} (")
    assert f"; nor from {servers[1]} (" in failed.stderr and "XRD_CONNECTIONWINDOW=1 s" in failed.stderr
    assert not (tmp_path / "dataset").exists()


def test_lost_files_are_counted(tmp_path: Path, local: Path, store: Path, serve: Serve) -> None:
    dying, alive = DyingServer(serve(), LATE), tmp_path / "alive"
    (alive / "store" / "mc").mkdir(parents=True)
    for name in FILES[1:]:
        Path(f"{alive}{name}").symlink_to(f"{store}{name}")
    path = write_analysis(tmp_path / "served", "", redirectors=[dying.address, serve(alive).address])
    nanoforge("convert", path, "-o", tmp_path / "dataset", "--skip-bad-files")
    found = books(tmp_path / "dataset")
    assert [(lost["file"], lost["entries"]) for lost in found["lost"]] == [(FILES[0], EVENTS)]
    assert "no such file" in found["lost"][0]["reason"]  # the second server's answer
    assert found["events"]["read"] == 3 * EVENTS and found["events"]["used"] == 2 * EVENTS


def test_no_entry_twice_and_none_lost(tmp_path: Path, store: Path, serve: Serve) -> None:
    """The server dies after any number of bytes: the chunks are the same."""
    script = """
import sys, numpy as np
from nanoforge.events.open import open_events
with open_events(sys.argv[1], "Events", sys.argv[2:]) as file:
    chunks = list(file.chunks(["event", "Jet_pt"], step=200))
    np.savez(sys.stdout.buffer, starts=[c.start for c in chunks],
             **{n: np.concatenate([c.columns[n].content for c in chunks]) for n in ("event", "Jet_pt")})
"""

    def read(name: str, *redirectors: str) -> dict[str, np.ndarray]:
        target = tmp_path / "read.npz"
        with target.open("wb") as out:
            command = [sys.executable, "-c", script, name, *redirectors]
            subprocess.run(command, env=os.environ | IMPATIENT, stdout=out, check=True, timeout=60)
        return dict(np.load(target))

    expected = read(f"{store}{FILES[0]}")
    assert len(expected["event"]) == EVENTS and len(expected["starts"]) > 10
    whole = serve()
    size = Path(f"{store}{FILES[0]}").stat().st_size
    for after in np.random.default_rng(1).integers(1000, size // 2, 4):
        found = read(FILES[0], DyingServer(serve(), int(after)).address, whole.address)
        assert all(np.array_equal(found[name], values) for name, values in expected.items()), after


def test_a_truncated_copy_is_passed_over(tmp_path: Path, store: Path, serve: Serve) -> None:
    (tmp_path / "bad" / "store" / "mc").mkdir(parents=True)
    content = Path(f"{store}{FILES[0]}").read_bytes()
    Path(f"{tmp_path}/bad{FILES[0]}").write_bytes(content[: len(content) // 2])
    redirectors = f"{serve(tmp_path / 'bad').address} {serve().address}"
    answer = json.loads(nanoforge("inspect", "--json", FILES[0], NANOFORGE_REDIRECTORS=redirectors).stdout)
    assert answer[0]["trees"][0]["entries"] == EVENTS


def test_another_file_under_the_same_name_does_not_go_on(tmp_path: Path, store: Path, serve: Serve) -> None:
    (tmp_path / "bad" / "store" / "mc").mkdir(parents=True)
    toys.write(Path(f"{tmp_path}/bad{FILES[0]}"), toys.nano_events(EVENTS, seed=7), basket=100)
    redirectors = f"{DyingServer(serve(), LATE).address} {serve(tmp_path / 'bad').address}"
    failed = nanoforge("inspect", "--ranges", FILES[0], expect=1, NANOFORGE_REDIRECTORS=redirectors)
    assert "another file" in failed.stderr


def test_the_server_is_asked_for_a_checksum(store: Path, serve: Serve) -> None:
    """The checksum that a list of files gives is compared with that of the server, before any event is read."""
    server = serve()
    right = adler32(Path(f"{store}{FILES[0]}"))
    verify(ListedFile(FILES[0], right), [server.address])
    with pytest.raises(FileError, match=rf"its checksum \(adler32\) is {right}, but the list of files says 00000bad"):
        verify(ListedFile(FILES[0], "bad"), [server.address])
