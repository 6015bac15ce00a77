"""Worker processes end with the process that started them, however that ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

TEST = Path(__file__).parent


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGKILL, -9, ""),
        (signal.SIGTERM, 143, "ended (SIGTERM): earlier results are intact; the same command goes on where it was\n"),
        (signal.SIGINT, 130, "interrupted: earlier results are intact; the same command goes on where it was\n"),
    ],
)
def test_no_worker_outlives_its_parent(tmp_path: Path, number: int, code: int, words: str) -> None:
    """Only the parent is told, as by ``kill``; Ctrl-C tells all, see the tests of the conversion."""
    command = [sys.executable, str(TEST / "sleeping.py"), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(TEST)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as parent:
        files = [tmp_path / name for name in "ab"]
        wait_until(lambda: all(file.exists() and file.read_text() for file in files))
        workers = [int(file.read_text()) for file in files]
        parent.send_signal(number)
        _, said = parent.communicate(timeout=20)
        leaked = re.compile(
            r".*resource_tracker.*\n.*resource_tracker.*\n"
        )  # what SIGKILL left behind, Python tidies up
        assert (parent.returncode, leaked.sub("", said)) == (code, words)
    wait_until(lambda: not any(map(is_alive, workers)), 10)
    if number != signal.SIGKILL:
        assert [file.read_text() for file in files] == ["cleaned up"] * 2
