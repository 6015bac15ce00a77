"""What is to be produced: of each sample so many lumi sections, each a unit of work."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..cmssw.commands import SIMULATION
from ..cmssw.eras import ERAS
from ..config.cmssw import Acceptance, ObjectCut, PluginFilter
from ..config.generator import Generator
from ..config.produce import Produce
from ..config.schema import Analysis
from ..errors import UserError, nearest
from ..provenance.manifest import adler32
from .plugin_filters import sources_of

RUN = 1
"""The run of all simulated events."""
_TRIES = 1000
_READING = {"row", "inputs", "define", "select", "select_for", "target", "weight", "keep", "skim", "identity"}
_CANDIDATES = re.compile(r"\b(PFCands|JetPFCands|JetSVs)(_|\b)")
"""The tables of ``cmssw.nano.addPFCands``."""


@dataclass(frozen=True)
class Production:
    """One sample that is produced.

    Attributes
    ----------
    sample, generator
        Its name, and how it is generated.
    era, produce
        Of the block ``cmssw``.
    acceptance, skim
        What simulated events and MiniAOD need to be kept.
    filters
        Plugins that filter generated events.
    first_lumi
        Of its lumi sections; None where nobody has chosen it yet.
    candidates
        Whether the analysis reads the particles of jets, which NanoAOD has only where they are asked for.
    """

    sample: str
    generator: Generator
    era: str
    produce: Produce
    acceptance: Acceptance | None
    skim: Sequence[ObjectCut]
    filters: Sequence[PluginFilter]
    first_lumi: int | None
    candidates: bool = False

    @property
    def events(self) -> int:
        """Accepted events that are wanted."""
        return self.produce.events or self.generator.events

    @property
    def sizes(self) -> list[int]:
        """Accepted events that are wanted of each lumi section."""
        size = self.produce.events_per_job
        return [min(size, self.events - start) for start in range(0, self.events, size)]

    @property
    def steps(self) -> list[str]:
        """The names of the steps, in order."""
        names = [name for name in SIMULATION if name in ERAS[self.era].steps]
        return names[: names.index(self.produce.chain) + 1]

    @property
    def kept(self) -> list[str]:
        """The steps whose files come back."""
        return [name for name in self.steps if name in (*self.produce.keep, self.produce.chain)]

    def lumi(self, unit: int) -> int:
        """Return the number of the lumi section of a unit."""
        if self.first_lumi is None:
            raise ValueError(f"{self.sample}: nobody has reserved lumi sections for it")
        return self.first_lumi + unit

    def file(self, step: str, unit: int) -> str:
        """Return the name of what a step leaves of a unit; ``FJR-<step>`` is its job report."""
        suffix = "xml" if step.startswith("FJR-") else "root"
        return f"{self.sample}/{step}-{self.lumi(unit):05d}.{suffix}"

    def tries(self, size: int) -> int:
        """Return how many events are tried at most for so many accepted ones."""
        if self.produce.tries_per_job is not None:
            return self.produce.tries_per_job
        return size * (_TRIES if self.generator.filters or self.filters or self.acceptance else 1)

    def made_from(self) -> dict[str, Any]:
        """Return all that its events depend on, as plain JSON types."""
        produce = self.produce.model_dump(
            mode="json", exclude={"samples", "journal", "first_lumi", "seconds_per_event"}
        )
        return {
            "era": self.era,
            "generator": self.generator.model_dump(mode="json", exclude={"events"}),
            "produce": {**produce, "events": self.events},
            "acceptance": None if self.acceptance is None else self.acceptance.model_dump(mode="json"),
            "skim": [cut.model_dump(mode="json") for cut in self.skim],
            "first_lumi": self.first_lumi,
            **self._plugins(),
            **({"candidates": True} if self.candidates else {}),
        }

    def _plugins(self) -> dict[str, Any]:
        """Return the filters by plugins, and what their sources hold; nothing without any."""
        if not self.filters:
            return {}
        sources = {path.name: adler32(path) for path in sources_of(self.filters) if path.is_file()}
        return {"filters": [each.model_dump(mode="json") for each in self.filters], "sources": sources}


def plan(analysis: Analysis) -> dict[str, Production]:
    """Return what an analysis wants to be produced, by sample.

    Raises
    ------
    UserError
        When it does not say, or says what cannot be.
    """
    cmssw = analysis.cmssw
    if cmssw is None or cmssw.produce is None:
        raise UserError("cmssw.produce: say what is to be produced, e.g. cmssw.produce={events: 10000}")
    produce, first = cmssw.produce, cmssw.produce.first_lumi
    if cmssw.era not in ERAS:
        raise UserError(f"cmssw.era: {cmssw.era!r} is unknown{nearest(cmssw.era, ERAS)}; known: {', '.join(ERAS)}")
    for step in (*produce.keep, produce.chain):
        if step not in ERAS[cmssw.era].steps:
            raise UserError(f"cmssw.produce: {cmssw.era} has no step {step!r}: its trigger runs with the digitisation")
    candidates = _reads_candidates(analysis)
    return {
        name: Production(
            sample=name,
            generator=generator,
            era=cmssw.era,
            produce=produce,
            acceptance=cmssw.acceptance.get(name),
            skim=cmssw.skim,
            filters=cmssw.filters,
            first_lumi=first.get(name) if isinstance(first, dict) else first,
            candidates=candidates,
        )
        for name, generator in _generators(analysis, produce).items()
    }


def _reads_candidates(analysis: Analysis) -> bool:
    """Whether anything that makes rows, inputs, targets or weights names the particles of jets."""
    blocks = analysis.model_dump(mode="json", include=_READING)
    return _CANDIDATES.search(json.dumps(blocks)) is not None


def _generators(analysis: Analysis, produce: Produce) -> dict[str, Generator]:
    samples = {name: s.generator for name, s in analysis.samples.items() if s.generator is not None}
    for name in produce.samples or ():
        if name not in analysis.samples:
            raise UserError(f"cmssw.produce.samples: there is no sample {name!r}{nearest(name, analysis.samples)}")
        if name not in samples:
            raise UserError(f"cmssw.produce.samples: samples.{name} has no 'generator': there is nothing to produce")
    if not samples:
        raise UserError("cmssw.produce: no sample has a 'generator': there is nothing to produce")
    return {name: samples[name] for name in produce.samples or samples}
