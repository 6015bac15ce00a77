"""The categories of top pairs with further heavy flavour."""

from __future__ import annotations

from typing import Callable

import awkward as ak
import numpy as np
import pytest
import uproot
from nanoforge.simulation.generator import ttbar
from samples import QCD, TTBAR, sample


def categories(name: tuple) -> np.ndarray:
    s = sample(*name)
    return ttbar.categories(s.block.particles, s.gen["GenJet"])


def test_the_category_counts_the_b_jets() -> None:
    """Against the ghosts of the hadrons, by which jets have their flavour."""
    code = categories(TTBAR)
    jet = sample(*TTBAR).gen["GenJet"]
    number = np.asarray(ak.sum((jet.hadronFlavour == 5) & (jet.pt > 20) & (abs(jet.eta) < 2.4), axis=1))
    extra = np.select([code % 100 < 50, code % 100 < 53], [0, 1], 2)
    assert (number == code // 100 % 10 + code // 1000 % 10 + extra).mean() > 0.97
    assert code.dtype == np.int32 and set(code // 100 % 10) == {0, 1, 2}
    assert set(code % 100) <= {0, *range(41, 46), *range(51, 56)}


def test_c_jets_are_those_of_the_w() -> None:
    code = categories(TTBAR)
    jet = sample(*TTBAR).gen["GenJet"]
    number = np.asarray(ak.sum((jet.hadronFlavour == 4) & (jet.pt > 20) & (abs(jet.eta) < 2.4), axis=1))
    extra = np.select([code % 100 == 0, code % 100 < 43, code % 100 < 50], [0, 1, 2], 0)
    told = code % 100 < 50  # beside additional b jets nobody counts the c jets
    assert (number == code // 10000 + extra)[told].mean() > 0.95
    particles = sample(*TTBAR).block.particles
    charm = np.asarray(ak.sum((abs(particles.pdgId) == 4) & (particles.status == -23), axis=1))
    share = (code // 10000 > 0)[charm == 0].mean()
    assert share < 0.01 < 0.5 < (code // 10000 > 0)[charm > 0].mean()


def test_without_a_top_everything_is_additional() -> None:
    code = categories(QCD)
    assert (code // 100 == 0).mean() > 0.995
    assert 0.01 < (code % 100 > 50).mean() < 0.15


def test_shares_are_those_of_cms(shared: Callable) -> None:
    """A real sample of top pairs; its matrix element is of next-to-leading order."""
    real = uproot.open(shared("NanoAODv5_sample.root"))["Events"]["genTtbarId"].array(library="np")
    made = categories(TTBAR)
    for part in (lambda c: c % 100 == 0, lambda c: c % 100 > 50, lambda c: c // 100 % 10 == 2, lambda c: c >= 10000):
        one, two = part(real).mean(), part(made).mean()
        error = np.sqrt(one * (1 - one) * (1 / len(real) + 1 / len(made)))
        assert two == pytest.approx(one, abs=4 * error + 0.02)
