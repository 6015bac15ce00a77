"""The filters against a slow reading of their definition, one particle after the other."""

from __future__ import annotations

import itertools
import math
from typing import Any

import awkward as ak
import numpy as np
import pytest
from generated import block
from nanoforge.config.generator import GenFilter
from nanoforge.simulation.generator.filters import Filters, passing
from nanoforge.simulation.generator.history import History
from pydantic import ValidationError

# -- the reference ----------------------------------------------------------------------------------------------------


def children(event: list[dict], i: int) -> list[int]:
    return [j for j, p in enumerate(event) if p["mother1"] == i]


def next_copy(event: list[dict], i: int) -> int | None:
    same = [j for j, p in enumerate(event) if i in (p["mother1"], p["mother2"]) and p["pdgId"] == event[i]["pdgId"]]
    return same[0] if same else None


def last_copy(event: list[dict], i: int) -> int:
    after = next_copy(event, i)
    return i if after is None else last_copy(event, after)


def angles(p: dict) -> tuple[float, float, float]:
    pt = math.hypot(p["px"], p["py"])
    return pt, math.asinh(p["pz"] / max(pt, 1e-12)), math.atan2(p["py"], p["px"])


def meets(legs: list[dict], cut: GenFilter) -> bool:
    for leg in legs:
        pt, eta, _ = angles(leg)
        if pt < cut.pt or (cut.eta is not None and abs(eta) > cut.eta):
            return False
    if cut.delta_r is not None:
        for a, b in itertools.combinations(legs, 2):
            (_, eta_a, phi_a), (_, eta_b, phi_b) = angles(a), angles(b)
            distance = math.hypot(eta_a - eta_b, math.remainder(phi_a - phi_b, 2 * math.pi))
            if not cut.delta_r[0] <= distance <= cut.delta_r[1]:
                return False
    if cut.mass is not None:
        x, y, z, e = (sum(leg[name] for leg in legs) for name in ("px", "py", "pz", "e"))
        if not cut.mass[0] <= math.sqrt(max(e * e - x * x - y * y - z * z, 0)) <= cut.mass[1]:
            return False
    return True


def count(event: list[dict], cut: GenFilter) -> int:
    wanted = sorted(abs(d) for d in cut.daughters)
    found = 0
    for i, particle in enumerate(event):
        if cut.mother is None:
            single = abs(particle["pdgId"]) in wanted and next_copy(event, i) is None
            found += single and meets([particle], cut)
        elif abs(particle["pdgId"]) == abs(cut.mother) and next_copy(event, i) is None:
            legs = [j for j in children(event, i) if abs(event[j]["pdgId"]) in wanted]
            if sorted(abs(event[j]["pdgId"]) for j in legs) == wanted:
                found += meets([event[last_copy(event, j)] for j in legs], cut)
    return found


CUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "legs": ("z", {"mother": 23, "daughters": [-13, 13], "pt": 25, "eta": 2.4}),
    "back to back": ("z", {"mother": 23, "daughters": [13, 13], "delta_r": [3.0, 4.0]}),
    "mass after radiation": ("z", {"mother": 23, "daughters": [13, 13], "mass": [90, 92]}),
    "other order": ("ttbar", {"mother": 6, "daughters": [24, 5], "pt": 40}),
    "w to tau": ("ttbar", {"mother": 24, "daughters": [16, 15], "pt": 20, "count": 1}),
    "both tops": ("ttbar", {"mother": 6, "daughters": [5, 24], "eta": 2.0, "count": 2}),
    "tau to three pions": ("tau", {"mother": 15, "daughters": [211, 211, 211], "delta_r": [0, 0.2]}),
    "tau to rho": ("tau", {"mother": 15, "daughters": [211, 111]}),
    "single": ("ttbar", {"daughters": [11, 13], "pt": 15, "eta": 2.5, "count": 2}),
    "b quarks": ("ttbar", {"daughters": [5], "pt": 30, "count": 2}),
}


@pytest.mark.parametrize("name", CUTS)
def test_filters_agree_with_the_slow_reading(name: str) -> None:
    sample, keys = CUTS[name]
    cut = GenFilter.model_validate(keys)
    particles = block(sample).particles[:60]
    found = passing(particles, History.of(particles), cut)
    expected = [count(event, cut) for event in ak.to_list(particles)]
    assert found.tolist() == expected
    assert sum(expected) > 0


