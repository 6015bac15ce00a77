"""How samples are generated: processes, guns, filters on generated particles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal, Optional

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from . import pythia_settings
from .base import Identifier, Interval, Positive, Strict, one_as_list


class GunParticle(Strict):
    """A particle that is shot into every event, flat in the given ranges (GeV, radian).

    Without ``mass`` it has Pythia's mass. ``antiparticle`` adds its antiparticle (for a gluon another one) with
    opposite momentum; a quark or a gluon needs it, since colour does not leave alone. Such a pair radiates as the
    products of a resonance at rest do.
    """

    pdgId: Annotated[int, Field(ge=-(10**9), le=10**9)]  # noqa: N815 - NanoAOD's name
    """What is shot."""
    pt: Interval
    """Range of the transverse momentum in GeV."""
    eta: Interval = (-2.5, 2.5)
    """Range of the pseudorapidity."""
    phi: Interval = (-math.pi, math.pi)
    """Range of the azimuth."""
    mass: Optional[Interval] = None
    """Range of the mass in GeV; by default Pythia's mass."""
    antiparticle: bool = False
    """Its antiparticle goes the other way."""

    @model_validator(mode="after")
    def _possible(self) -> GunParticle:
        if self.pdgId == 0:
            raise ValueError("pdgId 0 is no particle")
        if self.pt[0] < 0 or (self.mass is not None and self.mass[0] < 0):
            raise ValueError("pt and mass cannot be negative")
        if abs(self.pdgId) in (1, 2, 3, 4, 5, 6, 21) and not self.antiparticle:
            raise ValueError("a quark or a gluon needs 'antiparticle: true': colour does not leave alone")
        return self


class Flatten(Strict):
    """Bins of mass and pt of a gun's first particle in which the accepted events are flat.

    By ``pilot`` events, with a seed of their own, the acceptance of each bin is estimated.
    """

    mass: int = Field(default=20, gt=0, le=1000)
    """Bins of the mass."""
    pt: int = Field(default=16, gt=0, le=1000)
    """Bins of the transverse momentum."""
    pilot: int = Field(default=20_000, gt=0)
    """Events by which the acceptance of each bin is estimated."""


class GenFilter(Strict):
    """A condition on generated particles; an event passes when at least ``count`` decays (or particles) meet it.

    ``daughters`` are PDG ids of the legs, in any order; the sign of an id does not matter here. With a ``mother``, its
    daughters of these kinds must be just those (others may be there), each within ``pt`` (at least, GeV) and ``eta``
    (absolute value, at most), each pair within ``delta_r``, and all together within ``mass`` (GeV). Without one, single
    particles of these kinds are counted. Mother and legs are looked at as they are after radiation.
    """

    daughters: Annotated[list[int], Field(min_length=1), BeforeValidator(one_as_list)]
    """PDG ids of the legs, or of the particles that are counted."""
    mother: Optional[int] = None
    """PDG id of what decays into them."""
    pt: float = Field(default=0.0, ge=0)
    """Least transverse momentum of each leg in GeV."""
    eta: Optional[Positive] = None
    """Largest absolute pseudorapidity of each leg."""
    delta_r: Optional[Interval] = None
    """Range of the distance of each pair of legs."""
    mass: Optional[Interval] = None
    """Range of the mass of all legs together in GeV."""
    count: int = Field(default=1, gt=0)
    """How many of them an event needs."""

    @model_validator(mode="after")
    def _legs(self) -> GenFilter:
        for name in ("delta_r", "mass"):
            if getattr(self, name) is not None and (self.mother is None or len(self.daughters) < 2):
                raise ValueError(f"{name!r} needs a 'mother' and at least two 'daughters'")
        return self


