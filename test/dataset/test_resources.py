"""Threads that keep the order and stop when asked, files that are not shared, and memory."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
import time

import pytest
from nanoforge.dataset.resources import Handles, ahead, available_memory, cores, release_memory, threaded


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_little_is_done_ahead(workers):
    begun = []

    def double(item):
        begun.append(item)
        time.sleep(0.001 * (item % 3))
        return 2 * item

    for expected, result in zip(range(0, 60, 2), threaded(double, range(30), workers)):
        assert result == expected
        assert len(begun) <= expected // 2 + 1 + workers
    assert sorted(begun) == list(range(30))


def test_who_stops_early_waits_for_no_more_than_what_is_under_way():
    stop, seen = threading.Event(), []

    def wait(item):
        seen.append(item)
        return item == 0 or stop.wait(60)

    results = threaded(wait, range(100), 2, stop)
    assert next(results)
    results.close()
    assert stop.is_set() and len(seen) <= 3


def test_the_next_one_is_made_while_this_one_is_used():
    made = []
    items = ahead(made.append(i) or i for i in range(5))
    assert next(items) == 0
    assert any(len(made) == 2 or time.sleep(0.01) for _ in range(500))
    assert list(items) == [1, 2, 3, 4]


def test_the_first_error_in_order_is_raised():
    def fail(item):
        if item:
            raise ValueError(item)
        return item

    results = threaded(fail, range(5), 3)
    assert next(results) == 0
    with pytest.raises(ValueError, match="1"):
        next(results)


def test_files_are_used_by_one_at_a_time_and_few_stay_open():
    opened, closed = [], []
    handles = Handles(lambda key: opened.append(key) or [key], closed.append, most=2)
    with handles.use("a") as one, handles.use("a") as two:
        assert one is not two
    with handles.use("a") as again:
        assert again is one or again is two
    with handles.use("b"), handles.use("c"):
        pass
    assert opened == ["a", "a", "b", "c"] and closed == [["a"], ["a"]]
    with pytest.raises(ValueError, match="bad"), handles.use("b"):
        raise ValueError("bad")
    handles.close()
    assert sorted(closed) == [["a"], ["a"], ["b"], ["c"]]


def test_the_machine_is_plausible():
    assert 1 << 20 < available_memory() < 1 << 50
    assert cores() >= 1
    release_memory()


PAGES = """
import resource
import numpy as np
from nanoforge.dataset.resources import keep_memory
keep_memory()
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = np.empty(1 << 26, np.uint8)
    block[::4096] = 1
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_large_blocks_are_used_again():
    answer = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True)
    assert int(answer.stdout) < 1000, "of 16,384 pages"
