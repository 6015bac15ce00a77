"""Who comes from whom: mothers, copies, and CMS's flags of generated particles, on the flat content of a block.

Positions are those in the flat content of all events; -1 means none. As in CMS, a particle that only changed its
momentum is the same particle again, a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import awkward as ak
import numpy as np

from ...compiled import jit
from ..flat import counts, flat, offsets_of

FLAGS = (
    "isPrompt", "isDecayedLeptonHadron", "isTauDecayProduct", "isPromptTauDecayProduct", "isDirectTauDecayProduct",
    "isDirectPromptTauDecayProduct", "isDirectHadronDecayProduct", "isHardProcess", "fromHardProcess",
    "isHardProcessTauDecayProduct", "isDirectHardProcessTauDecayProduct", "fromHardProcessBeforeFSR", "isFirstCopy",
    "isLastCopy", "isLastCopyBeforeFSR",
)  # fmt: skip
"""The bits of ``GenPart_statusFlags`` from the lowest, in the order of NanoAOD (``reco::GenStatusFlags``)."""


@dataclass(frozen=True)
class History:
    """The history of the particles of a block.

    ``offsets`` (n + 1,) bound the events; ``kind`` is the absolute PDG id, ``status`` that of HepMC; ``mother`` is the
    first mother, ``previous`` and ``next`` are the neighbouring copies, ``radiates`` says that a daughter is a gluon or
    photon.
    """

    offsets: np.ndarray
    kind: np.ndarray
    status: np.ndarray
    mother: np.ndarray
    previous: np.ndarray
    next: np.ndarray
    radiates: np.ndarray

    @classmethod
    def of(cls, particles: ak.Array) -> History:
        """Read the history of ``GenBlock.particles``."""
        offsets = offsets_of(counts(particles))
        pdg_id, mother1, mother2 = (flat(particles, name) for name in ("pdgId", "mother1", "mother2"))
        status = _hepmc_status(offsets, pdg_id, flat(particles, "status"), flat(particles, "daughter1"))
        return cls(offsets, np.abs(pdg_id), status, *_links(offsets, pdg_id, mother1, mother2))

    @cached_property
    def decayed(self) -> np.ndarray:
        """Hadrons, muons and taus that decayed, in their last copy."""
        return _decayed(self.kind, self.status, self.next)

    @cached_property
    def hard(self) -> np.ndarray:
        """Part of the hard process: status 21 to 29, or straight from a resonance that did not radiate."""
        return _hard(self.status, self.mother, self.first_copy, self.next)

    @cached_property
    def first_copy(self) -> np.ndarray:
        """The first copy of each particle."""
        return nearest(self.previous, self.previous < 0)

    @cached_property
    def hard_copy(self) -> np.ndarray:
        """The nearest copy, itself or earlier, that is part of the hard process."""
        return nearest(self.previous, self.hard)

    @cached_property
    def decayed_mother(self) -> np.ndarray:
        """The nearest ancestor that is a decayed hadron, muon or tau; a particle without one is prompt."""
        return self.ancestor(self.decayed)

    def ancestor(self, chosen: np.ndarray) -> np.ndarray:
        """Return the nearest chosen ancestor of each particle, through first mothers."""
        return at(nearest(self.mother, chosen), self.mother, -1)

    def flags(self, index: np.ndarray) -> np.ndarray:
        """Return the status flags of the particles at these positions, u2 (see :data:`FLAGS`)."""
        taus = self.decayed & (self.kind == 15)
        tau, decayed = self.ancestor(taus)[index], self.decayed_mother[index]
        hard_copy, last = self.hard_copy[index], self.next[index] < 0
        before_fsr = nearest(self.next, self.radiates)  # as CMS has it: none where nothing is radiated
        prompt_tau = (tau >= 0) & (at(self.decayed_mother, tau, 0) < 0)
        hard_tau = (tau >= 0) & (at(self.hard_copy, tau, -1) >= 0)
        direct = (tau >= 0) & (tau == decayed)
        other = at(self.mother, self.first_copy[index], -1)
        from_status = at(self.status, hard_copy, 0)
        summary = ((from_status == 21) & (hard_copy == index)) | ((from_status == 22) & last)
        summary |= np.isin(from_status, (1, 23)) & (at(before_fsr, hard_copy, -1) == index)
        bits = [
            decayed < 0, self.decayed[index], tau >= 0, prompt_tau, direct, direct & prompt_tau,
            at(self.decayed & is_hadron(self.kind), other, False), self.hard[index], hard_copy >= 0, hard_tau,
            direct & hard_tau, summary, self.previous[index] < 0, last, before_fsr[self.first_copy[index]] == index,
        ]  # fmt: skip
        out = np.zeros(len(index), np.uint16)
        for k, bit in enumerate(bits):
            out |= bit.astype(np.uint16) << np.uint16(k)
        return out


@jit
def at(values: np.ndarray, index: np.ndarray, default: float) -> np.ndarray:
    """Return ``values[index]``, and ``default`` where the index is -1."""
    out = np.empty(len(index), values.dtype)
    for i in range(len(index)):
        out[i] = values[index[i]] if index[i] >= 0 else default
    return out


@jit
def nearest(parent: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """For each entry the first chosen one on its way along ``parent``, itself included; -1 where there is none."""
    unknown = -2
    result = np.full(len(parent), unknown, np.int64)
    for i in range(len(parent)):
        if not chosen[i] and 0 <= parent[i] < i:  # nearly all: a mother comes first
            result[i] = result[parent[i]]
            continue
        j = i
        while j >= 0 and result[j] == unknown and not chosen[j]:
            result[j] = -1  # what comes back to here goes around in a circle
            j = parent[j]
        answer = -1 if j < 0 else j if chosen[j] else result[j]
        k = i
        while k != j:
            result[k] = answer
            k = parent[k]
        if j >= 0 and chosen[j]:
            result[j] = j
    return result


@jit
def is_hadron_id(kind: int) -> bool:
    """Whether an absolute PDG id is a hadron's: Pythia's and HepPDT's reading of its digits."""
    if kind == 130 or kind == 310:
        return True
    if kind <= 100 or 1_000_000 <= kind <= 9_000_000 or kind >= 9_900_000:
        return False
    return kind % 10 != 0 and kind // 10 % 10 != 0 and kind // 100 % 10 != 0


