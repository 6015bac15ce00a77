"""The block ``training.balance``, and what is said of mistakes in it."""

from __future__ import annotations

import pytest
from nanoforge.config import Analysis
from nanoforge.config.load import validated
from nanoforge.errors import UserError

BASE = {
    "name": "toy",
    "samples": {n: {"files": f"{n}.root", "label": n} for n in ("top", "qcd")},
    "inputs": {
        "event": {"features": ["MET_pt", {"ht": "sum(Jet_pt)"}]},
        "jets": {"collection": "Jet", "length": 4, "features": ["eta"]},
    },
    "keep": ["Jet_pt[0]"],
}


def make(balance) -> Analysis:
    return validated(BASE | {"training": {"balance": balance}}, "a.yaml")


def test_bins_are_edges_or_equal_widths():
    variables = {"ht": [0, 50, 100, 1000], "Jet_pt[0]": {"bins": 4, "range": [-2, 2]}}
    balance = make({"shape": {"variables": variables, "to": "top", "by": "resample"}}).training.balance
    assert balance.shape.edges == {"ht": [0, 50, 100, 1000], "Jet_pt[0]": [-2, -1, 0, 1, 2]}
    assert balance.columns == ["ht", "Jet_pt[0]"]
    assert make({}).training.balance.columns == []


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        (
            {"shape": {"variables": {"eta": [0, 1]}}},
            r"shape\.variables\.eta: .* known: MET_pt, ht, Jet_pt\[0\]; 'keep'",
        ),
        ({"shape": {"variables": {"ht": [0, 1]}, "to": "w"}}, r"shape\.to: 'w' is unknown; known: flat, top, qcd"),
        ({"shape": {"variables": {"ht": [1, 0]}}}, r"training\.balance\.shape\.variables\.ht: the edges .* must rise"),
        ({"shape": {"variables": {"ht": {"bins": 0, "range": [0, 1]}}}}, r"variables\.ht\.bins: .*greater than 0"),
        (
            {"shape": {"variables": {"ht": {"bins": 2, "range": [1, 1]}}}},
            r"variables\.ht\.range: the edges .* must rise",
        ),
        (
            {"shape": {"variables": {n: {"bins": 101, "range": [0, 1]} for n in ("ht", "MET_pt")}}},
            r"shape\.variables: makes 10,201 cells, and 10,000 are allowed",
        ),
        ({"shape": {"variables": {}}}, r"shape\.variables: .*at least 1"),
        ({"shape": {"variables": {"ht": [0, 1]}, "cap": 0.5}}, r"shape\.cap: should be at least 1"),
        ({"negative": "ignore"}, r"balance\.negative: .*'keep', 'absolute', 'drop' or 'rescale'"),
    ],
)
def test_mistakes_are_named(balance, message):
    with pytest.raises(UserError, match=message):
        make(balance)


def test_the_old_key_names_the_new_one():
    with pytest.raises(
        UserError, match=r"'class_balance' is now part of 'balance': write balance: \{classes: counts\}"
    ):
        validated(BASE | {"training": {"class_balance": "counts"}}, "a.yaml")
