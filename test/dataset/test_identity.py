"""Which side of a split an event is on follows from what it is, and from the seed, alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nanoforge.config.schema import Split
from nanoforge.dataset.identity import assign, assign_fold
from nanoforge.dataset.info import SPLITS
from nanoforge.events.hashing import event_hash
from scipy.stats import chi2, chi2_contingency

UUID = "0123456789abcdef0123456789abcdef"
COUNT = 200_000


def hashes(event: np.ndarray, run: int = 1, seed: int = 1, uuid: str = UUID) -> np.ndarray:
    identity = {"run": np.full(len(event), run, "u4"), "luminosityBlock": event // 100, "event": event}
    return event_hash(identity, uuid, np.arange(len(event)), seed)


def probability(observed: np.ndarray, expected: np.ndarray) -> float:
    """Return the chance of a chi-square as large as this."""
    return float(chi2.sf(((observed - expected) ** 2 / expected).sum(), len(observed) - 1))


@pytest.mark.parametrize("first", [0, 2**53, 2**63])
@pytest.mark.parametrize("step", [1, 2, 1000, 2**20])
def test_sequential_event_numbers_are_spread_evenly(first: int, step: int) -> None:
    event = np.uint64(first) + np.arange(COUNT, dtype=np.uint64) * np.uint64(step)
    found = hashes(event)
    assert len(np.unique(found)) == COUNT
    split, fold = assign(found, Split(train=0.6, val=0.3, test=0.1))
    assert probability(np.bincount(split, minlength=3), COUNT * np.array([0.6, 0.3, 0.1])) > 1e-5
    assert (fold == 0).all()
    fold = assign_fold(found, 7)
    assert fold.dtype == np.uint8
    assert probability(np.bincount(fold, minlength=7), np.full(7, COUNT / 7)) > 1e-5


@pytest.mark.parametrize("by", ["event", "run", "luminosityBlock", "entry"])
def test_any_part_of_the_identity_spreads_events(by: str) -> None:
    numbers, zeros = np.arange(COUNT), np.zeros(COUNT, "i8")
    identity = {n: numbers if n == by else zeros for n in ("run", "luminosityBlock", "event")}
    found = event_hash({} if by == "entry" else identity, UUID, numbers, 1)
    split, _ = assign(found, Split())
    assert probability(np.bincount(split, minlength=3), COUNT * np.array([0.7, 0.1, 0.2])) > 1e-5


def independent(a: np.ndarray, b: np.ndarray) -> bool:
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    return chi2_contingency(table).pvalue > 1e-5


def test_split_fold_neighbours_and_seeds_are_independent() -> None:
    event = np.arange(COUNT)
    split, fold = assign(hashes(event), Split(train=0.7, val=0.3, test=0, folds=5))
    assert set(np.unique(split)) == {0, 1} and set(np.unique(fold)) == {0, 1, 2, 3, 4}
    other, other_fold = assign(hashes(event, seed=2), Split(train=0.7, val=0.3, test=0, folds=5))
    for a, b in ((split, fold), (split, other), (fold, other_fold), (split[1:], split[:-1]), (fold[1:], fold[:-1])):
        assert independent(a, b)
    assert (split != other).mean() == pytest.approx(2 * 0.7 * 0.3, abs=0.01), "another seed gives another split"


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1), cuts=st.lists(st.integers(0, 500), max_size=5), dtype=st.sampled_from(["i8", "u8"])
)
def test_chunks_and_order_do_not_matter(seed: int, cuts: list[int], dtype: str) -> None:
    rng = np.random.default_rng(seed)
    event = rng.integers(0, 2**60, 500).astype(dtype)
    whole = hashes(event, seed=seed)
    parts = [hashes(part, seed=seed) for part in np.split(event, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    order = rng.permutation(500)
    np.testing.assert_array_equal(hashes(event[order], seed=seed), whole[order])
    split, fold = assign(whole, Split(folds=3, train=0.8, val=0.2, test=0))
    again, fold_again = assign(whole[order], Split(folds=3, train=0.8, val=0.2, test=0))
    np.testing.assert_array_equal(split[order], again)
    np.testing.assert_array_equal(fold[order], fold_again)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u4", "i4", "i8", "u8"])
def test_the_type_of_the_columns_does_not_matter(kind: str, order: str) -> None:
    event = np.arange(1000)
    np.testing.assert_array_equal(hashes(event.astype(f"{order}{kind}")), hashes(event))


def test_events_of_one_identity_are_one_whatever_the_file() -> None:
    event = np.arange(100)
    np.testing.assert_array_equal(hashes(event), hashes(event, uuid="f" * 32))


def test_event_numbers_above_2_to_the_53_are_all_different() -> None:
    event = np.uint64(2**53) + np.arange(1000, dtype=np.uint64)
    assert len(np.unique(hashes(event))) == 1000
    event = np.uint64(2**64 - 1) - np.arange(1000, dtype=np.uint64)
    assert len(np.unique(hashes(event))) == 1000


def test_files_without_identity_use_uuid_and_entry() -> None:
    entries = np.arange(1000)
    one, same = event_hash({}, UUID, entries, 1), event_hash({}, UUID, entries, 1)
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(event_hash({}, UUID, entries[500:], 1), one[500:])
    for other in ("1" + UUID[1:], UUID[:-1] + "0", UUID[16:] + UUID[:16].replace("0", "2")):
        assert not (event_hash({}, other, entries, 1) == one).any()
    assert not (event_hash({}, UUID, entries, 2) == one).any()
    assert len(np.unique(one)) == 1000


def test_known_hashes_stay_what_they_are() -> None:
    """A dataset made today and one made next year must agree on which events were trained on."""
    found = event_hash(
        {n: np.array([v]) for n, v in (("run", 1), ("luminosityBlock", 2), ("event", 3))}, "", np.zeros(1), 1
    )

    def mix(state: int) -> int:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        return state ^ (state >> 31)

    assert found.tolist() == [mix(mix(mix(mix(1) ^ 1) ^ 2) ^ 3)]
    assert mix(0) == 0xE220A8397B1DCDAF, "the first output of SplitMix64 with seed 0"


def unmix(state: int) -> int:
    """Undo SplitMix64's finaliser: which hash gives this number?"""
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        shifted = state
        while shifted:  # undo state ^ (state >> shift)
            shifted >>= shift
            state ^= shifted
        state = state * pow(factor, -1, 2**64) % 2**64
    return (state - 0x9E3779B97F4A7C15) % 2**64


@pytest.mark.parametrize(
    ("split", "lowest", "highest"),
    [
        (Split(train=1, val=0, test=0), 0, 0),
        (Split(train=0.9, val=0.1, test=0), 0, 1),
        (Split(train=0.5, val=0, test=0.5), 0, 2),
        (Split(train=0.3333333, val=0.6666663, test=0), 0, 1),
        (Split(), 0, 2),
    ],
)
def test_a_split_of_fraction_zero_stays_empty(split: Split, lowest: int, highest: int) -> None:
    """The smallest and the largest uniform numbers there are: rounding must not push them over the edge."""
    for places, expected in ((range(5), lowest), (range(2**64 - 5, 2**64), highest)):
        extreme = np.array([unmix(place) ^ 0x5350_4C49 for place in places], dtype=np.uint64)
        assert assign(extreme, split)[0].tolist() == [expected] * 5


def test_every_event_is_in_one_of_the_splits() -> None:
    found, _ = assign(hashes(np.arange(10_000)), Split())
    assert set(np.unique(found)) == set(range(len(SPLITS)))
