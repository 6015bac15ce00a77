"""Blocks of accepted events: filters, flattening, beam spot and pileup around :class:`.pythia.Engine`."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass

import awkward as ak
import numpy as np

from ...config.generator import Flatten, Generator, GunParticle
from ...config.pythia_settings import SLHA_FILE
from ...console import say
from ...errors import DataError, UserError
from .. import presets
from ..flat import counts, flat, offsets_of, records
from .filters import Filters
from .gun import Occupancy, shoot, spectrum
from .lhe import LheFile, open_lhe
from .pythia import Engine, GenBlock, PythiaEvents
from .trials import CrossSection, Trials

BLOCK = 250
"""Events of a block: one luminosity block, one seed."""
BEAM_SPOT = (0.010, 0.010, 35.0)
"""Spread of the collisions in x, y, z (mm), as at the LHC in Runs 2 and 3: CMSSW's ``VtxSmearedParameters_cfi``, the
``Realistic25ns`` sets, have a sigma of z of 3.3 to 3.8 cm."""
PILEUP_POOL = 1000
"""At most so many different minimum-bias collisions for a block; one that is used again is turned by another angle."""
PILEUP_PROCESS = "minbias"
PILOT = -1
"""Number of the block of a gun's pilot events."""
_BEYOND = 1000  # Pythia's codes of processes beyond the Standard Model begin here
_SAME_ENERGY = 1e-3
_MOST = 2000  # events tried at once: bounds the memory
_LEAST = 50


def sizes(events: int) -> list[int]:
    """Return the sizes of the blocks that make so many events."""
    return [min(BLOCK, events - start) for start in range(0, events, BLOCK)]


def generate_block(
    generator: Generator, sample: str, block: int, size: int, occupancy: Occupancy | None = None
) -> tuple[GenBlock, np.random.Generator]:
    """Generate one block of events.

    Parameters
    ----------
    generator, sample
        The sample and its ``generator`` block.
    block
        Number of the block, from 0: with the sample's name and the seed it determines the events.
    size
        Events to be accepted; of an LHE file, events to be read.
    occupancy
        The acceptance of a gun, where its spectrum is to be flat (see :func:`survey`).

    Returns
    -------
    tuple[GenBlock, numpy.random.Generator]
        The block, and the random numbers for its detector.

    Raises
    ------
    DataError
        When the filters accept nothing.
    """
    for_pythia, for_numpy, for_pileup, for_detector = seeds(generator.seed, sample, block).spawn(4)
    rng = np.random.default_rng(for_numpy)
    source = EventSource(generator, sample, for_pythia, rng)
    if generator.lhe_file is not None:
        batch, trials = source.read(block, size)
    else:
        batch, trials = source.accepted(size) if occupancy is None else source.flattened(size, occupancy)
    trials.cross_section = source.cross_section()
    size = len(batch.weight)
    at = rng.normal(size=(size, 3)) * BEAM_SPOT
    pileup, number = None, np.zeros(size, np.int32)
    if generator.pileup > 0:
        pileup, number = _pileup(generator, source.where, size, for_pileup)
    made = GenBlock(_moved(batch.particles, at), batch.weight, batch.info, trials, pileup, number)
    return made, np.random.default_rng(for_detector)


def check(generator: Generator, sample: str) -> None:
    """Raise a :class:`UserError` where a preset, a setting, a file or a particle is not what it has to be.

    An LHE file must have enough events, of the energy that the block says. With an SLHA file beside processes of the
    Standard Model alone, one line says that it does nothing for them.
    """
    where = f"samples.{sample}.generator"
    slha = generator.files.get(SLHA_FILE)
    if slha is not None and not os.access(slha, os.R_OK):
        raise UserError(f"{where}.settings: SLHA:file = {slha}: there is no such file, or it cannot be read")
    lhe = _lhe(generator, where)
    if lhe is not None and generator.events > lhe.events:
        raise UserError(f"{where}.events: {generator.events:,}, but {lhe.path} has {lhe.events:,} events")
    if lhe is not None and abs(lhe.energy / generator.energy - 1) > _SAME_ENERGY:
        raise UserError(f"{where}.energy: {generator.energy:g} GeV, but {lhe.path} was made for {lhe.energy:g} GeV")
    engine = _engine_of(generator, where)
    for name, cuts in generator.filters.items():
        kind = engine.unknown([*cuts.daughters, *([] if cuts.mother is None else [cuts.mother])])
        if kind is not None:
            raise UserError(f"{where}.filters.{name}: Pythia knows no particle of pdgId {kind}")
    if slha is not None and lhe is None and all(code < _BEYOND for code in engine.codes()):
        say(f"note: {where}: SLHA:file = {slha} changes nothing in processes of the Standard Model, and no other is on")


