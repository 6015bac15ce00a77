"""Events from Pythia 8 (arXiv:2203.11601), in blocks that are the same whatever process makes them and in any order.

A running Pythia keeps nothing from one event for the next but its random numbers, so ``rndm.init(seed)`` gives the same
events on it as on a new one, **if both were initialised with the same seed**: the initialisation samples the maxima of the
cross sections and the multiparton interactions, and what it finds is used for every event. So every Pythia here starts
with one fixed seed, and every block re-seeds it with its own.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from ..config.schema import Generator
from ..errors import DataError, UserError
from . import presets
from .filters import Filters
from .flat import counts, records
from .gun import Gun, Occupancy, shots

BLOCK = 250
"""Events of a block: one luminosity block, one seed."""
START_SEED = 1
LAST_SEED = 900_000_000  # Pythia's
BEAM_SPOT = (0.010, 0.010, 35.0)
"""Spread of the collisions in x, y, z (mm): that of the LHC in Run 2 and 3 (CMS, JINST 9 (2014) P10009; CMSSW's
``VtxSmearedParameters_cfi``, the Realistic25ns sets)."""
PILEUP_POOL = 1000
"""At most so many different minimum-bias collisions for a block; used more than once, each time turned by another angle."""
PILEUP_PROCESS = "minbias"


def load() -> Any:
    """Import ``pythia8mc`` from a place without a ``python/console.py``: its initialisation runs a file of that name."""
    if "pythia8mc" in sys.modules:
        return sys.modules["pythia8mc"]
    here = Path.cwd()
    os.chdir(sys.prefix)
    try:
        import pythia8mc
    finally:
        os.chdir(here)
    return pythia8mc


@dataclass
class Trials:
    """The books of the filters: how many events were tried and passed, and how many each filter rejected."""

    tried: int = 0
    passed: int = 0
    rejected: dict[str, int] = field(default_factory=dict)

    def add(self, other: Trials) -> None:
        """Add the books of other events."""
        self.tried += other.tried
        self.passed += other.passed
        for name, count in other.rejected.items():
            self.rejected[name] = self.rejected.get(name, 0) + count

    @property
    def efficiency(self) -> tuple[float, float]:
        """The share of events that passed, and its binomial error."""
        share = self.passed / self.tried if self.tried else 0.0
        return share, float(np.sqrt(share * (1 - share) / max(self.tried, 1)))


@dataclass(frozen=True)
class Batch:
    """Some events: ``particles`` (see :class:`GenBlock`), ``weight`` (n,), and ``info`` (n,) each."""

    particles: ak.Array
    weight: np.ndarray
    info: dict[str, np.ndarray]

    def take(self, index: np.ndarray) -> Batch:
        """Return the events at these positions."""
        return Batch(self.particles[index], self.weight[index], {k: v[index] for k, v in self.info.items()})

    @classmethod
    def join(cls, parts: Sequence[Batch]) -> Batch:
        """Put batches one after the other."""
        if len(parts) == 1:
            return parts[0]
        info = {name: np.concatenate([p.info[name] for p in parts]) for name in parts[0].info}
        particles = ak.to_packed(ak.concatenate([p.particles for p in parts]))
        return cls(particles, np.concatenate([p.weight for p in parts]), info)


@dataclass(frozen=True)
class GenBlock:
    """A block of generated events.

    Attributes
    ----------
    particles
        n * var * record of ``pdgId``, ``status`` (Pythia's; above 0 is final), ``mother1``, ``mother2``, ``daughter1``,
        ``daughter2`` (positions in the event's list, -1 for none; entry 0 is Pythia's whole system), ``px py pz e m`` (GeV),
        ``vx vy vz`` (production vertex, mm, with the spread of the beam spot), ``charge`` (e).
    weight
        (n,) f8.
    info
        Arrays (n,) about the hard process: ``scale`` (GeV), ``ptHat`` (GeV), ``x1 x2 id1 id2 pdf1 pdf2`` (x times the
        density), ``alphaS``, ``alphaEM``, ``nMPI``.
    accepted
        The books of the filters.
    pileup
        The final particles of the other collisions, with their number ``vertex`` (from 1) in the event; None without.
    pileup_n
        Number of other collisions, (n,) i4.
    """

    particles: ak.Array
    weight: np.ndarray
    info: dict[str, np.ndarray]
    accepted: Trials
    pileup: ak.Array | None
    pileup_n: np.ndarray


class Engine:
    """A Pythia that was initialised once.

    Raises
    ------
    UserError
        When Pythia refuses a setting; with Pythia's own words.
    """

    def __init__(self, settings: Sequence[str], where: str, gun: bool = False) -> None:
        fixed = ["Random:setSeed = on", f"Random:seed = {START_SEED}", "Next:numberCount = 0"]
        with _heard() as words:
            self._pythia = load().Pythia("", False)
            self._pythia.readString("Print:quiet = on")
            for line in [*settings, *fixed, *(["Beams:frameType = 5"] if gun else [])]:
                if not self._pythia.readString(line):
                    raise UserError(f"{where}: Pythia refuses {line!r}: {_gist(words)}")
            self._gun = Gun.of(load()) if gun else None
            if self._gun is not None:
                self._pythia.setLHAupPtr(self._gun)
            if not self._pythia.init():
                raise UserError(f"{where}: Pythia cannot start with these settings: {_gist(words)}")
        self._charge: tuple[np.ndarray, np.ndarray] = (np.zeros(0, np.int32), np.zeros(0))

    def seed(self, seed: int) -> None:
        """Begin a reproducible series of events."""
        self._pythia.rndm.init(1 + seed % LAST_SEED)

    def events(self, size: int, rows: Sequence[Any] | None = None) -> tuple[Batch, np.ndarray]:
        """Make events.

        Parameters
        ----------
        size
            How many are tried.
        rows
            The particles of a gun, for each event a list (see :func:`gun.shots`).

        Returns
        -------
        tuple[Batch, numpy.ndarray]
            The events that Pythia completed, and their numbers among the tried ones.
        """
        if self._gun is not None:
            self._gun.load(rows or [])
        with _heard() as words:
            made = self._pythia.nextBatch(size, "none")
        done = np.flatnonzero(~np.asarray(ak.is_none(made.prt)))
        if not len(done):
            raise DataError(f"Pythia completed none of {size} events: {_gist(words)}")
        return self._batch(made[done] if len(done) < size else made), done

    def _batch(self, made: ak.Array) -> Batch:
        made = ak.drop_none(made) if made.layout.is_option else made
        lists = ak.drop_none(made.prt) if made.prt.layout.is_option else made.prt
        sizes, content = counts(lists), ak.flatten(lists)
        columns = {"pdgId": np.asarray(content.id), "status": np.asarray(content.status)}
        for name in ("mother1", "mother2", "daughter1", "daughter2"):
            index = np.asarray(content[name])
            columns[name] = np.where(index > 0, index, -1).astype(np.int32)
        columns |= {name: np.asarray(content.p[name]) for name in ("px", "py", "pz", "e")}
        columns["m"] = np.asarray(content.m)
        columns |= _vertices(content.vProd)
        columns["charge"] = self._charges(columns["pdgId"])
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        info = _information(made.info)
        info["nMPI"] = _interactions(columns["status"], offsets)
        weight = np.asarray(ak.firsts(made.info.weights), np.float64)
        return Batch(records(offsets, columns), weight, info)

    def _charges(self, ids: np.ndarray) -> np.ndarray:
        """Return charges in units of e; Pythia is asked once about every kind of particle."""
        known, charge = self._charge
        place = np.searchsorted(known, ids)
        new = np.unique(ids[(place == len(known)) | (known[np.minimum(place, len(known) - 1)] != ids)]) if len(known) else np.unique(ids)
        if len(new):
            known = np.concatenate([known, new])
            charge = np.concatenate([charge, [self._pythia.particleData.chargeType(int(i)) / 3 for i in new]])
            order = np.argsort(known)
            self._charge = known, charge = known[order], charge[order]
            place = np.searchsorted(known, ids)
        return charge[place]


# -- blocks -----------------------------------------------------------------------------------------------------------


def blocks(events: int) -> list[int]:
    """Return the sizes of the blocks that make so many events."""
    return [min(BLOCK, events - start) for start in range(0, events, BLOCK)]


def seeds(generator: Generator, sample: str, block: int, most: int = 4) -> list[np.random.SeedSequence]:
    """Return independent seeds for a block, the same for all processes: Pythia, gun and beam spot, pileup, detector."""
    return np.random.SeedSequence([generator.seed, zlib.crc32(sample.encode()), block]).spawn(most)


def engine_of(generator: Generator, where: str) -> Engine:
    """Return the Pythia of a ``generator`` block; this process initialises it once."""
    return _engine(tuple(presets.settings(generator, where)), where, generator.gun is not None)


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
        Events to be accepted.
    occupancy
        The acceptance of a gun, where its spectrum is to be flat.

    Returns
    -------
    tuple[GenBlock, numpy.random.Generator]
        The block, and the random numbers for its detector.

    Raises
    ------
    DataError
        When the filters accept nothing.
    """
    where = f"samples.{sample}.generator"
    engine = engine_of(generator, where)
    for_pythia, for_rows, for_pileup, for_detector = seeds(generator, sample, block)
    engine.seed(_number(for_pythia))
    rng = np.random.default_rng(for_rows)
    select = _by_bins if occupancy is not None else _in_order
    batch, trials = select(engine, generator, where, size, rng, occupancy)
    vertices = rng.normal(size=(size, 3)) * BEAM_SPOT
    particles = _move(batch.particles, vertices)
    pileup, number = None, np.zeros(size, np.int32)
    if generator.pileup > 0:
        pileup, number = _pileup(generator, where, size, for_pileup)
    made = GenBlock(particles, batch.weight, batch.info, trials, pileup, number)
    return made, np.random.default_rng(for_detector)


def survey(generator: Generator, sample: str) -> Occupancy:
    """Estimate the acceptance of a gun in bins of mass and pt, by the pilot events and their own seed.

    Raises
    ------
    DataError
        When the filters accept no pilot event.
    """
    where = f"samples.{sample}.generator"
    engine, filters = engine_of(generator, where), Filters(generator.filters)
    occupancy = Occupancy.empty(generator)
    for_pythia, for_rows = np.random.SeedSequence([generator.seed, zlib.crc32(sample.encode())]).spawn(2)
    engine.seed(_number(for_pythia))
    rng = np.random.default_rng(for_rows)
    pilot = generator.flatten.pilot if generator.flatten else 0
    for start in range(0, pilot, _MOST):
        bins = np.arange(start, min(start + _MOST, pilot)) % occupancy.size
        batch, done = engine.events(len(bins), shots(_gun(generator), len(bins), rng, engine.masses(generator), occupancy, bins))
        occupancy.count(bins, bins[done][filters.verdict(batch.particles) < 0])
    if not occupancy.passed.any():
        raise DataError(_impossible(where, filters, Trials(pilot, 0, {})))
    return occupancy
