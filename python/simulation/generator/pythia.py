"""Events from Pythia 8 (arXiv:2203.11601), in blocks that are the same whatever process makes them and in any order.

A running Pythia keeps nothing from one event for the next but its random numbers, so with the same random numbers it
makes the same events as a new one, **if both were initialised with the same seed**: the initialisation samples the
maxima of the cross sections and the multiparton interactions, and what it finds is used for every event. So every
Pythia here starts with one fixed seed, and every block gives the generator of random numbers a state of its own.

Pythia's own seeds are too few for that: with 900,000,000 of them, two of 12,000 blocks share one, and so their events,
in 8 of 100 samples. So the whole state is set: 97 numbers of 48 bits, drawn from the block's 128 bits (see
:func:`.event_blocks.seeds`). That any two of 10^12 blocks have the same state has a probability below 10^-14.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import awkward as ak
import numpy as np

from ...config.generator import GunParticle
from ...config.pythia_settings import LHE_FILE, parse
from ...errors import DataError, UserError
from ..captured_stdout import captured_stdout
from ..flat import counts, records
from .gun import COLOURED, gun_class, kinds
from .lhe import LheFile
from .settings import misread
from .trials import CrossSection, Trials

START_SEED = 1
LEGS, BITS = 97, 48
"""Numbers in the state of Pythia's random numbers (Marsaglia and Zaman's), and the bits of each."""
_INTERNAL = range(81, 101)  # ids that Pythia's event record gives to its own entries
PB_PER_MB = 1e9
_BRIEF = (
    *(f"Init:show{topic} = off" for topic in ("Processes", "MultipartonInteractions", "ChangedSettings")),
    *(f"Init:show{topic} = off" for topic in ("ChangedParticleData", "ChangedResonanceData")),
    *(f"Next:number{topic} = 0" for topic in ("Count", "ShowLHA", "ShowInfo", "ShowProcess", "ShowEvent")),
)  # only its complaints: quiet altogether, Pythia would not say why it refuses something


def load() -> Any:
    """Import ``pythia8mc`` away from the working directory: it runs a ``python/console.py`` that it finds there.

    It gets the data that came with it: ``pip install --target`` puts them where it does not look, and the environment
    of a view of LCG names those of another version.
    """
    if "pythia8mc" in sys.modules:
        return sys.modules["pythia8mc"]
    cwd = Path.cwd()
    os.chdir(sys.prefix)
    try:
        import pythia8mc
    finally:
        os.chdir(cwd)
    packages = Path(pythia8mc.__file__).resolve().parent
    for folder in (packages.parents[2], packages):
        if (data := folder / "share" / "Pythia8" / "xmldoc").is_dir():
            os.environ["PYTHIA8DATA"] = str(data)
            break
    return pythia8mc


@dataclass(frozen=True)
class PythiaEvents:
    """Some events: ``particles`` (see :class:`GenBlock`), ``weight`` (n,), and ``info`` (n,) each."""

    particles: ak.Array
    weight: np.ndarray
    info: dict[str, np.ndarray]

    def take(self, index: np.ndarray) -> PythiaEvents:
        """Return the events at these positions."""
        return PythiaEvents(self.particles[index], self.weight[index], {k: v[index] for k, v in self.info.items()})

    @classmethod
    def join(cls, parts: Sequence[PythiaEvents]) -> PythiaEvents:
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
        ``daughter2`` (positions in the event's list, -1 for none; entry 0 is Pythia's whole system), ``px py pz e m``
        (GeV), ``vx vy vz`` (production vertex, mm, with the spread of the beam spot), ``charge`` (e).
    weight
        (n,) f8.
    info
        Arrays (n,) about the hard process: ``scale`` (GeV), ``ptHat`` (GeV), ``x1 x2 id1 id2 pdf1 pdf2`` (x times the
        density), ``alphaS``, ``alphaEM``, ``nMPI``.
    accepted
        What the filters let pass and rejected.
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
    """A Pythia that was initialised once, for a process, for a ``gun`` or for the events of an ``lhe`` file.

    Raises
    ------
    UserError
        When Pythia refuses a setting, with Pythia's own words, or would misread it; when it cannot shoot a particle.
    """

    def __init__(
        self, settings: Sequence[str], where: str, gun: Sequence[GunParticle] = (), lhe: LheFile | None = None
    ) -> None:
        fixed = [*_BRIEF, "Stat:reset = on", "Random:setSeed = on", f"Random:seed = {START_SEED}"]
        self._where, self._lhe = where, lhe
        with captured_stdout() as printed, nullcontext() if lhe is None else lhe.block(None) as head:
            self._pythia = load().Pythia("", False)
            for line in [*settings, *fixed, *(["Beams:frameType = 5"] if gun else [])]:
                self._read(f"Beams:LHEF = {head}" if parse(line)[0] == LHE_FILE else line, printed)
            self._check_kinds(gun)
            self._gun = gun_class(load())() if gun else None
            if self._gun is not None:
                self._pythia.setLHAupPtr(self._gun)
            if not self._pythia.init():
                raise UserError(f"{where}: Pythia cannot start with these settings: {printed()}")
            self._state = self._first_state()
        self._kinds, self._charge = np.zeros(1, np.int32), np.zeros(1)

    def _read(self, line: str, printed: Callable[[], str]) -> None:
        if not self._pythia.readString(line):
            raise UserError(f"{self._where}: Pythia refuses {line!r}: {printed()}")
        expected = misread(self._pythia.settings, line)
        if expected is not None:
            raise UserError(f"{self._where}: Pythia would misread {line!r}: the value must be {expected}, and no more")

    def _check_kinds(self, gun: Sequence[GunParticle]) -> None:
        """Refuse particles that Pythia does not know, or that would leave their colour alone."""
        data = self._pythia.particleData
        for kind in kinds(gun):
            if not data.isParticle(kind) or abs(kind) in _INTERNAL:
                raise UserError(f"{self._where}.gun: Pythia knows no particle of pdgId {kind}")
            if data.colType(kind) and abs(kind) not in COLOURED:
                name = data.name(kind)
                raise UserError(
                    f"{self._where}.gun: {name} ({kind}) has colour: of those, guns shoot quarks and gluons"
                )

    def unknown(self, pdg_ids: Iterable[int]) -> int | None:
        """Return the first of some kinds, whatever their sign, that Pythia does not know."""
        data = self._pythia.particleData
        return next((kind for kind in pdg_ids if not data.isParticle(abs(kind))), None)

    def mass(self, pdg_id: int) -> float:
        """Return Pythia's nominal mass of a kind of particle (GeV)."""
        return float(self._pythia.particleData.m0(pdg_id))

    def codes(self) -> list[int]:
        """Return Pythia's codes of the hard processes."""
        return [int(code) for code in self._pythia.infoPython().codesHard()]

    def seed(self, seed: np.random.SeedSequence) -> None:
        """Begin a reproducible series of events, and its statistics."""
        with captured_stdout(), NamedTemporaryFile() as file:
            self._pythia.stat()  # Pythia forgets its statistics only by showing them
            file.write(self._state + state(seed).tobytes())
            file.flush()
            self._pythia.rndm.readState(file.name)

    def begin(self, block: int, size: int) -> None:
        """Go to the events of a block of an LHE file; without such a file there is nothing to do."""
        if self._lhe is None:
            return
        with captured_stdout() as printed, self._lhe.block(block, size) as part:
            for line in ("Beams:newLHEFsameInit = on", f"Beams:LHEF = {part}"):
                self._pythia.readString(line)
            if not self._pythia.init():
                raise DataError(f"{self._lhe.path}: Pythia cannot read it: {printed()}")

    def _first_state(self) -> bytes:
        """Return what precedes the numbers in the state of Pythia's random numbers, as it writes it to files."""
        with NamedTemporaryFile() as file:
            self._pythia.rndm.init(START_SEED)
            self._pythia.rndm.dumpState(file.name)
            return Path(file.name).read_bytes()[: -8 * LEGS]

    def cross_section(self) -> CrossSection | None:
        """Return the cross section by the events since the last seed; None for a gun, which has none."""
        if self._gun is not None:
            return None
        info = self._pythia.infoPython()
        value, error = info.sigmaGen() * PB_PER_MB, info.sigmaErr() * PB_PER_MB
        return CrossSection(value, error, info.nTried(0), common=self._lhe is not None)

    def events(self, size: int, rows: Sequence[Any] | None = None) -> tuple[PythiaEvents, np.ndarray]:
        """Make events.

        Parameters
        ----------
        size
            How many are tried.
        rows
            The particles of a gun, for each event a list (see :func:`gun.shoot`).

        Returns
        -------
        tuple[PythiaEvents, numpy.ndarray]
            The events that Pythia completed, and their numbers among the tried ones.
        """
        if self._gun is not None:
            self._gun.load(rows)
        with captured_stdout() as printed:
            made = self._pythia.nextBatch(size, "none")
            complaint = printed()
        failed = np.asarray(ak.is_none(made.prt)) if "prt" in made.fields else np.ones(size, np.bool_)
        done = np.flatnonzero(~failed)
        if not len(done):
            raise DataError(f"{self._where}: Pythia completed none of {size} events: {complaint}")
        if not ak.any(ak.num(made.prt)):
            raise UserError(f"{self._where}: with these settings Pythia's events have no particles: leave showers on")
        return self._batch(ak.drop_none(made[done])), done

    def _batch(self, made: ak.Array) -> PythiaEvents:
        sizes, content = counts(made.prt), ak.flatten(made.prt)
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
        return PythiaEvents(records(offsets, columns), weight, info)

    def _charges(self, ids: np.ndarray) -> np.ndarray:
        """Return charges in units of e; Pythia is asked once about every kind of particle."""
        index = np.searchsorted(self._kinds, ids).clip(max=len(self._kinds) - 1)
        new = np.unique(ids[self._kinds[index] != ids])
        if len(new):
            self._kinds = np.union1d(self._kinds, new)
            self._charge = np.array([self._pythia.particleData.chargeType(int(i)) / 3 for i in self._kinds])
            index = np.searchsorted(self._kinds, ids)
        return self._charge[index]