def survey(generator: Generator, sample: str) -> Occupancy:
    """Estimate the acceptance of a gun in bins of mass and pt, from pilot events with a seed of their own.

    Raises
    ------
    DataError
        When the filters accept no pilot event.
    """
    assert generator.gun is not None and generator.flatten is not None  # noqa: S101 - the schema sees to it
    for_pythia, for_numpy = seeds(generator.seed, sample, PILOT).spawn(2)
    source = EventSource(generator, sample, for_pythia, np.random.default_rng(for_numpy))
    occupancy = Occupancy.empty(generator.gun, generator.flatten)
    for start in range(0, generator.flatten.pilot, _MOST):
        bins = np.arange(start, min(start + _MOST, generator.flatten.pilot)) % len(occupancy.tried)
        verdict = source.tried(len(bins), occupancy, bins).verdict
        occupancy.add(bins, bins[verdict < 0])
    if not len(occupancy.filled):
        raise DataError(source.impossible(generator.flatten.pilot))
    return occupancy


def seeds(seed: int, sample: str, block: int) -> np.random.SeedSequence:
    """Return the seed of a block: 128 bits that no other block has, of any sample and of any ``seed``.

    It depends on neither the process nor the order. That two of n blocks share one has a probability of n^2/2^129.
    """
    digest = hashlib.sha256(f"{seed} {sample} {block}".encode()).digest()
    return np.random.SeedSequence(int.from_bytes(digest, "big"))


def _lhe(generator: Generator, where: str) -> LheFile | None:
    return None if generator.lhe_file is None else open_lhe(generator.lhe_file, BLOCK, where)


def _engine_of(generator: Generator, where: str) -> Engine:
    settings, gun = tuple(presets.settings(generator, where)), tuple(generator.gun or ())
    return _engine(settings, where, gun, _lhe(generator, where))


@functools.lru_cache(maxsize=4)
def _engine(
    settings: tuple[str, ...], where: str, gun: tuple[GunParticle, ...] = (), lhe: LheFile | None = None
) -> Engine:
    """Return an initialised Pythia; each process makes it once."""
    return Engine(settings, where, gun, lhe)


@dataclass(frozen=True)
class Attempt:
    """Events that were tried.

    ``passed`` are those that all filters let pass. Of each tried one: ``verdict``, the number of the filter that
    rejects it (-1: none does); ``weight``, 0 where Pythia did not complete it; ``spectrum``, mass and pt of a gun's
    particle.
    """

    passed: PythiaEvents
    verdict: np.ndarray
    weight: np.ndarray
    spectrum: tuple[np.ndarray, np.ndarray] | None


