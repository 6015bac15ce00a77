"""The columns of a chunk: the made-up events, and to which collection a defined column belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nanoforge.errors import UserError
from nanoforge.events.columns import Branch, Chunk, Column, offsets_of
from nanoforge.events.expressions import parse
from nanoforge.events.frame import Frame, Schema, resolver

JAGGED = ("Jet_pt", "Jet_eta", "Muon_pt", "Good_Muon_pt")
BRANCHES = {n: Branch(n, np.dtype("f4"), True, "nGood_Muon" if n[0] == "G" else None) for n in JAGGED}
BRANCHES |= {"nMuon": Branch("nMuon", np.dtype("u4")), "event": Branch("event", np.dtype("u8"))}
COUNTS = {"Jet": [2, 1, 0, 0], "Muon": [1, 0, 2, 0], "Good_Muon": [0, 1, 1, 0]}


def chunk(empty: bool = False) -> Chunk:
    columns = {"nMuon": Column([np.array(COUNTS["Muon"], "u4")]), "event": Column([np.arange(4, dtype="u8")])}
    for name in JAGGED:
        offsets = offsets_of(np.array(COUNTS[name.rsplit("_", 1)[0]]) * (not empty))
        columns[name] = Column([np.arange(10, 10 + offsets[-1], dtype="f4")], offsets)
    return Chunk(0, 4, columns)


def frame(schema: Schema, part: Chunk, **defines: str) -> Frame:
    made = Frame(schema, part, None)
    for name, text in defines.items():
        made.define(name, parse(text, f"define.{name}"), resolver([*BRANCHES, *defines], [], "define", "x.root"))
    return made


@pytest.fixture
def schema() -> Schema:
    return Schema("x.root", BRANCHES, BRANCHES)


def test_made_up_events_lack_all_objects_and_those_of_each_collection(schema: Schema) -> None:
    probe = schema.probe()
    counts = {o: np.diff(probe.columns[f"{o}_pt"].offsets) for o in COUNTS}
    lacking = [tuple(bool(c[e]) for c in counts.values()) for e in range(probe.size)]
    assert lacking[7:] == [(False,) * 3, (False, True, True), (True, False, True), (True, True, False)]
    assert set(lacking[:7]) == {(True,) * 3}
    assert len({int(c[0]) for c in counts.values()}) == 3
    assert probe.columns["event"].content.max() < 2**63


def test_a_function_that_fails_without_objects_is_found_on_made_up_events(schema: Schema) -> None:
    own = {"lead": lambda x: x[:, 0]}
    expression = parse("lead(Jet_pt)", "define.x", own)
    with pytest.raises(UserError, match=r"^define\.x: 'lead\(Jet_pt\)' fails at test_frame.py:\d+ with"):
        Frame(schema, schema.probe(), None).evaluate(expression, str)


def test_missing_values_leave_the_lists_of_a_collection_as_they_are(schema: Schema) -> None:
    made = frame(schema, chunk(), Jet_rel="Jet_pt / max(Muon_pt)", Jet_away="Jet_pt > Muon_pt[0]", n="num(Jet_away)")
    assert made.owner["Jet_rel"] == "Jet"
    np.testing.assert_allclose(made.columns["Jet_rel"].content, [1, 1.1, np.nan], rtol=1e-6)
    assert made.columns["Jet_away"].content.tolist() == [False, True, False]
    assert made.columns["n"].content.tolist() == [1, 0, 0, 0]
    share = parse("where(nMuon > 0, Jet_pt / Muon_pt[0], -1)", "inputs.j.features.s")
    values = made.values(share, str, made.object_level("Jet"))
    np.testing.assert_allclose(values, [1, 1.1, -1], rtol=1e-6)


def test_a_function_that_rarely_changes_lengths_is_named(schema: Schema) -> None:
    expression = parse("rare(Jet_pt)", "inputs.j.where", {"rare": lambda x: x[x != 11]})
    Frame(schema, schema.probe(), None).evaluate(expression, str)
    with pytest.raises(UserError, match=r"^inputs\.j\.where: 'rare\(Jet_pt\)' gives lists of other lengths than Jet"):
        Frame(schema, chunk(), None).evaluate(expression, str)


def test_a_redefined_column_leaves_the_description_of_the_file_alone(schema: Schema) -> None:
    """An empty file comes first, then one that is not."""
    before = dict(schema.owner)
    for empty in (True, False):
        made = frame(schema, chunk(empty), Jet_pt="max(Jet_pt)", Jet_twice="2 * Jet_eta")
        assert schema.owner == before
        assert (made.owner["Jet_pt"], made.owner["Jet_twice"]) == (None, "Jet")
        assert made.columns["Jet_pt"].offsets is None
    np.testing.assert_array_equal(made.columns["Jet_pt"].content, [11, 12, np.nan, np.nan])
    assert schema.empty(2).columns["Jet_pt"].offsets is not None


@pytest.mark.parametrize(
    ("defines", "owners"),
    [
        (["GoodJet_pt", "GoodJet_b_score"], ["GoodJet", "GoodJet"]),
        (["GoodJet_b_score", "GoodJet_pt"], ["GoodJet", "GoodJet"]),
        (["light_pt", "light_x_y_z", "hard"], ["light", "light", "hard"]),
    ],
)
def test_a_collection_is_named_by_the_first_word(schema: Schema, defines: list[str], owners: list[Any]) -> None:
    made = frame(schema, chunk(), **dict.fromkeys(defines, "Jet_pt[Jet_pt > 11]"))
    assert [made.owner[name] for name in defines] == owners
    assert made.offsets(owners[0]).tolist() == [0, 0, 1, 1, 1]


def test_a_collection_of_several_words_is_known_from_the_file(schema: Schema) -> None:
    with pytest.raises(UserError, match=r"gives lists of other lengths than the rest of Good_Muon, whose name"):
        frame(schema, chunk(), Good_Muon_b_score="Jet_pt[Jet_pt > 11]")
