"""A real HTCondor pool on loopback, from what `.ci/pool` fetched; also by hand: python test/batch/pool.py FOLDER."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE.parents[1] / ".pool"
EXPECTED = "NANOFORGE_TEST_POOL"
"""Set where the programs must be there (.ci/run): without them the tests fail instead of being skipped."""


def require_program(name: str) -> str:
    """Return the path of a program of ``.pool/bin``; skip the test without it, or fail where it is expected."""
    program = PROGRAMS / "bin" / name
    if (PROGRAMS / "ready").exists() and program.exists():
        return str(program)
    if os.environ.get(EXPECTED):
        pytest.fail(f"{EXPECTED} is set, but {program} is not there")
    pytest.skip(f"no {name}: .ci/pool fetches it")


class Pool:
    """A personal pool; ``environment`` is that of the commands that talk to it."""

    def __init__(self, folder: Path) -> None:
        for name in ("log", "spool", "execute", "lock", "run"):
            (folder / name).mkdir(parents=True)
        config = folder / "condor_config"
        config.write_text(
            f"RELEASE_DIR = {PROGRAMS / 'root' / 'usr'}\nLOCAL_DIR = {folder}\ninclude : {HERE / 'condor_config'}\n"
        )
        plugin = folder / "xrdcp_plugin"
        plugin.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "xrdcp_plugin.py"} "$@"\n')
        plugin.chmod(0o755)
        self.environment = {
            "CONDOR_CONFIG": str(config),
            "PATH": f"{PROGRAMS / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }
        self._log = (folder / "log" / "start").open("w")
        self.master = subprocess.Popen(
            ["condor_master", "-f"], env=os.environ | self.environment, stdout=self._log, stderr=self._log
        )

    def wait_until_ready(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.run("condor_status", "-schedd", "-af", "Name", check=False).stdout or not self.slots():
            if time.monotonic() > end or self.master.poll() is not None:
                raise RuntimeError(f"the pool does not start, see {self._log.name}")
            time.sleep(0.2)

    def run(self, *command: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done

    def slots(self) -> list[str]:
        return self.run("condor_status", "-af", "Name", check=False).stdout.split()

    def stop(self) -> None:
        self.master.send_signal(signal.SIGQUIT)  # at once: jobs that still run are killed
        self.master.wait(60)
        self._log.close()


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """Start a pool, skipped without `.ci/pool`; its commands need ``pool.environment``."""
    require_program("condor_master")
    folder = Path(tempfile.mkdtemp(prefix="pool"))  # short: the names of sockets are
    pool = Pool(folder)
    try:
        pool.wait_until_ready()
        yield pool
    finally:
        pool.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    by_hand = Pool(Path(sys.argv[1]).resolve())
    try:
        by_hand.wait_until_ready()
        print(*(f"export {name}={value}" for name, value in by_hand.environment.items()), sep="\n", flush=True)
        by_hand.master.wait()
    finally:
        by_hand.stop()