class EventSource:
    """Tries events of a sample and lets its filters choose."""

    def __init__(
        self, generator: Generator, sample: str, seed: np.random.SeedSequence, rng: np.random.Generator
    ) -> None:
        self.where = f"samples.{sample}.generator"
        self._generator = generator
        self._engine = _engine_of(generator, self.where)
        self._engine.seed(seed)
        self._filters = Filters(generator.filters)
        self._rng = rng

    def cross_section(self) -> CrossSection | None:
        """Return Pythia's cross section, by all events that were tried."""
        return self._engine.cross_section()

    def tried(self, size: int, occupancy: Occupancy | None = None, bins: np.ndarray | None = None) -> Attempt:
        """Try events; with ``bins`` the gun's first particle is drawn within these bins of the occupancy."""
        rows = None
        if self._generator.gun is not None:
            first = None if occupancy is None or bins is None else occupancy.inside(bins, self._rng)
            rows = shoot(self._generator.gun, size, self._rng, self._engine.mass, first)
        batch, done = self._engine.events(size, rows)
        verdict = np.full(size, len(self._filters.names) - 1)  # the last "filter" is Pythia itself
        verdict[done] = self._filters.verdict(batch.particles)
        weight = np.zeros(size)
        weight[done] = batch.weight
        passing = verdict[done] < 0
        passed = batch if passing.all() else batch.take(np.flatnonzero(passing))
        return Attempt(passed, verdict, weight, None if rows is None else spectrum(rows))

    def accepted(self, size: int) -> tuple[PythiaEvents, Trials]:
        """Return so many events that pass, and the counts of all that were tried up to the last of them."""
        trials, parts, fruitless = self._empty(), [], 0
        while trials.passed < size:
            missing = size - trials.passed
            attempt = self.tried(_batch_size(missing, trials))
            passed = np.flatnonzero(attempt.verdict < 0)[:missing]
            used = np.arange(len(attempt.verdict)) <= (passed[-1] if len(passed) == missing else len(attempt.verdict))
            self._count(trials, attempt, used)
            parts += [attempt.passed.take(np.arange(len(passed)))] if len(passed) else []
            fruitless = 0 if len(passed) else fruitless + len(used)
            if fruitless >= self._generator.max_trials:
                raise DataError(self.impossible(fruitless))
        return PythiaEvents.join(parts), trials

    def read(self, block: int, size: int) -> tuple[PythiaEvents, Trials]:
        """Return the events of a block of an LHE file that pass, and the counts of all: each is tried once."""
        self._engine.begin(block, size)
        attempt, trials = self.tried(size), self._empty()
        self._count(trials, attempt, np.ones(size, np.bool_))
        return attempt.passed, trials

    def flattened(self, size: int, occupancy: Occupancy) -> tuple[PythiaEvents, Trials]:
        """Return events that pass, each of a bin that was drawn for it beforehand: flat, however they are accepted."""
        target = self._rng.choice(occupancy.filled, size)
        trials = self._empty(occupancy)
        parts: list[PythiaEvents] = []
        slots: list[np.ndarray] = []
        open_slots, rounds = np.arange(size), np.zeros(size, np.int64)
        while len(open_slots):
            tries = occupancy.tries(target[open_slots])
            slot = np.repeat(open_slots, tries)[:_MOST]
            attempt = self.tried(len(slot), occupancy, target[slot])
            passed = np.flatnonzero(attempt.verdict < 0)
            filled, first = np.unique(slot[passed], return_index=True)
            last = np.full(size, len(slot))
            last[filled] = passed[first]
            self._count(trials, attempt, np.arange(len(slot)) <= last[slot])
            parts, slots = [*parts, attempt.passed.take(first)], [*slots, filled]
            np.add.at(rounds, slot, 1)
            open_slots = np.setdiff1d(open_slots, filled)
            if len(open_slots) and rounds[open_slots].max() >= self._generator.max_trials:
                raise DataError(self.impossible(int(rounds[open_slots].max())))
        return PythiaEvents.join([p for p in parts if len(p.weight)]).take(np.argsort(np.concatenate(slots))), trials

    def _empty(self, occupancy: Occupancy | None = None) -> Trials:
        """Return empty counts; a gun's have spectra, in the bins in which it is flattened or in the default ones."""
        if self._generator.gun is None:
            return Trials()
        spectra = Occupancy.empty(self._generator.gun, self._generator.flatten or Flatten())
        if occupancy is not None:
            spectra.aimed = occupancy.passed > 0
        return Trials(spectra=spectra)

    def _count(self, trials: Trials, attempt: Attempt, used: np.ndarray) -> None:
        verdict, weight = attempt.verdict[used], attempt.weight[used]
        kept = verdict < 0
        rejected = np.bincount(verdict[~kept], minlength=len(self._filters.names))
        counted = {n: int(k) for n, k in zip(self._filters.names, rejected) if k or n in self._generator.filters}
        sumw, sumw2, passed_sumw, passed_sumw2 = (
            float(w.sum()) for w in (weight, weight**2, weight[kept], weight[kept] ** 2)
        )
        trials.add(Trials(len(verdict), int(kept.sum()), counted, sumw, sumw2, passed_sumw, passed_sumw2))
        if trials.spectra is not None and attempt.spectrum is not None:
            bins = trials.spectra.bins(*attempt.spectrum)[used]
            trials.spectra.add(bins, bins[kept])

    def impossible(self, trials: int) -> str:
        """Say that nothing passes, with the limit on the efficiency: 1 - 0.05^(1/n), Clopper and Pearson's."""
        limit = 1 - 0.05 ** (1 / trials)
        return (
            f"{self.where}.filters: none of {trials:,} events in a row passed, so the efficiency is below {limit:.2g} "
            f"(95 % confidence): correct the filters, or raise max_trials"
        )


