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
    certified=st.dictionaries(RUNS, st.lists(st.tuples(LUMIS, LUMIS), max_size=4), max_size=4),
    asked=st.lists(st.tuples(RUNS, LUMIS), max_size=40),
    dtype=st.sampled_from(["u4", "i8", "u8", ">u4"]),
)
def test_any_mask_equals_a_set(
    tmp_path_factory: pytest.TempPathFactory, certified: dict, asked: list[tuple[int, int]], dtype: str
) -> None:
    """Ranges may overlap, lie within one another, touch, or be empty, in any order."""
    sections = {
        (run, lumi) for run, spans in certified.items() for first, last in spans for lumi in range(first, last + 1)
    }
    found = mask(tmp_path_factory.getbasetemp(), {str(r): spans for r, spans in certified.items()})
    run, lumi = (np.array([pair[i] for pair in asked], dtype) for i in (0, 1))
    result = found(run, lumi)
    assert result.dtype == bool and result.tolist() == [pair in sections for pair in asked]


def test_a_range_within_another(tmp_path: Path) -> None:
    found = mask(tmp_path, {"5": [[1, 100], [3, 4], [90, 120]], "6": [[7, 7]]})
    lumis = np.array([1, 4, 5, 50, 100, 120, 121, 7])
    runs = np.array([5] * 7 + [6])
    assert found(runs, lumis).tolist() == [True] * 6 + [False, True]


def test_no_section_is_certified(tmp_path: Path) -> None:
    for content in ({}, {"5": []}, {"5": [[2, 1]]}):
        assert mask(tmp_path, content)(np.array([5, 5]), np.array([1, 2])).tolist() == [False, False]
    assert mask(tmp_path, {"5": [[1, 2]]})(np.array([], "u4"), np.array([], "u4")).tolist() == []


NOT_OF_THE_FORM = """
{ | [] | 1 | null | "5" | [[1, 2]] | {"5": 1} | {"5": [1, 2]} | {"5": [[1]]} | {"5": [[1, 2, 3]]} | {"run": [[1, 2]]}
{"5": [["a", 2]]} | {"5": [[null, 2]]} | {"5": null} | {"5": {"1": 2}} | {"5": [[-1, 2]]} | {"-5": [[1, 2]]}
{"5": [[1, 4294967296]]} | {"5": [[1, 1e400]]} | {"5": [[NaN, 1]]}
"""


@pytest.mark.parametrize("content", ["", *NOT_OF_THE_FORM.strip().replace("\n", " | ").split(" | ")])
def test_a_malformed_file_is_named(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match=r'golden_json: .*cert.json: expected \{"run": \[\[first, last\], ...\]\}'):
        mask(tmp_path, content)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"golden_json: .*none.json: cannot be read \(No such file or directory\)"):
        LumiMask(str(tmp_path / "none.json"))
    with pytest.raises(UserError, match=r"golden_json: .*cannot be read \(Is a directory\)"):
        LumiMask(str(tmp_path))
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"golden_json: .*binary.json: expected"):
        LumiMask(str(tmp_path / "binary.json"))
