"""How input files share shards."""

from __future__ import annotations

import pytest
from nanoforge.dataset.shards import shard_groups

MB = 1 << 20


@pytest.mark.parametrize(
    ("sizes", "shards"),
    [
        ([5000 * MB] * 3, 3),
        ([1] * 300, 8),
        ([MB] * 300, 8),
        ([64 * MB] * 20, 20),
        ([MB] * 2000, 31),
        ([2000 * MB] * 500, 32),
        ([None] * 500, 32),
        ([None, 1, *[None] * 9], 11),
        ([4000 * MB, *[1] * 99], 32),
        ([0] * 9, 8),
        ([], 0),
    ],
)
def test_every_file_is_in_one_of_a_bounded_number_of_shards(sizes: list[int | None], shards: int) -> None:
    groups = shard_groups(sizes)
    assert [i for group in groups for i in group] == list(range(len(sizes)))
    assert 0 < len(groups) <= shards or not sizes
    if len(set(sizes)) == 1:
        assert len(groups) == shards
        lengths = [len(group) for group in groups]
        assert max(lengths) - min(lengths) <= 1
