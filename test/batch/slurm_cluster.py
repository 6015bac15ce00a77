"""A Slurm cluster of this one machine, from what `.ci/pool` fetched."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pool import PROGRAMS, require_program

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={other_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
PluginDir={root}/lib/x86_64-linux-gnu/slurm-wlm
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Cluster:
    """slurmctld and slurmd; ``environment`` is that of the commands that talk to them."""

    def __init__(self, folder: Path) -> None:
        root, host = PROGRAMS / "root" / "usr", socket.gethostname().partition(".")[0]
        (folder / "state").mkdir()
        (folder / "spool").mkdir()
        values = {"port": free_port(), "other_port": free_port(), "user": getpass.getuser(), "root": root}
        (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, folder=folder, **values))
        self.environment = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{PROGRAMS / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }
        step = str(root / "sbin" / "slurmstepd-wlm")
        self.daemons = [self._start(folder, "slurmctld", "-D", "-i")]
        self.daemons.append(self._start(folder, "slurmd", "-D", "-N", host, "-d", step))

    def _start(self, folder: Path, *command: str) -> subprocess.Popen:
        log = (folder / command[0]).open("w")
        return subprocess.Popen(command, env=os.environ | self.environment, stdout=log, stderr=log)

    def run(self, *command: str) -> str:
        answer = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        return answer.stdout

    def wait_until_ready(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while "idle" not in self.run("sinfo", "--noheader", "--format=%T"):
            assert time.monotonic() < end and all(d.poll() is None for d in self.daemons), "Slurm does not start"
            time.sleep(0.3)

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait(20)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    require_program("slurmctld")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    found = Cluster(folder)
    try:
        found.wait_until_ready()
        yield found
    finally:
        found.run("scancel", f"--user={getpass.getuser()}")
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)
