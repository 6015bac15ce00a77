"""The order of an epoch: every row once, all samples in proportion wherever one looks, shares that fit together."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from nanoforge.dataset import shuffling

slab_rows = st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=4)


def place(streams):
    """Number the slabs: their rows, and the streams of their numbers."""
    rows = [count for stream in streams for count in stream]
    edges = np.cumsum([0, *map(len, streams)])
    return rows, [list(range(a, b)) for a, b in zip(edges[:-1], edges[1:])]


def listed(pools):
    return [[(p.slab, row) for p in pool for row in range(p.start, p.stop)] for pool in pools]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5))
def test_the_merge_takes_every_stream_by_its_places(sizes):
    places = sorted(((2 * i + 1) / max(2 * n, 1), s) for s, n in enumerate(sizes) for i in range(n))
    for position in range(sum(sizes) + 1):
        counts = shuffling.merged(np.array(sizes), position)
        assert counts.tolist() == np.bincount([s for _, s in places[:position]], minlength=len(sizes)).tolist()


@given(slab_rows, st.integers(1, 20))
def test_pools_pass_every_row_once_and_in_proportion(streams, size):
    rows, numbers = place(streams)
    total = sum(rows)
    pools = listed(shuffling.pools(numbers, rows, (0, total), size))
    assert [len(pool) for pool in pools[:-1]] == [size] * (len(pools) - 1)
    assert sorted(row for pool in pools for row in pool) == [(s, i) for s, n in enumerate(rows) for i in range(n)]
    for stream, own in zip(streams, numbers):
        for pool in pools:
            found = sum(slab in own for slab, _ in pool)
            assert abs(found - len(pool) * sum(stream) / total) <= len(streams)


@settings(max_examples=50)
@given(slab_rows, st.integers(1, 4), st.booleans())
def test_shares_are_disjoint_and_make_up_the_whole(streams, world, even):
    rows, numbers = place(streams)
    shares = [shuffling.share(sum(rows), rank, world, even) for rank in range(world)]
    found = [[row for pool in listed(shuffling.pools(numbers, rows, share, 7)) for row in pool] for share in shares]
    sizes = [len(part) for part in found]
    assert max(sizes) - min(sizes) <= (0 if even else 1)
    everything = [row for part in found for row in part]
    assert len(set(everything)) == len(everything) >= sum(rows) - (world - 1 if even else 0)
    assert len(everything) == sum(rows) or even


def test_shuffling_keeps_the_slabs_of_a_sample_together_and_few_files_open():
    files = np.repeat(np.arange(12), 5)
    samples = (files >= 6).astype(int)
    streams = shuffling.shuffled(samples, files, 4, np.random.default_rng(1))
    assert [sorted(stream) for stream in streams] == [list(range(30)), list(range(30, 60))]
    for stream in streams:
        groups = [set(files[stream[i : i + 10]].tolist()) for i in (0, 10, 20)]
        assert [len(group) for group in groups] == [2, 2, 2]
    again = shuffling.shuffled(samples, files, 4, np.random.default_rng(2))
    assert again != streams == shuffling.shuffled(samples, files, 4, np.random.default_rng(1))
