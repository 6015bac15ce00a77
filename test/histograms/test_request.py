"""What to draw, as ROOT's users write it, and the bins that are chosen for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nanoforge.distributions.axis import Range
from nanoforge.errors import UserError
from nanoforge.histograms.request import divide, parse_requests


@pytest.mark.parametrize(
    ("text", "name", "expressions", "ranges"),
    [
        ("Jet_pt", "Jet_pt", ("Jet_pt",), (None,)),
        ("Jet_eta:Jet_phi", "Jet_eta_Jet_phi", ("Jet_phi", "Jet_eta"), (None, None)),
        ("Jet_pt>>(50,0,200)", "Jet_pt", ("Jet_pt",), (Range(50, 0, 200),)),
        ("sqrt(a) >> root ( 4, -1.5 , 2e3 )", "root", ("sqrt(a)",), (Range(4, -1.5, 2000),)),
        ("y:x>>h(2,0,1,3,-1,1)", "h", ("x", "y"), (Range(2, 0, 1), Range(3, -1, 1))),
        ("Jet_pt[Jet_pt > 30]>>hard", "hard", ("Jet_pt[Jet_pt > 30]",), (None,)),
        ("where(a > b, f(a[0:2]), 1)", "where_a_b_f_a_0_2_1", ("where(a > b, f(a[0:2]), 1)",), (None,)),
        ("a > 1", "a_1", ("a > 1",), (None,)),
    ],
)
def test_requests_are_read_as_by_root(text: str, name: str, expressions: tuple, ranges: tuple) -> None:
    (request,) = parse_requests([text])
    assert (request.name, request.expressions, request.ranges) == (name, expressions, ranges)


def test_every_histogram_has_a_name_of_its_own() -> None:
    assert [r.name for r in parse_requests(["a + b", "a - b", "a * b", "a"])] == ["a_b", "a_b_2", "a_b_3", "a"]
    with pytest.raises(UserError, match="another histogram has the name 'h'"):
        parse_requests(["a>>h", "b>>h"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:b:c", "draw x, or y:x"),
        ("a:", "draw x, or y:x"),
        ("", "draw x, or y:x"),
        ("a>>(0,0,1)", "0 bins from 0 to 1 are no axis: write bins,low,high of x$"),
        ("a>>(5,1,1)", "5 bins from 1 to 1 are no axis"),
        ("a>>(5.5,0,1)", r"\(5.5,0,1\) are no bins"),
        ("a>>(5,0)", r"\(5,0\) are no bins"),
        ("a>>(5,0,nan)", "5 bins from 0 to nan are no axis"),
        ("a>>(inf,0,1)", "write bins,low,high of x"),
        ("a>>(x,0,1)", "write bins,low,high of x"),
        ("a:b>>(5,0,1)", "write bins,low,high of x, and then of y"),
        ("a>>(99999999,0,1)", "99999999 bins"),
    ],
)
def test_what_cannot_be_read_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        parse_requests([text])
    assert "\n" not in str(error.value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        (request,) = parse_requests([text])
    except UserError:
        return
    assert request.name.replace("_", "a").isalnum() and 1 <= len(request.expressions) <= 2


def test_files_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nano").touch()
    words = ["nano", "no*.root", "root://x//a", "list.txt", "Jet_pt", "sum(Jet_pt)"]
    assert divide(words) == (words[:4], words[4:])
    with pytest.raises(UserError, match="Jet_pt: is no file"):
        divide(["Jet_pt", "a.root"])
    with pytest.raises(UserError, match="nothing to draw"):
        divide(["a.root", "b.root"])
