"""Cuts of working points against a search through all thresholds, and what of each class passes them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from nanoforge.config.evaluation import WORKING_POINTS, WorkingPoint
from nanoforge.evaluation import report
from nanoforge.evaluation.importance import Importance
from nanoforge.evaluation.results import Fold, Results
from nanoforge.evaluation.scored import Scored
from nanoforge.evaluation.working_points import find_cuts, middle
from pydantic import ValidationError

CLASSES = ("b", "c", "light")


def scored(number=3000, seed=0, negative=0.1, present=3):
    """Scores of few digits, so that many are equal."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, present, number)
    x = rng.normal(size=(number, 3)) + 1.5 * (label[:, None] == np.arange(3))
    scores = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)).round(3).astype("f4")
    weight = rng.uniform(0.5, 2, number) * np.where(rng.random(number) < negative, -1, 1)
    return Scored(scores, label, weight, weight)


def share(rows, of_class, passes):
    """The fraction of the weight of classes that passes."""
    chosen = np.isin(rows.truth, of_class)
    return rows.weight[chosen & passes].sum() / rows.weight[chosen].sum()


@pytest.mark.parametrize("negative", [0, 0.2])
def test_a_cut_is_the_loosest_that_no_more_background_passes(negative):
    rows = scored(negative=negative)
    points = {
        "loose": WorkingPoint(background=0.1),
        "medium": WorkingPoint(background=0.01),
        "light": WorkingPoint(background=0.01, against="light"),
    }
    cuts = find_cuts(rows, CLASSES, points)
    assert [cut.signal for cut in cuts if cut.name == "light"] == ["b", "c"]
    for cut in cuts:
        k = CLASSES.index(cut.signal)
        background = [2] if cut.name == "light" else [other for other in range(3) if other != k]
        score = rows.scores[:, k]
        best = np.nan
        for limit in np.unique(score)[::-1]:
            if share(rows, background, score >= limit) > cut.definition.background:
                break
            best = limit
        # a score that only rows of other classes have is no threshold of this cut, but passes the same rows
        assert share(rows, background, score >= cut.threshold) == pytest.approx(share(rows, background, score >= best))
        for number, name in enumerate(CLASSES):
            expected = share(rows, [number], score >= cut.threshold)
            interval = cut.efficiencies[name]
            assert interval.value == pytest.approx(expected, abs=1e-12)
            assert interval.low <= interval.value <= interval.high


def test_a_cut_on_the_signal_is_the_tightest_that_keeps_it():
    rows = scored(negative=0)
    (cut,) = (c for c in find_cuts(rows, CLASSES, {"half": WorkingPoint(signal=0.5)}) if c.signal == "c")
    score = rows.scores[:, 1]
    assert share(rows, [1], score >= cut.threshold) >= 0.5 > share(rows, [1], score > cut.threshold)


def test_what_no_cut_can_keep_is_undefined_and_said():
    rows = scored(20, present=2)
    few = Scored(rows.scores, rows.truth, np.ones(20), np.ones(20))
    results = Results("classification", CLASSES, [Fold(few, few, Importance((), np.zeros((0, 1))), [])], [])
    assert {cut.name for cut in results.cuts} == set(WORKING_POINTS)
    content = json.loads(json.dumps(results.cuts_content(), allow_nan=False))
    assert content["b"]["loose"]["efficiencies"]["light"] == {"value": None, "low": None, "high": None}
    absent = {**WORKING_POINTS, "light": WorkingPoint(background=0.1, against="light")}
    cut = next(c for c in find_cuts(few, CLASSES, absent) if c.name == "light")
    assert np.isnan(cut.threshold) and all(np.isnan(share.value) for share in cut.efficiencies.values())
    assert "undefined" in report.render("toy", results, [], {})


@pytest.mark.parametrize("number", [0, 1])
def test_no_rows_and_one_row_have_no_cuts(number):
    rows = scored(5)
    chosen = Scored(rows.scores[:number], rows.truth[:number], rows.weight[:number], rows.weight[:number])
    cuts = find_cuts(chosen, CLASSES, WORKING_POINTS)
    assert all(np.isnan(cut.threshold) for cut in cuts) and middle(cuts) == []


def test_the_middle_one_of_those_that_have_a_threshold_is_drawn():
    cuts = find_cuts(scored(negative=0), CLASSES, WORKING_POINTS)
    assert [(cut.signal, cut.name) for cut in middle(cuts)] == [(name, "medium") for name in CLASSES]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({}, "write one of"),
        ({"background": 0.1, "signal": 0.5}, "write one of"),
        ({"signal": 0.5, "against": "light"}, "remove it, or 'signal'"),
        ({"background": 1}, "less than 1"),
    ],
)
def test_a_working_point_is_said_in_one_way(block, message):
    with pytest.raises(ValidationError, match=message):
        WorkingPoint.model_validate(block)
