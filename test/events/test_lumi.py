"""The lumi mask keeps what is certified, no more and no less."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nanoforge.errors import UserError
from nanoforge.events.lumi import LumiMask

RUNS = st.sampled_from([1, 2, 315267, 2**32 - 1])
LUMIS = st.integers(0, 12)


def mask(folder: Path, content: object) -> LumiMask:
    path = folder / "cert.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return LumiMask(str(path))


@settings(max_examples=60, deadline=None)
@given(
    certified=st.dictionaries(RUNS, st.sets(LUMIS), max_size=4),
    asked=st.lists(st.tuples(RUNS, LUMIS), max_size=40),
    dtype=st.sampled_from(["u4", "i8", "u8", ">u4"]),
    touching=st.booleans(),
)
def test_any_mask_equals_a_set(
    tmp_path_factory: pytest.TempPathFactory,
    certified: dict[int, set[int]],
    asked: list[tuple[int, int]],
    dtype: str,
    touching: bool,
) -> None:
    """Runs and ranges may come in any order, and ranges touch."""
    spans = {str(run): spans_of(lumis, touching)[::-1] for run, lumis in certified.items()}
    found = mask(tmp_path_factory.getbasetemp(), spans)
    run, lumi = (np.array([pair[i] for pair in asked], dtype) for i in (0, 1))
    result = found(run, lumi)
    assert result.dtype == bool
    assert result.tolist() == [lumi in certified.get(run, ()) for run, lumi in asked]


def spans_of(lumis: set[int], touching: bool) -> list[list[int]]:
    spans: list[list[int]] = []
    for lumi in sorted(lumis):
        if spans and not touching and spans[-1][1] == lumi - 1:
            spans[-1][1] = lumi
        else:
            spans.append([lumi, lumi])
    return spans


def test_no_section_is_certified(tmp_path: Path) -> None:
    for content in ({}, {"5": []}):
        assert mask(tmp_path, content)(np.array([5, 5]), np.array([1, 2])).tolist() == [False, False]
    assert mask(tmp_path, {"5": [[1, 2]]})(np.array([], "u4"), np.array([], "u4")).tolist() == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"5": [[1, 3], [9, 7]]}', r"run 5: \[9, 7\] is empty: write the first section first"),
        ('{"5": [[1, 2]], "6": [[1, 2]], "5": [[4, 4]]}', "run 5 is there twice"),
        ('{"5": [[1, 2]], "05": [[4, 4]]}', "run 5 is there twice"),
        ('{"5": [[1, 2.5]]}', r"run 5: expected \[\[first, last\], ...\] of whole numbers from 0 on, found \[1, 2.5\]"),
        ('{"5": [[-1, 2]]}', r"found \[-1, 2\]"),
        ('{"5": [["1", "2"]]}', r'found \["1", "2"\]'),
        ('{"5": [[true, 2]]}', r"found \[true, 2\]"),
        ('{"5": [1, 2]}', "found 1"),
        ('{"5": {"1": 2}}', "run 5: expected"),
        ('{"5": [[1, 4], [3, 9]]}', r"run 5: \[1, 4\] and \[3, 9\] overlap"),
        ('{"5": [[1, 9], [3, 4]]}', "overlap"),
        ('{"5.5": [[1, 4]]}', "'5.5' is no number of a run"),
        ('{" 5": [[1, 4]]}', "' 5' is no number of a run"),
    ],
)
def test_what_was_not_meant_so_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"golden_json: .*cert.json: .*{message}"):
        mask(tmp_path, content)


NOT_OF_THE_FORM = """
{ | [] | 1 | null | "5" | [[1, 2]] | {"5": 1} | {"5": [1, 2]} | {"5": [[1]]} | {"5": [[1, 2, 3]]} | {"run": [[1, 2]]}
{"5": [["a", 2]]} | {"5": [[null, 2]]} | {"5": null} | {"5": {"1": 2}} | {"5": [[-1, 2]]} | {"-5": [[1, 2]]}
{"5": [[1, 4294967296]]} | {"5": [[1, 1e400]]} | {"5": [[NaN, 1]]}
"""


@pytest.mark.parametrize("content", ["", *NOT_OF_THE_FORM.strip().replace("\n", " | ").split(" | ")])
def test_a_malformed_file_is_named(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match=r"golden_json: .*cert.json: (run 5: )?('.*' is no number|expected [{\[])"):
        mask(tmp_path, content)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"golden_json: .*none.json: cannot be read \(No such file or directory\)"):
        LumiMask(str(tmp_path / "none.json"))
    with pytest.raises(UserError, match=r"golden_json: .*cannot be read \(Is a directory\)"):
        LumiMask(str(tmp_path))
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"golden_json: .*binary.json: expected"):
        LumiMask(str(tmp_path / "binary.json"))