def _batch_size(missing: int, trials: Trials) -> int:
    """Return how many events to try next: about what is missing, by the efficiency so far."""
    efficiency = (trials.passed + 1) / (trials.tried + 1)
    return int(np.clip(np.ceil(1.1 * missing / efficiency), min(missing, _MOST), _MOST)) if trials.tried else missing


def _moved(particles: ak.Array, at: np.ndarray) -> ak.Array:
    """Return the particles with every event's collision moved to a place, (n, 3) in mm."""
    number = counts(particles)
    columns = {name: flat(particles, name) for name in particles.fields}
    for k, name in enumerate(("vx", "vy", "vz")):
        columns[name] = columns[name] + np.repeat(at[:, k], number)
    return records(offsets_of(number), columns)


# -- pileup -----------------------------------------------------------------------------------------------------------


def _pileup(generator: Generator, where: str, size: int, seed: np.random.SeedSequence) -> tuple[ak.Array, np.ndarray]:
    """Return the final particles of the other collisions of each event, and the number of these collisions."""
    for_pythia, for_numpy = seed.spawn(2)
    rng = np.random.default_rng(for_numpy)
    number = rng.poisson(generator.pileup, size)
    soft = Generator(process=PILEUP_PROCESS, tune=generator.tune, energy=generator.energy, mpi=generator.mpi)
    engine = _engine(tuple(presets.settings(soft, where)), where)
    engine.seed(for_pythia)
    total = int(number.sum())
    pool = engine.events(min(max(total, 1), PILEUP_POOL))[0].particles
    pool = ak.to_packed(pool[pool.status > 0])
    drawn = np.arange(total) % len(pool)
    vertex = np.arange(total) - np.repeat(np.cumsum(number) - number, number) + 1
    return _overlay(pool, drawn, vertex, number, rng), number.astype(np.int32)


def _overlay(
    pool: ak.Array, drawn: np.ndarray, vertex: np.ndarray, number: np.ndarray, rng: np.random.Generator
) -> ak.Array:
    """Put collisions of the pool into events, each turned around the beam and at its own place in the beam spot."""
    begin, length = offsets_of(counts(pool))[:-1][drawn], counts(pool)[drawn]
    of_particle = np.repeat(np.arange(len(drawn)), length)
    position = np.arange(len(of_particle)) - np.repeat(offsets_of(length)[:-1], length) + begin[of_particle]
    columns = {name: flat(pool, name)[position] for name in pool.fields}
    angle = rng.uniform(0, 2 * np.pi, len(drawn))[of_particle]
    for x, y in (("px", "py"), ("vx", "vy")):
        columns |= {x: np.cos(angle) * columns[x] - np.sin(angle) * columns[y],
                    y: np.sin(angle) * columns[x] + np.cos(angle) * columns[y]}  # fmt: skip
    for k, (name, spread) in enumerate(zip(("vx", "vy", "vz"), rng.normal(size=(3, len(drawn))))):
        columns[name] = columns[name] + (BEAM_SPOT[k] * spread)[of_particle]
    for name in ("mother1", "mother2", "daughter1", "daughter2"):
        columns[name] = np.full(len(of_particle), -1, np.int32)
    columns["vertex"] = vertex[of_particle].astype(np.int32)
    event = np.repeat(np.arange(len(number)), number)
    particles = np.bincount(event, weights=length, minlength=len(number)).astype(np.int64)
    return records(offsets_of(particles), columns)