@jit
def is_hadron(kind: np.ndarray) -> np.ndarray:
    """Whether absolute PDG ids are hadrons'."""
    out = np.empty(len(kind), np.bool_)
    for i in range(len(kind)):
        out[i] = is_hadron_id(kind[i])
    return out


@jit
def _hepmc_status(offsets: np.ndarray, pdg_id: np.ndarray, status: np.ndarray, daughter: np.ndarray) -> np.ndarray:
    """Pythia's status as HepMC has it: 1 final, 2 decayed hadron or lepton, 4 beam, else Pythia's without sign."""
    out = np.empty(len(status), np.int32)
    for e in range(len(offsets) - 1):
        for i in range(offsets[e], offsets[e + 1]):
            code, kind = status[i], abs(pdg_id[i])
            out[i] = 1 if code > 0 else 4 if code == -12 else -code
            if code < 0 and code != -12 and daughter[i] >= 0 and (kind == 13 or kind == 15 or is_hadron_id(kind)):
                first = offsets[e] + daughter[i]
                if pdg_id[first] != pdg_id[i] and 90 < abs(status[first]) < 95:
                    out[i] = 2
    return out


@jit
def _links(
    offsets: np.ndarray, pdg_id: np.ndarray, mother1: np.ndarray, mother2: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """First mother, previous copy, next copy, and whether a gluon or photon is among the daughters."""
    size = len(pdg_id)
    mother, previous, following = np.full(size, -1, np.int64), np.full(size, -1, np.int64), np.full(size, -1, np.int64)
    radiates = np.zeros(size, np.bool_)
    for e in range(len(offsets) - 1):
        start = offsets[e]
        for i in range(start, offsets[e + 1]):
            low, high = mother1[i], mother2[i]
            if 0 <= high < low:
                low, high = high, low
            if low >= 0:
                mother[i] = start + low
            for m in (low, high):
                if m < 0:
                    continue
                m += start
                radiates[m] |= pdg_id[i] == 21 or pdg_id[i] == 22
                if pdg_id[m] == pdg_id[i] and m != i:
                    if previous[i] < 0:
                        previous[i] = m
                    if following[m] < 0:
                        following[m] = i
    return mother, previous, following, radiates


@jit
def _decayed(kind: np.ndarray, status: np.ndarray, following: np.ndarray) -> np.ndarray:
    out = np.empty(len(kind), np.bool_)
    for i in range(len(kind)):
        lepton = kind[i] == 13 or kind[i] == 15
        out[i] = status[i] == 2 and following[i] < 0 and (lepton or is_hadron_id(kind[i]))
    return out


@jit
def _hard(status: np.ndarray, mother: np.ndarray, first_copy: np.ndarray, following: np.ndarray) -> np.ndarray:
    out = np.empty(len(status), np.bool_)
    for i in range(len(status)):
        out[i] = 20 < status[i] < 30
        m = mother[i]
        if status[i] <= 2 and m >= 0 and first_copy[m] >= 0 and status[first_copy[m]] == 22:
            after = following[m]
            out[i] |= not (after >= 0 and 50 < status[after] < 60)
    return out
