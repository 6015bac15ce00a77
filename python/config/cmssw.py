"""What only the CMSSW chain needs to know: the era, what its simulation keeps, and what its skim of MiniAOD keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Optional

from pydantic import ConfigDict, Field, model_validator

from .base import Identifier, Strict, of_form
from .generator import GenFilter
from .produce import Produce


class ObjectCut(Strict):
    """An event has at least ``min`` (and at most ``max``) objects of the collection ``src`` that pass ``cut``.

    ``src`` is a collection of MiniAOD, ``cut`` a string as CMSSW's ``StringCutObjectSelector`` takes it: expressions of
    ``select`` are about NanoAOD and cannot be used here. Of the cuts with the same ``any`` one is enough.
    """

    name: Identifier
    """What the cut is called in the cut flow."""
    src: Annotated[str, of_form(r"\w+(:\w*){0,2}", "a collection of MiniAOD, such as slimmedJets")]
    """A collection of MiniAOD, such as ``slimmedJets``."""
    cut: str = ""
    """A condition as ``StringCutObjectSelector`` takes it."""
    min: int = Field(default=1, ge=0)
    """So many objects at least."""
    max: Optional[int] = Field(default=None, ge=0)
    """So many at most."""
    any: Optional[Identifier] = None
    """Of the cuts with the same name here, one is enough."""

    @model_validator(mode="after")
    def _possible(self) -> ObjectCut:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"'max' is {self.max}, below 'min' {self.min}")
        return self


class Acceptance(GenFilter):
    """Decays, chosen as by a generator filter, whose every leg deposits energy (GeV) in the calorimeters.

    Looked at after the simulation, in cells within ``hit_delta_r`` of the direction in which the leg is produced.
    """

    ecal: float = Field(default=0.0, ge=0)
    """Least energy of each leg in the electromagnetic calorimeter in GeV."""
    hcal: float = Field(default=0.0, ge=0)
    """Least energy of each leg in the hadronic calorimeter in GeV."""
    hit_delta_r: float = Field(default=0.3, gt=0)
    """How far cells may be from the direction of a leg."""


class PluginFilter(Strict):
    """A filter on generated events of the C++ class ``type``, whose parameters are all further keys.

    The class is one of NanoForge's (``GenDecayFilter``), or of the user's in a file beside the analysis file
    (``mine.cc:MyFilter``), which goes into the release with NanoForge. Parameters are checked against what its
    ``fillDescriptions`` says.
    """

    model_config = ConfigDict(extra="allow")
    type: Annotated[str, of_form(r"[^:]+\.cc:\w+|\w+", "the name of a C++ class, or file.cc:Class")]
    """The C++ class, or ``file.cc:Class``."""
    name: Identifier
    """What the filter is called."""


class CmsRun(Strict):
    """The CMSSW chain: the data-taking ``era``, ``acceptance`` by sample, ``skim`` of MiniAOD, what to ``produce``."""

    era: str = "2024"
    """The data-taking era, ``2016preVFP`` to ``2024``."""
    acceptance: dict[Identifier, Acceptance] = {}
    """By sample: decays whose every leg deposits energy in the calorimeters."""
    filters: list[PluginFilter] = []
    """Filters on generated events by plugins of C++, after those of the ``generator``."""
    skim: list[ObjectCut] = []
    """What an event of MiniAOD needs to be kept."""
    produce: Optional[Produce] = None
    """Samples that batch jobs produce."""
    hits: Literal["aod", "mini"] = "aod"
    """Where the step ``images`` finds hits of the calorimeters: in AOD beside the MiniAOD, or what MiniAOD keeps."""

    @model_validator(mode="after")
    def _names(self) -> CmsRun:
        for key, plural, block in (("skim", "cuts", self.skim), ("filters", "filters", self.filters)):
            names = [each.name for each in block]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{key}: two {plural} are called {twice!r}")
        return self

    def anchored(self, anchor: Callable[[str], str]) -> CmsRun:
        """Return the same with the names of files changed by ``anchor``."""
        filters = [
            each.model_copy(update={"type": anchor(each.type)}) if ":" in each.type else each for each in self.filters
        ]
        produce = self.produce and self.produce.anchored(anchor)
        return self.model_copy(update={"filters": filters, "produce": produce})
