"""GenPart against CMS's own definitions, read one particle after the other, and jets, taus and missing momentum."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Callable

import awkward as ak
import fastjet
import numpy as np
import pytest
import uproot
from generated import block
from nanoforge.simulation.generator.genparticles import summarise
from nanoforge.simulation.generator.history import FLAGS, History, nearest
from particle import PDGID

BIT = {name: 1 << k for k, name in enumerate(FLAGS)}


@pytest.fixture(scope="module")
def ttbar() -> tuple[Any, dict[str, Any]]:
    made = block("ttbar")
    return made, summarise(made)


@pytest.fixture(scope="module")
def tau() -> tuple[Any, dict[str, Any]]:
    made = block("tau")
    return made, summarise(made)


# -- the tree of mothers ----------------------------------------------------------------------------------------------


def test_mothers_resolve_without_circles(ttbar: tuple) -> None:
    parts = ttbar[1]["GenPart"]
    mother, size = parts.genPartIdxMother, ak.num(parts)
    assert ak.all(mother >= -1) and ak.all(mother < size)
    for event in ak.to_list(mother)[:100]:
        for i in range(len(event)):
            steps, j = 0, i
            while j >= 0:
                steps, j = steps + 1, event[j]
                assert steps <= len(event)


def test_the_mother_is_the_nearest_kept_ancestor(ttbar: tuple) -> None:
    made, gen = ttbar
    for all_mothers, index, found in zip(
        ak.to_list(made.particles[["mother1", "mother2"]])[:20],
        ak.to_list(gen["gen_index"]),
        ak.to_list(gen["GenPart"].genPartIdxMother),
    ):
        for i, mother in zip(index, found):
            j = i
            while True:
                one, two = all_mothers[j]["mother1"], all_mothers[j]["mother2"]
                j = two if 0 <= two < one else one
                if j < 0 or j in index:
                    break
            assert mother == (index.index(j) if j >= 0 else -1)


def test_positions_in_all_particles(ttbar: tuple) -> None:
    made, gen = ttbar
    assert ak.all(made.particles.pdgId[gen["gen_index"]] == gen["GenPart"].pdgId)


def test_what_is_kept(ttbar: tuple) -> None:
    made, gen = ttbar
    particles, parts = made.particles, gen["GenPart"]
    final = particles[particles.status > 0]
    assert ak.all(ak.num(parts) < 200)
    for pdg_id in (11, 12, 13, 14, 16):  # all of them
        kept = parts[(abs(parts.pdgId) == pdg_id) & (parts.status == 1)]
        assert ak.all(ak.num(kept) == ak.sum(abs(final.pdgId) == pdg_id, axis=1))
    hard = (particles.status < -20) & (particles.status > -30) & (abs(particles.pdgId) != 15)  # a tau may have status 2
    found = (parts.status > 20) & (parts.status < 30) & (abs(parts.pdgId) != 15)
    assert ak.all(ak.sum(hard, axis=1) == ak.sum(found, axis=1))
    for hadron in (511, 521, 531, 421, 411):
        assert ak.all(ak.sum(abs(particles.pdgId) == hadron, axis=1) == ak.sum(abs(parts.pdgId) == hadron, axis=1))
    assert not ak.any(abs(parts.pdgId) == 2212) and not ak.any(parts.pdgId == 90)
    photons = final[(final.pdgId == 22) & (np.hypot(final.px, final.py) > 10)]
    kept = parts[(parts.pdgId == 22) & (parts.status == 1) & (parts.pt > 10)]
    assert ak.all(ak.num(photons) == ak.num(kept))


def test_tau_decays_are_kept_whole(tau: tuple) -> None:
    parts = tau[1]["GenPart"]
    product = (parts.statusFlags & BIT["isPromptTauDecayProduct"]) != 0
    final = parts[product & (parts.status == 1)]
    decayed = parts[(abs(parts.pdgId) == 15) & (parts.status == 2)]
    assert ak.all(ak.num(decayed) == 2)
    assert np.allclose(
        ak.sum(final.pt * np.cos(final.phi), axis=1), ak.sum(decayed.pt * np.cos(decayed.phi), axis=1), atol=0.05
    )


# -- status and flags -------------------------------------------------------------------------------------------------


class Slow:
    """CMS's ``MCTruthHelper`` for one event, one particle after the other."""

    def __init__(self, event: list[dict]) -> None:
        self.ids = [p["pdgId"] for p in event]
        self.mothers = []
        for p in event:
            pair = [p["mother1"], p["mother2"]]
            self.mothers.append(sorted({m for m in pair if m >= 0}))
        self.children: list[list[int]] = [[] for _ in event]
        for i, mothers in enumerate(self.mothers):
            for m in mothers:
                self.children[m].append(i)
        self.status = [self.hepmc(event, i) for i in range(len(event))]

    @staticmethod
    def hepmc(event: list[dict], i: int) -> int:
        p = event[i]
        if p["status"] > 0:
            return 1
        if p["status"] == -12:
            return 4
        if PDGID(p["pdgId"]).is_hadron or abs(p["pdgId"]) in (13, 15):
            first = event[p["daughter1"]]
            if first["pdgId"] != p["pdgId"] and 90 < abs(first["status"]) < 95:
                return 2
        return -p["status"]

    def mother(self, i: int) -> int | None:
        return self.mothers[i][0] if self.mothers[i] else None

    def copy(self, i: int, among: list[int]) -> int | None:
        return next((j for j in among if self.ids[j] == self.ids[i]), None)

    def walk(self, i: int, step: Callable[[int], int | None]) -> list[int]:
        way = [i]
        while (after := step(way[-1])) is not None:
            way.append(after)
        return way

    def before(self, i: int) -> list[int]:
        return self.walk(i, lambda j: self.copy(j, self.mothers[j]))

    def after(self, i: int) -> list[int]:
        return self.walk(i, lambda j: self.copy(j, self.children[j]))

    def decayed(self, i: int) -> bool:
        kind = PDGID(self.ids[i]).is_hadron or abs(self.ids[i]) in (13, 15)
        return self.status[i] == 2 and kind and len(self.after(i)) == 1

    def decayed_mother(self, i: int, kind: int | None = None) -> int | None:
        way = self.walk(i, self.mother)[1:]
        return next((j for j in way if self.decayed(j) and kind in (None, abs(self.ids[j]))), None)

    def hard(self, i: int) -> bool:
        if 20 < self.status[i] < 30:
            return True
        m = self.mother(i)
        if self.status[i] not in (1, 2) or m is None or self.status[self.before(m)[-1]] != 22:
            return False
        after = self.copy(m, self.children[m])
        return not (after is not None and 50 < self.status[after] < 60)

    def hard_copy(self, i: int) -> int | None:
        return next((j for j in self.before(i) if self.hard(j)), None)

    def radiating(self, i: int) -> int | None:
        return next((j for j in self.after(i) if any(self.ids[k] in (21, 22) for k in self.children[j])), None)

    def flags(self, i: int) -> dict[str, bool]:
        tau, mother = self.decayed_mother(i, 15), self.decayed_mother(i)
        other = self.mother(self.before(i)[-1])
        copy = self.hard_copy(i)
        from_status = 0 if copy is None else self.status[copy]
        last = len(self.after(i)) == 1
        direct = tau is not None and tau == mother
        prompt_tau = tau is not None and self.decayed_mother(tau) is None
        hard_tau = tau is not None and self.hard_copy(tau) is not None
        return {
            "isPrompt": mother is None, "isDecayedLeptonHadron": self.decayed(i), "isTauDecayProduct": tau is not None,
            "isPromptTauDecayProduct": prompt_tau, "isDirectTauDecayProduct": direct,
            "isDirectPromptTauDecayProduct": direct and prompt_tau,
            "isDirectHadronDecayProduct": other is not None
            and (PDGID(self.ids[other]).is_hadron and self.decayed(other)),
            "isHardProcess": self.hard(i), "fromHardProcess": copy is not None,
            "isHardProcessTauDecayProduct": hard_tau, "isDirectHardProcessTauDecayProduct": hard_tau and direct,
            "fromHardProcessBeforeFSR": (from_status == 21 and copy == i) or (from_status == 22 and last)
            or (from_status in (1, 23) and self.radiating(copy) == i),
            "isFirstCopy": len(self.before(i)) == 1, "isLastCopy": last,
            "isLastCopyBeforeFSR": self.radiating(self.before(i)[-1]) == i,
        }  # fmt: skip