class Generator(Strict):
    """How a sample is generated with Pythia 8: a preset ``process``, Pythia's own ``settings``, or a particle ``gun``.

    ``settings`` beside the other two come after theirs: a list, or one text of several lines with comments (``!``,
    ``#``). With ``Beams:frameType = 4`` and ``Beams:LHEF``, ``events`` events of that file are read, and what Pythia
    completes and the filters pass is written. ``energy`` is that of the pp collision and ``pthat`` the range
    of the hard process's transverse momentum, in GeV; ``pileup`` is the mean number of further collisions per event. A
    filter that lets none of ``max_trials`` events in a row pass stops the generation.
    """

    process: Optional[str] = None
    """A preset; ``nanoforge generate --list`` names them. Or a file like theirs, ``mine.yaml``."""
    settings: Annotated[list[str], BeforeValidator(one_as_list), AfterValidator(pythia_settings.split)] = []
    """Pythia's own settings, as a list or as the text of a card."""
    gun: Optional[Annotated[list[GunParticle], Field(min_length=1), BeforeValidator(one_as_list)]] = None
    """Particles that are shot into every event, in place of a process."""
    flatten: Optional[Flatten] = None
    """Make the events that pass the filters flat in mass and pt of the gun's first particle."""
    pthat: Optional[Interval] = None
    """Range of the transverse momentum of the hard process in GeV."""
    tune: Literal["CP5", "Monash"] = "CP5"
    """The tune of the underlying event."""
    energy: Positive = 13_600.0
    """Of the pp collision in GeV."""
    events: int = Field(default=1000, gt=0)
    """Events that are written; of an LHE file, that are read."""
    seed: int = Field(default=1, ge=0, lt=2**63)
    """The same seed makes the same events."""
    mpi: bool = True
    """Multiparton interactions; without them it is faster and less true."""
    pileup: float = Field(default=0.0, ge=0)
    """Mean number of further collisions in an event."""
    cells: bool = False
    """Write the hits of the calorimeters, cell by cell, as ``EcalHit`` and ``HcalHit``: for images."""
    material: bool = True
    """Of these hits: photons convert and electrons radiate in the tracker's material."""
    filters: dict[Identifier, GenFilter] = {}
    """Named conditions on generated particles, all of which an event has to meet."""
    max_trials: int = Field(default=20_000, gt=0)
    """So many rejected events in a row stop the generation."""
    format: Literal["ttree", "rntuple"] = "ttree"
    """What is written: a TTree or an RNTuple."""

    @model_validator(mode="after")
    def _one_kind(self) -> Generator:
        if self.process is not None and self.gun is not None:
            raise ValueError("give 'process' or 'gun', not both")
        if self.process is None and self.gun is None and not self.settings:
            raise ValueError("give a 'process', Pythia 8 'settings' or a 'gun'")
        if self.flatten is not None and (self.gun is None or self.gun[0].mass is None):
            raise ValueError("'flatten' needs a 'gun' whose first particle has a 'mass' range")
        if self.pthat is not None and self.gun is not None:
            raise ValueError("'pthat' belongs to a hard process: a gun has none")
        if self.lhe_file is not None:
            other = next((key for key in ("process", "gun", "pthat") if getattr(self, key) is not None), None)
            if other is not None:
                raise ValueError(f"{other!r} would have no effect: the hard processes are those of the LHE file")
        return self

    @property
    def lhe_file(self) -> Optional[str]:
        """The file that the hard processes come from; None where Pythia makes them."""
        return pythia_settings.lhe_file(self.settings)

    @property
    def files(self) -> dict[str, str]:
        """The files that are named: by settings (LHE, SLHA), by the setting in lower case, and as ``process``."""
        named = {"process": self.process if is_file(self.process) else None} | {
            name: pythia_settings.value(self.settings, name)
            for name in (pythia_settings.LHE_FILE, pythia_settings.SLHA_FILE)
        }
        return {name: path for name, path in named.items() if path not in (None, "", "void")}

    def anchored(self, anchor: Callable[[str], str]) -> Generator:
        """Return the same with the names of files changed by ``anchor``."""
        files = self.files
        named = [(pythia_settings.parse(line)[0], line) for line in self.settings]
        lines = [
            pythia_settings.with_file(line, anchor(files[name])) if name in files else line for name, line in named
        ]
        process = {"process": anchor(files["process"])} if "process" in files else {}
        return self.model_copy(update={"settings": lines, **process})


def is_file(process: str | None) -> bool:
    """Whether a ``process`` is a preset of the user's, in a file of its own."""
    return process is not None and process.endswith((".yaml", ".yml"))