def state(seed: np.random.SeedSequence) -> np.ndarray:
    """Return the numbers that make up the state of Pythia's random numbers, (LEGS,) f8 in [0, 1)."""
    return (seed.generate_state(LEGS, np.uint64) >> np.uint64(64 - BITS)) * 2.0**-BITS


def _vertices(vertex: ak.Array) -> dict[str, np.ndarray]:
    """Return the production vertices (mm), which are 0 where Pythia has none."""
    layout = vertex.layout.to_IndexedOptionArray64()
    index, vertices = np.asarray(layout.index), ak.Array(layout.content)
    # no vertex is index -1: the 0 at the end
    return {f"v{name[1]}": np.append(np.asarray(vertices[name]), 0.0)[index] for name in ("px", "py", "pz")}


def _information(info: ak.Array) -> dict[str, np.ndarray]:
    """Return what Pythia says about the hard process."""
    get = {name: np.asarray(info[name]) for name in info.fields if name != "weights"}
    out = {name: get[name].astype(np.int32) for name in ("id1", "id2")}
    out |= {name: get[name] for name in ("x1", "x2", "pdf1", "pdf2", "alphaS", "alphaEM")}
    return out | {"scale": np.sqrt(get["Q2Fac"]), "ptHat": np.sqrt(np.maximum(get["pT2Hat"], 0))}


def _interactions(status: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Count the partonic interactions: the hardest (status -21) and further ones (-31), two incoming partons each."""
    incoming = np.concatenate([[0], np.cumsum((status == -21) | (status == -31))])
    return ((incoming[offsets[1:]] - incoming[offsets[:-1]]) // 2).astype(np.int32)