# -- each condition, on decays made by hand ---------------------------------------------------------------------------


def decay(legs: list[tuple[float, float, float]], kinds: tuple[int, ...] = (15, -15), mother: int = 25) -> ak.Array:
    """One event: the system, a mother, a copy of it, and its legs of given pt, eta, phi."""
    rows = [(90, -1, 0.0, 0.0, 0.0, 0.0), (mother, -1, 0, 0, 0, 125.0), (mother, 1, 0, 0, 0, 125.0)]
    for kind, (pt, eta, phi) in zip(kinds, legs):
        rows.append((kind, 2, pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta), pt * math.cosh(eta)))
    columns = dict(zip(("pdgId", "mother1", "px", "py", "pz", "e"), (np.array(c)[None] for c in zip(*rows))))
    columns["mother2"] = np.full(columns["pdgId"].shape, -1)
    columns["daughter1"] = np.full(columns["pdgId"].shape, -1)
    columns["status"] = np.full(columns["pdgId"].shape, -22)
    return ak.zip({name: ak.from_regular(ak.Array(column)) for name, column in columns.items()})


@pytest.mark.parametrize(
    ("keys", "legs", "good"),
    [
        ({"pt": 20}, [(30, 0, 0), (25, 0, 3)], True),
        ({"pt": 20}, [(30, 0, 0), (19, 0, 3)], False),
        ({"pt": 20}, [(19, 0, 0), (30, 0, 3)], False),
        ({"eta": 2.4}, [(30, -2.3, 0), (25, 2.3, 3)], True),
        ({"eta": 2.4}, [(30, -2.5, 0), (25, 0, 3)], False),
        ({"eta": 2.4}, [(30, 0, 0), (25, 2.5, 3)], False),
        ({"delta_r": [0, 0.5]}, [(30, 0, 3.1), (25, 0, -3.1)], True),
        ({"delta_r": [0.5, 9]}, [(30, 0, 3.1), (25, 0, -3.1)], False),
        ({"delta_r": [0, 0.5]}, [(30, 0, 0), (25, 0.6, 0)], False),
        ({"mass": [59, 61]}, [(30, 0, 0), (30, 0, math.pi)], True),
        ({"mass": [61, 99]}, [(30, 0, 0), (30, 0, math.pi)], False),
        ({"count": 2}, [(30, 0, 0), (30, 0, 3)], False),
    ],
)
def test_each_condition(keys: dict, legs: list, good: bool) -> None:
    cut = GenFilter.model_validate({"mother": 25, "daughters": [-15, 15], **keys})
    assert (Filters({"cut": cut}).verdict(decay(legs))[0] < 0) == good


def test_other_daughters_do_not_fit() -> None:
    cut = Filters({"cut": GenFilter(mother=25, daughters=[15, 15])})
    legs = [(30.0, 0.0, 0.0), (30.0, 0.0, 3.0), (20.0, 1.0, 1.0)]
    assert cut.verdict(decay(legs[:2], (13, -13)))[0] == 0
    assert cut.verdict(decay(legs[:2], (15, -15), mother=23))[0] == 0
    assert cut.verdict(decay(legs, (15, 22, -15)))[0] < 0
    assert cut.verdict(decay(legs, (15, -15, 15)))[0] == 0


def test_the_first_filter_that_rejects_is_named() -> None:
    filters = Filters({"a": GenFilter(daughters=[15]), "b": GenFilter(daughters=[15], pt=50)})
    assert filters.names[:2] == ["a", "b"]
    assert filters.verdict(decay([(30, 0, 0), (30, 0, 3)])).tolist() == [1]
    assert filters.verdict(decay([(30, 0, 0), (30, 0, 3)], (13, -13))).tolist() == [0]


@pytest.mark.parametrize("keys", [{"delta_r": [0, 1]}, {"mass": [0, 1]}, {"mother": 25, "mass": [2, 1]}])
def test_conditions_that_cannot_be(keys: dict) -> None:
    with pytest.raises(ValidationError, match=r"needs a 'mother'|is empty"):
        GenFilter.model_validate({"daughters": [15, 15], **keys})
