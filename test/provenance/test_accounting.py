"""The books balance: read = used + rejected + lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nanoforge.errors import DataError
from nanoforge.provenance import Accounting, Ledger, Lost
from nanoforge.provenance.accounting import HitLedger

COUNTS = st.integers(0, 10**12)
CUTS = st.dictionaries(st.sampled_from("abcd"), COUNTS, max_size=4)


@st.composite
def balanced(draw: st.DrawFn) -> Accounting:
    def ledger(unit: str) -> Ledger:
        used, rejected = draw(COUNTS), draw(CUTS)
        return Ledger(unit, used + sum(rejected.values()), used, rejected)

    books = Accounting(ledger("events"), ledger("Jet rows") if draw(st.booleans()) else None)
    if draw(st.booleans()):
        used, length, outside = draw(COUNTS), draw(COUNTS), draw(COUNTS)
        rejected = {"image (outside of it)": outside, "length": length}
        books.hits["ecal"] = HitLedger("ecal hits", used + length + outside, used, rejected, None, draw(COUNTS), 2, 1)
    for entries in draw(st.lists(st.none() | COUNTS, max_size=3)):
        books.lose(Lost("bad.root", "truncated", entries))
    return books


@given(parts=st.lists(balanced(), max_size=5))
def test_sums_of_balanced_books_balance(parts: list[Accounting]) -> None:
    copies = [Accounting.from_dict(json.loads(json.dumps(p.as_dict()))) for p in parts]
    assert copies == parts
    total = Accounting.total(parts)
    total.check()
    assert total.events.read == sum(p.events.read for p in parts)
    assert total.lost_events == sum(p.lost_events for p in parts)
    assert len(total.lost) == sum(len(p.lost) for p in parts)
    for cut in "abcd":
        assert total.events.rejected.get(cut, 0) == sum(p.events.rejected.get(cut, 0) for p in parts)
    with_rows = [p.rows for p in parts if p.rows is not None]
    assert (total.rows.read if total.rows else 0) == sum(r.read for r in with_rows)
    with_hits = [p.hits["ecal"] for p in parts if p.hits]
    assert sum(ledger.rows for ledger in total.hits.values()) == sum(ledger.rows for ledger in with_hits)
    assert copies == parts, "summing leaves the parts alone"


@given(books=balanced(), wrong=st.integers(-3, 3).filter(bool), rows=st.booleans())
def test_books_that_do_not_balance_are_refused(books: Accounting, wrong: int, rows: bool) -> None:
    ledger = books.rows if rows and books.rows is not None else books.events
    ledger.used += wrong
    with pytest.raises(DataError, match=r"the event accounting does not balance: .*; please report this"):
        books.check()


def test_cuts_are_listed_in_order_even_where_they_reject_nothing() -> None:
    ledger = Ledger("events", 10, 7)
    for cut, count in (("z", 0), ("a", 2), ("z", 1)):
        ledger.reject(cut, count)
    assert list(ledger.rejected.items()) == [("z", 1), ("a", 2)]


def test_lost_events_of_unknown_number_are_not_invented() -> None:
    books = Accounting(Ledger("events", 5, 5))
    books.lose(Lost("a.root", "no such file"))
    books.lose(Lost("b.root", "truncated", 100))
    books.check()
    assert (books.events.read, books.lost_events) == (105, 100)


def test_lines_show_the_whole_cut_flow() -> None:
    books = Accounting(Ledger("events", 8, 4, {"trigger": 4, "none": 0}), Ledger("Jet rows", 12, 9, {"pt": 3}))
    books.lose(Lost("bad.root", "truncated", 8))
    assert books.lines() == [
        ("events read", 16, "100.0%"),
        ("  rejected by trigger", 4, "25.0%"),
        ("  rejected by none", 0, "0.0%"),
        ("  lost in 1 file(s)", 8, "50.0%"),
        ("events used", 4, "25.0%"),
        ("Jet rows read", 12, "100.0%"),
        ("  rejected by pt", 3, "25.0%"),
        ("Jet rows used", 9, "75.0%"),
    ]
    assert Accounting().lines() == [("events read", 0, ""), ("events used", 0, "")]