@pytest.mark.parametrize("sample", ["ttbar", "tau"])
def test_status_and_flags_agree_with_the_slow_reading(sample: str, request: pytest.FixtureRequest) -> None:
    made, gen = request.getfixturevalue(sample)
    for event, index, parts in zip(
        ak.to_list(made.particles)[:12], ak.to_list(gen["gen_index"]), ak.to_list(gen["GenPart"])
    ):
        slow = Slow(event)
        for i, part in zip(index, parts):
            assert part["status"] == slow.status[i]
            found = {name: bool(part["statusFlags"] & bit) for name, bit in BIT.items()}
            assert found == slow.flags(i), (i, part)


def test_flags_are_those_of_a_real_file(shared: Callable[[str], Path], ttbar: tuple) -> None:
    """The share of each flag for kinds that do not depend on how the top pairs were generated."""
    names = ["GenPart_pdgId", "GenPart_status", "GenPart_statusFlags"]
    real = uproot.open(shared("NanoAODv5_sample.root"))["Events"].arrays(names)
    title = uproot.open(shared("NanoAODv5_sample.root"))["Events"]["GenPart_statusFlags"].title
    assert all(f"{k} : {name}" in title for k, name in enumerate(FLAGS))
    own = ttbar[1]["GenPart"]
    for kind, status in ((6, 22), (5, 23), (511, 2), (421, 2), (12, 1)):
        a = real.GenPart_statusFlags[(abs(real.GenPart_pdgId) == kind) & (real.GenPart_status == status)]
        b = own.statusFlags[(abs(own.pdgId) == kind) & (own.status == status)]
        a, b = np.asarray(ak.flatten(a)), np.asarray(ak.flatten(b))
        for name, bit in BIT.items():
            if name != "isLastCopyBeforeFSR":
                p, q = np.mean((a & bit) != 0), np.mean((b & bit) != 0)
                assert abs(p - q) < 0.03 + 4 * np.sqrt(max(p * (1 - p), q * (1 - q)) * (1 / len(a) + 1 / len(b))), (
                    kind,
                    name,
                )


