"""Who is known to be dead: only what has ended here."""

from __future__ import annotations

import os
import signal

import pytest
from nanoforge.tuning import owner
from nanoforge.tuning.owner import is_dead, this_process


def test_a_process_is_dead_once_it_has_ended():
    alive = this_process()
    pid = os.fork()
    if pid == 0:
        signal.pause()
    host, *scope, _, _ = alive
    child = [host, *scope, str(pid), owner._start(pid)]
    assert not is_dead(alive) and not is_dead(child)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert is_dead(child)
    assert is_dead([*alive[:-1], "1"])  # the same id, given to another process later


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nobody_knows_of_other_hosts_boots_and_containers(place):
    process = this_process()
    process[place] = "other"
    process[-2:] = ["4194305", "1"]
    assert not is_dead(process)


def test_without_proc_nobody_is_dead(monkeypatch, tmp_path):
    process = [*this_process()[:-1], "1"]
    monkeypatch.setattr(owner, "_PROC", tmp_path)
    assert len(this_process()) == 1 and not is_dead(process) and not is_dead(this_process())
    assert not is_dead(["an unknown host"])