def test_circles_end() -> None:
    parent = np.array([1, 2, 0, 4, -1])
    assert nearest(parent, np.zeros(5, bool)).tolist() == [-1] * 5
    assert nearest(parent, np.array([False, False, True, False, True])).tolist() == [2, 2, 2, 4, 4]


# -- jets, taus, missing momentum -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "radius", "least"), [("GenJet", 0.4, 10), ("GenJetAK8", 0.8, 80)])
def test_jets_are_fastjets(ttbar: tuple, name: str, radius: float, least: float) -> None:
    made, gen = ttbar
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    for event, jets in zip(made.particles[:15], gen[name]):
        seen = event[(event.status > 0) & ~np.isin(abs(event.pdgId), (12, 14, 16))]
        inputs = [fastjet.PseudoJet(*map(float, (p.px, p.py, p.pz, p.e))) for p in seen]
        sequence = fastjet.ClusterSequence(inputs, definition)
        expected = fastjet.sorted_by_pt(sequence.inclusive_jets(least))
        assert np.allclose(jets.pt, [j.pt() for j in expected], rtol=1e-5)
        assert np.allclose(jets.eta, [j.eta() for j in expected], atol=1e-5)
        assert np.allclose(np.cos(jets.phi - np.array([j.phi() for j in expected])), 1)
        assert np.allclose(jets.mass, [j.m() for j in expected], atol=2e-3)


def test_flavours(ttbar: tuple) -> None:
    gen = ttbar[1]
    parts, jets = gen["GenPart"], gen["GenJet"]
    b = parts[(abs(parts.pdgId) == 5) & (parts.status == 23)]
    b = b[(b.pt > 30) & (abs(b.eta) < 3)]
    pairs = ak.cartesian([b, jets], nested=True)
    quark, jet = ak.unzip(pairs)
    distance = np.hypot(quark.eta - jet.eta, (quark.phi - jet.phi + np.pi) % (2 * np.pi) - np.pi)
    near = jet[ak.argmin(distance, axis=-1, keepdims=True)][ak.min(distance, axis=-1) < 0.2]
    hadron, parton = (
        np.abs(np.asarray(ak.flatten(near[f"{kind}Flavour"], axis=None))) for kind in ("hadron", "parton")
    )
    assert np.mean(hadron == 5) > 0.96 and np.mean(parton == 5) > 0.96
    assert set(np.unique(ak.flatten(jets.hadronFlavour))) == {0, 4, 5}
    number = ak.sum(jets.hadronFlavour == 5, axis=1)
    assert 1.5 < ak.mean(number) < 2.2


def test_missing_momentum_is_that_of_the_neutrinos(ttbar: tuple) -> None:
    made, gen = ttbar
    final = made.particles[(made.particles.status > 0)]
    neutrinos = final[(abs(final.pdgId) == 12) | (abs(final.pdgId) == 14) | (abs(final.pdgId) == 16)]
    x, y = (np.asarray(ak.sum(neutrinos[name], axis=1)) for name in ("px", "py"))
    assert np.allclose(gen["GenMET_pt"], np.hypot(x, y), atol=1e-3)
    some = np.hypot(x, y) > 1
    assert np.allclose(np.cos(gen["GenMET_phi"][some] - np.arctan2(y, x)[some]), 1)


def test_visible_taus(tau: tuple) -> None:
    taus, parts = tau[1]["GenVisTau"], tau[1]["GenPart"]
    assert ak.all(taus.pt > 10)
    mother = parts[taus.genPartIdxMother]
    assert ak.all(abs(mother.pdgId) == 15) and ak.all(mother.status == 2)
    assert ak.all(taus.charge == -np.sign(mother.pdgId)) and ak.all(taus.mass < 1.78)
    assert ak.all(taus.pt <= mother.pt * 1.001 + 1.0)
    modes = np.bincount(np.asarray(ak.flatten(taus.status)), minlength=16)
    shares = {0: 0.108 + 0.007, 1: 0.255, 2: 0.093, 10: 0.090, 11: 0.045}  # PDG, of all taus; K included
    for mode, share in shares.items():
        expected = share / 0.648
        assert abs(modes[mode] / modes.sum() - expected) < 4 * math.sqrt(expected / modes.sum()) + 0.02, mode


def test_the_vertex_is_where_the_collision_is(ttbar: tuple) -> None:
    made, gen = ttbar
    for axis in "xyz":
        assert np.allclose(gen[f"GenVtx_{axis}"], np.asarray(made.particles[f"v{axis}"][:, 1]) / 10, rtol=1e-5)


def test_history_of_a_block(ttbar: tuple) -> None:
    history = History.of(ttbar[0].particles)
    assert len(history.offsets) == 251
    assert np.all(history.previous[history.next[history.next >= 0]] >= 0)
